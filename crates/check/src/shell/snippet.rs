//! Stretches of shell text in their files.

use std::ops::Range;
use std::path::{Path, PathBuf};

use coracle_report::{Position, Span};

use super::parse::{Unread, parse};
use super::script::Script;

/// A shell text that stands in a file, perhaps over several lines, and what it says.
#[derive(Clone, Debug)]
pub(crate) struct Snippet {
    /// The text that was read: continuations joined.
    pub text: String,
    /// Its commands, or why there are none.
    pub script: Result<Script, Unread>,
    file: PathBuf,
    /// Where each stretch of the text begins, and its position in the file.
    pieces: Vec<(usize, Position)>,
}

impl Snippet {
    /// Reads a text whose stretches stand at `pieces`, in ascending order from byte 0.
    pub(crate) fn new(file: &Path, text: String, pieces: Vec<(usize, Position)>) -> Self {
        let script = parse(&text);
        Self { text, script, file: file.to_owned(), pieces }
    }

    /// Reads a whole file.
    pub(crate) fn of_file(file: &Path, text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let text = if text.contains('\r') { text.replace("\r\n", "\n") } else { text.to_owned() };
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(index, _)| index + 1));
        let pieces = starts.enumerate().map(|(line, start)| (start, Position::new(line as u32 + 1, 1)));
        let pieces = pieces.collect();
        Self::new(file, text, pieces)
    }

    /// Returns a text that no shell reads.
    pub(crate) fn silent(file: &Path) -> Self {
        Self { text: String::new(), script: Err(Unread::Unknown), file: file.to_owned(), pieces: Vec::new() }
    }

    /// Returns its commands, if it could be read.
    pub(crate) fn script(&self) -> Option<&Script> {
        self.script.as_ref().ok()
    }

    /// Returns the position of a byte.
    pub(crate) fn position(&self, offset: usize) -> Position {
        let piece = self.pieces.partition_point(|(start, _)| *start <= offset).saturating_sub(1);
        let Some((start, position)) = self.pieces.get(piece) else { return Position::new(1, 1) };
        let offset = offset.min(self.text.len());
        let columns = self.text.get(*start..offset).map_or(0, |text| text.chars().count());
        Position::new(position.line, position.column + columns as u32)
    }

    /// Returns the place of a stretch; its end belongs to the line of its last character.
    pub(crate) fn span(&self, range: &Range<usize>) -> Span {
        let start = self.position(range.start);
        let last = self.text.get(range.clone()).and_then(|text| text.chars().next_back());
        let end = last.map_or(start, |last| {
            let position = self.position(range.end - last.len_utf8());
            Position::new(position.line, position.column + 1)
        });
        Span::new(&self.file, start, end)
    }
}
