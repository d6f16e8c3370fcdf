//! Containers that are made: scaled, built, waited for; by files of every kind, and by two commands at once.

use crate::support::{Call, Files, Snapshot, coracle, inspect, ready, text_at, unique};
use crate::{POLITE, Project};

#[test]
fn services_have_as_many_containers_as_wanted() {
    if !ready() {
        return;
    }
    let project = Project::new(
        "compose-scale",
        &format!(
            "services:
  worker: {{image: busybox, command: {POLITE}, stop_grace_period: 1s}}
  single: {{image: busybox, command: {POLITE}, container_name: $NAME-only}}
"
        ),
    );
    project.compose(["up", "-d", "--scale", "worker=3"]).run().ok();
    let three = ["only running", "worker-1 running", "worker-2 running", "worker-3 running"];
    assert_eq!(project.containers(), three);
    let host = |index: &str| {
        project.compose(["exec", "-T", "--index", index, "worker", "hostname"]).run().ok().stdout
    };
    let first = host("1");
    assert_ne!(first, host("3"));
    project.compose(["exec", "-T", "--index", "4", "worker", "true"]).run().refuses(1, &["4"]);
    project.compose(["scale", "worker=1"]).run().ok();
    assert_eq!(project.containers(), ["only running", "worker-1 running"]);
    // The first one was left alone.
    assert_eq!(host("1"), first);
    project.compose(["scale", "wroker=2"]).run().refuses(1, &["wroker", "did you mean `worker`"]);
    project.compose(["up", "-d", "--scale", "single=2"]).run().refuses(1, &["container_name"]);
    project.compose(["up", "-d", "--scale", "worker=two"]).run().refuses(1, &["SERVICE=NUMBER"]);
    project.compose(["up", "-d", "--scale", "worker=0"]).run().ok();
    assert_eq!(project.containers(), ["only running"]);
}

#[test]
fn waiting_counts_jobs_that_succeed_and_tells_of_those_that_fail() {
    if !ready() {
        return;
    }
    let text = "services:\n  job: {image: busybox, command: [sh, -c, \"sleep 0.3; exit $$CODE\"], environment: {CODE: 0}}\n  web: {image: busybox, command: [sleep, \"600\"], stop_grace_period: 0s, depends_on: {job: {condition: service_completed_successfully}}}\n";
    let project = Project::new("compose-ready", text);
    project.compose(["up", "--wait", "--wait-timeout", "60"]).run().ok();
    assert_eq!(project.containers(), ["job-1 exited", "web-1 running"]);
    // Docker Compose runs jobs again; a service that did not change stays.
    let again = project.compose(["--dry-run", "up", "--wait"]).run().ok();
    assert!(again.stdout.contains("start container") && !again.stdout.contains("web-1"), "{again}");
    project.write("compose.yaml", &text.replace("CODE: 0", "CODE: 5"));
    project.compose(["up", "--wait"]).run().refuses(1, &["job", "exit code 5"]);
    project.compose(["up", "-d", "--wait-timeout", "5"]).run().refuses(1, &["--wait"]);
}

#[test]
fn images_are_built_and_go_again() {
    if !ready() {
        return;
    }
    let before = Snapshot::take(Files::Records);
    let project = Project::new(
        "compose-build",
        "services:
  own: {build: {context: ., dockerfile_inline: \"FROM busybox\\nARG WORD=old\\nENV WORD=$$WORD\\nCMD echo said $$WORD\"}}
  named: {image: $NAME-named, build: {context: ., dockerfile_inline: \"FROM busybox\\nCMD true\"}}
  taken: {image: busybox, command: \"true\"}
",
    );
    let planned = project.compose(["--dry-run", "build"]).run().ok();
    assert!(planned.stdout.contains(&format!("build image {}-own", project.name)), "{planned}");
    let bake = project.compose(["build", "--print"]).run().ok();
    let bake: serde_json::Value = serde_json::from_str(&bake.stdout).expect("a bake file is JSON");
    assert_eq!(bake["group"]["default"]["targets"], serde_json::json!(["named", "own"]), "{bake:#}");
    assert_eq!(bake["target"]["named"]["tags"][0], format!("{}-named:latest", project.name), "{bake:#}");
    project.compose(["build", "-q", "--build-arg", "WORD=new", "own"]).run().ok();
    // What is there is not built again, as with Docker Compose.
    project.compose(["up", "-d"]).run().ok();
    project.compose(["wait", "own"]).run().ok();
    let said = project.compose(["logs", "--no-log-prefix", "own"]).run().ok();
    assert_eq!(said.stdout, "said new\n");
    project.compose(["build", "--memory", "1g"]).run().refuses(1, &["--memory"]);
    let images = project.compose(["images"]).run().ok();
    assert!(images.line_with("own-1").contains(&format!("{}-own", project.name)), "{images}");
    project.compose(["down", "-v", "--rmi", "local"]).run().ok();
    let stored = coracle(["images"]).run().ok();
    assert!(!stored.stdout.contains(&format!("{}-own", project.name)), "{stored}");
    assert!(stored.stdout.contains(&format!("{}-named", project.name)), "{stored}");
    coracle(["rmi", &format!("{}-named", project.name)]).run().ok();
    drop(project);
    before.nothing_is_left();
}

#[test]
fn a_project_comes_from_standard_input_and_has_the_name_that_is_said() {
    if !ready() {
        return;
    }
    let project = Project::new("compose-stdin", "services: {unused: {image: busybox}}\n");
    let other = unique("compose-said");
    let text = format!("services: {{a: {{image: busybox, command: {POLITE}, profiles: [extra]}}}}\n");
    let call = |words: &[&str]| -> Call {
        let words = ["-f", "-", "-p", &other].into_iter().chain(words.iter().copied());
        project.compose(words).input(text.as_str())
    };
    // Naming a service is enough for its profile.
    call(&["up", "-d", "a"]).run().ok();
    let name = format!("{other}-a-1");
    assert_eq!(text_at(&inspect(&name), "State.Status"), "running");
    assert_eq!(call(&["ps", "--services"]).run().ok().stdout, "a\n");
    call(&["down", "-t", "0"]).run().ok();
    coracle(["inspect", &name]).run().refuses(1, &[&name]);
    project.compose(["-f", "missing.yaml", "ps"]).run().refuses(1, &["missing.yaml"]);
    project.compose(["-p", "Not A Name", "ps"]).run().refuses(1, &["project name"]);
}

#[test]
fn two_ups_at_once_agree() {
    if !ready() {
        return;
    }
    let project = Project::new(
        "compose-twice",
        &format!(
            "services:\n  a: {{image: busybox, command: {POLITE}}}\n  b: {{image: busybox, command: {POLITE}, depends_on: [a]}}\n"
        ),
    );
    let started: Vec<_> = (0..3).map(|_| project.compose(["up", "-d"]).start()).collect();
    for one in started {
        one.finish().ok();
    }
    assert_eq!(project.containers(), ["a-1 running", "b-1 running"]);
    project.compose(["create", "--force-recreate", "b"]).run().ok();
    assert_eq!(project.containers(), ["a-1 running", "b-1 created"]);
    project.compose(["up", "--no-start", "--scale", "a=2"]).run().ok();
    assert_eq!(project.containers(), ["a-1 running", "a-2 created", "b-1 created"]);
}

#[test]
fn what_is_no_command_or_excludes_itself_changes_nothing() {
    if !ready() {
        return;
    }
    let project = Project::new("compose-wrong", "services: {a: {image: busybox}}\n");
    project.compose(["watch"]).run().refuses(1, &["not there yet", "up -d --build"]);
    project.compose(["lgos"]).run().refuses(1, &["did you mean `coracle compose logs`"]);
    project.compose(["up", "-d", "--abort-on-container-exit"]).run().refuses(1, &["--detach", "--abort-on"]);
    project.compose(["up", "--force-recreate", "--no-recreate"]).run().refuses(1, &["--no-recreate"]);
    project.compose(["ps", "--format", "{{range .}}"]).run().refuses(1, &["{{end}}"]);
    project.compose(["up", "-d", "aa"]).run().refuses(1, &["no service `aa`"]);
    assert!(project.containers().is_empty());
    assert_eq!(project.compose(["version", "--short"]).run().ok().stdout, "2.40.3\n");
}
