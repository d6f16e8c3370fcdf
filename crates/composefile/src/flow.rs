//! Lists and mappings in brackets whose lines stand further left than YAML 1.2 allows.
//!
//! ```yaml
//! command: [
//!   "serve"
//! ]          # not indented more than `command`: refused by the specification, taken by Docker Compose and by everybody
//! ```
//!
//! The parser follows the specification. Where it refuses such a line, the line is moved to the right, which changes
//! nothing between brackets, and its columns are told as they are written.

use std::collections::BTreeSet;

use coracle_report::Position;
use saphyr_parser::{Event, Parser, ScanError};

/// How far a line is moved, columns.
const SHIFT: usize = 256;
/// Bytes that are read again at most, so that a hostile file costs no more than a few good ones.
const AGAIN: usize = 64 << 20;

/// Lines that were moved.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    lines: BTreeSet<usize>,
}

impl Moved {
    /// Returns a place as it is written.
    pub(crate) fn written(&self, line: usize, column: usize) -> Position {
        let column = if self.lines.contains(&line) { column.saturating_sub(SHIFT) } else { column };
        Position::new(line as u32, column as u32 + 1)
    }
}

/// Says whether the parser refused a line in brackets for where it begins.
pub(crate) fn is_outdented(error: &ScanError) -> bool {
    matches!(error.info(), "invalid indentation" | "invalid indentation in flow construct")
}

/// Returns the text with those lines moved that the parser refuses, and which they are; `None` when that does not help.
pub(crate) fn moved(text: &str, first: &ScanError) -> Option<(String, Moved)> {
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    let shift = " ".repeat(SHIFT);
    let mut moved = Moved::default();
    let mut refused = first.marker().line();
    let mut again = 0;
    loop {
        if !moved.lines.insert(refused) || lines.get(refused.checked_sub(1)?).is_none() {
            return None;
        }
        let mut whole = String::with_capacity(text.len() + moved.lines.len() * SHIFT);
        for (index, line) in lines.iter().enumerate() {
            if moved.lines.contains(&(index + 1)) {
                whole.push_str(&shift);
            }
            whole.push_str(line);
        }
        again += whole.len();
        if again > AGAIN {
            return None;
        }
        match fault(&whole) {
            Some(error) if is_outdented(&error) => refused = error.marker().line(),
            // Other faults are told of the moved text.
            _ => {
                lines.clear();
                return Some((whole, moved));
            }
        }
    }
}

/// Returns what the parser refuses of a text.
fn fault(text: &str) -> Option<ScanError> {
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        match event {
            Ok((Event::StreamEnd, _)) => return None,
            Ok(_) => {}
            Err(error) => return Some(error),
        }
    }
    None
}
