//! Any bytes are a project or a clear error: no panic, and errors have a place.

use std::io;
use std::path::Path;

use coracle_composefile::{Config, ConfigOptions, Format, LoadRequest, Loader, load, parse_env_file};
use coracle_testkit::{Fuzz, outcome};

/// One text under every name.
struct One(String);

impl Loader for One {
    fn read(&self, path: &Path) -> io::Result<String> {
        match path.extension() {
            Some(_) => Ok(self.0.clone()),
            None => Err(io::Error::new(io::ErrorKind::NotFound, "no such file")),
        }
    }

    fn exists(&self, path: &Path) -> bool {
        path.extension().is_some()
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }
}

#[test]
fn the_loader_takes_anything() {
    Fuzz::new("compose")
        .seed(include_str!("fixtures/docker-compose.yml"))
        .seed(include_str!("fixtures/docker-compose.prod.yml"))
        .seed("include: [a.yml]\nservices:\n  a: &a\n    extends: {file: b.yml, service: a}\n    ports: ['1-2:3-4']\n  b:\n    <<: *a\n    build: {context: ., args: [A=${B:-c}]}\n")
        .words([
            "services:\n", "  a:\n", "    image: ", "    extends: ", "    ports: [", "    volumes: [", "    environment:\n",
            "      A: ", "include: [", "!reset null", "!override ", "<<: *a", "&a ", "*a", "${", ":-", ":?", "}", "$$", "~",
            "    deploy: {replicas: 2}\n", "    build: .\n", "    ulimits: {a: 1}\n", "networks:\n", "    ipam: {config: [{subnet: x}]}\n",
            "    depends_on: [a]\n", "- ", ": ", "|\n", ">-\n", "\"", "'", "#", "\t", "---\n", "0x10", "1e9", "é", "\u{feff}",
        ])
        .run(|input| {
            let text = String::from_utf8_lossy(input).into_owned();
            let request = LoadRequest {
                files: vec!["/p/compose.yml".into()],
                project_directory: "/p".into(),
                environment: [("A".to_owned(), "$B".to_owned())].into_iter().collect(),
                ..LoadRequest::default()
            };
            let variables = parse_env_file(&text, &|_| None).map(|variables| variables.len());
            let files = One(text);
            let loaded = load(&request, &files).map(|loaded| loaded.project.services.len());
            let printed = Config::load(&request, ConfigOptions::default(), &[], &files)
                .and_then(|mut config| config.text(Format::Yaml).map(|text| text.len()));
            let plain = ConfigOptions { interpolate: false, ..ConfigOptions::default() };
            let raw = Config::load(&request, plain, &[], &files)
                .and_then(|mut config| config.text(Format::Json).map(|text| text.len()));
            outcome(format!("{} {} {} {}", variables.is_ok(), loaded.is_ok(), printed.is_ok(), raw.is_ok()))
        });
}
