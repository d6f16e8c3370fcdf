//! The life cycle of containers from the command line: names, limits, streams, a real terminal, images of containers, and
//! wrong values of every flag.

#[path = "life/pty.rs"]
mod pty;
mod support;
#[path = "life/wrong_values.rs"]
mod wrong_values;

use std::fs;

use pty::Terminal;
use support::{
    Container, Files, Removed, SOON, Snapshot, at, coracle, eventually, holds, inspect, number_at, ready,
    text_at, unique,
};

/// Says hello, then waits for as long as it is let.
const WAITS: &str = "trap 'exit 4' TERM; echo hello; while :; do sleep 0.05; done";

#[test]
fn names_limits_and_what_is_told_of_them() {
    if !ready() {
        return;
    }
    coracle(["run", "--rm", "busybox", "true"]).run().ok();
    let before = Snapshot::take(Files::Snapshots);
    let label = unique("label");
    let mark = format!("mark={label}");
    let container = Container::start(
        "told",
        ["-l", mark.as_str(), "--expose", "9000", "-p", "127.0.0.1::80", "busybox", "sh", "-c", WAITS],
    );
    container.logs("hello");
    let old = container.0.as_str();
    let filter = format!("label={mark}");
    let listed = coracle(["ps", "--filter", &filter, "--format", "{{.Names}} {{.Ports}}"]).run().ok();
    assert!(listed.line().starts_with(old) && listed.line().ends_with("->80/tcp, 9000/tcp"), "{listed}");
    let published = coracle(["port", old]).run().ok();
    assert!(published.line().starts_with("80/tcp -> 127.0.0.1:"), "{published}");
    let one = coracle(["port", old, "80"]).run().ok();
    assert!(published.line().ends_with(one.line()), "{published}{one}");
    coracle(["port", old, "81"]).run().refuses(1, &[old, "81", "hint:"]);

    let new = Container::named("renamed");
    let name = new.0.as_str();
    coracle(["rename", old, old]).run().refuses(1, &["already"]);
    coracle(["rename", old, "a b"]).run().refuses(1, &["a b", "hint:"]);
    coracle(["rename", old, name]).run().ok();
    coracle(["inspect", old]).run().refuses(1, &[old]);
    coracle(["rename", old, name]).run().refuses(1, &["no such container"]);
    let other = Container::start("taker", ["busybox", "sh", "-c", WAITS]);
    coracle(["rename", &other.0, name]).run().refuses(1, &["taken", name]);

    let ids = |arguments: &[&str]| coracle(["ps", "-q"]).args(arguments).run().ok().stdout;
    let exact = format!("name=^/{name}$");
    assert_eq!(ids(&["--filter", &filter]), ids(&["--filter", &exact]));
    assert_eq!(ids(&["-n", "1"]).lines().count(), 1);
    assert_eq!(ids(&["-l"]), ids(&["-n", "1"]));
    assert_eq!(ids(&["--filter", &filter, "--filter", "status=exited"]), "");
    let grouped = coracle(["container", "ls", "--filter", &filter, "--format", "json"]).run().ok();
    assert!(grouped.stdout.contains(&format!("\"Names\":\"{name}\"")), "{grouped}");
    assert!(coracle(["ps", "-s", "--filter", &filter]).run().ok().stdout.contains("virtual"));

    coracle(["update", "-m", "64m", "--cpus", "0.5", "--pids-limit", "50", "--restart", "always", name])
        .run()
        .ok();
    let format = "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}} {{.HostConfig.RestartPolicy.Name}}";
    let told = coracle(["inspect", "-f", format, name]).run().ok();
    assert_eq!(told.line(), "67108864 500000000 50 always");
    let seen = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null";
    assert_eq!(coracle(["exec", name, "sh", "-c", seen]).run().stdout.trim(), "67108864");
    coracle(["update", "-m", "1m", name]).run().refuses(1, &["6 MiB", "--memory"]);
    coracle(["update", "--memory-swap", "8m", name]).run().refuses(1, &["--memory-swap"]);
    assert_eq!(number_at(&new.inspect(), "HostConfig.Memory"), 64 << 20);
    // The new restart policy holds at once.
    coracle(["exec", name, "kill", "-TERM", "1"]).run().ok();
    eventually("it starts again", SOON, || {
        let found = new.inspect();
        holds(number_at(&found, "RestartCount") >= 1 && new.status() == "running", || format!("{found:#}"))
    });
    assert!(number_at(&inspect(name), "RestartCount") >= 1);
    coracle(["stop", "-s", "KILL", "-t", "-1", name]).run().ok();
    assert_eq!(new.ended(), 137);
    drop((other, new));
    before.nothing_is_left();
}

#[test]
fn an_image_of_a_container_and_of_an_archive() {
    if !ready() {
        return;
    }
    coracle(["run", "--rm", "busybox", "true"]).run().ok();
    let before = Snapshot::take(Files::Records);
    {
        let script = "mkdir /made; echo new > /made/file; rm /etc/group; echo more >> /etc/passwd; echo done; sleep 60";
        let container = Container::start("source", ["-v", "/nested/volume", "busybox", "sh", "-c", script]);
        container.logs("done");
        let name = container.0.as_str();
        let changes = coracle(["diff", name]).run().ok();
        let expected = "C /etc\nD /etc/group\nC /etc/passwd\nA /made\nA /made/file\n";
        assert_eq!(changes.stdout, expected, "what is mounted is no change");

        let image = format!("{}:1", unique("image"));
        let _image = Removed::image(&image);
        coracle(["commit", "-c", "RUN true", name, &image]).run().refuses(1, &["RUN", "hint:"]);
        coracle([
            "commit",
            "-a",
            "me",
            "-m",
            "why",
            "-c",
            "CMD cat /made/file",
            "-c",
            "ENV A=b",
            name,
            &image,
        ])
        .run()
        .ok();
        assert_eq!(container.status(), "running", "it goes on after the pause");
        assert_eq!(coracle(["run", "--rm", &image]).run().ok().stdout, "new\n");
        let gone = coracle(["run", "--rm", &image, "ls", "/etc/group"]).run().ended(1);
        assert!(gone.stderr.contains("No such file"), "{gone}");
        let found = inspect(&image);
        assert_eq!(at(&found, "Config.Env").to_string().matches("A=b").count(), 1, "{found:#}");
        assert_eq!(
            (text_at(&found, "Author"), at(&found, "RootFS.Layers").as_array().unwrap().len()),
            ("me", 2)
        );

        let flat = format!("{}:flat", unique("image"));
        let _flat = Removed::image(&flat);
        let directory = tempfile::tempdir().unwrap();
        let archive = directory.path().join("files.tar");
        let path = archive.to_str().unwrap();
        coracle(["export", "-o", path, name]).run().ok();
        coracle(["import", "-c", "WHAT is this", path, &flat]).run().refuses(1, &["WHAT"]);
        coracle(["import", "-c", "CMD [\"cat\",\"/made/file\"]", path, &flat]).run().ok();
        assert_eq!(coracle(["run", "--rm", &flat]).run().ok().stdout, "new\n");
        fs::write(&archive, "no archive").unwrap();
        coracle(["import", path]).run().refuses(1, &[path, "hint:"]);
    }
    before.nothing_is_left();
}

#[test]
fn streams_are_attached_as_asked() {
    if !ready() {
        return;
    }
    coracle(["run", "--rm", "busybox", "true"]).run().ok();
    let before = Snapshot::take(Files::Snapshots);
    {
        let both = ["busybox", "sh", "-c", "echo out; echo err >&2"];
        let only = coracle(["run", "--rm", "-a", "stdout"]).args(both).run().ok();
        assert_eq!((only.stdout.as_str(), only.stderr.as_str()), ("out\n", ""));

        let made = Container::named("fed");
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("id");
        let path = file.to_str().unwrap();
        coracle(["create", "--cidfile", path, "-i", "--name", &made.0, "busybox", "cat"]).run().ok();
        assert_eq!(fs::read_to_string(&file).unwrap(), text_at(&made.inspect(), "Id"));
        coracle(["create", "--cidfile", path, "busybox"]).run().refuses(1, &["--cidfile", "exists"]);
        let fed = coracle(["start", "-ai", &made.0]).input("typed\n").run().ok();
        assert_eq!(fed.stdout, "typed\n");
        coracle(["attach", &made.0]).run().refuses(1, &["does not run", "coracle start"]);

        // Two at once see the same; a signal that is not passed on ends only who got it.
        let talker = Container::start(
            "talker",
            ["busybox", "sh", "-c", "trap 'exit 5' TERM; while :; do echo tick; sleep 0.05; done"],
        );
        let mut first = coracle(["attach", "--no-stdin", &talker.0]).start();
        let mut second = coracle(["attach", "--no-stdin", "--sig-proxy=false", &talker.0]).start();
        first.says("tick");
        second.says("tick");
        second.signal("TERM");
        second.finish().ended(143);
        assert_eq!(talker.status(), "running");
        first.signal("TERM");
        first.finish().ended(5);
        assert_eq!(talker.ended(), 5);
        // Signals reach a command in a container too.
        let host = Container::start("host", ["busybox", "sh", "-c", WAITS]);
        let script = "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done";
        let mut command = coracle(["exec", &host.0, "sh", "-c", script]).start();
        command.says("ready");
        command.signal("TERM");
        command.finish().ended(9);
    }
    before.nothing_is_left();
}

#[test]
fn a_terminal_is_the_container_s_until_it_is_let_go() {
    if !ready() {
        return;
    }
    coracle(["run", "--rm", "busybox", "true"]).run().ok();
    let before = Snapshot::take(Files::Snapshots);
    {
        let container = Container::named("terminal");
        let name = container.0.as_str();
        let mut terminal = Terminal::run(30, 100, &["run", "-it", "--name", name, "busybox", "sh"]);
        terminal.waits_for("# ");
        assert!(terminal.is_raw());
        // The size at the start, and a new one.
        terminal.types("stty size\n");
        terminal.waits_for("30 100");
        terminal.resize(41, 77);
        terminal.types("sleep 0.3; stty size\n");
        terminal.waits_for("41 77");
        // The first key alone is the program's.
        terminal.types("\u{10}\u{11}");
        assert_eq!(terminal.ended(), 0, "letting go is no failure");
        assert!(!terminal.is_raw(), "the terminal is as it was");
        assert_eq!(container.status(), "running");

        let mut terminal = Terminal::run(20, 60, &["attach", "--detach-keys", "ctrl-x,x", name]);
        terminal.types("stty size\n");
        terminal.waits_for("20 60");
        terminal.types("\u{18}x");
        assert_eq!(terminal.ended(), 0);
        assert!(!terminal.is_raw());

        // Killed while somebody is attached.
        let mut terminal = Terminal::run(20, 60, &["attach", name]);
        terminal.types("echo here\n");
        terminal.waits_for("here\r\n");
        coracle(["kill", name]).run().ok();
        assert_eq!(terminal.ended(), 137);
        assert!(!terminal.is_raw());

        // A command of its own, let go: it runs on.
        coracle(["start", name]).run().ok();
        let mut terminal = Terminal::run(24, 80, &["exec", "-it", name, "sh"]);
        terminal.waits_for("# ");
        terminal.types("stty size; sleep 987\n");
        terminal.waits_for("24 80");
        terminal.types("\u{10}\u{11}");
        assert_eq!(terminal.ended(), 0);
        assert!(!terminal.is_raw());
        assert!(coracle(["top", name]).run().ok().stdout.contains("sleep 987"));

        // Ended by a signal from outside: it reaches the program, and the terminal is given back.
        let mut terminal = Terminal::run(24, 80, &["exec", "-it", name, "sleep", "60"]);
        terminal.becomes_raw();
        terminal.signal("TERM");
        assert_eq!(terminal.ended(), 143);
        assert!(!terminal.is_raw());
        let mut terminal = Terminal::run(24, 80, &["attach", "--sig-proxy=false", name]);
        terminal.becomes_raw();
        terminal.signal("TERM");
        assert_eq!(terminal.ended(), 143);
        assert!(!terminal.is_raw());
        assert_eq!(container.status(), "running");
        coracle(["run", "--rm", "-it", "busybox", "true"]).run().refuses(1, &["terminal", "hint:"]);
    }
    before.nothing_is_left();
}

#[test]
fn wrong_values_of_every_flag_change_nothing() {
    if !ready() {
        return;
    }
    coracle(["run", "--rm", "busybox", "true"]).run().ok();
    let before = Snapshot::take(Files::Snapshots);
    wrong_values::are_refused();
    before.nothing_is_left();
}
