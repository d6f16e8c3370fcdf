//! `.env` files as their authors wrote them, line by line: also what the reader of values forgives.

use std::path::{Path, PathBuf};

use coracle_report::{Position, Span};

use crate::project::Subject;

/// One assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) name: String,
    /// What stands behind `=`, quotes and comment included.
    pub(crate) written: String,
    /// Blanks before and behind `=`.
    pub(crate) blanks: bool,
    /// Where the name is.
    pub(crate) name_span: Span,
    /// Where the value is.
    pub(crate) value_span: Span,
}

impl Assignment {
    /// Returns the value without quotes and comment.
    pub(crate) fn value(&self) -> &str {
        let text = self.written.trim();
        match text.chars().next() {
            Some(quote @ ('"' | '\'')) => text[1..].split(quote).next().unwrap_or_default(),
            _ => text.split(" #").next().unwrap_or_default().trim_end(),
        }
    }

    /// Says whether the value is in quotes.
    pub(crate) fn is_quoted(&self) -> bool {
        self.written.trim_start().starts_with(['"', '\''])
    }
}

/// Reads the assignments of a file; what goes on over several lines ends with the first.
pub(crate) fn read(path: &Path, text: &str) -> Vec<Assignment> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut found = Vec::new();
    let mut open: Option<char> = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_end_matches('\r');
        if let Some(quote) = open {
            if line.contains(quote) {
                open = None;
            }
            continue;
        }
        let start = line.len() - line.trim_start().len();
        let bare = &line[start..];
        if bare.is_empty() || bare.starts_with('#') {
            continue;
        }
        let behind = bare.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t']));
        let bare = behind.map_or(bare, str::trim_start);
        let Some((name, value)) = bare.split_once('=') else { continue };
        let plain = name.trim_end();
        if plain.is_empty()
            || !plain.chars().all(|character| character.is_alphanumeric() || "_.-".contains(character))
        {
            continue;
        }
        let column = |rest: &str| (line.chars().count() - rest.chars().count()) as u32 + 1;
        let place = |from: &str, length: usize| {
            let start = Position::new(index as u32 + 1, column(from));
            Span::new(path, start, Position::new(start.line, start.column + length as u32))
        };
        let trimmed = value.trim();
        if let Some(quote @ ('"' | '\'')) = trimmed.chars().next()
            && !trimmed[1..].contains(quote)
        {
            open = Some(quote);
        }
        found.push(Assignment {
            name: plain.to_owned(),
            written: value.to_owned(),
            blanks: plain.len() != name.len() || (value.starts_with([' ', '\t']) && !trimmed.is_empty()),
            name_span: place(bare, plain.chars().count()),
            value_span: place(value.trim_start(), trimmed.chars().count()),
        });
    }
    found
}

/// Returns the env files of the project's directory, in order; examples are none.
pub(crate) fn files(subject: &Subject<'_>) -> Vec<PathBuf> {
    let directory = subject.project().map_or(subject.directory, |project| &project.directory);
    let names = subject.files.list(directory).into_iter().filter(|name| is_env_file(name));
    names.map(|name| directory.join(name)).filter(|path| subject.files.is_file(path)).collect()
}

fn is_env_file(name: &str) -> bool {
    let own =
        name.starts_with(".env.") || name.rsplit_once('.').is_some_and(|(_, extension)| extension == "env");
    let parts = ["example", "sample", "template", "dist", "tpl", "defaults", "schema"];
    own && !parts.iter().any(|part| name.contains(part))
}

/// Returns the file whose variables compose files are read with here: `.env.ENV`, else `.env`.
pub(crate) fn of_environment(subject: &Subject<'_>) -> Option<PathBuf> {
    let directory = subject.project().map_or(subject.directory, |project| &project.directory);
    let own = subject.environment.map(|name| directory.join(format!(".env.{name}")));
    own.into_iter().chain([directory.join(".env")]).find(|path| subject.files.is_file(path))
}

/// Returns the text of a line up to a value, for messages: no output shows a secret.
pub(crate) fn masked(line: &str, value: &str) -> String {
    match line.find(value).filter(|_| !value.is_empty()) {
        Some(at) => format!("{}...", &line[..at]),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let text = "# a\nA=1\nexport B = 'x y'  # c\n  C=\"one\ntwo=3\"\nD=\n1 E=2\nF=a #b\n";
        let found = read(Path::new(".env"), text);
        let shown: Vec<String> = found
            .iter()
            .map(|one| {
                format!(
                    "{}={} {} {} {}",
                    one.name,
                    one.value(),
                    one.blanks,
                    one.name_span,
                    one.value_span.start.column
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                "A=1 false .env:2:1 3",
                "B=x y true .env:3:8 12",
                "C=one false .env:4:3 5",
                "D= false .env:6:1 3",
                "F=a false .env:8:1 3",
            ]
        );
    }
}
