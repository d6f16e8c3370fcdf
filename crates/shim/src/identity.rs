//! Identity of processes: a number alone is reused, a number with its start time and boot is not.

use std::fs;

use serde::{Deserialize, Serialize};

/// A process that cannot be mistaken for a later one with the same number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// Process id in the caller's namespace.
    pub pid: i32,
    /// Start time in clock ticks since boot: field 22 of `/proc/PID/stat` (proc(5)).
    pub start_time: u64,
    /// `/proc/sys/kernel/random/boot_id` when it was recorded.
    pub boot_id: String,
}

impl ProcessIdentity {
    /// Returns the identity of the process that has the number now; `None` if none has.
    pub fn of(pid: i32) -> Option<Self> {
        Some(Self { pid, start_time: start_time(pid)?, boot_id: boot_id() })
    }

    /// Returns whether the process still exists, as a zombie at least.
    pub fn exists(&self) -> bool {
        start_time(self.pid) == Some(self.start_time) && boot_id() == self.boot_id
    }
}

/// Returns the kernel's identification of this boot.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the command's name in parentheses and may itself hold any character.
    let rest = &stat[stat.rfind(')')? + 1..];
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Returns whether this process is in another user namespace than the host's first one: a normal user's.
pub fn in_user_namespace() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    !map.is_empty() && !map.split_ascii_whitespace().eq(["0", "0", "4294967295"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_this_process() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let identity = ProcessIdentity::of(pid).unwrap();
        assert!(identity.exists());
        assert!(!ProcessIdentity { start_time: identity.start_time + 1, ..identity.clone() }.exists());
        assert!(!ProcessIdentity { boot_id: "earlier".to_owned(), ..identity }.exists());
        assert_eq!(ProcessIdentity::of(-1), None);
    }
}
