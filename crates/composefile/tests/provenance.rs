//! Where values come from, which way they took, and what they beat.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use coracle_composefile::{
    EnvFileRole, LayerRole, LoadRequest, Loaded, Loader, Outcome, Refused, Tag, ValueKind, VariableOrigin,
    Way, combine_environment_with_origins, load, load_with_provenance,
};
use indexmap::IndexMap;

/// Files in memory, in `/shop`.
struct Files(Vec<(&'static str, String)>);

impl Loader for Files {
    fn read(&self, path: &Path) -> io::Result<String> {
        let name = path.strip_prefix("/shop").unwrap_or(path);
        let found = self.0.iter().find(|(known, _)| Path::new(known) == name);
        found.map(|(_, text)| text.clone()).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn exists(&self, path: &Path) -> bool {
        self.read(path).is_ok()
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Ok(self.0.iter().map(|(name, _)| (*name).to_owned()).collect())
    }
}

fn try_load(
    files: &[&str],
    env_files: &[&str],
    process: &[(&str, &str)],
    texts: &[(&'static str, &str)],
) -> Result<Loaded, Refused> {
    let loader = Files(texts.iter().map(|(name, text)| (*name, (*text).to_owned())).collect());
    let process: IndexMap<String, String> =
        process.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let at = |name: &&str| PathBuf::from("/shop").join(name);
    let env_files: Vec<PathBuf> = env_files.iter().map(at).collect();
    let (environment, variables) =
        combine_environment_with_origins(&process, &env_files, &loader).expect("the env files are good");
    let request = LoadRequest {
        files: files.iter().map(at).collect(),
        project_directory: "/shop".into(),
        environment,
        profiles: vec!["*".to_owned()],
        ..LoadRequest::default()
    };
    load_with_provenance(&request, variables, &loader)
}

fn loaded(
    files: &[&str],
    env_files: &[&str],
    process: &[(&str, &str)],
    texts: &[(&'static str, &str)],
) -> Loaded {
    try_load(files, env_files, process, texts).unwrap_or_else(|refused| panic!("{:?}", refused.diagnostics))
}

/// Tells a value's story in lines.
fn story(loaded: &Loaded, path: &str) -> String {
    let path: Vec<&str> = path.split('.').collect();
    let Some(provenance) = loaded.provenance(&path) else { return "nothing\n".to_owned() };
    let short = |text: String| text.replace("/shop/", "");
    let mut out = provenance.shown.clone();
    if let Some(written) = provenance.written {
        let _ = write!(out, " from `{written}`");
    }
    out.push('\n');
    let way = |way: &Way| match way {
        Way::File { at } => format!("at {at}"),
        Way::EnvFile { at, named } => format!("at {at} named at {named}"),
        Way::Caller { at } => format!("caller's, named at {at}"),
        Way::Implied { by } => format!("implied at {by}"),
        Way::Extends { service, at } => format!("extends {service} at {at}"),
        Way::Include { at } => format!("include at {at}"),
    };
    let ways = |ways: &[Way]| ways.iter().map(way).collect::<Vec<_>>().join(", ");
    let _ = writeln!(out, "  {}", ways(&provenance.how));
    for used in &provenance.uses {
        let outcome = match &used.outcome {
            Outcome::Value { value, origin } => format!("`{value}` {}", origin_of(origin)),
            Outcome::Default => format!("default `{}`", used.word),
            Outcome::Alternative { origin } => format!("alternative `{}` {}", used.word, origin_of(origin)),
            Outcome::Nothing => "nothing".to_owned(),
        };
        let _ = write!(out, "  {}{} at {}: {outcome}", used.name, used.operator.as_str(), used.span);
        for shadowed in &used.shadowed {
            let _ = write!(out, ", not `{}` of {}", shadowed.value.as_deref().unwrap_or(""), shadowed.span);
        }
        out.push('\n');
    }
    for beaten in &provenance.beaten {
        let (shown, reason) = (&beaten.shown, beaten.reason);
        let _ = writeln!(out, "  beat {shown} {} {reason:?}", ways(&beaten.how));
    }
    short(out)
}

fn origin_of(origin: &VariableOrigin) -> String {
    match origin {
        VariableOrigin::Process => "of the process".to_owned(),
        VariableOrigin::File(span) => format!("of {span}"),
        VariableOrigin::ProjectName => "of the project".to_owned(),
    }
}

#[test]
fn later_files_beat_earlier_ones() {
    let base = "services:\n  web:\n    image: a:1\n    command: [run, it]\n    environment:\n      A: 1\n      B: base\n    \
        ports: ['80:80']\n    logging: {driver: local, options: {max-size: 1m}}\n    depends_on: [db]\n  db: {image: db}\n";
    let middle = "services:\n  web:\n    environment: [A=2, C=3]\n";
    let last = "services:\n  web:\n    image: a:3\n    command: run that\n    environment: {A: 3}\n    \
        ports: ['80:80', '81:81']\n    logging: {driver: json-file}\n    depends_on: {db: {condition: service_healthy}}\n";
    let all = loaded(
        &["a.yml", "b.yml", "c.yml"],
        &[],
        &[],
        &[("a.yml", base), ("b.yml", middle), ("c.yml", last)],
    );
    let table = [
        ("image", "a:3\n  at c.yml:3:12\n  beat a:1 at a.yml:3:12 EarlierFile\n"),
        ("command", "run that\n  at c.yml:4:14\n  beat [run, it] at a.yml:4:14 EarlierFile\n"),
        (
            "environment.A",
            "3\n  at c.yml:5:22\n  beat A=2 at b.yml:3:19 EarlierFile\n  beat A=1 at a.yml:6:10 EarlierFile\n",
        ),
        ("environment.B", "base\n  at a.yml:7:10\n"),
        ("environment.C", "3\n  at b.yml:3:24\n"),
        ("ports.1.published", "81\n  at c.yml:6:22\n"),
        ("logging.driver", "json-file\n  at c.yml:7:23\n"),
        (
            "depends_on.db.condition",
            "service_healthy\n  at c.yml:8:34\n  beat service_started implied at a.yml:10:18 EarlierFile\n",
        ),
        ("depends_on.db.required", "true\n  implied at a.yml:10:18\n"),
        ("nothing.here", "nothing\n"),
    ];
    for (path, expected) in table {
        assert_eq!(story(&all, &format!("services.web.{path}")), expected, "{path}");
    }
    let logging = story(&all, "services.web.logging");
    assert!(logging.contains("beat {driver: local, options: {max-size: 1m}} at a.yml:9:14"), "{logging}");
}

#[test]
fn variables_say_where_they_come_from() {
    let file = "services:\n  web:\n    image: $A:${B:-2}${C-${D}}\n    environment:\n      - E=x${A:+y}\n      - F\n      \
        - G=${NONE}\n    labels:\n      L: \"${B:-${A}}\"\n  two: {image: i, environment: {F: , H: }}\n";
    let env = "A=old\nB=\nA=new\nURL=\"db://${A}\"\n";
    let over = "export F=five # comment\n";
    let all = loaded(
        &["c.yml"],
        &[".env", ".env.dev"],
        &[("C", "shell"), ("F", "shell")],
        &[("c.yml", file), (".env", env), (".env.dev", over)],
    );
    let table = [
        (
            "services.web.image",
            "new:2shell from `$A:${B:-2}${C-${D}}`\n  at c.yml:3:12\n  A at c.yml:3:12: `new` of .env:3:1, not `old` of \
             .env:1:1\n  B:- at c.yml:3:15: default `2`\n  C- at c.yml:3:22: `shell` of the process\n",
        ),
        (
            "services.web.environment.E",
            "xy from `E=x${A:+y}`\n  at c.yml:5:9\n  A:+ at c.yml:5:12: alternative `y` of .env:3:1, not `old` of .env:1:1\n",
        ),
        (
            "services.web.environment.F",
            "shell from `F`\n  caller's, named at c.yml:6:9\n  F at c.yml:6:9: `shell` of the process, not `five` of .env.dev:1:8\n",
        ),
        ("services.web.environment.G", " from `G=${NONE}`\n  at c.yml:7:9\n  NONE at c.yml:7:11: nothing\n"),
        (
            "services.web.labels.L",
            "new from `${B:-${A}}`\n  at c.yml:9:10\n  B:- at c.yml:9:11: default `${A}`\n  A at c.yml:9:16: `new` of \
             .env:3:1, not `old` of .env:1:1\n",
        ),
        (
            "services.two.environment.F",
            "shell from `F`\n  caller's, named at c.yml:10:34\n  F at c.yml:10:34: `shell` of the process, not `five` of \
             .env.dev:1:8\n",
        ),
        ("services.two.environment.H", "null\n  at c.yml:10:39\n"),
    ];
    for (path, expected) in table {
        assert_eq!(story(&all, path), expected, "{path}");
    }
    let references = all.layers().next().unwrap().references();
    let names: Vec<_> = references.iter().map(|found| (found.name.as_str(), found.nested)).collect();
    let expected = [("A", false), ("B", false), ("C", false), ("D", true), ("A", false), ("NONE", false)];
    assert_eq!(names, [&expected[..], &[("B", false), ("A", true)]].concat());
    let files = all.written().env_files();
    assert_eq!(files.len(), 2);
    let url = &files[0].variables[3];
    assert_eq!((url.name.as_str(), url.value.as_deref()), ("URL", Some("db://new")));
    assert_eq!((url.span.to_string().as_str(), url.span.end.column), ("/shop/.env:4:1", 16));
    assert_eq!(url.references[0].name, "A");
    assert_eq!(all.written().source_line(&url.span).as_deref(), Some("URL=..."));
}

#[test]
fn services_come_by_extends() {
    let base =
        "services:\n  old: {image: old, user: me, labels: {a: 1, b: 1}}\n  mid: {extends: old, image: mid}\n";
    let file = "services:\n  web:\n    extends: {file: base.yml, service: mid}\n    labels: {b: 2}\n";
    let over = "services:\n  web: {image: new}\n";
    let all = loaded(&["c.yml", "o.yml"], &[], &[], &[("c.yml", file), ("base.yml", base), ("o.yml", over)]);
    let table = [
        (
            "image",
            "new\n  at o.yml:2:16\n  beat mid at base.yml:3:30, extends mid at c.yml:3:14 EarlierFile\n  beat old at \
             base.yml:2:16, extends old at base.yml:3:18 ExtendedService\n",
        ),
        ("user", "me\n  at base.yml:2:27, extends old at base.yml:3:18, extends mid at c.yml:3:14\n"),
        ("labels.a", "1\n  at base.yml:2:43, extends old at base.yml:3:18, extends mid at c.yml:3:14\n"),
        (
            "labels.b",
            "2\n  at c.yml:4:17\n  beat b=1 at base.yml:2:49, extends old at base.yml:3:18, extends mid at c.yml:3:14 \
             ExtendedService\n",
        ),
    ];
    for (path, expected) in table {
        assert_eq!(story(&all, &format!("services.web.{path}")), expected, "{path}");
    }
    let layers: Vec<_> = all.layers().map(|layer| (layer.path().to_owned(), layer.role())).collect();
    let [(_, LayerRole::Given), (_, LayerRole::Given), (path, LayerRole::Extended { at })] =
        layers.as_slice()
    else {
        panic!("{layers:?}")
    };
    assert_eq!((path.as_path(), at.to_string().as_str()), (Path::new("/shop/base.yml"), "/shop/c.yml:3:21"));
}

#[test]
fn files_are_included_with_variables_of_their_own() {
    let file = "include:\n  - path: sub/c.yml\n    env_file: sub.env\nservices: {web: {image: w}}\n";
    let sub = "services:\n  db: {image: \"db:${TAG}${ALL}\"}\n";
    let texts = [("c.yml", file), ("sub/c.yml", sub), ("sub.env", "TAG=7\nALL=not\n"), (".env", "ALL=all\n")];
    let all = loaded(&["c.yml"], &[".env"], &[], &texts);
    assert_eq!(
        story(&all, "services.db.image"),
        "db:7all from `db:${TAG}${ALL}`\n  at sub/c.yml:2:15, include at c.yml:2:5\n  TAG at sub/c.yml:2:19: `7` of \
         sub.env:1:1\n  ALL at sub/c.yml:2:25: `all` of .env:1:1\n"
    );
    let roles: Vec<_> = all.written().env_files().iter().map(|file| file.role.clone()).collect();
    assert!(
        matches!(roles.as_slice(), [EnvFileRole::Interpolation, EnvFileRole::Include { .. }]),
        "{roles:?}"
    );
}

#[test]
fn env_files_are_beaten_by_environment() {
    let file = "services:\n  web:\n    image: w\n    env_file:\n      - one.env\n      - {path: two.env, format: raw}\n      \
        - {path: none.env, required: false}\n    environment:\n      A: own\n      E: \n";
    let texts =
        [("c.yml", file), ("one.env", "A=1\nB=1\n\nC='x'\nD=${B}-${X}\nE=1\n"), ("two.env", "#\nB=$2\n")];
    let all = loaded(&["c.yml"], &[], &[("X", "9")], &texts);
    let table = [
        ("A", "own\n  at c.yml:9:10\n  beat 1 at one.env:1:1 named at c.yml:5:9 EnvFile\n"),
        (
            "B",
            "$2\n  at two.env:2:1 named at c.yml:6:9\n  beat 1 at one.env:2:1 named at c.yml:5:9 EarlierFile\n",
        ),
        ("C", "x\n  at one.env:4:1 named at c.yml:5:9\n"),
        (
            "D",
            "1-9 from `${B}-${X}`\n  at one.env:5:1 named at c.yml:5:9\n  B at one.env:5:1: `1` of one.env:2:1\n  X at \
             one.env:5:1: `9` of the process\n",
        ),
        ("E", "null\n  at c.yml:10:8\n  beat 1 at one.env:6:1 named at c.yml:5:9 EnvFile\n"),
    ];
    for (name, expected) in table {
        assert_eq!(story(&all, &format!("services.web.environment.{name}")), expected, "{name}");
    }
    // What the tree says is what the containers get.
    let typed = &all.project.services["web"].environment;
    let tree = all.root().get(&["services", "web", "environment"]).unwrap();
    let shown: Vec<_> = tree.entries().filter_map(|(name, value)| Some((name, value.text()?))).collect();
    let mut typed: Vec<_> = typed.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    typed.sort_unstable();
    let mut shown = shown;
    shown.sort_unstable();
    assert_eq!(shown, typed);
}

#[test]
fn tags_take_away_what_was_before() {
    let base = "services:\n  web: {image: w, ports: ['80:80'], user: me, labels: {a: 1}}\n";
    let over = "services:\n  web:\n    ports: !override ['90:90']\n    user: !reset null\n    labels: {a: !reset }\n";
    let all = loaded(&["a.yml", "b.yml"], &[], &[], &[("a.yml", base), ("b.yml", over)]);
    let ports = story(&all, "services.web.ports");
    assert!(ports.ends_with("  at b.yml:3:12\n  beat [{mode: ingress, target: 80, published: 80, protocol: tcp}] at a.yml:2:26 Override\n"), "{ports}");
    let removed = all.removed();
    let shown: Vec<_> =
        removed.iter().map(|removed| (removed.path.join("."), removed.shown.as_str())).collect();
    assert_eq!(shown, [("services.web.user".to_owned(), "me"), ("services.web.labels.a".to_owned(), "1")]);
    assert_eq!(removed[0].at.to_string(), "/shop/b.yml:4:11");
    let over = all.layers().nth(1).unwrap().root().unwrap();
    assert_eq!(over.get(&["services", "web", "ports"]).unwrap().tag(), Some(Tag::Override));
}

#[test]
fn keys_beat_merge_keys() {
    let file = "x-a: &a {image: a, user: me}\nservices:\n  web:\n    <<: *a\n    image: b\n";
    let all = loaded(&["c.yml"], &[], &[], &[("c.yml", file)]);
    assert_eq!(story(&all, "services.web.image"), "b\n  at c.yml:5:12\n  beat a at c.yml:1:17 MergeKey\n");
    assert_eq!(story(&all, "services.web.user"), "me\n  at c.yml:1:26\n");
}

#[test]
fn the_name_says_where_it_comes_from() {
    let file = "name: shop\nservices: {web: {image: \"w:${COMPOSE_PROJECT_NAME}\"}}\n";
    let texts = [("c.yml", file), (".env", "COMPOSE_PROJECT_NAME=other\n")];
    let own = loaded(&["c.yml"], &[], &[], &texts);
    assert_eq!(story(&own, "name"), "shop\n  at c.yml:1:7\n");
    assert!(story(&own, "services.web.image").ends_with("`shop` of the project\n"));
    let other = loaded(&["c.yml"], &[".env"], &[], &texts);
    assert!(
        story(&other, "name")
            .starts_with("other from `COMPOSE_PROJECT_NAME`\n  caller's, named at .env:1:1\n"),
        "{}",
        story(&other, "name")
    );
    assert!(story(&other, "name").ends_with("  beat shop at c.yml:1:7 ProjectName\n"));
}

#[test]
fn views_have_kinds() {
    let file = "services:\n  web:\n    image: w\n    init: true\n    cpus: 1.5\n    scale: 2\n    user: \"7\"\n    tty: true\n    \
        command: [a, \"b,c\"]\n";
    let all = loaded(&["c.yml"], &[], &[], &[("c.yml", file)]);
    let layer = all.layers().next().unwrap();
    assert_eq!(layer.text(), file);
    let web = layer.root().unwrap().get(&["services", "web"]).unwrap();
    let kinds: Vec<_> = web.entries().map(|(key, value)| (key, value.kind())).collect();
    let expected = [
        ("image", ValueKind::Text),
        ("init", ValueKind::Boolean),
        ("cpus", ValueKind::Float),
        ("scale", ValueKind::Integer),
        ("user", ValueKind::Text),
        ("tty", ValueKind::Boolean),
        ("command", ValueKind::List),
    ];
    assert_eq!(kinds, expected);
    assert_eq!(web.get(&["user"]).unwrap().integer(), Some(7));
    assert_eq!(web.get(&["command"]).unwrap().shown(), "[a, \"b,c\"]");
    assert_eq!(web.get(&["command", "1"]).unwrap().span().to_string(), "/shop/c.yml:9:18");
    assert_eq!(web.get(&["init"]).unwrap().source_line().as_deref(), Some("    init: true"));
    assert_eq!(web.kind(), ValueKind::Mapping);
}

#[test]
fn a_refused_project_still_has_its_files() {
    let file = "services:\n  web: {image: w, volumes: {a: b}}\n";
    let refused = try_load(&["c.yml"], &[], &[], &[("c.yml", file)]).unwrap_err();
    assert!(!refused.diagnostics.is_empty());
    let layer = refused.written.layers().next().unwrap();
    assert_eq!(layer.root().unwrap().get(&["services", "web", "image"]).unwrap().text(), Some("w"));
}

#[test]
fn without_being_asked_only_places_are_known() {
    let file = "services:\n  web: {image: \"w:${A:-1}\"}\n";
    let request = LoadRequest {
        files: vec!["/shop/c.yml".into()],
        project_directory: "/shop".into(),
        ..LoadRequest::default()
    };
    let plain = load(&request, &Files(vec![("c.yml", file.to_owned())])).unwrap();
    assert_eq!(story(&plain, "services.web.image"), "w:1\n  at c.yml:2:16\n");
    assert_eq!(plain.layers().count(), 0);
}
