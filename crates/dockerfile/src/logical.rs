//! Logical lines: physical lines joined at continuations, with a map back to positions.

use std::ops::Range;

use coracle_report::{Position, Span};

use crate::{Escape, Source, Spanned, Word};

/// A logical line: continuations removed, comments in between dropped; knows where each of its bytes stands in the file.
#[derive(Clone, Debug)]
pub struct Logical {
    text: String,
    /// Where each physical line's text begins in `text`, and its position in the file.
    pieces: Vec<(usize, Position)>,
    end: Position,
}

/// What reading one logical line brought to light.
pub(crate) struct ReadLine {
    pub logical: Logical,
    /// Index of the first physical line after it.
    pub next: usize,
    /// Physical line numbers (from 1) that are empty within the continuation.
    pub empty_lines: Vec<u32>,
}

/// White space between the words of most instructions: never a line end, never anything beyond ASCII.
pub(crate) const BLANKS: [char; 5] = ['\t', '\u{b}', '\u{c}', '\r', ' '];

/// Returns what a physical line holds before its continuation mark; `None` when it does not go on. The mark is the
/// escape character at the end, unless one stands before it.
fn continued(line: &str, escape: char) -> Option<&str> {
    let content = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!content.ends_with(escape)).then_some(content)
}

impl Logical {
    /// Reads the logical line that begins at physical line `first` (index from 0), which is no comment and not blank.
    pub(crate) fn read(source: &Source, first: usize, escape: Escape) -> ReadLine {
        let mut logical = Self { text: String::new(), pieces: Vec::new(), end: Position::default() };
        let mut empty_lines = Vec::new();
        let mut index = first;
        let mut continues = true;
        while continues && index < source.lines().len() {
            let line = &source.lines()[index];
            let number = index as u32 + 1;
            index += 1;
            let trimmed = line.trim_start();
            if index > first + 1 {
                if trimmed.starts_with('#') {
                    continue;
                }
                if trimmed.is_empty() {
                    empty_lines.push(number);
                    continue;
                }
            }
            let (content, goes_on) = match continued(line, escape.char()) {
                Some(content) => (content, true),
                None => (line.as_str(), false),
            };
            let skipped = if index == first + 1 { content.len() - content.trim_start().len() } else { 0 };
            let column = content[..skipped].chars().count() as u32 + 1;
            logical.pieces.push((logical.text.len(), Position::new(number, column)));
            logical.text.push_str(&content[skipped..]);
            logical.end = Position::new(number, content.chars().count() as u32 + 1);
            continues = goes_on;
        }
        let kept = logical.text.trim_end().len();
        logical.text.truncate(kept);
        ReadLine { logical, next: index, empty_lines }
    }

    /// Returns the whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the position just after the last physical line's content.
    pub fn end(&self) -> Position {
        self.end
    }

    /// Returns where each physical line's part begins: its byte, and its position in the file.
    pub fn pieces(&self) -> &[(usize, Position)] {
        &self.pieces
    }

    /// Returns the position of byte `offset`.
    pub fn position(&self, offset: usize) -> Position {
        let piece = self.pieces.partition_point(|(start, _)| *start <= offset).saturating_sub(1);
        let Some((start, position)) = self.pieces.get(piece) else {
            return self.end;
        };
        let offset = offset.min(self.text.len());
        let columns = self.text.get(*start..offset).map_or(0, |text| text.chars().count());
        Position::new(position.line, position.column + columns as u32)
    }

    /// Returns the span of a stretch; its end belongs to the physical line of its last character.
    pub(crate) fn span(&self, source: &Source, range: Range<usize>) -> Span {
        let start = self.position(range.start);
        let last = self.text.get(range.clone()).and_then(|text| text.chars().next_back());
        let end = match last {
            None => start,
            Some(last) => {
                let position = self.position(range.end - last.len_utf8());
                Position::new(position.line, position.column + 1)
            }
        };
        source.span(start, end)
    }

    /// Returns the stretch as a word.
    pub(crate) fn word(&self, source: &Source, range: Range<usize>) -> Word {
        Spanned::new(self.text[range.clone()].to_owned(), self.span(source, range))
    }

    /// Returns the stretch without white space at its ends.
    pub(crate) fn trim(&self, range: Range<usize>) -> Range<usize> {
        let text = &self.text[range.clone()];
        let start = range.start + (text.len() - text.trim_start().len());
        start..start.max(range.start + text.trim_end().len())
    }

    /// Splits a stretch at white space, whatever quotes or escapes stand around it.
    pub(crate) fn blank_words(&self, range: Range<usize>) -> Vec<Range<usize>> {
        let text = &self.text[range.clone()];
        let mut words = Vec::new();
        let mut at = range.start;
        for word in text.split(BLANKS) {
            if !word.is_empty() {
                words.push(at..at + word.len());
            }
            // The blanks are one byte each.
            at += word.len() + 1;
        }
        words
    }

    /// Splits a stretch at white space that is neither quoted nor escaped; quotes and escapes stay in the words.
    pub(crate) fn words(&self, range: Range<usize>, escape: Escape) -> Vec<Range<usize>> {
        let mut words = Vec::new();
        let mut rest = self.trim(range);
        while !rest.is_empty() {
            let word = self.first_word(rest.clone(), escape).0;
            rest = self.trim(word.end..rest.end);
            words.push(word);
        }
        words
    }

    /// Returns the words that a shell would see in a stretch, for finding heredocs: what follows `<<` after blanks
    /// belongs to it. `None` when a quote is never closed: then there are no heredocs.
    pub(crate) fn shell_words(&self, range: Range<usize>) -> Option<Vec<Range<usize>>> {
        let mut words: Vec<Range<usize>> = Vec::new();
        let mut rest = self.trim(range);
        while !rest.is_empty() {
            let (mut word, closed) = self.first_word(rest.clone(), Escape::Backslash);
            if !closed {
                return None;
            }
            rest = self.trim(word.end..rest.end);
            while self.text[word.clone()].ends_with("<<") && !rest.is_empty() {
                let (next, closed) = self.first_word(rest.clone(), Escape::Backslash);
                if !closed {
                    return None;
                }
                word.end = next.end;
                rest = self.trim(word.end..rest.end);
            }
            words.push(word);
        }
        Some(words)
    }

    /// Returns the first word of a stretch that begins with no white space, and whether its quotes are closed.
    fn first_word(&self, range: Range<usize>, escape: Escape) -> (Range<usize>, bool) {
        let mut quote = None;
        let mut characters = self.text[range.clone()].char_indices();
        while let Some((offset, character)) = characters.next() {
            match quote {
                None if character.is_whitespace() => return (range.start..range.start + offset, true),
                Some(open) if open == character => quote = None,
                Some('\'') => {}
                // An escape hides the quote after it, and so must be looked for before quotes are.
                _ if character == escape.char() => {
                    characters.next();
                }
                None if character == '\'' || character == '"' => quote = Some(character),
                _ => {}
            }
        }
        (range, quote.is_none())
    }
}
