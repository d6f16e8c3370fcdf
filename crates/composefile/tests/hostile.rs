//! Files made to do harm come to a clear error, within bounded work and memory.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use coracle_composefile::{LoadRequest, Loader, load};

/// Files by name; what is not there is made by `other`.
struct Files(fn(&str) -> Option<String>);

impl Loader for Files {
    fn read(&self, path: &Path) -> io::Result<String> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        (self.0)(name).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such file"))
    }

    fn exists(&self, path: &Path) -> bool {
        self.read(path).is_ok()
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }
}

/// Loads `compose.yml` and returns the messages of the errors.
fn errors(files: fn(&str) -> Option<String>) -> Vec<String> {
    let request = LoadRequest {
        files: vec![PathBuf::from("/shop/compose.yml")],
        project_directory: "/shop".into(),
        ..LoadRequest::default()
    };
    match load(&request, &Files(files)) {
        Ok(loaded) => vec![format!("no error: {} services", loaded.project.services.len())],
        Err(errors) => errors.iter().map(|error| error.message.clone()).collect(),
    }
}

fn refused(files: fn(&str) -> Option<String>, expected: &str) {
    let errors = errors(files);
    assert!(errors.iter().any(|error| error.contains(expected)), "{expected}: {errors:?}");
}

#[test]
fn a_billion_laughs_are_few() {
    fn file(_: &str) -> Option<String> {
        let mut text = "x-a0: &a0 [lol]\n".to_owned();
        for level in 1..12 {
            let _ =
                writeln!(text, "x-a{level}: &a{level} [{}]", vec![format!("*a{}", level - 1); 10].join(", "));
        }
        Some(text)
    }
    refused(file, "aliases expand to more than");
}

#[test]
fn anchors_within_anchors_are_counted() {
    fn file(_: &str) -> Option<String> {
        let open: String = (0..60).map(|level| format!("&a{level} [")).collect::<Vec<_>>().concat();
        Some(format!("x: {open}{}{}", "1,".repeat(50_000), "]".repeat(60)))
    }
    refused(file, "aliases expand to more than");
}

#[test]
fn nesting_is_bounded() {
    refused(|_| Some(format!("x: {}", "[".repeat(100_000))), "recursion limit");
    refused(
        |_| Some((0..2000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect::<Vec<_>>().concat()),
        "nested more than",
    );
}

#[test]
fn circles_are_found() {
    let twice = |name: &str| match name {
        "compose.yml" => {
            Some("services: {a: {extends: {service: b}}, b: {extends: {service: a}}}".to_owned())
        }
        _ => None,
    };
    refused(twice, "extend one another in a circle: a -> b -> a");
    let files = |name: &str| match name {
        "compose.yml" => Some("services: {a: {extends: {file: other.yml, service: a}}}".to_owned()),
        "other.yml" => Some("services: {a: {extends: {file: compose.yml, service: a}}}".to_owned()),
        _ => None,
    };
    refused(files, "extend one another in a circle");
    let include = |name: &str| match name {
        "compose.yml" => Some("include: [other.yml]".to_owned()),
        "other.yml" => Some("include: [compose.yml]".to_owned()),
        _ => None,
    };
    refused(include, "include one another in a circle");
    let depends = |_: &str| {
        Some("services: {a: {image: a, depends_on: [b]}, b: {image: b, depends_on: [a]}}".to_owned())
    };
    refused(depends, "in a circle");
}

#[test]
fn chains_of_extends_are_bounded() {
    fn file(_: &str) -> Option<String> {
        let mut text = "services:\n  s0: {image: a}\n".to_owned();
        for index in 1..20_000 {
            let _ = writeln!(text, "  s{index}: {{extends: s{}}}", index - 1);
        }
        Some(text)
    }
    // The services stand in order, each made whole before the next: the chain is never longer than one.
    assert_eq!(errors(file), ["no error: 20000 services"]);
    fn backwards(_: &str) -> Option<String> {
        let mut text = "services:\n".to_owned();
        for index in 1..20_000 {
            let _ = writeln!(text, "  s{index}: {{extends: s{}}}", index + 1);
        }
        Some(text + "  s20000: {image: a}\n")
    }
    refused(backwards, "more than 100 others");
}

#[test]
fn copies_by_extends_are_counted() {
    fn file(_: &str) -> Option<String> {
        let labels: String = (0..20_000).map(|index| format!("l{index}: x, ")).collect::<Vec<_>>().concat();
        let mut text = format!("services:\n  base: {{image: a, labels: {{{labels}}}}}\n");
        for index in 0..2000 {
            let _ = writeln!(text, "  s{index}: {{extends: base}}");
        }
        Some(text)
    }
    refused(file, "come to more than");
}

#[test]
fn files_that_include_two_each_are_counted() {
    fn file(name: &str) -> Option<String> {
        let level: usize = name.trim_end_matches(".yml").trim_start_matches('f').parse().unwrap_or_default();
        if level > 30 {
            return Some("services: {a: {image: a}}".to_owned());
        }
        let next = format!("f{}.yml", level + 1);
        Some(format!("include: [{next}, {next}]\nservices: {{a: {{image: a}}}}\n"))
    }
    refused(file, "more than 500 files");
    fn chain(name: &str) -> Option<String> {
        let level: usize = name.trim_end_matches(".yml").trim_start_matches('f').parse().unwrap_or_default();
        Some(format!("include: [f{}.yml]\n", level + 1))
    }
    refused(chain, "more than 50 deep");
}

#[test]
fn variables_that_hold_one_another_are_bounded() {
    let value = "x".repeat(1 << 20);
    let text = format!("services: {{a: {{image: a, user: \"{}\"}}}}", "$A".repeat(1000));
    struct One(String);
    impl Loader for One {
        fn read(&self, _: &Path) -> io::Result<String> {
            Ok(self.0.clone())
        }
        fn exists(&self, _: &Path) -> bool {
            true
        }
        fn list(&self, _: &Path) -> io::Result<Vec<String>> {
            Ok(Vec::new())
        }
    }
    let request = LoadRequest {
        files: vec!["/shop/compose.yml".into()],
        project_directory: "/shop".into(),
        environment: [("A".to_owned(), value)].into_iter().collect(),
        ..LoadRequest::default()
    };
    let errors = load(&request, &One(text)).expect_err("it grows without bound");
    assert!(errors[0].message.contains("longer than 8 MiB"), "{}", errors[0].message);
}

#[test]
fn keys_are_given_once() {
    refused(|_| Some("services: {a: {image: a, image: b}}".to_owned()), "key `image` is given twice");
}
