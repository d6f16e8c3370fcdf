//! Patterns over text that is no path: `${name#pattern}`, `${name%pattern}`, `${name/pattern/replacement}`.
//!
//! `*` is any text within a line, `?` any one character, and a backslash takes their meaning from `*`, `?` and itself.
//! Brackets mean themselves, unlike in a shell: so reads BuildKit. Refuses nothing but other escapes.

use regex::Regex;

/// Why a text is no pattern.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum PatternError {
    /// A backslash before a character that needs none.
    #[error("`\\{0}` is no escape in a pattern: only `\\*`, `\\?`, `\\\\`, `\\/` and `\\}}` are")]
    Escape(char),
    /// A backslash at the pattern's end.
    #[error("the pattern ends with a backslash")]
    End,
    /// The pattern is longer than anybody needs.
    #[error("the pattern is too long")]
    TooLong,
}

enum Part {
    Char(char),
    Any,
    Star,
}

/// A pattern over text.
pub(crate) struct TextPattern(Vec<Part>);

impl TextPattern {
    /// Reads a pattern.
    pub(crate) fn new(text: &str) -> Result<Self, PatternError> {
        if text.len() > 4096 {
            return Err(PatternError::TooLong);
        }
        let mut parts = Vec::new();
        let mut rest = text.chars().peekable();
        while let Some(character) = rest.next() {
            parts.push(match character {
                '*' => Part::Star,
                '?' => Part::Any,
                // `}` and `/` end parts of the substitution; their escape was for that.
                '\\' if matches!(rest.peek(), Some('}' | '/')) => continue,
                '\\' => match rest.next() {
                    Some(next @ ('*' | '?' | '\\')) => Part::Char(next),
                    Some(next) => return Err(PatternError::Escape(next)),
                    None => return Err(PatternError::End),
                },
                other => Part::Char(other),
            });
        }
        Ok(Self(parts))
    }

    /// Removes the shortest or longest match from the beginning.
    pub(crate) fn without_prefix(&self, value: &str, longest: bool) -> Result<String, PatternError> {
        let pattern = compile(self.0.iter(), longest, true)?;
        let end = pattern.find(value).map_or(0, |found| found.end());
        Ok(value[end..].to_owned())
    }

    /// Removes the shortest or longest match from the end.
    pub(crate) fn without_suffix(&self, value: &str, longest: bool) -> Result<String, PatternError> {
        // The search goes leftmost first; what is wanted is rightmost, so both are read backwards.
        let pattern = compile(self.0.iter().rev(), longest, true)?;
        let backwards: String = value.chars().rev().collect();
        let end = pattern.find(&backwards).map_or(0, |found| found.end());
        Ok(backwards[end..].chars().rev().collect())
    }

    /// Replaces the first match, or all. An empty pattern matches before every character.
    pub(crate) fn replace(&self, value: &str, replacement: &str, all: bool) -> Result<String, PatternError> {
        let pattern = compile(self.0.iter(), true, false)?;
        Ok(pattern.replacen(value, usize::from(!all), regex::NoExpand(replacement)).into_owned())
    }
}

fn compile<'p>(
    parts: impl Iterator<Item = &'p Part>,
    longest: bool,
    anchored: bool,
) -> Result<Regex, PatternError> {
    let mut text = String::from(if anchored { "\\A" } else { "" });
    for part in parts {
        match part {
            Part::Char(character) => text.push_str(&regex::escape(character.encode_utf8(&mut [0; 4]))),
            Part::Any => text.push('.'),
            Part::Star => text.push_str(if longest { ".*" } else { ".*?" }),
        }
    }
    Regex::new(&text).map_err(|_| PatternError::TooLong)
}
