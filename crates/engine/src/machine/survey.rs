//! What is seen. Each field is what was found; what cannot be found out is `None`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use coracle_check::{Cgroups, Disk, HostFacts};
use coracle_network::nftables::ForwardDrop;
use coracle_rootless::Subordinates;
use rustix::fs::Access;

use super::Question;
use crate::checks;

/// Everything that verdicts are made of.
#[derive(Clone, Debug)]
pub struct Survey {
    /// Who asks: a user number.
    pub uid: u32,
    /// Who asks: a group number.
    pub gid: u32,
    /// Kernel, memory and control groups.
    pub host: HostFacts,
    /// Capabilities of this process: `CapEff`.
    pub capabilities: u64,
    /// Whether the kernel filters system calls.
    pub seccomp: bool,
    /// What the packet filter says; the error is the kernel's.
    pub packet_filter: Result<Vec<ForwardDrop>, i32>,
    /// `user.max_user_namespaces`.
    pub user_namespaces: Option<u64>,
    /// `kernel.unprivileged_userns_clone`, of Debian's kernels.
    pub unprivileged_clone: Option<u64>,
    /// `kernel.apparmor_restrict_unprivileged_userns`, of Ubuntu's kernels.
    pub apparmor_restricts: Option<u64>,
    /// Ids that the user may give away.
    pub subordinates: Subordinates,
    /// The end of all ranges that anybody has, for a new one.
    pub next_range: u32,
    /// `newuidmap` and `newgidmap`, and whether each may do its work.
    pub helpers: [Option<bool>; 2],
    /// Whether pasta is installed.
    pub pasta: bool,
    /// Whether `/dev/net/tun` can be opened; `None` when it is not there.
    pub tun: Option<bool>,
    /// `net.ipv4.ip_unprivileged_port_start`.
    pub first_port: Option<u16>,
    /// `net.ipv4.ping_group_range`.
    pub ping_groups: Option<(u32, u32)>,
    /// Whether the user has a control group of its own.
    pub delegated: bool,
    /// Whether systemd runs, and whether it keeps the user's processes after the last session.
    pub lingers: Option<bool>,
    /// The file system of the data root.
    pub disk: Option<Disk>,
    /// Where the run root is, and whether the directory above it is the user's alone.
    pub run_root: (PathBuf, bool),
    /// `fs.inotify.max_user_watches` and `.max_user_instances`.
    pub inotify: (Option<u64>, Option<u64>),
    /// Seconds that this machine is ahead of a registry, if one answered.
    pub clock: Option<i64>,
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Looks around. Takes half a second at most, which a registry is given to say what time it is.
pub fn survey(question: &Question) -> Survey {
    let clock = checks::ask_clock();
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    Survey {
        uid,
        gid,
        host: checks::kernel_facts(),
        capabilities: line("CapEff:").and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0),
        seccomp: line("Seccomp:").is_some(),
        packet_filter: coracle_network::nftables::forward_drops()
            .map_err(|error| error.source.raw_os_error().unwrap_or(0)),
        user_namespaces: number("/proc/sys/user/max_user_namespaces"),
        unprivileged_clone: number("/proc/sys/kernel/unprivileged_userns_clone"),
        apparmor_restricts: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
        subordinates: coracle_rootless::subordinates(uid),
        next_range: next_range(&[
            fs::read_to_string("/etc/subuid").unwrap_or_default(),
            fs::read_to_string("/etc/subgid").unwrap_or_default(),
        ]),
        helpers: ["newuidmap", "newgidmap"].map(|name| find(question, name).map(|path| may_map(&path))),
        pasta: find(question, coracle_rootless::PASTA).is_some(),
        tun: Path::new("/dev/net/tun")
            .exists()
            .then(|| rustix::fs::access("/dev/net/tun", Access::READ_OK | Access::WRITE_OK).is_ok()),
        first_port: number("/proc/sys/net/ipv4/ip_unprivileged_port_start").and_then(|n| n.try_into().ok()),
        ping_groups: fs::read_to_string("/proc/sys/net/ipv4/ping_group_range").ok().and_then(|text| {
            let mut numbers = text.split_whitespace().map(str::parse);
            Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
        }),
        delegated: delegated(),
        lingers: Path::new("/run/systemd/system").is_dir().then(|| {
            let name = coracle_rootless::subordinates(uid).name;
            Path::new("/var/lib/systemd/linger").join(name).exists()
        }),
        disk: nearest(&question.data_root).and_then(checks::disk),
        run_root: (
            question.run_root.clone(),
            question.run_root.parent().is_some_and(|above| is_ours(above, uid)),
        ),
        inotify: (
            number("/proc/sys/fs/inotify/max_user_watches"),
            number("/proc/sys/fs/inotify/max_user_instances"),
        ),
        clock: clock.and_then(checks::AskedClock::answer),
    }
}

fn find(question: &Question, name: &str) -> Option<PathBuf> {
    std::env::split_paths(&question.path)
        .map(|directory| directory.join(name))
        .find(|path| rustix::fs::access(path, Access::EXEC_OK).is_ok())
}

/// Says whether a helper has the rights to map ids: it is root's with the set-user-id bit, or has capabilities.
fn may_map(path: &Path) -> bool {
    let set_id =
        fs::metadata(path).is_ok_and(|found| found.uid() == 0 && found.permissions().mode() & 0o4000 != 0);
    let mut buffer = [0_u8; 64];
    set_id || rustix::fs::getxattr(path, "security.capability", &mut buffer).is_ok()
}

/// Returns the end of all ranges in these files, rounded up, as `useradd` would go on.
fn next_range(files: &[String]) -> u32 {
    const FIRST: u32 = 100_000;
    let end = |line: &str| {
        let mut fields = line.trim().split(':').skip(1);
        let (first, count) = (fields.next()?.parse::<u32>().ok()?, fields.next()?.parse::<u32>().ok()?);
        first.checked_add(count)
    };
    files.iter().flat_map(|text| text.lines()).filter_map(end).max().unwrap_or(FIRST).max(FIRST)
}

fn nearest(path: &Path) -> Option<&Path> {
    path.ancestors().find(|path| path.exists())
}

fn is_ours(path: &Path, uid: u32) -> bool {
    fs::metadata(path).is_ok_and(|found| found.uid() == uid && found.permissions().mode() & 0o022 == 0)
}

/// Says whether this process's group of the unified hierarchy may be divided by its user.
fn delegated() -> bool {
    let memberships = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let Some(own) = memberships.lines().find_map(|line| line.strip_prefix("0::/")) else { return false };
    let group = Path::new("/sys/fs/cgroup").join(own);
    group.join("cgroup.controllers").exists() && rustix::fs::access(&group, Access::WRITE_OK).is_ok()
}

impl Survey {
    /// Returns whether the host divides control groups by the unified hierarchy alone.
    pub fn unified(&self) -> bool {
        self.host.cgroups == Some(Cgroups::V2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_range_begins_where_all_end() {
        assert_eq!(next_range(&[String::new()]), 100_000);
        let users = "anna:100000:65536\nbert:165536:65536\n".to_owned();
        assert_eq!(next_range(&[users, "anna:300000:10\nbroken\n".to_owned()]), 300_010);
    }

    #[test]
    fn looking_around_here_works() {
        let directory = tempfile::tempdir().unwrap();
        let question = Question {
            data_root: directory.path().join("not/there/yet"),
            run_root: directory.path().join("run"),
            path: std::env::var_os("PATH").unwrap_or_default(),
        };
        let found = survey(&question);
        assert!(found.disk.is_some() && found.seccomp);
        assert!(!super::super::diagnose(&found).is_empty());
    }
}
