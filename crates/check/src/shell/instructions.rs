//! The shell text of a Dockerfile: of `RUN`, `CMD`, `ENTRYPOINT`, `HEALTHCHECK`, and of the triggers of `ONBUILD`.

use coracle_dockerfile::{
    BaseRef, CommandForm, Dockerfile, HealthcheckProbe, Heredoc, Instruction, Run, StageLookup, Statement,
};
use coracle_report::{Position, Span};

use super::snippet::Snippet;
use super::word::quote;

/// What a text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// `RUN`
    Run,
    /// `CMD`
    Cmd,
    /// `ENTRYPOINT`
    Entrypoint,
    /// `HEALTHCHECK CMD`
    Healthcheck,
}

/// The shell that an instruction's text is given to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interpreter {
    /// Whether its language is read here: `sh` and its kin.
    pub posix: bool,
    /// Whether it knows `set -o pipefail`: not every `sh` does.
    pub name: String,
    /// Whether it was started with `-o pipefail`.
    pub pipefail: bool,
    /// Whether it was started with `-e`.
    pub errexit: bool,
}

impl Default for Interpreter {
    fn default() -> Self {
        Self { posix: true, name: "sh".to_owned(), pipefail: false, errexit: false }
    }
}

impl Interpreter {
    /// Reads `SHELL`'s list.
    pub(crate) fn of(list: &[String]) -> Self {
        let name = list.first().map_or("", |program| program.rsplit('/').next().unwrap_or(program));
        let options: Vec<&str> = list.iter().skip(1).map(String::as_str).collect();
        let short = |letter: char| {
            options.iter().any(|own| own.starts_with('-') && !own.starts_with("--") && own.contains(letter))
        };
        Self {
            posix: is_posix(name),
            name: name.to_owned(),
            pipefail: options.contains(&"pipefail"),
            errexit: short('e') || options.contains(&"errexit"),
        }
    }
}

/// Says whether a program of this name reads the shell's language.
pub(crate) fn is_posix(name: &str) -> bool {
    matches!(name, "sh" | "bash" | "ash" | "dash" | "ksh" | "mksh" | "zsh" | "busybox")
}

/// One instruction's shell text.
#[derive(Clone, Debug)]
pub(crate) struct Piece<'f> {
    /// What it is for.
    pub role: Role,
    /// Its stage.
    pub stage: usize,
    /// Its instruction.
    pub statement: &'f Statement,
    /// What else `RUN` says.
    pub run: Option<&'f Run>,
    /// Whether it is a trigger, run by images that are built on this one.
    pub triggered: bool,
    /// Whether it is a list: no shell reads it.
    pub exec: bool,
    /// What reads it.
    pub shell: Interpreter,
    /// The text.
    pub snippet: Snippet,
}

/// Returns the shell texts of a file, in its order.
pub(crate) fn pieces(file: &Dockerfile) -> Vec<Piece<'_>> {
    let mut shells: Vec<Interpreter> = Vec::new();
    let mut pieces = Vec::new();
    for (index, stage) in file.stages.iter().enumerate() {
        let below = match &stage.base {
            BaseRef::Stage(below) => Some(*below),
            BaseRef::Image(word) => match file.look_up_stage(word, index) {
                StageLookup::Earlier(below) => Some(below),
                _ => None,
            },
            BaseRef::Scratch => None,
        };
        let mut shell = below.and_then(|below| shells.get(below).cloned()).unwrap_or_default();
        for statement in &stage.instructions {
            if let Instruction::Shell(list) = &statement.instruction {
                shell = Interpreter::of(list);
            }
            pieces.extend(piece(file, index, statement, &shell));
        }
        shells.push(shell);
    }
    pieces
}

fn piece<'f>(
    file: &Dockerfile,
    stage: usize,
    statement: &'f Statement,
    shell: &Interpreter,
) -> Option<Piece<'f>> {
    let (instruction, triggered) = match &statement.instruction {
        Instruction::OnBuild(trigger) => (&trigger.trigger.value, true),
        other => (other, false),
    };
    let (role, form, run) = match instruction {
        Instruction::Run(run) => (Role::Run, &run.command, Some(run)),
        Instruction::Cmd(form) => (Role::Cmd, form, None),
        Instruction::Entrypoint(form) => (Role::Entrypoint, form, None),
        Instruction::Healthcheck(check) => match &check.probe {
            HealthcheckProbe::Command(form) => (Role::Healthcheck, form, None),
            HealthcheckProbe::None => return None,
        },
        _ => return None,
    };
    let path = file.source.file();
    let snippet = match form {
        CommandForm::Shell(_) if !shell.posix => Snippet::silent(path),
        CommandForm::Shell(text) => {
            shell_form(file, &statement.span, text, run.map_or(&[], |run| run.heredocs.as_slice()))
        }
        CommandForm::Exec(list) => exec_form(file, &statement.span, list),
    };
    let exec = matches!(form, CommandForm::Exec(_));
    Some(Piece { role, stage, statement, run, triggered, exec, shell: shell.clone(), snippet })
}

fn shell_form(file: &Dockerfile, span: &Span, text: &str, heredocs: &[Heredoc]) -> Snippet {
    let path = file.source.file();
    let logical = file.logical(span);
    let whole = logical.text();
    if !whole.ends_with(text) {
        return Snippet::silent(path);
    }
    let begin = whole.len() - text.len();
    let mut pieces: Vec<(usize, Position)> = vec![(0, logical.position(begin))];
    pieces.extend(
        logical.pieces().iter().filter(|(at, _)| *at > begin).map(|(at, place)| (at - begin, *place)),
    );
    if heredocs.is_empty() {
        return Snippet::new(path, text.to_owned(), pieces);
    }
    // The bodies follow the logical line.
    let first = logical.end().line as usize;
    let lines = file.source.lines();
    let lines = lines.get(first..(span.end.line as usize).min(lines.len())).unwrap_or_default();
    let body = |lines: &[String], text: &mut String, pieces: &mut Vec<(usize, Position)>| {
        for (index, line) in lines.iter().enumerate() {
            pieces.push((text.len(), Position::new((first + index) as u32 + 1, 1)));
            text.push_str(line);
            text.push('\n');
        }
    };
    if let [heredoc] = heredocs
        && text.trim() == heredoc.word.value.trim()
    {
        let lines = &lines[..lines.len().saturating_sub(1)];
        let interpreter = lines.first().and_then(|line| line.trim_start().strip_prefix("#!"));
        if interpreter.is_some_and(|interpreter| !is_shell(interpreter)) {
            return Snippet::silent(path);
        }
        let (mut text, mut pieces) = (String::new(), Vec::new());
        body(lines, &mut text, &mut pieces);
        return Snippet::new(path, text, pieces);
    }
    let mut text = format!("{text}\n");
    body(lines, &mut text, &mut pieces);
    Snippet::new(path, text, pieces)
}

/// Says whether what follows `#!` is a shell.
pub(crate) fn is_shell(interpreter: &str) -> bool {
    let mut words = interpreter.split_whitespace().map(|word| word.rsplit('/').next().unwrap_or(word));
    match words.next() {
        Some("env") => words.find(|word| !word.starts_with('-') && !word.contains('=')).is_some_and(is_posix),
        Some(name) => is_posix(name),
        None => false,
    }
}

fn exec_form(file: &Dockerfile, span: &Span, list: &[String]) -> Snippet {
    let path = file.source.file();
    let logical = file.logical(span);
    let whole = logical.text();
    // Each item where it stands in the list, as far as no escapes are in it.
    let mut at = whole.find('[').unwrap_or_default();
    let mut starts = Vec::new();
    for item in list {
        let literal = format!("\"{item}\"");
        match whole.get(at..).and_then(|rest| rest.find(&literal)) {
            Some(found) => {
                starts.push(at + found);
                at += found + literal.len();
            }
            None => starts.push(at),
        }
    }
    if let [program, option, script, ..] = list
        && is_posix(program.rsplit('/').next().unwrap_or(program))
        && option.starts_with('-')
        && option.ends_with('c')
    {
        let place = logical.position((starts[2] + 1).min(whole.len()));
        return Snippet::new(path, script.clone(), vec![(0, place)]);
    }
    let (mut text, mut pieces) = (String::new(), Vec::new());
    for (item, start) in list.iter().zip(starts) {
        let quoted = quote(item);
        // The list's own quotes stand where the shell's do, when there are any.
        let place = if quoted.starts_with('\'') { start } else { (start + 1).min(whole.len()) };
        pieces.push((text.len(), logical.position(place)));
        text.push_str(&quoted);
        text.push(' ');
    }
    let kept = text.trim_end().len();
    text.truncate(kept);
    Snippet::new(path, text, pieces)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn words(text: &str) -> Vec<String> {
        let file = coracle_dockerfile::parse(Path::new("D"), text).unwrap();
        let mut seen = Vec::new();
        for piece in pieces(&file) {
            let Some(script) = piece.snippet.script() else {
                seen.push("?".to_owned());
                continue;
            };
            for command in &script.commands {
                for word in &command.words {
                    let place = piece.snippet.span(&word.range);
                    seen.push(format!("{}:{} {}", place.start.line, place.start.column, word.text));
                }
            }
        }
        seen
    }

    #[test]
    fn words_stand_where_they_were_written() {
        let text = "FROM a\nRUN --mount=type=cache,target=/x a b \\\n  # note\n  && c \\\n  'd e'\n";
        assert_eq!(words(text), ["2:34 a", "2:36 b", "4:6 c", "5:3 d e"]);
        assert_eq!(words("FROM a\nONBUILD RUN x y\n"), ["2:13 x", "2:15 y"]);
        assert_eq!(words("FROM a\nHEALTHCHECK --retries=1 CMD x\n"), ["2:29 x"]);
        assert_eq!(words("FROM a\nCMD [\"a\", \"b c\", \"${X}\"]\n"), ["2:7 a", "2:11 b c", "2:18 ${X}"]);
        assert_eq!(words("FROM a\nCMD [\"sh\", \"-c\", \"x y\"]\n"), ["2:19 x", "2:21 y"]);
    }

    #[test]
    fn heredocs_are_scripts_or_input() {
        assert_eq!(words("FROM a\nRUN <<EOF\nx\n  y z\nEOF\n"), ["3:1 x", "4:3 y", "4:5 z"]);
        assert_eq!(words("FROM a\nRUN <<-EOF\n\tx\n\tEOF\n"), ["3:2 x"]);
        assert_eq!(words("FROM a\nRUN <<EOF\n#!/usr/bin/env python3\nx y\nEOF\n"), ["?"]);
        assert_eq!(words("FROM a\nRUN cat <<EOF >f && b\nit's\nEOF\n"), ["2:5 cat", "2:21 b"]);
    }

    #[test]
    fn other_shells_are_not_read() {
        assert_eq!(words("FROM a\nSHELL [\"powershell\", \"-c\"]\nRUN x\nFROM b\nRUN y\n"), ["?", "5:5 y"]);
        let file = coracle_dockerfile::parse(
            Path::new("D"),
            "FROM a AS b\nSHELL [\"/bin/bash\", \"-eo\", \"pipefail\", \"-c\"]\nFROM b\nRUN x\n",
        );
        let file = file.unwrap();
        let shell = &pieces(&file)[0].shell;
        assert!(shell.pipefail && shell.errexit && shell.name == "bash");
    }
}
