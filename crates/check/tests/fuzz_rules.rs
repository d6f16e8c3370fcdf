//! Whatever stands in a Dockerfile or a script: the rules neither panic nor overflow, and come to an end.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "other tests read cases from files")]
mod support;

use std::path::Path;

use coracle_testkit::{Fuzz, outcome};
use support::{Case, ROOT};

const PROJECT: &str = "services:\n  a:\n    image: busybox:1.36\n    command: [\"sh\", \"-c\", \"exec x\"]\n";

fn case(files: &[(&str, &str)]) -> Case {
    let files = files.iter().map(|(name, text)| (Path::new(ROOT).join(name), (*text).to_owned()));
    Case { files: files.collect(), ..Case::default() }
}

#[test]
fn rules_take_any_text() {
    Fuzz::new("rules")
        .seed("FROM debian:12 AS a\nRUN apt-get update && apt-get install -y curl | tee x\nUSER app\nCMD [\"x\", \"${Y}\"]\n")
        .seed("FROM a\nRUN <<EOF\nif [ -n \"$(cat x)\" ]; then for i in 1 2; do (cd /a && rm -rf $X/); done; fi\nEOF\n")
        .words([
            "RUN ", "FROM ", "COPY --from=a . .\n", "USER ", "CMD ", "HEALTHCHECK CMD ", "ONBUILD ", "SHELL [\"bash\", \"-c\"]\n",
            "$(", "`", "${", "}", "(", ")", "{ ", "; }", "((", "))", "[[ ", " ]]", "if ", "then ", "fi", "case x in ", "esac",
            "while ", "do ", "done", "f() ", "|", "&&", "||", ";", "<<EOF\n", "EOF\n", "<(", ">&2", "\\\n", "\"", "'", "#", "!",
            "apt-get install ", "pip install ", "npm ci", "sleep 9", "export $(cat .env | xargs)", "set -e\n", "é", "\t",
        ])
        .run(|input| {
            let text = String::from_utf8_lossy(input).into_owned();
            let script = case(&[("compose.yaml", PROJECT), ("deploy.sh", &text)]).check().findings.len();
            let parsed = coracle_dockerfile::parse(Path::new("Dockerfile"), &text).is_ok();
            let file = if parsed { case(&[("Dockerfile", &text)]).check().findings.len() } else { 0 };
            outcome(format!("{parsed} {} {}", script.min(9), file.min(9)))
        });
}

/// The parser of shells is recursive: what is nested deeply is not given to it.
#[test]
fn nesting_overflows_nothing() {
    for (open, close) in [
        ("$(", ")"),
        ("(", ")"),
        ("{ ", "; }"),
        ("if ", "; then x; fi"),
        ("while ", "; do x; done"),
        ("! ", ""),
        ("`", "`"),
        ("\"$(", ")\""),
        ("${a:-", "}"),
        ("$((", "))"),
        ("[[ ( ", " ) ]]"),
        ("case x in x) ", ";; esac"),
        ("<(", ")"),
        ("f() { ", "; }"),
        ("x | ", "x"),
        ("x && ", "x"),
    ] {
        for depth in [8, 11, 12, 13, 23, 24, 25, 1_000, 20_000] {
            let text = format!("FROM busybox:1.36\nRUN {}x{}\n", open.repeat(depth), close.repeat(depth));
            if coracle_dockerfile::parse(Path::new("Dockerfile"), &text).is_ok() {
                case(&[("Dockerfile", &text)]).check();
            }
        }
    }
}
