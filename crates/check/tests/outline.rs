//! Targets and outlines against the examples of the reference's sections on descriptions.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use coracle_check::{NoBases, Outline, Request, outline, targets};
use coracle_dockerfile::parse;
use coracle_oci::Platform;

const TEXT: &str = "\
ARG inherited=inherited0
# sfx is a suffix
ARG sfx=slim
ARG unused=1
FROM python:3-$sfx AS base
ARG foo=foo0
# inherited comes from above
ARG inherited
RUN --mount=type=secret,target=/etc/first,required --mount=type=ssh true

# target is what is built
FROM scratch AS target
# bar is what bar does
ARG bar=bar0$foo
COPY --from=base / /
RUN --mount=type=secret,id=second,env=X --mount=type=ssh,id=github,required true

FROM scratch
";

fn outline_of(target: Option<usize>, arguments: &[(&str, &str)]) -> Outline {
    let file = parse(Path::new("Dockerfile"), TEXT).expect("the file is well formed");
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let build_args: BTreeMap<String, String> = arguments.iter().map(owned).collect();
    outline(&Request {
        dockerfile: &file,
        build_args: &build_args,
        platform: &Platform::host(),
        target,
        ignore: None,
        contexts: &BTreeSet::new(),
        bases: &NoBases,
    })
}

#[test]
fn all_targets() {
    let file = parse(Path::new("Dockerfile"), TEXT).unwrap();
    let targets = targets(&file);
    let names: Vec<_> = targets.iter().map(|target| (target.name.as_deref(), target.default)).collect();
    assert_eq!(names, [(Some("base"), false), (Some("target"), false), (None, true)]);
    assert_eq!(targets[1].description.as_deref(), Some("is what is built"));
    assert_eq!(targets[0].base, "python:3-$sfx");
    assert_eq!(targets[1].lines, (12, 12));
}

#[test]
fn one_target_with_what_it_needs() {
    let outline = outline_of(Some(1), &[("foo", "given")]);
    assert_eq!(outline.name.as_deref(), Some("target"));
    assert_eq!(outline.description.as_deref(), Some("is what is built"));
    let arguments: Vec<_> = outline
        .arguments
        .iter()
        .map(|argument| (argument.name.as_str(), argument.value.as_deref(), argument.description.as_deref()))
        .collect();
    assert_eq!(
        arguments,
        [
            ("inherited", Some("inherited0"), None),
            ("sfx", Some("slim"), Some("is a suffix")),
            ("foo", Some("given"), None),
            ("bar", Some("bar0"), Some("is what bar does")),
        ]
    );
    let secrets: Vec<_> =
        outline.secrets.iter().map(|secret| (secret.name.as_str(), secret.required)).collect();
    assert_eq!(secrets, [("first", true), ("second", false)]);
    let ssh: Vec<_> = outline.ssh.iter().map(|agent| (agent.name.as_str(), agent.required)).collect();
    assert_eq!(ssh, [("default", false), ("github", true)]);
}

#[test]
fn a_target_that_needs_nothing() {
    assert_eq!(outline_of(None, &[]), Outline::default());
}
