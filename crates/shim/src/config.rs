//! What a shim is told: the file `shim.json` of a bundle, written by `runtime`.
//!
//! ```text
//! <bundle>/shim.json      ShimConfig
//! <bundle>/config.json    OCI runtime specification
//! <bundle>/filter.bpf     compiled system call filter, if there is one
//! <bundle>/rootfs         mount point, in the shim's own mount namespace
//! <bundle>/secrets        tmpfs with secrets, in the shim's own mount namespace
//! <bundle>/views/<n>      further overlays, in the shim's own mount namespace
//! <bundle>/sources/<n>    what binds show, in the shim's own mount namespace
//! <bundle>/namespaces     namespaces of other containers, in the shim's own mount namespace
//! <bundle>/runtime        libcontainer's state
//! ```

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::journal::Journal;

/// Name of the configuration in a bundle.
pub const CONFIG_FILE: &str = "shim.json";
/// Name of the OCI runtime specification in a bundle. It holds neither capabilities nor a filter.
pub const SPEC_FILE: &str = "config.json";
/// Name of the compiled system call filter in a bundle, see [`crate::filter`].
pub const FILTER_FILE: &str = "filter.bpf";

/// The version of [`ShimConfig`] that is written. Commands of a later version read what an earlier one wrote: a new field
/// has a default, and one that is not known is passed over.
pub const VERSION: u32 = 2;

/// Everything a shim needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShimConfig {
    /// The version of this form, [`VERSION`] when it is written; 0 when it did not say so yet.
    #[serde(default)]
    pub version: u32,
    /// The container's whole id.
    pub id: String,
    /// Path of its control group below each hierarchy's root.
    pub cgroup: String,
    /// The unit of systemd that the group lies in, where systemd manages them.
    #[serde(default)]
    pub scope: Option<Scope>,
    /// The root file system to mount.
    pub overlay: Overlay,
    /// Further overlays to mount at [`ShimConfig::view`], for mounts of the specification to bind from.
    #[serde(default)]
    pub views: Vec<Overlay>,
    /// Parts of the host's or the views' files to mount at [`ShimConfig::source`] at each start, for mounts of the
    /// specification to bind from.
    #[serde(default)]
    pub sources: Vec<Source>,
    /// Whose network it uses.
    pub network: Network,
    /// Namespaces of other containers that it shares.
    #[serde(default)]
    pub partners: Vec<Partner>,
    /// Whether its processes outlive its first one unless they are ended: it has no process namespace of its own.
    #[serde(default)]
    pub kill_all: bool,
    /// Whether its processes wait for memory rather than be ended.
    #[serde(default)]
    pub oom_kill_disable: bool,
    /// Sysctls set in the network namespace it makes.
    pub network_sysctls: BTreeMap<String, String>,
    /// Files put on a tmpfs at each start.
    pub secrets: Vec<Secret>,
    /// Variables whose values are read at each start and written nowhere.
    #[serde(default)]
    pub secret_environment: Vec<SecretVariable>,
    /// Directory made in the root file system when it is missing.
    pub working_directory: Option<WorkingDirectory>,
    /// Capabilities of its processes, with `CAP_`.
    pub capabilities: Vec<String>,
    /// Whether its processes are under the bundle's system call filter.
    pub filtered: bool,
    /// Whether set-user-id programs gain nothing.
    pub no_new_privileges: bool,
    /// Owner of the standard streams, so that the container's user may reopen `/dev/stdout`.
    pub stream_owner: (u32, u32),
    /// Whether the container has a terminal.
    pub terminal: bool,
    /// What its standard input is.
    pub stdin: Stdin,
    /// Whether a small init reaps as process 1.
    pub init: bool,
    /// Where output is kept; `None` keeps none.
    pub log: Option<Log>,
    /// When it starts again.
    pub restart: Restart,
    /// Time between end and start, ms; `None` doubles it from 100 ms up to a minute.
    #[serde(default)]
    pub restart_delay: Option<u64>,
    /// How long a run must last to count as a success, ms; `None` is 10 s.
    #[serde(default)]
    pub restart_window: Option<u64>,
    /// How its health is probed.
    pub health: Option<HealthCheck>,
    /// Signal number that asks it to end.
    pub stop_signal: i32,
    /// Time between that signal and SIGKILL, ms.
    pub stop_grace: u64,
    /// Where its state is recorded.
    pub state: PathBuf,
    /// Control socket.
    pub socket: PathBuf,
    /// File locked for as long as the shim lives.
    pub lock: PathBuf,
    /// Where its starts and ends are told; `None` tells nobody.
    #[serde(default)]
    pub journal: Option<Journal>,
    /// Where this program lies, for cleaning up: the version that is installed by then knows all that it may find. `None`,
    /// or a file that cannot be run, means the shim's own.
    #[serde(default)]
    pub program: Option<PathBuf>,
    /// Arguments of this program that clean up after the final exit; empty means nobody is called.
    pub reap: Vec<String>,
    /// Whether the container is killed when the client that has its streams goes, however that ends: a build step must
    /// not outlive its build.
    #[serde(default)]
    pub bound_to_client: bool,
    /// Whether mount points that had to be made in the root file system are taken out again after the run; a build
    /// step must leave no empty `/etc/resolv.conf` in its layer.
    pub remove_mount_points: bool,
}

impl ShimConfig {
    /// Returns the place of the root file system's mount in `bundle`.
    pub fn rootfs(bundle: &Path) -> PathBuf {
        bundle.join("rootfs")
    }

    /// Returns the place of the mount of `views[number]` in `bundle`.
    pub fn view(bundle: &Path, number: usize) -> PathBuf {
        bundle.join("views").join(number.to_string())
    }

    /// Returns the place of the mount of `sources[number]` in `bundle`.
    pub fn source(bundle: &Path, number: usize) -> PathBuf {
        bundle.join("sources").join(number.to_string())
    }

    /// Returns the place of other containers' namespaces in `bundle`.
    pub fn namespaces(bundle: &Path) -> PathBuf {
        bundle.join("namespaces")
    }

    /// Returns the place of the secrets' tmpfs in `bundle`.
    pub fn secrets(bundle: &Path) -> PathBuf {
        bundle.join("secrets")
    }
}

/// A scope that systemd makes around a shim, see [`crate::scope`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Its name, with `.scope`.
    pub unit: String,
    /// The slice that it lies in, with `.slice`.
    pub slice: String,
    /// What `systemctl status` calls it.
    pub description: String,
}

/// An overlay file system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlay {
    /// Lower directories, uppermost first.
    pub lower: Vec<PathBuf>,
    /// Where changes go; `None` makes it read-only.
    pub upper: Option<PathBuf>,
    /// The kernel's scratch directory beside `upper`.
    pub work: Option<PathBuf>,
    /// Further options of the overlay driver, `key` or `key=value`, e.g. `volatile`.
    pub options: Vec<String>,
}

/// What a bind mount of the specification shows. The runtime below knows neither propagation nor paths that must not
/// lead out of a directory, so the shim mounts it first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// A file or directory of the host.
    pub root: PathBuf,
    /// A path below `root`; no link in it leads out.
    pub inside: Option<PathBuf>,
    /// Whether mounts below it are mounted too.
    pub recursive: bool,
    /// How mounts made later travel.
    pub propagation: Propagation,
    /// How the owners of its files are shown; `None` is as they are.
    #[serde(default)]
    pub idmap: Option<IdMap>,
}

/// Ranges of ids: as they are stored, as they are shown, and how many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    /// Of users.
    pub uids: Vec<(u32, u32, u32)>,
    /// Of groups.
    pub gids: Vec<(u32, u32, u32)>,
}

/// How mounts made later travel (`mount_namespaces(7)`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Propagation {
    /// Neither way.
    Private {
        /// Whether mounts below are so too.
        recursive: bool,
    },
    /// From the host inside.
    #[default]
    Slave,
}

/// Whose network a container uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// A namespace that the shim makes and keeps over restarts.
    Own,
    /// The caller's.
    Inherited,
    /// That of the partner that shares it.
    Joined,
}

/// Another container, one of whose namespaces is shared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partner {
    /// Which one.
    pub shared: Shared,
    /// The container's name, for messages.
    pub name: String,
    /// Where its shim records its state.
    pub state: PathBuf,
}

/// A namespace that can be shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shared {
    /// Network.
    Network,
    /// Inter-process communication, with `/dev/shm`.
    Ipc,
    /// Processes.
    Pid,
}

impl Shared {
    /// Returns the name of its file below `/proc/PID/ns`.
    pub fn file(self) -> &'static str {
        match self {
            Self::Network => "net",
            Self::Ipc => "ipc",
            Self::Pid => "pid",
        }
    }
}

impl std::fmt::Display for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Network => "network",
            Self::Ipc => "inter-process communication",
            Self::Pid => "processes",
        })
    }
}

/// What a container's standard input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stdin {
    /// Empty.
    Closed,
    /// Open for as long as the container runs.
    Open,
    /// Open until the first attached client closes it or goes.
    Once,
}

/// A file put on a tmpfs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// Host file read at each start.
    pub source: PathBuf,
    /// Relative path below the secrets directory.
    pub place: PathBuf,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Mode.
    pub mode: u32,
}

/// A variable with a secret value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretVariable {
    /// Its name.
    pub name: String,
    /// File whose content is its value, read at each start; may be a descriptor of the caller's below `/proc`.
    pub source: PathBuf,
}

/// A directory made when it is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkingDirectory {
    /// Absolute path inside.
    pub path: String,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Where output is kept and how much of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// The current file; older ones and indexes are beside it, see [`crate::log::files`].
    pub path: PathBuf,
    /// Size at which it is rotated, bytes.
    pub max_size: u64,
    /// Number of files kept, the current one included.
    pub max_files: u32,
    /// Whether files that ended are compressed.
    #[serde(default)]
    pub compress: bool,
    /// Bytes of output that wait for a slow disk before more is dropped; `None` lets the container wait.
    #[serde(default)]
    pub buffer: Option<u64>,
}

/// When a container starts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Never.
    No,
    /// Whenever it ended by itself.
    Always,
    /// After a non-zero exit.
    OnFailure {
        /// How many times at most; `None` means without bound.
        max_retries: Option<u32>,
    },
}

/// How health is probed; durations in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// Program and arguments, run inside.
    #[serde(default)]
    pub args: Vec<String>,
    /// What is asked over the network instead; nothing of the container's is run then.
    #[serde(default)]
    pub network: Option<NetworkProbe>,
    /// What follows when it becomes unhealthy.
    #[serde(default)]
    pub on_unhealthy: OnUnhealthy,
    /// Time between probes.
    pub interval: u64,
    /// Time one probe may take.
    pub timeout: u64,
    /// Time after the start in which failures do not count.
    pub start_period: u64,
    /// Time between probes in that time.
    pub start_interval: u64,
    /// Failures in a row that make it unhealthy.
    pub retries: u32,
}

/// A probe that needs no program of the container's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkProbe {
    /// A connection is opened.
    Tcp {
        /// Where, in the container's network; the first that answers counts.
        addresses: Vec<SocketAddr>,
    },
    /// A request is made; a status from 200 to 399 is healthy.
    Http {
        /// Where, in the container's network; the first that answers counts.
        addresses: Vec<SocketAddr>,
        /// The `Host` header.
        host: String,
        /// Path and query.
        path: String,
    },
}

/// What follows when a container becomes unhealthy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnUnhealthy {
    /// Nothing.
    #[default]
    None,
    /// It is killed.
    Kill,
    /// It is stopped and started again.
    Restart,
    /// It is stopped for good.
    Stop,
}
