//! The text of one file, kept for the source lines of diagnostics.

use std::path::{Path, PathBuf};

use coracle_report::{Diagnostic, Position, Severity, Span};

/// A file's name and lines (without line ends).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    file: PathBuf,
    lines: Vec<String>,
}

impl Source {
    /// Splits `text` into lines; a byte order mark and carriage returns at line ends are dropped.
    pub fn new(file: &Path, text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut lines: Vec<String> =
            text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line).to_owned()).collect();
        if lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        Self { file: file.to_owned(), lines }
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

    /// Returns `diagnostic` placed at `span`, with the source line the span begins on.
    pub fn place(&self, diagnostic: Diagnostic, span: &Span) -> Diagnostic {
        let placed = diagnostic.with_span(span.clone());
        match self.line(span.start.line) {
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
