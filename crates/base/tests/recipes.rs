//! The built-in recipes: which references they stand for, and what comes out for each.

use std::collections::BTreeMap;

use coracle_base::{Match, Recipes, Variant};
use coracle_oci::Reference;

fn find(text: &str) -> Option<Match> {
    Recipes::builtin().find(&text.parse::<Reference>().expect("a reference"))
}

/// Returns recipe, suite and the plan's distinguishing traits of each reference.
fn describe(text: &str) -> String {
    let Some(found) = find(text) else { return format!("{text}: none") };
    let plan = found.plan;
    let archives: Vec<String> =
        plan.archives.iter().map(|archive| format!(" {}@{}", archive.npm, archive.version)).collect();
    let alpine = plan.files.iter().any(|file| file.path == "/sbin/apk");
    let compiler = plan.packages.iter().any(|package| package == "build-essential");
    let users: Vec<String> = plan.users.iter().map(|user| format!(" {}={}", user.name, user.uid)).collect();
    format!(
        "{text}: {} on {}{}{}{}{}",
        plan.recipe,
        plan.suite,
        if alpine { " with apk" } else { "" },
        if compiler { " with a compiler" } else { "" },
        users.concat(),
        archives.concat()
    )
}

#[test]
fn references_find_their_recipe() {
    let lines: Vec<String> = [
        "python:3.11-slim",
        "python:3.11",
        "python:3.11.9-slim-bookworm",
        "python:3.13-alpine",
        "python:3.9-slim",
        "python",
        "node:18-alpine",
        "node:18.20.8-slim",
        "node:20",
        "node:22-bookworm-slim",
        "node:lts-alpine",
        "node:alpine",
        "node",
        "node:16",
        "nginx:alpine",
        "nginx:1.27",
        "nginx",
        "postgres:15-alpine",
        "postgres:15",
        "postgres:15.4-alpine3.18",
        "postgres:17",
        "postgres:9",
        "prom/prometheus:latest",
        "prom/prometheus:v2.45.0",
        "busybox",
        "busybox:1.36-musl",
        "alpine:3.20",
        "debian:bookworm-slim",
        "debian:12",
        "debian:buster",
        "ghcr.io/library/node:18",
        "registry.example/python:3.11-slim",
        "someone/node:18",
        "grafana/grafana:latest",
    ]
    .map(describe)
    .into();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn a_digest_has_no_stand_in() {
    let digest = "0".repeat(64);
    assert!(find(&format!("node:18@sha256:{digest}")).is_none());
    assert!(find(&format!("node@sha256:{digest}")).is_none());
}

#[test]
fn a_version_without_an_edition_says_so() {
    let recipes = Recipes::builtin();
    let error = recipes.resolve(&"node:16-alpine".parse().unwrap()).unwrap().unwrap_err();
    assert_eq!(error.to_string(), "recipe `node` has no edition for tag `16-alpine`");
}

#[test]
fn every_recipe_stands_for_its_own_reference() {
    for recipe in Recipes::builtin().iter() {
        let found = find(&recipe.reference).unwrap_or_else(|| panic!("{} finds nothing", recipe.reference));
        assert_eq!(found.plan.recipe, recipe.name);
        assert!(!recipe.summary.is_empty() && !recipe.summary.ends_with('.'), "{}", recipe.name);
    }
}

#[test]
fn equal_plans_share_a_key() {
    let key = |text: &str| find(text).unwrap().plan.key();
    assert_eq!(key("node:18-alpine"), key("node:18.20-alpine3.19"));
    assert_ne!(key("node:18-alpine"), key("node:18-slim"));
    assert_ne!(key("node:18-alpine"), key("node:20-alpine"));
    assert_eq!(key("busybox"), key("busybox:1.36"));
}

#[test]
fn captures_are_filled_in() {
    let found = find("postgres:15-alpine").unwrap();
    let unpack = found.plan.unpack.unwrap();
    assert!(unpack.packages.contains(&"postgresql-15".to_owned()), "{:?}", unpack.packages);
    assert_eq!(found.plan.image.env["PG_MAJOR"], "15");
    assert_eq!(found.plan.image.env["PG_VERSION"], "{version:postgresql-15}");
    assert_eq!(found.captures["tag"], "15-alpine");
}

#[test]
fn the_smallest_tree_needs_no_debian() {
    let plan = find("busybox").unwrap().plan;
    assert_eq!(plan.variant, Variant::None);
    assert!(plan.packages.is_empty());
}

/// Returns the message, with its causes, of parsing one recipe `x.toml`.
fn refusal(text: &str) -> String {
    let parts = "packages = [\"busybox\"]".to_owned();
    let files: BTreeMap<String, String> =
        [("x.toml".to_owned(), text.to_owned()), ("parts/small.toml".to_owned(), parts)].into();
    let error = Recipes::from_files(&files).expect_err("the recipe is faulty");
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

const HEAD: &str = "summary = \"x\"\nreference = \"x\"\nmatches = [\"docker.io/library/x:*\"]\n";

#[test]
fn faulty_recipes_are_refused() {
    let with_head = |rest: &str| refusal(&format!("{HEAD}{rest}"));
    let messages = [
        refusal("summary ="),
        refusal("matches = [\"a\"]"),
        refusal("summary = \"x\""),
        refusal("summary = \"x\"\nmatches = [\"a\"]"),
        refusal("summary = \"x\"\nreference = \"x\"\nmatches = [\"a:{b\"]"),
        with_head("sweet = \"bookworm\""),
        with_head("suite = \"Bookworm\""),
        with_head("variant = \"huge\""),
        with_head("packages = [\"a;b\"]"),
        with_head("parts = [\"large\"]"),
        with_head("when = { tag = \"*\" }"),
        with_head("[[edition]]\nsuite = \"bookworm\""),
        with_head("[[edition]]\nwhen = { major = \"1\" }"),
        with_head("[[file]]\npath = \"etc/x\"\ncontent = \"\""),
        with_head("[[file]]\npath = \"/etc/../../x\"\ncontent = \"\""),
        with_head("[[file]]\npath = \"/etc/x y\"\ncontent = \"\""),
        with_head("[[file]]\npath = \"/etc/x\""),
        with_head("[[file]]\npath = \"/etc/x\"\nsource = \"missing\""),
        with_head("[[file]]\npath = \"/etc/x\"\nmode = \"rwx\"\ncontent = \"\""),
        with_head("[[user]]\nname = \"a b\"\nuid = 1\ngid = 1\nhome = \"/\"\nshell = \"/bin/sh\""),
        with_head("[[archive]]\nnpm = \"a\"\nversion = \"1\"\nintegrity = \"sha512-x\"\ninto = \"/a\""),
        with_head("[image]\nenv = { \"A=B\" = \"c\" }"),
        with_head("[image]\nenv = { A = 1 }"),
    ];
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn an_unknown_capture_is_named() {
    let files: BTreeMap<String, String> =
        [("x.toml".to_owned(), format!("{HEAD}suite = \"bookworm\"\npackages = [\"x-{{major}}\"]"))].into();
    let recipes = Recipes::from_files(&files).unwrap();
    let error = recipes.resolve(&"x:1".parse().unwrap()).unwrap().unwrap_err();
    assert_eq!(error.to_string(), "recipe `x` uses `{major}`, which nothing captures");
}
