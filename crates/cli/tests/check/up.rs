//! The check before `coracle up`.

use std::fs;

use crate::directory;
use crate::support::{Files, Snapshot, coracle, ready, unique};

#[test]
fn an_error_starts_nothing() {
    if !ready() {
        return;
    }
    let name = unique("check");
    let text = format!(
        "name: {name}\nversion: \"3\"\nservices:\n  web:\n    image: busybox:1.36\n    cpuset: \"0-4095\"\n"
    );
    let root = directory(&[("compose.yaml", &text)]);
    let before = Snapshot::take(Files::Snapshots);
    let up = |words: &[&str]| coracle(["up"]).args(words).dir(root.path()).run();
    let wanted = ["there is no processor 4095", "rule: coracle explain CpusetAboveMachine", "--no-check"];
    up(&[]).refuses(1, &wanted);
    for list in [&["ps", "-a"][..], &["network", "ls"], &["volume", "ls"]] {
        assert!(!coracle(list).run().ok().stdout.contains(&name), "{list:?}");
    }
    before.nothing_is_left();
    let said = up(&["--no-check", "--dry-run"]);
    assert!(!said.stderr.contains("CpusetAboveMachine"), "{}", said.stderr);
}

#[test]
fn warnings_are_one_line() {
    if !ready() {
        return;
    }
    let name = unique("check");
    let text = format!(
        "name: {name}\nversion: \"3\"\nservices:\n  web:\n    image: busybox:1.36\n  other:\n    image: busybox:1.36\n    cpuset: \"0-4095\"\nvolumes:\n  unused: {{}}\n"
    );
    let root = directory(&[("docker-compose.yml", &text), ("docker-compose.dev.yml", "services: {}\n")]);
    let up = |words: &[&str]| coracle(["up", "dev", "--dry-run"]).args(words).dir(root.path()).run();
    // The error is another service's. Whether the image is there is no matter here.
    let said = up(&["web"]).stderr;
    let lines: Vec<&str> = said.lines().filter(|line| line.ends_with(": coracle check dev")).collect();
    assert_eq!(lines.len(), 1, "{said}");
    assert!(lines[0].contains("warning") && !said.contains("CpusetAboveMachine"), "{said}");
    assert!(up(&[]).ended(1).stderr.contains("CpusetAboveMachine"));
    assert!(!up(&["web", "--no-check"]).stderr.contains("coracle check"));
    // What the reader of the files says already is not said again.
    fs::write(root.path().join("docker-compose.yml"), text.replace("volumes:\n  unused: {}\n", ""))
        .expect("writable");
    assert_eq!(up(&["web"]).stderr.matches("coracle check").count(), 0);
}
