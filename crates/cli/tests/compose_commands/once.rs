//! `run`: one command in a container of its own.

use crate::support::SOON;
use crate::support::{Files, Snapshot, coracle, eventually, holds, inspect, ready, text_at};
use crate::{POLITE, Project};

#[test]
fn a_command_runs_once_beside_its_service() {
    if !ready() {
        return;
    }
    let before = Snapshot::take(Files::Records);
    let project = Project::new(
        "compose-run",
        &format!(
            "services:
  app:
    image: busybox
    command: [sleep, \"600\"]
    stop_grace_period: 0s
    working_dir: /srv
    environment: {{A: file, B: file}}
    volumes: [\"shared:/shared\", /own]
    restart: always
    depends_on: {{db: {{condition: service_healthy}}}}
  db:
    image: busybox
    command: {POLITE}
    healthcheck: {{test: [CMD, test, -e, /ready], interval: 1s, start_period: 60s, start_interval: 300ms}}
    entrypoint: [sh, -c, 'sleep 0.5; touch /ready; exec \"$$@\"', --]
volumes: {{shared: {{}}}}
"
        ),
    );
    let planned = project.compose(["--dry-run", "run", "--rm", "app", "true"]).run().ok();
    assert!(planned.stdout.contains("create container") && planned.stdout.contains("-app-run-"), "{planned}");
    assert!(project.containers().is_empty());

    let script = "echo $A $B $PWD; echo written > /shared/file; exit 9";
    let run = project.compose(["run", "--rm", "-e", "B=line", "app", "sh", "-c", script]).run().ended(9);
    assert_eq!(run.stdout, "file line /srv\n", "{run}");
    assert_eq!(project.containers(), ["db-1 running"]);
    let input =
        ["run", "--rm", "-T", "--no-deps", "-v", ".:/here:ro", "-w", "/here", "app", "sh", "-c", "cat; ls"];
    let run = project.compose(input).input("given\n").run().ok();
    assert_eq!(run.stdout, "given\ncompose.yaml\n");
    let run = project.compose(["run", "--rm", "--entrypoint", "echo 'a b'", "app", "c"]).run().ok();
    assert_eq!(run.stdout, "a b c\n");
    assert_eq!(project.compose(["run", "--rm", "app", "cat", "/shared/file"]).run().ok().stdout, "written\n");
    project.compose(["run", "--rm", "app", "no-such-program"]).run().ended(127);

    // In the background it stays, is no service's container, and is found by its name.
    let name = format!("{}-preview", project.name);
    let made = project.compose(["run", "-d", "--name", &name, "-l", "mine=1", "app"]).run().ok();
    assert_eq!(made.line().len(), 64, "{made}");
    let found = inspect(&name);
    assert_eq!(found["Config"]["Labels"]["com.docker.compose.oneoff"], "True", "{found:#}");
    assert_eq!(found["Config"]["Labels"]["mine"], "1", "{found:#}");
    assert_eq!(text_at(&found, "HostConfig.RestartPolicy.Name"), "no");
    assert!(!project.compose(["ps"]).run().ok().stdout.contains(&name));
    assert_eq!(project.containers(), ["db-1 running", "preview running"]);
    project.compose(["run", "--name", &name, "app", "true"]).run().refuses(1, &[&name]);
    project.compose(["up", "-d", "-t", "0"]).run().ok();
    assert_eq!(project.containers(), ["app-1 running", "db-1 running", "preview running"]);
    project.compose(["run", "nothing"]).run().refuses(1, &["no service `nothing`"]);

    // A signal goes to the command, and what was to be removed goes.
    let mut run = project
        .compose([
            "run",
            "--rm",
            "--no-deps",
            "db",
            "sh",
            "-c",
            "trap 'exit 5' INT; echo up; while :; do sleep 0.1; done",
        ])
        .start();
    run.says("up");
    run.signal("INT");
    run.finish().ended(5);
    eventually("it is removed", SOON, || {
        let now = project.containers();
        holds(now.len() == 3, || format!("{now:?}"))
    });
    project.compose(["down", "-v", "-t", "0"]).run().ok();
    coracle(["inspect", &name]).run().refuses(1, &[&name]);
    drop(project);
    before.nothing_is_left();
}
