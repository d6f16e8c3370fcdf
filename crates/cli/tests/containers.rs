//! Containers from the command line: their life, what they see, what bounds them.

mod support;

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use support::{
    Container, Files, LONG, Removed, SOON, Snapshot, at, coracle, eventually, free_port, get, holds, inspect,
    number_at, own_address, parent_of, ready, text_at, unique,
};

/// A first process that says hello, and goodbye when it is asked to end.
const POLITE: &str =
    "trap 'echo goodbye; exit 3' TERM; echo hello; echo oops >&2; while :; do sleep 0.1; done";

#[test]
fn a_child_s_end_is_the_command_s() {
    if !ready() {
        return;
    }
    coracle(["run", "--rm", "busybox", "true"]).run().ok();
    coracle(["run", "--rm", "busybox", "sh", "-c", "exit 7"]).run().ended(7);
    coracle(["run", "--rm", "busybox", "sh", "-c", "sh -c 'kill -9 $$'; exit $?"]).run().ended(137);
    let missing = coracle(["run", "--rm", "busybox", "no-such-program"]).run().ended(127);
    assert!(missing.stderr.contains("no-such-program"), "{missing}");
    coracle(["run", "--rm", "busybox", "/etc"]).run().ended(126);

    let both = coracle(["run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2"]).run().ok();
    assert_eq!((both.stdout.as_str(), both.stderr.as_str()), ("out\n", "err\n"));
    let bytes = "line\n".repeat(100_000);
    let piped = coracle(["run", "--rm", "-i", "busybox", "cat"]).input(bytes.as_str()).run().ok();
    assert!(piped.stdout == bytes, "{} of {} bytes came back", piped.stdout.len(), bytes.len());
}

#[test]
fn a_container_lives_and_leaves_nothing() {
    if !ready() {
        return;
    }
    coracle(["run", "--rm", "busybox", "true"]).run().ok();
    let before = Snapshot::take(Files::Snapshots);

    let container = Container::start("life", ["busybox", "sh", "-c", POLITE]);
    container.logs("hello");
    let name = container.0.as_str();
    let listed = coracle(["ps"]).run().ok();
    assert!(listed.line_with(name).contains("Up "), "{listed}");
    let log = coracle(["logs", name]).run().ok();
    assert_eq!((log.stdout.as_str(), log.stderr.as_str()), ("hello\n", "oops\n"));
    coracle(["run", "--name", name, "busybox", "true"]).run().refuses(1, &[name]);

    coracle(["stop", name]).run().ok();
    assert_eq!(container.ended(), 3, "{:#}", container.inspect());
    assert!(!coracle(["ps"]).run().ok().stdout.contains(name));
    let listed = coracle(["ps", "-a"]).run().ok();
    assert!(listed.line_with(name).contains("Exited (3)"), "{listed}");
    assert_eq!(coracle(["logs", "-n", "1", name]).run().ok().stdout, "goodbye\n");

    coracle(["start", name]).run().ok();
    assert_eq!(container.status(), "running");
    coracle(["kill", name]).run().ok();
    assert_eq!(container.ended(), 137);
    coracle(["rm", name]).run().ok();
    coracle(["inspect", name]).run().refuses(1, &[name]);
    before.nothing_is_left();
}

#[test]
fn rm_removes_what_ended_and_many_run_at_once() {
    if !ready() {
        return;
    }
    coracle(["run", "--rm", "busybox", "true"]).run().ok();
    let before = Snapshot::take(Files::Snapshots);
    let calls: Vec<_> = (0..8)
        .map(|number| {
            let script = format!("hostname -i; exit {number}");
            coracle(["run", "--rm", "busybox", "sh", "-c", &script]).start()
        })
        .collect();
    let mut addresses = Vec::new();
    for (number, call) in (0..).zip(calls) {
        addresses.push(call.finish().ended(number).line().to_owned());
    }
    addresses.sort();
    addresses.dedup();
    assert!(addresses.iter().all(|address| address.parse::<Ipv4Addr>().is_ok()), "{addresses:?}");
    before.nothing_is_left();

    let container = Container::start("busy", ["busybox", "sleep", "1000"]);
    coracle(["rm", &container.0]).run().ended(1);
    coracle(["rm", "-f", &container.0]).run().ok();
    before.nothing_is_left();
}

#[test]
fn commands_run_inside() {
    if !ready() {
        return;
    }
    let container = Container::start("exec", ["busybox", "sleep", "1000"]);
    let name = container.0.as_str();
    assert_eq!(coracle(["exec", name, "echo", "hi there"]).run().ok().stdout, "hi there\n");
    coracle(["exec", name, "sh", "-c", "exit 9"]).run().ended(9);
    coracle(["exec", name, "no-such-program"]).run().ended(127);
    let script = "echo $COLOUR; id -u; id -g; pwd";
    let seen =
        coracle(["exec", "-e", "COLOUR=red", "-u", "1234:5678", "-w", "/tmp", name, "sh", "-c", script])
            .run();
    assert_eq!(seen.ok().stdout, "red\n1234\n5678\n/tmp\n");
    assert_eq!(coracle(["exec", "-i", name, "cat"]).input("through\n").run().ok().stdout, "through\n");
    // It shares the container's processes, and its limits.
    let processes = coracle(["exec", name, "ps"]).run().ok();
    assert!(processes.stdout.contains("sleep 1000"), "{processes}");

    coracle(["stop", "-t", "0", name]).run().ok();
    coracle(["exec", name, "true"]).run().refuses(1, &["not running"]);
}

#[test]
fn a_container_sees_what_it_was_given() {
    if !ready() {
        return;
    }
    let script = "echo $GIVEN $PASSED; id -u; id -g; pwd; hostname; cat /etc/hostname";
    let seen =
        coracle(["run", "--rm", "-e", "GIVEN=a b", "-e", "PASSED", "-u", "1000:2000", "-w", "/data/deep"])
            .args(["-h", "box", "--entrypoint", "sh", "busybox", "-c", script])
            .env("PASSED", "on")
            .run();
    assert_eq!(seen.ok().stdout, "a b on\n1000\n2000\n/data/deep\nbox\nbox\n");

    let hosts =
        coracle(["run", "--rm", "-h", "box", "--add-host", "far:192.0.2.7", "busybox", "cat", "/etc/hosts"]);
    let hosts = hosts.run().ok();
    assert!(
        hosts.line_with("box").split_whitespace().next().is_some_and(|word| word.parse::<Ipv4Addr>().is_ok())
    );
    assert!(hosts.line_with("far").starts_with("192.0.2.7"), "{hosts}");
    let read_only = coracle(["run", "--rm", "--read-only", "--tmpfs", "/scratch", "busybox", "sh", "-c"]);
    read_only.args(["touch /scratch/x && ! touch /x 2>/dev/null"]).run().ok();
    // Without the capability, root inside is not root of the kernel.
    let mount = ["run", "--rm", "busybox", "sh", "-c", "! mount -t tmpfs none /mnt 2>/dev/null"];
    coracle(mount).run().ok();
    let init = ["run", "--rm", "--init", "busybox", "sh", "-c", "test $$ -ne 1"];
    coracle(init).run().ok();
}

#[test]
fn volumes_are_filled_once_and_binds_obey() {
    if !ready() {
        return;
    }
    let volume = unique("volume");
    let guard = Removed::volume(&volume);
    let html = format!("{volume}:/usr/share/nginx/html");
    let in_nginx = |script: &str| {
        coracle(["run", "--rm", "-v", &html, "--entrypoint", "sh", "nginx:alpine", "-c", script])
    };
    let filled = in_nginx("cat /usr/share/nginx/html/index.html").run().ok();
    assert!(filled.stdout.contains("<html"), "{filled}");

    let mount = format!("{volume}:/v");
    let in_busybox = |script: &str| coracle(["run", "--rm", "-v", &mount, "busybox", "sh", "-c", script]);
    assert_eq!(in_busybox("cat /v/index.html").run().ok().stdout, filled.stdout);
    in_busybox("rm /v/50x.html; echo changed > /v/index.html").run().ok();
    // Filled on first use, never again.
    let second = in_nginx("cat /usr/share/nginx/html/index.html; ls /usr/share/nginx/html").run().ok();
    assert_eq!(second.stdout, "changed\nindex.html\n");

    let user = Container::start("user", ["-v", &mount, "busybox", "sleep", "1000"]);
    coracle(["volume", "rm", &volume]).run().refuses(1, &[&user.0]);
    drop(user);
    drop(guard);
    assert!(!coracle(["volume", "ls", "-q"]).run().ok().stdout.contains(&volume));

    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("file"), "from the host\n").unwrap();
    let bound = |options: &str, script: &str| {
        let bind = format!("{}:/b{options}", directory.path().display());
        coracle(["run", "--rm", "-v", &bind, "busybox", "sh", "-c", script]).run()
    };
    assert_eq!(bound(":ro", "cat /b/file").ok().stdout, "from the host\n");
    let refused = bound(":ro", "echo x > /b/file").ended(1);
    assert!(refused.stderr.contains("Read-only"), "{refused}");
    bound("", "echo from inside > /b/file").ok();
    assert_eq!(fs::read_to_string(directory.path().join("file")).unwrap(), "from inside\n");
}

#[test]
fn a_published_port_is_reached_from_everywhere() {
    if !ready() {
        return;
    }
    let before = Snapshot::take(Files::Records);
    let script = "mkdir /www; echo it works > /www/index.html; exec httpd -f -p 80 -h /www";
    let (open, closed) = (free_port(), free_port());
    let (all, loopback) = (format!("{open}:80"), format!("127.0.0.1:{closed}:80"));
    let server = Container::start("http", ["-p", &all, "-p", &loopback, "busybox", "sh", "-c", script]);
    let reached = |host: &str, port: u16| {
        let answer = get(&format!("http://{host}:{port}/"));
        holds(answer.body == "it works\n", || answer.to_string())
    };
    eventually("the server answers on loopback", SOON, || reached("127.0.0.1", open));
    reached("127.0.0.1", closed).unwrap();
    let listed = coracle(["ps"]).run().ok();
    assert!(listed.line_with(&server.0).contains(&format!("0.0.0.0:{open}->80/tcp")), "{listed}");
    if let Some(own) = own_address() {
        reached(&own.to_string(), open).unwrap();
        reached(&own.to_string(), closed).unwrap_err();
        // A machine beside the host asks in the same way as a container on another network.
        let network = unique("asker");
        coracle(["network", "create", &network]).run().ok();
        let _guard = Removed::network(&network);
        let ask = ["-T", "5", "-q", "-O", "-", &format!("http://{own}:{open}/")];
        let asked = coracle(["run", "--rm", "--network", &network, "busybox", "wget"]).args(ask).run().ok();
        assert_eq!(asked.stdout, "it works\n");
    } else {
        no_address();
    }
    drop(server);
    assert_eq!(get(&format!("http://127.0.0.1:{open}/")).status, 0);
    before.nothing_is_left();
}

fn no_address() {
    coracle_testkit::skip("the host has no address but loopback, so publishing on it is not tested");
}

#[test]
fn networks_name_join_and_separate() {
    if !ready() {
        return;
    }
    let before = Snapshot::take(Files::Records);
    let (network, other) = (unique("net"), unique("other"));
    coracle(["network", "create", &network]).run().ok();
    let guard = Removed::network(&network);
    coracle(["network", "create", "--internal", &other]).run().ok();
    let other_guard = Removed::network(&other);
    coracle(["network", "create", &other]).run().refuses(1, &[&other]);

    let script = "mkdir /www; echo named > /www/index.html; exec httpd -f -p 8000 -h /www";
    let arguments = ["--network", &network, "--network-alias", "alias", "busybox", "sh", "-c", script];
    let server = Container::start("named", arguments);
    for name in [server.0.as_str(), "alias"] {
        let url = format!("http://{name}:8000/");
        let ask = ["run", "--rm", "--network", &network, "busybox", "wget", "-T", "5", "-q", "-O", "-", &url];
        eventually(&format!("{name} answers"), SOON, || {
            let asked = coracle(ask).run();
            holds(asked.stdout == "named\n", || asked.to_string())
        });
    }
    // Another network knows neither the name nor the way.
    let address = server.inspect()["NetworkSettings"]["Networks"][&network]["IPAddress"].clone();
    let address = address.as_str().expect("the server has an address");
    for (on, host) in [(other.as_str(), "alias"), (other.as_str(), address), ("bridge", address)] {
        let url = format!("http://{host}:8000/");
        let ask = ["run", "--rm", "--network", on, "busybox", "wget", "-T", "2", "-q", "-O", "-", &url];
        let asked = coracle(ask).run();
        assert!(asked.code() != 0 && asked.stdout.is_empty(), "{asked}");
    }
    coracle(["network", "rm", &network]).run().refuses(1, &[&server.0]);

    let alone = coracle(["run", "--rm", "--network", "none", "busybox", "cat", "/proc/net/route"]).run().ok();
    assert!(alone.stdout.lines().count() <= 1, "a route where there is no network: {alone}");
    let internal = coracle(["run", "--rm", "--network", &other, "busybox", "ip", "route"]).run().ok();
    assert!(!internal.stdout.contains("default"), "{internal}");
    let bridge = coracle(["run", "--rm", "busybox", "ip", "route"]).run().ok();
    assert!(bridge.stdout.contains("default via"), "{bridge}");
    drop((server, guard, other_guard));
    before.nothing_is_left();
}

#[test]
fn limits_are_enforced() {
    if !ready() {
        return;
    }
    // More memory than allowed, and more than memory and swap together.
    let hungry = Container::named("hungry");
    let words =
        ["run", "--name", &hungry.0, "-m", "32m", "busybox", "dd", "if=/dev/zero", "of=/dev/null", "bs=200M"];
    coracle(words).args(["count=1"]).run().ended(137);
    assert_eq!(at(&hungry.inspect(), "State.OOMKilled"), true, "{:#}", hungry.inspect()["State"]);
    let modest =
        ["run", "--rm", "-m", "32m", "busybox", "dd", "if=/dev/zero", "of=/dev/null", "bs=4M", "count=1"];
    coracle(modest).run().ok();

    // A loop that needs more than its share of one period is held back, and sees to its end.
    let script = "i=0; while [ $i -lt 600000 ]; do i=$((i+1)); done; echo done; sleep 1000";
    let slow = Container::start("slow", ["--cpus", "0.2", "-m", "64m", "busybox", "sh", "-c", script]);
    slow.logs("done");
    assert_eq!(slow.cgroup().millicpus(), Some(200));
    assert!(slow.cgroup().throttled() > 0, "never throttled");
    assert_eq!(slow.cgroup().memory(), (64 << 20).to_string());
    let free = Container::start("free", ["busybox", "sleep", "1000"]);
    assert_eq!(free.cgroup().millicpus(), None);

    let script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 100 & done; echo all";
    let forks = coracle(["run", "--rm", "--pids-limit", "8", "busybox", "sh", "-c", script]).run();
    assert!(forks.stderr.contains("can't fork") && !forks.stdout.contains("all"), "{forks}");
    let few = Container::start("few", ["--pids-limit", "8", "busybox", "sleep", "1000"]);
    assert_eq!(few.cgroup().pids(), "8");
}

#[test]
fn restart_policies_hold() {
    if !ready() {
        return;
    }
    let before = Snapshot::take(Files::Records);
    let always = Container::start(
        "always",
        ["--restart", "always", "busybox", "sh", "-c", "echo up; exec sleep 1000"],
    );
    always.logs("up");
    let first = always.pid();
    Command::new("kill").args(["-9", &first.to_string()]).status().unwrap();
    eventually("it comes back", SOON, || {
        let found = always.inspect();
        let back =
            found["State"]["Status"] == "running" && number_at(&found, "State.Pid") != i64::from(first);
        holds(back && number_at(&found, "RestartCount") == 1, || format!("{found:#}"))
    });
    eventually("both runs are in the log", SOON, || {
        let log = coracle(["logs", &always.0]).run().ok().stdout;
        holds(log == "up\nup\n", || log)
    });
    // What the user ends stays ended.
    coracle(["stop", "-t", "0", &always.0]).run().ok();
    always.ended();
    assert_eq!(always.status(), "exited");

    let twice =
        Container::start("twice", ["--restart", "on-failure:2", "busybox", "sh", "-c", "echo try; exit 4"]);
    assert_eq!(twice.ended(), 4);
    assert_eq!(number_at(&twice.inspect(), "RestartCount"), 2);
    assert_eq!(coracle(["logs", &twice.0]).run().ok().stdout, "try\n".repeat(3));
    drop((always, twice));
    before.nothing_is_left();
}

#[test]
fn health_is_probed() {
    if !ready() {
        return;
    }
    let health = ["--health-cmd", "cat /sign", "--health-interval", "200ms", "--health-retries", "2"];
    let container = Container::start("health", health.into_iter().chain(["busybox", "sleep", "1000"]));
    let becomes = |status: &str| {
        eventually(&format!("it is {status}"), SOON, || {
            let found = container.inspect();
            holds(found["State"]["Health"]["Status"] == status, || format!("{:#}", found["State"]))
        });
    };
    becomes("unhealthy");
    let probes = at(&container.inspect(), "State.Health.Log").to_string();
    assert!(probes.contains("/sign"), "the probe's output is missing: {probes}");
    let listed = coracle(["ps"]).run().ok();
    assert!(listed.line_with(&container.0).contains("(unhealthy)"), "{listed}");
    coracle(["exec", &container.0, "sh", "-c", "echo fine > /sign"]).run().ok();
    becomes("healthy");
    assert!(at(&container.inspect(), "State.Health.Log").to_string().contains("fine"));
    coracle(["exec", &container.0, "rm", "/sign"]).run().ok();
    becomes("unhealthy");
}

#[test]
fn logs_are_bounded() {
    if !ready() {
        return;
    }
    let script = "i=0; while [ $i -lt 4000 ]; do i=$((i+1)); echo \"line $i of a log that is longer than allowed\"; done";
    let bounds = ["--log-opt", "max-size=10k", "--log-opt", "max-file=2", "busybox", "sh", "-c", script];
    let container = Container::start("log", bounds);
    assert_eq!(container.ended(), 0);
    let last = coracle(["logs", "-n", "1", &container.0]).run().ok();
    assert_eq!(last.stdout, "line 4000 of a log that is longer than allowed\n");
    let whole = coracle(["logs", &container.0]).run().ok().stdout;
    assert!(whole.lines().count() < 4000 && whole.ends_with(&last.stdout), "{} lines", whole.lines().count());

    let data = std::env::var_os("CORACLE_DATA_ROOT").unwrap_or_else(|| "/var/lib/coracle".into());
    let log = Path::new(&data).join("containers").join(text_at(&container.inspect(), "Id")).join("log");
    // Beside each file of lines lies its index, a three-hundredth of it.
    let (indexes, files): (Vec<_>, Vec<_>) = fs::read_dir(&log)
        .unwrap()
        .map(Result::unwrap)
        .partition(|entry| entry.file_name().to_string_lossy().contains(".idx"));
    let size = |entry: fs::DirEntry| entry.metadata().unwrap().len();
    assert!(indexes.into_iter().map(size).all(|size| size < 200));
    let sizes: Vec<u64> = files.into_iter().map(size).collect();
    assert!(!sizes.is_empty() && sizes.len() <= 2, "{sizes:?} in {}", log.display());
    // A file may pass its bound by the line that filled it.
    assert!(sizes.iter().all(|size| *size <= 11 * 1024), "{sizes:?}");

    let silent =
        Container::start("silent", ["--log-driver", "none", "busybox", "sh", "-c", "echo x; exit 0"]);
    silent.ended();
    assert_eq!(coracle(["logs", &silent.0]).run().stdout, "");
}

#[test]
fn a_log_is_followed_to_the_container_s_end() {
    if !ready() {
        return;
    }
    let script = "echo first; while [ ! -e /go ]; do sleep 0.1; done; echo last";
    let container = Container::start("follow", ["busybox", "sh", "-c", script]);
    let mut follower = coracle(["logs", "-f", &container.0]).start();
    follower.says("first");
    coracle(["exec", &container.0, "touch", "/go"]).run().ok();
    assert_eq!(follower.finish().ok().stdout, "first\nlast\n");
}

#[test]
fn no_kill_of_ours_wedges_a_container() {
    if !ready() {
        return;
    }
    coracle(["run", "--rm", "busybox", "true"]).run().ok();
    let before = Snapshot::take(Files::Snapshots);
    // The command that started it has gone: it lives on.
    let container = Container::named("orphan");
    let mut attached = coracle(["run", "--name", &container.0, "busybox", "sh", "-c", POLITE]).start();
    attached.says("hello");
    attached.signal("KILL");
    assert_eq!(attached.finish().code(), 137);
    assert_eq!(container.status(), "running");
    assert_eq!(coracle(["exec", &container.0, "echo", "alive"]).run().ok().stdout, "alive\n");

    // Its shim has gone: that is an end like any other, and it can be started again.
    let pid = container.pid();
    Command::new("kill").args(["-9", &parent_of(pid).to_string()]).status().unwrap();
    assert_eq!(container.ended(), 137);
    eventually("its process is gone", SOON, || {
        holds(!Path::new(&format!("/proc/{pid}")).exists(), || format!("process {pid} lives"))
    });
    coracle(["start", &container.0]).run().ok();
    assert_eq!(container.status(), "running");
    coracle(["rm", "-f", &container.0]).run().ok();
    before.nothing_is_left();
}

#[test]
fn ctrl_c_reaches_the_container() {
    if !ready() {
        return;
    }
    let container = Container::named("signal");
    let script = "trap 'echo interrupted; exit 5' INT; echo hello; while :; do sleep 0.1; done";
    let mut attached =
        coracle(["run", "--name", &container.0, "busybox", "sh", "-c", script]).bound(LONG).start();
    attached.says("hello");
    attached.signal("INT");
    let outcome = attached.finish().ended(5);
    assert!(outcome.stdout.contains("interrupted"), "{outcome}");
}

#[test]
fn images_are_listed_tagged_and_removed() {
    if !ready() {
        return;
    }
    let name = unique("tag");
    coracle(["run", "--rm", "busybox", "true"]).run().ok();
    coracle(["tag", "busybox", &name]).run().ok();
    assert_eq!(inspect(&name)["Id"], image_id("busybox"));
    assert!(coracle(["images"]).run().ok().stdout.contains(&name));
    let container = Container::start("holder", [name.as_str(), "sleep", "1000"]);
    drop(container);
    coracle(["rmi", &name]).run().ok();
    assert!(!coracle(["images"]).run().ok().stdout.contains(&name));
    coracle(["rmi", &name]).run().ended(1);
    coracle(["run", "--rm", "busybox", "true"]).run().ok();
}

fn image_id(name: &str) -> serde_json::Value {
    let outcome = coracle(["inspect", "--type", "image", name]).run().ok();
    let found: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("inspect prints JSON");
    found[0]["Id"].clone()
}
