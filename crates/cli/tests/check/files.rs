//! Files that are checked alone.

use std::fmt::Write as _;
use std::fs;

use serde_json::Value;

use crate::{check, directory};

const FAULTY: &str = "FROM busybox:1.36 as base\nCMD [\"true\"]\n";
const FINE: &str = "FROM busybox:1.36 AS base\nCMD [\"true\"]\n";

#[test]
fn a_thousand_files_are_answered_in_their_order() {
    let root = directory(&[]);
    let mut names = Vec::new();
    for number in 0..1000 {
        let name = format!("f{number:04}.Dockerfile");
        fs::write(root.path().join(&name), if number % 10 == 3 { FAULTY } else { FINE }).expect("writable");
        names.push(name);
    }
    names.reverse();
    let words: Vec<&str> = names.iter().map(String::as_str).chain(["--format", "json"]).collect();
    let found: Value = serde_json::from_str(&check(root.path(), &words).run().ok().stdout).expect("JSON");
    let files: Vec<&str> = found["findings"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|one| one["rule"] == "FromAsCasing")
        .filter_map(|one| one["file"].as_str())
        .collect();
    let wanted: Vec<String> = (0..1000)
        .rev()
        .filter(|number| number % 10 == 3)
        .map(|number| format!("f{number:04}.Dockerfile"))
        .collect();
    assert_eq!(files, wanted);
}

#[test]
fn a_directory_means_the_dockerfiles_in_it() {
    let root = directory(&[
        ("a/Dockerfile", FAULTY),
        ("a/Dockerfile.dockerignore", "x\n"),
        ("b/api.dockerfile", FAULTY),
        ("b/node_modules/x/Dockerfile", FAULTY),
        ("c/readme.md", "x\n"),
    ]);
    let said = check(root.path(), &[".", "--format", "github"]).run().ok();
    let files: Vec<&str> = said
        .stdout
        .lines()
        .filter(|line| line.contains("FromAsCasing"))
        .filter_map(|line| line.split("file=").nth(1)?.split(',').next())
        .collect();
    assert_eq!(files, ["a/Dockerfile", "b/api.dockerfile"]);
    check(root.path(), &["c"]).run().refuses(1, &["there is no Dockerfile in c or below it"]);
}

#[test]
fn what_is_no_dockerfile_is_an_error() {
    let root = directory(&[("Dockerfile", "FROM scratch\nCPOY a b\n"), ("ok", FINE)]);
    let said = check(root.path(), &["ok", "Dockerfile"]).run().ended(1);
    assert!(
        said.stdout.contains("error: unknown instruction `CPOY`\n --> Dockerfile:2:1\n"),
        "{}",
        said.stdout
    );
    assert!(said.stderr.contains("1 error"), "{}", said.stderr);
    let program = root.path().join("binary");
    fs::write(&program, [0x7f, b'E', 0xff, 0]).expect("writable");
    let said = check(root.path(), &["binary"]).run().ended(1);
    assert!(said.stdout.contains("it is not UTF-8 text"), "{}", said.stdout);
    fs::write(&program, vec![b'#'; (1 << 20) + 1]).expect("writable");
    let said = check(root.path(), &["binary"]).run().ended(1);
    assert!(said.stdout.contains("it is larger than 1 MiB"), "{}", said.stdout);
    check(root.path(), &["missing"]).run().refuses(1, &["`missing` is no file"]);
}

#[test]
fn standard_input_is_a_file_too() {
    let root = directory(&[]);
    let said = check(root.path(), &["-"]).input(FAULTY).run().ok();
    assert!(said.stdout.contains(" --> -:1:19\n"), "{}", said.stdout);
    assert!(said.stdout.contains("FROM busybox:1.36 as base"), "{}", said.stdout);
    check(root.path(), &["-"]).input([0xff, 0xfe]).run().refuses(1, &["is not UTF-8 text"]);
}

#[test]
fn a_compose_file_alone_is_a_project() {
    let root = directory(&[("stack.yml", crate::COMPOSE)]);
    let said = check(root.path(), &["stack.yml"]).run().ok();
    assert!(said.stdout.contains("stack.yml:2:1"), "{}", said.stdout);
    assert!(!said.stdout.contains("CpusetAboveMachine"), "the machine is nothing to a file alone");
}

#[test]
fn comments_allow_and_are_counted() {
    let mut text = String::from("# coracle: allow(FromAsCasing) old habit\n");
    let _ = write!(text, "{FAULTY}");
    let root = directory(&[("Dockerfile", &text)]);
    let said = check(root.path(), &["Dockerfile"]).run().ok();
    assert!(!said.stdout.contains("FromAsCasing"), "{}", said.stdout);
    assert!(said.stderr.contains("1 allowed by comments"), "{}", said.stderr);
}
