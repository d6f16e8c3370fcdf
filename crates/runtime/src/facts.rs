//! Facts about this host that the runtime specification needs.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use coracle_container::DeviceAccess;
use coracle_container::runtime_spec::DeviceNode;
use rustix::process::Resource;

/// Bit of CAP_SYS_RESOURCE (capability(7)).
const CAP_SYS_RESOURCE: u64 = 1 << 24;

/// Returns the capabilities that this process may give: its bounding set.
pub(crate) fn available_capabilities() -> u64 {
    fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("CapBnd:"))?;
            u64::from_str_radix(line.trim(), 16).ok()
        })
        .unwrap_or(0)
}

/// Says whether a process with these capabilities may raise limits.
pub(crate) fn may_raise_limits(capabilities: u64) -> bool {
    capabilities & CAP_SYS_RESOURCE != 0
}

/// Returns how soon the kernel ends this process for want of memory.
pub(crate) fn oom_score() -> i32 {
    fs::read_to_string("/proc/self/oom_score_adj").ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Returns the largest group that exists in this user namespace.
pub(crate) fn largest_group() -> u32 {
    let map = fs::read_to_string("/proc/self/gid_map").unwrap_or_default();
    let last = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let (inside, count) = (fields.next()?.parse::<u32>().ok()?, fields.nth(1)?.parse::<u32>().ok()?);
        Some(inside.saturating_add(count).saturating_sub(1))
    };
    map.lines().filter_map(last).max().unwrap_or(u32::MAX - 1)
}

/// Returns the host's name.
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Returns the kernel's version, major and minor; the oldest one that counts as old nowhere when it cannot be read.
pub(crate) fn kernel() -> (u32, u32) {
    version(&rustix::system::uname().release().to_string_lossy()).unwrap_or((5, 15))
}

/// Reads the first two numbers of a kernel's release, e.g. `6.12.48+deb13-cloud-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Returns the numbers of the processors in `directory`, that of `/sys`, whose thermal throttle is shown there.
pub(crate) fn throttles(directory: &Path) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut numbers: Vec<u32> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().join("thermal_throttle").is_dir())
        .filter_map(|entry| entry.file_name().to_str()?.strip_prefix("cpu")?.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers
}

/// Returns the numbers of the block device at `path`; `None` when there is none.
pub(crate) fn block_device(path: &Path) -> Option<(i64, i64)> {
    device(path).filter(|node| node.block).map(|node| (node.major, node.minor))
}

/// Returns the device nodes at `path`: itself, or all below a directory. Nothing when there are none.
pub(crate) fn devices_at(path: &Path) -> Vec<DeviceNode> {
    const DEEPEST: usize = 4;
    fn walk(path: &Path, depth: usize, out: &mut Vec<DeviceNode>) {
        if let Some(node) = device(path) {
            out.push(node);
        } else if depth < DEEPEST
            && let Ok(entries) = fs::read_dir(path)
        {
            entries.filter_map(Result::ok).for_each(|entry| walk(&entry.path(), depth + 1, out));
        }
    }
    let mut out = Vec::new();
    walk(path, 0, &mut out);
    out.sort_by(|one, other| one.path.cmp(&other.path));
    out
}

/// Returns the hard limits that bind, by lower-case name; none when this process may raise them.
pub(crate) fn hard_limits(capabilities: u64) -> BTreeMap<String, u64> {
    if may_raise_limits(capabilities) {
        return BTreeMap::new();
    }
    [
        ("as", Resource::As),
        ("core", Resource::Core),
        ("cpu", Resource::Cpu),
        ("data", Resource::Data),
        ("fsize", Resource::Fsize),
        ("locks", Resource::Locks),
        ("memlock", Resource::Memlock),
        ("msgqueue", Resource::Msgqueue),
        ("nice", Resource::Nice),
        ("nofile", Resource::Nofile),
        ("nproc", Resource::Nproc),
        ("rss", Resource::Rss),
        ("rtprio", Resource::Rtprio),
        ("rttime", Resource::Rttime),
        ("sigpending", Resource::Sigpending),
        ("stack", Resource::Stack),
    ]
    .into_iter()
    .filter_map(|(name, resource)| Some((name.to_owned(), rustix::process::getrlimit(resource).maximum?)))
    .collect()
}

/// Returns the device node at `path`; `None` when there is none.
pub(crate) fn device(path: &Path) -> Option<DeviceNode> {
    let metadata = fs::metadata(path).ok()?;
    let kind = metadata.file_type();
    if !kind.is_block_device() && !kind.is_char_device() {
        return None;
    }
    Some(DeviceNode {
        path: path.to_path_buf(),
        access: DeviceAccess::default(),
        block: kind.is_block_device(),
        major: i64::from(rustix::fs::major(metadata.rdev())),
        minor: i64::from(rustix::fs::minor(metadata.rdev())),
        mode: metadata.mode(),
        uid: metadata.uid(),
        gid: metadata.gid(),
    })
}

/// Returns the device nodes directly in `/dev` and its usual subdirectories, for privileged containers.
pub(crate) fn all_devices() -> Vec<DeviceNode> {
    let mut list = Vec::new();
    let mut directories = vec![PathBuf::from("/dev")];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries.filter_map(Result::ok) {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => {
                    // These hold terminals and file systems of the host's own.
                    let own = ["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/fd"];
                    directories
                        .extend(Some(path).filter(|path| !own.iter().any(|own| path == Path::new(own))));
                }
                Ok(kind) if kind.is_block_device() || kind.is_char_device() => {
                    // libcontainer makes these itself.
                    let own = ["console", "ptmx", "tty", "null", "zero", "full", "random", "urandom"];
                    if !own.iter().any(|name| entry.file_name() == *name) {
                        list.extend(device(&path));
                    }
                }
                _ => {}
            }
        }
    }
    list.sort_by(|one, other| one.path.cmp(&other.path));
    list
}

/// Returns whether AppArmor enforces profiles on this host.
pub(crate) fn apparmor_enabled() -> bool {
    fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with('Y'))
}

/// Returns whether AppArmor has the profile named loaded; `None` where that cannot be found out.
pub(crate) fn apparmor_has(name: &str) -> Option<bool> {
    let profiles = fs::read_to_string("/sys/kernel/security/apparmor/profiles").ok()?;
    Some(lists_profile(&profiles, name))
}

/// Returns whether the kernel's list, `NAME (MODE)` a line, has a profile.
fn lists_profile(profiles: &str, name: &str) -> bool {
    profiles.lines().any(|line| line.rsplit_once(" (").is_some_and(|(known, _)| known == name))
}

/// Returns whether AppArmor enforces profiles on this host and has the one named.
pub(crate) fn apparmor_profile(name: &str) -> Option<String> {
    (apparmor_enabled() && apparmor_has(name) == Some(true)).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_in_the_list_by_its_whole_name() {
        let list = "docker-default (enforce)\n/usr/bin/man (enforce)\na name (complain)\n";
        assert!(lists_profile(list, "docker-default") && lists_profile(list, "a name"));
        assert!(!lists_profile(list, "docker") && !lists_profile("", ""));
    }

    #[test]
    fn kernels_and_processors() {
        assert_eq!(version("6.12.48+deb13-cloud-amd64"), Some((6, 12)));
        assert_eq!(version("5.15.0-91-generic"), Some((5, 15)));
        assert_eq!(version("what"), None);
        let directory = tempfile::tempdir().unwrap();
        for name in
            ["cpu10/thermal_throttle", "cpu2/thermal_throttle", "cpu3/cache", "cpufreq/thermal_throttle"]
        {
            fs::create_dir_all(directory.path().join(name)).unwrap();
        }
        assert_eq!(throttles(directory.path()), [2, 10]);
        assert!(throttles(&directory.path().join("nothing")).is_empty());
    }
}
