//! Which files an environment is made of, paths of values, and what two environments have different.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use coracle_composefile::{
    LoadRequest, Loaded, Loader, ValuePath, VariableSources, difference, discover, leaves,
    load_with_provenance,
};

/// Files in memory.
struct Files(Vec<(PathBuf, String)>);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        Self(files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect())
    }
}

impl Loader for Files {
    fn read(&self, path: &Path) -> io::Result<String> {
        let found = self.0.iter().find(|(known, _)| known == path);
        found.map(|(_, text)| text.clone()).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn exists(&self, path: &Path) -> bool {
        self.0.iter().any(|(known, _)| known == path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let children = self.0.iter().filter(|(file, _)| file.parent() == Some(path));
        Ok(children.filter_map(|(file, _)| Some(file.file_name()?.to_str()?.to_owned())).collect())
    }
}

fn found(files: &Files, start: &str, environment: Option<&str>) -> String {
    match discover(Path::new(start), environment, files) {
        Err(faults) => {
            let lines: Vec<String> =
                faults.iter().map(|fault| format!("{fault}\n{:?}", fault.hints)).collect();
            lines.join("\n")
        }
        Ok(found) => {
            let names = |paths: &[PathBuf]| {
                let names = paths.iter().map(|path| path.display().to_string().replace("/shop/", ""));
                names.collect::<Vec<_>>().join(" ")
            };
            let marks = if found.production { "production" } else { "" };
            format!(
                "{} | {} | {} | {} | {} | {marks}",
                found.directory.display(),
                names(&found.files),
                names(&found.env_files),
                found.profiles.join(","),
                found.environments.join(","),
            )
        }
    }
}

#[test]
fn the_directory_env_holds_variables() {
    let files = Files::new(&[
        ("/shop/compose.yml", ""),
        ("/shop/compose.dev.yml", ""),
        ("/shop/env/dev.env", ""),
        ("/shop/env/qa.env", ""),
        ("/shop/env/prod.env", ""),
        ("/shop/.env.prod", ""),
        ("/shop/env/README.md", ""),
    ]);
    let table = [
        (None, "/shop | compose.yml |  |  | dev,prod,qa | "),
        (Some("dev"), "/shop | compose.yml compose.dev.yml | env/dev.env |  | dev,prod,qa | "),
        (Some("qa"), "/shop | compose.yml | env/qa.env |  | dev,prod,qa | "),
        (Some("prod"), "/shop | compose.yml | .env.prod |  | dev,prod,qa | production"),
    ];
    for (environment, expected) in table {
        assert_eq!(found(&files, "/shop", environment), expected, "{environment:?}");
    }
}

#[test]
fn settings_name_other_files() {
    let settings = "[project]\nfiles = [\"deploy/compose.yml\"]\n\n[environments.live]\nfiles = [\"deploy/live.yml\"]\n\
                    env_files = [\"a.env\", \"b.env\"]\nprofiles = [\"metrics\"]\nproduction = true\n\n\
                    [environments.prod]\nproduction = false\n";
    let files = Files::new(&[
        ("/shop/coracle.toml", settings),
        ("/shop/deploy/compose.yml", ""),
        ("/shop/deploy/compose.dev.yml", ""),
        ("/shop/deploy/compose.override.yml", ""),
        ("/shop/deploy/live.yml", ""),
        ("/shop/.env.dev", ""),
        ("/shop/.env", ""),
        ("/shop/a.env", ""),
        ("/shop/b.env", ""),
    ]);
    let table = [
        ("/shop", None, "/shop/deploy | deploy/compose.yml | .env |  | dev,live,prod | "),
        (
            "/shop/src",
            Some("dev"),
            "/shop/deploy | deploy/compose.yml deploy/compose.dev.yml | .env.dev |  | dev,live,prod | ",
        ),
        (
            "/shop/deploy",
            Some("live"),
            "/shop/deploy | deploy/compose.yml deploy/live.yml | a.env b.env | metrics | dev,live,prod | production",
        ),
        ("/shop", Some("prod"), "/shop/deploy | deploy/compose.yml | .env |  | dev,live,prod | "),
    ];
    for (start, environment, expected) in table {
        assert_eq!(found(&files, start, environment), expected, "{start} {environment:?}");
    }
    insta::assert_snapshot!(found(&files, "/shop", Some("lice")), @r#"
    unknown environment `lice`
    [Hint("did you mean `live`?")]
    "#);
}

#[test]
fn settings_say_where_paths_start() {
    let settings = "[project]\nfiles = [\"deploy/compose.yml\"]\ndirectory = \".\"\n";
    let files = Files::new(&[("/shop/coracle.toml", settings), ("/shop/deploy/compose.yml", "")]);
    assert_eq!(found(&files, "/shop", None), "/shop | deploy/compose.yml |  |  |  | ");
}

#[test]
fn faulty_settings_have_places() {
    let of = |settings: &str| {
        let files = Files::new(&[("/shop/coracle.toml", settings), ("/shop/compose.yml", "")]);
        found(&files, "/shop", Some("a"))
    };
    insta::assert_snapshot!(of("[project]\nfils = []\n[environments.a]\nenv_file = []\n"), @r#"
    /shop/coracle.toml:4:1: unknown key `env_file` in [environments.a]
    [Hint("did you mean `env_files`?")]
    /shop/coracle.toml:2:1: unknown key `fils` in [project]
    [Hint("did you mean `files`?")]
    "#);
    insta::assert_snapshot!(of("[environments.a]\nfiles = [\"none.yml\"]\n"), @r#"
    /shop/coracle.toml:2:10: none.yml does not exist
    [Hint("paths start at /shop")]
    "#);
}

fn loaded(files: &[(&str, &str)]) -> Loaded {
    let request = LoadRequest {
        files: files.iter().map(|(path, _)| PathBuf::from(path)).collect(),
        project_directory: "/shop".into(),
        project_name: Some("shop".to_owned()),
        ..LoadRequest::default()
    };
    load_with_provenance(&request, VariableSources::default(), &Files::new(files))
        .unwrap_or_else(|refused| panic!("{:?}", refused.diagnostics))
}

fn differences(left: &str, right: &str) -> String {
    let (left, right) = (loaded(&[("/shop/l.yml", left)]), loaded(&[("/shop/r.yml", right)]));
    let mut out = String::new();
    for found in difference(&left, &right) {
        let side = |side: &Option<coracle_composefile::Side<'_>>| {
            side.as_ref()
                .map_or_else(|| "-".to_owned(), |side| format!("{} at {}", side.shown, side.value.span()))
        };
        let _ = writeln!(out, "{}: {} / {}", found.path, side(&found.left), side(&found.right));
    }
    out.replace("/shop/", "")
}

#[test]
fn equal_projects_have_no_differences() {
    let one = "services:\n  a: {image: a, ports: ['80:80'], depends_on: [b], environment: [A=1], cap_add: [X, Y]}\n  b: {image: b}\n";
    let other = "services:\n  b: {image: b}\n  a:\n    image: a\n    ports: [{target: 80, published: \"80\"}]\n    depends_on: \
                 {b: {condition: service_started}}\n    environment: {A: 1}\n    cap_add: [Y, X]\n";
    assert_eq!(differences(one, other), "");
}

#[test]
fn differences_are_told_value_by_value() {
    let left = "x-a: 1\nservices:\n  a:\n    image: a:1\n    command: [run, --slow]\n    ports: ['80:80', '443:443']\n    \
                volumes: ['./x:/x', 'data:/data']\n    environment: {A: 1, B: 2}\n    depends_on: [b]\n    cap_add: [X]\n  b: \
                {image: b}\nvolumes: {data: }\n";
    let right = "x-a: 2\nservices:\n  a:\n    image: a:2\n    command: [run]\n    ports: ['8080:80', '53:53/udp']\n    \
                 volumes: ['./x:/x:ro']\n    environment: {A: 1, C: 3}\n    cap_add: [X, Y]\n    deploy: {replicas: 2}\n";
    insta::assert_snapshot!(differences(left, right));
}

#[test]
fn paths_lead_to_values() {
    let file = "services:\n  a:\n    image: i\n    ports: ['80:80', '127.0.0.1:81:80']\n    labels: {traefik.enable: yes}\n    \
                volumes: ['./x:/x']\n    command: [run, it]\n";
    let loaded = loaded(&[("/shop/c.yml", file)]);
    let find = |text: &str| -> String {
        let path: ValuePath = text.parse().expect("a path");
        match path.find(loaded.root()) {
            Ok((view, path)) => format!("{path} = {}", view.shown()),
            Err(missing) => {
                let near = missing.near.as_ref().map(ToString::to_string);
                format!("{missing}; {}", near.unwrap_or_else(|| missing.known.join(" ")))
            }
        }
    };
    let table = [
        ("services.a.image", "services.a.image = i"),
        ("a.image", "services.a.image = i"),
        ("a.labels.traefik.enable", "services.a.labels.\"traefik.enable\" = yes"),
        ("services.a.labels.\"traefik.enable\"", "services.a.labels.\"traefik.enable\" = yes"),
        ("a.command.1", "services.a.command[1] = it"),
        ("a.volumes[/x].type", "services.a.volumes[/x].type = bind"),
        ("a.ports.0.published", "services.a.ports[80:80].published = 80"),
        ("a.ports[127.0.0.1:81:80].host_ip", "services.a.ports[127.0.0.1:81:80].host_ip = 127.0.0.1"),
        ("services.a.imag", "services.a has no `imag`; services.a.image"),
        ("a.lables.traefik.enable", "services.a has no `lables`; services.a.labels.traefik.enable"),
        ("a.command.7", "services.a.command has no `7`; 0 1"),
        ("serwices.a", "the project has no `serwices`; services.a"),
        ("zzz", "the project has no `zzz`; name services"),
    ];
    for (path, expected) in table {
        assert_eq!(find(path), expected, "{path}");
    }
    let path: ValuePath = "services.a".parse().expect("a path");
    let (view, path) = path.find(loaded.root()).expect("it is there");
    let shown: Vec<String> =
        leaves(&path, view).iter().map(|leaf| format!("{} = {}", leaf.path.skip(2), leaf.shown)).collect();
    assert_eq!(
        shown,
        [
            "image = i",
            "ports[80:80] = 80:80",
            "ports[127.0.0.1:81:80] = 127.0.0.1:81:80",
            "labels.\"traefik.enable\" = yes",
            "volumes[/x] = /shop/x:/x",
            "command = [run, it]"
        ]
    );
}
