//! The pure writer of the OCI runtime specification: a wanted container and facts about the host in, the document
//! that the shim hands to libcontainer out.
//!
//! Owns Docker's defaults (mounts, masked paths, capabilities, seccomp). Refuses to look anything up: ids, devices
//! and host paths come resolved in [`Facts`]. The document names no network namespace, since the container inherits
//! its shim's; network sysctls are handed back for the shim to set there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use oci_spec::runtime::Spec;
use serde_json::{Value, json};

use crate::{ContainerId, ContainerSpec, DeviceAccess, Recursion, UtsMode};

mod capability;
mod check;
mod mounts;
mod namespaces;
mod resources;
mod seccomp;
mod seccomp_profile;

pub use check::check_spec;
pub use seccomp_profile::ProfileError;

/// `PATH` of a container whose image sets none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Size of `/dev/shm` when none is asked, bytes.
const SHM_SIZE: u64 = 64 << 20;

/// Kernel files that a container may not see, as Docker 28 has them.
const MASKED_PATHS: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
/// A directory of each processor that a container may not see, as Docker 28 has it: `{}` is the processor's number.
const MASKED_OF_PROCESSOR: &str = "/sys/devices/system/cpu/cpu{}/thermal_throttle";
/// Kernel files that a container may not write.
const READONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Why no specification can be written.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum RuntimeSpecError {
    /// The container has neither an entry point nor a command.
    #[error("no command is given, and the image has none")]
    NoCommand,
    /// A capability that does not exist.
    #[error("`{0}` is not a capability")]
    Capability(String),
    /// A resource limit that does not exist.
    #[error("`{0}` is not a resource limit of processes")]
    Ulimit(String),
    /// A soft limit above the hard one.
    #[error("the soft limit of `{0}` is above its hard limit")]
    UlimitOrder(String),
    /// A kernel parameter that is not the container's own.
    #[error("the kernel parameter `{key}` is not {whose}")]
    Sysctl {
        /// Its name.
        key: String,
        /// Whose it is not, and why.
        whose: &'static str,
    },
    /// Two ways to say the same.
    #[error("a number of processors excludes a quota and a period of processor time")]
    CpuLimits,
    /// Something else than a block device.
    #[error("`{0}` is no block device of this host")]
    BlockDevice(String),
    /// A mount over the kernel's own files.
    #[error("`{0}` cannot be mounted over: what lies in /proc is the kernel's, and walls the container in")]
    ProcMount(String),
    /// A device outside of `/dev`.
    #[error("a device can only be given below /dev, not as `{0}`")]
    DevicePath(String),
    /// An AppArmor profile that the kernel does not have.
    #[error("the AppArmor profile `{0}` is not loaded; `apparmor_parser -r FILE` loads it from a file")]
    AppArmorProfile(String),
    /// A system call profile that cannot be read.
    #[error("the seccomp profile cannot be used: {0}")]
    Profile(#[from] ProfileError),
}

/// What the writer needs to know and may not find out.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The container's id.
    pub id: ContainerId,
    /// Where the shim mounts the root file system, absolute.
    pub rootfs: PathBuf,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups, the primary one included when the user database says so.
    pub additional_gids: Vec<u32>,
    /// The user's home directory.
    pub home: String,
    /// Whose network it uses.
    pub network_namespace: NetworkNamespace,
    /// Whether the environment says the host's name.
    pub host_name_variable: bool,
    /// The host's name, for a container that shares it.
    pub host_name: String,
    /// The AppArmor profile to apply, where the host enforces one.
    pub apparmor_profile: Option<String>,
    /// Whether the host enforces AppArmor profiles at all.
    pub apparmor_enabled: bool,
    /// Mounts whose sources are host paths by now, in order.
    pub mounts: Vec<ResolvedMount>,
    /// Files bound over `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf`.
    pub etc: EtcFiles,
    /// Directory that holds the secrets as the shim lays them out, see [`secret_place`].
    pub secrets: Option<PathBuf>,
    /// Where the shim binds namespaces, and `/dev/shm`, of other containers: `pid`, `ipc`, `shm`.
    pub namespaces: PathBuf,
    /// Device nodes given through.
    pub devices: Vec<DeviceNode>,
    /// Major and minor numbers of the block devices that limits speak of.
    pub block_devices: BTreeMap<PathBuf, (i64, i64)>,
    /// Capabilities that the caller holds: `CapBnd` of `/proc/self/status`.
    pub available_capabilities: u64,
    /// Current hard limits by lower-case name; empty when the caller may raise limits (CAP_SYS_RESOURCE).
    pub hard_limits: BTreeMap<String, u64>,
    /// Whether swap is accounted per control group.
    pub swap_accounting: bool,
    /// Version of the kernel, major and minor.
    pub kernel: (u32, u32),
    /// Numbers of the processors whose thermal throttle `/sys` shows.
    pub throttles: Vec<u32>,
    /// What else control groups of this kernel can do.
    pub controls: Controls,
    /// Whether there is a control group to put the container in, with limits and devices of its own.
    pub limits: bool,
    /// Largest group that exists in this user namespace; `u32::MAX - 1` on the host itself.
    pub largest_group: u32,
    /// The caller's `oom_score_adj`, and whether it may lower it.
    pub oom_score: OomScore,
}

/// What the control groups of a kernel can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Controls {
    /// `memory.swappiness`, of version 1.
    pub swappiness: bool,
    /// `memory.oom_control`, of version 1.
    pub oom_control: bool,
    /// Real-time processor time, of version 1.
    pub realtime: bool,
    /// A weight for block devices.
    pub io_weight: bool,
    /// Bounds for block devices.
    pub io_throttle: bool,
}

/// How soon the kernel ends the caller for want of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OomScore {
    /// `/proc/self/oom_score_adj`.
    pub current: i32,
    /// Whether it may be lowered (CAP_SYS_RESOURCE).
    pub may_lower: bool,
}

/// Whose network a container uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkNamespace {
    /// Its own, made by its shim.
    Own,
    /// The host's.
    Host,
    /// Another container's, which the shim joins.
    Joined,
}

/// Files that replace those of the image.
#[derive(Clone, Debug, Default)]
pub struct EtcFiles {
    /// `/etc/hosts`.
    pub hosts: Option<PathBuf>,
    /// `/etc/hostname`.
    pub hostname: Option<PathBuf>,
    /// `/etc/resolv.conf`.
    pub resolv_conf: Option<PathBuf>,
}

/// A mount with everything looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedMount {
    /// What.
    pub source: ResolvedSource,
    /// Where, an absolute path inside.
    pub target: String,
    /// Whether writing is refused.
    pub read_only: bool,
    /// What becomes of mounts below its source.
    pub recursion: Recursion,
}

/// What a [`ResolvedMount`] mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResolvedSource {
    /// A host path, bound.
    Path(PathBuf),
    /// A fresh tmpfs.
    Tmpfs {
        /// Size in bytes; `None` means the kernel's default.
        size: Option<u64>,
        /// Mode of its root; `None` means 1777.
        mode: Option<u32>,
        /// Further options; each takes the place of the default that it contradicts.
        options: Vec<String>,
    },
}

/// A device node as found on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceNode {
    /// Its path inside.
    pub path: PathBuf,
    /// What may be done with it.
    pub access: DeviceAccess,
    /// Whether it is a block device rather than a character device.
    pub block: bool,
    /// Major number.
    pub major: i64,
    /// Minor number.
    pub minor: i64,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// The document, and what goes beside it.
#[derive(Clone, Debug)]
pub struct RuntimeSpec {
    /// The document.
    pub spec: Spec,
    /// Sysctls of the network namespace; the shim sets them in the one it made.
    pub network_sysctls: BTreeMap<String, String>,
    /// What could not be given in full, in words for the user.
    pub notes: Vec<String>,
}

/// Returns where below the secrets directory the shim puts the secret number `index` with this `target`: secrets of
/// `/run/secrets` lie together, so that one mount brings them all; others apart.
pub fn secret_place(index: usize, target: &str) -> PathBuf {
    match target.strip_prefix("/run/secrets/") {
        Some(rest) if !rest.is_empty() && rest.split('/').all(|part| !matches!(part, "" | "." | "..")) => {
            PathBuf::from("run").join(rest)
        }
        _ => PathBuf::from("other").join(index.to_string()),
    }
}

/// Returns the specification of a container.
pub fn oci_runtime_spec(container: &ContainerSpec, facts: &Facts) -> Result<RuntimeSpec, RuntimeSpecError> {
    let mut notes = Vec::new();
    let granted = capability::grant(
        &container.cap_add,
        &container.cap_drop,
        container.privileged,
        facts.available_capabilities,
    )
    .map_err(RuntimeSpecError::Capability)?;
    for name in &granted.missing {
        notes.push(format!("{name} is not given: this process does not hold it itself"));
    }
    let args: Vec<&String> = container.entrypoint.iter().chain(&container.command).collect();
    if args.is_empty() {
        return Err(RuntimeSpecError::NoCommand);
    }
    let shared_name = container.isolation.uts == UtsMode::Host;
    let hostname = match &container.hostname {
        _ if shared_name => facts.host_name.clone(),
        Some(name) => name.clone(),
        None => facts.id.short().to_owned(),
    };
    let (network_sysctls, sysctls) =
        namespaces::sysctls(container, facts.network_namespace, facts.largest_group)?;
    for node in &facts.devices {
        if !node.path.starts_with("/dev") || node.path == std::path::Path::new("/dev") {
            return Err(RuntimeSpecError::DevicePath(node.path.display().to_string()));
        }
    }

    // With one group to its name a user may not say which groups a process has.
    let groups: &[u32] = if facts.largest_group == 0 { &[] } else { &facts.additional_gids };
    if let Some(mount) = facts.mounts.iter().find(|mount| !mounts::leaves_proc_alone(&mount.target)) {
        return Err(RuntimeSpecError::ProcMount(mount.target.clone()));
    }

    let mut process = json!({
        "terminal": container.tty,
        "user": { "uid": facts.uid, "gid": facts.gid, "additionalGids": groups },
        "args": args,
        "env": environment(container, facts, &hostname),
        "cwd": if container.working_directory.is_empty() { "/" } else { &container.working_directory },
        // The inheritable and ambient sets stay empty, as Docker has it since CVE-2022-24769.
        "capabilities": { "bounding": granted.set, "effective": granted.set, "permitted": granted.set },
        "rlimits": rlimits(container, facts, &mut notes)?,
    });
    if container.no_new_privileges {
        // Absent and false differ: libcontainer loads the filter before it drops capabilities only when absent.
        process["noNewPrivileges"] = json!(true);
    }
    if let Some(profile) = apparmor(container, facts, &mut notes) {
        process["apparmorProfile"] = json!(profile);
    }
    if let Some(score) = oom_score(container, facts, &mut notes) {
        process["oomScoreAdj"] = json!(score);
    }
    if container.security.labels.iter().any(|label| label != "disable") {
        notes.push("labels of SELinux have no effect: it is not supported".to_owned());
    }

    let (masked, read_only) = system_paths(container, facts);
    let mut linux = json!({
        "cgroupsPath": cgroup_path(container, &facts.id),
        "namespaces": namespaces::list(container, facts),
        "devices": facts.devices.iter().filter(|node| !is_usual(node)).map(resources::device).collect::<Vec<_>>(),
        "sysctl": sysctls,
        "rootfsPropagation": "slave",
        "maskedPaths": masked,
        "readonlyPaths": read_only,
    });
    let resources = resources::resources(container, facts, &mut notes)?;
    if facts.limits {
        linux["resources"] = resources;
    } else {
        notes.extend(resources::not_enforced(&resources));
    }
    if !container.privileged && !container.seccomp_unconfined {
        linux["seccomp"] = match &container.security.seccomp_profile {
            Some(text) => seccomp_profile::convert(text, &granted.set, std::env::consts::ARCH, facts.kernel)?,
            None => seccomp::profile(&granted.set, std::env::consts::ARCH, facts.kernel),
        };
    }
    let mut document = json!({
        "ociVersion": "1.2.0",
        "process": process,
        "root": { "path": facts.rootfs, "readonly": container.read_only },
        "mounts": mounts::list(container, facts),
        "linux": linux,
    });
    if !shared_name {
        document["hostname"] = json!(hostname);
        if let Some(domain) = &container.domainname {
            document["domainname"] = json!(domain);
        }
    }
    if !container.annotations.is_empty() {
        document["annotations"] = json!(container.annotations);
    }
    let spec = serde_json::from_value(document).expect("the document has the specification's shape");
    Ok(RuntimeSpec { spec, network_sysctls, notes })
}

/// Checks a system call profile in Docker's JSON.
pub fn check_seccomp_profile(text: &str) -> Result<(), ProfileError> {
    let kernel = (u32::MAX, 0);
    seccomp_profile::convert(text, &BTreeSet::new(), std::env::consts::ARCH, kernel).map(drop)
}

/// Returns the path of a container's control group below each hierarchy's root.
pub fn cgroup_path(container: &ContainerSpec, id: &ContainerId) -> String {
    match container.cgroup_parent.as_deref().map(|parent| parent.trim_matches('/')) {
        Some(parent) if !parent.is_empty() => format!("/{parent}{}", id.cgroup_path()),
        _ => id.cgroup_path(),
    }
}

/// Says whether a node is one of those that every container has.
fn is_usual(node: &DeviceNode) -> bool {
    let usual = ["null", "zero", "full", "tty", "random", "urandom", "console", "ptmx"];
    usual.iter().any(|name| node.path.strip_prefix("/dev") == Ok(std::path::Path::new(name)))
}

fn apparmor(container: &ContainerSpec, facts: &Facts, notes: &mut Vec<String>) -> Option<String> {
    match container.security.apparmor.as_deref() {
        _ if container.privileged => None,
        None => facts.apparmor_profile.clone(),
        Some("unconfined") => None,
        Some(profile) if facts.apparmor_enabled => Some(profile.to_owned()),
        Some(profile) => {
            notes.push(format!("the AppArmor profile `{profile}` has no effect: this kernel enforces none"));
            None
        }
    }
}

fn oom_score(container: &ContainerSpec, facts: &Facts, notes: &mut Vec<String>) -> Option<i32> {
    let score = container.oom_score_adj?;
    if score < facts.oom_score.current && !facts.oom_score.may_lower {
        let current = facts.oom_score.current;
        notes
            .push(format!("oom_score_adj stays at {current}: lowering it to {score} needs CAP_SYS_RESOURCE"));
        return None;
    }
    Some(score)
}

/// Returns the paths that are hidden, and those that may not be written.
fn system_paths(container: &ContainerSpec, facts: &Facts) -> (Vec<String>, Vec<String>) {
    let security = &container.security;
    let all = container.privileged || security.system_paths_unconfined;
    let kept = |path: &str| {
        !all && !security.unmask.iter().any(|unmask| {
            let same = unmask.trim_end_matches('/') == path;
            let below =
                unmask.strip_suffix("/*").is_some_and(|parent| path.starts_with(&format!("{parent}/")));
            same || below || unmask.eq_ignore_ascii_case("all")
        })
    };
    let owned = |paths: &[&'static str]| -> Vec<String> {
        paths.iter().copied().filter(|path| kept(path)).map(str::to_owned).collect()
    };
    let mut masked = owned(&MASKED_PATHS);
    let of_processors =
        facts.throttles.iter().map(|number| MASKED_OF_PROCESSOR.replace("{}", &number.to_string()));
    masked.extend(of_processors.filter(|path| kept(path)));
    masked.extend(security.mask.iter().cloned());
    (masked, owned(&READONLY_PATHS))
}

/// Returns the environment: Docker's own variables first, so that the image and the user override them.
fn environment(container: &ContainerSpec, facts: &Facts, hostname: &str) -> Vec<String> {
    let wanted = &container.environment;
    // An empty home is none, as Docker has it: the runtime below would look one up by the C library, which loads what
    // the image says while it still has all privileges.
    let empty = |name: &str, value: &str| name == "HOME" && value.is_empty();
    let defaults = [
        ("PATH", Some(DEFAULT_PATH)),
        ("HOSTNAME", facts.host_name_variable.then_some(hostname)),
        ("TERM", container.tty.then_some("xterm")),
        ("HOME", Some(facts.home.as_str())),
    ];
    defaults
        .into_iter()
        .filter(|(name, _)| wanted.get(*name).is_none_or(|value| empty(name, value)))
        .filter_map(|(name, value)| Some(format!("{name}={}", value?)))
        .chain(
            wanted
                .iter()
                .filter(|(name, value)| !empty(name, value))
                .map(|(name, value)| format!("{name}={value}")),
        )
        .collect()
}

/// Limits of processes (`getrlimit(2)`).
const RLIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

fn rlimits(
    container: &ContainerSpec,
    facts: &Facts,
    notes: &mut Vec<String>,
) -> Result<Vec<Value>, RuntimeSpecError> {
    let mut list = Vec::new();
    let mut seen = BTreeSet::new();
    for ulimit in container.ulimits.iter().rev() {
        if !RLIMITS.contains(&ulimit.name.as_str()) {
            return Err(RuntimeSpecError::Ulimit(ulimit.name.clone()));
        }
        if ulimit.soft > ulimit.hard {
            return Err(RuntimeSpecError::UlimitOrder(ulimit.name.clone()));
        }
        if !seen.insert(&ulimit.name) {
            continue;
        }
        let bound = facts.hard_limits.get(&ulimit.name).copied().unwrap_or(u64::MAX);
        if ulimit.hard > bound {
            notes.push(format!(
                "the limit `{}` stays at {bound}: raising it needs CAP_SYS_RESOURCE",
                ulimit.name
            ));
        }
        list.push(json!({
            "type": format!("RLIMIT_{}", ulimit.name.to_ascii_uppercase()),
            "soft": ulimit.soft.min(bound),
            "hard": ulimit.hard.min(bound),
        }));
    }
    list.reverse();
    Ok(list)
}

#[cfg(test)]
mod tests;
