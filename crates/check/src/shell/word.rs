//! One word of a command: what it says without its quotes, and what the shell will put into it.

use std::borrow::Cow;
use std::ops::Range;

/// A word as written, with its place in the snippet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// As written.
    pub raw: String,
    /// Its bytes in the snippet.
    pub range: Range<usize>,
    /// Without quotes and escapes; variables and substitutions as written.
    pub text: String,
    /// Variables in it.
    pub variables: Vec<Variable>,
    /// Command substitutions in it: the bytes of what they run, within `raw`, and whether quotes stand around them.
    pub substitutions: Vec<(Range<usize>, bool)>,
    /// Whether quotes or escapes stand in it.
    pub quoted: bool,
}

/// A variable in a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    /// Its name; `@`, `*`, `1`, `?` among them.
    pub name: String,
    /// Its bytes within the word's `raw`.
    pub range: Range<usize>,
    /// Whether quotes stand around it.
    pub quoted: bool,
    /// What stands after the name in braces: `:-x`, `:?`, `%.*`.
    pub operator: String,
    /// Whether its length is meant: `${#x}`.
    pub length: bool,
}

impl Variable {
    /// Says whether it has a value of its own or ends the script when it is unset or empty: `${x:?}`, `${x:-y}`.
    pub(crate) fn is_never_empty(&self) -> bool {
        let filled = |mark: &str| self.operator.strip_prefix(mark);
        filled(":?").is_some() || filled(":-").or(filled(":=")).is_some_and(|value| !value.is_empty())
    }
}

impl Word {
    /// Reads a word.
    pub(crate) fn new(raw: &str, start: usize) -> Self {
        let mut word = Self {
            raw: raw.to_owned(),
            range: start..start + raw.len(),
            text: String::with_capacity(raw.len()),
            variables: Vec::new(),
            substitutions: Vec::new(),
            quoted: false,
        };
        Scan { raw, at: 0, word: &mut word }.all();
        word
    }

    /// Says whether the shell puts something else into it.
    pub(crate) fn expands(&self) -> bool {
        !self.variables.is_empty() || !self.substitutions.is_empty() || self.text.contains("$((")
    }

    /// Returns what it says when nothing is put into it.
    pub(crate) fn literal(&self) -> Option<&str> {
        (!self.expands()).then_some(self.text.as_str())
    }

    /// Says whether it says just this.
    pub(crate) fn is(&self, text: &str) -> bool {
        self.text == text && !self.expands()
    }

    /// Returns the name after the last `/`.
    pub(crate) fn file_name(&self) -> &str {
        self.text.rsplit('/').next().unwrap_or(&self.text)
    }

    /// Returns the bytes of a part of `raw` in the snippet.
    pub(crate) fn part(&self, range: &Range<usize>) -> Range<usize> {
        self.range.start + range.start..self.range.start + range.end
    }
}

/// Goes through a word's characters.
struct Scan<'r, 'w> {
    raw: &'r str,
    at: usize,
    word: &'w mut Word,
}

impl Scan<'_, '_> {
    fn rest(&self) -> &str {
        &self.raw[self.at..]
    }

    fn all(&mut self) {
        let mut double = false;
        while let Some(character) = self.rest().chars().next() {
            match character {
                '\'' if !double => {
                    self.word.quoted = true;
                    self.single();
                }
                '"' => {
                    double = !double;
                    self.word.quoted = true;
                    self.at += 1;
                }
                '\\' => {
                    let next = self.rest()[1..].chars().next();
                    self.word.quoted = true;
                    self.at += 1 + next.map_or(0, char::len_utf8);
                    match next {
                        Some('\n') | None => {}
                        Some(next) if double && !matches!(next, '$' | '`' | '"' | '\\') => {
                            self.word.text.push('\\');
                            self.word.text.push(next);
                        }
                        Some(next) => self.word.text.push(next),
                    }
                }
                '$' => self.dollar(double),
                '`' => {
                    let end = backquote_end(self.rest());
                    let inner = self.at + 1..(self.at + end).saturating_sub(1).max(self.at + 1);
                    self.word.substitutions.push((inner, double));
                    self.keep(end);
                }
                other => {
                    self.word.text.push(other);
                    self.at += other.len_utf8();
                }
            }
        }
    }

    /// Takes `'...'`.
    fn single(&mut self) {
        let inner = &self.raw[self.at + 1..];
        let length = inner.find('\'').unwrap_or(inner.len());
        self.word.text.push_str(&inner[..length]);
        self.at = (self.at + length + 2).min(self.raw.len());
    }

    /// Takes `length` bytes as they are.
    fn keep(&mut self, length: usize) {
        let end = (self.at + length).min(self.raw.len());
        self.word.text.push_str(&self.raw[self.at..end]);
        self.at = end;
    }

    fn dollar(&mut self, double: bool) {
        let rest = self.rest();
        let after = &rest[1..];
        if after.starts_with('\'') && !double {
            self.at += 1;
            self.word.quoted = true;
            self.single();
        } else if after.starts_with('"') && !double {
            self.at += 1;
        } else if after.starts_with("((") {
            let end = 1 + closing(after, '(', ')');
            self.keep(end);
        } else if after.starts_with('(') {
            let end = 1 + closing(after, '(', ')');
            let inner = self.at + 2..(self.at + end).saturating_sub(1).max(self.at + 2);
            self.word.substitutions.push((inner, double));
            self.keep(end);
        } else if after.starts_with('{') {
            let end = 1 + closing(after, '{', '}');
            let inner = rest.get(2..end.saturating_sub(1)).unwrap_or_default();
            let (inner, length) = match inner.strip_prefix('#') {
                Some(rest) if !rest.is_empty() => (rest, true),
                _ => (inner.strip_prefix('!').unwrap_or(inner), false),
            };
            let name = name_length(inner);
            self.word.variables.push(Variable {
                name: inner[..name].to_owned(),
                range: self.at..self.at + end,
                quoted: double,
                operator: inner[name..].to_owned(),
                length,
            });
            self.keep(end);
        } else {
            let name = name_length(after);
            if name > 0 {
                self.word.variables.push(Variable {
                    name: after[..name].to_owned(),
                    range: self.at..self.at + 1 + name,
                    quoted: double,
                    operator: String::new(),
                    length: false,
                });
            }
            self.keep(1 + name);
        }
    }
}

/// Returns how many bytes of a text are a variable's name.
fn name_length(text: &str) -> usize {
    let first = text.chars().next();
    match first {
        Some(first) if first.is_ascii_alphabetic() || first == '_' => {
            text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
        }
        Some(first) if first.is_ascii_digit() || "@*#?$!-".contains(first) => 1,
        _ => 0,
    }
}

/// Returns the bytes up to and with the bracket that closes the one a text begins with; quotes hide brackets.
fn closing(text: &str, open: char, close: char) -> usize {
    let (mut depth, mut quote) = (0_usize, None);
    let mut characters = text.char_indices();
    while let Some((index, character)) = characters.next() {
        match quote {
            Some('\'') if character == '\'' => quote = None,
            Some('\'') => {}
            _ if character == '\\' => {
                characters.next();
            }
            Some(own) if own == character => quote = None,
            // Brackets in double quotes are text, or those of a substitution, which balance.
            Some(_) => {}
            None if character == '\'' || character == '"' => quote = Some(character),
            _ if character == open => depth += 1,
            _ if character == close => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return index + character.len_utf8();
                }
            }
            _ => {}
        }
    }
    text.len()
}

/// Returns the bytes up to and with the backquote that closes the one a text begins with.
fn backquote_end(text: &str) -> usize {
    let mut characters = text.char_indices().skip(1);
    while let Some((index, character)) = characters.next() {
        match character {
            '\\' => {
                characters.next();
            }
            '`' => return index + 1,
            _ => {}
        }
    }
    text.len()
}

/// Returns a text in single quotes where a shell would need them.
pub(crate) fn quote(text: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "./:@%+,=_-".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("'{}'", text.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(raw: &str) -> String {
        Word::new(raw, 0).text
    }

    #[test]
    fn quotes_are_taken_off() {
        assert_eq!(text("plain"), "plain");
        assert_eq!(text("'a b'\"c d\"e\\ f"), "a bc de f");
        assert_eq!(text("\"a\\n\\\"\""), "a\\n\"");
        assert_eq!(text("$'a'"), "a");
        assert_eq!(text("'open"), "open");
    }

    #[test]
    fn variables_have_places_and_quotes() {
        let word = Word::new("a$X\"${Y:-z}\"${#W}$$", 10);
        let seen: Vec<(&str, bool, &str)> =
            word.variables.iter().map(|v| (v.name.as_str(), v.quoted, v.operator.as_str())).collect();
        assert_eq!(seen, [("X", false, ""), ("Y", true, ":-z"), ("W", false, ""), ("$", false, "")]);
        assert_eq!(&word.raw[word.variables[1].range.clone()], "${Y:-z}");
        assert_eq!(word.part(&word.variables[0].range), 11..13);
        assert!(word.variables[1].is_never_empty() && !word.variables[0].is_never_empty());
        assert!(word.variables[2].length);
    }

    #[test]
    fn substitutions_have_places() {
        let word = Word::new("x$(echo \")\" $(ls))y`id`$((1+2))", 0);
        let inner: Vec<&str> = word.substitutions.iter().map(|(r, _)| &word.raw[r.clone()]).collect();
        assert_eq!(inner, ["echo \")\" $(ls)", "id"]);
        assert!(word.expands());
        assert_eq!(word.text, "x$(echo \")\" $(ls))y`id`$((1+2))");
    }

    #[test]
    fn what_is_cut_off_does_no_harm() {
        for raw in ["$(", "${", "`", "\\", "\"", "$((", "$", "${#", "é$é", "`\\"] {
            let word = Word::new(raw, 0);
            for (range, _) in &word.substitutions {
                assert!(word.raw.get(range.clone()).is_some(), "{raw}");
            }
        }
    }
}
