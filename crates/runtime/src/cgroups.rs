//! Control groups of containers, as their bundles name them: measured, and removed with the parents made for them.
//!
//! ```text
//! <run>/../cgroup-parents/<name>   a group that was not there before a container wanted to be below it; `/` is `%2F`
//! ```
//!
//! A parent that somebody else made, with limits of its own, is never removed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use coracle_container::runtime_spec::cgroup_path;
use coracle_container::{ContainerId, ContainerSpec};
use coracle_shim::cgroup::{self, Cgroup, Usage, Version};
use coracle_shim::config::{CONFIG_FILE, Scope, ShimConfig};
use coracle_shim::limits::Limits;
use coracle_shim::state::ShimState;

use crate::{Paths, Runtime, RuntimeError, bundle};

/// Returns the groups above `path`, the innermost first, without the root.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| path.rsplit_once('/').map(|(parent, _)| parent))
        .skip(1)
        .filter(|path| !path.is_empty())
}

fn records(paths: &Paths) -> PathBuf {
    paths.run.parent().unwrap_or(&paths.run).join("cgroup-parents")
}

fn record(directory: &Path, group: &str) -> PathBuf {
    directory.join(group.trim_start_matches('/').replace('%', "%25").replace('/', "%2F"))
}

/// Where a container's control group is to be.
pub(crate) struct Place {
    /// Below each hierarchy's root.
    pub path: String,
    /// The unit of systemd around it, where there is one.
    pub scope: Option<Scope>,
}

/// Returns a number that no recent run of the same container has: the clock's, of which 32 bits repeat after days.
pub(crate) fn run_number() -> u32 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    u32::try_from(since.as_micros() / 100 % (1 << 32)).expect("it is below 2^32")
}

/// Decides where a container's control group is to be: where `managed` says that systemd manages them, in a unit of its own.
///
/// A parent that is a slice's name is one then; any other parent is a group by its path, which the user answers for. `run`
/// tells the runs of a container apart: the unit of the last one goes only when its clean-up has ended, which may wait for us.
pub(crate) fn place(container: &ContainerSpec, id: &ContainerId, managed: bool, run: u32) -> Place {
    let slice = match container.cgroup_parent.as_deref().map(|parent| parent.trim_matches('/')) {
        None | Some("") => Some("coracle.slice"),
        Some(parent) => Some(parent).filter(|name| {
            let stem = name.strip_suffix(".slice").unwrap_or_default();
            !stem.is_empty() && !stem.contains('/') && stem.split('-').all(|part| !part.is_empty())
        }),
    };
    match slice.filter(|_| managed) {
        Some(slice) => {
            let scope = Scope {
                unit: format!("{}-{run:08x}.scope", id.cgroup_path().trim_start_matches('/')),
                slice: slice.to_owned(),
                description: format!("Coracle container {}", container.name),
            };
            Place { path: scope.cgroup(), scope: Some(scope) }
        }
        None => Place { path: cgroup_path(container, id), scope: None },
    }
}

/// Remembers which of the groups above `path` are not there yet.
pub(crate) fn note_parent(paths: &Paths, path: &str) -> Result<(), RuntimeError> {
    let directory = records(paths);
    for group in ancestors(path) {
        if !Cgroup::new(group).exists() {
            bundle::make_directory(&directory)?;
            bundle::write_file(&record(&directory, group), b"")?;
        }
    }
    Ok(())
}

/// Returns the file by which a process enters the group it is in, from what `/proc/self/cgroup` says.
fn own_door(memberships: &str, version: Version) -> Option<PathBuf> {
    let mount = Path::new("/sys/fs/cgroup");
    memberships.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?.strip_prefix('/')?);
        let hierarchy = match (version, controllers) {
            (Version::V2, "") => mount.to_owned(),
            (Version::V1, "pids") => mount.join("pids"),
            _ => return None,
        };
        // A group outside of what can be seen here has no path here.
        (!path.split('/').any(|part| part == "..")).then(|| hierarchy.join(path).join("cgroup.procs"))
    })
}

/// Tells the kernel that a process will soon be moved between control groups; returns at once.
///
/// Each move takes a lock that costs a grace period of RCU, 10 ms and more, unless it was taken just before. A thread moves this
/// process to where it is, so that the wait passes while a container is prepared. Nothing depends on its success.
pub fn expect_moves() {
    let _ = std::thread::Builder::new().name("cgroup".to_owned()).spawn(|| {
        let memberships = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        if let Some(door) = own_door(&memberships, cgroup::version()) {
            let _ = fs::write(door, "0");
        }
    });
}

impl Runtime {
    fn cgroup(&self, id: &ContainerId) -> String {
        let config = fs::read(self.paths.bundle(id).join(CONFIG_FILE)).ok();
        let config = config.and_then(|text| serde_json::from_slice::<ShimConfig>(&text).ok());
        config.map_or_else(|| id.cgroup_path(), |config| config.cgroup)
    }

    /// Ends every process of the container's control group and removes the group, and those above it that were made for
    /// it and are empty now. One that is gone is no error.
    pub fn remove_cgroup(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let path = self.cgroup(id);
        let cgroup = Cgroup::new(&path);
        if cgroup.exists() {
            cgroup.kill();
            cgroup.remove().map_err(RuntimeError::file("remove the control group", &path))?;
        }
        let directory = records(&self.paths);
        for group in ancestors(&path) {
            let record = record(&directory, group);
            // One that others are still below stays until the last of them goes.
            if record.exists() && Cgroup::new(group).remove_empty().is_ok() {
                match fs::remove_file(&record) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(RuntimeError::file("remove", &record)(error));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Sets limits of a running container. Returns the kernel's files that it does not have, for limits left out.
    pub fn set_limits(&self, id: &ContainerId, limits: &Limits) -> Result<Vec<&'static str>, RuntimeError> {
        let path = self.cgroup(id);
        Cgroup::new(&path).set_limits(limits).map_err(RuntimeError::file("set limits of", path))
    }

    /// Returns whether the container has a control group.
    pub fn has_cgroup(&self, id: &ContainerId) -> bool {
        Cgroup::new(&self.cgroup(id)).exists()
    }

    /// Returns what the container uses now; all zero when it does not run.
    pub fn stats(&self, id: &ContainerId) -> Usage {
        Cgroup::new(&self.cgroup(id)).usage()
    }

    /// Returns the processes of the container, by their numbers on the host.
    pub fn processes(&self, id: &ContainerId) -> Vec<i32> {
        let group = Cgroup::new(&self.cgroup(id));
        if group.exists() {
            return group.processes().into_iter().collect();
        }
        let first = self.first_process(id);
        first.map_or_else(Vec::new, |first| sharing(first, "pid"))
    }

    /// Returns the container's first process, if it runs.
    fn first_process(&self, id: &ContainerId) -> Option<i32> {
        match serde_json::from_slice(&fs::read(self.paths.state(id)).ok()?).ok()? {
            ShimState::Running { process, .. } | ShimState::Paused { process, .. } => {
                process.exists().then_some(process.pid)
            }
            ShimState::Created | ShimState::Restarting { .. } | ShimState::Exited { .. } => None,
        }
    }
}

/// Returns the processes that are in the same namespace as `first`, which is not this process's own: those of a
/// container that has no control group.
fn sharing(first: i32, kind: &str) -> Vec<i32> {
    let namespace = |who: &str| fs::read_link(format!("/proc/{who}/ns/{kind}")).ok();
    let Some(theirs) = namespace(&first.to_string()) else { return Vec::new() };
    if namespace("self").as_ref() == Some(&theirs) {
        return vec![first];
    }
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let mut found: Vec<i32> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let pid = name.to_str()?.parse().ok()?;
            (namespace(name.to_str()?)? == theirs).then_some(pid)
        })
        .collect();
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_into_the_group_one_is_in() {
        let hybrid = "9:name=systemd:/\n8:pids:/user/1\n0::/\n";
        assert_eq!(own_door(hybrid, Version::V1), Some("/sys/fs/cgroup/pids/user/1/cgroup.procs".into()));
        let unified = "0::/system.slice/ssh.service\n";
        let door = Path::new("/sys/fs/cgroup/system.slice/ssh.service/cgroup.procs");
        assert_eq!(own_door(unified, Version::V2).as_deref(), Some(door));
        assert_eq!(own_door("0::/../../elsewhere\n", Version::V2), None);
        assert_eq!(own_door("", Version::V1), None);
    }

    #[test]
    fn groups_above() {
        assert_eq!(ancestors("/shop/web/coracle-1").collect::<Vec<_>>(), ["/shop/web", "/shop"]);
        assert_eq!(ancestors("/coracle-1").count(), 0);
        assert_eq!(record(Path::new("/run"), "/shop/web"), Path::new("/run/shop%2Fweb"));
    }

    #[test]
    fn a_scope_where_systemd_manages_the_groups() {
        let id = ContainerId::from_random([0xab; 32]);
        let mut container: ContainerSpec = serde_json::from_value(serde_json::json!({
            "name": "web", "image": "busybox", "image_id": format!("sha256:{}", "a".repeat(64)),
            "entrypoint": [], "command": [], "environment": {}, "working_directory": "",
            "network_mode": "bridge", "stop_signal": "SIGTERM", "stop_grace_seconds": 10, "scope": "_standalone",
        }))
        .unwrap();
        assert_eq!(place(&container, &id, false, 7).path, "/coracle-abababababab");
        let managed = place(&container, &id, true, 7);
        assert_eq!(managed.path, "/coracle.slice/coracle-abababababab-00000007.scope/container");
        assert_eq!(managed.scope.unwrap().unit, "coracle-abababababab-00000007.scope");
        container.cgroup_parent = Some("shop.slice".to_owned());
        assert_eq!(
            place(&container, &id, true, 7).path,
            "/shop.slice/coracle-abababababab-00000007.scope/container"
        );
        container.cgroup_parent = Some("/shop/web".to_owned());
        let own = place(&container, &id, true, 7);
        assert_eq!((own.path.as_str(), own.scope), ("/shop/web/coracle-abababababab", None));
    }
}
