//! Supervision from the command line: logs, probes, restarts, another version of the program, and reboots.
//!
//! What a reboot does to the whole machine is done to roots of their own, with containers that have no network.

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use support::{
    Call, Container, LONG, SOON, at, coracle, eventually, free_port, get, holds, inspect, number_at, ready,
    text_at, unique,
};

/// An engine with roots of its own, which one test has to itself. What runs in it ends with this value.
struct World {
    directory: tempfile::TempDir,
    program: PathBuf,
}

impl World {
    /// Makes one that has the image `busybox`.
    #[track_caller]
    fn with_busybox() -> Self {
        coracle(["run", "--rm", "busybox", "true"]).run().ok();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let archive = directory.path().join("busybox.tar");
        coracle(["save", "-o", &archive.display().to_string(), "busybox"]).run().ok();
        let world = Self { directory, program: program() };
        world.coracle(["load", "-i", &archive.display().to_string()]).run().ok();
        world
    }

    fn run_root(&self) -> PathBuf {
        self.directory.path().join("run")
    }

    fn coracle<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Call {
        let root = |name: &str| self.directory.path().join(name).display().to_string();
        Call::of(&self.program)
            .args(arguments)
            .dir(self.directory.path())
            .env("CORACLE_DATA_ROOT", &root("data"))
            .env("CORACLE_RUN_ROOT", &root("run"))
    }

    #[track_caller]
    fn status(&self, name: &str) -> String {
        let outcome = self.coracle(["inspect", name]).run().ok();
        let found: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("inspect prints JSON");
        text_at(&found[0], "State.Status").to_owned()
    }

    /// Takes away what a reboot takes away: every process, and the run root.
    #[track_caller]
    fn reboot(&self) {
        for pid in self.processes() {
            let _ = std::process::Command::new("kill").args(["-9", &pid]).status();
        }
        eventually("processes end", SOON, || {
            let left = self.processes();
            holds(left.is_empty(), || format!("{left:?} live"))
        });
        // Their mounts go with the supervisors.
        eventually("the run root goes", SOON, || {
            fs::remove_dir_all(self.run_root()).map_err(|error| error.to_string())
        });
    }

    /// Returns the processes that name the run root: supervisors and keepers.
    fn processes(&self) -> Vec<String> {
        let root = self.run_root().display().to_string();
        let entries = fs::read_dir("/proc").expect("/proc can be read");
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names
            .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
            .filter(|pid| {
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&line).split('\0').any(|word| word.starts_with(&root))
            })
            .collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let listed = self.coracle(["ps", "-aq"]).run();
        let ids: Vec<&str> = listed.stdout.split_whitespace().collect();
        if !ids.is_empty() {
            self.coracle(["rm", "-f", "-v"].into_iter().chain(ids)).quietly();
        }
    }
}

fn program() -> PathBuf {
    std::env::var_os("CORACLE_BIN").map_or_else(|| env!("CARGO_BIN_EXE_coracle").into(), PathBuf::from)
}

fn log_directory(container: &Container) -> PathBuf {
    let path = text_at(&container.inspect(), "LogPath").to_owned();
    Path::new(&path).parent().expect("a log lies in a directory").to_owned()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("the log's directory can be read");
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

#[test]
fn logs_are_bounded_compressed_and_read_from_any_place() {
    if !ready() {
        return;
    }
    let script = "seq 1 20000; sleep 1.2; echo late; exec sleep 1000";
    let options = ["--log-opt", "max-size=100k", "--log-opt", "max-file=4"];
    let container =
        Container::start("log", options.into_iter().chain(["--init", "busybox", "sh", "-c", script]));
    let name = container.0.as_str();
    let mut follower = coracle(["logs", "-f", "--tail", "all", name]).start();
    container.logs("late");
    follower.says("late\n");

    let directory = log_directory(&container);
    eventually("ended segments are compressed", SOON, || {
        let names = names(&directory);
        let plain = |name: &&String| name.starts_with("container.log.0") && !name.contains(".gz");
        let packed = names.iter().filter(|name| name.contains(".gz") && !name.contains(".idx")).count();
        holds(packed == 3 && !names.iter().any(|name| plain(&name)), || format!("{names:?}"))
    });
    let whole = coracle(["logs", name]).run().ok().stdout;
    let lines: Vec<&str> = whole.lines().collect();
    let first: usize = lines[0].parse().expect("the first line is a number");
    assert!((2..20_000).contains(&first), "{first}");
    assert_eq!(lines.len(), 20_001 - first + 1);
    assert!(lines[..lines.len() - 1].iter().zip(first..).all(|(line, number)| *line == number.to_string()));

    let tail = coracle(["logs", "-n", "3", name]).run().ok();
    assert_eq!(tail.stdout, "19999\n20000\nlate\n");
    // Into the middle of a compressed segment.
    let tail = coracle(["logs", "-n", "3000", name]).run().ok().stdout;
    assert_eq!(tail.lines().next(), Some("17002"));
    let times = coracle(["logs", "--timestamps", name]).run().ok().stdout;
    let (last, text) = times.lines().last().expect("a line").split_once(' ').expect("time and text");
    assert_eq!((last.len(), text), (30, "late"));
    let since = coracle(["logs", "--since", last, name]).run().ok();
    assert_eq!(since.stdout, "late\n");
    let until = coracle(["logs", "--until", last, name]).run().ok();
    assert_eq!(until.stdout.lines().last(), Some("20000"));

    coracle(["rm", "-f", name]).run().ok();
    let followed = follower.finish().ok().stdout;
    let followed: Vec<&str> = followed.lines().collect();
    // A follower that is slower than the writer misses what was dropped before it came there, and nothing else: all that is
    // still kept it has said, in order and once.
    assert!(followed.ends_with(&lines), "of {} lines {} were followed", lines.len(), followed.len());
    let numbers: Vec<usize> =
        followed[..followed.len() - 1].iter().map(|line| line.parse().expect("a number")).collect();
    assert!(numbers.is_sorted_by(|one, next| one < next));

    for (option, word) in [("colour=red", "not known"), ("max-buffer-size=1m", "mode=non-blocking")] {
        coracle(["run", "--log-opt", option, "busybox", "true"]).run().refuses(1, &[word]);
    }
}

#[test]
fn a_log_that_nobody_waits_for_has_its_lines_when_the_container_ends() {
    if !ready() {
        return;
    }
    let container = Container::start(
        "relay",
        ["--log-opt", "mode=non-blocking", "--log-opt", "max-buffer-size=8m", "busybox", "seq", "1", "50000"],
    );
    assert_eq!(container.ended(), 0);
    let lines = coracle(["logs", &container.0]).run().ok().stdout;
    assert_eq!((lines.lines().count(), lines.lines().last()), (50_000, Some("50000")));
}

#[test]
fn probes_need_no_program_of_the_image_and_the_unhealthy_start_again() {
    if !ready() {
        return;
    }
    // Neither a network nor a shell is needed to be probed, and nothing is executed inside.
    let script = "mkdir -p /w; echo well > /w/health; exec httpd -f -p 127.0.0.1:8080 -h /w";
    let flags =
        ["--network", "none", "--health-interval", "200ms", "--health-retries", "2", "--stop-timeout", "1"];
    let web = flags.into_iter().chain(["--health-http", ":8080/health", "--health-on-failure", "restart"]);
    let web = Container::start("http", web.chain(["busybox", "sh", "-c", script]));
    let tcp = flags.into_iter().chain(["--health-tcp", "8081", "--health-on-failure", "kill"]);
    let tcp = Container::start("tcp", tcp.chain(["busybox", "sleep", "1000"]));
    let is = |container: &Container, wanted: &str| {
        let found = container.inspect();
        let status = found["State"]["Health"]["Status"].as_str();
        holds(status == Some(wanted), || format!("{:#}", found["State"]))
    };
    eventually("it is healthy", SOON, || is(&web, "healthy"));
    let log = at(&web.inspect(), "State.Health.Log").clone();
    assert!(log[0]["Output"].as_str().is_some_and(|text| text.starts_with("HTTP/1")), "{log:#}");
    assert_eq!(tcp.ended(), 137);
    let last = at(&tcp.inspect(), "State.Health.Log").clone();
    assert!(last[0]["Output"].as_str().is_some_and(|text| text.contains("refused")), "{last:#}");

    coracle(["exec", &web.0, "rm", "/w/health"]).run().ok();
    // The next start makes the file again.
    eventually("it has started again", SOON, || {
        let found = web.inspect();
        holds(number_at(&found, "RestartCount") >= 1, || format!("{:#}", found["State"]))
    });
    eventually("it is healthy again", SOON, || is(&web, "healthy"));
    coracle(["stop", &web.0]).run().ok();
    assert_eq!(web.status(), "exited");

    for (flag, value, word) in [
        ("--health-http", "https://localhost/", "https is not probed"),
        ("--health-http", "web:80", "looks no names up"),
        ("--health-tcp", "0", "1 to 65535"),
        ("--health-on-failure", "panic", "none, kill, restart, stop"),
    ] {
        coracle(["run", flag, value, "busybox", "true"]).run().refuses(1, &[word]);
    }
}

#[test]
fn failures_are_counted_over_restarts() {
    if !ready() {
        return;
    }
    let container =
        Container::start("count", ["--restart", "on-failure:2", "busybox", "sh", "-c", "echo run; exit 3"]);
    eventually("it gives up", SOON, || {
        let found = container.inspect();
        let ended = text_at(&found, "State.Status") == "exited" && number_at(&found, "RestartCount") == 2;
        holds(ended, || format!("{:#}", found["State"]))
    });
    assert_eq!(coracle(["logs", &container.0]).run().ok().stdout, "run\n".repeat(3));
}

#[test]
fn another_version_of_the_program_takes_over_running_containers() {
    if !ready() {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let installed = directory.path().join("coracle");
    let install = || {
        let new = directory.path().join("new");
        fs::copy(program(), &new).expect("the program can be copied");
        fs::rename(&new, &installed).expect("a file can be renamed");
    };
    install();
    let call = |words: &[&str]| Call::of(&installed).args(words);
    let (name, port) = (unique("upgrade"), free_port());
    let removed = Container(name.clone());
    let publish = format!("127.0.0.1:{port}:8080");
    let script = "echo before; mkdir /w; echo page > /w/index.html; httpd -p 8080 -h /w; \
                  trap 'echo bye; exit 0' TERM; while :; do sleep 0.1; done";
    call(&["run", "-d", "--name", &name, "-p", &publish, "busybox", "sh", "-c", script]).run().ok();
    let url = format!("http://127.0.0.1:{port}/");
    eventually("it serves", SOON, || {
        let answer = get(&url);
        holds(answer.body.contains("page"), || answer.to_string())
    });
    let shim = support::parent_of(removed.pid());
    let inode = || fs::metadata(format!("/proc/{shim}/exe")).expect("the supervisor runs").ino();
    let before = inode();

    install();
    assert_eq!(inode(), before, "the supervisor keeps its program");
    assert_ne!(fs::metadata(&installed).expect("the program is there").ino(), before);
    assert!(call(&["ps"]).run().ok().line_with(&name).contains("Up "));
    assert_eq!(call(&["logs", &name]).run().ok().stdout, "before\n");
    assert_eq!(call(&["exec", &name, "echo", "inside"]).run().ok().stdout, "inside\n");
    call(&["pause", &name]).run().ok();
    call(&["unpause", &name]).run().ok();
    assert!(get(&url).is(200).body.contains("page"), "the port is served");
    call(&["stop", &name]).run().ok();
    assert_eq!(inspect(&name)["State"]["ExitCode"], 0);
    assert_eq!(call(&["logs", "-n", "1", &name]).run().ok().stdout, "bye\n");
    call(&["start", &name]).run().ok();
    call(&["rm", "-f", &name]).run().ok();
    // The clean-up of a supervisor whose program is gone falls back on the program that it was started from.
    let orphan = Container::named("orphan");
    call(&["run", "-d", "--rm", "--name", &orphan.0, "busybox", "sleep", "0.5"]).run().ok();
    fs::remove_file(&installed).expect("a file can be removed");
    eventually("the container goes by itself", SOON, || {
        let code = coracle(["inspect", &orphan.0]).run().code();
        holds(code == 1, || format!("inspect ended with {code}"))
    });
}

const PROJECT: &str = "\
name: NAME
x-service: &service {image: busybox, init: true, network_mode: none, restart: unless-stopped}
services:
  db:
    <<: *service
    restart: 'no'
    command: sh -c 'sleep 0.5; touch /ok; exec sleep 1000'
    healthcheck: {test: [CMD, test, -e, /ok], interval: 100ms, retries: 100}
  job: {<<: *service, restart: 'no', command: echo WORD}
  app:
    <<: *service
    command: sh -c 'echo WORD; exec sleep 1000'
    depends_on: {db: {condition: service_healthy}, job: {condition: service_completed_successfully}}
  off: {<<: *service, command: sleep 1000}
";

#[test]
fn a_reboot_brings_back_what_is_to_run() {
    if !ready() {
        return;
    }
    let world = World::with_busybox();
    let project = PROJECT.replace("NAME", "boot").replace("WORD", "first");
    fs::write(world.directory.path().join("compose.yaml"), project).expect("a file can be written");
    world.coracle(["compose", "up", "-d"]).bound(LONG).run().ok();
    world.coracle(["compose", "stop", "off"]).run().ok();
    for (name, policy) in
        [("always", "always"), ("stopped", "unless-stopped"), ("kept", "unless-stopped"), ("no", "no")]
    {
        let flags = ["run", "-d", "--init", "--network", "none", "--restart", policy, "--name", name];
        world.coracle(flags.into_iter().chain(["busybox", "sleep", "1000"])).run().ok();
    }
    world.coracle(["stop", "always"]).run().ok();
    world.coracle(["stop", "stopped"]).run().ok();
    let returns = ["always", "boot-app-1", "boot-db-1", "kept"];

    world.reboot();
    let booted = world.coracle(["boot"]).bound(LONG).run().ok();
    assert_eq!(booted.stdout.lines().collect::<Vec<_>>(), returns, "{booted}");
    let listed = world.coracle(["ps", "-a"]).run().ok();
    assert!(listed.line_with("boot-db-1").contains("(healthy)"), "{listed}");
    assert!(listed.line_with("boot-job-1").contains("Exited (0)"), "{listed}");
    for name in ["stopped", "no", "boot-off-1"] {
        assert_eq!(world.status(name), "exited");
    }
    // Nothing is left to do.
    assert_eq!(world.coracle(["boot"]).run().ok().stdout, "");

    // A shutdown is no user's stop.
    let ended = world.coracle(["boot", "--stop"]).bound(LONG).run().ok();
    assert_eq!(ended.stdout.lines().collect::<Vec<_>>(), returns);
    assert_eq!(world.status("kept"), "exited");
    assert_eq!(world.processes(), Vec::<String>::new());
    world.reboot();
    let booted = world.coracle(["boot"]).bound(LONG).run().ok();
    assert_eq!(booted.stdout.lines().collect::<Vec<_>>(), returns, "{booted}");

    // The log of a container that is replaced can be read until the project goes.
    let project = PROJECT.replace("NAME", "boot").replace("WORD", "second");
    fs::write(world.directory.path().join("compose.yaml"), project).expect("a file can be written");
    world.coracle(["compose", "up", "-d", "app"]).bound(LONG).run().ok();
    let logs = |words: &[&str]| {
        let words = ["logs", "-p", "boot", "--no-log-prefix"].iter().chain(words).copied();
        world.coracle(words).run().ok().stdout
    };
    eventually("the new one speaks", SOON, || {
        let said = logs(&["app"]);
        holds(said == "second\n", || said)
    });
    assert_eq!(logs(&["--previous", "app"]), "first\nfirst\nfirst\nsecond\n");
    assert_eq!(logs(&["--since", "1h", "app"]), "first\nfirst\nfirst\nsecond\n");
    world.coracle(["compose", "down", "-t", "1"]).run().ok();
    assert_eq!(fs::read_dir(world.directory.path().join("data/kept-logs")).map_or(0, Iterator::count), 0);
}

#[test]
fn the_program_and_its_unit_are_installed_and_removed() {
    if !ready() {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let root = directory.path().display().to_string();
    let unit = directory.path().join("etc/systemd/system/coracle.service");
    let wanted = directory.path().join("etc/systemd/system/multi-user.target.wants/coracle.service");
    coracle(["uninstall", "--root", &root]).run().refuses(1, &["is not there"]);
    coracle(["install", "--root", &root, "--prefix", "/opt/coracle"]).run().ok();
    let installed = directory.path().join("opt/coracle/bin/coracle");
    let mode = fs::metadata(&installed).expect("the program is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    assert!(Call::of(&installed).args(["--version"]).run().ok().stdout.starts_with("coracle "));
    let text = fs::read_to_string(&unit).expect("the unit is there");
    assert!(text.contains("\nExecStart=/opt/coracle/bin/coracle boot\n"), "{text}");
    let target = fs::read_link(&wanted).expect("the unit is enabled");
    assert_eq!(target, Path::new("/etc/systemd/system/coracle.service"));
    // Over itself, linked, and not enabled.
    coracle(["install", "--root", &root, "--prefix", "/opt/coracle", "--link"]).run().ok();
    assert!(fs::read_link(&installed).is_ok());
    coracle(["uninstall", "--root", &root, "--prefix", "/opt/coracle"]).run().ok();
    assert!(!unit.exists() && !installed.exists() && fs::read_link(&wanted).is_err());

    // A user's own, whose program is where the unit says.
    let call = |words: &[&str]| coracle(words.iter().copied()).env("HOME", &root).env("XDG_CONFIG_HOME", "");
    call(&["install", "--user", "--no-enable"]).run().ok();
    let unit = directory.path().join(".config/systemd/user/coracle.service");
    let text = fs::read_to_string(&unit).expect("the unit is there");
    assert!(text.contains(&format!("ExecStart={root}/.local/bin/coracle boot")), "{text}");
    let verified =
        std::process::Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output();
    match verified {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!said.contains("coracle.service"), "{said}");
        }
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "systemd-analyze does not run: {error}");
            eprintln!("SKIPPED: systemd-analyze does not run ({error}); the unit is not verified");
        }
    }
    // What is not of our writing stays.
    fs::write(&unit, "[Service]\nExecStart=/bin/true\n").expect("a file can be written");
    call(&["install", "--user"]).run().refuses(1, &["not of our writing"]);
    call(&["uninstall", "--user"]).run().refuses(1, &["not of our writing"]);
}
