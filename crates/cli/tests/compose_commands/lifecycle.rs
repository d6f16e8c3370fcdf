//! Containers that are there: listed, read, entered, stopped, started, killed, removed.

use serde_json::Value;

use crate::support::SOON;
use crate::support::{Files, Snapshot, at, eventually, free_port, get, holds, inspect, ready, text_at};
use crate::{POLITE, Project};

#[test]
fn a_project_lives_and_leaves_nothing() {
    if !ready() {
        return;
    }
    let before = Snapshot::take(Files::Records);
    let port = free_port();
    let project = Project::new(
        "compose-life",
        &format!(
            "services:
  web:
    image: busybox
    command: [sh, -c, \"mkdir -p /www; echo served > /www/index.html; exec httpd -f -p 80 -h /www\"]
    ports: [\"127.0.0.1:{port}:80\"]
    volumes: [\"data:/data\", /own]
    depends_on:
      db: {{condition: service_healthy, restart: true}}
      job: {{condition: service_completed_successfully}}
  db:
    image: busybox
    command: {POLITE}
    healthcheck: {{test: [CMD, \"true\"], interval: 1s}}
  job: {{image: busybox, command: [echo, done]}}
volumes: {{data: {{}}}}
"
        ),
    );
    let plan = project.compose(["--dry-run", "up", "-d"]).run().ok();
    assert!(plan.line_with("start container").contains("db-1 (not there yet)"), "{plan}");
    assert!(project.containers().is_empty());
    project.compose(["up", "-d"]).run().ok();
    assert_eq!(project.containers(), ["db-1 running", "job-1 exited", "web-1 running"]);
    eventually("the page is served", SOON, || {
        let inside = project.compose(["exec", "-T", "web", "wget", "-qO-", "http://127.0.0.1/"]).run();
        holds(inside.code() == 0, || inside.to_string())
    });

    assert_eq!(get(&format!("http://127.0.0.1:{port}/")).is(200).body, "served\n");

    // As Docker Compose lists it.
    let name = |service: &str| format!("{}-{service}-1", project.name);
    let listed = project.compose(["ps"]).run().ok();
    let heading: Vec<&str> = listed.stdout.lines().next().unwrap_or_default().split_whitespace().collect();
    assert_eq!(heading, ["NAME", "IMAGE", "COMMAND", "SERVICE", "CREATED", "STATUS", "PORTS"], "{listed}");
    assert!(listed.line_with(&name("web")).contains(&format!("127.0.0.1:{port}->80/tcp")), "{listed}");
    assert!(listed.line_with(&name("db")).contains("(healthy)"), "{listed}");
    assert!(!listed.stdout.contains(&name("job")), "{listed}");
    let json = project.compose(["ps", "--format", "json", "web"]).run().ok();
    let row: Value = serde_json::from_str(json.line()).expect("a row is JSON");
    assert_eq!(at(&row, "Publishers")[0]["PublishedPort"], port, "{json}");
    assert_eq!(text_at(&row, "Service"), "web");
    assert_eq!(project.compose(["ps", "--services"]).run().ok().stdout, "db\nweb\n");
    assert_eq!(project.compose(["ps", "-q", "--status", "exited"]).run().ok().line().len(), 64);
    assert_eq!(project.compose(["port", "web", "80"]).run().ok().line(), format!("127.0.0.1:{port}"));
    project.compose(["port", "web", "81"]).run().refuses(1, &["81/tcp"]);
    let projects = project.compose(["ls", "-a", "--format", "json"]).run().ok();
    assert!(projects.stdout.contains("\"exited(1), running(2)\""), "{projects}");
    let found = inspect(&name("web"));
    let label = |name: &str| found["Config"]["Labels"][name].as_str().unwrap_or_default().to_owned();
    assert_eq!(label("com.docker.compose.project"), project.name);
    assert_eq!(label("com.docker.compose.oneoff"), "False");
    let waits = "db:service_healthy:true,job:service_completed_successfully:false";
    assert_eq!(label("com.docker.compose.depends_on"), waits);

    // Read, and entered.
    let logs = project.compose(["logs", "--no-color", "job", "db"]).run().ok();
    assert!(logs.stdout.contains("job-1  | done\n") && logs.stdout.contains("db-1   | hello\n"), "{logs}");
    project
        .compose(["exec", "-T", "-e", "A=b", "-w", "/tmp", "db", "sh", "-c", "pwd; exit $(expr $A = b)"])
        .run()
        .ended(1);
    project.compose(["exec", "nop", "true"]).run().refuses(1, &["no service `nop`"]);
    project.compose(["exec", "job", "true"]).run().refuses(1, &["not running"]);

    // Stopped and started; who asked for it restarts with it.
    let id =
        |service: &str| project.compose(["exec", "-T", service, "cat", "/proc/1/stat"]).run().ok().stdout;
    let (db, web) = (id("db"), id("web"));
    project.compose(["restart", "--no-deps", "db"]).run().ok();
    assert_eq!(id("web"), web);
    project.compose(["restart", "-t", "1", "db"]).run().ok();
    assert_ne!((id("db"), id("web")), (db, web));
    project.compose(["stop"]).run().ok();
    assert_eq!(project.containers(), ["db-1 exited", "job-1 exited", "web-1 exited"]);
    assert!(
        project.compose(["logs", "-n", "1", "--no-log-prefix", "db"]).run().ok().stdout.contains("goodbye")
    );
    project.compose(["start"]).run().ok();
    assert_eq!(project.containers(), ["db-1 running", "job-1 exited", "web-1 running"]);
    project.compose(["kill", "-s", "KILL", "web"]).run().ok();
    eventually("web is dead", SOON, || {
        let now = project.containers();
        holds(now.contains(&"web-1 exited".to_owned()), || format!("{now:?}"))
    });
    project.compose(["rm", "web"]).run().refuses(1, &["--force"]);
    project.compose(["rm", "-f", "-v", "web"]).run().ok();
    assert_eq!(project.containers(), ["db-1 running", "job-1 exited"]);
    project.compose(["rm", "-f", "-s", "job", "db"]).run().ok();
    assert!(project.containers().is_empty());

    // Also where its files are not: by its name.
    project.compose(["up", "-d"]).run().ok();
    let elsewhere = tempfile::tempdir().expect("a directory can be made");
    let by_name = |words: &[&str]| {
        let words = ["compose", "-p", &project.name].into_iter().chain(words.iter().copied());
        crate::support::coracle(words).dir(elsewhere.path()).run()
    };
    assert_eq!(by_name(&["ps", "--services"]).ok().stdout, "db\nweb\n");
    by_name(&["up", "-d"]).refuses(1, &["no compose file"]);
    by_name(&["stop", "wbe"]).refuses(1, &["wbe", "did you mean `web`"]);
    by_name(&["down", "-v"]).ok();
    drop(project);
    before.nothing_is_left();
}

#[test]
fn orphans_stay_until_they_are_asked_for() {
    if !ready() {
        return;
    }
    let text = format!("services:\n  a: {{image: busybox, command: {POLITE}}}\n");
    let project = Project::new("compose-orphan", &text);
    project.compose(["up", "-d", "-t", "0"]).run().ok();
    project.write("compose.yaml", &text.replace("  a:", "  b:"));
    let warned = project.compose(["up", "-d"]).run().ok();
    assert!(warned.stderr.contains("--remove-orphans"), "{warned}");
    assert_eq!(project.containers(), ["a-1 running", "b-1 running"]);
    assert_eq!(project.compose(["ps", "--orphans=false", "--services"]).run().ok().stdout, "b\n");
    project.compose(["up", "-d", "-t", "0", "--remove-orphans"]).run().ok();
    assert_eq!(project.containers(), ["b-1 running"]);
    let again = project.compose(["--dry-run", "up", "-d"]).run().ok();
    assert_eq!(again.stdout, "", "{again}");
}

#[test]
fn waiting_tells_how_they_ended() {
    if !ready() {
        return;
    }
    let project = Project::new(
        "compose-wait",
        "services:\n  short: {image: busybox, command: [sh, -c, \"sleep 0.5; exit 3\"]}\n  long: {image: busybox, command: [sleep, \"600\"]}\n",
    );
    project.compose(["up", "-d"]).run().ok();
    let waited = project.compose(["wait", "short"]).run().ended(3);
    assert!(waited.stdout.contains("exited with status code 3"), "{waited}");
    project.compose(["wait", "--down-project", "short", "long"]).run().ended(3);
    assert!(project.containers().is_empty());
}
