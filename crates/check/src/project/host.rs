//! What is known of the machine that a project is to run on.

use std::net::IpAddr;
use std::path::PathBuf;

use coracle_composefile::Protocol;

/// A socket that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its address; unspecified is all.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// Name and pid of the process that holds it, when it can be known.
    pub holder: Option<(String, u32)>,
    /// The project of ours that it is published for, if any.
    pub project: Option<String>,
    /// The container of ours that it is published for, if any.
    pub container: Option<String>,
}

/// A file system with room, or without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// What it is looked at for: the data root, the project's directory.
    pub path: PathBuf,
    /// Bytes in all.
    pub total: u64,
    /// Bytes that can be used.
    pub available: u64,
    /// Files that can still be made; `None` where the file system has no bound.
    pub inodes_available: Option<u64>,
}

/// A route of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The destination's address.
    pub address: IpAddr,
    /// The length of its prefix.
    pub prefix: u8,
    /// The device it leads through.
    pub device: String,
    /// The network of ours that it belongs to, if any.
    pub network: Option<String>,
}

/// How control groups are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cgroups {
    /// Version 2 alone.
    V2,
    /// Version 1 controllers, perhaps with a version 2 hierarchy beside them.
    V1,
    /// None that can be used.
    None,
}

/// A container that is on the machine already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occupant {
    /// Its name.
    pub name: String,
    /// The project it belongs to, if any.
    pub project: Option<String>,
    /// The service that it runs there.
    pub service: Option<String>,
}

/// The machine. Lists are empty and options `None` where nothing could be learned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// Sockets that listen.
    pub listeners: Vec<Listener>,
    /// File systems that the project uses.
    pub disks: Vec<Disk>,
    /// Memory in all, bytes.
    pub memory_total: Option<u64>,
    /// Memory that can be used, bytes.
    pub memory_available: Option<u64>,
    /// Processors.
    pub cpus: Option<u32>,
    /// The kernel's release, `6.1.0-18-amd64`; empty when unknown.
    pub kernel: String,
    /// Machine, as in image platforms: `amd64`; empty when unknown.
    pub architecture: String,
    /// Architectures of other machines whose programs the kernel hands to an emulator: `arm64`.
    pub emulated: Vec<String>,
    /// Control groups.
    pub cgroups: Option<Cgroups>,
    /// Controllers that can be used: `memory`, `cpu`, `pids`, ...
    pub controllers: Vec<String>,
    /// Kernel features by name (`overlay`, `bridge`, `veth`, `nf_tables`, `user-namespaces`), and whether they are there.
    pub features: Vec<(String, bool)>,
    /// Values of kernel parameters that matter: `vm.max_map_count`, `net.ipv4.ip_forward`, `fs.inotify.max_user_watches`.
    pub sysctls: Vec<(String, String)>,
    /// How far its clock is from a server's, seconds; positive is ahead.
    pub clock_skew: Option<i64>,
    /// Its routes.
    pub routes: Vec<Route>,
    /// Open files that a process may have at most: the hard limit.
    pub open_files: Option<u64>,
    /// Whether that limit may be raised (`CAP_SYS_RESOURCE`).
    pub raises_limits: bool,
    /// Names of networks of ours; `None` when that is not known.
    pub networks: Option<Vec<String>>,
    /// Names of volumes of ours; `None` when that is not known.
    pub volumes: Option<Vec<String>>,
    /// Containers of ours.
    pub containers: Vec<Occupant>,
    /// Whether the commands run as root.
    pub root: bool,
}
