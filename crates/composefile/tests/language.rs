//! `extends`, `include` and their kin as the engine sees them: the typed project, with places.

use std::io;
use std::path::{Path, PathBuf};

use coracle_composefile::{LoadRequest, Loaded, Loader, MountSource, load};
use indexmap::IndexMap;

struct Files(IndexMap<PathBuf, &'static str>);

impl Loader for Files {
    fn read(&self, path: &Path) -> io::Result<String> {
        let text = self.0.get(path).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such file"))?;
        Ok((*text).to_owned())
    }

    fn exists(&self, path: &Path) -> bool {
        self.0.contains_key(path)
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }
}

fn loaded(files: &[(&str, &'static str)]) -> Loaded {
    let request = LoadRequest {
        files: vec![PathBuf::from("/shop/compose.yml")],
        project_directory: "/shop".into(),
        ..LoadRequest::default()
    };
    let files = Files(files.iter().map(|(path, text)| (PathBuf::from(path), *text)).collect());
    load(&request, &files).unwrap_or_else(|errors| panic!("{errors:?}"))
}

#[test]
fn a_service_extends_one_of_another_file() {
    let loaded = loaded(&[
        (
            "/shop/compose.yml",
            "services:\n  web:\n    extends: {file: base/b.yml, service: base}\n    user: me\n",
        ),
        (
            "/shop/base/b.yml",
            "services:\n  base:\n    build: ctx\n    volumes: ['./d:/d']\n    environment: {A: a}\n",
        ),
    ]);
    let web = &loaded.project.services["web"];
    assert_eq!(web.user.as_deref(), Some("me"));
    assert_eq!(web.build.as_ref().unwrap().context, Path::new("/shop/base/ctx"));
    assert!(matches!(&web.mounts[0].source,
        MountSource::Bind { path, create_host_path: true, .. } if path == Path::new("/shop/base/d")));
    let span = loaded.span_of(&["services", "web", "environment", "A"]).unwrap();
    assert_eq!(span.to_string(), "/shop/base/b.yml:5:19");
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
}

#[test]
fn what_is_included_has_its_own_directory_and_variables() {
    let loaded = loaded(&[
        ("/shop/compose.yml", "include: [sub/compose.yml]\nservices:\n  web: {image: a, depends_on: [db]}\n"),
        (
            "/shop/sub/compose.yml",
            "services:\n  db: {image: 'db:${T}', volumes: ['./d:/d', 'data:/v']}\nvolumes: {data: }\n",
        ),
        ("/shop/sub/.env", "T=1\n"),
    ]);
    let db = &loaded.project.services["db"];
    assert_eq!(db.image.familiar(), "db:1");
    assert!(
        matches!(&db.mounts[0].source, MountSource::Bind { path, .. } if path == Path::new("/shop/sub/d"))
    );
    assert_eq!(loaded.project.volumes["data"].name, "shop_data");
}

#[test]
fn short_forms_bring_no_warnings() {
    let loaded = loaded(&[
        (
            "/shop/compose.yml",
            "services:\n  web:\n    image: a\n    ports: ['80', '127.0.0.1:8080:80/udp']\n    devices: [/dev/null]\n    \
             volumes: ['vol:/v:ro']\n    env_file: a.env\n    label_file: l.env\n    cpus: '0.5'\n    dns: 1.1.1.1\n\
             volumes: {vol: }\n",
        ),
        ("/shop/a.env", "A=1\nB=$A\n"),
        ("/shop/l.env", "label=x\n"),
    ]);
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let web = &loaded.project.services["web"];
    assert_eq!((web.environment["B"].as_str(), web.labels["label"].as_str()), ("1", "x"));
    assert_eq!(web.resources.millicpus, Some(500));
    assert!(web.mounts[0].read_only);
}

fn load_text(text: &str) -> Result<coracle_composefile::Project, Vec<coracle_report::Diagnostic>> {
    let request = LoadRequest {
        files: vec![PathBuf::from("/shop/compose.yml")],
        project_directory: "/shop".into(),
        ..LoadRequest::default()
    };
    let text: &'static str = text.to_owned().leak();
    let files = Files(IndexMap::from([(PathBuf::from("/shop/compose.yml"), text)]));
    load(&request, &files).map(|loaded| loaded.project)
}

/// Docker Compose's parser lets what is in brackets begin anywhere, and editors write it so.
#[test]
fn brackets_may_close_under_their_key() {
    let text: &'static str = "services:\n  a:\n    image: x\n    command: [\n      \"serve\",\n  \"a b\",\n    ]\n    environment: {\n      A: \"1\",\n    }\n    labels: {B: \"2\", no: {}}\n";
    let fault = load_text(text).unwrap_err();
    // The line that was not moved and those that were keep their places.
    assert!(
        fault.iter().any(|fault| fault.span.as_ref().is_some_and(|span| span.start.line == 11)),
        "{fault:?}"
    );
    let project = load_text(&text.replace(", no: {}", "")).unwrap();
    let service = &project.services["a"];
    assert_eq!(service.command.as_deref().unwrap(), ["serve", "a b"]);
    assert_eq!(service.environment["A"], "1");
    let misplaced =
        load_text("services:\n  a:\n    image: x\n    command: [\n      \"serve\"\n    ]]\n").unwrap_err();
    let span = misplaced[0].span.as_ref().unwrap();
    assert_eq!((span.start.line, span.start.column), (6, 6), "{misplaced:?}");
}
