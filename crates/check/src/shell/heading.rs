//! How scripts begin, and their line ends.

use std::path::Path;

use coracle_report::{Position, Severity, Span};

use crate::project::{Findings, Subject};
use crate::{Edit, Family, Fix, Rule};

pub(super) static RULES: &[&Rule] = &[&SHEBANG_NOT_FIRST, &SHEBANG_MISSING, &CRLF_SCRIPT];

static SHEBANG_NOT_FIRST: Rule = Rule {
    id: "ShebangNotFirst",
    aliases: &["SC1128"],
    family: Family::Shell,
    severity: Severity::Warning,
    title: "`#!` counts only on the first line",
    explanation: "The kernel looks at the first two bytes of the file. When they are not `#!`, the script is run by whatever shell the caller has, or not at all (\"Exec format error\"): `[[`, arrays and `set -o pipefail` of bash are then errors of `sh`.",
    example: Some(("# scripts/deploy.sh\n#!/bin/bash", "#!/bin/bash\n# scripts/deploy.sh")),
    url: Some("https://www.shellcheck.net/wiki/SC1128"),
    fixable: true,
    ..Rule::PLAIN
};

static SHEBANG_MISSING: Rule = Rule {
    id: "ShebangMissing",
    aliases: &["SC2148"],
    family: Family::Shell,
    severity: Severity::Note,
    title: "An executable script does not say what runs it",
    explanation: "Without `#!` on the first line the script is run by whatever shell the caller has, or not at all (\"Exec format error\", when a container starts it). Write `#!/bin/sh`, or `#!/usr/bin/env bash` where bash is needed.",
    example: Some(("set -e", "#!/bin/sh\nset -e")),
    url: Some("https://www.shellcheck.net/wiki/SC2148"),
    ..Rule::PLAIN
};

static CRLF_SCRIPT: Rule = Rule {
    id: "CrlfScript",
    aliases: &["SC1017"],
    family: Family::Shell,
    severity: Severity::Error,
    title: "A script has the line ends of Windows",
    explanation: "The kernel looks for a program called `sh` with a carriage return at its end: \"no such file or directory\" or \"exec format error\", although the file is there. Save it with plain line ends, and keep git from changing them again: `*.sh text eol=lf` in `.gitattributes`.",
    example: Some(("#!/bin/sh\\r\\n", "#!/bin/sh\\n")),
    url: Some("https://www.shellcheck.net/wiki/SC1017"),
    fixable: true,
    ..Rule::PLAIN
};

/// Returns the line (from 1) of `#!` among the first ones, and what follows it.
pub(super) fn shebang(text: &str) -> Option<(u32, &str)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines =
        text.lines().take(10).enumerate().take_while(|(_, line)| line.is_empty() || line.starts_with('#'));
    lines.into_iter().find_map(|(index, line)| Some((index as u32 + 1, line.strip_prefix("#!")?.trim())))
}

/// Returns the line after the comments that a script begins with.
pub(super) fn after(text: &str) -> u32 {
    text.lines().take_while(|line| line.starts_with('#')).count() as u32 + 1
}

pub(super) fn run(subject: &Subject<'_>, path: &Path, text: &str, findings: &mut Findings) {
    let line_span = |number: u32, length: usize| {
        Span::new(path, Position::new(number, 1), Position::new(number, length as u32 + 1))
    };
    match shebang(text) {
        Some((number, _)) if number > 1 => {
            let line = text.lines().nth(number as usize - 1).unwrap_or_default();
            let first = text.lines().next().unwrap_or_default();
            let span = line_span(number, line.chars().count());
            let top = Span::new(path, Position::new(1, 1), Position::new(1, 1));
            let mut fix = Fix::remove_lines("move it to the first line", &span);
            fix.edits.insert(0, Edit { span: top, text: format!("{line}\n") });
            findings
                .add(&SHEBANG_NOT_FIRST, &span, "`#!` counts only on the first line: here it is a comment")
                .also(&line_span(1, first.chars().count()), "this stands before it")
                .hint("make it the first line")
                .fix(fix);
        }
        None => {
            let executable = subject.files.mode(path).is_some_and(|(mode, _)| mode & 0o111 != 0);
            if executable && !text.trim().is_empty() {
                let first = text.lines().next().unwrap_or_default();
                let span = line_span(1, first.chars().count());
                findings
                    .add(&SHEBANG_MISSING, &span, "nothing says which shell this executable script is for")
                    .hint("write `#!/bin/sh`, or `#!/usr/bin/env bash`, as the first line");
            }
        }
        Some((number, _)) => {
            let Some(line) = text.split('\n').next().filter(|line| line.ends_with('\r')) else { return };
            let length = line.chars().count();
            let span = line_span(number, length - 1);
            let edits =
                text.split('\n').enumerate().filter(|(_, line)| line.ends_with('\r')).map(|(index, line)| {
                    let length = line.chars().count() as u32;
                    let number = index as u32 + 1;
                    let end =
                        Span::new(path, Position::new(number, length), Position::new(number, length + 1));
                    Edit { span: end, text: String::new() }
                });
            findings
                .add(&CRLF_SCRIPT, &span, "the program that is to run this has a carriage return in its name")
                .hint("write `*.sh text eol=lf` to .gitattributes, and save the file with plain line ends")
                .fix(Fix { title: "write plain line ends".to_owned(), edits: edits.collect() });
        }
    }
}
