//! `coracle build --why` and `coracle graph build` from the command line.

mod support;

use std::fs;
use std::path::Path;

use serde_json::Value;
use support::{Outcome, coracle, ready, unique};

fn write(directory: &Path, name: &str, text: &str) {
    let path = directory.join(name);
    fs::create_dir_all(path.parent().expect("a file has a parent")).expect("a directory can be made");
    fs::write(path, text).expect("a file can be written");
}

#[track_caller]
fn build(directory: &Path, words: &[&str]) -> Outcome {
    coracle(["build", "--progress", "plain", "--network", "none"])
        .args(words)
        .args(["."])
        .dir(directory)
        .run()
        .ok()
}

/// Returns state and causes of the steps, by what their names hold.
fn step<'v>(explained: &'v Value, text: &str) -> (&'v str, Vec<&'v str>) {
    let steps = explained["platforms"][0]["steps"].as_array().expect("steps");
    let found = steps.iter().find(|step| step["name"].as_str().is_some_and(|name| name.contains(text)));
    let found = found.unwrap_or_else(|| panic!("no step `{text}` in {explained:#}"));
    let kinds = found["causes"].as_array().expect("causes").iter().filter_map(|cause| cause["kind"].as_str());
    (found["state"].as_str().expect("a state"), kinds.collect())
}

#[test]
fn a_build_says_why_and_a_dry_run_builds_nothing() {
    if !ready() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    let salt = unique("why");
    let text = format!(
        "FROM scratch AS files\nCOPY kept.txt /{salt}\nCOPY src /src\nFROM scratch\nCOPY --from=files /src /out\n\
         FROM scratch AS unused\nCOPY kept.txt /x\n"
    );
    write(at, "Dockerfile", &text);
    for (name, text) in
        [("kept.txt", "k"), ("src/a", "1"), ("src/b", "1"), ("big/c", "ccc"), ("x.log", "log")]
    {
        write(at, name, text);
    }
    write(at, ".dockerignore", "*.log\n");
    let words = ["--target", "1", "--why", "--format", "json"];
    let read = |outcome: &Outcome| -> Value { serde_json::from_str(&outcome.stdout).expect("it is JSON") };
    let first = read(&build(at, &words));
    assert_eq!(step(&first, "COPY kept.txt"), ("made", vec!["never-built"]));
    assert!(first["image"].as_str().is_some_and(|id| id.starts_with("sha256:")), "{first:#}");

    write(at, "src/a", "2");
    let dry = read(&build(at, &[&words[..], &["--dry-run"]].concat()));
    assert_eq!(step(&dry, "COPY kept.txt"), ("cached", vec![]));
    assert_eq!(step(&dry, "COPY src"), ("would", vec!["file"]));
    assert_eq!(step(&dry, "COPY --from=files").0, "maybe");
    let context = &dry["context"];
    assert_eq!((&context["hidden"]["files"], &context["lines"][0]["line"]), (&1.into(), &"*.log".into()));
    assert_eq!(context["hints"], serde_json::json!(["big"]), "{context:#}");

    // The dry run built nothing: the build has the same to say, and names the file.
    let built = build(at, &["--target", "1"]);
    let line = built.stderr.lines().find(|line| line.contains(" WHY src/a changed: "));
    assert!(line.is_some(), "{built}");
    let image = built.stdout.trim().to_owned();
    let known = read(&build(at, &words));
    assert_eq!(step(&known, "COPY src"), ("cached", vec![]));

    let picture = coracle(["graph", "build", "--target", "1", "."]).dir(at).run().ok().stdout;
    assert!(picture.starts_with("<svg") && picture.contains("not needed"), "{picture}");
    let chart = coracle(["graph", "build", "--target", "1", "--format", "mermaid", "."]).dir(at).run().ok();
    assert!(chart.stdout.contains("✔ COPY src /src"), "{chart}");

    for id in [image.as_str(), first["image"].as_str().expect("an id")] {
        coracle(["rmi", id]).quietly();
    }
}

#[test]
fn a_stage_to_filter_is_checked() {
    if !ready() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    write(directory.path(), "Dockerfile", "FROM scratch AS builder\nCOPY Dockerfile /\n");
    let refused = coracle(["build", "--no-cache-filter", "biulder", "."]).dir(directory.path()).run();
    refused.refuses(1, &["there is no stage `biulder` to filter", "--no-cache-filter builder"]);
}
