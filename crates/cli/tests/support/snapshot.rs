//! What there is of Coracle on this machine, so that a test can show that it left nothing behind.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{eventually, holds};

/// Which files count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// Containers, volumes, networks, projects, sockets and locks.
    Records,
    /// Snapshots of file systems too: where nothing is built in between.
    Snapshots,
}

/// Everything of Coracle that lives on the host, each thing by a name that is the same as long as it lives.
#[derive(Clone, Debug)]
pub struct Snapshot {
    files: Files,
    things: BTreeSet<String>,
}

impl Snapshot {
    /// Looks at what there is now.
    pub fn take(files: Files) -> Self {
        let mut things = BTreeSet::new();
        mounts(&mut things);
        namespaces_and_processes(&mut things);
        links(&mut things);
        packet_filter(&mut things);
        control_groups(&mut things);
        records(&mut things, files);
        Self { files, things }
    }

    /// Waits until nothing is there that was not there at this look; kernels take namespaces and links away later
    /// than the command that lets go of them returns.
    #[track_caller]
    pub fn nothing_is_left(&self) {
        eventually("everything is gone again", Duration::from_secs(20), || {
            let now = Self::take(self.files);
            let left: Vec<&String> = now.things.difference(&self.things).collect();
            let missing: Vec<&String> = self.things.difference(&now.things).collect();
            holds(left.is_empty(), || format!("left: {left:#?}\ngone since: {missing:#?}"))
        });
    }

    /// Returns how many things of a kind there are: `mount`, `process`, `link`, ...
    pub fn count(&self, kind: &str) -> usize {
        self.things.iter().filter(|thing| thing.starts_with(kind)).count()
    }
}

fn mounts(things: &mut BTreeSet<String>) {
    let text = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo can be read");
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        things.insert(format!("mount {} on {}", words[0], words[4]));
    }
}

/// Finds the binary's own processes, and network and mount namespaces that some process of a container lives in.
fn namespaces_and_processes(things: &mut BTreeSet<String>) {
    let own = |kind: &str| fs::read_link(format!("/proc/self/ns/{kind}")).unwrap_or_default();
    let (own_net, own_mnt) = (own("net"), own("mnt"));
    for entry in fs::read_dir("/proc").expect("/proc can be read").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let process = entry.path();
        let Ok(line) = fs::read(process.join("cmdline")) else { continue };
        let words: Vec<String> =
            line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into()).collect();
        let group = fs::read_to_string(process.join("cgroup")).unwrap_or_default();
        let contained = group.contains("/coracle-");
        let helper = matches!(words.get(1).map(String::as_str), Some("shim" | "keeper" | "reap"))
            && Path::new(&words[0]).file_name().is_some_and(|name| name == "coracle" || name == "exe");
        if !contained && !helper {
            continue;
        }
        things.insert(format!("process {pid} {}", words.join(" ").trim_end()));
        for (kind, own) in [("net", &own_net), ("mnt", &own_mnt)] {
            match fs::read_link(process.join("ns").join(kind)) {
                Ok(namespace) if namespace != *own => {
                    things.insert(format!("namespace {}", namespace.display()));
                }
                _ => {}
            }
        }
    }
}

fn links(things: &mut BTreeSet<String>) {
    for entry in fs::read_dir("/sys/class/net").expect("links can be listed").flatten() {
        let index = fs::read_to_string(entry.path().join("ifindex")).unwrap_or_default();
        things.insert(format!("link {} {}", index.trim(), entry.file_name().to_string_lossy()));
    }
}

/// Lists the rules, each with a number, since the same line may stand there twice.
fn packet_filter(things: &mut BTreeSet<String>) {
    let Some(nft) = coracle_testkit::program("nft") else { return };
    let output = Command::new(nft).args(["list", "ruleset"]).output().expect("nft starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut place = String::new();
    for line in text.lines() {
        if line.starts_with("table") {
            line.trim_end_matches(" {").clone_into(&mut place);
        }
        // The digest of all rules differs as soon as a rule does, which is seen by itself.
        if line.trim_start().starts_with("comment \"rules ") {
            continue;
        }
        let line = without_counters(line.trim());
        let mut number = 1;
        while !things.insert(format!("rule of {place}: {line} ({number})")) {
            number += 1;
        }
    }
}

/// Returns a rule without how often it was met, as other engines' rules count.
fn without_counters(rule: &str) -> String {
    let mut words = Vec::new();
    let mut rest = rule.split(' ').peekable();
    while let Some(word) = rest.next() {
        words.push(word);
        if word == "counter" && rest.peek() == Some(&"packets") {
            rest.by_ref().take(4).for_each(drop);
        }
    }
    words.join(" ")
}

fn control_groups(things: &mut BTreeSet<String>) {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = names(root).into_iter().map(|name| root.join(name)).filter(|path| !path.is_symlink());
    for hierarchy in hierarchies.chain([root.to_owned()]) {
        for name in names(&hierarchy) {
            if name.starts_with("coracle") {
                things.insert(format!("cgroup {}", hierarchy.join(name).display()));
            }
        }
    }
}

fn records(things: &mut BTreeSet<String>, files: Files) {
    let root = |variable: &str, default: &str| {
        std::env::var_os(variable).map_or_else(|| PathBuf::from(default), PathBuf::from)
    };
    let data = root("CORACLE_DATA_ROOT", "/var/lib/coracle");
    let run = root("CORACLE_RUN_ROOT", "/run/coracle");
    let mut places = vec![
        data.join("containers"),
        data.join("volumes"),
        data.join("networks"),
        data.join("projects"),
        run.join("containers"),
        run.join("keepers"),
    ];
    if files == Files::Snapshots {
        places.push(data.join("snapshots"));
    }
    for place in places {
        things.extend(names(&place).into_iter().map(|name| format!("file {}", place.join(name).display())));
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
