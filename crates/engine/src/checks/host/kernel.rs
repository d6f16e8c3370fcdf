//! The kernel, its features and limits; memory and processors.

use std::fs;
use std::path::Path;

use coracle_check::{Cgroups, HostFacts};
use coracle_oci::Platform;

/// Kernel features that containers need: their name, the option that builds them, the module that holds them.
const FEATURES: &[(&str, &str, &str)] = &[
    ("overlay", "CONFIG_OVERLAY_FS", "overlay"),
    ("bridge", "CONFIG_BRIDGE", "bridge"),
    ("veth", "CONFIG_VETH", "veth"),
    ("nf_tables", "CONFIG_NF_TABLES", "nf_tables"),
];

/// Kernel parameters that rules look at.
const SYSCTLS: &[&str] = &[
    "vm.max_map_count",
    "vm.overcommit_memory",
    "fs.inotify.max_user_watches",
    "fs.nr_open",
    "net.ipv4.ip_unprivileged_port_start",
];

/// `CAP_SYS_RESOURCE`, linux/capability.h.
const SYS_RESOURCE: u32 = 24;

/// Fills in what the kernel says; `closely`, also what it says only in long texts.
pub(super) fn describe(facts: &mut HostFacts, closely: bool) {
    let system = rustix::system::uname();
    facts.kernel = system.release().to_string_lossy().into_owned();
    facts.architecture = Platform::host().architecture;
    facts.emulated = emulated();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    facts.memory_total = of_meminfo(&memory, "MemTotal");
    facts.memory_available = of_meminfo(&memory, "MemAvailable");
    let online = fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    facts.cpus = count(&online);
    let (cgroups, controllers) = cgroups(Path::new("/sys/fs/cgroup"));
    (facts.cgroups, facts.controllers) = (Some(cgroups), controllers);
    facts.features = features(&facts.kernel, closely);
    for name in SYSCTLS {
        if let Ok(value) = fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))) {
            facts.sysctls.push(((*name).to_owned(), value.trim().to_owned()));
        }
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    facts.open_files = Some(limit.maximum.unwrap_or(u64::MAX));
    facts.raises_limits = has_capability(SYS_RESOURCE);
    facts.root = rustix::process::geteuid().is_root();
}

/// Returns a line of `/proc/meminfo`, bytes.
fn of_meminfo(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Returns how many numbers a list such as `0-3,6` has.
fn count(list: &str) -> Option<u32> {
    let part = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        last.parse::<u32>().ok()?.checked_sub(first.parse().ok()?)?.checked_add(1)
    };
    list.trim().split(',').map(part).sum()
}

fn has_capability(number: u32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).is_some_and(|set| set >> number & 1 == 1)
}

/// Returns the architectures, as platforms name them, whose programs an emulator runs.
fn emulated() -> Vec<String> {
    let Ok(entries) = fs::read_dir("/proc/sys/fs/binfmt_misc") else { return Vec::new() };
    let enabled = entries
        .flatten()
        .filter(|entry| fs::read_to_string(entry.path()).is_ok_and(|text| text.starts_with("enabled")));
    let mut found: Vec<String> = enabled
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let machine = name.strip_prefix("qemu-")?;
            Some(
                match machine {
                    "aarch64" => "arm64",
                    "x86_64" => "amd64",
                    "i386" => "386",
                    "loongarch64" => "loong64",
                    other => other,
                }
                .to_owned(),
            )
        })
        .collect();
    found.sort();
    found
}

/// Returns how control groups are laid out below `root`, and the controllers.
fn cgroups(root: &Path) -> (Cgroups, Vec<String>) {
    if let Ok(text) = fs::read_to_string(root.join("cgroup.controllers")) {
        return (Cgroups::V2, text.split_whitespace().map(str::to_owned).collect());
    }
    let known = ["blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids"];
    let there = |name: &&&str| root.join(name).join("cgroup.procs").exists();
    let found: Vec<String> = known.iter().filter(there).map(|name| (*name).to_owned()).collect();
    (if found.is_empty() { Cgroups::None } else { Cgroups::V1 }, found)
}

/// Returns which features the kernel has. What can be learned from nowhere is left out.
fn features(release: &str, closely: bool) -> Vec<(String, bool)> {
    let systems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let modules = Path::new("/lib/modules").join(release);
    let mut options = None;
    let mut lists = None;
    let mut found = Vec::new();
    for (name, option, module) in FEATURES {
        let loaded = Path::new("/sys/module").join(module).exists()
            || systems.lines().any(|line| line.split_whitespace().next_back() == Some(*name));
        let known = if loaded {
            Some(true)
        } else if !closely {
            None
        } else {
            let options = options.get_or_insert_with(|| configuration(release));
            let built = options.as_deref().map(|text| is_built(text, option));
            built.or_else(|| {
                let list = lists.get_or_insert_with(|| module_lists(&modules));
                list.as_deref().map(|text| text.contains(&format!("/{module}.ko")))
            })
        };
        found.extend(known.map(|there| ((*name).to_owned(), there)));
    }
    found.push(("user-namespaces".to_owned(), Path::new("/proc/self/ns/user").exists()));
    found
}

/// Returns the options that the kernel was built with.
fn configuration(release: &str) -> Option<String> {
    use std::io::Read as _;
    if let Ok(file) = fs::File::open("/proc/config.gz") {
        let mut text = String::new();
        if flate2::read::GzDecoder::new(file).take(4 << 20).read_to_string(&mut text).is_ok() {
            return Some(text);
        }
    }
    fs::read_to_string(format!("/boot/config-{release}")).ok()
}

fn is_built(options: &str, option: &str) -> bool {
    options.lines().any(|line| {
        line.split_once('=').is_some_and(|(name, value)| name == option && matches!(value, "y" | "m"))
    })
}

/// Returns the names of the modules that there are, built in or not.
fn module_lists(directory: &Path) -> Option<String> {
    let built_in = fs::read_to_string(directory.join("modules.builtin")).ok()?;
    Some(built_in + &fs::read_to_string(directory.join("modules.dep")).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_described() {
        let mut facts = HostFacts::default();
        describe(&mut facts, true);
        assert!(facts.memory_total > facts.memory_available.filter(|bytes| *bytes > 0));
        assert!(facts.cpus >= Some(1) && facts.open_files >= Some(64));
        assert!(facts.kernel.starts_with(|c: char| c.is_ascii_digit()), "{}", facts.kernel);
        assert!(facts.features.contains(&("overlay".to_owned(), true)), "{:?}", facts.features);
        assert!(facts.sysctls.iter().any(|(name, _)| name == "vm.max_map_count"));
    }

    #[test]
    fn layouts_of_control_groups() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        assert_eq!(cgroups(root), (Cgroups::None, Vec::new()));
        for name in ["memory", "unified"] {
            fs::create_dir(root.join(name)).unwrap();
            fs::write(root.join(name).join("cgroup.procs"), "").unwrap();
        }
        assert_eq!(cgroups(root), (Cgroups::V1, vec!["memory".to_owned()]));
        fs::write(root.join("cgroup.controllers"), "cpu memory pids\n").unwrap();
        assert_eq!(cgroups(root).0, Cgroups::V2);
        assert_eq!(cgroups(root).1, ["cpu", "memory", "pids"]);
    }

    #[test]
    fn options_and_memory_are_read() {
        let options = "CONFIG_VETH=m\n# CONFIG_BRIDGE is not set\nCONFIG_BRIDGE_X=y\n";
        assert!(is_built(options, "CONFIG_VETH"));
        assert!(!is_built(options, "CONFIG_BRIDGE"));
        assert_eq!(of_meminfo("MemTotal:       1024 kB\nMemAvailable: 1 kB\n", "MemTotal"), Some(1 << 20));
        assert_eq!((count("0-3,6\n"), count("0"), count("")), (Some(5), Some(1), None));
        assert_eq!(of_meminfo("MemTotalX: 1 kB\n", "MemTotal"), None);
    }
}
