//! `.env` files: what readers take in different ways.

use coracle_report::{Position, Severity, Span};

use super::lines::{self, Assignment};
use super::secret::is_secret_name;
use crate::project::{Check, Findings, Run, Subject};
use crate::{Family, Fix, Rule};

pub(super) static CHECK: Check = Check {
    rules: &[&ENV_FILE_SPACES, &ENV_FILE_LINE_ENDS, &ENV_FILE_CUTS_VALUE, &ENV_VARIABLE_TWICE],
    run: Run::Subject(run),
};

static ENV_FILE_SPACES: Rule = Rule {
    id: "EnvFileSpaces",
    family: Family::Environment,
    severity: Severity::Note,
    title: "An env file is read alike by Compose, by `docker run --env-file` and by a shell",
    explanation: "Compose forgives blanks around `=` and values with blanks but no quotes. `docker run --env-file` keeps the blank behind `=`, and a shell that sources the file takes what stands behind the blank for a command. Write `NAME=value`, and quotes around a value with blanks.",
    example: Some(("APP_TITLE = My App", "APP_TITLE=\"My App\"")),
    fixable: true,
    ..Rule::PLAIN
};

static ENV_FILE_LINE_ENDS: Rule = Rule {
    id: "EnvFileLineEnds",
    family: Family::Environment,
    severity: Severity::Warning,
    title: "An env file has the line ends of Unix",
    explanation: "With the line ends of Windows a shell that sources the file, and `docker run --env-file`, take the carriage return for a part of each value: hosts are not found, passwords are wrong, and nothing shows why. Write `*.env text eol=lf` and `.env* text eol=lf` into `.gitattributes`.",
    example: Some(("DB_HOST=db\\r\\n", "DB_HOST=db\\n")),
    ..Rule::PLAIN
};

static ENV_FILE_CUTS_VALUE: Rule = Rule {
    id: "EnvFileCutsValue",
    family: Family::Environment,
    severity: Severity::Warning,
    title: "A password with `#` or `$` in it stands in single quotes",
    explanation: "Without quotes ` #` begins a comment, and `$` begins a variable, also between double quotes: the rest of the password is gone, or replaced by nothing. Single quotes keep everything.",
    example: Some(("DB_PASSWORD=a$b9 #x", "DB_PASSWORD='a$b9 #x'")),
    ..Rule::PLAIN
};

static ENV_VARIABLE_TWICE: Rule = Rule {
    id: "EnvVariableTwice",
    family: Family::Environment,
    severity: Severity::Warning,
    title: "An env file sets each variable once",
    explanation: "The last line counts, without a word: whoever edits the first one changes nothing. Take one of them out.",
    example: Some(("PORT=8000\nPORT=9000", "PORT=9000")),
    ..Rule::PLAIN
};

fn run(subject: &Subject<'_>, findings: &mut Findings) {
    // What the environment reads; each file belongs to one.
    let Some(path) = lines::of_environment(subject) else { return };
    let Some(text) = subject.files.text(&path) else { return };
    let found = lines::read(&path, &text);
    if let Some(index) = text.split('\n').position(|line| line.ends_with('\r') && line.contains('=')) {
        let line = text.split('\n').nth(index).unwrap_or_default();
        let end = Position::new(index as u32 + 1, line.chars().count() as u32);
        let span = Span::new(&path, end, Position::new(end.line, end.column + 1));
        findings
            .add(
                &ENV_FILE_LINE_ENDS,
                &span,
                "the lines end as on Windows: some readers keep the carriage return",
            )
            .hint(format!("sed -i 's/\\r$//' {}", path.file_name().unwrap_or_default().to_string_lossy()))
            .diagnostic
            .source_line = Some("...".to_owned());
    }
    for (index, one) in found.iter().enumerate() {
        spaces(one, findings);
        cut(one, &found, findings);
        let earlier = found[..index].iter().rev().find(|earlier| earlier.name == one.name);
        if let Some(earlier) = earlier.filter(|earlier| earlier.value() != one.value()) {
            let finding = findings.add(
                &ENV_VARIABLE_TWICE,
                &one.name_span,
                format!("`{}` is set twice; this one counts", one.name),
            );
            finding.also(&earlier.name_span, "this one does not").hint("take one of them out");
            finding.diagnostic.source_line = Some(format!("{}=...", one.name));
            for related in &mut finding.diagnostic.related {
                related.source_line = Some(format!("{}=...", one.name));
            }
        }
    }
}

fn spaces(one: &Assignment, findings: &mut Findings) {
    let value = one.value();
    let unquoted = !one.is_quoted() && value.contains([' ', '\t']);
    if !one.blanks && !unquoted {
        return;
    }
    let message = if one.blanks {
        format!("blanks around the `=` of `{}` are kept or refused by other readers", one.name)
    } else {
        format!("a shell that reads the file takes the second word of `{}` for a command", one.name)
    };
    let safe = !value.contains(['"', '\'', '\\', '$', '`']);
    let quoted = if one.is_quoted() || !unquoted {
        one.written.trim().split(" #").next().unwrap_or_default().trim_end().to_owned()
    } else {
        format!("\"{value}\"")
    };
    let finding = findings.add(&ENV_FILE_SPACES, &one.name_span, message);
    finding.diagnostic.source_line = Some(format!("{}{}...", one.name, if one.blanks { " = " } else { "=" }));
    finding.hint(if safe && !is_secret_name(&one.name) {
        format!("{}={quoted}", one.name)
    } else {
        format!("{}='...'", one.name)
    });
    if safe && one.name_span.start.line == one.value_span.start.line && !one.written.contains(" #") {
        let whole = Span::new(one.name_span.file.clone(), one.name_span.start, one.value_span.end);
        finding.fix(Fix::replace(
            "write it as all readers take it",
            &whole,
            format!("{}={quoted}", one.name),
        ));
    }
}

fn cut(one: &Assignment, all: &[Assignment], findings: &mut Findings) {
    if !is_secret_name(&one.name) || one.written.trim_start().starts_with('\'') {
        return;
    }
    let written = one.written.trim();
    // A comment has a blank behind its sign as a rule; a password has none.
    let comment = !one.is_quoted()
        && written.split_once(" #").is_some_and(|(before, rest)| {
            !before.trim().is_empty()
                && !rest.is_empty()
                && !rest.starts_with([' ', '#'])
                && !rest.contains(' ')
        });
    let variable = written.match_indices('$').find_map(|(at, _)| {
        let rest = &written[at + 1..];
        let escaped = written[..at].ends_with(['$', '\\']);
        let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let name = &rest[..length];
        let legal = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        // In capitals it may be a variable of the shell that is meant.
        let meant =
            name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_') && name.len() > 2;
        (legal && !escaped && !meant && !all.iter().any(|other| other.name == name)).then(|| name.to_owned())
    });
    let what = match (comment, variable) {
        (true, _) => "ends before ` #`: what follows is a comment".to_owned(),
        (false, Some(_)) => "loses what stands behind `$`: it is taken for a variable".to_owned(),
        (false, None) => return,
    };
    findings
        .add(&ENV_FILE_CUTS_VALUE, &one.name_span, format!("`{}` {what}", one.name))
        .hint(format!("put it in single quotes: {}='...'", one.name))
        .diagnostic
        .source_line = Some(format!("{}=...", one.name));
}
