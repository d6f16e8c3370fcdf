//! What a container should be: complete, so that it can be started again from its record alone.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use coracle_oci::{HealthCommand, ImageId, OnUnhealthy};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

mod device;
mod isolation;
mod network;
mod security;

use crate::hook::{Hooks, RestartPace};
use crate::mount::{Mount, VolumesFrom};

pub use device::{BlockIo, Device, DeviceAccess, DeviceLimit, DeviceRule};
pub use isolation::{CgroupMode, IpcMode, Isolation, PidMode, UtsMode};
pub use network::{Link, MacAddress, NetworkAttachment, NetworkMode};
pub use security::Security;

/// Says that a field need not be written: records and digests of containers that do not use it stay as they were.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A wanted container. Image defaults have been folded in: nothing here is looked up later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// The container's unique name, Docker's `--name`.
    pub name: String,
    /// The image reference as the user wrote it, for display.
    pub image: String,
    /// The image it was made from.
    pub image_id: ImageId,
    /// Entry point; with `command` it makes the argument list.
    #[serde(default)]
    pub entrypoint: Vec<String>,
    /// Command, or the entry point's arguments.
    #[serde(default)]
    pub command: Vec<String>,
    /// Environment.
    #[serde(default)]
    pub environment: IndexMap<String, String>,
    /// Working directory, absolute; made when it does not exist.
    pub working_directory: String,
    /// `user[:group]` by name or number; empty means root. Looked up in the container's own files at start.
    #[serde(default)]
    pub user: String,
    /// Extra groups by name or number.
    #[serde(default)]
    pub group_add: Vec<String>,
    /// Host name; `None` means the id's first 12 digits.
    #[serde(default)]
    pub hostname: Option<String>,
    /// NIS domain name.
    #[serde(default, skip_serializing_if = "is_default")]
    pub domainname: Option<String>,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Annotations of the runtime specification.
    #[serde(default, skip_serializing_if = "is_default")]
    pub annotations: BTreeMap<String, String>,
    /// Whether the container has a terminal.
    #[serde(default)]
    pub tty: bool,
    /// Whether its standard input stays open.
    #[serde(default)]
    pub open_stdin: bool,
    /// Whether a small init process runs as pid 1 and reaps.
    #[serde(default)]
    pub init: bool,
    /// Whether the record and files go when it ends.
    #[serde(default)]
    pub auto_remove: bool,
    /// Whether the root file system is read-only.
    #[serde(default)]
    pub read_only: bool,
    /// Whether it has all capabilities, all devices and no seccomp filter.
    #[serde(default)]
    pub privileged: bool,
    /// Whether set-user-id programs gain nothing.
    #[serde(default)]
    pub no_new_privileges: bool,
    /// Whether the default seccomp filter is off (`seccomp=unconfined`).
    #[serde(default)]
    pub seccomp_unconfined: bool,
    /// Capabilities added to Docker's default set, e.g. `NET_ADMIN`, `ALL`.
    #[serde(default)]
    pub cap_add: Vec<String>,
    /// Capabilities taken from the default set.
    #[serde(default)]
    pub cap_drop: Vec<String>,
    /// Further options of security.
    #[serde(default, skip_serializing_if = "is_default")]
    pub security: Security,
    /// Which namespaces are its own.
    #[serde(default, skip_serializing_if = "is_default")]
    pub isolation: Isolation,
    /// Mounts, in order.
    #[serde(default)]
    pub mounts: Vec<Mount>,
    /// Containers whose mounts it has too; empty once it is made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes_from: Vec<VolumesFrom>,
    /// Files on a tmpfs under `/run/secrets` (or elsewhere), whose contents are read at each start.
    #[serde(default)]
    pub secrets: Vec<SecretFile>,
    /// How it reaches a network.
    pub network_mode: NetworkMode,
    /// Networks it is attached to, when `network_mode` is a bridge.
    #[serde(default)]
    pub networks: Vec<NetworkAttachment>,
    /// Published ports.
    #[serde(default)]
    pub ports: Vec<PublishedPort>,
    /// Ports it says it listens on, its image's included, e.g. `80/tcp`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exposed: Vec<String>,
    /// Lines of `/etc/hosts` beyond the container's own: name to address (or `host-gateway`).
    #[serde(default)]
    pub extra_hosts: Vec<(String, String)>,
    /// Name servers instead of the network's.
    #[serde(default)]
    pub dns: Vec<IpAddr>,
    /// Search domains.
    #[serde(default)]
    pub dns_search: Vec<String>,
    /// Options of the resolver, e.g. `ndots:2`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub dns_options: Vec<String>,
    /// Names that only this container knows others by.
    #[serde(default, skip_serializing_if = "is_default")]
    pub links: Vec<Link>,
    /// Limits.
    #[serde(default)]
    pub resources: Resources,
    /// Resource limits of processes (`ulimit`).
    #[serde(default)]
    pub ulimits: Vec<Ulimit>,
    /// Kernel parameters of its namespaces.
    #[serde(default)]
    pub sysctls: BTreeMap<String, String>,
    /// Device nodes of the host given through.
    #[serde(default)]
    pub devices: Vec<Device>,
    /// Rules of the device controller beyond those of `devices`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub device_rules: Vec<DeviceRule>,
    /// The control group that its own is below; `None` is the root.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cgroup_parent: Option<String>,
    /// How soon the kernel ends it for want of memory, -1000 to 1000.
    #[serde(default, skip_serializing_if = "is_default")]
    pub oom_score_adj: Option<i32>,
    /// Size of `/dev/shm`, bytes; `None` means 64 MiB.
    #[serde(default)]
    pub shm_size: Option<u64>,
    /// What happens when it ends.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// How restarts follow one another.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub restart_pace: RestartPace,
    /// What runs in it at turns of its life.
    #[serde(default, skip_serializing_if = "Hooks::is_empty")]
    pub hooks: Hooks,
    /// How its health is probed.
    #[serde(default)]
    pub healthcheck: Option<Healthcheck>,
    /// What follows when it becomes unhealthy.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_unhealthy: OnUnhealthy,
    /// Signal that asks it to end, e.g. `SIGTERM`.
    pub stop_signal: String,
    /// Seconds between that signal and SIGKILL.
    pub stop_grace_seconds: u64,
    /// Bounds of its log.
    #[serde(default)]
    pub log: LogOptions,
    /// The project or `_standalone`: which keeper serves it.
    pub scope: String,
}

fn is_usual(pace: &RestartPace) -> bool {
    *pace == RestartPace::default()
}

/// A secret or configuration file given to a container through a tmpfs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretFile {
    /// The host file whose content is read at each start; contents are never recorded.
    pub source: PathBuf,
    /// Absolute path inside, e.g. `/run/secrets/postgres_password`.
    pub target: String,
    /// Owner.
    #[serde(default)]
    pub uid: u32,
    /// Group.
    #[serde(default)]
    pub gid: u32,
    /// Mode, e.g. `0o444`.
    pub mode: u32,
}

/// Transport protocol of a published port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A port of the host that leads to a port of the container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PublishedPort {
    /// Address on the host; `None` means all.
    #[serde(default)]
    pub host_ip: Option<IpAddr>,
    /// Port on the host; `None` means one that is free.
    #[serde(default)]
    pub host_port: Option<u16>,
    /// Port inside.
    pub container_port: u16,
    /// Protocol.
    pub protocol: Protocol,
}

/// Limits of a container's control group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Memory, bytes.
    pub memory: Option<u64>,
    /// Memory and swap together, bytes; `None` with `memory` set means twice the memory as Docker does.
    pub memory_swap: Option<i64>,
    /// Soft limit of memory, bytes.
    pub memory_reservation: Option<u64>,
    /// Processors' worth of time, in thousandths: 1500 is one and a half.
    pub millicpus: Option<u64>,
    /// Relative weight, 2 to 262144; Docker's `--cpu-shares`.
    pub cpu_shares: Option<u64>,
    /// Processors it may run on, e.g. `0-1`.
    pub cpuset: Option<String>,
    /// Memory nodes it may use, e.g. `0`.
    #[serde(skip_serializing_if = "is_default")]
    pub cpuset_mems: Option<String>,
    /// Number of processes and threads.
    pub pids: Option<u64>,
    /// Length of the period in which `cpu_quota` is counted, microseconds.
    #[serde(skip_serializing_if = "is_default")]
    pub cpu_period: Option<u64>,
    /// Processor time in a period, microseconds; excludes `millicpus`.
    #[serde(skip_serializing_if = "is_default")]
    pub cpu_quota: Option<i64>,
    /// Length of the period in which `cpu_rt_runtime` is counted, microseconds.
    #[serde(skip_serializing_if = "is_default")]
    pub cpu_rt_period: Option<u64>,
    /// Real-time processor time in a period, microseconds.
    #[serde(skip_serializing_if = "is_default")]
    pub cpu_rt_runtime: Option<i64>,
    /// How readily its memory is swapped out, 0 to 100.
    #[serde(skip_serializing_if = "is_default")]
    pub memory_swappiness: Option<u64>,
    /// Whether its processes wait for memory rather than be ended.
    #[serde(skip_serializing_if = "is_default")]
    pub oom_kill_disable: bool,
    /// Weights and bounds of block devices.
    #[serde(skip_serializing_if = "is_default")]
    pub block_io: BlockIo,
}

/// A limit of a container's processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// Lower-case name without `RLIMIT_`, e.g. `nofile`.
    pub name: String,
    /// Soft limit; `u64::MAX` is unlimited.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// What happens when a container ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Nothing.
    #[default]
    No,
    /// It starts again, unless a user stopped it.
    Always,
    /// As `Always`, and not after a reboot when it was stopped before.
    UnlessStopped,
    /// It starts again after a non-zero exit.
    OnFailure {
        /// How many times at most; `None` means without bound.
        max_retries: Option<u32>,
    },
}

/// How a container's health is probed. Durations in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healthcheck {
    /// What the probe runs inside the container.
    pub command: HealthCommand,
    /// Time between probes, ms.
    pub interval: u64,
    /// Time one probe may take, ms.
    pub timeout: u64,
    /// Time after the start in which failures do not count, ms.
    pub start_period: u64,
    /// Time between probes within the start period, ms.
    pub start_interval: u64,
    /// Failures in a row that make the container unhealthy.
    pub retries: u32,
}

impl Healthcheck {
    /// Docker's defaults around `command`: every 30 s, 30 s long, 3 retries, no start period, 5 s start interval.
    pub fn with_defaults(command: HealthCommand) -> Self {
        Self {
            command,
            interval: 30_000,
            timeout: 30_000,
            start_period: 0,
            start_interval: 5_000,
            retries: 3,
        }
    }
}

/// Bounds of a container's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogOptions {
    /// Whether nothing is kept.
    pub disabled: bool,
    /// Size at which a file is rotated, bytes.
    pub max_size: u64,
    /// Number of files kept, the current one included.
    pub max_files: u32,
    /// Labels that `logs --details` shows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Variables that it shows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<String>,
    /// Whether files that ended are compressed.
    #[serde(skip_serializing_if = "is_true")]
    pub compress: bool,
    /// Whether output is dropped rather than the container made to wait for a slow disk.
    #[serde(skip_serializing_if = "is_default")]
    pub non_blocking: bool,
    /// Bytes that may wait for the disk then.
    #[serde(skip_serializing_if = "is_usual_buffer")]
    pub buffer: u64,
}

const BUFFER: u64 = 1024 * 1024;

fn is_true(value: &bool) -> bool {
    *value
}

fn is_usual_buffer(value: &u64) -> bool {
    *value == BUFFER
}

impl Default for LogOptions {
    /// Ten megabytes in each of five files, all but the current one compressed: disk use is bounded unless a user says
    /// otherwise.
    fn default() -> Self {
        Self {
            disabled: false,
            max_size: 10 * 1024 * 1024,
            max_files: 5,
            labels: Vec::new(),
            variables: Vec::new(),
            compress: true,
            non_blocking: false,
            buffer: BUFFER,
        }
    }
}
