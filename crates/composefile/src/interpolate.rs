//! `$NAME` and `${NAME...}` in values (Compose specification, "Interpolation").

/// Where a variable's value comes from.
pub(crate) type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Why a text cannot be interpolated, and where in it (byte offset).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub(crate) struct InterpolationError {
    pub(crate) offset: usize,
    pub(crate) kind: InterpolationErrorKind,
}

/// The kinds of [`InterpolationError`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InterpolationErrorKind {
    /// The result would be larger than any value needs to be.
    #[error("the value becomes longer than {} MiB", LENGTH_LIMIT >> 20)]
    TooLong,
    /// `${` without `}`.
    #[error("`${{` has no matching `}}`")]
    Unclosed,
    /// `${` without a name, or something behind the name that is no operator.
    #[error("`${{{0}` is not a variable: expected a name, then `}}`, `:-`, `-`, `:?`, `?`, `:+` or `+`")]
    Malformed(String),
    /// `${NAME:?message}` without a value.
    #[error("required variable `{name}` is not set{}", if message.is_empty() { String::new() } else { format!(": {message}") })]
    Required {
        /// The variable.
        name: String,
        /// The text behind `?`.
        message: String,
    },
}

/// A variable that has neither value nor default, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) name: String,
    pub(crate) offset: usize,
}

/// Returns `text` with its variables replaced; those without value or default are added to `missing`.
pub(crate) fn interpolate(
    text: &str,
    lookup: &Lookup<'_>,
    missing: &mut Vec<Missing>,
) -> Result<String, InterpolationError> {
    let mut parser = Parser { text, at: 0, lookup, missing };
    parser.run(false)
}

/// Bytes that one value may become; variables that hold one another would grow without bound.
const LENGTH_LIMIT: usize = 8 << 20;

/// Levels of `${A:-${B:-...}}`; more is an attack on the stack.
const NESTING_LIMIT: usize = 32;

struct Parser<'a> {
    text: &'a str,
    at: usize,
    lookup: &'a Lookup<'a>,
    missing: &'a mut Vec<Missing>,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn error<T>(&self, offset: usize, kind: InterpolationErrorKind) -> Result<T, InterpolationError> {
        Err(InterpolationError { offset: offset.min(self.text.len()), kind })
    }

    /// Reads to the end of the text or, inside braces, to the closing brace (not consumed).
    fn run(&mut self, braced: bool) -> Result<String, InterpolationError> {
        self.run_at(braced, 0)
    }

    fn run_at(&mut self, braced: bool, depth: usize) -> Result<String, InterpolationError> {
        let mut out = String::new();
        while let Some(character) = self.rest().chars().next() {
            match character {
                '$' => {
                    let at = self.at;
                    out.push_str(&self.variable(depth)?);
                    if out.len() > LENGTH_LIMIT {
                        return self.error(at, InterpolationErrorKind::TooLong);
                    }
                }
                '}' if braced => break,
                other => {
                    out.push(other);
                    self.at += other.len_utf8();
                }
            }
        }
        Ok(out)
    }

    fn variable(&mut self, depth: usize) -> Result<String, InterpolationError> {
        let start = self.at;
        self.at += 1;
        if self.rest().starts_with('$') {
            self.at += 1;
            return Ok("$".to_owned());
        }
        if !self.rest().starts_with('{') {
            let name = self.name();
            // A dollar sign that begins nothing is one.
            return Ok(if name.is_empty() { "$".to_owned() } else { self.value_or_missing(name, start) });
        }
        self.at += 1;
        if depth >= NESTING_LIMIT {
            return self.error(start, InterpolationErrorKind::Unclosed);
        }
        let name = self.name();
        let operators = [":-", ":?", ":+", "-", "?", "+"];
        let operator = operators.into_iter().find(|operator| self.rest().starts_with(operator));
        if name.is_empty() || (operator.is_none() && !self.rest().starts_with('}')) {
            let Some(length) = self.text[start..].find('}') else {
                return self.error(start, InterpolationErrorKind::Unclosed);
            };
            let inner = self.text[(start + 2)..=(start + length)].to_owned();
            return self.error(start, InterpolationErrorKind::Malformed(inner));
        }
        let Some(operator) = operator else {
            self.at += 1;
            return Ok(self.value_or_missing(name, start));
        };
        self.at += operator.len();
        // The word's own variables are read in a sandbox: when the word is not used, nothing in it is missing.
        let known = self.missing.len();
        let word_start = self.at;
        let word = self.run_at(true, depth + 1);
        let value = (self.lookup)(&name).filter(|value| !operator.starts_with(':') || !value.is_empty());
        let uses_word = value.is_some() == operator.ends_with('+');
        let word = match word {
            Ok(word) => word,
            // A required variable in an unused word is not required; skip to the word's end.
            Err(InterpolationError { kind: InterpolationErrorKind::Required { .. }, .. }) if !uses_word => {
                self.at = word_start;
                self.skip_word();
                String::new()
            }
            Err(error) => return Err(error),
        };
        if !self.rest().starts_with('}') {
            return self.error(start, InterpolationErrorKind::Unclosed);
        }
        self.at += 1;
        if !uses_word {
            self.missing.truncate(known);
        }
        match (operator.trim_start_matches(':'), value) {
            ("+", Some(_)) | ("-", None) => Ok(word),
            ("+", None) => Ok(String::new()),
            (_, Some(value)) => Ok(value),
            (_, None) => self.error(start, InterpolationErrorKind::Required { name, message: word }),
        }
    }

    /// Moves to the brace that closes the word that begins here.
    fn skip_word(&mut self) {
        let mut depth = 0;
        while let Some(character) = self.rest().chars().next() {
            if self.rest().starts_with("$$") || self.rest().starts_with("${") {
                depth += usize::from(self.rest().starts_with("${"));
                self.at += 2;
                continue;
            }
            if character == '}' {
                if depth == 0 {
                    return;
                }
                depth -= 1;
            }
            self.at += character.len_utf8();
        }
    }

    fn name(&mut self) -> String {
        let rest = self.rest();
        let starts = rest.starts_with(|character: char| character == '_' || character.is_ascii_alphabetic());
        let length = if starts {
            rest.find(|character: char| character != '_' && !character.is_ascii_alphanumeric())
                .unwrap_or(rest.len())
        } else {
            0
        };
        let name = rest[..length].to_owned();
        self.at += length;
        name
    }

    fn value_or_missing(&mut self, name: String, offset: usize) -> String {
        (self.lookup)(&name).unwrap_or_else(|| {
            self.missing.push(Missing { name, offset });
            String::new()
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "SET" => Some("value".to_owned()),
            "OTHER" => Some("other".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    fn run(text: &str) -> (Result<String, String>, Vec<String>) {
        let mut missing = Vec::new();
        let result = interpolate(text, &lookup, &mut missing).map_err(|error| error.to_string());
        (result, missing.into_iter().map(|missing| missing.name).collect())
    }

    #[test]
    fn replaces() {
        let table = [
            ("plain", "plain"),
            ("$SET", "value"),
            ("a${SET}b", "avalueb"),
            ("$SET.$OTHER", "value.other"),
            ("$$SET and $${SET}", "$SET and ${SET}"),
            ("cost $5, a $ b$", "cost $5, a $ b$"),
            ("${NONE:-default}", "default"),
            ("${EMPTY:-default}", "default"),
            ("${EMPTY-default}", ""),
            ("${NONE-default}", "default"),
            ("${SET:-default}", "value"),
            ("${SET:+there}", "there"),
            ("${EMPTY:+there}", ""),
            ("${EMPTY+there}", "there"),
            ("${NONE+there}", ""),
            ("${NONE:-${OTHER}}", "other"),
            ("${NONE:-${ALSO_NONE:-deep}}!", "deep!"),
            ("${NONE:-a:b-c?d+e}", "a:b-c?d+e"),
            ("${NONE:-}", ""),
            ("${SET:?must be set}", "value"),
            ("${EMPTY?must be set}", ""),
            ("${SET:-${NONE:?not needed}}", "value"),
            ("${NONE:+${NONE:?not {needed}}}x", "}x"),
            ("${VITE_API_URL:-http://localhost:8000}", "http://localhost:8000"),
            ("grüße ${SET} ✓", "grüße value ✓"),
        ];
        for (text, expected) in table {
            let (result, missing) = run(text);
            assert_eq!(result.as_deref(), Ok(expected), "{text}");
            assert!(missing.is_empty(), "{text}: {missing:?}");
        }
    }

    #[test]
    fn counts_what_is_missing() {
        assert_eq!(run("$NONE ${ALSO}"), (Ok(" ".to_owned()), vec!["NONE".to_owned(), "ALSO".to_owned()]));
        assert_eq!(run("${SET:-$NONE}"), (Ok("value".to_owned()), Vec::new()));
    }

    #[test]
    fn refuses() {
        let table = [
            ("${NONE:?say why}", "required variable `NONE` is not set: say why"),
            ("${EMPTY:?}", "required variable `EMPTY` is not set"),
            ("${NONE?}", "required variable `NONE` is not set"),
            ("${SET", "`${` has no matching `}`"),
            ("${NONE:-a", "`${` has no matching `}`"),
            ("${}", "`${}` is not a variable"),
            ("${a b}", "`${a b}` is not a variable"),
        ];
        for (text, expected) in table {
            let error = run(text).0.unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[${}:?+\\-aSET ü]{0,40}") {
            let _ = run(&text);
        }

        #[test]
        fn text_without_dollars_is_untouched(text in "[^$]*") {
            prop_assert_eq!(run(&text).0, Ok(text));
        }

        #[test]
        fn escaped_text_comes_back(text in "\\PC*") {
            prop_assert_eq!(run(&text.replace('$', "$$")).0, Ok(text));
        }
    }
}
