//! A file's text, and diagnostics that point into it.

use std::ops::Range;
use std::path::PathBuf;

use coracle_report::{Diagnostic, Position, Span};

/// A finding, boxed because it travels through deep recursion.
pub(crate) type Fault = Box<Diagnostic>;

/// One file.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    name: PathBuf,
    text: String,
    lines: Vec<usize>,
}

impl Source {
    pub(crate) fn new(name: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        let text = text.into();
        let starts = text.match_indices('\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(starts).collect();
        Self { name: name.into(), text, lines }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn name(&self) -> &std::path::Path {
        &self.name
    }

    /// Returns the place of a range of bytes.
    pub(crate) fn span(&self, range: &Range<usize>) -> Span {
        Span::new(&self.name, self.position(range.start), self.position(range.end.max(range.start)))
    }

    fn position(&self, at: usize) -> Position {
        let at = at.min(self.text.len());
        let line = self.lines.partition_point(|start| *start <= at).saturating_sub(1);
        let start = self.lines[line];
        let column = self.text.get(start..at).map_or(0, |before| before.chars().count());
        Position::new(line as u32 + 1, column as u32 + 1)
    }

    /// Returns the text of a line, counted from 1.
    fn line(&self, number: u32) -> &str {
        let start = self.lines.get(number as usize - 1).copied().unwrap_or(0);
        self.text[start..].lines().next().unwrap_or("")
    }

    /// Puts a diagnostic at a range, unless it has a place already.
    pub(crate) fn place(&self, diagnostic: Diagnostic, range: &Range<usize>) -> Fault {
        if diagnostic.span.is_some() {
            return Box::new(diagnostic);
        }
        let span = self.span(range);
        let line: String = self.line(span.start.line).chars().take(400).collect();
        Box::new(diagnostic.with_span(span).with_source_line(line))
    }

    /// Returns an error at a range.
    pub(crate) fn error(&self, code: &str, message: impl Into<String>, range: &Range<usize>) -> Fault {
        self.place(Diagnostic::error(code, message), range)
    }
}

/// Returns the candidate nearest to `wanted`, when one is near.
pub(crate) fn nearest<'a>(wanted: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if wanted.len() > 256 {
        return None;
    }
    let scored = candidates.into_iter().map(|candidate| (strsim::jaro_winkler(wanted, candidate), candidate));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > 0.8).then_some(best.1)
}

/// Adds the near name, if there is one.
pub(crate) fn with_near<'a>(
    diagnostic: Diagnostic,
    wanted: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Diagnostic {
    match nearest(wanted, candidates) {
        Some(near) => diagnostic.with_hint(format!("did you mean `{near}`?")),
        None => diagnostic,
    }
}
