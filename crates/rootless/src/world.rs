//! Which namespaces make a user's world, and how to find them when their holder was killed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Names of a holder's files below the run root.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    directory: PathBuf,
    containers: PathBuf,
}

impl Home {
    pub fn new(run_root: &Path) -> Self {
        Self { directory: run_root.join("holder"), containers: run_root.join("containers") }
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn lock(&self) -> PathBuf {
        self.directory.join("lock")
    }

    pub fn world(&self) -> PathBuf {
        self.directory.join("world.json")
    }

    pub fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    pub fn resolver(&self) -> PathBuf {
        self.directory.join("resolv.conf")
    }

    /// Returns whether a shim of this world lives.
    pub fn shims_live(&self) -> bool {
        let Ok(entries) = fs::read_dir(&self.containers) else { return false };
        entries.flatten().any(|entry| {
            let Ok(lock) = fs::File::open(entry.path().join("shim.lock")) else { return false };
            rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockShared).is_err()
        })
    }
}

/// A process that cannot be mistaken for a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub pid: i32,
    /// Field 22 of `/proc/PID/stat`.
    pub start: u64,
}

impl Process {
    pub fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field may hold blanks and parentheses: fields count from its end.
        let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
        if matches!(fields.next()?, "Z" | "X") {
            return None;
        }
        Some(Self { pid, start: fields.nth(18)?.parse().ok()? })
    }

    pub fn lives(self) -> bool {
        Self::of(self.pid) == Some(self)
    }
}

/// The namespaces of a world, by their numbers (`user:[4026531837]`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct World {
    pub user: String,
    pub mount: String,
    pub network: String,
    /// The process that carries packets.
    pub pasta: Option<Process>,
}

/// Returns the number of a namespace of a process; `who` is a process id or `self`.
pub(crate) fn namespace(who: &str, kind: &str) -> io::Result<String> {
    Ok(fs::read_link(format!("/proc/{who}/ns/{kind}"))?.to_string_lossy().into_owned())
}

/// Processes by which a world that lost its holder is found again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Members {
    /// One in its user namespace.
    pub any: Option<i32>,
    /// One in its mount namespace too.
    pub mount: Option<i32>,
    /// One in its network namespace too.
    pub network: Option<i32>,
}

impl World {
    pub fn read(home: &Home) -> Option<Self> {
        serde_json::from_slice(&fs::read(home.world()).ok()?).ok()
    }

    pub fn write(&self, home: &Home) -> io::Result<()> {
        let place = home.world();
        let new = place.with_extension("new");
        fs::write(&new, serde_json::to_vec(self)?)?;
        fs::rename(new, place)
    }

    /// Looks for processes of this world.
    pub fn members(&self) -> Members {
        let mut members = Members::default();
        let Ok(entries) = fs::read_dir("/proc") else { return members };
        for pid in entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()) {
            let who = pid.to_string();
            // A process that may not be looked at is none of ours.
            if namespace(&who, "user").is_ok_and(|user| user == self.user) {
                members.any = members.any.or(Some(pid));
                if namespace(&who, "mnt").is_ok_and(|mount| mount == self.mount) {
                    members.mount = members.mount.or(Some(pid));
                }
                if namespace(&who, "net").is_ok_and(|network| network == self.network) {
                    members.network = members.network.or(Some(pid));
                }
            }
        }
        members
    }
}

/// Returns whether this process is in another user namespace than the host's first one.
pub fn in_user_namespace() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let fields: Vec<&str> = map.split_ascii_whitespace().collect();
    fields != ["0", "0", "4294967295"]
}

/// Returns whether this process's user namespace knows one user only.
pub fn is_single() -> bool {
    in_user_namespace() && crate::ids::maximum_id(false) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_are_a_member_of_our_own_world() {
        let world = World {
            user: namespace("self", "user").unwrap(),
            mount: namespace("self", "mnt").unwrap(),
            network: namespace("self", "net").unwrap(),
            ..World::default()
        };
        let members = world.members();
        assert!(members.any.is_some() && members.mount.is_some() && members.network.is_some());
        assert_eq!(World { user: "user:[1]".to_owned(), ..world }.members(), Members::default());
    }

    #[test]
    fn records_come_back() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path());
        fs::create_dir(home.directory()).unwrap();
        assert_eq!(World::read(&home), None);
        let pasta = Process::of(std::process::id().cast_signed());
        assert!(pasta.unwrap().lives());
        let world = World { user: "user:[1]".to_owned(), pasta, ..World::default() };
        world.write(&home).unwrap();
        assert_eq!(World::read(&home), Some(world));
        assert!(!home.shims_live());
    }
}
