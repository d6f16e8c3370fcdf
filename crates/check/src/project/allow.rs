//! `# coracle: allow(ID) reason` in the files themselves.
//!
//! The comment stands on the line of the finding, on the lines before it, or (`allow-file(ID)`) anywhere in the file.
//! Comments of hadolint (`# hadolint ignore=DL3008`) are obeyed as well.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Files;
use crate::{Finding, find_any};

/// The comments of the files that findings point into.
#[derive(Default)]
pub(crate) struct Allowances {
    files: BTreeMap<PathBuf, Vec<Line>>,
}

/// One line of a file, as far as it matters.
struct Line {
    /// Whether it holds nothing but a comment.
    comment: bool,
    /// Rules that are allowed on it.
    here: Vec<String>,
    /// Rules that are allowed in the whole file.
    file: Vec<String>,
}

impl Allowances {
    /// Says whether a comment of its file allows a finding.
    pub(crate) fn allow(&mut self, finding: &Finding, files: &dyn Files) -> bool {
        let Some(span) = &finding.diagnostic.span else { return false };
        let lines = self.files.entry(span.file.clone()).or_insert_with(|| {
            files.text(&span.file).map(|text| text.lines().map(read).collect()).unwrap_or_default()
        });
        let named = |names: &[String]| names.iter().any(|name| finding.rule.is_called(name));
        if lines.iter().any(|line| named(&line.file)) {
            return true;
        }
        // The line itself, the first line of the instruction, and the comments above either.
        for start in [span.start.line, finding.lines.start.line] {
            let Some(index) = (start as usize).checked_sub(1).filter(|index| *index < lines.len()) else {
                continue;
            };
            if named(&lines[index].here) {
                return true;
            }
            let above = lines[..index].iter().rev().take_while(|line| line.comment);
            if above.into_iter().any(|line| named(&line.here)) {
                return true;
            }
        }
        false
    }
}

fn read(line: &str) -> Line {
    let trimmed = line.trim_start();
    let comment = trimmed.starts_with('#') || trimmed.starts_with("//") || trimmed.starts_with("--");
    let (mut here, mut file) = (Vec::new(), Vec::new());
    let names = |text: &str| -> Vec<String> {
        let names = text.split(',').map(|name| name.trim().to_owned());
        names.filter(|name| find_any(name).is_some()).collect()
    };
    if let Some((_, rest)) = line.split_once("coracle:") {
        let rest = rest.trim_start();
        let (place, list) = if let Some(list) = rest.strip_prefix("allow-file(") {
            (&mut file, Some(list))
        } else {
            (&mut here, rest.strip_prefix("allow("))
        };
        if let Some((list, _)) = list.and_then(|list| list.split_once(')')) {
            place.extend(names(list));
        }
    }
    if let Some((_, rest)) = line.split_once("hadolint") {
        let rest = rest.trim_start();
        let (place, rest) = match rest.strip_prefix("global") {
            Some(rest) => (&mut file, rest.trim_start()),
            None => (&mut here, rest),
        };
        if let Some(list) = rest.strip_prefix("ignore=") {
            place.extend(names(list.split_whitespace().next().unwrap_or_default()));
        }
    }
    Line { comment, here, file }
}
