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

/// A provider that sets a variable, and notes what it was asked.
const PROVIDER: &str = r#"#!/bin/sh
echo "$@" >> asked
case "$4" in
    up)
        if test -e fail; then
            echo '{"type": "error", "message": "no room"}'
            exit 1
        fi
        echo '{"type": "info", "message": "making"}'
        echo '{"type": "setenv", "message": "URL=db://made"}' ;;
esac
"#;

#[test]
fn providers_are_programs_outside() {
    use std::os::unix::fs::PermissionsExt as _;

    if !ready() {
        return;
    }
    coracle(["run", "--rm", "busybox", "true"]).run().ok();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let text = "services:\n  db:\n    provider: {type: cloud, options: {size: 2, zone: [a, b]}}\n  api:\n    image: busybox\n    command: [sh, -c, 'echo $$DB_URL']\n    depends_on: [db]\n";
    fs::write(path.join("compose.yaml"), text).unwrap();
    let name = unique("provider");
    let places = format!("{}:{}", path.join("bin").display(), std::env::var("PATH").unwrap());
    let call = |verb: &str| coracle([verb, "-p", &name]).env("PATH", &places).dir(path).run();
    call("up").refuses(1, &["compose.yaml:3:", "provider `cloud`, which is not installed"]);

    fs::create_dir(path.join("bin")).unwrap();
    let program = path.join("bin/docker-cloud");
    fs::write(&program, PROVIDER).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(path.join("fail"), "").unwrap();
    call("up").refuses(1, &["failed at `up`", "no room"]);
    fs::remove_file(path.join("fail")).unwrap();
    fs::remove_file(path.join("asked")).unwrap();
    call("up").ok();
    let log = coracle(["logs", &format!("{name}-api-1")]).run().ok();
    assert_eq!(log.stdout, "db://made\n");
    call("down").ok();
    let asked = fs::read_to_string(path.join("asked")).unwrap();
    let options = "--size=2 --zone=a --zone=b db";
    let start = format!("compose --project-name {name}");
    assert_eq!(asked, format!("{start} up {options}\n{start} down {options}\n"));
}
