//! Verdicts over what was seen.

use coracle_check::Cgroups;

use super::survey::Survey;
use super::{Check, user};

/// `CAP_NET_ADMIN` and `CAP_SYS_ADMIN`, linux/capability.h.
const NET_ADMIN: u32 = 12;
const SYS_ADMIN: u32 = 21;

/// Errno of what may not be asked, asm-generic/errno-base.h.
pub(super) const EPERM: i32 = 1;

/// Bytes with which builds and pulls begin to fail, and with which nothing works.
const SCARCE: u64 = 2 << 30;
const NONE_LEFT: u64 = 256 << 20;
/// Inodes that a large image takes.
const FEW_INODES: u64 = 50_000;
/// What a development server with a few projects watches.
const WATCHES: u64 = 65_536;
const INSTANCES: u64 = 128;
/// Seconds by which certificates and signatures begin to be refused.
const SKEW: u64 = 120;

/// Judges what was seen; the most basic things come first.
pub fn diagnose(survey: &Survey) -> Vec<Check> {
    let mut checks = vec![kernel(survey)];
    checks.extend(features(survey));
    checks.push(seccomp(survey));
    checks.push(cgroups(survey));
    checks.push(packet_filter(survey));
    if survey.uid == 0 {
        checks.push(capabilities(survey));
    } else {
        checks.extend(user::diagnose(survey));
    }
    checks.push(space(survey));
    checks.push(inotify(survey));
    checks.push(clock(survey));
    if survey.uid == 0 {
        for check in &mut checks {
            check.remedy = check.remedy.take().map(|remedy| remedy.replace("sudo ", ""));
        }
    }
    checks
}

/// Returns the first two numbers of a release such as `6.1.0-28-amd64`.
fn release(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn kernel(survey: &Survey) -> Check {
    let text = &survey.host.kernel;
    // Mounts by descriptor; and overlays of normal users.
    let (least, why) = if survey.uid == 0 {
        ((5, 4), "mounts by descriptor")
    } else {
        ((5, 11), "layers in a normal user's namespace (overlay with `userxattr`)")
    };
    match release(text) {
        Some(found) if found < least => {
            let (major, minor) = least;
            Check::missing("kernel", format!("Linux {text} is too old: {why} need {major}.{minor}"))
                .mended_by("sudo apt-get install linux-image-amd64 && sudo reboot")
        }
        _ => Check::good("kernel", format!("Linux {text}")),
    }
}

fn features(survey: &Survey) -> Vec<Check> {
    let ids = [
        ("overlay", "layers"),
        ("bridge", "networks"),
        ("veth", "networks"),
        ("nf_tables", "published ports and the way out"),
        ("user-namespaces", "containers of a normal user"),
    ];
    let one = |(id, what): (&'static str, &str)| {
        let known = survey.host.features.iter().find(|(name, _)| name == id).map(|(_, there)| *there);
        match known {
            Some(true) => Check::good(id, format!("the kernel has it, for {what}")),
            Some(false) if id == "user-namespaces" && survey.uid == 0 => {
                Check::limited(id, format!("the kernel does not have it, for {what}"))
            }
            Some(false) => Check::missing(id, format!("the kernel does not have it, for {what}"))
                .mended_by(format!("sudo modprobe {id}")),
            None => Check::good(id, "nothing says that the kernel lacks it"),
        }
    };
    ids.into_iter().map(one).collect()
}

fn seccomp(survey: &Survey) -> Check {
    if survey.seccomp {
        Check::good("seccomp", "the kernel filters system calls")
    } else {
        Check::limited("seccomp", "this kernel filters no system calls: containers run without a profile")
    }
}

fn cgroups(survey: &Survey) -> Check {
    let id = "control-groups";
    let host = &survey.host;
    if survey.uid != 0 {
        return user::cgroups(survey);
    }
    let lacking: Vec<&str> = ["memory", "cpu", "pids"]
        .into_iter()
        .filter(|name| !host.controllers.iter().any(|controller| controller == name))
        .collect();
    let version = match host.cgroups {
        Some(Cgroups::V2) => "version 2",
        Some(Cgroups::V1) => "version 1",
        Some(Cgroups::None) | None => {
            return Check::missing(id, "no control groups are mounted below /sys/fs/cgroup")
                .mended_by("sudo mount -t cgroup2 cgroup2 /sys/fs/cgroup");
        }
    };
    if lacking.is_empty() {
        return Check::good(id, format!("{version}: {}", host.controllers.join(" ")));
    }
    let text = format!("{version}, without {}: limits of that have no effect", lacking.join(", "));
    let check = Check::limited(id, text);
    if lacking.contains(&"memory") {
        return check.mended_by(
            "echo 'GRUB_CMDLINE_LINUX=\"cgroup_enable=memory swapaccount=1\"' | sudo tee -a /etc/default/grub && sudo update-grub && sudo reboot",
        );
    }
    check
}

fn packet_filter(survey: &Survey) -> Check {
    let id = "packet-filter";
    match &survey.packet_filter {
        Ok(drops) => {
            // Those of iptables are opened to us by ourselves.
            let others: Vec<String> = drops
                .iter()
                .filter(|drop| !(drop.family == "ip" && drop.table == "filter"))
                .map(|drop| format!("{} {} {}", drop.family, drop.table, drop.chain))
                .collect();
            match others.first() {
                None => Check::good(id, "nftables answer, by netlink"),
                Some(first) => Check::limited(
                    id,
                    format!("chains of this host drop what passes through it: {}", others.join(", ")),
                )
                .mended_by(format!(
                    "sudo nft insert rule {first} iifname \"coracle0\" accept\nsudo nft insert rule {first} iifname \"cr-*\" accept\nsudo nft insert rule {first} ct state established,related accept"
                )),
            }
        }
        // A normal user may not ask here, but in a network of its own.
        Err(EPERM) => Check::good(id, "nftables answer, by netlink"),
        Err(errno) => {
            let error = std::io::Error::from_raw_os_error(*errno);
            Check::missing(id, format!("nftables do not answer: {error}"))
                .mended_by("sudo modprobe nf_tables")
        }
    }
}

fn capabilities(survey: &Survey) -> Check {
    let id = "capabilities";
    let holds = |number: u32| survey.capabilities >> number & 1 == 1;
    let lacking: Vec<&str> = [(SYS_ADMIN, "CAP_SYS_ADMIN"), (NET_ADMIN, "CAP_NET_ADMIN")]
        .into_iter()
        .filter(|(number, _)| !holds(*number))
        .map(|(_, name)| name)
        .collect();
    if lacking.is_empty() {
        Check::good(id, "this root may mount and make networks")
    } else {
        let text = format!("this root lacks {}: it is a container's, as it seems", lacking.join(" and "));
        Check::missing(id, text).mended_by("start the outer container with --privileged")
    }
}

fn space(survey: &Survey) -> Check {
    let id = "space";
    let Some(disk) = &survey.disk else {
        return Check::limited(id, "the file system of the data root cannot be looked at");
    };
    let place = disk.path.display();
    let free = format!("{:.1} GB free on {place}", disk.available as f64 / 1e9);
    let mend = "coracle builder prune --all";
    if disk.available < NONE_LEFT {
        return Check::missing(id, format!("{free}: nothing can be pulled or built")).mended_by(mend);
    }
    if disk.available < SCARCE {
        return Check::limited(id, format!("{free}: a pull or a build may end half-way")).mended_by(mend);
    }
    match disk.inodes_available {
        Some(inodes) if inodes < FEW_INODES => {
            Check::limited(id, format!("{inodes} inodes left on {place}: a large image has more files"))
                .mended_by(mend)
        }
        _ => Check::good(id, free),
    }
}

fn inotify(survey: &Survey) -> Check {
    let id = "inotify";
    let (watches, instances) = survey.inotify;
    let few =
        watches.is_some_and(|found| found < WATCHES) || instances.is_some_and(|found| found < INSTANCES);
    let show = |value: Option<u64>| value.map_or_else(|| "?".to_owned(), |value| value.to_string());
    let text = format!("{} watches, {} instances a user", show(watches), show(instances));
    if few {
        Check::limited(id, format!("{text}: development servers in containers miss changes")).mended_by(
            setting(&format!(
                "fs.inotify.max_user_watches={}\\nfs.inotify.max_user_instances={}",
                watches.unwrap_or(0).max(524_288),
                instances.unwrap_or(0).max(1024)
            )),
        )
    } else {
        Check::good(id, text)
    }
}

fn clock(survey: &Survey) -> Check {
    let id = "clock";
    match survey.clock {
        Some(ahead) if ahead.unsigned_abs() > SKEW => {
            let way = if ahead > 0 { "ahead of" } else { "behind" };
            let text = format!("{} s {way} a registry's: certificates may be refused", ahead.unsigned_abs());
            Check::limited(id, text).mended_by("sudo timedatectl set-ntp true")
        }
        Some(_) => Check::good(id, "as a registry's"),
        None => Check::good(id, "not compared: no registry answered"),
    }
}

/// Returns the command that sets kernel parameters now and after each start.
pub(super) fn setting(lines: &str) -> String {
    format!(
        "printf '{lines}\\n' | sudo tee -a /etc/sysctl.d/60-coracle.conf && sudo sysctl -p /etc/sysctl.d/60-coracle.conf"
    )
}

#[cfg(test)]
pub(super) mod tests {
    use coracle_check::{Disk, HostFacts};
    use coracle_rootless::{Range, Subordinates};

    use super::super::State;
    use super::*;

    pub(in super::super) fn healthy(uid: u32) -> Survey {
        let feature = |name: &str| (name.to_owned(), true);
        let host = HostFacts {
            kernel: "6.1.0-28-amd64".to_owned(),
            cgroups: Some(Cgroups::V2),
            controllers: ["cpu", "memory", "pids"].map(str::to_owned).to_vec(),
            features: ["overlay", "bridge", "veth", "nf_tables", "user-namespaces"].map(feature).to_vec(),
            ..HostFacts::default()
        };
        let range = vec![Range { first: 100_000, count: 65_536 }];
        Survey {
            uid,
            gid: uid,
            host,
            capabilities: u64::MAX,
            seccomp: true,
            packet_filter: if uid == 0 { Ok(Vec::new()) } else { Err(EPERM) },
            user_namespaces: Some(10_000),
            unprivileged_clone: None,
            apparmor_restricts: None,
            subordinates: Subordinates { name: "anna".to_owned(), users: range.clone(), groups: range },
            next_range: 165_536,
            helpers: [Some(true); 2],
            pasta: true,
            tun: Some(true),
            first_port: Some(80),
            ping_groups: Some((0, 2_147_483_647)),
            delegated: true,
            lingers: Some(true),
            disk: Some(Disk {
                path: "/data".into(),
                total: 100 << 30,
                available: 50 << 30,
                inodes_available: Some(1_000_000),
            }),
            run_root: ("/run/user/1000/coracle".into(), true),
            inotify: (Some(524_288), Some(1024)),
            clock: Some(1),
        }
    }

    pub(in super::super) fn of(survey: &Survey, id: &str) -> Check {
        diagnose(survey).into_iter().find(|check| check.id == id).unwrap()
    }

    #[test]
    fn a_healthy_machine_has_nothing_to_mend() {
        for uid in [0, 1000] {
            let checks = diagnose(&healthy(uid));
            let bad: Vec<&Check> =
                checks.iter().filter(|check| check.state != State::Good || check.remedy.is_some()).collect();
            assert!(bad.is_empty(), "{bad:?}");
            let mut ids: Vec<&str> = checks.iter().map(|check| check.id).collect();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), checks.len(), "an id names one check");
        }
    }

    #[test]
    fn what_root_lacks_is_told_with_its_remedy() {
        let mut survey = healthy(0);
        survey.host.kernel = "4.19.0".to_owned();
        survey.host.features = vec![("overlay".to_owned(), false)];
        survey.host.controllers = vec!["cpu".to_owned()];
        survey.packet_filter = Err(93);
        survey.capabilities = 1 << NET_ADMIN;
        survey.clock = Some(-600);
        survey.inotify = (Some(8192), Some(128));
        let states = ["kernel", "overlay", "packet-filter", "capabilities"].map(|id| of(&survey, id).state);
        assert_eq!(states, [State::Missing; 4]);
        let states = ["control-groups", "clock", "inotify"].map(|id| of(&survey, id).state);
        assert_eq!(states, [State::Limited; 3]);
        for id in ["kernel", "overlay", "packet-filter", "control-groups", "clock", "inotify"] {
            assert!(of(&survey, id).remedy.is_some(), "{id}");
        }
        assert_eq!(of(&survey, "overlay").remedy.as_deref(), Some("modprobe overlay"));
    }

    #[test]
    fn space_runs_out_in_steps() {
        let state = |available: u64, inodes: u64| {
            let mut survey = healthy(0);
            let disk = survey.disk.as_mut().unwrap();
            (disk.available, disk.inodes_available) = (available, Some(inodes));
            of(&survey, "space").state
        };
        assert_eq!(state(100 << 20, 1_000_000), State::Missing);
        assert_eq!(state(1 << 30, 1_000_000), State::Limited);
        assert_eq!(state(9 << 30, 100), State::Limited);
        assert_eq!(state(9 << 30, 1_000_000), State::Good);
    }

    #[test]
    fn releases() {
        assert_eq!(release("6.18.44-fc"), Some((6, 18)));
        assert_eq!(release("5.4"), Some((5, 4)));
        assert_eq!(release("strange"), None);
    }
}
