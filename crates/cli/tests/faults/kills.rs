//! Processes that are killed while nothing happens: a shim, a keeper, a container's first process.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::support::{Container, SOON, coracle, eventually, get, holds, parent_of, text_at};
use crate::world::{IMAGE, Shape, in_world};

#[track_caller]
fn kill(pid: i32) {
    let status = Command::new("kill").args(["-9", &pid.to_string()]).status().expect("kill starts");
    assert!(status.success(), "process {pid} can be killed");
}

/// Returns the processes that are keepers.
fn keepers() -> Vec<i32> {
    let entries = fs::read_dir("/proc").expect("/proc can be read").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_keeper = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == b"keeper")
    };
    pids.filter(is_keeper).collect()
}

#[test]
fn what_is_killed_takes_nothing_else_along() {
    in_world("kills::what_is_killed_takes_nothing_else_along", Shape::default(), |world| {
        let before = world.look();
        let web = ["-p", "127.0.0.1:7575:80", IMAGE, "sh", "-c"];
        let serve = ["mkdir -p /www; echo here > /www/index.html; exec busybox httpd -f -p 80 -h /www"];
        let answers = |bound: Duration| {
            eventually("the container answers", bound, || {
                let answer = get("http://127.0.0.1:7575/");
                holds(answer.body.contains("here"), || answer.to_string())
            });
        };

        // The shim: its container ends with it, and can be started again.
        let container = Container::start("shim", web.into_iter().chain(serve));
        answers(SOON);
        kill(parent_of(container.pid()));
        eventually("the loss is noticed", SOON, || {
            let found = container.inspect();
            holds(text_at(&found, "State.Status") == "exited", || format!("{:#}", found["State"]))
        });
        world.bystander_lives();
        coracle(["start", &container.0]).run().ok();
        answers(SOON);

        // The first process: its end is recorded.
        kill(container.pid());
        assert_eq!(container.ended(), 137);
        coracle(["start", &container.0]).run().ok();
        answers(SOON);

        // The first process of one that is restarted.
        let again = Container::start("again", ["--restart", "always", IMAGE, "sleep", "1000"]);
        let first = again.pid();
        kill(first);
        eventually("it is restarted", SOON, || {
            let found = again.inspect();
            let pid = found["State"]["Pid"].as_i64().unwrap_or(0);
            holds(pid != 0 && pid != i64::from(first), || format!("{:#}", found["State"]))
        });

        // The keeper: containers go on, and the next command has names and ports served again.
        let keepers = keepers();
        assert!(!keepers.is_empty(), "ports are served by a keeper");
        keepers.into_iter().for_each(kill);
        assert_eq!(coracle(["exec", &container.0, "cat", "/www/index.html"]).run().ok().line(), "here");
        coracle(["run", "--rm", IMAGE, "true"]).run().ok();
        answers(SOON);
        world.bystander_lives();
        world.commands_answer();
        drop((container, again));
        before.nothing_is_left();
    });
}
