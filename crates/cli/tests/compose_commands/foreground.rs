//! `up` in the foreground: logs, Ctrl-C, and ends that end all.

use crate::support::{Files, Snapshot, ready};
use crate::{POLITE, Project};

#[test]
fn ctrl_c_stops_gracefully_and_a_second_one_kills() {
    if !ready() {
        return;
    }
    let before = Snapshot::take(Files::Records);
    let project = Project::new(
        "compose-ctrl-c",
        &format!(
            "services:
  polite: {{image: busybox, command: {POLITE}}}
  stubborn: {{image: busybox, command: [sh, -c, \"trap '' TERM; echo never; while :; do sleep 0.1; done\"], stop_grace_period: 10m}}
"
        ),
    );
    let mut up = project.compose(["up", "polite"]).start();
    up.says("Attaching to polite-1");
    up.says("polite-1  | hello");
    up.signal("INT");
    let ended = up.finish().ended(130);
    assert!(ended.stderr.contains("Gracefully Stopping"), "{ended}");
    assert!(ended.stdout.contains("polite-1  | goodbye"), "{ended}");
    assert!(ended.stderr.contains("polite-1 exited with code 0"), "{ended}");
    assert_eq!(project.containers(), ["polite-1 exited"]);

    let mut up = project.compose(["up", "--no-log-prefix"]).start();
    up.says("never");
    up.says("hello");
    up.signal("INT");
    up.says("Gracefully Stopping");
    up.signal("INT");
    let ended = up.finish().ended(130);
    assert!(ended.stderr.contains("Killing"), "{ended}");
    assert!(ended.stderr.contains("stubborn-1 exited with code 137"), "{ended}");
    assert_eq!(project.containers(), ["polite-1 exited", "stubborn-1 exited"]);
    drop(project);
    before.nothing_is_left();
}

#[test]
fn the_end_of_one_ends_all() {
    if !ready() {
        return;
    }
    let project = Project::new(
        "compose-tests",
        &format!(
            "services:
  migrate: {{image: busybox, command: [\"true\"]}}
  server:
    image: busybox
    command: {POLITE}
    depends_on: {{migrate: {{condition: service_completed_successfully}}}}
  tests:
    image: busybox
    command: [sh, -c, \"echo testing; sleep 0.5; exit $$CODE\"]
    environment: {{CODE: $CODE}}
    depends_on: [server]
"
        ),
    );
    let up = |words: &[&str], code: &str| {
        let words = ["up"].into_iter().chain(words.iter().copied());
        project.compose(words).env("CODE", code).run()
    };
    // That `migrate` ends is how `server` begins.
    let ended = up(&["--exit-code-from", "tests"], "4").ended(4);
    assert!(ended.stdout.contains("tests-1    | testing"), "{ended}");
    assert!(ended.stdout.contains("server-1   | goodbye"), "{ended}");
    assert_eq!(project.containers(), ["migrate-1 exited", "server-1 exited", "tests-1 exited"]);
    up(&["--exit-code-from", "tests"], "0").ok();
    let ended = up(&["--abort-on-container-exit", "--no-attach", "server"], "6").ended(6);
    assert!(ended.stderr.contains("Aborting"), "{ended}");
    assert!(!ended.stdout.contains("goodbye"), "{ended}");
    up(&["--abort-on-container-failure"], "7").ended(7);
    assert_eq!(project.containers(), ["migrate-1 exited", "server-1 exited", "tests-1 exited"]);
    up(&["--exit-code-from", "nobody"], "0").refuses(1, &["nobody"]);
    // Without a word all go on until all have ended; what is not attached goes on beyond that.
    up(&["--attach", "tests"], "0").ok();
    assert_eq!(project.containers(), ["migrate-1 exited", "server-1 running", "tests-1 exited"]);
}

#[test]
fn commands_work_from_elsewhere_while_one_is_attached() {
    if !ready() {
        return;
    }
    let project = Project::new(
        "compose-elsewhere",
        &format!("services:\n  a: {{image: busybox, command: {POLITE}}}\n"),
    );
    let mut up = project.compose(["up"]).start();
    up.says("hello");
    project.compose(["exec", "-T", "a", "true"]).run().ok();
    let mut follow = project.compose(["logs", "-f"]).start();
    follow.says("hello");
    project.compose(["down"]).run().ok();
    let ended = up.finish().ok();
    assert!(ended.stdout.contains("goodbye"), "{ended}");
    follow.finish().ok();

    // Following ends with Ctrl-C, whatever runs.
    project.compose(["up", "-d"]).run().ok();
    let mut follow = project.compose(["logs", "-f"]).start();
    follow.says("hello");
    follow.signal("INT");
    follow.finish().ok();
    assert_eq!(project.containers(), ["a-1 running"]);
}
