//! The build cache: between machines (two data roots with a directory between them), and what goes of it.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use support::ready;

/// A machine of its own: data and run roots that end with the test.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn command(&self, words: &[&str]) -> Command {
        let binary =
            std::env::var("CORACLE_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_coracle").to_owned());
        let mut command = Command::new(binary);
        command
            .args(words)
            .env("CORACLE_DATA_ROOT", self.0.path().join("data"))
            .env("CORACLE_RUN_ROOT", self.0.path().join("run"))
            .stdin(Stdio::null());
        command
    }

    /// Builds, and returns the image's id and what was said.
    fn build(&self, context: &Path, more: &[&str]) -> (String, String) {
        let mut words = vec!["build", "--network", "none", "--progress", "plain", context.to_str().unwrap()];
        words.extend(more);
        let output = self.command(&words).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        (String::from_utf8_lossy(&output.stdout).trim().to_owned(), said)
    }

    fn mount_files(&self) -> Vec<String> {
        let directory = self.0.path().join("data/cache-mounts");
        let mounts = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let mounts = mounts.filter(|entry| !entry.file_name().to_string_lossy().starts_with("%lock"));
        mounts
            .filter(|entry| entry.path().join("x").exists())
            .map(|entry| std::fs::read_to_string(entry.path().join("x")).unwrap())
            .collect()
    }
}

/// A context that needs no base image; `None` where busybox is missing.
fn context(word: &str) -> Option<tempfile::TempDir> {
    if !ready() {
        return None;
    }
    if !Path::new("/bin/busybox").exists() {
        assert!(std::env::var_os("CI").is_none(), "busybox-static is not installed");
        eprintln!("SKIPPED: busybox-static is not installed");
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    std::fs::copy("/bin/busybox", directory.path().join("busybox")).unwrap();
    write(directory.path(), word);
    Some(directory)
}

fn write(directory: &Path, word: &str) {
    let text = format!(
        "FROM scratch AS base\nCOPY busybox /bin/busybox\nSHELL [\"/bin/busybox\", \"sh\", \"-c\"]\n\
         RUN /bin/busybox head -c 100000 /dev/urandom > /random\n\
         FROM base AS unused\nRUN /bin/busybox head -c 5000000 /dev/urandom > /large\n\
         FROM base\nCOPY --from=unused /bin/busybox /copy\n\
         RUN --mount=type=cache,target=/cache,id=words echo {word} >> /cache/x; /bin/busybox cat /cache/x > /seen\n"
    );
    std::fs::write(directory.join("Dockerfile"), text).unwrap();
}

#[test]
fn a_fresh_machine_runs_nothing_and_gets_the_same_image() {
    let Some(context) = context("one") else { return };
    let between = tempfile::tempdir().unwrap();
    let to = format!("type=local,dest={},mode=max,mounts=true", between.path().display());
    let from = format!("type=local,src={}", between.path().display());
    let (first, _) = Machine::new().build(context.path(), &["--cache-to", &to]);
    // The random bytes cannot be had by running anything again.
    let other = Machine::new();
    let (second, said) = other.build(context.path(), &["--cache-from", &from]);
    assert_eq!(first, second, "{said}");
    // Once here, the results are this machine's own.
    assert_eq!(other.build(context.path(), &[]).0, first);
    // A step that is not cached finds the layers below and the cache mount's content.
    write(context.path(), "two");
    let third = Machine::new();
    third.build(context.path(), &["--cache-from", &from]);
    assert_eq!(third.mount_files(), ["one\ntwo\n"]);
}

#[test]
fn a_cache_that_lies_is_left_out() {
    let Some(context) = context("one") else { return };
    let between = tempfile::tempdir().unwrap();
    let to = format!("type=local,dest={},mode=max", between.path().display());
    let from = format!("type=local,src={}", between.path().display());
    Machine::new().build(context.path(), &["--cache-to", &to]);
    let blobs = || std::fs::read_dir(between.path().join("blobs/sha256")).unwrap().flatten();
    for entry in blobs().filter(|entry| entry.metadata().unwrap().len() > 50_000) {
        std::fs::write(entry.path(), vec![7; 60_000]).unwrap();
    }
    let (_, said) = Machine::new().build(context.path(), &["--cache-from", &from]);
    assert!(said.contains("is not used any more") && said.contains("goes on without it"), "{said}");
    std::fs::write(between.path().join("index.json"), "{\"schemaVersion\": 2}").unwrap();
    let (_, said) = Machine::new().build(context.path(), &["--cache-from", &from]);
    assert!(said.contains("is not used"), "{said}");
}

#[test]
fn a_killed_export_leaves_the_old_cache_or_the_new_one() {
    let Some(context) = context("one") else { return };
    let between = tempfile::tempdir().unwrap();
    let to = format!("type=local,dest={},mode=max", between.path().display());
    let from = format!("type=local,src={}", between.path().display());
    let machine = Machine::new();
    let (first, _) = machine.build(context.path(), &["--cache-to", &to]);
    for pause in [0, 20, 60, 120, 250] {
        let words = ["build", "--network", "none", context.path().to_str().unwrap(), "--cache-to", &to];
        let mut child = machine.command(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let end = Instant::now() + Duration::from_millis(pause);
        while Instant::now() < end && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = child.kill();
        child.wait().unwrap();
        assert_eq!(Machine::new().build(context.path(), &["--cache-from", &from]).0, first);
    }
}

#[test]
fn wrong_places_are_said_before_anything_is_done() {
    let machine = Machine::new();
    for (place, says) in
        [("type=gha", "not supported"), ("type=local", "needs dest"), ("type=registry,ref=A", "A")]
    {
        let output = machine.command(&["build", ".", "--cache-to", place]).output().unwrap();
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains(says), "{place}");
    }
    assert!(!machine.0.path().join("data").exists());
}

impl Machine {
    /// Runs a command that must succeed, and returns what it printed and what it said.
    fn run(&self, words: &[&str]) -> (String, String) {
        let output = self.command(words).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{words:?}: {said}");
        (String::from_utf8_lossy(&output.stdout).into_owned(), said)
    }

    /// Returns what `builder du` lists.
    fn usage(&self) -> Vec<serde_json::Value> {
        let (lines, _) = self.run(&["builder", "du", "--format", "json"]);
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Says of everything in the build cache that it was used three days ago.
    fn age(&self) {
        let time = SystemTime::now() - Duration::from_hours(72);
        for directory in ["data/cache", "data/cache-mounts"] {
            let entries = std::fs::read_dir(self.0.path().join(directory)).unwrap().flatten();
            for entry in entries.filter(|entry| entry.file_type().unwrap().is_file()) {
                let file = std::fs::File::options().append(true).open(entry.path()).unwrap();
                file.set_modified(time).unwrap();
            }
        }
    }

    /// Returns what an image prints.
    fn print(&self, image: &str) -> String {
        let words = ["run", "--rm", "--network", "none", image, "/bin/busybox", "cat", "/seen"];
        self.run(&words).0
    }
}

#[test]
fn a_prune_leaves_what_was_used_of_late_and_what_images_hold() {
    let Some(context) = context("one") else { return };
    let machine = Machine::new();
    let (image, _) = machine.build(context.path(), &["-t", "pruned"]);
    let usage = machine.usage();
    let described = |text: &str| {
        let has = |row: &&serde_json::Value| row["Description"].as_str().unwrap().contains(text);
        usage.iter().find(has).unwrap_or_else(|| panic!("no {text} in {usage:#?}"))
    };
    // Only the image rests on the one, only the cache has the other.
    assert_eq!(described("RUN /bin/busybox head -c 100000")["Shared"], true);
    let large = described("RUN /bin/busybox head -c 5000000");
    assert!(large["Shared"] == false && large["Bytes"].as_u64().unwrap() >= 5_000_000, "{large}");
    assert_eq!(described("cache mount words")["Type"], "exec.cachemount");

    // Used within the day.
    let (freed, said) = machine.run(&["builder", "prune", "--force"]);
    assert!(freed.contains("Total:\t0B") && said.contains("--all"), "{freed}{said}");
    assert_eq!(machine.usage().len(), usage.len());
    // A build that does nothing uses all that it rests on.
    machine.age();
    assert_eq!(machine.build(context.path(), &[]).0, image);
    let young = ["builder", "du", "--filter", "until=24h", "--format", "json"];
    let (old, _) = machine.run(&young);
    assert!(old.lines().all(|line| line.contains("exec.cachemount")), "{old}");
    machine.age();
    let (dry, _) = machine.run(&["builder", "prune", "--dry-run"]);
    let (freed, _) = machine.run(&["builder", "prune", "--force"]);
    assert!(dry.contains("5000000") && freed.contains("5000000"), "{dry}{freed}");
    assert!(machine.usage().iter().all(|row| row["Shared"] == true));

    machine.build(context.path(), &["-t", "pruned"]);
    machine.run(&["builder", "prune", "--all", "--force"]);
    assert!(machine.usage().is_empty());
    assert!(machine.run(&["builder", "du"]).0.contains("Total:\t\t0B"));
    assert_eq!(machine.print("pruned"), "one\n");
    // All is made again, with other random bytes.
    assert_ne!(machine.build(context.path(), &["-t", "pruned"]).0, image);
    assert_eq!(machine.print("pruned"), "one\n");
}

#[test]
fn a_killed_prune_leaves_nothing_half() {
    let Some(context) = context("one") else { return };
    let machine = Machine::new();
    for pause in [0, 5, 10, 20, 40, 80] {
        machine.build(context.path(), &["-t", "kept"]);
        let seen = machine.print("kept");
        let words = ["builder", "prune", "--all", "--force"];
        let mut child = machine.command(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(pause));
        let _ = child.kill();
        child.wait().unwrap();
        assert_eq!(machine.print("kept"), seen);
        machine.run(&words);
        assert!(machine.usage().is_empty());
        for directory in ["data/snapshots", "data/cache-mounts"] {
            let entries = std::fs::read_dir(machine.0.path().join(directory)).unwrap().flatten();
            let names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
            // The place where snapshots wait to be erased may stay, empty.
            let waiting = std::fs::read_dir(machine.0.path().join(directory).join(".gone"));
            assert_eq!(waiting.map_or(0, Iterator::count), 0, "{names:?}");
            let half = |name: &std::ffi::OsString| name != ".gone" && name.to_string_lossy().contains("gone");
            assert!(!names.iter().any(half), "{names:?}");
        }
    }
}

#[test]
fn wrong_filters_and_sizes_are_said() {
    let machine = Machine::new();
    for (option, says) in
        [("--filter=size=1", "until=24h"), ("--filter=until=soon", "24h"), ("--max-used-space=ten", "512m")]
    {
        let output = machine.command(&["builder", "prune", "--force", option]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains(says), "{option}");
    }
    assert!(!machine.0.path().join("data").exists());
}
