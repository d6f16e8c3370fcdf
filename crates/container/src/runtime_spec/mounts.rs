//! The mounts of a container, in the order in which they are made.

use std::path::Path;

use serde_json::{Value, json};

use super::{Facts, ResolvedMount, ResolvedSource, SHM_SIZE, secret_place};
use crate::{ContainerSpec, IpcMode, Recursion};

/// Returns all mounts: the kernel's file systems, then the user's from the root down, then files of `/etc` that the
/// user did not mount, then secrets.
pub(super) fn list(container: &ContainerSpec, facts: &Facts) -> Vec<Value> {
    let mut list = system(container, facts);
    let mut wanted: Vec<_> = facts.mounts.iter().collect();
    // A mount must not hide another that lies below it.
    wanted.sort_by_key(|mount| mount.target.split('/').filter(|part| !part.is_empty()).count());
    // The user's mount on a place of ours, such as /dev/shm, replaces ours.
    list.retain(|ours| !wanted.iter().any(|mount| ours["destination"] == mount.target.as_str()));
    for mount in &wanted {
        list.push(match &mount.source {
            ResolvedSource::Path(path) => user_bind(path, mount),
            ResolvedSource::Tmpfs { size, mode, options } => {
                let options = tmpfs_options(*size, *mode, options, mount.read_only);
                json!({ "destination": mount.target, "type": "tmpfs", "source": "tmpfs", "options": options })
            }
        });
    }
    let etc = [
        (&facts.etc.hosts, "/etc/hosts"),
        (&facts.etc.hostname, "/etc/hostname"),
        (&facts.etc.resolv_conf, "/etc/resolv.conf"),
    ];
    for (file, target) in etc {
        let Some(file) = file else { continue };
        if !wanted.iter().any(|mount| mount.target == target) {
            list.push(bind(file, target, container.read_only));
        }
    }
    if let Some(directory) = &facts.secrets {
        let mut together = false;
        for (index, secret) in container.secrets.iter().enumerate() {
            let place = secret_place(index, &secret.target);
            if place.starts_with("run") {
                together = true;
            } else {
                list.push(bind(&directory.join(place), &secret.target, true));
            }
        }
        if together {
            list.push(bind(&directory.join("run"), "/run/secrets", true));
        }
    }
    list
}

/// Files of `/proc` that tools such as lxcfs replace, as runc lets them.
const REPLACEABLE: [&str; 10] = [
    "cpuinfo",
    "diskstats",
    "loadavg",
    "meminfo",
    "net/dev",
    "slabinfo",
    "stat",
    "swaps",
    "sys/kernel/ns_last_pid",
    "uptime",
];

/// Says whether a mount at `target` lies outside `/proc`, or on one of its files that only tell something.
pub(super) fn leaves_proc_alone(target: &str) -> bool {
    let mut parts = Vec::new();
    for part in target.split('/').filter(|part| !matches!(*part, "" | ".")) {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    match parts.split_first() {
        Some((&"proc", below)) => REPLACEABLE.contains(&below.join("/").as_str()),
        _ => true,
    }
}

/// Returns a bind mount of the user's: what lies below it is read-only too, unless told otherwise (Docker from 25 on).
fn user_bind(source: &Path, mount: &ResolvedMount) -> Value {
    let mut options = vec![match mount.recursion {
        Recursion::Disabled => "bind",
        Recursion::Enabled | Recursion::Writable | Recursion::ReadOnly => "rbind",
    }];
    if mount.read_only {
        options.push("ro");
        match mount.recursion {
            Recursion::Enabled | Recursion::ReadOnly => options.push("rro"),
            Recursion::Disabled | Recursion::Writable => {}
        }
    } else {
        options.push("rw");
    }
    json!({ "destination": mount.target, "type": "bind", "source": source, "options": options })
}

/// Returns the options of a tmpfs: Docker's defaults, each replaced by the option that contradicts it.
fn tmpfs_options(size: Option<u64>, mode: Option<u32>, given: &[String], read_only: bool) -> Vec<String> {
    let mut options: Vec<String> = [("noexec", "exec"), ("nosuid", "suid"), ("nodev", "dev")]
        .into_iter()
        .filter(|(_, contrary)| !given.iter().any(|given| given == contrary))
        .map(|(default, _)| default.to_owned())
        .collect();
    options.push(format!("mode={:o}", mode.unwrap_or(0o1777)));
    options.extend(size.map(|size| format!("size={size}")));
    let extra = given.iter().filter(|given| given.contains('='));
    options.extend(extra.cloned());
    options.extend(read_only.then(|| "ro".to_owned()));
    options
}

fn bind(source: &Path, target: &str, read_only: bool) -> Value {
    let access = if read_only { "ro" } else { "rw" };
    json!({
        "destination": target,
        "type": "bind",
        "source": source,
        "options": ["rbind", "rprivate", access],
    })
}

fn system(container: &ContainerSpec, facts: &Facts) -> Vec<Value> {
    let mut list = kernel(container, facts);
    match container.isolation.ipc {
        IpcMode::Private | IpcMode::Shareable => {
            let size = format!("size={}", container.shm_size.unwrap_or(SHM_SIZE));
            list.push(json!({
                "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
                "options": ["nosuid", "noexec", "nodev", "mode=1777", size],
            }));
        }
        IpcMode::None => {}
        IpcMode::Host => list.push(bind(Path::new("/dev/shm"), "/dev/shm", false)),
        IpcMode::Container(_) => list.push(bind(&facts.namespaces.join("shm"), "/dev/shm", false)),
    }
    list
}

fn kernel(container: &ContainerSpec, facts: &Facts) -> Vec<Value> {
    let kernel_access = if container.privileged { "rw" } else { "ro" };
    let mut terminals = vec!["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    // The group `tty`, where it exists.
    if facts.largest_group >= 5 {
        terminals.push("gid=5");
    }
    vec![
        json!({
            "destination": "/proc", "type": "proc", "source": "proc",
            "options": ["nosuid", "noexec", "nodev"],
        }),
        json!({
            "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
        }),
        json!({
            "destination": "/dev/pts", "type": "devpts", "source": "devpts",
            "options": terminals,
        }),
        json!({
            "destination": "/sys", "type": "sysfs", "source": "sysfs",
            "options": ["nosuid", "noexec", "nodev", kernel_access],
        }),
        json!({
            "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
            "options": ["nosuid", "noexec", "nodev", kernel_access],
        }),
        json!({
            "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
            "options": ["nosuid", "noexec", "nodev"],
        }),
    ]
}
