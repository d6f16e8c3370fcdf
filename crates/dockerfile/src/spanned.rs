//! A value together with the place it was written at.

use std::fmt;
use std::ops::Deref;

use coracle_report::Span;

/// A value and where it stands in its file.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it was written.
    pub span: Span,
}

/// A stretch of source text before expansion: quotes, escapes and variables are still in it.
pub type Word = Spanned<String>;

impl<T> Spanned<T> {
    /// Puts `value` at `span`.
    pub fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

impl<T> Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Spanned<T> {
    /// Writes `value@line:column`, short enough for snapshots.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)?;
        write!(f, "@{}:{}", self.span.start.line, self.span.start.column)
    }
}
