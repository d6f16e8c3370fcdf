//! The examples of the Dockerfile reference about `ARG` and `ENV`, and what BuildKit 0.26 makes of a few more.

use std::collections::BTreeMap;
use std::path::Path;

use coracle_build::{Bases, BuildGraph, BuildRequest, Op, Planned, ResolvedBase, SnapshotRef, plan};
use coracle_oci::{Digest, ImageConfig};

/// Plans `text` with every base a plain one.
fn graph(text: &str, arguments: &[(&str, &str)]) -> BuildGraph {
    let dockerfile = coracle_dockerfile::parse(Path::new("Dockerfile"), text).expect("it parses");
    let mut request = BuildRequest::new(dockerfile);
    request.build_args =
        arguments.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let mut bases = Bases::default();
    loop {
        match plan(&request, &bases).expect("it plans") {
            Planned::Graph(graph) => return *graph,
            Planned::Needs(needs) => {
                for need in needs {
                    let key = Digest::of(need.reference.to_string());
                    let snapshot = Some(SnapshotRef::new(need.reference.familiar()));
                    bases.insert(need, ResolvedBase { config: ImageConfig::scratch(), key, snapshot });
                }
            }
        }
    }
}

/// Returns the variables that the last `RUN` sees, without `PATH`.
fn seen(text: &str, arguments: &[(&str, &str)]) -> BTreeMap<String, String> {
    let graph = graph(text, arguments);
    let run = graph.vertices.iter().rev().find_map(|vertex| match &vertex.op {
        Op::Exec(exec) => Some(exec.env.iter().chain(&exec.proxy_env).cloned().collect::<Vec<_>>()),
        _ => None,
    });
    let pairs = run.expect("there is a RUN").into_iter();
    let pair = |line: String| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    pairs.filter_map(pair).filter(|(name, _)| name != "PATH").collect()
}

#[track_caller]
fn sees(text: &str, arguments: &[(&str, &str)], expected: &[(&str, &str)]) {
    let expected: BTreeMap<String, String> =
        expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    assert_eq!(seen(text, arguments), expected, "{text}");
}

#[test]
fn environment_replacement() {
    sees(
        "FROM a\nENV abc=hello\nENV abc=bye def=$abc\nENV ghi=$abc\nRUN x\n",
        &[],
        &[("abc", "bye"), ("def", "hello"), ("ghi", "bye")],
    );
    let table = [
        (r"\$foo", "$foo"),
        (r"\${foo}", "${foo}"),
        ("${foo}_bar", "foobarbaz_bar"),
        ("${foo:-word}", "foobarbaz"),
        ("${none:-word}", "word"),
        ("${empty:-word}", "word"),
        ("${empty-word}", ""),
        ("${none-word}", "word"),
        ("${foo:+word}", "word"),
        ("${none:+word}", ""),
        ("${empty:+word}", ""),
        ("${empty+word}", "word"),
        ("${none+word}", ""),
        ("${foo:?why}", "foobarbaz"),
        ("${empty?why}", ""),
        ("${foo#f*b}", "arbaz"),
        ("${foo##f*b}", "az"),
        ("${foo%b*}", "foobar"),
        ("${foo%%b*}", "foo"),
        ("${foo/ba/fo}", "fooforbaz"),
        ("${foo//ba/fo}", "fooforfoz"),
        ("${foo#x}", "foobarbaz"),
        ("${foo%?}", "foobarba"),
        ("${none:-${foo%baz}}", "foobar"),
    ];
    for (written, expected) in table {
        let text = format!("FROM a\nENV foo=foobarbaz empty=\nENV r=\"{written}\"\nRUN x\n");
        assert_eq!(seen(&text, &[])["r"], expected, "{written}");
        let label = format!("FROM a\nENV foo=foobarbaz empty=\nLABEL r={written}\n");
        assert_eq!(graph(&label, &[]).image.config.config.labels["r"], expected, "{written}");
    }
}

#[test]
fn arguments_before_from_are_for_from() {
    let text = "ARG VERSION=latest\nFROM busybox:$VERSION\nARG VERSION\nRUN echo $VERSION > image_version\n";
    sees(text, &[], &[("VERSION", "latest")]);
    sees(text, &[("VERSION", "1.36")], &[("VERSION", "1.36")]);
    assert_eq!(graph(text, &[("VERSION", "1.36")]).vertices[0].name, "[1/2] FROM busybox:1.36");
    sees("ARG VERSION=latest\nFROM busybox:$VERSION\nRUN x\n", &[], &[]);
}

#[test]
fn arguments_count_from_their_line_on() {
    let text = "FROM busybox\nUSER ${username:-some_user}\nARG username\nUSER $username\n";
    let config = |arguments: &[(&str, &str)]| {
        let history = graph(text, arguments).image.history.into_iter();
        history
            .filter_map(|entry| entry.entry.created_by)
            .filter(|text| text.starts_with("USER"))
            .collect::<Vec<_>>()
    };
    assert_eq!(config(&[("username", "what_user")]), ["USER some_user", "USER what_user"]);
    sees(
        "FROM a\nARG user1=someuser\nARG buildno=1\nRUN x\n",
        &[("user1", "me")],
        &[("user1", "me"), ("buildno", "1")],
    );
    // Out of scope with the stage, unless a stage builds upon it.
    sees("FROM a AS one\nARG SETTINGS=x\nRUN y\nFROM a\nRUN x\n", &[], &[]);
    sees("FROM a AS one\nARG SETTINGS=x\nARG UNSET\nFROM one\nRUN x\n", &[], &[("SETTINGS", "x")]);
}

#[test]
fn of_arg_and_env_the_later_wins() {
    let text = "FROM ubuntu\nARG CONT_IMG_VER\nENV CONT_IMG_VER=v1.0.0\nRUN echo $CONT_IMG_VER\n";
    sees(text, &[("CONT_IMG_VER", "v2.0.1")], &[("CONT_IMG_VER", "v1.0.0")]);
    let text =
        "FROM ubuntu\nARG CONT_IMG_VER\nENV CONT_IMG_VER=${CONT_IMG_VER:-v1.0.0}\nRUN echo $CONT_IMG_VER\n";
    sees(text, &[], &[("CONT_IMG_VER", "v1.0.0")]);
    sees(text, &[("CONT_IMG_VER", "v2.0.1")], &[("CONT_IMG_VER", "v2.0.1")]);
    sees("FROM a\nENV X=1\nARG X=2\nENV W=$X\nRUN x\n", &[], &[("X", "2"), ("W", "2")]);
    let graph = graph("FROM a\nENV X=1\nARG X=2\nARG Y\nARG Z=z\nENV Z=env\nRUN x\n", &[]);
    assert_eq!(graph.image.config.config.env, ["X=1", "Z=env"]);
    let last = graph.image.history.last().and_then(|entry| entry.entry.created_by.clone());
    assert_eq!(last.as_deref(), Some("RUN |3 X=2 Y= Z=env /bin/sh -c x # buildkit"));
}

#[test]
fn proxies_need_no_declaration_and_leave_no_trace() {
    let proxy = [("HTTP_PROXY", "http://user:pass@proxy.lon.example.com")];
    let text = "FROM ubuntu\nRUN echo \"Hello World\"\n";
    let value = proxy[0].1;
    sees(text, &proxy, &[("HTTP_PROXY", value), ("http_proxy", value)]);
    let undeclared = graph(text, &proxy);
    assert!(!format!("{:?}", undeclared.image).contains("pass"), "{:?}", undeclared.image);
    assert!(undeclared.warnings.is_empty());
    let declared = graph("FROM ubuntu\nARG HTTP_PROXY\nRUN echo \"Hello World\"\n", &proxy);
    assert!(format!("{:?}", declared.image.history).contains("RUN |1 HTTP_PROXY=http://user:pass"));
}

#[test]
fn platform_arguments_are_those_of_the_reference() {
    let names =
        "TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT BUILDPLATFORM BUILDOS BUILDARCH BUILDVARIANT";
    let text = format!("FROM a\nARG {names}\nRUN x\n");
    let values = seen(&text, &[]);
    assert_eq!(values["TARGETPLATFORM"], values["BUILDPLATFORM"]);
    assert_eq!((values["TARGETOS"].as_str(), values["TARGETVARIANT"].as_str()), ("linux", ""));
    assert_eq!(seen(&text, &[("TARGETARCH", "mine")])["TARGETARCH"], "mine");
}

#[test]
fn heredocs_are_run_as_written() {
    let args = |text: &str| {
        let graph = graph(&format!("FROM a\n{text}"), &[]);
        let run = graph.vertices.into_iter().rev().find_map(|vertex| match vertex.op {
            Op::Exec(exec) => Some(exec.args),
            _ => None,
        });
        run.expect("there is a RUN")
    };
    let shell = |text: &str| ["/bin/sh", "-c", text].map(str::to_owned).to_vec();
    for (written, expected) in [
        (
            "RUN <<EOT bash\n  set -ex\n  apt-get update\nEOT\n",
            shell("<<EOT bash\n  set -ex\n  apt-get update\nEOT"),
        ),
        ("RUN <<EOT\n  mkdir -p foo/bar\nEOT\n", shell("  mkdir -p foo/bar\n")),
        ("RUN python3 <<EOF\nprint('x')\nEOF\n", shell("python3 <<EOF\nprint('x')\nEOF")),
        ("RUN <<EOF cat > /x\nhi $A\nEOF\n", shell("<<EOF cat > /x\nhi $A\nEOF")),
        ("RUN <<'EOF'\necho $A\nEOF\n", shell("echo $A\n")),
        ("RUN <<-EOF\n\techo tab\n\tEOF\n", shell("echo tab\n")),
        (
            "RUN <<FILE1 cat > file1 && <<FILE2 cat > file2\nI am\nfirst\nFILE1\nI am\nsecond\nFILE2\n",
            shell("<<FILE1 cat > file1 && <<FILE2 cat > file2\nI am\nfirst\nFILE1\nI am\nsecond\nFILE2"),
        ),
        ("RUN <<EOT\n#!/usr/bin/env python\nprint(\"hello\")\nEOT\n", vec!["/dev/pipes/EOT".to_owned()]),
    ] {
        assert_eq!(args(written), expected, "{written}");
    }
}
