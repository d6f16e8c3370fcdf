//! What buildx 0.29 prints of the files in `print/` (`docker buildx bake --print`), and that the same is printed here.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use coracle_bakefile::{Input, World, load};
use serde_json::Value;

fn printed(file: &str, text: &str, asked: &[&str], set: &[&str]) -> Value {
    let world = World {
        environment: std::collections::BTreeMap::new(),
        platform: "linux/amd64".to_owned(),
        home: "/root".to_owned(),
        now: "2026-01-31T12:00:00Z".parse().unwrap(),
    };
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let definition = load(&[Input { name: file.into(), text: text.to_owned() }], &world);
    let definition = definition.unwrap_or_else(|error| panic!("{file}: {error}"));
    definition.select(&owned(asked), &owned(set)).unwrap_or_else(|error| panic!("{file}: {error}")).to_json()
}

/// A file's name and text, what is printed of it, what is asked for, and overrides.
type Case = (&'static str, &'static str, &'static str, &'static [&'static str], &'static [&'static str]);

macro_rules! cases {
    ($(($file:literal, $expected:literal, $asked:expr, $set:expr)),* $(,)?) => {
        [$(($file, include_str!(concat!("print/", $file)), include_str!(concat!("print/", $expected)), $asked, $set)),*]
    };
}

#[test]
fn what_buildx_prints_is_printed() {
    const OVERRIDES: &[&str] =
        &["*.platform=linux/arm64", "a.args.A=2", "b.tags+=z", "a.tags=p", "a.tags=q", "*.push=true"];
    let cases: [Case; 13] = cases![
        ("contexts.hcl", "contexts.json", &[], &[]),
        ("escapes.bake.json", "escapes.json", &[], &[]),
        ("funcs.hcl", "funcs.json", &[], &[]),
        ("groups.hcl", "groups.json", &[], &[]),
        ("inherit.hcl", "inherit.json", &[], &[]),
        ("matrix.hcl", "matrix.json", &[], &[]),
        ("order.hcl", "order.json", &[], &[]),
        ("outputs.hcl", "outputs.json", &["a"], &[]),
        ("overr.hcl", "overr.json", &[], &[]),
        ("overr.hcl", "overr.set.json", &[], OVERRIDES),
        ("refs.hcl", "refs.json", &[], &[]),
        ("secrets.hcl", "secrets.json", &[], &[]),
        ("types.hcl", "types.json", &[], &[]),
    ];
    for (file, text, expected, asked, set) in cases {
        let expected: Value = serde_json::from_str(expected).unwrap();
        let found = printed(file, text, asked, set);
        assert_eq!(found, expected, "{file}\n{found:#}");
    }
}
