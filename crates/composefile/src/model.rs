//! The project as values: names resolved, paths absolute, units parsed.
//!
//! Sources of every field: the Compose specification (<https://github.com/compose-spec/compose-spec>).

mod build;
mod deploy;
mod device;
mod hooks;
mod isolation;
mod network;
mod security;
mod volume;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use coracle_oci::{HealthCommand, OnUnhealthy, Platform, Reference};
use coracle_report::{Diagnostic, Span};
use indexmap::IndexMap;

pub use build::{Build, BuildSecret, PullPolicy};
pub use deploy::{Deploy, DeployMode, Placement, Rollout};
pub use device::{BlockIo, Device, DeviceLimit, DeviceRule};
pub use hooks::{Hook, ModelUse, Provider, Watch, WatchAction};
pub use isolation::{CgroupMode, IpcMode, Isolation, PidMode, UtsMode};
pub use network::{Ipv6Pool, Link, MacAddress, Network, NetworkAttachment, NetworkDriver, NetworkMode};
pub use security::{SeccompProfile, Security};
pub use volume::{Mount, MountSource, Propagation, Recursive, Volume, VolumesFrom, VolumesSource};

/// A project: services and what they share.
#[derive(Clone, Debug, PartialEq)]
pub struct Project {
    /// Its name, `[a-z0-9][a-z0-9_-]*`: prefix of the names of all it owns.
    pub name: String,
    /// The directory that relative paths start from.
    pub directory: PathBuf,
    /// The files it was read from, in order of precedence, lowest first.
    pub files: Vec<PathBuf>,
    /// Services that the active profiles include.
    pub services: IndexMap<String, Service>,
    /// Services that no active profile includes.
    pub inactive_services: IndexMap<String, Service>,
    /// Services that programs outside manage, by name.
    pub providers: IndexMap<String, Provider>,
    /// Networks that an active service uses, by key; `default` is added when a service names none.
    pub networks: IndexMap<String, Network>,
    /// Volumes, by key.
    pub volumes: IndexMap<String, Volume>,
    /// Secrets, by key.
    pub secrets: IndexMap<String, FileObject>,
    /// Configurations, by key.
    pub configs: IndexMap<String, FileObject>,
    /// Top-level `x-` attributes.
    pub extensions: IndexMap<String, serde_json::Value>,
}

/// One service.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Its name, the key under `services`.
    pub name: String,
    /// Where it is defined.
    pub span: Span,
    /// The image it runs; `PROJECT-SERVICE` when only `build` is given.
    pub image: Reference,
    /// Where `image` is given; `None` when the name was derived.
    pub image_span: Option<Span>,
    /// How its image is built.
    pub build: Option<Build>,
    /// When its image is pulled or built.
    pub pull_policy: PullPolicy,
    /// The platform of its image.
    pub platform: Option<Platform>,
    /// Its command; `None` keeps the image's.
    pub command: Option<Vec<String>>,
    /// Its entry point; `None` keeps the image's, an empty list clears it.
    pub entrypoint: Option<Vec<String>>,
    /// Environment: `env_file`s in order, then `environment`.
    pub environment: IndexMap<String, String>,
    /// Container labels.
    pub labels: IndexMap<String, String>,
    /// Published ports.
    pub ports: Vec<Port>,
    /// Ports that other services may reach, as written (`8000`, `53/udp`); informative.
    pub expose: Vec<String>,
    /// Mounts, `tmpfs` included.
    pub mounts: Vec<Mount>,
    /// Whose mounts it has too.
    pub volumes_from: Vec<VolumesFrom>,
    /// How it reaches a network.
    pub network_mode: NetworkMode,
    /// Attachments by network key, when `network_mode` is [`NetworkMode::Networks`].
    pub networks: IndexMap<String, NetworkAttachment>,
    /// Services that come before it.
    pub depends_on: IndexMap<String, Dependency>,
    /// Its health check; `None` keeps the image's.
    pub healthcheck: Option<Healthcheck>,
    /// What follows when a container of it becomes unhealthy (`x-on-unhealthy`).
    pub on_unhealthy: OnUnhealthy,
    /// What happens when a container of it ends.
    pub restart: RestartPolicy,
    /// Number of containers.
    pub replicas: u32,
    /// Limits and reservations.
    pub resources: Resources,
    /// Secrets it may read.
    pub secrets: Vec<FileGrant>,
    /// Configurations it may read.
    pub configs: Vec<FileGrant>,
    /// `user[:group]`; `None` keeps the image's.
    pub user: Option<String>,
    /// Extra groups.
    pub group_add: Vec<String>,
    /// Working directory; `None` keeps the image's.
    pub working_dir: Option<String>,
    /// Host name inside.
    pub hostname: Option<String>,
    /// NIS domain name inside.
    pub domainname: Option<String>,
    /// Fixed container name; forbids more than one replica.
    pub container_name: Option<String>,
    /// Whether a small init runs as pid 1.
    pub init: bool,
    /// Whether standard input stays open.
    pub stdin_open: bool,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Whether it has all privileges.
    pub privileged: bool,
    /// Whether its root file system is read-only.
    pub read_only: bool,
    /// Added capabilities, without `CAP_`.
    pub cap_add: Vec<String>,
    /// Dropped capabilities, without `CAP_`.
    pub cap_drop: Vec<String>,
    /// Whether programs gain no privileges (`security_opt: no-new-privileges`); `None` leaves it to what else the
    /// service says.
    pub no_new_privileges: Option<bool>,
    /// Whether the seccomp filter is off (`security_opt: seccomp=unconfined`).
    pub seccomp_unconfined: bool,
    /// Limits of processes.
    pub ulimits: Vec<Ulimit>,
    /// Kernel parameters.
    pub sysctls: IndexMap<String, String>,
    /// Size of `/dev/shm`, bytes.
    pub shm_size: Option<u64>,
    /// Device nodes of the host.
    pub devices: Vec<Device>,
    /// Rules for devices beyond those.
    pub device_rules: Vec<DeviceRule>,
    /// Namespaces that it shares.
    pub isolation: Isolation,
    /// Further options of security.
    pub security: Security,
    /// The control group that its containers' are below.
    pub cgroup_parent: Option<String>,
    /// How soon the kernel ends it for want of memory, -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// Annotations of the runtime specification.
    pub annotations: IndexMap<String, String>,
    /// Signal that asks it to end; `None` keeps the image's.
    pub stop_signal: Option<String>,
    /// Time between that signal and SIGKILL; `None` is 10 s.
    pub stop_grace_period: Option<Duration>,
    /// Lines of `/etc/hosts`: name, address.
    pub extra_hosts: Vec<(String, String)>,
    /// Name servers.
    pub dns: Vec<IpAddr>,
    /// Search domains.
    pub dns_search: Vec<String>,
    /// Options of the resolver.
    pub dns_options: Vec<String>,
    /// Services that it knows by names of its own.
    pub links: Vec<Link>,
    /// Containers outside of the project that it knows by names of its own.
    pub external_links: Vec<Link>,
    /// Hardware address on its first network.
    pub mac_address: Option<MacAddress>,
    /// Bounds of its log.
    pub logging: Logging,
    /// Profiles that include it; none means always.
    pub profiles: Vec<String>,
    /// What it asks for that this engine cannot give, and without which it must not run: errors of an `up`.
    pub refusals: Vec<Diagnostic>,
    /// What `deploy` says beside replicas and resources.
    pub deploy: Deploy,
    /// Commands that run in each container once it has started.
    pub post_start: Vec<Hook>,
    /// Commands that run in each container before it is stopped.
    pub pre_stop: Vec<Hook>,
    /// What happens when its sources change.
    pub watch: Vec<Watch>,
    /// Whether `up` shows its output when it stays in the foreground.
    pub attach: bool,
    /// The program that manages it instead of the engine; such a service is one of [`Project::providers`].
    pub provider: Option<Provider>,
    /// Services that it depends on and that programs outside manage.
    pub provided_by: Vec<String>,
    /// AI models that it uses, by key.
    pub models: IndexMap<String, ModelUse>,
    /// `x-coracle: {optional: true}`: a service whose image cannot be had is skipped, not an error.
    pub optional: bool,
    /// `x-` attributes.
    pub extensions: IndexMap<String, serde_json::Value>,
}

/// Transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// Ports of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostPorts {
    /// Whichever is free.
    Any,
    /// This one.
    One(u16),
    /// The first free one between both, inclusive.
    Range(u16, u16),
}

/// A published port.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// Where it is given.
    pub span: Span,
    /// Address on the host; `None` is all.
    pub host_ip: Option<IpAddr>,
    /// Port on the host.
    pub published: HostPorts,
    /// Port inside.
    pub target: u16,
    /// Protocol.
    pub protocol: Protocol,
}

/// What must hold of a service before one that depends on it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DependencyCondition {
    /// It was started.
    Started,
    /// It is healthy.
    Healthy,
    /// It ended with 0.
    CompletedSuccessfully,
}

/// One entry of `depends_on`.
#[derive(Clone, Debug, PartialEq)]
pub struct Dependency {
    /// Where it is given.
    pub span: Span,
    /// What must hold.
    pub condition: DependencyCondition,
    /// Whether it restarts when the dependency is replaced.
    pub restart: bool,
    /// Whether it fails when the dependency is missing or does not get there.
    pub required: bool,
}

/// A health check; fields that are `None` keep the image's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Healthcheck {
    /// What the probe runs; [`HealthCommand::None`] turns probing off.
    pub command: Option<HealthCommand>,
    /// Time between probes.
    pub interval: Option<Duration>,
    /// Time a probe may take.
    pub timeout: Option<Duration>,
    /// Time in which failures do not count.
    pub start_period: Option<Duration>,
    /// Time between probes within the start period.
    pub start_interval: Option<Duration>,
    /// Failures in a row that make it unhealthy.
    pub retries: Option<u32>,
}

/// What happens when a container ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Nothing.
    #[default]
    No,
    /// It starts again.
    Always,
    /// It starts again unless a user stopped it.
    UnlessStopped,
    /// It starts again after a failure.
    OnFailure {
        /// How often at most.
        max_retries: Option<u32>,
    },
}

/// Limits and reservations of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Memory, bytes.
    pub memory: Option<u64>,
    /// Memory and swap, bytes; -1 is unlimited.
    pub memory_swap: Option<i64>,
    /// Memory reserved, bytes.
    pub memory_reservation: Option<u64>,
    /// Processors' worth of time, thousandths.
    pub millicpus: Option<u64>,
    /// Processors reserved, thousandths.
    pub millicpus_reservation: Option<u64>,
    /// Relative weight.
    pub cpu_shares: Option<u64>,
    /// Processors it may run on.
    pub cpuset: Option<String>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Length of the period in which `cpu_quota` is counted, microseconds.
    pub cpu_period: Option<u64>,
    /// Processor time in a period, microseconds.
    pub cpu_quota: Option<i64>,
    /// Length of the period in which `cpu_rt_runtime` is counted, microseconds.
    pub cpu_rt_period: Option<u64>,
    /// Real-time processor time in a period, microseconds.
    pub cpu_rt_runtime: Option<i64>,
    /// How readily its memory is swapped out, 0 to 100.
    pub memory_swappiness: Option<u64>,
    /// Whether its processes wait for memory rather than be ended.
    pub oom_kill_disable: bool,
    /// Weights and bounds of block devices.
    pub block_io: BlockIo,
}

/// A limit of processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ulimit {
    /// Name, e.g. `nofile`.
    pub name: String,
    /// Soft limit; `u64::MAX` is unlimited.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// Bounds of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logging {
    /// Whether nothing is kept (`driver: none`).
    pub disabled: bool,
    /// `max-size`, bytes.
    pub max_size: Option<u64>,
    /// `max-file`.
    pub max_files: Option<u32>,
    /// `compress`.
    pub compress: Option<bool>,
    /// `mode: non-blocking`.
    pub non_blocking: bool,
    /// `max-buffer-size`, bytes.
    pub buffer: Option<u64>,
}

/// A secret or configuration given to a service.
#[derive(Clone, Debug, PartialEq)]
pub struct FileGrant {
    /// Where it is given.
    pub span: Span,
    /// The key under `secrets` or `configs`.
    pub source: String,
    /// Absolute path inside.
    pub target: String,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Mode.
    pub mode: u32,
}

/// A secret or configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct FileObject {
    /// Where it is defined.
    pub span: Span,
    /// Its name.
    pub name: String,
    /// Where its content is.
    pub content: FileContent,
    /// The variable that gave the content, if one did.
    pub variable: Option<String>,
}

/// Where the content of a [`FileObject`] is.
#[derive(Clone, PartialEq, Eq)]
pub enum FileContent {
    /// In a file, absolute path.
    File(PathBuf),
    /// Here: from `content` or a variable. Not shown by `Debug`.
    Inline(String),
    /// With the platform, under this name; not made by us.
    External(String),
}

impl std::fmt::Debug for FileContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Inline(_) => f.write_str("Inline(..)"),
            Self::External(name) => f.debug_tuple("External").field(name).finish(),
        }
    }
}
