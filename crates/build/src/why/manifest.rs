//! The files that a step takes, each with what it is known by: kept as sorted lines, compared by merging.

use std::cmp::Ordering;
use std::fmt::Write as _;
use std::iter::Peekable;

use super::cause::{Cause, FileChange, short};

/// Files that a manifest names at most; beyond that only the digest over all of them is known.
const MOST: usize = 300_000;

/// One file, directory or link that a selection takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceEntry {
    /// Relative to the place it is taken from.
    pub path: String,
    /// `f`ile, `d`irectory, `l`ink, or another letter for something else.
    pub kind: char,
    /// Permission bits.
    pub mode: u32,
    /// Hexadecimal digest of the content or of a link's target; empty for what has none.
    pub content: String,
    /// Bytes of content.
    pub size: u64,
}

/// Writes entries as a manifest; `None` when there are too many to be worth it.
pub(super) fn write(mut entries: Vec<SourceEntry>) -> Option<String> {
    if entries.len() > MOST {
        return None;
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    entries.dedup_by(|a, b| a.path == b.path);
    let mut text = String::with_capacity(entries.len() * 64);
    for entry in &entries {
        let path = entry.path.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = writeln!(text, "{}{:o} {} {path}", entry.kind, entry.mode, short(&entry.content));
    }
    Some(text)
}

#[derive(Clone, Copy)]
struct Line<'t> {
    kind: char,
    mode: &'t str,
    content: &'t str,
    path: &'t str,
}

fn read(text: &str) -> Peekable<impl Iterator<Item = Line<'_>>> {
    text.lines()
        .filter_map(|line| {
            let mut parts = line.splitn(3, ' ');
            let (mode, content, path) = (parts.next()?, parts.next()?, parts.next()?);
            let kind = mode.chars().next()?;
            Some(Line { kind, mode: &mode[kind.len_utf8()..], content, path })
        })
        .peekable()
}

/// Returns what became of the files between two manifests, at most `most` changes.
pub(super) fn compare(old: &str, new: &str, most: usize) -> Vec<Cause> {
    let (mut old, mut new) = (read(old), read(new));
    let mut causes = Vec::new();
    while causes.len() < most {
        let order = match (old.peek(), new.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.path.cmp(new.path),
        };
        let was = if order == Ordering::Greater { None } else { old.next() };
        let is = if order == Ordering::Less { None } else { new.next() };
        let Some(path) = was.or(is).map(|line| line.path) else { break };
        if let Some(change) = change(was, is) {
            let path = if path.is_empty() { ".".to_owned() } else { unescape(path) };
            causes.push(Cause::File { path, change });
        }
    }
    causes
}

/// Undoes what [`write`] did to line ends.
fn unescape(path: &str) -> String {
    let mut text = String::new();
    let mut characters = path.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' if characters.clone().next() == Some('n') => {
                characters.next();
                // Shown to people in one line.
                text.push('?');
            }
            '\\' => {
                characters.next();
                text.push('\\');
            }
            other => text.push(other),
        }
    }
    text
}

fn change(was: Option<Line<'_>>, is: Option<Line<'_>>) -> Option<FileChange> {
    match (was, is) {
        (None, Some(is)) => Some(FileChange::Added { new: is.content.to_owned() }),
        (Some(was), None) => Some(FileChange::Removed { old: was.content.to_owned() }),
        (Some(was), Some(is)) if was.kind != is.kind => {
            Some(FileChange::Kind { old: kind(was.kind).to_owned(), new: kind(is.kind).to_owned() })
        }
        (Some(was), Some(is)) if was.content != is.content => {
            Some(FileChange::Content { old: was.content.to_owned(), new: is.content.to_owned() })
        }
        (Some(was), Some(is)) if was.mode != is.mode => {
            Some(FileChange::Mode { old: was.mode.to_owned(), new: is.mode.to_owned() })
        }
        _ => None,
    }
}

fn kind(letter: char) -> &'static str {
    match letter {
        'f' => "file",
        'd' => "directory",
        'l' => "link",
        _ => "special file",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, kind: char, mode: u32, content: &str) -> SourceEntry {
        SourceEntry { path: path.to_owned(), kind, mode, content: content.repeat(12), size: 0 }
    }

    #[test]
    fn every_change_is_told() {
        let old = vec![
            entry("", 'd', 0o755, ""),
            entry("same", 'f', 0o644, "1"),
            entry("gone", 'f', 0o644, "2"),
            entry("edited", 'f', 0o644, "3"),
            entry("script", 'f', 0o644, "4"),
            entry("turned", 'f', 0o644, "5"),
            entry("odd\nname \\n", 'f', 0o644, "6"),
        ];
        let new = vec![
            entry("turned", 'l', 0o777, "5"),
            entry("new", 'f', 0o644, "7"),
            entry("", 'd', 0o755, ""),
            entry("same", 'f', 0o644, "1"),
            entry("edited", 'f', 0o600, "9"),
            entry("script", 'f', 0o755, "4"),
            entry("odd\nname \\n", 'f', 0o644, "8"),
        ];
        let (old, new) = (write(old).unwrap(), write(new).unwrap());
        let told: Vec<String> = compare(&old, &new, 100).iter().map(Cause::to_string).collect();
        assert_eq!(
            told,
            [
                "edited changed: 333333333333 -> 999999999999",
                "gone was removed (222222222222)",
                "new was added (777777777777)",
                "odd?name \\n changed: 666666666666 -> 888888888888",
                "script changed its mode: 644 -> 755",
                "turned was a file, is a link",
            ]
        );
        assert_eq!(compare(&old, &new, 2).len(), 2);
        assert_eq!(compare(&new, &new, 100), []);
        // A memory that was cut off is compared as far as it goes.
        assert_eq!(compare("f644", &new, 100).len(), 7);
    }
}
