//! The mounts of a container, in the order in which they are made.

use std::path::Path;

use serde_json::{Value, json};

use super::{Facts, ResolvedSource, SHM_SIZE, secret_place};
use crate::ContainerSpec;

/// Returns all mounts: the kernel's file systems, then the user's from the root down, then files of `/etc` that the
/// user did not mount, then secrets.
pub(super) fn list(container: &ContainerSpec, facts: &Facts) -> Vec<Value> {
    let mut list = system(container);
    let mut wanted: Vec<_> = facts.mounts.iter().collect();
    // A mount must not hide another that lies below it.
    wanted.sort_by_key(|mount| mount.target.split('/').filter(|part| !part.is_empty()).count());
    // The user's mount on a place of ours, such as /dev/shm, replaces ours.
    list.retain(|ours| !wanted.iter().any(|mount| ours["destination"] == mount.target.as_str()));
    for mount in &wanted {
        list.push(match &mount.source {
            ResolvedSource::Path(path) => bind(path, &mount.target, mount.read_only),
            ResolvedSource::Tmpfs { size, mode } => {
                let mut options = vec![
                    "nosuid".to_owned(),
                    "nodev".to_owned(),
                    format!("mode={:o}", mode.unwrap_or(0o1777)),
                ];
                options.extend(size.map(|size| format!("size={size}")));
                options.extend(mount.read_only.then(|| "ro".to_owned()));
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

fn bind(source: &Path, target: &str, read_only: bool) -> Value {
    let access = if read_only { "ro" } else { "rw" };
    json!({
        "destination": target,
        "type": "bind",
        "source": source,
        "options": ["rbind", "rprivate", access],
    })
}

fn system(container: &ContainerSpec) -> Vec<Value> {
    let kernel_access = if container.privileged { "rw" } else { "ro" };
    let shm = format!("size={}", container.shm_size.unwrap_or(SHM_SIZE));
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
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
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
        json!({
            "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
            "options": ["nosuid", "noexec", "nodev", "mode=1777", shm],
        }),
    ]
}
