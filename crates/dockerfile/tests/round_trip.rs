//! What is parsed, printed and parsed again is the same, places aside.

use std::fmt::Write as _;
use std::path::Path;

use coracle_dockerfile::{Dockerfile, parse};
use proptest::prelude::*;

/// Everything that a file says, without where.
fn values(file: &Dockerfile) -> String {
    let directives = &file.directives;
    let mut out = format!("{:?} {:?} {:?}\n", directives.syntax, directives.escape, directives.check);
    let statements = |out: &mut String, list: &[coracle_dockerfile::Statement]| {
        for statement in list {
            let _ =
                writeln!(out, "{:?} {:?} {:?}", statement.keyword, statement.comments, statement.instruction);
        }
    };
    statements(&mut out, &file.globals);
    for stage in &file.stages {
        let name = (&stage.name, &stage.written_name, &stage.as_word);
        let _ = writeln!(
            out,
            "{:?} {:?} {:?} {name:?} {:?} {:?}",
            stage.keyword, stage.base, stage.image, stage.platform, stage.comments
        );
        statements(&mut out, &stage.instructions);
    }
    let places = regex::Regex::new(r"@\d+:\d+|Span \{ [^}]*\}[^}]*\}[^}]*\}").expect("an expression");
    places.replace_all(&out, "").into_owned()
}

fn holds(text: &str) {
    let Ok(first) = parse(Path::new("Dockerfile"), text) else {
        return;
    };
    let printed = first.print();
    let second = parse(Path::new("Dockerfile"), &printed);
    let second = second.unwrap_or_else(|error| panic!("{error}\n{text:?}\n{printed:?}"));
    assert_eq!(values(&first), values(&second), "{text:?} printed {printed:?}");
    assert_eq!(printed, second.print(), "{text:?}");
}

#[test]
fn fixtures() {
    for text in [
        include_str!("fixtures/everything.Dockerfile"),
        include_str!("fixtures/requirement-backend.Dockerfile"),
        include_str!("fixtures/requirement-frontend.Dockerfile"),
        include_str!("fixtures/stack-backend.Dockerfile"),
        include_str!("fixtures/stack-frontend.Dockerfile"),
    ] {
        parse(Path::new("Dockerfile"), text).expect("a fixture is well formed");
        holds(text);
        holds(&text.replace('\n', "\r\n"));
    }
}

#[test]
fn corners() {
    for text in [
        "# escape=`\nFROM a\nRUN dir c:\\`\n x\nCOPY --chown=\"a b\" x c:\\\n",
        "\n# escape=`\nFROM a\nRUN x\n",
        "FROM a\n# one\n\n# two\n#\n# three\nRUN x\n",
        "FROM a\nRUN -- --x\nCMD -- --y\nUSER -- --z\n",
        "FROM a\nRUN --mount=type=bind,\\\"target=a,b\\\" x\n",
        "FROM a\nRUN --mount=\"type=tmpfs,target=/a b\" --network=none --security=sandbox x\n",
        "FROM a\nCOPY [\"a b\", \"c\", \"/d\"]\nCOPY [\"<<E\", \"/d\"]\nCOPY [\"[x\", \"/d\"]\nVOLUME [\"/a b\"]\n",
        "FROM a\nCOPY x <<-A \"y\" <<'B' /d\n\tq\n\tA\n$z\nB\n",
        "FROM a\nRUN cat << A 3<<B\nx\nA\ny\r\nB\n",
        "FROM a\nONBUILD COPY <<A <<B /d\nx\nA\nB\n",
        "FROM a\nENV a b  c\nLABEL \"x y\" z\nENV a=\"b c\" d='e\\' f\n",
        "FROM a\nHEALTHCHECK --interval=1.5s --retries=2 CMD --x\nHEALTHCHECK NONE\n",
        "FROM a\nADD --unpack=false --keep-git-dir=false --checksum=$X u v\n",
        "from a As B\nFROM --platform=$X b\n",
        "FROM a\nCMD ['x']\nENTRYPOINT [\"x\",]\nSHELL [\"a\", \"\\u00e9\\n\"]\nCMD []\n",
        "FROM a\nRUN x \\\\\nUSER y \\\\\n",
    ] {
        holds(text);
    }
}

fn word() -> impl Strategy<Value = String> {
    "[a-z0-9./_]{1,6}|\"[a-z ]{0,4}\"|\\$\\{?[A-Z]{1,3}|[a-z]\\\\ [a-z]|'[a-z $]{0,3}'|é{1,2}|[{}<>=,*?-]{1,3}"
        .prop_map(|text| if text.starts_with("${") { text + "}" } else { text })
}

fn words(most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(word(), 1..most).prop_map(|words| words.join(" "))
}

fn json() -> impl Strategy<Value = String> {
    prop::collection::vec("[a-z \\[\"\\\\<-]{0,5}", 1..4)
        .prop_map(|items| items.into_iter().collect::<serde_json::Value>().to_string())
}

fn instruction() -> impl Strategy<Value = String> {
    let flags = prop::collection::vec(
        prop::sample::select(vec![
            "--chown=1:$G",
            "--chmod=0755",
            "--link",
            "--link=false",
            "--exclude=*.md",
            "--exclude=\"a b\"",
            "--",
        ]),
        0..3,
    );
    let mounts = prop::collection::vec(
        prop::sample::select(vec![
            "--mount=target=/x",
            "--mount=type=cache,target=/c,sharing=locked,uid=$U",
            "--mount=type=secret,id=a,required",
            "--network=none",
            "--security=insecure",
        ]),
        0..3,
    );
    prop_oneof![
        (mounts, prop_oneof![words(5), json()])
            .prop_map(|(flags, rest)| format!("RUN {} {rest}", flags.join(" "))),
        (prop::sample::select(vec!["COPY", "add"]), flags, prop_oneof![words(4), json()])
            .prop_map(|(keyword, flags, rest)| format!("{keyword} {} {rest} /d", flags.join(" "))),
        (prop::sample::select(vec!["CMD", "ENTRYPOINT", "Shell", "VOLUME"]), prop_oneof![words(4), json()])
            .prop_map(|(keyword, rest)| format!("{keyword} {rest}")),
        (prop::sample::select(vec!["USER", "WORKDIR", "EXPOSE", "STOPSIGNAL", "MAINTAINER"]), words(4))
            .prop_map(|(keyword, rest)| format!("{keyword} {rest}")),
        (prop::sample::select(vec!["ENV", "LABEL", "ARG"]), "[A-Z]{1,3}", word(), words(3), any::<bool>())
            .prop_map(|(keyword, name, value, more, old)| {
                if old {
                    format!("{keyword} {name} {more}")
                } else {
                    format!("{keyword} {name}={value} B={value}")
                }
            }),
        ("<<-?['\"]?", "[A-Z]{1,3}", "[a-z\t $]{0,6}").prop_map(|(mark, name, body)| {
            let quote = mark.trim_start_matches(['<', '-']);
            format!(
                "COPY {mark}{name}{quote} /d\n{body}\n{name}\nRUN {mark}{name}{quote} cat\n{body}\n{name}"
            )
        }),
        words(4).prop_map(|rest| format!("ONBUILD RUN {rest}")),
        words(4).prop_map(|rest| format!("HEALTHCHECK --timeout=3s CMD {rest}")),
        words(4).prop_map(|rest| format!("# {rest}")),
        Just("#".to_owned()),
        Just("RUN a \\\n  # between\n\n  b".to_owned()),
    ]
}

proptest! {
    #[test]
    fn generated_files(
        head in prop::sample::select(vec!["", "# syntax=docker/dockerfile:1\n", "# escape=`\n# check=skip=all\n", "# x\n"]),
        globals in prop::collection::vec("ARG [A-Z]{1,2}(=[a-z$]{0,3})?", 0..3),
        stages in prop::collection::vec(
            ("(FROM|from) (--platform=\\$P )?[a-z]{1,4}( (AS|as) [a-z]{1,3})?", prop::collection::vec(instruction(), 0..6)),
            1..3,
        ),
    ) {
        let mut text = head.to_owned();
        for line in globals {
            text += &(line + "\n");
        }
        for (from, instructions) in stages {
            text += &(from + "\n");
            for instruction in instructions {
                // One that cannot stand is left out, so that the rest is still tried.
                let alone = format!("{head}FROM a\n{instruction}\n");
                if parse(Path::new("Dockerfile"), &alone).is_ok() {
                    text += &(instruction + "\n");
                }
            }
        }
        holds(&text);
    }
}
