//! `coracle bake`: definitions from files, what is printed, and images that are built together.

#![allow(clippy::unwrap_used, clippy::needless_raw_string_hashes, reason = "a test fails by panicking")]

mod support;

use std::fs;

use support::{coracle, ready};

const DEFINITION: &str = r#"
group "default" { targets = ["one", "two"] }
variable "TEXT" { default = "hello" }
target "base" {
  context = "."
  dockerfile-inline = "FROM scratch\nARG NAME\nCOPY file.txt /file\nLABEL name=$NAME text=${TEXT}\n"
}
target "one" {
  inherits = ["base"]
  args = { NAME = "one" }
  tags = ["bake-test-one"]
}
target "two" {
  inherits = ["base"]
  args = { NAME = "two" }
}
target "bad" { dockerfile-inline = "FROM scratch\nCOPY missing /\n" }
"#;

#[test]
fn targets_are_printed_built_and_refused() {
    if !ready() {
        return;
    }
    let world = tempfile::tempdir_in("/var/tmp").unwrap();
    let context = world.path().join("context");
    fs::create_dir(&context).unwrap();
    fs::write(context.join("file.txt"), "content").unwrap();
    fs::write(context.join("docker-bake.hcl"), DEFINITION).unwrap();
    let root = world.path().to_str().unwrap();
    let (data, run) = (format!("{root}/data"), format!("{root}/run"));
    let bake = |words: &[&str]| {
        let all: Vec<&str> = std::iter::once("bake").chain(words.iter().copied()).collect();
        coracle(&all).dir(&context).env("CORACLE_DATA_ROOT", &data).env("CORACLE_RUN_ROOT", &run).run()
    };
    let printed = bake(&["--print", "one", "--set", "one.args.NAME=x"]);
    assert!(printed.stdout.contains("\"NAME\": \"x\""), "{printed:?}");
    let built = bake(&["--metadata-file", "meta.json"]);
    let lines: Vec<&str> = built.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{built:?}");
    assert!(lines[0].starts_with("one  sha256:") && lines[1].starts_with("two  sha256:"), "{built:?}");
    let metadata = fs::read_to_string(context.join("meta.json")).unwrap();
    assert!(metadata.contains("bake-test-one"), "{metadata}");
    let failed = bake(&["bad"]);
    assert!(failed.stderr.contains("while building target `bad`"), "{failed:?}");
    let unknown = bake(&["onee"]);
    assert!(unknown.stderr.contains("did you mean `one`?"), "{unknown:?}");
    let listed = bake(&["--list=variables"]);
    assert!(listed.stdout.contains("TEXT"), "{listed:?}");
}
