//! The format of `.env` and `env_file` files (Compose documentation, "Env file syntax").
//!
//! `NAME=value`, `NAME: value`, `export NAME=value`, `NAME` (taken from the caller's environment); single quotes keep
//! everything, double quotes know escapes, both may span lines; ` #` begins a comment behind an unquoted value.

use coracle_report::Position;
use indexmap::IndexMap;

use crate::interpolate::{self, InterpolationErrorKind, Lookup};

/// Variables that one file may set.
const VARIABLE_LIMIT: usize = 100_000;
/// Bytes that the values of one file may come to; those that hold one another would grow without bound.
const VALUE_LIMIT: usize = 32 << 20;

/// Why a text is no env file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct EnvFileError {
    /// The place in the text.
    pub position: Position,
    /// What is wrong.
    pub reason: String,
    /// What to do about it.
    pub hint: Option<&'static str>,
}

/// Reads an env file. A variable's value is `None` when the file only names it and `lookup` does not know it.
///
/// Values may refer to variables that `lookup` knows, then to those above them.
pub fn parse(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<IndexMap<String, Option<String>>, EnvFileError> {
    parse_over(text, lookup, &|_| None)
}

/// As [`parse`]; what neither `lookup` nor the lines above know, is asked of `before`: the files read before this one.
pub(crate) fn parse_over(
    text: &str,
    lookup: &Lookup<'_>,
    before: &Lookup<'_>,
) -> Result<IndexMap<String, Option<String>>, EnvFileError> {
    Ok(Reader::new(text, lookup, before, false).read()?.variables)
}

/// One assignment with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
    /// The value before its variables were replaced; nothing when it has none.
    pub(crate) raw: String,
    pub(crate) start: Position,
    pub(crate) end: Position,
}

/// As [`parse_over`], with every assignment by itself.
pub(crate) fn assignments(
    text: &str,
    lookup: &Lookup<'_>,
    before: &Lookup<'_>,
) -> Result<Vec<Assignment>, EnvFileError> {
    Ok(placed(text, Reader::new(text, lookup, before, true).read()?.places))
}

/// As [`parse_raw`], with every assignment by itself.
pub(crate) fn assignments_raw(text: &str) -> Vec<Assignment> {
    let mut places = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let written = line.trim_end_matches(['\n', '\r']);
        if !written.trim_start().starts_with('#')
            && let Some((name, value)) = written.split_once('=')
        {
            let blanks = name.len() - name.trim_start().len();
            places.push(Place {
                name: name.trim().to_owned(),
                value: Some(value.to_owned()),
                raw: String::new(),
                start: start + blanks,
                end: start + written.len(),
            });
        }
        start += line.len();
    }
    placed(text, places)
}

/// Counts lines and columns, once through the text.
fn placed(text: &str, places: Vec<Place>) -> Vec<Assignment> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut at, mut position) = (0, Position::new(1, 1));
    let mut position_of = |offset: usize| {
        for character in text[at..offset].chars() {
            if character == '\n' {
                position = Position::new(position.line + 1, 1);
            } else {
                position.column += 1;
            }
        }
        at = offset;
        position
    };
    places
        .into_iter()
        .map(|place| {
            let (start, end) = (position_of(place.start), position_of(place.end));
            Assignment { name: place.name, value: place.value, raw: place.raw, start, end }
        })
        .collect()
}

/// Reads an env file of the format `raw`: `NAME=value` to the line's end, nothing quoted, nothing replaced.
pub(crate) fn parse_raw(text: &str) -> Result<IndexMap<String, String>, EnvFileError> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once('='));
    let mut variables = IndexMap::new();
    for (index, (name, value)) in pairs.enumerate() {
        if index >= VARIABLE_LIMIT {
            let reason = format!("the file has more than {VARIABLE_LIMIT} variables");
            return Err(EnvFileError { position: Position::new(1, 1), reason, hint: None });
        }
        variables.insert(name.trim().to_owned(), value.to_owned());
    }
    Ok(variables)
}

/// An assignment by its place in the text, in bytes.
struct Place {
    name: String,
    value: Option<String>,
    raw: String,
    start: usize,
    end: usize,
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    variables: IndexMap<String, Option<String>>,
    lookup: &'a Lookup<'a>,
    before: &'a Lookup<'a>,
    /// Whether places are kept.
    placing: bool,
    places: Vec<Place>,
    /// Variables that were set, and the bytes of their values.
    count: usize,
    bytes: usize,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, lookup: &'a Lookup<'a>, before: &'a Lookup<'a>, placing: bool) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self {
            text,
            at: 0,
            variables: IndexMap::new(),
            lookup,
            before,
            placing,
            places: Vec::new(),
            count: 0,
            bytes: 0,
        }
    }

    fn read(mut self) -> Result<Self, EnvFileError> {
        while self.line()? {}
        Ok(self)
    }

    /// Takes a variable that begins at `start` and ends here.
    fn set(
        &mut self,
        name: String,
        value: Option<String>,
        raw: String,
        start: usize,
    ) -> Result<(), EnvFileError> {
        self.count += 1;
        self.bytes += value.as_ref().map_or(0, String::len);
        if self.count > VARIABLE_LIMIT {
            return self.error(start, format!("the file has more than {VARIABLE_LIMIT} variables"), None);
        }
        if self.bytes > VALUE_LIMIT {
            let limit = VALUE_LIMIT >> 20;
            return self.error(start, format!("the values of the file come to more than {limit} MiB"), None);
        }
        if self.placing {
            let place = Place { name: name.clone(), value: value.clone(), raw, start, end: self.at };
            self.places.push(place);
        }
        self.variables.insert(name, value);
        Ok(())
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn error<T>(
        &self,
        offset: usize,
        reason: impl Into<String>,
        hint: Option<&'static str>,
    ) -> Result<T, EnvFileError> {
        let before = &self.text[..offset];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let position = Position::new(line as u32, column as u32);
        Err(EnvFileError { position, reason: reason.into(), hint })
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t']).len();
    }

    fn to_line_end(&self) -> &str {
        let rest = self.rest();
        rest.split('\n').next().unwrap_or_default().trim_end_matches('\r')
    }

    fn next_line(&mut self) {
        let rest = self.rest();
        self.at += rest.find('\n').map_or(rest.len(), |index| index + 1);
    }

    /// Reads one line, or one assignment that spans several; says whether there was one.
    fn line(&mut self) -> Result<bool, EnvFileError> {
        if self.rest().is_empty() {
            return Ok(false);
        }
        self.skip_blanks();
        let line = self.to_line_end();
        if line.is_empty() || line.starts_with('#') {
            self.next_line();
            return Ok(true);
        }
        if let Some(name) = line.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t'])) {
            self.at += line.len() - name.trim_start().len();
        }
        let line = self.to_line_end();
        let end = line.find(['=', ':', ' ', '\t', '#']).unwrap_or(line.len());
        let name = line[..end].to_owned();
        let legal = |character: char| character.is_alphanumeric() || "_.-[]".contains(character);
        if name.is_empty() || !name.chars().all(legal) {
            let reason =
                format!("expected `NAME=value`, found `{}`", line.chars().take(40).collect::<String>());
            let hint = "a name holds letters, digits, `_`, `.` and `-`; a comment begins with `#`";
            return self.error(self.at, reason, Some(hint));
        }
        let start = self.at;
        self.at += end;
        let name_end = self.at;
        self.skip_blanks();
        if !self.rest().starts_with(['=', ':']) {
            let line = self.to_line_end();
            if !line.is_empty() && !line.starts_with('#') {
                let reason = format!("expected `=` after `{name}`");
                return self.error(self.at, reason, Some("a name cannot hold blanks"));
            }
            let value = (self.lookup)(&name);
            self.at = name_end;
            self.set(name, value, String::new(), start)?;
            self.next_line();
            return Ok(true);
        }
        self.at += 1;
        self.skip_blanks();
        let (value, raw) = match self.rest().chars().next() {
            Some(quote @ ('"' | '\'')) => self.quoted(&name, quote)?,
            _ => self.unquoted()?,
        };
        self.set(name, Some(value), raw, start)?;
        self.next_line();
        Ok(true)
    }

    /// Returns the value, and what it was before its variables were replaced.
    fn unquoted(&mut self) -> Result<(String, String), EnvFileError> {
        let line = self.to_line_end();
        let value = if line.starts_with("# ") || line == "#" { "" } else { line };
        let end = [" #", "\t#"].iter().filter_map(|comment| value.find(comment)).min().unwrap_or(value.len());
        let raw = value[..end].trim_end().to_owned();
        let value = self.expand(&raw, self.at)?;
        self.at += raw.len();
        Ok((value, raw))
    }

    /// As [`Reader::unquoted`], between quotes.
    fn quoted(&mut self, name: &str, quote: char) -> Result<(String, String), EnvFileError> {
        let start = self.at;
        self.at += 1;
        let mut value = String::new();
        let mut characters = self.text[self.at..].char_indices();
        let length = loop {
            let Some((index, character)) = characters.next() else {
                let reason = format!("the value of `{name}` has no closing {quote}");
                return self.error(start, reason, None);
            };
            match character {
                '\\' if quote == '"' => match characters.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, 'r')) => value.push('\r'),
                    Some((_, 't')) => value.push('\t'),
                    // `\$` is a literal dollar; the doubled one survives the expansion below.
                    Some((_, '$')) => value.push_str("$$"),
                    Some((_, escaped @ ('"' | '\\' | '\''))) => value.push(escaped),
                    Some((_, other)) => value.extend(['\\', other]),
                    None => value.push('\\'),
                },
                '\\' if self.text[self.at + index + 1..].starts_with('\'') => {
                    characters.next();
                    value.push('\'');
                }
                _ if character == quote => break index,
                other => value.push(other),
            }
        };
        self.at += length + 1;
        let behind = self.to_line_end().trim_start();
        if !behind.is_empty() && !behind.starts_with('#') {
            let reason = format!("text behind the closing {quote} of `{name}`");
            return self.error(self.at, reason, Some("quote the whole value, or nothing of it"));
        }
        if quote == '\'' {
            return Ok((value, String::new()));
        }
        Ok((self.expand(&value, start)?, value))
    }

    fn expand(&self, value: &str, offset: usize) -> Result<String, EnvFileError> {
        let above = |name: &str| self.variables.get(name).cloned().flatten();
        let lookup = |name: &str| (self.lookup)(name).or_else(|| above(name)).or_else(|| (self.before)(name));
        interpolate::interpolate(value, &lookup, &mut Vec::new()).or_else(|error| {
            let hint = match error.kind {
                InterpolationErrorKind::Required { .. } => None,
                InterpolationErrorKind::TooLong
                | InterpolationErrorKind::Unclosed
                | InterpolationErrorKind::Malformed(_) => {
                    Some("write `$$` for a dollar sign, or put the value in single quotes")
                }
            };
            self.error(offset, error.to_string(), hint)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lookup(name: &str) -> Option<String> {
        (name == "HOME").then(|| "/home/me".to_owned())
    }

    fn one(text: &str) -> Option<String> {
        let variables = parse(text, &lookup).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(variables.len(), 1, "{text}: {variables:?}");
        variables.into_iter().next().and_then(|(_, value)| value)
    }

    #[test]
    fn reads_values() {
        let table = [
            ("A=b", "b"),
            ("A = b ", "b"),
            ("A: b", "b"),
            ("export A=b", "b"),
            ("A=", ""),
            ("A=b # comment", "b"),
            ("A=b#c", "b#c"),
            ("A= # comment", ""),
            ("A=#fff", "#fff"),
            ("A=\"b # c\" # d", "b # c"),
            ("A='b $C \\n'", "b $C \\n"),
            ("A=\"b\\nc\"", "b\nc"),
            ("A=\"line 1\nline 2\"", "line 1\nline 2"),
            ("A=\"say \\\"hi\\\" for \\$5\"", "say \"hi\" for $5"),
            ("A=${HOME}/x", "/home/me/x"),
            ("A=${NONE:-default}", "default"),
            ("A=b c d", "b c d"),
            ("A=b=c", "b=c"),
            ("\u{feff}A=b\r\n", "b"),
            ("HOME", "/home/me"),
            ("# comment\n\n  # more\nA=My App\n", "My App"),
        ];
        for (text, expected) in table {
            assert_eq!(one(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(one("UNKNOWN"), None);
    }

    #[test]
    fn later_values_refer_to_earlier_ones() {
        let variables = parse("USER=me\nURL=\"db://${USER}@host\"\nUSER=you\n", &lookup).unwrap();
        assert_eq!(variables["URL"].as_deref(), Some("db://me@host"));
        assert_eq!(variables["USER"].as_deref(), Some("you"));
    }

    #[test]
    fn says_where_it_is_wrong() {
        let table = [
            ("A=b\n=c", 2, 1),
            ("A=b\nSOME NAME=c", 2, 6),
            ("A='b", 1, 3),
            ("A=\"b\"c", 1, 6),
            ("X=1\nA=${", 2, 3),
        ];
        for (text, line, column) in table {
            let error = parse(text, &lookup).unwrap_err();
            assert_eq!(error.position, Position::new(line, column), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[A-C='\"\\\\ #$\\{\\}\n\r\tü]{0,60}") {
            let _ = parse(&text, &lookup);
        }

        #[test]
        fn single_quoted_text_comes_back(text in "[^'\\\\]*") {
            prop_assert_eq!(one(&format!("A='{text}'")), Some(text));
        }
    }
}
