//! Places in source files.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A place in a text: line and column, both counted from 1; columns count characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl Position {
    /// Returns the position of `line` and `column`, both from 1.
    pub const fn new(line: u32, column: u32) -> Self {
        Self { line, column }
    }
}

/// A stretch of one file, `end` exclusive. Printed as `file:line:column`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span {
    /// The file as the user named it.
    pub file: PathBuf,
    /// Where the stretch begins.
    pub start: Position,
    /// The position just after the stretch.
    pub end: Position,
}

impl Span {
    /// Returns the span from `start` to `end` of `file`.
    pub fn new(file: impl Into<PathBuf>, start: Position, end: Position) -> Self {
        Self { file: file.into(), start, end }
    }

    /// Returns an empty span at one place.
    pub fn at(file: impl Into<PathBuf>, line: u32, column: u32) -> Self {
        let position = Position::new(line, column);
        Self::new(file, position, position)
    }

    /// Returns the file as the user named it.
    pub fn file(&self) -> &Path {
        &self.file
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.start.line, self.start.column)
    }
}
