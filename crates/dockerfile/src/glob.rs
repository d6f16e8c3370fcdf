//! Path patterns as Docker knows them: `*`, `?`, `[...]`, `\x` and, in `.dockerignore` and `--exclude`, `**`.
//!
//! The syntax is that of Go's `filepath.Match`; `**` is that of `moby/patternmatcher`, whose habits are kept:
//! `**` at the end is anything; `**` (or `**/`) before more is any number of whole directories; but `**` at the
//! beginning before nothing but plain characters is anything (`**x` covers `yx`). Matching takes time linear in the
//! path, whatever the pattern: a set of places in the pattern is carried along the path.

/// Why a text is no pattern.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum GlobError {
    /// A `[` without its `]`, an empty class, a reversed range, or a `\` at the end.
    #[error("`{0}` is not a pattern: check its brackets")]
    Class(String),
    /// The pattern is longer than any path.
    #[error("a pattern of more than 4096 bytes")]
    TooLong,
}

/// A compiled pattern.
#[derive(Clone, Debug)]
pub struct Glob {
    parts: Vec<Part>,
    quick: Quick,
}

/// The shapes that nearly all lines of an ignore file have, which need no set of places.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Quick {
    /// `name`: only this.
    Exact(String),
    /// `directory/**`: what begins so.
    Begins(String),
    /// `**/name`: this, or what ends with a slash and this.
    Last(String),
    /// `**/*.ext`: what ends so.
    Ends(String),
    /// `*.ext`: what ends so, after no slash.
    Entry(String),
    /// Any other shape.
    No,
}

impl Quick {
    fn of(parts: &[Part]) -> Self {
        let literal = |parts: &[Part]| -> Option<String> {
            parts
                .iter()
                .map(|part| match part {
                    Part::Char(character) => Some(*character),
                    _ => None,
                })
                .collect()
        };
        if let Some(text) = literal(parts) {
            return Self::Exact(text);
        }
        let found = match parts {
            [before @ .., Part::All] => literal(before).map(Self::Begins),
            [Part::Directories, Part::Inside, Part::Name, rest @ ..] => literal(rest).map(Self::Ends),
            [Part::Directories, Part::Inside, rest @ ..] => literal(rest).map(Self::Last),
            [Part::Name, rest @ ..] => literal(rest).map(Self::Entry),
            _ => None,
        };
        found.unwrap_or(Self::No)
    }

    fn matches(&self, path: &str) -> Option<bool> {
        Some(match self {
            Self::Exact(text) => path == text,
            Self::Begins(text) => path.starts_with(text.as_str()),
            Self::Ends(text) => path.ends_with(text.as_str()),
            Self::Last(text) => path
                .strip_suffix(text.as_str())
                .is_some_and(|before| before.is_empty() || before.ends_with('/')),
            Self::Entry(text) => path.strip_suffix(text.as_str()).is_some_and(|before| !before.contains('/')),
            Self::No => return None,
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// This character.
    Char(char),
    /// Any one character but `/`.
    One,
    /// Any characters but `/`.
    Name,
    /// Whole directories, each with its `/`, or nothing.
    Directories,
    /// The inside of the part before: some characters of a directory were read.
    Inside,
    /// Anything.
    All,
    /// One of these ranges of characters, or none of them.
    Class { negated: bool, ranges: Vec<(char, char)> },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// `*` stays within a directory, `**` crosses.
    Ignore,
    /// `*` stays within a directory, `**` means `*` (`COPY` sources).
    Source,
}

impl Glob {
    /// Compiles a pattern of `.dockerignore` or `--exclude`, in which `**` crosses directories.
    pub fn ignore(pattern: &str) -> Result<Self, GlobError> {
        Self::compile(pattern, Dialect::Ignore)
    }

    /// Compiles a pattern of a `COPY` or `ADD` source, in which nothing crosses directories.
    pub fn source(pattern: &str) -> Result<Self, GlobError> {
        Self::compile(pattern, Dialect::Source)
    }

    /// Says whether `text` holds a character with a meaning in patterns.
    pub fn is_pattern(text: &str) -> bool {
        text.contains(['*', '?', '[', '\\'])
    }

    /// Says whether the whole of `path` matches.
    pub fn matches(&self, path: &str) -> bool {
        if let Some(matched) = self.quick.matches(path) {
            return matched;
        }
        if !self.begins(path) {
            return false;
        }
        if self.parts.len() < 64 {
            self.run(path, [0_u64; 1])
        } else {
            self.run(path, vec![0_u64; self.parts.len() / 64 + 1])
        }
    }

    /// Carries the set of places along the path; `none` is the empty set.
    fn run<S: AsRef<[u64]> + AsMut<[u64]> + Clone>(&self, path: &str, none: S) -> bool {
        let end = self.parts.len();
        let mut places = none.clone();
        self.enter(0, places.as_mut());
        for character in path.chars() {
            let mut next = none.clone();
            let mut any = false;
            for (index, word) in places.as_ref().iter().enumerate() {
                let mut rest = *word;
                while rest != 0 {
                    let place = index * 64 + rest.trailing_zeros() as usize;
                    rest &= rest - 1;
                    let Some(part) = self.parts.get(place) else {
                        continue;
                    };
                    let (stays, goes) = match part {
                        Part::Char(wanted) => (false, *wanted == character),
                        Part::One => (false, character != '/'),
                        Part::Class { negated, ranges } => {
                            let within = ranges.iter().any(|(low, high)| (*low..=*high).contains(&character));
                            (false, within != *negated)
                        }
                        Part::Name => (character != '/', false),
                        // Being here means that nothing was read; the part after it reads on.
                        Part::Directories => (false, false),
                        Part::Inside => (true, character == '/'),
                        Part::All => (true, false),
                    };
                    if stays {
                        self.enter(place, next.as_mut());
                    }
                    if goes {
                        self.enter(place + 1, next.as_mut());
                    }
                    any |= stays || goes;
                }
            }
            if !any {
                return false;
            }
            places = next;
        }
        places.as_ref()[end / 64] & (1 << (end % 64)) != 0
    }

    /// Says whether the path begins with the plain characters that the pattern begins with.
    fn begins(&self, path: &str) -> bool {
        let mut characters = path.chars();
        self.parts
            .iter()
            .map_while(|part| match part {
                Part::Char(wanted) => Some(*wanted),
                _ => None,
            })
            .all(|wanted| characters.next() == Some(wanted))
    }

    /// Adds a place and those that can be reached from it without reading anything.
    fn enter(&self, place: usize, places: &mut [u64]) {
        let mut add = |place: usize| {
            let (word, bit) = (&mut places[place / 64], 1 << (place % 64));
            let new = *word & bit == 0;
            *word |= bit;
            new
        };
        let mut place = place;
        while add(place) {
            match self.parts.get(place) {
                Some(Part::Name | Part::All) => place += 1,
                Some(Part::Directories) => {
                    add(place + 1);
                    place += 2;
                }
                _ => return,
            }
        }
    }

    fn compile(pattern: &str, dialect: Dialect) -> Result<Self, GlobError> {
        if pattern.len() > 4096 {
            return Err(GlobError::TooLong);
        }
        let malformed = || GlobError::Class(pattern.to_owned());
        let plain = |text: &str| !text.contains(['*', '?', '[', ']', '\\']);
        let mut parts = Vec::new();
        let mut rest = pattern;
        if dialect == Dialect::Ignore
            && let Some(suffix) = pattern.strip_prefix("**").filter(|suffix| plain(suffix))
        {
            match suffix.strip_prefix('/').filter(|name| !name.is_empty()) {
                Some(_) => parts.extend([Part::Directories, Part::Inside]),
                None => parts.push(Part::All),
            }
            rest = suffix.strip_prefix('/').unwrap_or(suffix);
        }
        let mut rest = rest.chars().peekable();
        while let Some(character) = rest.next() {
            match character {
                '*' if dialect == Dialect::Ignore && rest.next_if_eq(&'*').is_some() => {
                    rest.next_if_eq(&'/');
                    match rest.peek() {
                        None => parts.push(Part::All),
                        Some(_) => parts.extend([Part::Directories, Part::Inside]),
                    }
                }
                '*' => parts.push(Part::Name),
                '?' => parts.push(Part::One),
                '[' => parts.push(class(&mut rest).ok_or_else(malformed)?),
                '\\' => parts.push(Part::Char(rest.next().ok_or_else(malformed)?)),
                _ => parts.push(Part::Char(character)),
            }
        }
        let quick = Quick::of(&parts);
        Ok(Self { parts, quick })
    }
}

/// Reads a bracket expression after its `[`; `None` when it is malformed. Only `^` negates, and `-` and `]` stand
/// for themselves only after a `\`.
fn class(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Part> {
    let negated = rest.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    let item = |rest: &mut std::iter::Peekable<std::str::Chars<'_>>| -> Option<char> {
        match rest.next()? {
            '\\' => rest.next(),
            '-' | ']' => None,
            other => Some(other),
        }
    };
    while ranges.is_empty() || rest.next_if_eq(&']').is_none() {
        let low = item(rest)?;
        let high = if rest.next_if_eq(&'-').is_some() { item(rest)? } else { low };
        if low > high {
            return None;
        }
        ranges.push((low, high));
    }
    Some(Part::Class { negated, ranges })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignore_patterns() {
        let table = [
            ("*.log", "a.log", true),
            ("*.log", "d/a.log", false),
            ("**/*.log", "a.log", true),
            ("**/*.log", "d/e/a.log", true),
            ("a/**", "a/b/c", true),
            ("a/**", "a", false),
            ("a/**/c", "a/c", true),
            ("a/**/c", "a/b/b/c", true),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[!a-c]x", "dx", false),
            ("[!a-c]x", "!x", true),
            ("a[^b]c", "a/c", true),
            ("**x", "yx", true),
            ("**x*", "yx", false),
            ("**x*", "y/x1", true),
            ("a**b", "axb", false),
            ("a**b", "ax/b", true),
            ("a**b", "ab", true),
            ("***", "a/b", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a.b", "axb", false),
            ("a+(b)", "a+(b)", true),
            ("**", "a/b", true),
        ];
        for (pattern, path, expected) in table {
            assert_eq!(Glob::ignore(pattern).unwrap().matches(path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn sources_cross_no_directory() {
        assert!(!Glob::source("**/x").unwrap().matches("a/b/x"));
        assert!(Glob::source("**/x").unwrap().matches("a/x"));
        assert!(Glob::source("package*.json").unwrap().matches("package-lock.json"));
    }

    #[test]
    fn refuses_broken_brackets() {
        for pattern in ["[", "[a", "[]", "[]a]", "[b-a]", "[a-", "[a-]", "[-a]", "[^", "\\"] {
            assert!(Glob::ignore(pattern).is_err(), "{pattern}");
        }
    }
}
