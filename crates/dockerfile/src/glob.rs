//! Path patterns as Docker knows them: `*`, `?`, `[...]`, `\x` and, in `.dockerignore` and `--exclude`, `**`.

use regex::Regex;

/// Why a text is no pattern.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum GlobError {
    /// A `[` without its `]`, an empty class, or a reversed range.
    #[error("`{0}` is not a pattern: check its brackets")]
    Class(String),
    /// The pattern is longer than any path.
    #[error("a pattern of more than 4096 bytes")]
    TooLong,
}

/// A compiled pattern. Matching takes linear time whatever the pattern.
#[derive(Clone, Debug)]
pub struct Glob {
    whole: Regex,
    part: Option<Regex>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// `*` stays within a directory, `**` crosses.
    Ignore,
    /// `*` stays within a directory, `**` means `*` (`COPY` sources).
    Source,
    /// `*` matches anything (shell's `${x#pattern}`).
    Text,
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

    /// Compiles a pattern over text that is no path.
    pub(crate) fn text(pattern: &str) -> Result<Self, GlobError> {
        Self::compile(pattern, Dialect::Text)
    }

    /// Says whether `text` holds a character with a meaning in patterns.
    pub fn is_pattern(text: &str) -> bool {
        text.contains(['*', '?', '[', '\\'])
    }

    /// Says whether the whole of `path` matches.
    pub fn matches(&self, path: &str) -> bool {
        self.whole.is_match(path)
    }

    /// Replaces the first match within `text`, or all.
    pub(crate) fn replace(&self, text: &str, replacement: &str, all: bool) -> String {
        let Some(part) = &self.part else {
            return text.to_owned();
        };
        part.replacen(text, usize::from(!all), regex::NoExpand(replacement)).into_owned()
    }

    fn compile(pattern: &str, dialect: Dialect) -> Result<Self, GlobError> {
        if pattern.len() > 4096 {
            return Err(GlobError::TooLong);
        }
        let body = translate(pattern, dialect)?;
        let class = |_| GlobError::Class(pattern.to_owned());
        let whole = Regex::new(&format!("(?s)\\A(?:{body})\\z")).map_err(class)?;
        let part = match dialect {
            Dialect::Text if !pattern.is_empty() => Some(Regex::new(&format!("(?s){body}")).map_err(class)?),
            _ => None,
        };
        Ok(Self { whole, part })
    }
}

fn translate(pattern: &str, dialect: Dialect) -> Result<String, GlobError> {
    let malformed = || GlobError::Class(pattern.to_owned());
    let mut out = String::new();
    let mut rest = pattern.chars().peekable();
    let any = if dialect == Dialect::Text { "." } else { "[^/]" };
    while let Some(character) = rest.next() {
        match character {
            '*' => {
                let mut stars = 1;
                while rest.next_if_eq(&'*').is_some() {
                    stars += 1;
                }
                if stars > 1 && dialect == Dialect::Ignore {
                    if rest.next_if_eq(&'/').is_some() {
                        out.push_str("(?:.*/)?");
                    } else {
                        out.push_str(".*");
                    }
                } else {
                    out.push_str(any);
                    out.push('*');
                }
            }
            '?' => out.push_str(any),
            '[' => class(&mut rest, &mut out, dialect).ok_or_else(malformed)?,
            '\\' => {
                let next = rest.next().ok_or_else(malformed)?;
                out.push_str(&regex::escape(next.encode_utf8(&mut [0; 4])));
            }
            _ => out.push_str(&regex::escape(character.encode_utf8(&mut [0; 4]))),
        }
    }
    Ok(out)
}

/// Translates a bracket expression after its `[`; `None` when it is malformed.
fn class(
    rest: &mut std::iter::Peekable<std::str::Chars<'_>>,
    out: &mut String,
    dialect: Dialect,
) -> Option<()> {
    let negated = rest.next_if(|c| matches!(c, '^' | '!')).is_some();
    let mut body = String::new();
    let item = |rest: &mut std::iter::Peekable<std::str::Chars<'_>>| -> Option<char> {
        match rest.next()? {
            '\\' => rest.next(),
            other => Some(other),
        }
    };
    loop {
        if rest.next_if_eq(&']').is_some() {
            break;
        }
        let low = item(rest)?;
        let high = if rest.next_if_eq(&'-').is_some() { item(rest)? } else { low };
        if low > high {
            return None;
        }
        let [low, high] = [low, high].map(|end| format!("\\x{{{:x}}}", u32::from(end)));
        body += &low;
        body.push('-');
        body += &high;
    }
    if body.is_empty() {
        return None;
    }
    out.push_str(match (negated, dialect) {
        (false, _) => "[",
        (true, Dialect::Text) => "[^",
        (true, Dialect::Ignore | Dialect::Source) => "[^/",
    });
    out.push_str(&body);
    out.push(']');
    Some(())
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
            ("[!a-c]x", "dx", true),
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
        for pattern in ["[", "[a", "[]", "[b-a]", "[a-", "\\"] {
            assert!(Glob::ignore(pattern).is_err(), "{pattern}");
        }
    }
}
