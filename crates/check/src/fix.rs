//! Changes of files that mend a finding.

use coracle_report::{Position, Span};

/// A change of one stretch of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// What is replaced; an empty stretch inserts.
    pub span: Span,
    /// By what.
    pub text: String,
}

/// What mends a finding without a decision that is the author's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// What it does, in a few words: `write AS`.
    pub title: String,
    /// The changes.
    pub edits: Vec<Edit>,
}

impl Fix {
    /// Returns a fix that replaces one stretch.
    pub fn replace(title: impl Into<String>, span: &Span, text: impl Into<String>) -> Self {
        Self { title: title.into(), edits: vec![Edit { span: span.clone(), text: text.into() }] }
    }

    /// Returns a fix that takes whole lines out, from the first to the last of a stretch.
    pub fn remove_lines(title: impl Into<String>, span: &Span) -> Self {
        let last = if span.end.column <= 1 && span.end.line > span.start.line {
            span.end.line
        } else {
            span.end.line + 1
        };
        let lines = Span::new(span.file.clone(), Position::new(span.start.line, 1), Position::new(last, 1));
        Self::replace(title, &lines, "")
    }
}

/// Returns the text after those of `edits` that do not overlap an earlier one, and how many were left out.
/// A place beyond a line's end means that end.
pub fn apply(text: &str, edits: &[&Edit]) -> (String, usize) {
    let mut places: Vec<(usize, usize, &str)> = edits
        .iter()
        .map(|edit| (offset(text, edit.span.start), offset(text, edit.span.end), edit.text.as_str()))
        .collect();
    places.sort_by_key(|(start, end, _)| (*start, *end));
    places.dedup();
    let (mut out, mut at, mut left) = (String::with_capacity(text.len()), 0, 0);
    for (start, end, new) in places {
        if start < at || end < start {
            left += 1;
            continue;
        }
        out.push_str(&text[at..start]);
        out.push_str(new);
        at = end;
    }
    out.push_str(&text[at..]);
    (out, left)
}

/// Returns the byte at a position.
fn offset(text: &str, position: Position) -> usize {
    let mut start = 0;
    for _ in 1..position.line {
        match text[start..].find('\n') {
            Some(end) => start += end + 1,
            None => return text.len(),
        }
    }
    let line = text[start..].split('\n').next().unwrap_or_default();
    let skipped = position.column.max(1) as usize - 1;
    // A byte order mark is no column.
    let mark = if start == 0 && line.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    start + mark + line[mark..].chars().take(skipped).map(char::len_utf8).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(a: (u32, u32), b: (u32, u32)) -> Span {
        Span::new("f", Position::new(a.0, a.1), Position::new(b.0, b.1))
    }

    #[test]
    fn edits_are_made_from_first_to_last() {
        let text = "FROM a as b\nRUN é x\n# end\n";
        let first = Fix::replace("case", &span((1, 8), (1, 10)), "AS").edits;
        let second = Fix::replace("x", &span((2, 7), (2, 8)), "y").edits;
        let third = Fix::remove_lines("end", &span((3, 1), (3, 6))).edits;
        let all: Vec<&Edit> = third.iter().chain(&second).chain(&first).collect();
        assert_eq!(apply(text, &all), ("FROM a AS b\nRUN é y\n".to_owned(), 0));
    }

    #[test]
    fn what_overlaps_is_left_out() {
        let one = Fix::replace("1", &span((1, 1), (1, 4)), "x").edits;
        let two = Fix::replace("2", &span((1, 3), (1, 6)), "y").edits;
        assert_eq!(apply("abcdef", &[&one[0], &two[0]]), ("xdef".to_owned(), 1));
        assert_eq!(apply("abcdef", &[&one[0], &one[0]]), ("xdef".to_owned(), 0));
    }
}
