//! Capability names and the set a container gets.

use std::collections::BTreeSet;

/// Capabilities in the order of their numbers (capability(7), linux/capability.h), without `CAP_`.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What a container gets when nothing is asked, as Docker has it.
const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// Returns the name with `CAP_` of a capability written with or without it in any case; `None` if there is none.
pub(super) fn canonical(text: &str) -> Option<String> {
    let upper = text.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    NAMES.contains(&bare).then(|| format!("CAP_{bare}"))
}

/// Returns the number of a canonical name.
fn number(name: &str) -> Option<usize> {
    let bare = name.strip_prefix("CAP_")?;
    NAMES.iter().position(|known| *known == bare)
}

/// The set for a container, and those wanted that the host does not have.
pub(super) struct Granted {
    /// Names with `CAP_`.
    pub set: BTreeSet<String>,
    /// Explicitly added names that the caller does not hold itself and so cannot give.
    pub missing: Vec<String>,
}

/// Returns what a container gets: the default set, without `drop`, with `add` (each may be `ALL`), and never more
/// than `available` (a mask as in `/proc/self/status`). The error is the name that is no capability.
pub(super) fn grant(
    add: &[String],
    drop: &[String],
    privileged: bool,
    available: u64,
) -> Result<Granted, String> {
    let everything = || NAMES.iter().map(|name| format!("CAP_{name}"));
    let is_all = |name: &String| matches!(name.to_ascii_uppercase().as_str(), "ALL" | "CAP_ALL");
    let mut set: BTreeSet<String> = if privileged {
        everything().collect()
    } else if drop.iter().any(is_all) {
        BTreeSet::new()
    } else {
        DEFAULT.iter().map(|name| format!("CAP_{name}")).collect()
    };
    let mut asked = BTreeSet::new();
    if add.iter().any(is_all) {
        set.extend(everything());
    }
    for name in add.iter().filter(|name| !is_all(name)) {
        let name = canonical(name).ok_or_else(|| name.clone())?;
        asked.insert(name.clone());
        set.insert(name);
    }
    for name in drop.iter().filter(|name| !is_all(name)) {
        let name = canonical(name).ok_or_else(|| name.clone())?;
        set.remove(&name);
    }
    let held = |name: &String| number(name).is_some_and(|bit| available & (1 << bit) != 0);
    let missing = asked.iter().filter(|name| set.contains(*name) && !held(name)).cloned().collect();
    set.retain(held);
    Ok(Granted { set, missing })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn add_and_drop() {
        let all = u64::MAX;
        let set = |add: &[&str], drop: &[&str]| grant(&list(add), &list(drop), false, all).ok().unwrap().set;
        assert_eq!(set(&[], &[]).len(), 14);
        assert!(set(&["net_admin"], &[]).contains("CAP_NET_ADMIN"));
        assert_eq!(set(&["CAP_CHOWN"], &["ALL"]), BTreeSet::from(["CAP_CHOWN".to_owned()]));
        assert_eq!(set(&["ALL"], &["SYS_ADMIN"]).len(), 40);
        assert!(!set(&[], &["CHOWN"]).contains("CAP_CHOWN"));
        assert_eq!(grant(&list(&["FLY"]), &[], false, all).err(), Some("FLY".to_owned()));
        assert_eq!(grant(&[], &[], true, all).ok().unwrap().set.len(), 41);
    }

    #[test]
    fn no_more_than_the_host_has() {
        let without_sys_resource = !(1 << 24);
        let granted = grant(&list(&["SYS_RESOURCE"]), &[], true, without_sys_resource).ok().unwrap();
        assert!(!granted.set.contains("CAP_SYS_RESOURCE"));
        assert_eq!(granted.missing, ["CAP_SYS_RESOURCE"]);
    }
}
