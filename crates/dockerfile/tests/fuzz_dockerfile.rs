//! Any bytes are a Dockerfile or a clear error: no panic, spans within the file, and no surprise in words.

use std::path::Path;

use coracle_dockerfile::{Escape, expand, expand_words, parse, parse_trigger};
use coracle_testkit::{Fuzz, outcome};

const EVERYTHING: &str = include_str!("fixtures/everything.Dockerfile");

#[test]
fn the_parser_takes_anything() {
    Fuzz::new("dockerfile")
        .seed(EVERYTHING)
        .seed(include_str!("fixtures/requirement-backend.Dockerfile"))
        .seed("# escape=`\nFROM a\nRUN x `\n y\nCOPY <<A <<-'B' /d\nx\nA\n\ty\nB\n")
        .words([
            "FROM ",
            "RUN ",
            "COPY ",
            "ADD ",
            "ENV ",
            "ARG ",
            "LABEL ",
            "ONBUILD ",
            "HEALTHCHECK ",
            "SHELL ",
            "--mount=",
            "--from=",
            "type=cache,",
            "target=/x",
            "<<EOF",
            "<<-'E'",
            "EOF\n",
            "\\\n",
            "`\n",
            "\r\n",
            "# syntax=",
            "# escape=`\n",
            "# check=",
            " AS ",
            "[\"",
            "\"]",
            "${",
            ":-",
            "##",
            "//",
            "}",
            "\u{feff}",
            "é",
        ])
        .run(|input| {
            let text = String::from_utf8_lossy(input);
            let lookup = |name: &str| name.len().is_multiple_of(2).then(|| name.to_owned());
            let words = expand_words(&text, Escape::Backslash, &lookup).map(|words| words.len());
            let word = expand(&text, Escape::Backtick, &lookup).map_err(|error| error.code());
            let trigger = parse_trigger("image", &text).map(|_| ()).map_err(|error| error.code);
            match parse(Path::new("Dockerfile"), &text) {
                Ok(file) => {
                    let printed = file.print();
                    let again = parse(Path::new("Dockerfile"), &printed).expect("what is printed is read");
                    assert_eq!(again.print(), printed);
                    let mut kinds = Vec::new();
                    for statement in file.stages.iter().flat_map(|stage| &stage.instructions) {
                        assert!(statement.span.start <= statement.span.end, "{:?}", statement.span);
                        assert!(statement.span.end.line as usize <= file.source.lines().len());
                        kinds.push(statement.instruction.keyword());
                    }
                    kinds.sort_unstable();
                    kinds.dedup();
                    outcome((kinds, word.is_ok(), words.is_ok()))
                }
                Err(error) => {
                    if let Some(span) = &error.span {
                        assert!(span.start.line as usize <= file_lines(&text), "{span}");
                    }
                    outcome((error.code, error.message.len(), trigger, word.err()))
                }
            }
        });
}

fn file_lines(text: &str) -> usize {
    text.split('\n').count()
}
