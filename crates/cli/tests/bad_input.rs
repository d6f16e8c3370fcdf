//! Bad input and bad luck: each is told clearly, with a hint, and leaves nothing changed.

mod support;

use std::fs;
use std::net::{Ipv4Addr, TcpListener};

use serde_json::Value;
use support::{Call, Container, Files, SOON, Snapshot, coracle, eventually, free_port, holds, ready, unique};

/// A small project in a directory of its own, taken down with this value.
struct Project {
    directory: tempfile::TempDir,
    name: String,
}

impl Project {
    /// Lays files out.
    fn of(files: &[(&str, &str)]) -> Self {
        let project = Self { directory: tempfile::tempdir().expect("a directory"), name: unique("project") };
        for (name, text) in files {
            project.write(name, text);
        }
        project
    }

    /// Lays one compose file out.
    fn with(services: &str) -> Self {
        Self::of(&[("docker-compose.yml", &format!("services:\n{services}"))])
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.directory.path().join(name);
        fs::create_dir_all(path.parent().expect("a file has a parent")).expect("a directory can be made");
        fs::write(path, text).expect("a file can be written");
    }

    fn call(&self, verb: &str, words: &[&str]) -> Call {
        coracle([verb, "-p", &self.name]).args(words).dir(self.directory.path())
    }

    fn up(&self, words: &[&str]) -> Call {
        self.call("up", &["--progress", "plain"]).args(words)
    }

    #[track_caller]
    fn containers(&self) -> Vec<Value> {
        let listed = self.call("ps", &["--all", "--format", "json"]).run().ok();
        listed.stdout.lines().map(|line| serde_json::from_str(line).expect("ps prints JSON")).collect()
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        self.call("down", &["-v", "-t", "0", "--remove-orphans"]).quietly();
    }
}

/// What there is before and after a refusal: the same.
#[track_caller]
fn unchanged(work: impl FnOnce()) {
    let before = Snapshot::take(Files::Snapshots);
    work();
    before.nothing_is_left();
}

#[test]
fn a_missing_project_and_wrong_flags() {
    if !ready() {
        return;
    }
    unchanged(|| {
        let empty = Project::of(&[]);
        let place = empty.directory.path().to_str().unwrap().to_owned();
        for verb in ["up", "down"] {
            empty.call(verb, &["dev"]).run().refuses(1, &["docker-compose.yml", &place, "hint:"]);
        }
        coracle(["run", "--no-such-flag", "busybox"]).run().refuses(1, &["--no-such-flag", "--help"]);
        coracle(["run", "-m", "lots", "busybox"]).run().refuses(1, &["lots", "512m"]);
        coracle(["run", "-p", "80:70000", "busybox"]).run().refuses(1, &["80:70000"]);
        coracle(["no-such-verb"]).run().refuses(1, &["no-such-verb"]);
        coracle::<[&str; 0]>([]).run().refuses(1, &["Usage:"]);
        assert!(coracle(["--help"]).run().ok().stdout.contains("coracle up dev"));
    });
}

#[test]
fn a_faulty_compose_file() {
    if !ready() {
        return;
    }
    unchanged(|| {
        let project = Project::of(&[("docker-compose.yml", "services:\n  web:\n    image: \"busybox\n")]);
        project.up(&[]).run().refuses(1, &["docker-compose.yml:"]);
        let place = |text: &str, expected: &[&str]| {
            project.write("docker-compose.yml", text);
            project.up(&[]).run().refuses(1, expected);
        };
        place("services:\n  web:\n\timage: busybox\n", &["docker-compose.yml:3:"]);
        place(
            "services:\n  web:\n    image: busybox\n    prots: [\"80:80\"]\n",
            &["docker-compose.yml:4:5", "prots", "did you mean `ports`"],
        );
        place(
            "services:\n  web:\n    image: busybox\n    ports: [\"eighty:80\"]\n",
            &["docker-compose.yml:4:", "eighty"],
        );
        place(
            "services:\n  web:\n    image: ${IMAGE_OF_WEB:?say which image}\n",
            &["docker-compose.yml:3:", "IMAGE_OF_WEB", "say which image"],
        );
        place(
            "services:\n  web:\n    image: busybox\n    depends_on: [databse]\n  database:\n    image: busybox\n",
            &["docker-compose.yml:4:", "databse"],
        );
        place(
            "services:\n  a:\n    image: busybox\n    depends_on: [b]\n  b:\n    image: busybox\n    depends_on: [a]\n",
            &["docker-compose.yml:"],
        );
        place("services:\n  web:\n    command: true\n", &["docker-compose.yml:", "image", "build"]);
    });
}

#[test]
fn unknown_names_are_told_with_the_near_one() {
    if !ready() {
        return;
    }
    unchanged(|| {
        let services = "services:\n  website:\n    image: busybox\n    command: sleep 1000\n";
        let project = Project::of(&[
            ("docker-compose.yml", services),
            ("docker-compose.staging.yml", services),
            ("docker-compose.dev.yml", services),
        ]);
        project.up(&["stagng"]).run().refuses(1, &["`stagng`", "did you mean `staging`", "dev, staging"]);
        project.up(&["dev", "webseit"]).run().refuses(1, &["webseit", "website"]);
        project.call("exec", &["dev", "webseit", "true"]).run().refuses(1, &["webseit", "website"]);
        project.call("exec", &["dev", "website", "true"]).run().refuses(1, &["website", "hint:"]);
        project.call("logs", &["dev", "webseit"]).run().refuses(1, &["webseit", "website"]);

        let image = unique("no-such-image");
        coracle(["run", "--rm", &image]).run().refuses(1, &[&image, "hint:"]);
        coracle(["run", "--rm", "--pull", "never", &image]).run().refuses(1, &[&image]);
        coracle(["run", "--rm", "Not_A:Valid:Name"]).run().refuses(1, &["Not_A:Valid:Name"]);
        project.write("docker-compose.yml", &format!("services:\n  website:\n    image: {image}\n"));
        project.up(&[]).run().refuses(1, &[&image]);
        for verb in [&["inspect"][..], &["rm"], &["stop"], &["logs"], &["exec"], &["rmi"], &["volume", "rm"]]
        {
            let name = unique("nothing");
            coracle(verb).args([&name]).args((verb == ["exec"]).then_some("true")).run().refuses(1, &[&name]);
        }
        coracle(["run", "--rm", "--network", &unique("no-net"), "busybox"]).run().refuses(1, &["no-net"]);
    });
}

#[test]
fn a_busy_port_is_known_before_anything_starts() {
    if !ready() {
        return;
    }
    unchanged(|| {
        let port = free_port();
        let _holder = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
        let own = std::process::id().to_string();
        let name = fs::read_to_string("/proc/self/comm").unwrap();
        let words = [&port.to_string(), own.as_str(), name.trim()];
        let project = Project::with(&format!(
            "  first:\n    image: busybox\n    command: sleep 1000\n  \
               second:\n    image: busybox\n    command: sleep 1000\n    depends_on: [first]\n    \
               ports: [\"{port}:80\"]\n"
        ));
        project.up(&[]).run().refuses(1, &words);
        assert!(project.containers().is_empty(), "{:#?}", project.containers());
        assert!(!coracle(["network", "ls"]).run().ok().stdout.contains(&project.name));
        let publish = format!("127.0.0.1:{port}:80");
        coracle(["run", "--rm", "-p", &publish, "busybox", "true"]).run().refuses(1, &words);
        let container = Container::named("port");
        let run = ["run", "-d", "--name", &container.0, "-p", &publish, "busybox", "true"];
        coracle(run).run().refuses(1, &words);
        coracle(["inspect", &container.0]).run().refuses(1, &[&container.0]);
    });
}

#[test]
fn a_service_that_does_not_get_up_says_why() {
    if !ready() {
        return;
    }
    let project = Project::with(
        "  sick:\n    image: busybox\n    command: sh -c 'echo last-words-of-the-service; exec sleep 1000'\n    \
           healthcheck:\n      test: [\"CMD-SHELL\", \"echo the-probe-says-no; exit 1\"]\n      \
             interval: 200ms\n      retries: 2\n",
    );
    let texts = ["sick", "the-probe-says-no", "last-words-of-the-service", "hint:", "coracle logs"];
    project.up(&[]).run().refuses(1, &texts);

    let project = Project::with(
        "  task:\n    image: busybox\n    command: sh -c 'echo the-task-fails; exit 5'\n  \
           web:\n    image: busybox\n    command: sleep 1000\n    depends_on:\n      \
             task: {condition: service_completed_successfully}\n",
    );
    project.up(&[]).run().refuses(1, &["task", "5", "the-task-fails", "hint:"]);
    assert!(!project.containers().iter().any(|view| view["Service"] == "web" && view["State"] == "running"));

    let project = Project::with("  wrong:\n    image: busybox\n    command: no-such-program\n");
    project.up(&[]).run().refuses(1, &["wrong", "no-such-program"]);

    // It never has a verdict: the wait is bounded.
    let project = Project::with(
        "  slow:\n    image: busybox\n    command: sleep 1000\n    \
           healthcheck:\n      test: [\"CMD\", \"sh\", \"-c\", \"echo still-waiting; exit 1\"]\n      \
             interval: 200ms\n      start_period: 1h\n      start_interval: 200ms\n",
    );
    project.up(&["--wait-timeout", "2s"]).run().refuses(1, &["slow", "still-waiting", "hint:"]);
}

#[test]
fn an_interrupted_up_is_taken_up_again() {
    if !ready() {
        return;
    }
    coracle(["run", "--rm", "busybox", "true"]).run().ok();
    let before = Snapshot::take(Files::Snapshots);
    for signal in ["INT", "KILL"] {
        let project = Project::with(
            "  gate:\n    image: busybox\n    command: sleep 1000\n    volumes: [\"./signs:/signs\", \"data:/data\"]\n    \
               healthcheck:\n      test: [\"CMD\", \"test\", \"-e\", \"/signs/open\"]\n      \
                 interval: 100ms\n      start_period: 1h\n  \
               last:\n    image: busybox\n    command: sleep 1000\n    depends_on:\n      \
                 gate: {condition: service_healthy}\nvolumes:\n  data:\n",
        );
        let interrupted = project.up(&[]).start();
        eventually("the gate runs", SOON, || {
            let running = |view: &Value| view["Service"] == "gate" && view["State"] == "running";
            holds(project.containers().iter().any(running), || interrupted.so_far())
        });
        interrupted.signal(signal);
        let outcome = interrupted.finish();
        assert!(outcome.code() != 0 && !outcome.stderr.contains("panicked"), "{outcome}");
        assert!(
            !project.containers().iter().any(|view| view["Service"] == "last" && view["State"] == "running")
        );

        project.write("signs/open", "");
        project.up(&[]).run().ok();
        let views = project.containers();
        assert_eq!(views.len(), 2, "{views:#?}");
        assert!(views.iter().all(|view| view["State"] == "running"), "{views:#?}");
        project.call("down", &["-v", "-t", "0"]).run().ok();
        before.nothing_is_left();
    }
}

#[test]
fn two_ups_at_once_make_one_project() {
    if !ready() {
        return;
    }
    coracle(["run", "--rm", "busybox", "true"]).run().ok();
    let before = Snapshot::take(Files::Snapshots);
    let project = Project::with(
        "  first:\n    image: busybox\n    command: sleep 1000\n    volumes: [\"data:/data\"]\n    \
           healthcheck:\n      test: [\"CMD\", \"true\"]\n      interval: 200ms\n  \
           second:\n    image: busybox\n    command: sleep 1000\n    depends_on:\n      \
             first: {condition: service_healthy}\nvolumes:\n  data:\n",
    );
    let ups: Vec<_> = (0..3).map(|_| project.up(&[]).start()).collect();
    for up in ups {
        up.finish().ok();
    }
    let views = project.containers();
    let mut services: Vec<&str> = views.iter().filter_map(|view| view["Service"].as_str()).collect();
    services.sort_unstable();
    assert_eq!(services, ["first", "second"], "{views:#?}");
    assert!(views.iter().all(|view| view["State"] == "running"), "{views:#?}");
    // One that takes it down while another brings it up: either order, never a wreck.
    let (up, down) = (project.up(&["--force-recreate"]).start(), project.call("down", &["-t", "0"]).start());
    let (up, down) = (up.finish(), down.finish());
    assert!(matches!(up.code(), 0 | 1) && !up.stderr.contains("panicked"), "{up}");
    down.ok();
    project.up(&[]).run().ok();
    assert_eq!(project.containers().len(), 2);
    project.call("down", &["-v", "-t", "0"]).run().ok();
    before.nothing_is_left();
}
