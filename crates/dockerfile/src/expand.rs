//! Quotes, escapes and variables of one word, as Docker's shell lexer sees them
//! (Dockerfile reference, "Environment replacement").
//!
//! A word is read in one of three ways: outside of quotes an escape hides what follows it; in a pattern
//! (`${x#pattern}`, `${x/pattern/replacement}`) it stays, for the pattern to read; a heredoc's body knows no quotes.

use std::iter::Peekable;
use std::str::Chars;

use crate::text_pattern::{PatternError, TextPattern};

/// The escape character of a Dockerfile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Escape {
    /// `\`
    #[default]
    Backslash,
    /// `` ` ``
    Backtick,
}

impl Escape {
    /// Returns the character.
    pub const fn char(self) -> char {
        match self {
            Self::Backslash => '\\',
            Self::Backtick => '`',
        }
    }
}

/// Answers a variable's value; `None` when it is not set.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Why a word cannot be expanded.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ExpandError {
    /// A quote is never closed.
    #[error("a {0} quote is opened and never closed")]
    Unclosed(&'static str),
    /// `${` without `}` or without a name.
    #[error("bad substitution: {0}")]
    BadSubstitution(String),
    /// `${NAME?text}` or `${NAME:?text}` of a variable that is not set (or empty).
    #[error("{name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// The text after `?`.
        message: String,
    },
    /// The pattern of `${NAME#pattern}` or `${NAME/pattern/replacement}` cannot be read.
    #[error("bad pattern in a substitution")]
    Pattern(#[source] PatternError),
    /// More than 32 substitutions within each other.
    #[error("substitutions are nested too deep")]
    TooDeep,
}

impl ExpandError {
    /// Returns the code of the diagnostic that carries it.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unclosed(_) => "unclosed-quote",
            Self::BadSubstitution(_) | Self::TooDeep | Self::Pattern(_) => "bad-substitution",
            Self::Required { .. } => "required-variable",
        }
    }
}

/// Returns `text` with quotes removed, escapes resolved and variables replaced. An unset variable is empty.
pub fn expand(text: &str, escape: Escape, lookup: Lookup<'_>) -> Result<String, ExpandError> {
    let mut expander = Expander::new(text, escape, lookup);
    expander.until(None, Reading::Word)?;
    Ok(expander.out.concat())
}

/// Returns the words that `text` expands to, split at white space that is neither quoted nor escaped; white space
/// out of a variable splits too. Empty words are left out, even quoted ones.
pub fn expand_words(text: &str, escape: Escape, lookup: Lookup<'_>) -> Result<Vec<String>, ExpandError> {
    let mut expander = Expander::new(text, escape, lookup);
    expander.until(None, Reading::Word)?;
    Ok(expander.out.split_words())
}

/// Returns `text` (a heredoc's body) with variables replaced; quotes have no meaning in it, and its escape character
/// is always the backslash, whatever the file's is.
pub fn expand_body(text: &str, _escape: Escape, lookup: Lookup<'_>) -> Result<String, ExpandError> {
    let mut expander = Expander::new(text, Escape::Backslash, lookup);
    expander.until(None, Reading::Body)?;
    Ok(expander.out.concat())
}

/// How a stretch is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Quotes and escapes are resolved.
    Word,
    /// Quotes are resolved, escapes stay.
    Pattern,
    /// Escapes are resolved, quotes stay.
    Body,
}

/// Expanded characters, each with whether it may split a word.
#[derive(Default)]
struct Expanded(Vec<(char, bool)>);

impl Expanded {
    fn concat(self) -> String {
        self.0.into_iter().map(|(character, _)| character).collect()
    }

    fn split_words(self) -> Vec<String> {
        let mut words = Vec::new();
        let mut word = String::new();
        for (character, bare) in self.0 {
            if bare && character.is_whitespace() {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            } else {
                word.push(character);
            }
        }
        if !word.is_empty() {
            words.push(word);
        }
        words
    }
}

const DEEPEST: u32 = 32;

struct Expander<'a> {
    rest: Peekable<Chars<'a>>,
    escape: char,
    lookup: Lookup<'a>,
    out: Expanded,
    depth: u32,
}

impl<'a> Expander<'a> {
    fn new(text: &'a str, escape: Escape, lookup: Lookup<'a>) -> Self {
        Self {
            rest: text.chars().peekable(),
            escape: escape.char(),
            lookup,
            out: Expanded::default(),
            depth: 0,
        }
    }

    fn push(&mut self, character: char, bare: bool) {
        self.out.0.push((character, bare));
    }

    fn push_all(&mut self, text: &str, bare: bool) {
        self.out.0.extend(text.chars().map(|character| (character, bare)));
    }

    /// Expands up to the unquoted character `stop` (which is consumed) or the end. Returns whether `stop` was met.
    fn until(&mut self, stop: Option<char>, reading: Reading) -> Result<bool, ExpandError> {
        while let Some(character) = self.rest.next() {
            if Some(character) == stop {
                return Ok(true);
            }
            match character {
                '\'' if reading != Reading::Body => self.single_quoted()?,
                '"' if reading != Reading::Body => self.double_quoted(reading)?,
                '$' => self.dollar(true, reading)?,
                _ if character == self.escape => {
                    if reading == Reading::Pattern {
                        self.push(character, false);
                    }
                    // An escape that nothing follows hides nothing, and is gone.
                    if let Some(next) = self.rest.next() {
                        self.push(next, false);
                    }
                }
                _ => self.push(character, true),
            }
        }
        Ok(stop.is_none())
    }

    fn single_quoted(&mut self) -> Result<(), ExpandError> {
        loop {
            match self.rest.next() {
                None => return Err(ExpandError::Unclosed("single")),
                Some('\'') => return Ok(()),
                Some(character) => self.push(character, false),
            }
        }
    }

    fn double_quoted(&mut self, reading: Reading) -> Result<(), ExpandError> {
        loop {
            match self.rest.next() {
                None => return Err(ExpandError::Unclosed("double")),
                Some('"') => return Ok(()),
                Some('$') => self.dollar(false, reading)?,
                Some(character) if character == self.escape => {
                    match self.rest.next_if(|next| matches!(next, '"' | '$') || *next == character) {
                        Some(next) => {
                            if reading == Reading::Pattern {
                                self.push(character, false);
                            }
                            self.push(next, false);
                        }
                        None => self.push(character, false),
                    }
                }
                Some(character) => self.push(character, false),
            }
        }
    }

    /// Expands what follows a `$`; `bare` says whether white space in the value splits words.
    fn dollar(&mut self, bare: bool, reading: Reading) -> Result<(), ExpandError> {
        if self.rest.next_if_eq(&'{').is_some() {
            let reading = if reading == Reading::Body { Reading::Body } else { Reading::Word };
            let value = self.braced(reading)?;
            self.push_all(&value, bare);
            return Ok(());
        }
        let name = self.name();
        if name.is_empty() {
            self.push('$', bare);
        } else if let Some(value) = (self.lookup)(&name) {
            self.push_all(&value, bare);
        }
        Ok(())
    }

    /// Takes a variable's name: letters, digits and `_`, or only digits, or one of the shell's special parameters;
    /// empty when there is none.
    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.rest.peek().copied() {
            Some(first) if first.is_ascii_digit() => {
                while let Some(digit) = self.rest.next_if(char::is_ascii_digit) {
                    name.push(digit);
                }
            }
            Some(first) if matches!(first, '@' | '*' | '#' | '?' | '-' | '$' | '!') => {
                self.rest.next();
                name.push(first);
            }
            _ => {
                while let Some(next) = self.rest.next_if(|c| c.is_alphanumeric() || *c == '_') {
                    name.push(next);
                }
            }
        }
        name
    }

    /// Expands `${...}`, after its `{`.
    fn braced(&mut self, reading: Reading) -> Result<String, ExpandError> {
        let name = self.name();
        let bad = |what: &str| ExpandError::BadSubstitution(what.to_owned());
        if name.is_empty() {
            return Err(bad("`${` is followed by no variable name"));
        }
        let value = (self.lookup)(&name);
        let Some(modifier) = self.rest.next() else {
            return Err(bad(&format!("`${{{name}` is never closed")));
        };
        match modifier {
            '}' => Ok(value.unwrap_or_default()),
            ':' => {
                let Some(kind) = self.rest.next().filter(|kind| matches!(kind, '-' | '+' | '?')) else {
                    return Err(bad(&format!("`${{{name}:` must be followed by `-`, `+` or `?`")));
                };
                let word = self.nested('}', &name, reading)?;
                choose(kind, &name, value.filter(|value| !value.is_empty()), word, "is not set or empty")
            }
            '-' | '+' | '?' => {
                let word = self.nested('}', &name, reading)?;
                choose(modifier, &name, value, word, "is not set")
            }
            '#' | '%' => {
                let longest = self.rest.next_if_eq(&modifier).is_some();
                let pattern = self.nested('}', &name, Reading::Pattern)?;
                let value = value.unwrap_or_default();
                let pattern = TextPattern::new(&pattern).map_err(ExpandError::Pattern)?;
                let trimmed = if modifier == '#' {
                    pattern.without_prefix(&value, longest)
                } else {
                    pattern.without_suffix(&value, longest)
                };
                trimmed.map_err(ExpandError::Pattern)
            }
            '/' => {
                let all = self.rest.next_if_eq(&'/').is_some();
                let pattern = self.nested('/', &name, Reading::Pattern)?;
                let replacement = self.nested('}', &name, Reading::Pattern)?;
                let Some(value) = value else {
                    return Ok(String::new());
                };
                let pattern = TextPattern::new(&pattern).map_err(ExpandError::Pattern)?;
                pattern.replace(&value, &replacement, all).map_err(ExpandError::Pattern)
            }
            other => Err(bad(&format!("`${{{name}` is followed by `{other}`, which is no modifier"))),
        }
    }

    /// Expands up to `stop` into a text of its own.
    fn nested(&mut self, stop: char, name: &str, reading: Reading) -> Result<String, ExpandError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(ExpandError::TooDeep);
        }
        let outer = std::mem::take(&mut self.out);
        let met = self.until(Some(stop), reading)?;
        let inner = std::mem::replace(&mut self.out, outer);
        self.depth -= 1;
        if !met {
            let what = if stop == '/' { "has no second `/`" } else { "is never closed" };
            return Err(ExpandError::BadSubstitution(format!("`${{{name}` {what}")));
        }
        Ok(inner.concat())
    }
}

fn choose(
    kind: char,
    name: &str,
    value: Option<String>,
    word: String,
    complaint: &str,
) -> Result<String, ExpandError> {
    match (kind, value) {
        ('+', Some(_)) | ('-', None) => Ok(word),
        ('+', None) => Ok(String::new()),
        (_, Some(value)) => Ok(value),
        (_, None) => {
            let message = if word.is_empty() { complaint.to_owned() } else { word };
            Err(ExpandError::Required { name: name.to_owned(), message })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "X" => Some("value".to_owned()),
            "EMPTY" => Some(String::new()),
            "TWO" => Some("a b".to_owned()),
            "PATH" => Some("/usr/local/bin/tool.tar.gz".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn expands() {
        let table = [
            ("plain", "plain"),
            ("$X", "value"),
            ("${X}", "value"),
            ("a$X-b", "avalue-b"),
            ("$NO", ""),
            ("$", "$"),
            ("$-", ""),
            ("$.", "$."),
            ("\\$X", "$X"),
            ("'$X'", "$X"),
            ("\"$X\"", "value"),
            ("\"\\$X \\\" \\a\"", "$X \" \\a"),
            ("'a'\"b\"c", "abc"),
            ("\\a", "a"),
            ("a\\", "a"),
            ("a\\\\", "a\\"),
            ("''", ""),
            ("${NO:-d}", "d"),
            ("${NO-d}", "d"),
            ("${EMPTY:-d}", "d"),
            ("${EMPTY-d}", ""),
            ("${X:-d}", "value"),
            ("${X:+d}", "d"),
            ("${NO:+d}", ""),
            ("${EMPTY:+d}", ""),
            ("${EMPTY+d}", "d"),
            ("${X?no}", "value"),
            ("${NO:-${X}}", "value"),
            ("${NO:-${ALSO:-deep}}", "deep"),
            ("${NO:-\"a}b\"}", "a}b"),
            ("${PATH#*/}", "usr/local/bin/tool.tar.gz"),
            ("${PATH##*/}", "tool.tar.gz"),
            ("${PATH%.*}", "/usr/local/bin/tool.tar"),
            ("${PATH%%.*}", "/usr/local/bin/tool"),
            ("${PATH/bin/sbin}", "/usr/local/sbin/tool.tar.gz"),
            ("${PATH//o/0}", "/usr/l0cal/bin/t00l.tar.gz"),
            ("${PATH//[aeiou]/_}", "/usr/local/bin/tool.tar.gz"),
            ("${NO#x}", ""),
        ];
        for (text, expected) in table {
            assert_eq!(expand(text, Escape::Backslash, &environment).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn backtick_escapes_when_asked_to() {
        assert_eq!(expand("c:\\x\\`$X", Escape::Backtick, &environment).unwrap(), "c:\\x\\$X");
    }

    #[test]
    fn refuses() {
        for (text, expected) in [
            ("'a", "a single quote is opened and never closed"),
            ("\"a", "a double quote is opened and never closed"),
            ("${", "bad substitution: `${` is followed by no variable name"),
            ("${}", "bad substitution: `${` is followed by no variable name"),
            ("${X", "bad substitution: `${X` is never closed"),
            ("${X:-d", "bad substitution: `${X` is never closed"),
            ("${X:=d}", "bad substitution: `${X:` must be followed by `-`, `+` or `?`"),
            ("${X!d}", "bad substitution: `${X` is followed by `!`, which is no modifier"),
            ("${NO:?set it}", "NO: set it"),
            ("${EMPTY:?}", "EMPTY: is not set or empty"),
            ("${NO?}", "NO: is not set"),
        ] {
            let error = expand(text, Escape::Backslash, &environment).unwrap_err();
            assert_eq!(error.to_string(), expected, "{text}");
        }
        let deep = "${A:-".repeat(100);
        assert_eq!(expand(&deep, Escape::Backslash, &environment), Err(ExpandError::TooDeep));
    }

    #[test]
    fn splits_words_after_expansion() {
        let words = |text| expand_words(text, Escape::Backslash, &environment).unwrap();
        assert_eq!(words("80 $TWO"), ["80", "a", "b"]);
        assert_eq!(words("\"$TWO\" c\\ d"), ["a b", "c d"]);
        assert_eq!(words("$NO"), [""; 0]);
        assert_eq!(words("\"\" x"), ["x"]);
    }

    #[test]
    fn bodies_know_no_quotes() {
        let body = expand_body("it's \"$X\" \\$X \\\\n\n", Escape::Backslash, &environment).unwrap();
        assert_eq!(body, "it's \"value\" $X \\n\n");
    }
}
