//! The text of one file, kept for the source lines of diagnostics.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use coracle_report::{Diagnostic, Position, Severity, Span};

/// A file's name and lines (without line ends).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    file: PathBuf,
    lines: Vec<String>,
    /// How many carriage returns stood at the end of a line (index from 0), where there were any.
    returns: BTreeMap<usize, usize>,
}

impl Source {
    /// Splits `text` into lines; a byte order mark is dropped, and so are carriage returns at line ends (heredocs
    /// get theirs back from [`Self::line_end`]).
    pub fn new(file: &Path, text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut lines = Vec::new();
        let mut returns = BTreeMap::new();
        for (index, line) in text.split('\n').enumerate() {
            let content = line.trim_end_matches('\r');
            if content.len() < line.len() {
                returns.insert(index, line.len() - content.len());
            }
            lines.push(content.to_owned());
        }
        if lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        Self { file: file.to_owned(), lines, returns }
    }

    /// Returns how line `index` (from 0) ends: a line feed, after carriage returns if it had some.
    pub(crate) fn line_end(&self, index: usize) -> String {
        let mut end = "\r".repeat(self.returns.get(&index).copied().unwrap_or(0));
        end.push('\n');
        end
    }

    /// Returns the file as the user named it.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Returns all lines.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Returns line `number`, counted from 1.
    pub fn line(&self, number: u32) -> Option<&str> {
        self.lines.get((number as usize).checked_sub(1)?).map(String::as_str)
    }

    /// Returns the span between two positions of this file.
    pub fn span(&self, start: Position, end: Position) -> Span {
        Span::new(&self.file, start, end)
    }

    /// Returns `diagnostic` placed at `span`, with the source line the span begins on if it lies in this file.
    pub fn place(&self, diagnostic: Diagnostic, span: &Span) -> Diagnostic {
        let placed = diagnostic.with_span(span.clone());
        match self.line(span.start.line).filter(|_| span.file() == self.file) {
            Some(line) => placed.with_source_line(line),
            None => placed,
        }
    }

    /// Returns an error at `span`.
    pub fn error(&self, code: &str, message: impl Into<String>, span: &Span) -> Diagnostic {
        self.place(Diagnostic::error(code, message), span)
    }

    /// Returns a warning at `span`.
    pub fn warning(&self, code: &str, message: impl Into<String>, span: &Span) -> Diagnostic {
        self.place(Diagnostic::new(Severity::Warning, code, message), span)
    }
}
