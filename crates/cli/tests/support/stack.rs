//! A copy of the reference stack under a project name and ports of its own, taken down with this value.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{
    Call, Cgroup, LONG, Outcome, SOON, connects_from, coracle, eventually, free_port, holds, inspect,
    instant, number_at, text_at, unique, user_of,
};

/// Names of the port variables of all environments.
const PORTS: [&str; 7] = [
    "FRONTEND_PORT",
    "API_PORT",
    "DATABASE_PORT",
    "HTTP_PORT",
    "HTTPS_PORT",
    "PROMETHEUS_PORT",
    "GRAFANA_PORT",
];
/// What a checkout may hold that belongs to its owner: tools' caches, dependencies, secrets.
const OTHERS: [&str; 8] = [
    "node_modules",
    "dist",
    ".venv",
    "venv",
    "__pycache__",
    ".pytest_cache",
    ".ruff_cache",
    "orchestrator.db",
];

/// Returns the repository's root.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Copies a directory without what belongs to its owner.
pub fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory can be made");
    for entry in fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())).flatten() {
        let name = entry.file_name();
        let secret = from.ends_with("secrets") && !name.to_string_lossy().ends_with(".example");
        if secret || OTHERS.iter().any(|other| name == *other) {
            continue;
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            copy_tree(&entry.path(), &to.join(name));
        } else {
            fs::copy(entry.path(), to.join(name)).expect("a file can be copied");
        }
    }
}

/// The reference stack in one environment.
#[derive(Debug)]
pub struct Stack {
    directory: tempfile::TempDir,
    environment: &'static str,
    project: String,
    ports: BTreeMap<&'static str, u16>,
}

impl Stack {
    /// Lays a copy out, with fresh secrets.
    #[track_caller]
    pub fn new(environment: &'static str) -> Self {
        let directory = tempfile::tempdir().expect("a directory can be made");
        copy_tree(&repository().join("stacks/databricks_orchestrator"), directory.path());
        Call::of("bash").args(["scripts/make-secrets.sh"]).dir(directory.path()).run().ok();
        let ports = PORTS.iter().map(|name| (*name, free_port())).collect();
        Self { directory, environment, project: unique(environment), ports }
    }

    /// Returns the path of a file of the copy.
    pub fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    /// Returns the project's name.
    pub fn project(&self) -> &str {
        &self.project
    }

    /// Returns the port that a variable holds.
    pub fn port(&self, variable: &str) -> u16 {
        self.ports[variable]
    }

    /// Replaces a text in a file, which must hold it.
    #[track_caller]
    pub fn edit(&self, path: &str, from: &str, to: &str) {
        let path = self.path(path);
        let text = fs::read_to_string(&path).expect("a source can be read");
        assert!(text.contains(from), "{} no longer holds `{from}`", path.display());
        fs::write(path, text.replace(from, to)).expect("a source can be written");
    }

    /// Returns a call with words that follow the environment's name: `up`, then `--force-recreate`.
    pub fn call<'a>(&self, verb: &'a str, words: impl IntoIterator<Item = &'a str>) -> Call {
        let call =
            coracle([verb, "-p", &self.project, self.environment]).args(words).dir(self.directory.path());
        self.ports.iter().fold(call, |call, (name, port)| call.env(name, &port.to_string()))
    }

    /// Brings it up.
    #[track_caller]
    pub fn up(&self) -> Outcome {
        self.call("up", ["--progress", "plain"]).bound(LONG).run().ok()
    }

    /// Returns the services as `ps` shows them.
    #[track_caller]
    pub fn services(&self) -> BTreeMap<String, Value> {
        let outcome = self.call("ps", ["--all", "--format", "json"]).run().ok();
        let lines =
            outcome.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("ps prints JSON"));
        lines.map(|view| (text_at(&view, "Service").to_owned(), view)).collect()
    }

    /// Returns the id of each service's container.
    #[track_caller]
    pub fn ids(&self) -> BTreeMap<String, String> {
        let services = self.services();
        services.into_iter().map(|(name, view)| (name, text_at(&view, "ID").to_owned())).collect()
    }

    /// Returns what is known about the container of a service.
    #[track_caller]
    pub fn inspect(&self, service: &str) -> Value {
        let services = self.services();
        let view = services.get(service).unwrap_or_else(|| panic!("no `{service}` in {:?}", services.keys()));
        inspect(text_at(view, "Name"))
    }

    /// Returns the first process of a service.
    #[track_caller]
    pub fn pid(&self, service: &str) -> i32 {
        i32::try_from(number_at(&self.inspect(service), "State.Pid")).expect("a pid fits")
    }

    /// Returns the control group of a service.
    #[track_caller]
    pub fn cgroup(&self, service: &str) -> Cgroup {
        Cgroup::of(text_at(&self.inspect(service), "Id"))
    }

    /// Returns the address of a service on one of its networks, by the name in the compose file.
    #[track_caller]
    pub fn address(&self, service: &str, network: &str) -> String {
        let found = self.inspect(service);
        let name = format!("{}_{network}", self.project);
        let networks = &found["NetworkSettings"]["Networks"];
        let address = networks[&name]["IPAddress"].as_str();
        address.unwrap_or_else(|| panic!("{service} has no address on {name}: {networks:#}")).to_owned()
    }

    /// Runs a command in a service.
    #[track_caller]
    pub fn exec(&self, service: &str, command: &[&str]) -> Outcome {
        self.call("exec", [service].into_iter().chain(command.iter().copied())).run()
    }

    /// Returns everything that all services have logged.
    #[track_caller]
    pub fn logs(&self) -> String {
        let outcome = self.call("logs", []).run().ok();
        outcome.stdout + &outcome.stderr
    }

    /// Asks PostgreSQL for one value, through `exec`.
    #[track_caller]
    pub fn query(&self, database: &str, text: &str) -> String {
        self.exec("database", &["psql", "-U", "postgres", "-d", database, "-tAc", text])
            .ok()
            .line()
            .to_owned()
    }

    /// Waits until a service is healthy.
    #[track_caller]
    pub fn healthy(&self, service: &str) {
        eventually(&format!("{service} is healthy"), SOON * 2, || {
            let services = self.services();
            let health = services.get(service).map(|view| view["Health"].clone());
            holds(health == Some(json!("healthy")), || format!("{services:#?}"))
        });
    }

    /// Ends the first process of a service as a crash would, and returns its number.
    #[track_caller]
    pub fn crash(&self, service: &str) -> i32 {
        let pid = self.pid(service);
        Call::of("kill").args(["-9", &pid.to_string()]).run().ok();
        pid
    }

    /// Waits until a service runs with another first process than `before`, and is healthy.
    #[track_caller]
    pub fn comes_back(&self, service: &str, before: i32) {
        eventually(&format!("{service} comes back"), SOON, || {
            let found = self.inspect(service);
            let state = &found["State"];
            let back = state["Status"] == "running"
                && state["Pid"].as_i64().is_some_and(|pid| pid != i64::from(before));
            holds(back, || format!("{state:#}"))
        });
        self.healthy(service);
        assert!(number_at(&self.inspect(service), "RestartCount") >= 1);
    }

    /// Fails unless the secret is a file for `readers`, nothing for the other `services`, and written nowhere else.
    #[track_caller]
    pub fn keeps_secret(&self, name: &str, readers: &[&str], others: &[&str]) {
        let secret =
            fs::read_to_string(self.path(&format!("secrets/{name}.txt"))).expect("the secret was made");
        let inside = format!("/run/secrets/{name}");
        for service in readers {
            assert_eq!(self.exec(service, &["cat", &inside]).ok().stdout, secret);
            let written = self.exec(service, &["sh", "-c", &format!("echo x > {inside}")]);
            assert_ne!(written.code(), 0, "{service} may write its secret: {written}");
        }
        for service in others {
            let listed = self.exec(service, &["ls", "/run/secrets"]);
            assert!(!listed.stdout.contains(name), "{service} sees the secret: {listed}");
        }
        let secret = secret.trim();
        for service in readers.iter().chain(others) {
            assert!(
                !self.inspect(service).to_string().contains(secret),
                "inspect of {service} tells the secret"
            );
            let environment = fs::read(format!("/proc/{}/environ", self.pid(service))).expect("it runs");
            let told = String::from_utf8_lossy(&environment).contains(secret);
            assert!(!told, "the environment of {service} tells the secret");
        }
        assert!(!self.logs().contains(secret), "a log tells the secret");
        assert!(!self.call("config", []).run().ok().stdout.contains(secret), "`config` tells the secret");
        let records = ["/var/lib/coracle/containers", "/var/lib/coracle/projects", "/run/coracle"];
        let found = Call::of("grep").args(["-rlsF", "-D", "skip", "--", secret]).args(records).run();
        assert!(found.stdout.is_empty(), "the secret is written in {}", found.stdout);
    }

    /// Fails unless database, migrations, backend and proxy started in this order, each after what it waits for.
    #[track_caller]
    pub fn started_in_order(&self) {
        let time =
            |service: &str, key: &str| instant(text_at(&self.inspect(service), &format!("State.{key}")));
        let (migrating, migrated) = (time("migrate", "StartedAt"), time("migrate", "FinishedAt"));
        let order = [
            ("database starts", time("database", "StartedAt")),
            ("migrate starts", migrating.clone()),
            ("migrate ends", migrated),
            ("backend starts", time("backend", "StartedAt")),
            ("nginx starts", time("nginx", "StartedAt")),
        ];
        assert!(order.is_sorted_by_key(|(_, time)| time), "{order:#?}");
        let database = self.inspect("database");
        let probes = database["State"]["Health"]["Log"].as_array().expect("the database was probed");
        let first = probes.iter().find(|probe| probe["ExitCode"] == 0).expect("a probe succeeded");
        // Later on the first probes are forgotten.
        if probes.len() < 5 {
            let healthy = instant(text_at(first, "End"));
            assert!(healthy <= migrating, "healthy at {healthy}, migrations at {migrating}");
        }
    }

    /// Fails unless the backend reaches the database and neither the proxy nor the page server does.
    #[track_caller]
    pub fn separates_the_database(&self) {
        let address = self.address("database", "data-network");
        assert!(
            connects_from(self.pid("backend"), &address, 5432),
            "the backend cannot reach {address}:5432"
        );
        for service in ["nginx", "frontend"] {
            assert!(!connects_from(self.pid(service), &address, 5432), "{service} reaches {address}:5432");
        }
        self.exec("nginx", &["getent", "hosts", "backend"]).ok();
        let asked = self.exec("nginx", &["getent", "hosts", "database"]);
        assert!(asked.code() != 0 && asked.stdout.is_empty(), "the proxy knows the database's name: {asked}");
    }

    /// Fails unless each service's group has these limits: processors in thousandths, MiB, processes.
    #[track_caller]
    pub fn limits(&self, limits: &[(&str, u64, u64, u64)]) {
        for (service, millicpus, mebibytes, processes) in limits {
            let group = self.cgroup(service);
            let seen = (group.millicpus(), group.memory(), group.pids());
            let wanted = (Some(*millicpus), (mebibytes << 20).to_string(), processes.to_string());
            assert_eq!(seen, wanted, "limits of {service}");
        }
    }

    /// Fails unless these services' commands run as the user 1001, and all workers of the proxy as somebody
    /// other than root.
    #[track_caller]
    pub fn needs_no_root(&self, services: &[&str]) {
        for service in services {
            assert_eq!(self.exec(service, &["id", "-u"]).ok().line(), "1001", "user of {service}");
            // A probe that is being started is root's for a moment.
            eventually(&format!("{service} has no process of root"), SOON, || {
                let users: Vec<i32> =
                    self.cgroup(service).processes().into_iter().filter_map(user_of).collect();
                holds(users.iter().all(|user| *user == 1001), || format!("{users:?}"))
            });
        }
        let master = self.pid("nginx");
        let named = |pid: &i32| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "nginx")
        };
        let workers = self.cgroup("nginx").processes().into_iter().filter(|pid| *pid != master).filter(named);
        let users: Vec<i32> = workers.filter_map(user_of).collect();
        assert!(
            !users.is_empty() && users.iter().all(|user| *user != 0),
            "users of nginx's workers: {users:?}"
        );
    }

    /// Fails unless exactly these services run and are healthy, and those have ended with 0.
    #[track_caller]
    pub fn is_up(&self, healthy: &[&str], ended: &[&str]) {
        let services = self.services();
        for name in healthy {
            let view = services.get(*name).unwrap_or_else(|| panic!("no `{name}` in {services:#?}"));
            assert_eq!((&view["State"], &view["Health"]), (&json!("running"), &json!("healthy")), "{view:#}");
        }
        for name in ended {
            let view = services.get(*name).unwrap_or_else(|| panic!("no `{name}` in {services:#?}"));
            assert_eq!((&view["State"], &view["ExitCode"]), (&json!("exited"), &json!(0)), "{view:#}");
        }
        for name in services.keys() {
            let known =
                healthy.iter().chain(ended).any(|known| known == name) || OPTIONAL.contains(&name.as_str());
            assert!(known, "nobody asked for `{name}`: {services:#?}");
        }
    }
}

/// Services whose images come from registries only.
const OPTIONAL: [&str; 3] = ["grafana", "nginx-exporter", "postgres-exporter"];

impl Drop for Stack {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let tell = |words: &[&str]| {
                let call = self.call(words[0], words[1..].iter().copied()).bound(SOON);
                let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| call.run()));
                #[expect(
                    clippy::print_stderr,
                    reason = "whoever reads a failure needs to see the stack's state"
                )]
                if let Ok(outcome) = outcome {
                    eprintln!("{outcome}");
                }
            };
            tell(&["ps", "--all"]);
            tell(&["logs", "-n", "30"]);
        }
        self.call("down", ["-v", "-t", "2"]).quietly();
    }
}
