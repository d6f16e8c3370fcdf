//! Networking as a user's projects see it: service addresses, names, and replicas that come and go.

mod support;

use std::fs;
use std::path::Path;

use support::{Files, LONG, SOON, Snapshot, coracle, eventually, holds, ready, unique};

/// A server on busybox that says who it is; each connection is one request.
const SERVICES: &str = r#"
services:
  backend:
    image: busybox
    command: ["sh", "-c", "hostname > /tmp/name; exec nc -ll -p 80 -e cat /tmp/name"]
    init: true
    stop_grace_period: 2s
    deploy: {replicas: 2}
    healthcheck: {test: ["CMD-SHELL", "! test -e /tmp/ill && nc -w 1 127.0.0.1 80 < /dev/null | grep -q ."], interval: 1s, retries: 1, start_interval: 100ms, start_period: 10s}
  plain:
    image: busybox
    init: true
    command: ["sleep", "600"]
    deploy: {endpoint_mode: dnsrr}
  client:
    image: busybox
    init: true
    command: ["sleep", "600"]
    depends_on: {backend: {condition: service_healthy}}
"#;

struct Project<'d>(&'d Path, String);

impl Drop for Project<'_> {
    fn drop(&mut self) {
        let _ = coracle(["down", "-p", &self.1]).dir(self.0).run();
    }
}

impl Project<'_> {
    fn call(&self, arguments: &[&str]) -> support::Outcome {
        coracle(["compose", "-p", &self.1]).args(arguments.iter().copied()).dir(self.0).run()
    }

    /// Runs a script in the client.
    #[track_caller]
    fn client(&self, script: &str) -> String {
        self.container("client-1", script)
    }

    #[track_caller]
    fn container(&self, name: &str, script: &str) -> String {
        let name = format!("{}-{name}", self.1);
        coracle(["exec", &name, "sh", "-c", script]).run().ok().stdout.trim().to_owned()
    }
}

#[test]
fn a_service_keeps_its_address_and_loses_no_request() {
    if !ready() {
        return;
    }
    coracle(["run", "--rm", "busybox", "true"]).run().ok();
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("compose.yaml"), SERVICES).unwrap();
    let before = Snapshot::take(Files::Snapshots);
    let project = Project(directory.path(), unique("services"));
    project.call(&["up", "-d", "--wait"]).ok();

    let address_of = |name: &str| {
        project.client(&format!("nslookup -type=a {name} | sed -n '/^Name/,$s/^Address: *//p' | sort"))
    };
    let virtual_address = address_of("backend");
    assert_eq!(virtual_address.lines().count(), 1, "{virtual_address}");
    let replicas = address_of("tasks.backend");
    assert_eq!(replicas.lines().count(), 2, "{replicas}");
    assert!(!replicas.contains(&virtual_address));
    // `dnsrr`: the container itself.
    let plain = address_of("plain");
    assert_eq!(plain, project.container("plain-1", "hostname -i"));

    // Both answer whoever resolved the name once.
    let asked = format!("for i in 1 2 3 4; do nc {virtual_address} 80; done | sort -u");
    assert_eq!(project.client(&asked).lines().count(), 2);

    // Asked all the while they are replaced: no request is lost.
    project.client(&format!(
        "rm -f /tmp/stop /tmp/asked /tmp/answered; (while ! test -e /tmp/stop; do echo >> /tmp/asked; \
         nc -w 3 {virtual_address} 80 | grep . >> /tmp/answered; done; echo over > /tmp/over) >/dev/null 2>&1 &"
    ));
    project.call(&["up", "-d", "--force-recreate", "--no-deps", "backend"]).ok();
    project.client("touch /tmp/stop; while ! test -e /tmp/over; do sleep 0.1; done");
    let counts = project.client("wc -l < /tmp/asked; wc -l < /tmp/answered; sort -u /tmp/answered | wc -l");
    let counts: Vec<u32> = counts.lines().map(|line| line.trim().parse().unwrap()).collect();
    assert!(counts[0] > 0 && counts[0] == counts[1], "asked, answered, by how many: {counts:?}");
    assert_eq!(address_of("backend"), virtual_address);

    // An unhealthy replica gets nothing, and nobody had to be told.
    let healthy = project.container("backend-2", "hostname");
    project.container("backend-1", "touch /tmp/ill");
    eventually("only the healthy one answers", SOON, || {
        let answers = project.client(&asked);
        holds(answers == healthy, || answers.clone())
    });
    project.container("backend-1", "rm /tmp/ill");
    eventually("both answer again", SOON, || {
        let answers = project.client(&asked);
        holds(answers.lines().count() == 2, || answers.clone())
    });

    // Nobody left: refused at once, by the same address; and back again.
    project.call(&["stop", "backend"]).ok();
    let refused = project.client(&format!("nc -w 30 {virtual_address} 80 2>&1; true"));
    assert!(refused.contains("refused"), "{refused}");
    project.call(&["up", "-d", "--wait", "backend"]).ok();
    assert_eq!(address_of("backend"), virtual_address);
    assert_eq!(project.client(&asked).lines().count(), 2);
    drop(project);
    before.nothing_is_left();
}

#[test]
fn a_killed_keeper_stops_no_traffic_and_comes_back() {
    if !ready() {
        return;
    }
    coracle(["run", "--rm", "busybox", "true"]).run().ok();
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("compose.yaml"), SERVICES).unwrap();
    let before = Snapshot::take(Files::Snapshots);
    let project = Project(directory.path(), unique("keeper"));
    project.call(&["up", "-d", "--wait"]).ok();
    let address = project.client("nslookup -type=a backend | sed -n '/^Name/,$s/^Address: *//p'");
    let keeper = keeper_of(&project.1).expect("a keeper serves the project");
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(keeper).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    eventually("the keeper is gone", LONG, || holds(keeper_of(&project.1).is_none(), String::new));
    assert!(!project.client(&format!("nc {address} 80")).is_empty());
    // Any command brings it back.
    coracle(["ps"]).run().ok();
    assert!(keeper_of(&project.1).is_some());
    assert_eq!(project.client("nslookup -type=a backend | sed -n '/^Name/,$s/^Address: *//p'"), address);
    drop(project);
    before.nothing_is_left();
}

/// Returns the process that serves a scope.
fn keeper_of(scope: &str) -> Option<i32> {
    let wanted = format!("\0keeper\0{scope}\0");
    fs::read_dir("/proc").expect("/proc is there").flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let command = fs::read(entry.path().join("cmdline")).ok()?;
        String::from_utf8_lossy(&command).ends_with(&wanted).then_some(pid)
    })
}
