//! The parser against whole files, snapshot by snapshot, and against faults.

use std::fmt::Write as _;
use std::path::Path;

use coracle_dockerfile::{
    BaseRef, CommandForm, CopySource, Dockerfile, IgnoreFile, Instruction, MountKind, StageLookup, parse,
    parse_trigger,
};
use coracle_report::Diagnostic;
use proptest::prelude::*;

const BACKEND: &str = include_str!("fixtures/requirement-backend.Dockerfile");
const FRONTEND: &str = include_str!("fixtures/requirement-frontend.Dockerfile");
const STACK_BACKEND: &str = include_str!("fixtures/stack-backend.Dockerfile");
const STACK_FRONTEND: &str = include_str!("fixtures/stack-frontend.Dockerfile");
const EVERYTHING: &str = include_str!("fixtures/everything.Dockerfile");

fn read(text: &str) -> Result<Dockerfile, Diagnostic> {
    parse(Path::new("Dockerfile"), text)
}

/// One line an instruction: where, what.
fn outline(file: &Dockerfile) -> String {
    let mut out = String::new();
    for argument in &file.global_args {
        writeln!(out, "ARG {argument:?}").expect("a string takes all");
    }
    for stage in &file.stages {
        let (start, end) = (stage.span.start, stage.span.end);
        let range = format!("{}:{}-{}:{}", start.line, start.column, end.line, end.column);
        writeln!(out, "{range} FROM {:?} AS {:?} ON {:?}", stage.base, stage.name, stage.platform)
            .expect("a string takes all");
        for statement in &stage.instructions {
            let (start, end) = (statement.span.start, statement.span.end);
            let range = format!("{}:{}-{}:{}", start.line, start.column, end.line, end.column);
            writeln!(out, "  {range} {:?}", statement.instruction).expect("a string takes all");
        }
    }
    out
}

#[test]
fn every_instruction() {
    insta::assert_snapshot!(outline(&read(EVERYTHING).unwrap()));
}

#[test]
fn the_requirements_files() {
    insta::assert_snapshot!("backend", outline(&read(BACKEND).unwrap()));
    insta::assert_snapshot!("frontend", outline(&read(FRONTEND).unwrap()));
}

#[test]
fn the_stacks_files_are_read() {
    for text in [STACK_BACKEND, STACK_FRONTEND] {
        let file = read(text).unwrap();
        assert_eq!(file.blank_continuations, []);
        assert!(file.stages.len() > 1);
    }
}

#[test]
fn line_ends_and_marks_do_not_matter() {
    let unix = read(EVERYTHING).unwrap();
    let windows = read(&format!("\u{feff}{}", EVERYTHING.replace('\n', "\r\n"))).unwrap();
    // A heredoc is a file, and keeps its line ends.
    assert_eq!(outline(&unix), outline(&windows).replace("\\r\\n", "\\n"));
}

#[test]
fn continuations_keep_their_columns() {
    let file = read("FROM a\nRUN x \\\n\n  # note\n  é $( y)\n").unwrap();
    let statement = &file.stages[0].instructions[0];
    assert_eq!(statement.text, "RUN x   é $( y)");
    assert_eq!((statement.span.start.line, statement.span.end.line, statement.span.end.column), (2, 5, 10));
    assert_eq!(file.blank_continuations.len(), 1);
    assert_eq!(file.blank_continuations[0].to_string(), "Dockerfile:3:1");
    assert_eq!(file.blank_continuations[0].end.line, 5);
}

#[test]
fn the_escape_directive_is_obeyed() {
    let file = read("# escape=`\nFROM a\nRUN dir c:\\`\n x\n").unwrap();
    let Instruction::Run(run) = &file.stages[0].instructions[0].instruction else { panic!("RUN") };
    assert_eq!(run.command, CommandForm::Shell("dir c:\\ x".to_owned()));
}

#[test]
fn directives_end_at_the_first_other_line() {
    let file = read("# a comment\n# escape=`\nFROM a\nRUN x \\\n y\n").unwrap();
    assert_eq!(file.stages[0].instructions[0].text, "RUN x  y");
}

#[test]
fn bases_are_resolved_to_earlier_stages() {
    let file = read("FROM a AS One\nFROM ONE\nFROM scratch\nFROM ${X:-one}\nFROM 0\n").unwrap();
    let bases: Vec<_> = file.stages.iter().map(|stage| stage.base.clone()).collect();
    assert_eq!(bases[1], BaseRef::Stage(0));
    assert_eq!(bases[2], BaseRef::Scratch);
    assert!(matches!(&bases[3], BaseRef::Image(word) if word.value == "${X:-one}"));
    // A number is an image's name in FROM, as in Docker.
    assert!(matches!(&bases[4], BaseRef::Image(_)));
    assert_eq!(file.look_up_stage("one", 1), StageLookup::Earlier(0));
    assert_eq!(file.look_up_stage("one", 0), StageLookup::Later(0));
    assert_eq!(file.look_up_stage("0", 1), StageLookup::Earlier(0));
    assert_eq!(file.look_up_stage("nginx", 1), StageLookup::None);
    assert_eq!(file.look_up_stage("onee", 1), StageLookup::Near("one".to_owned()));
}

#[test]
fn targets() {
    let file = read("FROM a AS builder\nFROM b AS runtime\n").unwrap();
    assert_eq!(file.target(None), Ok(1));
    assert_eq!(file.target(Some("Builder")), Ok(0));
    assert_eq!(file.target(Some("0")), Ok(0));
    let error = file.target(Some("runtmie")).unwrap_err();
    assert_eq!(error.message, "Dockerfile has no stage `runtmie`");
    assert_eq!(error.hints[0].0, "did you mean `runtime`?");
    assert_eq!(error.notes, ["its stages are builder, runtime"]);
}

#[test]
fn heredocs_of_copy_are_sources() {
    let file = read("FROM a\nCOPY x <<EOF y /d/\n  $HOME 'x'\nEOF\n").unwrap();
    let Instruction::Copy(copy) = &file.stages[0].instructions[0].instruction else { panic!("COPY") };
    let CopySource::Heredoc(heredoc) = &copy.sources[1] else { panic!("heredoc") };
    let content = file.heredoc_content(heredoc, &|name| Some(format!("<{name}>"))).unwrap();
    assert_eq!(content, "  <HOME> 'x'\n");
    assert_eq!(copy.dest.value, "/d/");
}

#[test]
fn what_is_no_heredoc() {
    for text in [
        "RUN echo $((1<<2))",
        "RUN cat <<< word",
        "RUN echo \"<<EOF\"",
        "CMD cat <<EOF",
        "RUN [\"a\", \"<<EOF\"]",
    ] {
        let file = read(&format!("FROM a\n{text}\nUSER x\n")).unwrap();
        assert_eq!(file.stages[0].instructions.len(), 2, "{text}");
    }
}

#[test]
fn mounts_default_to_bind() {
    let file = read("FROM a AS b\nFROM a\nRUN --mount=from=b,target=/x,rw true\n").unwrap();
    let Instruction::Run(run) = &file.stages[1].instructions[0].instruction else { panic!("RUN") };
    let MountKind::Bind { from: Some(from), source: None, target, writable: true } = &run.mounts[0].kind
    else {
        panic!("bind")
    };
    assert_eq!((from.value.as_str(), target.value.as_str()), ("b", "/x"));
}

#[test]
fn triggers() {
    let statement = parse_trigger("base:1", "COPY . /app").unwrap();
    assert!(matches!(statement.instruction, Instruction::Copy(_)));
    for text in ["ONBUILD RUN x", "FROM a", "", "BOGUS x", "# only"] {
        assert!(parse_trigger("base:1", text).is_err(), "{text}");
    }
}

/// Returns the first reference that is to no stage.
fn reference_fault(file: &Dockerfile) -> Option<Diagnostic> {
    (0..file.stages.len())
        .find_map(|at| file.references(at).find_map(|word| file.reference_fault(word, at, word)))
}

/// Faults: the file, then `code place: message` and hints, as a table snapshot.
#[test]
fn faults() {
    let files = [
        "",
        "# nothing\n",
        "RUN x\n",
        "FROM\n",
        "FROM a b\n",
        "FROM a AS\n",
        "FROM a AS 9x\n",
        "FROM --plattform=x a\n",
        "FORM a\n",
        "FROM a\n  CPOY x y\n",
        "FROM a\nRUN a &&\n  apt-get install x\n",
        "FROM a\nRUN\n",
        "FROM a\nRUN []\n",
        "FROM a\nCMD\n",
        "FROM a\nCMD --x\n",
        "FROM a\nUSER --x y\n",
        "FROM a\nRUN --from=b y\n",
        "FROM a\nCOPY --link=1 a b\n",
        "FROM a\nCOPY << EOF /x\nEOF\n",
        "FROM a\nCOPY <<\"a b\" /x\na b\n",
        "FROM a\nVOLUME [\"\"]\n",
        "FROM a\nVOLUME []\n",
        "FROM a\nHEALTHCHECK CMD []\n",
        "FROM a\nRUN --mount=type=bind,target=/x,uid=1 true\n",
        "FROM a\nRUN --mount=type=secret,id=x,source=y true\n",
        "FROM a\nRUN --mount=type=bind,target=a\\\"b true\n",
        "FROM a\nRUN --mount=\"\\\"target=/x\" true\n",
        "# syntax=example/frontend:1\nFROM a\n",
        "# syntax=docker/dockerfile:2\nFROM a\n",
        "FROM a\nENTRYPOINT [\"x\", 1]\n",
        "FROM a\nSHELL /bin/bash\n",
        "FROM a\nCOPY x\n",
        "FROM a\nCOPY --chwon=1 x y\n",
        "FROM a\nCOPY --bogus x y\n",
        "FROM a\nCOPY --from x y\n",
        "FROM a\nCOPY --from=a --from=b x y\n",
        "FROM a\nCOPY --link=maybe x y\n",
        "FROM a AS builder\nFROM b\nCOPY --from=bulder x y\n",
        "FROM a AS builder\nFROM b\nCOPY --from=2 x y\n",
        "FROM a\nCOPY --from=later x y\nFROM b AS later\n",
        "FROM a AS self\nRUN --mount=type=bind,from=self,target=/x true\n",
        "FROM a\nENV A\n",
        "FROM a\nENV A=1 B\n",
        "FROM a\nENV =1\n",
        "FROM a\nARG\n",
        "FROM a\nARG =1\n",
        "FROM a\nRUN --mount=type=cahce,target=/x true\n",
        "FROM a\nRUN --mount=type=cache true\n",
        "FROM a\nRUN --mount=type=cache,taget=/x true\n",
        "FROM a\nRUN --mount=type=cache,target=/x,sharing=alone true\n",
        "FROM a\nRUN --mount=type=cache,target=/x,mode=9 true\n",
        "FROM a\nRUN --mount=type=secret true\n",
        "FROM a\nRUN --network=bridge true\n",
        "FROM a\nRUN --device=vendor.com/class=name true\n",
        "FROM a\nHEALTHCHECK --interval=5 CMD x\n",
        "FROM a\nHEALTHCHECK --retries=x CMD x\n",
        "FROM a\nHEALTHCHECK curl x\n",
        "FROM a\nHEALTHCHECK NONE x\n",
        "FROM a\nHEALTHCHECK CMD\n",
        "FROM a\nONBUILD ONBUILD RUN x\n",
        "FROM a\nONBUILD FROM x\n",
        "FROM a\nONBUILD RNU x\n",
        "FROM a\nRUN <<EOF\nx\n",
        "FROM a\nCOPY x <<EOF\nEOF\n",
        "# escape=x\nFROM a\n",
        "# syntax=docker/dockerfile:1\n# syntax=docker/dockerfile:1\nFROM a\n",
    ];
    let mut out = String::new();
    for text in files {
        let error = match read(text) {
            Err(error) => error,
            Ok(file) => reference_fault(&file).expect(text),
        };
        writeln!(out, "{text:?}\n  {} {error}", error.code).expect("a string takes all");
        if let Some(line) = &error.source_line {
            writeln!(out, "  | {line}").expect("a string takes all");
        }
        for note in &error.notes {
            writeln!(out, "  note: {note}").expect("a string takes all");
        }
        for hint in &error.hints {
            writeln!(out, "  hint: {hint}").expect("a string takes all");
        }
    }
    insta::assert_snapshot!(out);
}

proptest! {
    #[test]
    fn never_panics(text in "\\PC*") {
        let _ = read(&text);
    }

    #[test]
    fn never_panics_on_lookalikes(lines in prop::collection::vec(
        "(FROM|RUN|COPY|ADD|ENV|ARG|LABEL|CMD|SHELL|HEALTHCHECK|ONBUILD|EXPOSE|VOLUME|#|# escape=|)[ \t]{0,2}(--[a-z]{1,6}(=[a-z,=\"]{0,9})? ?){0,2}[a-zA-Zé<'\"\\\\`${}\\[\\]=, /-]{0,20}\\\\?",
        0..12,
    )) {
        let text = lines.join("\n");
        if let Ok(file) = read(&text) {
            for stage in &file.stages {
                for statement in &stage.instructions {
                    prop_assert!(statement.span.start <= statement.span.end);
                    prop_assert!(statement.span.end.line as usize <= file.source.lines().len());
                }
            }
        }
        let _ = parse_trigger("image", &text);
    }

    #[test]
    fn expansion_never_panics(text in "[a-z${}:?+#%/\\\\'\"*\\[\\] é-]{0,40}") {
        let lookup = |name: &str| name.len().is_multiple_of(2).then(|| name.to_owned());
        let _ = coracle_dockerfile::expand(&text, coracle_dockerfile::Escape::Backslash, &lookup);
        let _ = coracle_dockerfile::expand_words(&text, coracle_dockerfile::Escape::Backtick, &lookup);
    }

    #[test]
    fn ignore_files_never_panic(text in "[a-c*?\\[\\]!#./\\\\\n-]{0,40}", path in "[a-c/.]{0,12}") {
        if let Ok(file) = IgnoreFile::parse(Path::new(".dockerignore"), &text) {
            let hidden = file.verdict(&path).is_hidden();
            // What lies below a hidden directory is hidden too, unless the walk is told to enter it. The context itself is never asked
            // about.
            if !path.is_empty() && hidden && !file.may_show_below(&path) {
                let below = format!("{path}/x");
                prop_assert!(file.verdict(&below).is_hidden());
            }
        }
    }
}
