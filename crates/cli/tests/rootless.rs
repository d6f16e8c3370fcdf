//! Coracle as a normal user: namespaces of its own, images with many owners, networks, ports, projects, and what is told
//! where something is missing.
#![allow(clippy::unwrap_used, reason = "a failure in a test's world is a failure of the test")]

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};

use support::{Files, Snapshot, User, eventually, free_port, holds, ready};

const IMAGE: &str = "busybox:latest";

/// Says whether a normal user can be tried here, and why not.
fn possible() -> bool {
    if !ready() {
        return false;
    }
    for program in ["newuidmap", "pasta", "setpriv", "nsenter"] {
        if coracle_testkit::program(program).is_none() {
            coracle_testkit::skip(&format!("{program} is not installed"));
            return false;
        }
    }
    true
}

/// Another machine: a network of its own with one link to this one.
struct Machine {
    process: Child,
}

impl Machine {
    /// The host's and the machine's address on their link.
    const HOST: &str = "198.18.77.1";
    const OWN: &str = "198.18.77.2";

    fn new() -> Self {
        let mut process = Command::new("unshare")
            .args(["-n", "sh", "-c", "echo; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(process.stdout.take().unwrap()), &mut line)
            .unwrap();
        let machine = Self { process };
        let pid = machine.process.id().to_string();
        let link = format!("rl{}", std::process::id());
        Self::ip(&["link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &pid]);
        Self::ip(&["address", "add", &format!("{}/30", Self::HOST), "dev", &link]);
        Self::ip(&["link", "set", &link, "up"]);
        let own = format!("{}/30", Self::OWN);
        for words in [["address", "add", &own, "dev", "eth0"], ["link", "set", "dev", "eth0", "up"]] {
            let entered = ["-t", &pid, "-n", "ip"];
            assert!(Command::new("nsenter").args(entered).args(words).status().unwrap().success());
        }
        machine
    }

    fn ip(words: &[&str]) {
        assert!(Command::new("ip").args(words).status().unwrap().success(), "ip {words:?}");
    }

    /// Gets a page from the host.
    fn get(&self, port: u16, path: &str) -> String {
        let pid = self.process.id().to_string();
        let url = format!("http://{}:{port}/{path}", Self::HOST);
        let output = Command::new("nsenter")
            .args(["-t", &pid, "-n", "curl", "-sS", "--noproxy", "*", "-m", "10", &url])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The link goes with the machine's end of it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn get(url: &str) -> Result<String, String> {
    let output = Command::new("curl").args(["-sS", "--noproxy", "*", "-m", "10", url]).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[test]
fn a_user_runs_containers() {
    if !possible() {
        return;
    }
    let before = Snapshot::take(Files::Records);
    let user = User::new();
    user.load(IMAGE);

    // Root inside is the user outside.
    let outcome = user.coracle(["run", "--rm", IMAGE, "cat", "/proc/self/uid_map"]).run().ok();
    let first: Vec<&str> = outcome.stdout.split_whitespace().take(3).collect();
    assert_eq!(first, ["0", &user.uid.to_string(), "1"], "{outcome}");
    user.write("shared/in", "text");
    let volume = "./shared:/d";
    let script =
        "id -u; cat /d/in; echo made > /d/out; touch /d/other; chown 7:8 /d/other; stat -c %u:%g /d/other";
    let outcome = user.coracle(["run", "--rm", "-v", volume, IMAGE, "sh", "-c", script]).run().ok();
    assert_eq!(outcome.stdout, "0\ntext7:8\n");
    let owner = |name: &str| fs::metadata(user.home().join("shared").join(name)).unwrap().uid();
    assert_eq!(owner("out"), user.uid);
    assert!(owner("other") > 1_000_000, "an id that was given to the user");

    // A limit without a control group is told once, and stops nobody.
    let limited = ["run", "--rm", "--memory", "64m", "--pids-limit", "50", IMAGE, "echo", "runs"];
    let outcome = user.coracle(limited).run().ok();
    assert_eq!(outcome.line(), "runs");
    if !std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        assert_eq!(outcome.stderr.matches("are not enforced").count(), 1, "{outcome}");
        assert!(outcome.stderr.contains("limits of memory, processes"), "{outcome}");
    }

    user.coracle(["run", "-d", "--name", "web", IMAGE, "sleep", "1000"]).run().ok();
    assert_eq!(user.coracle(["exec", "-u", "1000", "web", "id", "-u"]).run().ok().line(), "1000");
    assert!(user.coracle(["top", "web"]).run().ok().stdout.contains("sleep 1000"));
    user.coracle(["rm", "-f", "web"]).run().ok();
    user.nothing_runs();
    before.nothing_is_left();
}

#[test]
fn clients_keep_their_address_and_containers_find_each_other() {
    if !possible() {
        return;
    }
    let before = Snapshot::take(Files::Records);
    let user = User::new();
    user.load(IMAGE);
    let (port, local) = (free_port(), free_port());
    let (ports, locals) = (format!("{port}:80"), format!("127.0.0.1:{local}:80"));
    user.coracle(["network", "create", "shop"]).run().ok();
    let serve = ["httpd", "-f", "-vv", "-p", "80", "-h", "/etc"];
    let run = ["run", "-d", "--name", "web", "--network", "shop", "-p", &ports, "-p", &locals, IMAGE];
    user.coracle(run.into_iter().chain(serve)).run().ok();

    let script =
        "ping -c 1 -W 5 web && ping -c 1 -W 5 $(ip route | sed -n 's/default via \\([0-9.]*\\).*/\\1/p')";
    let ping = user.coracle(["run", "--rm", "--network", "shop", IMAGE, "sh", "-c", script]).run().ok();
    assert_eq!(ping.stdout.matches("1 packets received").count(), 2, "{ping}");

    let machine = Machine::new();
    eventually("the port answers", support::SOON, || {
        let page = machine.get(port, "hostname");
        holds(!page.is_empty(), || "nothing came".to_owned())
    });
    let log = user.coracle(["logs", "web"]).run().ok();
    let told = log.stdout + &log.stderr;
    assert!(told.contains(Machine::OWN), "the client of another machine is seen: {told}");
    assert_eq!(machine.get(local, "hostname"), "", "a loopback port is for the host alone");
    for url in [format!("http://127.0.0.1:{local}/hostname"), format!("http://[::1]:{port}/hostname")] {
        get(&url).unwrap();
    }

    // A second container cannot have the port; nor can anybody have one that is root's.
    let taken = ["run", "--rm", "-p", &ports, IMAGE, "true"];
    user.coracle(taken).run().refuses(1, &[&format!("port {port}/tcp"), "in use"]);
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    if first.trim() == "1024" {
        let low = ["run", "--rm", "-p", "81:80", IMAGE, "true"];
        user.coracle(low).run().refuses(1, &["port 81/tcp", "net.ipv4.ip_unprivileged_port_start=81"]);
    }

    // Nobody needs the holder to live: containers go on, and the next command makes another.
    let holder = user.processes().into_iter().find(|(_, line)| line.contains(" holder ")).unwrap().0;
    assert!(Command::new("kill").args(["-9", &holder.to_string()]).status().unwrap().success());
    get(&format!("http://127.0.0.1:{local}/hostname")).unwrap();
    assert!(user.coracle(["ps"]).run().ok().stdout.contains("web"));
    assert_eq!(user.coracle(["exec", "web", "hostname"]).run().ok().line().len(), 12);
    let ping = ["run", "--rm", "--network", "shop", IMAGE, "ping", "-c", "1", "-W", "5", "web"];
    user.coracle(ping).run().ok();

    user.coracle(["rm", "-f", "web"]).run().ok();
    user.coracle(["network", "rm", "shop"]).run().ok();
    drop(machine);
    user.nothing_runs();
    before.nothing_is_left();
}

#[test]
fn images_have_files_of_many_owners() {
    if !possible() {
        return;
    }
    let user = User::new();
    user.load(IMAGE);
    user.write(
        "app/Dockerfile",
        "FROM busybox:latest\n\
         RUN mkdir -p /srv/old /srv/gone && echo a > /srv/old/a && touch /srv/gone/b && chown -R 1234:99 /srv/old\n\
         RUN rm -r /srv/gone /srv/old && mkdir /srv/old && echo c > /srv/old/c && chown 1234:99 /srv/old/c\n\
         COPY --chown=4321:77 Dockerfile /srv/d\n\
         USER 1234\n\
         CMD [\"sh\", \"-c\", \"id -u; ls /srv /srv/old; stat -c %u:%g /srv/d /srv/old/c\"]\n",
    );
    user.coracle(["build", "-t", "app", "app"]).run().ok();
    let expected = "1234\n/srv:\nd\nold\n\n/srv/old:\nc\n4321:77\n1234:99\n";
    assert_eq!(user.coracle(["run", "--rm", "app"]).run().ok().stdout, expected);
    // What is deleted stays deleted in an archive, and owners are those of the image.
    user.coracle(["save", "-o", "app.tar", "app"]).run().ok();
    user.coracle(["rmi", "-f", "app"]).run().ok();
    user.coracle(["load", "-i", "app.tar"]).run().ok();
    assert_eq!(user.coracle(["run", "--rm", "app"]).run().ok().stdout, expected);
    user.nothing_runs();
}

#[test]
fn a_project_comes_up_and_goes() {
    if !possible() {
        return;
    }
    let before = Snapshot::take(Files::Records);
    let user = User::new();
    user.load(IMAGE);
    let port = free_port();
    user.write(
        "shop/docker-compose.yml",
        &format!(
            "services:\n  web:\n    image: {IMAGE}\n    command: httpd -f -p 80 -h /etc\n    stop_signal: SIGKILL\n    \
             ports: [\"{port}:80\"]\n    volumes: [\"data:/data\"]\n    \
             deploy: {{resources: {{limits: {{memory: 64M}}}}}}\n    \
             healthcheck: {{test: [CMD, wget, -q, -O, /dev/null, \"http://127.0.0.1/hostname\"], interval: 1s}}\n  \
             two:\n    image: {IMAGE}\n    stop_signal: SIGKILL\n    \
             command: sh -c 'wget -q -O - http://web/hostname; sleep 1000'\n    \
             depends_on: {{web: {{condition: service_healthy}}}}\nvolumes: {{data: {{}}}}\n"
        ),
    );
    let compose = |words: &[&str]| {
        let all = ["compose", "-f", "shop/docker-compose.yml"].into_iter().chain(words.iter().copied());
        user.coracle(all.collect::<Vec<_>>()).run().ok()
    };
    compose(&["up", "-d", "--wait"]);
    let page = get(&format!("http://127.0.0.1:{port}/hostname")).unwrap();
    eventually("the other service was answered", support::SOON, || {
        let log = compose(&["logs", "two"]).stdout;
        holds(log.contains(page.trim()), || log.clone())
    });
    compose(&["down", "-v"]);
    user.nothing_runs();
    before.nothing_is_left();
}

#[test]
fn a_user_without_subordinate_ids_has_one() {
    if !possible() {
        return;
    }
    let user = User::alone();
    user.load(IMAGE);
    // Said by the command that makes the namespaces, which may be the one that loaded the image.
    user.nothing_runs();
    let outcome = user.coracle(["run", "--rm", IMAGE, "id", "-u"]).run().ok();
    assert_eq!(outcome.line(), "0");
    assert!(outcome.stderr.contains("containers have one user only"), "{outcome}");
    user.coracle(["run", "-d", "--name", "web", IMAGE, "sleep", "1000"]).run().ok();
    assert_eq!(user.coracle(["exec", "web", "id", "-u"]).run().ok().line(), "0");
    user.coracle(["rm", "-f", "web"]).run().ok();
    user.write("app/Dockerfile", "FROM busybox:latest\nCOPY --chown=4321:77 Dockerfile /d\n");
    let outcome = user.coracle(["build", "-t", "app", "app"]).run();
    assert_ne!(outcome.code(), 0, "{outcome}");
    assert!(outcome.stderr.contains("4321:77 is beyond the ids"), "{outcome}");
    user.nothing_runs();
}

#[test]
fn the_doctor_knows_what_a_user_lacks() {
    if !possible() {
        return;
    }
    let states = |user: &User| {
        let outcome = user.coracle(["doctor", "--format", "json"]).run().ok();
        let lines =
            outcome.stdout.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.collect::<Vec<_>>()
    };
    let of = |checks: &[serde_json::Value], id: &str| {
        let found = checks.iter().find(|check| check["Id"] == id);
        found.unwrap_or_else(|| panic!("no check {id} in {checks:#?}")).clone()
    };
    let checks = states(&User::new());
    for id in ["kernel", "overlay", "packet-filter", "subordinate-ids", "id-helpers", "pasta", "tun"] {
        assert_eq!(of(&checks, id)["State"], "good", "{id}");
    }
    let alone = User::alone();
    let check = of(&states(&alone), "subordinate-ids");
    assert_eq!(check["State"], "limited");
    let remedy = check["Remedy"].as_str().unwrap();
    assert!(remedy.starts_with("sudo usermod --add-subuids ") && remedy.ends_with(" anna"), "{remedy}");
    alone.nothing_runs();
}
