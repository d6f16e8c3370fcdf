//! Loading whole projects: the reference stack, environments, names, and what authors get wrong.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use coracle_composefile::{
    DependencyCondition, HostPorts, LoadRequest, Loaded, Loader, MountSource, RestartPolicy,
    combine_environment, discover, load,
};
use coracle_report::{Diagnostic, Hint};
use indexmap::IndexMap;

/// Files in memory.
struct Files(IndexMap<PathBuf, String>);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        Self(files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect())
    }
}

impl Loader for Files {
    fn read(&self, path: &Path) -> io::Result<String> {
        self.0.get(path).cloned().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such file"))
    }

    fn exists(&self, path: &Path) -> bool {
        self.0.contains_key(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let children = self.0.keys().filter(|file| file.parent() == Some(path));
        Ok(children.filter_map(|file| Some(file.file_name()?.to_str()?.to_owned())).collect())
    }
}

/// Files on disk.
struct Disk;

impl Loader for Disk {
    fn read(&self, path: &Path) -> io::Result<String> {
        std::fs::read_to_string(path)
    }

    fn exists(&self, path: &Path) -> bool {
        path.is_file()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        std::fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }
}

fn request(files: &[&str]) -> LoadRequest {
    LoadRequest {
        files: files.iter().map(PathBuf::from).collect(),
        project_directory: "/shop".into(),
        ..LoadRequest::default()
    }
}

fn load_text(text: &str) -> Result<Loaded, Vec<Diagnostic>> {
    load(&request(&["/shop/compose.yml"]), &Files::new(&[("/shop/compose.yml", text)]))
}

fn loaded(text: &str) -> Loaded {
    load_text(text).unwrap_or_else(|errors| panic!("{text}\n{}", show(&errors)))
}

fn show(diagnostics: &[Diagnostic]) -> String {
    let mut out = String::new();
    for diagnostic in diagnostics {
        let _ = writeln!(out, "{:?} {diagnostic} [{}]", diagnostic.severity, diagnostic.code);
        for note in &diagnostic.notes {
            let _ = writeln!(out, "  note: {note}");
        }
        for Hint(hint) in &diagnostic.hints {
            let _ = writeln!(out, "  hint: {hint}");
        }
    }
    out
}

fn errors(text: &str) -> String {
    match load_text(text) {
        Ok(loaded) => format!("no error; warnings:\n{}", show(&loaded.warnings)),
        Err(errors) => show(&errors),
    }
}

/// The requirement's own files, word for word.
const BASE: &str = include_str!("fixtures/docker-compose.yml");
const DEV: &str = include_str!("fixtures/docker-compose.dev.yml");
const PROD: &str = include_str!("fixtures/docker-compose.prod.yml");

fn literal(overlay: &str) -> Loaded {
    let files = Files::new(&[
        ("/shop/docker-compose.yml", BASE),
        ("/shop/docker-compose.dev.yml", DEV),
        ("/shop/docker-compose.prod.yml", PROD),
    ]);
    let overlay = format!("/shop/docker-compose.{overlay}.yml");
    load(&request(&["/shop/docker-compose.yml", &overlay]), &files)
        .unwrap_or_else(|errors| panic!("{}", show(&errors)))
}

#[test]
fn the_requirements_development_files_load() {
    let loaded = literal("dev");
    let project = &loaded.project;
    assert_eq!(project.services.keys().collect::<Vec<_>>(), ["backend", "frontend", "database", "nginx"]);
    let nginx: Vec<_> = project.services["nginx"].ports.iter().map(|port| port.published).collect();
    assert_eq!(nginx, [HostPorts::One(5173), HostPorts::One(80)]);
    let backend = &project.services["backend"];
    assert_eq!(backend.environment["ENVIRONMENT"], "development");
    assert_eq!(backend.environment["API_PORT"], "8000");
    assert_eq!(backend.build.as_ref().unwrap().context, Path::new("/shop/backend"));
    assert_eq!(backend.build.as_ref().unwrap().dockerfile, Path::new("/shop/backend/Dockerfile"));
    assert_eq!(backend.image.familiar(), "shop-backend:latest");
    assert_eq!(backend.restart, RestartPolicy::UnlessStopped);
    assert_eq!(backend.depends_on["database"].condition, DependencyCondition::Started);
    assert_eq!(project.networks["orchestrator-network"].name, "shop_orchestrator-network");
    assert_eq!(project.volumes["postgres_dev_data"].name, "shop_postgres_dev_data");
    assert!(project.services["frontend"].tty);
    let warnings = show(&loaded.warnings);
    assert_eq!(warnings.matches("`version` is obsolete").count(), 1, "{warnings}");
}

#[test]
fn the_requirements_production_files_load() {
    let project = literal("prod").project;
    let database = &project.services["database"];
    assert_eq!(database.secrets[0].target, "/run/secrets/postgres_password");
    assert_eq!(database.resources.memory, Some(2 << 30));
    assert_eq!(database.resources.millicpus, Some(1000));
    assert_eq!(database.environment["POSTGRES_DB"], "orchestrator_prod");
    assert_eq!(database.environment["POSTGRES_PASSWORD"], "postgres");
    let targets: Vec<_> = database.mounts.iter().map(|mount| mount.target.as_str()).collect();
    assert_eq!(targets, ["/var/lib/postgresql/data", "/docker-entrypoint-initdb.d/init.sql"]);
    assert!(matches!(&database.mounts[0].source,
        MountSource::Volume { key, .. } if key == "postgres_prod_data"));
    assert_eq!(project.services.len(), 6);
}

#[test]
fn the_reference_stack_loads_in_every_environment() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../stacks/databricks_orchestrator");
    let directory = directory.canonicalize().unwrap();
    let environments = discover(&directory, None, &Disk).unwrap().environments;
    assert!(environments.contains(&"dev".to_owned()), "{environments:?}");
    for environment in &environments {
        let found = discover(&directory, Some(environment), &Disk).unwrap();
        let request = LoadRequest {
            files: found.files,
            project_directory: found.directory,
            environment: combine_environment(&IndexMap::new(), &found.env_files, &Disk).unwrap(),
            environment_name: Some(environment.clone()),
            ..LoadRequest::default()
        };
        let loaded =
            load(&request, &Disk).unwrap_or_else(|errors| panic!("{environment}: {}", show(&errors)));
        assert!(loaded.project.services.contains_key("backend"));
        assert!(loaded.project.name.ends_with(&format!("-{environment}")), "{}", loaded.project.name);
    }
}

#[test]
fn short_and_long_forms_are_read() {
    let text = r#"
name: shop
services:
  api:
    image: ghcr.io/x/api:1
    command: gunicorn -b "0.0.0.0:80" app
    entrypoint: []
    user: 1000:1000
    init: true
    read_only: yes
    cap_add: [CAP_NET_ADMIN]
    cap_drop: [all]
    security_opt: ["no-new-privileges:true", seccomp=unconfined]
    ports:
      - target: 80
        published: "8080-8081"
        host_ip: 127.0.0.1
        protocol: udp
    volumes:
      - type: bind
        source: ./conf
        target: /conf
        read_only: true
        bind: {create_host_path: false}
      - type: volume
        source: data
        target: /data
        volume: {nocopy: true}
      - {type: tmpfs, target: /t, tmpfs: {size: 1m, mode: 01777}}
      - /anonymous
    tmpfs: /run:size=64k,mode=755
    networks:
      front: {aliases: [api.local], ipv4_address: 172.28.0.5}
      back:
    depends_on:
      db: {condition: service_healthy, restart: true}
      migrate: {condition: service_completed_successfully}
      cache: {condition: service_started, required: false}
    healthcheck:
      test: [CMD, curl, -f, http://localhost/]
      interval: 1m30s
      timeout: 500ms
      start_period: 10s
      retries: 5
    deploy:
      replicas: 2
      resources: {limits: {cpus: 1.5, memory: 1g, pids: 100}, reservations: {memory: 256m, cpus: '0.25'}}
      restart_policy: {condition: on-failure, max_attempts: 3}
    secrets: [{source: token, target: api_token, uid: "10", gid: "11", mode: 0400}]
    configs: [app.conf, {source: inline, target: /etc/inline}]
    ulimits: {nofile: {soft: 10, hard: -1}, nproc: 5}
    sysctls: [net.core.somaxconn=1024]
    shm_size: 256mb
    stop_signal: SIGQUIT
    stop_grace_period: 1m
    labels: [a=b, c]
    extra_hosts: ["host:host-gateway", "v6=[::1]"]
    dns: 1.1.1.1
    logging: {driver: local, options: {max-size: 1m, max-file: "2"}}
    x-coracle: {optional: true}
  db: {image: "postgres:15"}
  migrate: {build: ./migrate}
  debug: {image: busybox, profiles: [debug]}
networks:
  front: {internal: true, ipam: {config: [{subnet: 172.28.0.0/16, gateway: 172.28.0.1}]}}
  back: {external: true, name: shared}
volumes:
  data:
  kept: {external: true}
secrets:
  token: {file: ./token.txt}
configs:
  app.conf: {file: app.conf}
  inline: {content: "a=1"}
"#;
    insta::assert_debug_snapshot!(loaded(text).project);
}

#[test]
fn profiles_include_services() {
    let text = "services:\n  a: {image: a}\n  b: {image: b, profiles: [debug]}\n";
    let names = |profiles: &[&str], environment: &[(&str, &str)]| {
        let mut request = request(&["/shop/compose.yml"]);
        request.profiles = profiles.iter().map(|name| (*name).to_owned()).collect();
        request.environment =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let loaded = load(&request, &Files::new(&[("/shop/compose.yml", text)])).unwrap();
        loaded.project.services.keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(names(&[], &[]), ["a"]);
    assert_eq!(names(&["debug"], &[]), ["a", "b"]);
    assert_eq!(names(&["*"], &[]), ["a", "b"]);
    assert_eq!(names(&[], &[("COMPOSE_PROFILES", "x, debug")]), ["a", "b"]);
}

#[test]
fn project_names() {
    let name = |text: &str, explicit: Option<&str>, environment: Option<&str>, variable: Option<&str>| {
        let mut request = request(&["/My Shop/compose.yml"]);
        request.project_directory = "/My Shop".into();
        request.project_name = explicit.map(str::to_owned);
        request.environment_name = environment.map(str::to_owned);
        request
            .environment
            .extend(variable.map(|value| ("COMPOSE_PROJECT_NAME".to_owned(), value.to_owned())));
        let text = format!("{text}\nservices: {{a: {{image: a, labels: {{p: $COMPOSE_PROJECT_NAME}}}}}}");
        let loaded = load(&request, &Files::new(&[("/My Shop/compose.yml", &text)])).unwrap();
        assert_eq!(loaded.project.services["a"].labels["p"], loaded.project.name);
        loaded.project.name
    };
    assert_eq!(name("", None, None, None), "myshop");
    assert_eq!(name("", None, Some("dev"), None), "myshop-dev");
    assert_eq!(name("name: shop", None, Some("dev"), None), "shop-dev");
    assert_eq!(name("name: shop", Some("mine"), Some("dev"), None), "mine");
    assert_eq!(name("name: shop", None, Some("dev"), Some("theirs")), "theirs");
}

#[test]
fn environment_comes_from_files_then_the_service() {
    let text = "services:\n  a:\n    image: a\n    env_file: [one.env, {path: none.env, required: false}]\n    \
                environment: {B: own, C: , D: , E: '${GIVEN}'}\n";
    let files = Files::new(&[
        ("/shop/compose.yml", text),
        ("/shop/one.env", "A=file\nB=file\nD=file\nF=${GIVEN}x\n"),
    ]);
    let mut request = request(&["/shop/compose.yml"]);
    request
        .environment
        .extend([("C", "shell"), ("GIVEN", "given")].map(|(a, b)| (a.to_owned(), b.to_owned())));
    let loaded = load(&request, &files).unwrap();
    let environment: Vec<String> = loaded.project.services["a"]
        .environment
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let mut sorted = environment;
    sorted.sort();
    assert_eq!(sorted, ["A=file", "B=own", "C=shell", "E=given", "F=givenx"]);
}

#[test]
fn values_know_their_place() {
    let loaded = literal("dev");
    let span = loaded.span_of(&["services", "backend", "environment", "DEBUG"]).unwrap();
    assert_eq!(span.to_string(), "/shop/docker-compose.dev.yml:15:9");
    let span = loaded.span_of(&["services", "nginx", "image"]).unwrap();
    assert_eq!(span.to_string(), "/shop/docker-compose.yml:53:5");
    assert_eq!(loaded.span_of(&["services", "nothing"]), None);
}

#[test]
fn what_authors_get_wrong() {
    let cases = [
        (
            "unknown keys",
            "services:\n  web:\n    image: nginx\n    prots: ['80:80']\n    zzz: 1\nservces: {}\n",
        ),
        (
            "wrong shapes",
            "services:\n  web:\n    image: [nginx]\n    ports: 80\n    environment: 5\n    healthcheck: x\n",
        ),
        ("services as list", "services:\n  - web\n"),
        ("no services", "volumes:\n  a:\n"),
        ("not a mapping", "- a\n- b\n"),
        ("syntax", "services:\n  web:\n   image: a\n  b: [1\n"),
        ("tab", "services:\n\tweb:\n"),
        ("neither image nor build", "services:\n  web:\n    ports: ['80']\n"),
        (
            "bad values",
            "services:\n  web:\n    image: Nginx\n    restart: sometimes\n    mem_limit: 1x\n    stop_grace_period: 10\n    ports: ['80:80:80:80', '99999']\n    init: maybe\n",
        ),
        ("required variable", "services:\n  web:\n    image: \"nginx:${TAG:?say which}\"\n    user: $1\n"),
        (
            "undefined references",
            "services:\n  web:\n    image: a\n    depends_on: [bd, gone]\n    networks: [frnt]\n    volumes: ['data:/d']\n    secrets: [token]\n  db: {image: a}\nnetworks: {front: }\n",
        ),
        (
            "circle",
            "services:\n  a: {image: a, depends_on: [b]}\n  b: {image: a, depends_on: [c]}\n  c: {image: a, depends_on: [a]}\n",
        ),
        (
            "inactive dependency",
            "services:\n  a: {image: a, depends_on: [b]}\n  b: {image: a, profiles: [debug]}\n",
        ),
        ("extends and include", "include: [other.yml]\nservices:\n  a: {image: a, extends: {service: b}}\n"),
        (
            "not honoured",
            "services:\n  a:\n    image: a\n    gpus: all\n    deploy: {placement: {constraints: [x]}}\n",
        ),
        ("undefined variable", "services:\n  a:\n    image: \"x${TAG}\"\n    user: $TAG\n"),
        (
            "limits differ",
            "services:\n  a:\n    image: a\n    mem_limit: 1g\n    deploy: {resources: {limits: {memory: 2g}}}\n",
        ),
        ("one name for two", "services:\n  a: {image: a, container_name: xy, scale: 2}\n"),
        ("missing env file", "services:\n  a:\n    image: a\n    env_file: gone.env\n"),
        ("secret without source", "services:\n  a: {image: a}\nsecrets:\n  s: {name: x}\n"),
        ("mode and networks", "services:\n  a: {image: a, network_mode: host, networks: [x]}\n"),
        ("shared network", "services:\n  a: {image: a, network_mode: 'service:b'}\n"),
        (
            "modes and addresses",
            "services:\n  a:\n    image: a\n    ipc: open\n    pid: 'container:'\n    uts: 'service:b'\n    cgroup: x\n    mac_address: '01:00'\n    security_opt: [secomp=x, 'seccomp=gone.json']\n",
        ),
        (
            "near condition",
            "services:\n  a: {image: a, depends_on: {b: {condition: healthy}}}\n  b: {image: b}\n",
        ),
        ("health list", "services:\n  a: {image: a, healthcheck: {test: [curl, x]}}\n"),
        (
            "mount",
            "services:\n  a: {image: a, volumes: ['./x:y', 'aa:bb:cc:dd', {type: bind, target: /x}]}\n",
        ),
        ("own extension", "services:\n  a: {image: a, x-coracle: {optinal: true}}\n"),
    ];
    let mut text = String::new();
    for (name, case) in cases {
        write!(text, "== {name}\n{}", errors(case)).unwrap();
    }
    insta::assert_snapshot!(text);
}

#[test]
fn environment_files_are_checked() {
    let error = |text: &str| {
        let files = Files::new(&[("/shop/.env", text)]);
        show(&[combine_environment(&IndexMap::new(), &["/shop/.env".into()], &files).unwrap_err()])
    };
    insta::assert_snapshot!(error("A=1\nPASSWORD=\"secret\n"), @r#"Error /shop/.env:2:10: the value of `PASSWORD` has no closing " [env-file-syntax]"#);
    insta::assert_snapshot!(error("OK=1\nnot an assignment\n"), @"
    Error /shop/.env:2:5: expected `=` after `not` [env-file-syntax]
      hint: a name cannot hold blanks
    ");
}

#[test]
fn the_process_environment_wins() {
    let files = Files::new(&[("/e", "A=file\nB=file\nC=$A\n")]);
    let process = IndexMap::from([("A".to_owned(), "process".to_owned())]);
    let environment = combine_environment(&process, &["/e".into()], &files).unwrap();
    assert_eq!(environment["A"], "process");
    assert_eq!(environment["B"], "file");
    assert_eq!(environment["C"], "process");
}

#[test]
fn files_are_discovered() {
    let files = Files::new(&[
        ("/shop/docker-compose.yml", ""),
        ("/shop/docker-compose.dev.yml", ""),
        ("/shop/compose.prod.yaml", ""),
        ("/shop/.env", ""),
        ("/shop/.env.dev", ""),
        ("/shop/.env.staging", ""),
        ("/shop/.env.example", ""),
        ("/plain/compose.yaml", ""),
        ("/plain/compose.override.yaml", ""),
    ]);
    let show_found =
        |start: &str, environment: Option<&str>| match discover(Path::new(start), environment, &files) {
            Err(error) => show(&error),
            Ok(found) => {
                let paths = |paths: &[PathBuf]| {
                    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ")
                };
                format!(
                    "{} | {} | {}",
                    paths(&found.files),
                    paths(&found.env_files),
                    found.environments.join(",")
                )
            }
        };
    let table = [
        ("/shop", None, "/shop/docker-compose.yml | /shop/.env | dev,prod,staging"),
        (
            "/shop/deep/er",
            Some("dev"),
            "/shop/docker-compose.yml /shop/docker-compose.dev.yml | /shop/.env.dev | dev,prod,staging",
        ),
        (
            "/shop",
            Some("prod"),
            "/shop/docker-compose.yml /shop/compose.prod.yaml | /shop/.env | dev,prod,staging",
        ),
        ("/shop", Some("staging"), "/shop/docker-compose.yml | /shop/.env.staging | dev,prod,staging"),
        ("/plain", None, "/plain/compose.yaml /plain/compose.override.yaml |  | "),
    ];
    for (start, environment, expected) in table {
        assert_eq!(show_found(start, environment), expected, "{start} {environment:?}");
    }
    insta::assert_snapshot!(show_found("/shop", Some("stagin")), @"
    Error unknown environment `stagin` [unknown-environment]
      note: neither docker-compose.stagin.yml nor .env.stagin nor env/stagin.env is in /shop
      note: environments here: dev, prod, staging
      hint: did you mean `staging`?
    ");
    insta::assert_snapshot!(show_found("/empty/dir", None), @"
    Error no compose file in /empty/dir or above it [no-compose-file]
      note: looked for docker-compose.yml, docker-compose.yaml, compose.yml or compose.yaml in /empty/dir, /empty, /
      hint: go to the project's directory, or name the file with `-f FILE`
    ");
}
