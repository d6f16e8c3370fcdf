//! The pure writer of the OCI runtime specification: a wanted container and facts about the host in, the document
//! that the shim hands to libcontainer out.
//!
//! Owns Docker's defaults (mounts, masked paths, capabilities, seccomp). Refuses to look anything up: ids, devices
//! and host paths come resolved in [`Facts`]. The document names no network namespace, since the container inherits
//! its shim's; network sysctls are handed back for the shim to set there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use oci_spec::runtime::Spec;
use serde_json::{Map, Value, json};

use crate::{ContainerId, ContainerSpec, Recursion};

mod capability;
mod mounts;
mod seccomp;

/// `PATH` of a container whose image sets none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Length of the period in which a CPU quota is counted, microseconds.
const CPU_PERIOD: u64 = 100_000;
/// Size of `/dev/shm` when none is asked, bytes.
const SHM_SIZE: u64 = 64 << 20;

/// Kernel files that a container may not see.
const MASKED_PATHS: [&str; 10] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/sys/firmware",
];
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
    /// The AppArmor profile to apply, where the host enforces one.
    pub apparmor_profile: Option<String>,
    /// Mounts whose sources are host paths by now, in order.
    pub mounts: Vec<ResolvedMount>,
    /// Files bound over `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf`.
    pub etc: EtcFiles,
    /// Directory that holds the secrets as the shim lays them out, see [`secret_place`].
    pub secrets: Option<PathBuf>,
    /// Device nodes given through.
    pub devices: Vec<DeviceNode>,
    /// Capabilities that the caller holds: `CapBnd` of `/proc/self/status`.
    pub available_capabilities: u64,
    /// Current hard limits by lower-case name; empty when the caller may raise limits (CAP_SYS_RESOURCE).
    pub hard_limits: BTreeMap<String, u64>,
    /// Whether swap is accounted per control group.
    pub swap_accounting: bool,
}

/// Whose network a container uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkNamespace {
    /// Its own, made by its shim.
    Own,
    /// The host's.
    Host,
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
    /// Its path, the same inside.
    pub path: PathBuf,
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
    let hostname = container.hostname.clone().unwrap_or_else(|| facts.id.short().to_owned());
    let (network_sysctls, sysctls) = sysctls(container, facts);

    let mut process = json!({
        "terminal": container.tty,
        "user": { "uid": facts.uid, "gid": facts.gid, "additionalGids": facts.additional_gids },
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
    if let Some(profile) = facts.apparmor_profile.as_ref().filter(|_| !container.privileged) {
        process["apparmorProfile"] = json!(profile);
    }

    let mut linux = json!({
        "cgroupsPath": facts.id.cgroup_path(),
        "namespaces": [
            { "type": "pid" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" }, { "type": "cgroup" },
        ],
        "devices": facts.devices.iter().map(device).collect::<Vec<_>>(),
        "resources": resources(container, facts, &mut notes),
        "sysctl": sysctls,
        "rootfsPropagation": "slave",
        "maskedPaths": if container.privileged { json!([]) } else { json!(MASKED_PATHS) },
        "readonlyPaths": if container.privileged { json!([]) } else { json!(READONLY_PATHS) },
    });
    if !container.privileged && !container.seccomp_unconfined {
        linux["seccomp"] = seccomp::profile(&granted.set, std::env::consts::ARCH);
    }
    let document = json!({
        "ociVersion": "1.2.0",
        "process": process,
        "root": { "path": facts.rootfs, "readonly": container.read_only },
        "hostname": hostname,
        "mounts": mounts::list(container, facts),
        "linux": linux,
    });
    let spec = serde_json::from_value(document).expect("the document has the specification's shape");
    Ok(RuntimeSpec { spec, network_sysctls, notes })
}

/// Returns the environment: Docker's own variables first, so that the image and the user override them.
fn environment(container: &ContainerSpec, facts: &Facts, hostname: &str) -> Vec<String> {
    let wanted = &container.environment;
    let defaults = [
        ("PATH", Some(DEFAULT_PATH)),
        ("HOSTNAME", facts.host_name_variable.then_some(hostname)),
        ("TERM", container.tty.then_some("xterm")),
        ("HOME", Some(facts.home.as_str())),
    ];
    defaults
        .into_iter()
        .filter(|(name, _)| !wanted.contains_key(*name))
        .filter_map(|(name, value)| Some(format!("{name}={}", value?)))
        .chain(wanted.iter().map(|(name, value)| format!("{name}={value}")))
        .collect()
}

/// Splits the sysctls into those of the network namespace and the rest.
fn sysctls(container: &ContainerSpec, facts: &Facts) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let (mut network, rest): (BTreeMap<_, _>, BTreeMap<_, _>) = container
        .sysctls
        .iter()
        .map(|(key, value)| (key.replace('/', "."), value.clone()))
        .partition(|(key, _)| key.starts_with("net."));
    if facts.network_namespace == NetworkNamespace::Own {
        // As Docker: without privileges, a process may use port 80 and ping in a network of its own.
        for (key, value) in
            [("net.ipv4.ip_unprivileged_port_start", "0"), ("net.ipv4.ping_group_range", "0 2147483647")]
        {
            network.entry(key.to_owned()).or_insert_with(|| value.to_owned());
        }
    }
    (network, rest)
}

fn rlimits(
    container: &ContainerSpec,
    facts: &Facts,
    notes: &mut Vec<String>,
) -> Result<Vec<Value>, RuntimeSpecError> {
    const NAMES: [&str; 16] = [
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
    let mut list = Vec::new();
    let mut seen = BTreeSet::new();
    for ulimit in container.ulimits.iter().rev() {
        if !NAMES.contains(&ulimit.name.as_str()) {
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

fn device(node: &DeviceNode) -> Value {
    json!({
        "path": node.path,
        "type": if node.block { "b" } else { "c" },
        "major": node.major,
        "minor": node.minor,
        "fileMode": node.mode & 0o777,
        "uid": node.uid,
        "gid": node.gid,
    })
}

fn resources(container: &ContainerSpec, facts: &Facts, notes: &mut Vec<String>) -> Value {
    let wanted = &container.resources;
    let mut devices = vec![json!({ "allow": container.privileged, "access": "rwm" })];
    if !container.privileged {
        devices.extend(facts.devices.iter().map(|node| {
            json!({
                "allow": true,
                "type": if node.block { "b" } else { "c" },
                "major": node.major,
                "minor": node.minor,
                "access": "rwm",
            })
        }));
    }
    let mut resources = json!({ "devices": devices });

    let mut memory = Map::new();
    if let Some(limit) = wanted.memory {
        memory.insert("limit".to_owned(), json!(limit));
        let swap = wanted.memory_swap.unwrap_or_else(|| {
            i64::try_from(limit).ok().and_then(|limit| limit.checked_mul(2)).unwrap_or(-1)
        });
        if facts.swap_accounting {
            memory.insert("swap".to_owned(), json!(swap));
        } else if wanted.memory_swap.is_some() {
            notes.push(
                "the limit of memory and swap is left out: this kernel does not account swap".to_owned(),
            );
        }
    }
    if let Some(reservation) = wanted.memory_reservation {
        memory.insert("reservation".to_owned(), json!(reservation));
    }
    if !memory.is_empty() {
        resources["memory"] = Value::Object(memory);
    }

    let mut cpu = Map::new();
    if let Some(millicpus) = wanted.millicpus {
        // The kernel refuses a quota below one millisecond.
        cpu.insert("quota".to_owned(), json!((millicpus * CPU_PERIOD / 1000).max(1000)));
        cpu.insert("period".to_owned(), json!(CPU_PERIOD));
    }
    if let Some(shares) = wanted.cpu_shares {
        cpu.insert("shares".to_owned(), json!(shares));
    }
    if let Some(cpuset) = &wanted.cpuset {
        cpu.insert("cpus".to_owned(), json!(cpuset));
    }
    if !cpu.is_empty() {
        resources["cpu"] = Value::Object(cpu);
    }
    if let Some(pids) = wanted.pids {
        resources["pids"] = json!({ "limit": i64::try_from(pids).unwrap_or(i64::MAX) });
    }
    resources
}

#[cfg(test)]
mod tests;
