//! What containers do while they run: freezing, processes, measures, events, files in and out.

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use serde_json::Value;
use support::{Container, Files, SOON, Snapshot, coracle, eventually, holds, ready, unique};

#[test]
fn a_frozen_container_does_nothing_until_it_is_let_go() {
    if !ready() {
        return;
    }
    let script = "while :; do echo tick; sleep 0.05; done";
    let container = Container::start("frozen", ["busybox", "sh", "-c", script]);
    let name = container.0.as_str();
    container.logs("tick");
    assert_eq!(coracle(["pause", name]).run().ok().line(), name);
    assert_eq!(container.status(), "paused");
    let ticks = || coracle(["logs", name]).run().ok().stdout.len();
    let before = ticks();
    std::thread::sleep(std::time::Duration::from_millis(400));
    assert_eq!(ticks(), before);
    assert!(coracle(["ps"]).run().ok().line_with(name).contains("(Paused)"));
    coracle(["exec", name, "true"]).run().refuses(125, &["paused"]);
    coracle(["pause", name]).run().refuses(1, &["paused already"]);

    coracle(["unpause", name]).run().ok();
    assert_eq!(container.status(), "running");
    eventually("it goes on", SOON, || holds(ticks() > before, || "no tick".to_owned()));
    coracle(["unpause", name]).run().refuses(1, &["not paused"]);

    // What is frozen can be stopped, and leaves nothing frozen behind.
    coracle(["pause", name]).run().ok();
    coracle(["stop", "-t", "0", name]).run().ok();
    coracle(["pause", name]).run().refuses(1, &["not running", "coracle start"]);
}

#[test]
fn processes_and_measures() {
    if !ready() {
        return;
    }
    let script = "sleep 987 & while :; do :; done";
    let container = Container::start("measured", ["--memory", "64m", "busybox", "sh", "-c", script]);
    let name = container.0.as_str();
    let listed = coracle(["top", name]).run().ok();
    assert!(listed.stdout.lines().next().unwrap().starts_with("UID"), "{listed}");
    assert!(listed.line_with("sleep 987").split_whitespace().nth(1).unwrap().parse::<u32>().is_ok());
    assert_eq!(listed.stdout.lines().count(), 3, "{listed}");

    let stats = coracle(["stats", "--no-stream", "--format", "json", name]).run().ok();
    let stats: Value = serde_json::from_str(stats.line()).unwrap();
    let cpu: f64 = stats["CPUPerc"].as_str().unwrap().trim_end_matches('%').parse().unwrap();
    assert!(cpu > 1.0, "{stats}");
    assert!(stats["MemUsage"].as_str().unwrap().ends_with("/ 64MiB"), "{stats}");
    assert_eq!(stats["PIDs"], "2");
    let table = coracle(["stats", "--no-stream"]).run().ok();
    assert!(table.line_with(name).contains("64MiB"), "{table}");

    coracle(["stop", "-t", "0", name]).run().ok();
    coracle(["top", name]).run().refuses(1, &["not running"]);
    let all = coracle(["stats", "--no-stream", "--all", name]).run().ok();
    assert!(all.line_with(name).contains("--"), "{all}");
}

#[test]
fn everything_that_happens_is_told() {
    if !ready() {
        return;
    }
    let name = unique("told");
    let filter = format!("container={name}");
    let mut follower = coracle(["events", "--filter", &filter, "--format", "json"]).start();
    // It sees what happens from its start on: something must be heard before the rest is asked for.
    eventually("the follower listens", SOON, || {
        let fds = fs::read_dir(format!("/proc/{}/fd", follower.id())).map_err(|error| error.to_string())?;
        let watches = |link: std::io::Result<std::path::PathBuf>| {
            link.is_ok_and(|link| link.to_string_lossy().contains("inotify"))
        };
        holds(fds.flatten().any(|fd| watches(fs::read_link(fd.path()))), || "nothing is watched".to_owned())
    });
    let health = ["--health-cmd", "true", "--health-interval", "100ms"];
    let run = ["run", "-d", "--label", "tier=test", "--name", &name];
    coracle(run.iter().chain(&health).chain(&["busybox", "sleep", "1000"])).run().ok();
    eventually("it is healthy", SOON, || {
        holds(follower.so_far().contains("health_status: healthy"), || "not yet".to_owned())
    });
    coracle(["exec", &name, "false"]).run().ended(1);
    coracle(["rm", "-f", &name]).run().ok();
    follower.says("destroy");
    follower.signal("INT");
    let heard = follower.finish().ok();
    let events: Vec<Value> = heard.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let actions: Vec<&str> = events.iter().map(|event| event["Action"].as_str().unwrap()).collect();
    let expected = [
        "create",
        "start",
        "health_status: healthy",
        "exec_create: false",
        "exec_start: false",
        "exec_die",
        "kill",
        "die",
        "destroy",
    ];
    assert_eq!(actions, expected, "{heard}");
    assert_eq!(events[5]["Actor"]["Attributes"]["exitCode"], "1");
    assert_eq!(events[7]["Actor"]["Attributes"]["exitCode"], "137");
    assert!(events.iter().all(|event| event["Actor"]["Attributes"]["tier"] == "test"), "{heard}");

    // The past is remembered.
    let past = ["events", "--since", "5m", "--until", "0s", "--filter", &filter, "--filter", "event=die"];
    let past = coracle(past).run().ok();
    assert_eq!(past.stdout.lines().count(), 1, "{past}");
    assert!(past.stdout.contains("container die") && past.stdout.contains("exitCode=137"), "{past}");
    coracle(["events", "--filter", "colour=red"]).run().refuses(1, &["colour=red", "container"]);
}

#[test]
fn files_go_in_and_come_out() {
    if !ready() {
        return;
    }
    let before = Snapshot::take(Files::Snapshots);
    let here = tempfile::tempdir().unwrap();
    let tree = here.path().join("a tree");
    fs::create_dir_all(tree.join("below")).unwrap();
    fs::write(tree.join("below/file"), "text").unwrap();
    fs::set_permissions(tree.join("below/file"), fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", tree.join("link")).unwrap();
    let volume = unique("copied");
    let mount = format!("{volume}:/data");
    let container = Container::start("copied", ["-v", &mount, "busybox", "sleep", "1000"]);
    let name = container.0.as_str();
    let inside = |path: &str| format!("{name}:{path}");
    let tree_text = tree.to_str().unwrap();

    // A new name, then into it, then only what is in it.
    coracle(["cp", tree_text, &inside("/new")]).run().ok();
    coracle(["cp", tree_text, &inside("/new")]).run().ok();
    coracle(["cp", &format!("{tree_text}/."), &inside("/data")]).run().ok();
    let seen = coracle(["exec", name, "find", "/new", "/data", "-type", "f"]).run().ok();
    let mut files: Vec<&str> = seen.stdout.lines().collect();
    files.sort_unstable();
    assert_eq!(files, ["/data/below/file", "/new/a tree/below/file", "/new/below/file"]);
    let owner = coracle(["exec", name, "stat", "-c", "%u:%g %a", "/new/below/file"]).run().ok();
    assert_eq!(owner.line(), "0:0 640");
    assert_eq!(coracle(["exec", name, "readlink", "/new/link"]).run().ok().line(), "/etc/passwd");

    // Out again, also from one that does not run, volumes included.
    let out = here.path().join("out");
    coracle(["cp", &inside("/new/below"), out.to_str().unwrap()]).run().ok();
    assert_eq!(fs::read_to_string(out.join("file")).unwrap(), "text");
    assert_eq!(out.join("file").metadata().unwrap().mode() & 0o777, 0o640);
    coracle(["stop", "-t", "0", name]).run().ok();
    let one = here.path().join("one");
    coracle(["cp", &inside("/data/below/file"), one.to_str().unwrap()]).run().ok();
    assert_eq!(fs::read_to_string(&one).unwrap(), "text");
    coracle(["cp", one.to_str().unwrap(), &inside("/while-stopped")]).run().ok();
    coracle(["start", name]).run().ok();
    assert_eq!(coracle(["exec", name, "cat", "/while-stopped"]).run().ok().stdout, "text");

    // A link inside never leads out.
    coracle(["exec", name, "ln", "-s", "/../../../../../..", "/up"]).run().ok();
    let target = here.path().join("passwd");
    coracle(["cp", &inside("/up/etc/passwd"), target.to_str().unwrap()]).run().ok();
    let own = coracle(["exec", name, "cat", "/etc/passwd"]).run().ok().stdout;
    assert_eq!(fs::read_to_string(&target).unwrap(), own);

    // Archives.
    let archive = coracle(["cp", &inside("/new/below"), "-"]).run().ok();
    assert!(archive.stdout.contains("below/file"), "no archive came");
    coracle(["cp", "-", &inside("/data")]).input("no archive").run().refuses(1, &["no tar archive"]);

    coracle(["cp", &inside("/missing"), "."]).run().refuses(1, &["/missing", "no such file"]);
    coracle(["cp", tree_text, &inside("/while-stopped")]).run().refuses(1, &["directory cannot replace"]);
    coracle(["cp", one.to_str().unwrap(), &inside("/nowhere/else/x")]).run().refuses(1, &["not there"]);
    coracle(["cp", one.to_str().unwrap(), "plain"]).run().refuses(1, &["CONTAINER:PATH"]);
    drop(container);
    coracle(["volume", "rm", &volume]).run().ok();
    before.nothing_is_left();
}
