//! Processes that cannot be mistaken for later ones, and random ids.

use std::fs;
use std::io;
use std::sync::OnceLock;

use coracle_container::ProcessIdentity;

/// Returns the identity of the process `pid`; `None` when there is none.
pub fn identify(pid: i32) -> Option<ProcessIdentity> {
    Some(ProcessIdentity { pid, start_time: start_time(pid)?, boot_id: boot_id().to_owned() })
}

/// Returns whether exactly this process still lives; a zombie does not.
pub fn lives(process: &ProcessIdentity) -> bool {
    process.boot_id == boot_id() && start_time(process.pid) == Some(process.start_time)
}

/// Returns field 22 of `/proc/PID/stat` (proc(5)); `None` for a zombie too.
fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field, the program's name, may hold blanks and parentheses: fields count from its end.
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

fn boot_id() -> &'static str {
    static BOOT: OnceLock<String> = OnceLock::new();
    BOOT.get_or_init(|| {
        let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        text.trim().to_owned()
    })
}

/// Returns 32 random bytes.
pub fn random() -> io::Result<[u8; 32]> {
    use std::io::Read as _;
    let mut bytes = [0; 32];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Returns 64 random hexadecimal digits.
pub fn random_hex() -> io::Result<String> {
    random().map(hex::encode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_live_and_another_start_time_does_not() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let mut us = identify(pid).unwrap();
        assert!(lives(&us));
        us.start_time += 1;
        assert!(!lives(&us));
        assert_eq!(identify(i32::MAX), None);
    }
}
