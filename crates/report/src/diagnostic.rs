//! Findings and failures as values: what, where, why, and what to do.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Span;

/// How bad a [`Diagnostic`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Works, but not as one would wish.
    Warning,
    /// Cannot go on.
    Error,
}

/// Advice that travels with a diagnostic, phrased as something the user can paste or do.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hint(pub String);

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A second place that a finding speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Related {
    /// Where.
    pub span: Span,
    /// The line that `span` points into.
    pub source_line: Option<String>,
    /// What stands there, in a few words: `the first one is here`.
    pub label: String,
}

/// One finding: what failed and on what, where, the lines that show why, and hints.
///
/// `message` is lower case and has no final period; it never repeats what `span` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// A stable short name in kebab-case, e.g. `unknown-key`; for machines and documentation.
    pub code: String,
    /// How bad it is.
    pub severity: Severity,
    /// What failed and on what.
    pub message: String,
    /// Where, when there is a place in a file.
    pub span: Option<Span>,
    /// The source line that `span` points into, for a caret rendering; with those after it, joined by line feeds, when
    /// the whole of an instruction is meant.
    pub source_line: Option<String>,
    /// Further places that the finding speaks of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<Related>,
    /// Evidence: last output lines of a command, near names, what was tried.
    pub notes: Vec<String>,
    /// What to do about it.
    pub hints: Vec<Hint>,
}

impl Diagnostic {
    /// Returns an error-level diagnostic.
    pub fn error(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, message)
    }

    /// Returns a warning-level diagnostic.
    pub fn warning(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message)
    }

    /// Returns a note-level diagnostic.
    pub fn note(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Severity::Note, code, message)
    }

    /// Returns a diagnostic without place, notes or hints.
    pub fn new(severity: Severity, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            severity,
            message: message.into(),
            span: None,
            source_line: None,
            related: Vec::new(),
            notes: Vec::new(),
            hints: Vec::new(),
        }
    }

    /// Adds the place.
    pub fn with_span(mut self, span: Span) -> Self {
        self.span = Some(span);
        self
    }

    /// Adds the source line that the span points into.
    pub fn with_source_line(mut self, line: impl Into<String>) -> Self {
        self.source_line = Some(line.into());
        self
    }

    /// Adds a further place.
    pub fn with_related(mut self, span: Span, label: impl Into<String>) -> Self {
        self.related.push(Related { span, source_line: None, label: label.into() });
        self
    }

    /// Adds one line of evidence.
    pub fn with_note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Adds one hint.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(Hint(hint.into()));
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(span) = &self.span {
            write!(f, "{span}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Diagnostic {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_place_then_message() {
        let diagnostic = Diagnostic::error("unknown-key", "unknown key `prots`")
            .with_span(Span::at("docker-compose.yml", 12, 5))
            .with_hint("did you mean `ports`?");
        assert_eq!(diagnostic.to_string(), "docker-compose.yml:12:5: unknown key `prots`");
    }
}
