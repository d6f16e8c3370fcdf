//! Patterns that say which image references a recipe stands for.
//!
//! `*` stands for any characters, `{name}` for a run of digits that is captured; all else is literal.

use std::collections::BTreeMap;
use std::fmt;

use regex::Regex;

/// What the `{name}` parts of a pattern stood for, and `tag`, the reference's tag.
pub type Captures = BTreeMap<String, String>;

/// Why a text is no pattern.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum PatternError {
    /// A `{` without its `}`.
    #[error("pattern `{0}` has a `{{` without a `}}`")]
    Unclosed(String),
    /// A capture whose name is not `[a-z][a-z0-9_]*`.
    #[error("pattern `{pattern}` has a capture named `{name}`; names are lower-case letters, digits and `_`")]
    CaptureName {
        /// The pattern.
        pattern: String,
        /// The name.
        name: String,
    },
    /// The same capture twice, or one of the reserved name `tag`.
    #[error("pattern `{pattern}` captures `{name}` more than once (`tag` is always captured)")]
    Repeated {
        /// The pattern.
        pattern: String,
        /// The name.
        name: String,
    },
}

/// A compiled pattern over canonical references such as `docker.io/library/node:{major}-*`.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    regex: Regex,
    names: Vec<String>,
}

impl Pattern {
    /// Parses a pattern.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let mut expression = String::from(r"\A");
        let mut names: Vec<String> = Vec::new();
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            match next {
                '*' => {
                    expression.push_str(".*");
                    rest = &rest[1..];
                }
                '{' => {
                    let end = rest.find('}').ok_or_else(|| PatternError::Unclosed(text.to_owned()))?;
                    let name = &rest[1..end];
                    check_name(text, name)?;
                    if name == "tag" || names.iter().any(|known| known == name) {
                        return Err(PatternError::Repeated {
                            pattern: text.to_owned(),
                            name: name.to_owned(),
                        });
                    }
                    expression.push_str("([0-9]+)");
                    names.push(name.to_owned());
                    rest = &rest[end + 1..];
                }
                _ => {
                    let end = rest.find(['*', '{']).unwrap_or(rest.len());
                    expression.push_str(&regex::escape(&rest[..end]));
                    rest = &rest[end..];
                }
            }
        }
        expression.push_str(r"\z");
        let regex = Regex::new(&expression).expect("escaped literals, `.*` and digit groups always compile");
        Ok(Self { text: text.to_owned(), regex, names })
    }

    /// Returns what the captures stand for when the whole of `text` fits the pattern.
    pub fn matches(&self, text: &str) -> Option<Captures> {
        let found = self.regex.captures(text)?;
        let value = |index: usize| found.get(index + 1).map_or("", |group| group.as_str()).to_owned();
        Some(self.names.iter().enumerate().map(|(index, name)| (name.clone(), value(index))).collect())
    }

    /// Returns the pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the names of its captures in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn check_name(pattern: &str, name: &str) -> Result<(), PatternError> {
    let legal = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if legal {
        Ok(())
    } else {
        Err(PatternError::CaptureName { pattern: pattern.to_owned(), name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_and_captures() {
        let table = [
            ("a/node:{major}", "a/node:18", Some("major=18")),
            ("a/node:{major}", "a/node:18-alpine", None),
            ("a/node:{major}-*", "a/node:18-alpine", Some("major=18")),
            ("a/node:{major}.*", "a/node:18.20.8-slim", Some("major=18")),
            ("a/node:{major}.{minor}", "a/node:3.11", Some("major=3 minor=11")),
            ("a/no.e:x", "a/node:x", None),
            ("a/busybox:*", "a/busybox:musl", Some("")),
            ("a/busybox", "a/busybox:musl", None),
        ];
        for (pattern, text, expected) in table {
            let found = Pattern::parse(pattern).unwrap().matches(text).map(|captures| {
                let pairs: Vec<String> =
                    captures.iter().map(|(name, value)| format!("{name}={value}")).collect();
                pairs.join(" ")
            });
            assert_eq!(found.as_deref(), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn refuses() {
        for (pattern, message) in [
            ("a:{major", "pattern `a:{major` has a `{` without a `}`"),
            ("a:{}", "pattern `a:{}` has a capture named ``; names are lower-case letters, digits and `_`"),
            ("a:{m}.{m}", "pattern `a:{m}.{m}` captures `m` more than once (`tag` is always captured)"),
            ("a:{tag}", "pattern `a:{tag}` captures `tag` more than once (`tag` is always captured)"),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap_err().to_string(), message);
        }
    }
}
