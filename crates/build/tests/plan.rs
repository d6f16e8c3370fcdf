//! Planning: the graph and the configuration that a Dockerfile comes to.

#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use std::fmt::Write as _;
use std::path::Path;

use coracle_build::{
    BaseNeed, Bases, BuildGraph, BuildRequest, Op, Planned, ResolvedBase, SnapshotRef, plan,
};
use coracle_dockerfile::parse;
use coracle_oci::{Digest, ImageConfig};
use coracle_report::Diagnostic;
use proptest::prelude::*;

const EVERYTHING: &str = include_str!("fixtures/everything.Dockerfile");
const FIXTURES: [(&str, &str); 4] = [
    ("requirement-backend", include_str!("fixtures/requirement-backend.Dockerfile")),
    ("requirement-frontend", include_str!("fixtures/requirement-frontend.Dockerfile")),
    ("stack-backend", include_str!("fixtures/stack-backend.Dockerfile")),
    ("stack-frontend", include_str!("fixtures/stack-frontend.Dockerfile")),
];

fn request(text: &str) -> BuildRequest {
    BuildRequest::new(parse(Path::new("Dockerfile"), text).unwrap())
}

fn base(need: &BaseNeed) -> ResolvedBase {
    let mut config = ImageConfig::scratch();
    config.config.env = vec!["PATH=/usr/bin".to_owned()];
    config.config.cmd = Some(vec!["base-cmd".to_owned()]);
    config.rootfs.diff_ids.push(coracle_oci::DiffId::new(Digest::of("layer")));
    let key = Digest::of(need.reference.to_string());
    ResolvedBase { config, key, snapshot: Some(SnapshotRef::new(need.reference.familiar())) }
}

fn graph(request: &BuildRequest) -> Result<BuildGraph, Diagnostic> {
    let mut bases = Bases::default();
    for _ in 0..9 {
        match plan(request, &bases)? {
            Planned::Graph(graph) => return Ok(*graph),
            Planned::Needs(needs) => {
                assert!(!needs.is_empty());
                for need in needs {
                    let base = base(&need);
                    bases.insert(need, base);
                }
            }
        }
    }
    panic!("planning does not end")
}

fn outline(graph: &BuildGraph) -> String {
    let mut out = String::new();
    for (index, vertex) in graph.vertices.iter().enumerate() {
        let above =
            vertex.dependencies().iter().map(|id| id.index().to_string()).collect::<Vec<_>>().join(",");
        writeln!(out, "{index} <- {above}: {} @{}", vertex.name, vertex.span.start.line).expect("text");
        match &vertex.op {
            Op::Base { .. } => {}
            Op::Exec(exec) => writeln!(out, "    {exec:?}").expect("text"),
            Op::Copy(copy) => writeln!(out, "    {copy:?}").expect("text"),
            Op::Directory { path, owner } => writeln!(out, "    {path} {owner:?}").expect("text"),
        }
    }
    out
}

fn image(graph: &BuildGraph) -> String {
    let mut config = graph.image.config.clone();
    config.history = graph.image.history.iter().map(|planned| planned.entry.clone()).collect();
    // The host's architecture is not what is tested.
    "any".clone_into(&mut config.architecture);
    serde_json::to_string_pretty(&config).unwrap()
}

#[test]
fn every_instruction() {
    let graph = graph(&request(EVERYTHING)).unwrap();
    insta::assert_snapshot!("everything-graph", outline(&graph));
    insta::assert_snapshot!("everything-image", image(&graph));
}

#[test]
fn the_requirements_and_the_stacks_files() {
    for (name, text) in FIXTURES {
        let request = request(text);
        let graph = graph(&request).unwrap();
        let names: Vec<&str> = graph.vertices.iter().map(|vertex| vertex.name.as_str()).collect();
        insta::assert_snapshot!(format!("{name}-steps"), names.join("\n"));
        insta::assert_snapshot!(format!("{name}-image"), image(&graph));
    }
}

#[test]
fn all_bases_are_asked_for_at_once() {
    let text = "FROM a AS x\nCOPY --from=b /1 /1\nRUN --mount=from=c,target=/c true\nFROM d\nFROM x\n";
    let Planned::Needs(needs) = plan(&request(text), &Bases::default()).unwrap() else { panic!("needs") };
    let names: Vec<String> = needs.iter().map(|need| need.reference.familiar()).collect();
    assert_eq!(names, ["a:latest", "b:latest", "c:latest"]);
}

#[test]
fn global_arguments_reach_from_and_declared_stages() {
    let text = "ARG TAG=1\nARG IMAGE=base:$TAG\nFROM $IMAGE AS one\nARG TAG\nARG OTHER=${TAG}x\nLABEL t=$TAG o=$OTHER i=$IMAGE\n";
    let mut request = request(text);
    request.build_args.insert("TAG".to_owned(), "2".to_owned());
    let graph = graph(&request).unwrap();
    assert_eq!(graph.vertices[0].name, "[one 1/1] FROM base:2");
    let labels: Vec<_> = graph.image.config.config.labels.into_iter().collect();
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(labels, [pair("i", ""), pair("o", "2x"), pair("t", "2")]);
}

#[test]
fn platform_arguments_must_be_declared() {
    let text = "FROM --platform=$TARGETPLATFORM a\nENV A=$TARGETARCH\nARG TARGETARCH TARGETPLATFORM\nENV B=$TARGETARCH\nARG TARGETARCH\n";
    let mut request = request(text);
    request.platform = "linux/arm64".parse().unwrap();
    let Planned::Needs(needs) = plan(&request, &Bases::default()).unwrap() else { panic!("needs") };
    assert_eq!(needs[0].platform.to_string(), "linux/arm64");
    let env = graph(&request).unwrap().image.config.config.env;
    assert_eq!(env, ["PATH=/usr/bin", "A=", "B=arm64"]);
}

#[test]
fn one_env_sees_the_values_before_it() {
    let graph = graph(&request("FROM a\nENV X=1\nENV X=2 Y=$X\nARG X=3\nENV Z=$X\n")).unwrap();
    assert_eq!(graph.image.config.config.env, ["PATH=/usr/bin", "X=2", "Y=1", "Z=3"]);
}

#[test]
fn entry_points_reset_the_bases_command() {
    let config = |text| graph(&request(text)).unwrap().image.config.config;
    assert_eq!(config("FROM a\nENTRYPOINT [\"e\"]\n").cmd, None);
    assert_eq!(config("FROM a\nCMD [\"c\"]\nENTRYPOINT [\"e\"]\n").cmd, Some(vec!["c".to_owned()]));
    assert_eq!(config("FROM a\nUSER x\n").cmd, Some(vec!["base-cmd".to_owned()]));
    assert_eq!(config("FROM a\nCMD []\n").cmd, Some(Vec::new()));
    assert_eq!(config("FROM scratch\nUSER x\n").working_dir, "/");
    let text = "FROM a\nSHELL [\"/bin/bash\",\"-c\"]\nCMD x\n";
    assert_eq!(config(text).cmd, Some(["/bin/bash", "-c", "x"].map(str::to_owned).to_vec()));
}

#[test]
fn stages_out_of_variables_are_planned_on_demand() {
    let text = "ARG WHICH=two\nFROM a AS one\nRUN one\nFROM a AS two\nRUN two\nFROM a\nARG WHICH\nCOPY --from=$WHICH /x /x\n";
    let graph = graph(&request(text)).unwrap();
    let names: Vec<&str> = graph.vertices.iter().map(|vertex| vertex.name.as_str()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names.contains(&"[two 2/2] RUN two"));
}

#[test]
fn faults() {
    let files = [
        "ARG TAG\nFROM $TAG\n",
        "FROM a:$TAG\n",
        "FROM Upper/Case\n",
        "FROM --platform=linux a\n",
        "FROM a\nEXPOSE 99999\n",
        "FROM a\nEXPOSE x:80:80\n",
        "FROM a\nCOPY a b /c\n",
        "FROM a\nCOPY --chmod=rwx a /c\n",
        "FROM a\nCOPY a[ /c\n",
        "FROM a\nCOPY --exclude=[ a /c\n",
        "FROM a\nCOPY $NOTHING /c\n",
        "FROM a\nWORKDIR ${X:?must be given}\n",
        "FROM a\nUSER ${X\n",
        "FROM a\nLABEL a=\"x\n",
        "FROM a\nADD --checksum=md5:1 https://x/y /\n",
        "FROM a\nADD --checksum=sha256:1 y /\n",
        "FROM a\nADD https://github.com/x/y.git#--x /\n",
        "FROM a\nRUN --network=host true\n",
        "FROM a\nRUN --mount=type=tmpfs,target=/x --security=insecure true\n",
        "FROM a\nRUN --mount=target=/ true\n",
        "FROM a\nARG S=nope:\nCOPY --from=$S /a /b\n",
    ];
    let mut out = String::new();
    for text in files {
        let error = graph(&request(text)).expect_err(text);
        writeln!(out, "{text:?}\n  {} {error}", error.code).expect("text");
        error.source_line.iter().for_each(|line| writeln!(out, "  | {line}").expect("text"));
        error.hints.iter().for_each(|hint| writeln!(out, "  hint: {hint}").expect("text"));
    }
    let mut request = request("FROM a AS builder\nFROM b AS production\n");
    request.target = Some("prod".to_owned());
    let error = graph(&request).unwrap_err();
    writeln!(out, "{error} {:?} {:?}", error.notes, error.hints).expect("text");
    insta::assert_snapshot!(out);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever a Dockerfile holds, planning ends without a panic, and each vertex comes after what it needs.
    #[test]
    fn any_dockerfile_is_planned_or_refused(lines in prop::collection::vec(prop::sample::select(vec![
        "FROM a", "FROM a AS one", "FROM one AS two", "FROM scratch", "FROM $A", "ARG A=one", "ARG B", "ENV A=$B C=${A:-x}",
        "RUN x", "RUN --mount=from=one,target=/m x", "RUN --mount=type=cache,target=$A,from=two x", "RUN <<E\n#!/bin/x\nE",
        "COPY . .", "COPY --from=one /a /b", "COPY --from=0 a b", "COPY --from=$A ../a b/", "COPY <<E <<F /d/\n$A\nE\nF",
        "ADD https://x/y /z", "WORKDIR a/../..", "WORKDIR $B", "USER $A", "EXPOSE 1-3 $A", "VOLUME /v", "CMD x", "ENTRYPOINT [\"e\"]",
        "LABEL a=$A", "HEALTHCHECK NONE", "SHELL [\"s\"]", "STOPSIGNAL $A", "ONBUILD COPY --from=one a b", "ONBUILD RUN y",
    ]), 0..14)) {
        let text = format!("FROM a\n{}", lines.join("\n"));
        let Ok(file) = parse(Path::new("Dockerfile"), &text) else { return Ok(()) };
        if let Ok(graph) = graph(&BuildRequest::new(file)) {
            for (index, vertex) in graph.vertices.iter().enumerate() {
                prop_assert!(vertex.dependencies().iter().all(|needed| needed.index() < index));
            }
            // Nothing is planned that the image does not need.
            let mut needed = vec![false; graph.vertices.len()];
            let mut open: Vec<_> = graph.image.top.into_iter().collect();
            while let Some(id) = open.pop() {
                if !std::mem::replace(&mut needed[id.index()], true) {
                    open.extend(graph.vertices[id.index()].dependencies());
                }
            }
            prop_assert!(needed.iter().all(|needed| *needed), "{text}");
        }
    }
}
