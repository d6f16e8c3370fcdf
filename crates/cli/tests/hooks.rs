//! Hooks of services: after the start, before the stop, and what their failures do.

mod support;

use std::fs;

use support::{Files, Snapshot, coracle, ready, unique};

const FILE: &str = r#"
services:
  api:
    image: busybox
    init: true
    command: [sleep, "600"]
    environment: {KIND: container}
    volumes: ["./out:/out"]
    post_start:
      - command: [sh, -c, "echo started $$KIND as $$(id -u) in $$PWD >> /out/log"]
        user: "7"
        working_dir: /tmp
        environment: {KIND: hook}
      - command: [sh, -c, "mount -t tmpfs tmpfs /tmp && echo privileged >> /out/log"]
        privileged: true
    pre_stop:
      - command: [sh, -c, "echo stopping >> /out/log; test ! -e /out/refuse || { echo not yet >&2; exit 3; }"]
        user: "7"
"#;

#[test]
fn hooks_run_at_their_turn_and_their_failures_are_told() {
    if !ready() {
        return;
    }
    coracle(["run", "--rm", "busybox", "true"]).run().ok();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let out = path.join("out");
    fs::create_dir(&out).unwrap();
    std::os::unix::fs::chown(&out, Some(7), Some(7)).unwrap();
    fs::write(path.join("compose.yaml"), FILE).unwrap();
    // Goes also when an assertion fails.
    struct Project<'d>(&'d std::path::Path, String);
    impl Drop for Project<'_> {
        fn drop(&mut self) {
            let _ = fs::remove_file(self.0.join("out/refuse"));
            let _ = coracle(["down", "-p", &self.1]).dir(self.0).run();
        }
    }
    let before = Snapshot::take(Files::Snapshots);
    let name = unique("hooks");
    let project = Project(path, name.clone());
    let call = |arguments: &[&str]| coracle(arguments).args(["-p", &name]).dir(path).run();
    let log = || {
        let text = fs::read_to_string(out.join("log")).unwrap_or_default();
        let _ = fs::remove_file(out.join("log"));
        text
    };

    call(&["up"]).ok();
    assert_eq!(log(), "started hook as 7 in /tmp\nprivileged\n");
    // Nothing is to be done, so nothing runs.
    call(&["up"]).ok();
    assert_eq!(log(), "");
    call(&["up", "--force-recreate"]).ok();
    assert_eq!(log(), "stopping\nstarted hook as 7 in /tmp\nprivileged\n");

    fs::write(out.join("refuse"), "").unwrap();
    call(&["down"]).refuses(1, &["`pre_stop` hook", "ended with 3", "not yet", "was not stopped"]);
    assert!(coracle(["ps"]).run().ok().stdout.contains(&name), "it still runs");
    fs::remove_file(out.join("refuse")).unwrap();
    call(&["down"]).ok();

    fs::write(path.join("compose.yaml"), FILE.replace("mount -t tmpfs tmpfs /tmp", "no-such-program"))
        .unwrap();
    call(&["up"]).refuses(1, &["`post_start` hook", "ended with 127", "no-such-program"]);
    call(&["down"]).ok();
    drop(project);
    before.nothing_is_left();
}
