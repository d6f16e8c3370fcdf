//! Which line of a `RUN` over several lines failed: told by the output, when it tells.

use coracle_dockerfile::Source;
use coracle_report::{Diagnostic, Position, Span};

/// Lines of output that are asked, from the last.
const ASKED: usize = 8;

/// Lines of an instruction that are shown when none of them is known to have failed.
const SHOWN: usize = 12;

/// Returns a failed command's diagnostic at the one line of the instruction that the output means; with all
/// lines when it means none, or several.
pub(crate) fn narrow(mut diagnostic: Diagnostic, source: &Source, whole: &Span) -> Diagnostic {
    if diagnostic.source_line.is_none()
        && let Some(span) = diagnostic.span.as_ref().filter(|span| span.file() == source.file())
    {
        diagnostic.source_line = source.line(span.start.line).map(str::to_owned);
    }
    let here = diagnostic.code == "run-failed" && diagnostic.span.as_ref() == Some(whole);
    if !here || whole.file() != source.file() || whole.end.line <= whole.start.line {
        return diagnostic;
    }
    let lines: Vec<(u32, &str)> = (whole.start.line..=whole.end.line)
        .filter_map(|number| Some((number, source.line(number)?)))
        .filter(|(_, line)| !line.trim_start().starts_with('#'))
        .collect();
    let found = diagnostic.notes.iter().rev().take(ASKED).find_map(|said| place(&lines, said));
    if let Some((number, start, length)) = found {
        let at = |column: usize| Position::new(number, u32::try_from(column).unwrap_or(u32::MAX) + 1);
        diagnostic.span = Some(Span::new(source.file(), at(start), at(start + length)));
        diagnostic.source_line = source.line(number).map(str::to_owned);
    } else {
        // It may be any of them.
        let all: Vec<&str> =
            (whole.start.line..=whole.end.line).filter_map(|number| source.line(number)).collect();
        let mut shown = all[..all.len().min(SHOWN)].join("\n");
        if all.len() > SHOWN {
            shown.push_str("\n...");
        }
        diagnostic.source_line = Some(shown);
    }
    diagnostic
}

/// Returns line, column (from 0) and length of the command that complained by saying `said`.
fn place(lines: &[(u32, &str)], said: &str) -> Option<(u32, usize, usize)> {
    let name = complainer(said)?;
    let mut found = lines.iter().filter_map(|(number, line)| {
        let start = command_at(line, name)?;
        Some((*number, line[..start].chars().count(), name.chars().count()))
    });
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// Returns the program that a line of output comes from, or that it says is missing.
fn complainer(said: &str) -> Option<&str> {
    let missing = said.strip_suffix(": not found").or_else(|| said.strip_suffix(": command not found"));
    if let Some(before) = missing {
        return word(before.rsplit(": ").next()?);
    }
    for (start, program) in
        [("E: ", "apt-get"), ("npm ERR!", "npm"), ("npm error", "npm"), ("make: ***", "make")]
    {
        if said.starts_with(start) {
            return Some(program);
        }
    }
    let (before, _) = said.split_once(": ")?;
    word(before.rsplit('/').next()?)
}

fn word(text: &str) -> Option<&str> {
    let name = text.trim();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+');
    (!name.is_empty() && name.chars().all(fits)).then_some(name)
}

/// Returns where `name` stands in a line as a word by itself.
fn command_at(line: &str, name: &str) -> Option<usize> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    line.match_indices(name).map(|(at, _)| at).find(|at| {
        let before = line[..*at].chars().next_back();
        let after = line[at + name.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const CHAIN: &str = "\
FROM x
RUN apt-get update && \\
    apt-get install -y curl && \\
    # a comment about tsc
    cp a b && \\
    tsc --build \\
 && npm ci
";

    fn placed(text: &str, said: &str) -> String {
        let file = coracle_dockerfile::parse(Path::new("Dockerfile"), text).unwrap();
        let whole = &file.stages[0].instructions[0].span;
        let failed = Diagnostic::error("run-failed", "x").with_note(said).with_span(whole.clone());
        let narrowed = narrow(failed, &file.source, whole);
        let span = narrowed.span.unwrap();
        format!("{}:{}-{}", span.start.line, span.start.column, span.end.column)
    }

    #[test]
    fn the_output_names_the_line() {
        for (said, expected) in [
            ("/bin/sh: 1: tsc: not found", "6:5-8"),
            ("bash: line 1: tsc: command not found", "6:5-8"),
            ("cp: cannot stat 'a': No such file or directory", "5:5-7"),
            ("/usr/bin/cp: bad", "5:5-7"),
            ("npm ERR! code E404", "7:5-8"),
            // Two lines call it.
            ("E: Unable to locate package", "2:1-11"),
            ("error: something", "2:1-11"),
            ("nothing to see", "2:1-11"),
        ] {
            assert_eq!(placed(CHAIN, said), expected, "{said}");
        }
        assert_eq!(placed("FROM x\nRUN <<END\nset -e\ncp a b\nEND\n", "cp: cannot stat 'a'"), "4:1-3");
        assert_eq!(placed("FROM x\nRUN cp a b\n", "cp: cannot stat 'a'"), "2:1-11");
    }
}
