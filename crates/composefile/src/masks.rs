//! Which values are nobody's business: passwords and their like, told by the names they have.

use std::fmt::Write as _;

use crate::provenance::{Outcome, VariableUse};
use crate::references;
use crate::tree::{Entry, Node, Value};
use crate::view::{View, quoted};

/// What stands for a value that is hidden.
const HIDDEN: &str = "***";

/// What is done with values whose name says that they are secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Masks {
    /// They are hidden.
    Hide,
    /// They are shown.
    Reveal,
}

/// Says whether the value of what has this name is secret: `DB_PASSWORD`, `apiToken`, `SECRET_KEY`.
///
/// Names of files and switches (`POSTGRES_PASSWORD_FILE`) are not.
pub fn is_secret_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    // The attribute; it names secrets and holds none.
    if lower == "secrets" {
        return false;
    }
    let last = lower.rsplit(['_', '-', '.']).next().unwrap_or_default();
    if matches!(last, "file" | "path" | "dir" | "name" | "id" | "length" | "ttl" | "expiry" | "enabled") {
        return false;
    }
    let holds = |word: &str| lower.contains(word);
    let segment = |word: &str| lower.split(['_', '-', '.']).any(|segment| segment == word);
    ["password", "passwd", "passphrase", "secret", "token", "credential"].into_iter().any(holds)
        || ["pass", "pwd"].into_iter().any(segment)
        || ["key", "keys"].into_iter().any(|word| last.ends_with(word) && !last.ends_with("monkey"))
}

impl Masks {
    /// Returns the text of what is called `name`, with what is secret in it hidden.
    pub fn text(self, name: &str, text: &str) -> String {
        match self {
            Self::Reveal => text.to_owned(),
            Self::Hide if text.is_empty() => String::new(),
            Self::Hide if is_secret_name(name) => HIDDEN.to_owned(),
            Self::Hide => hide_pairs(&hide_user(text)),
        }
    }

    /// As [`Masks::text`]; the values of secret variables that went into it are hidden too.
    pub fn replaced(self, name: &str, text: &str, uses: &[VariableUse]) -> String {
        let mut text = text.to_owned();
        for used in uses.iter().filter(|used| self == Self::Hide && is_secret_name(&used.name)) {
            let value = match &used.outcome {
                Outcome::Value { value, .. } => value.as_str(),
                Outcome::Default | Outcome::Alternative { .. } => used.word.as_str(),
                Outcome::Nothing => "",
            };
            if !value.is_empty() {
                text = text.replace(value, HIDDEN);
            }
        }
        self.text(name, &text)
    }

    /// Returns a text as it is written, with the literal parts that are secret hidden: `${DB_PASSWORD:-***}`.
    pub fn written(self, name: &str, text: &str) -> String {
        if self == Self::Reveal {
            return text.to_owned();
        }
        let secret = is_secret_name(name);
        let mut out = String::new();
        let mut at = 0;
        let literal = |out: &mut String, part: &str| {
            if secret && !part.is_empty() {
                out.push_str(HIDDEN);
            } else {
                out.push_str(part);
            }
        };
        for found in references::find(text).into_iter().filter(|found| !found.nested) {
            literal(&mut out, &text[at..found.start]);
            let hides = secret || is_secret_name(&found.name);
            if hides && !found.word.is_empty() && !found.operator.is_required() {
                let _ = write!(out, "${{{}{}{HIDDEN}}}", found.name, found.operator.as_str());
            } else {
                out.push_str(&text[found.start..found.end]);
            }
            at = found.end;
        }
        literal(&mut out, &text[at..]);
        if secret { out } else { hide_pairs(&hide_user(&out)) }
    }

    /// Returns the value of what is called `name` on one line.
    pub fn shown(self, name: &str, view: View<'_>) -> String {
        match view.text() {
            Some(_) => self.text(name, &view.shown()),
            None => self.node(name, view.node()),
        }
    }

    fn node(self, name: &str, node: &Node) -> String {
        match &node.value {
            Value::Null => "null".to_owned(),
            Value::Scalar(_) => {
                let text = node.shown().unwrap_or_default();
                let shown = self.text(name, &text);
                if shown == text { quoted(node) } else { shown }
            }
            Value::Sequence(items) => {
                let items: Vec<String> = items.iter().map(|item| self.node(name, item)).collect();
                format!("[{}]", items.join(", "))
            }
            Value::Mapping(mapping) => {
                let entry =
                    |(key, entry): (&String, &Entry)| format!("{key}: {}", self.node(key, &entry.node));
                let entries: Vec<String> = mapping.iter().map(entry).collect();
                format!("{{{}}}", entries.join(", "))
            }
        }
    }
}

/// Hides the password of `scheme://user:password@host`; one that is a variable is none.
fn hide_user(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, behind) = rest.split_at(at + 3);
        out.push_str(before);
        let end = behind.find(|c: char| c.is_whitespace() || "/?#\"'".contains(c)).unwrap_or(behind.len());
        let user = behind[..end].rfind('@').map(|at| &behind[..at]);
        match user.and_then(|user| user.split_once(':')) {
            Some((name, password)) if !password.is_empty() && !password.starts_with('$') => {
                let _ = write!(out, "{name}:{HIDDEN}");
                rest = &behind[name.len() + 1 + password.len()..];
            }
            _ => {
                out.push_str(&behind[..end]);
                rest = &behind[end..];
            }
        }
    }
    out + rest
}

/// Hides the value of `password=...` and its like inside a longer text.
fn hide_pairs(text: &str) -> String {
    let parts = |c: char| c.is_whitespace() || "&;?,".contains(c);
    let mut out = String::new();
    for part in text.split_inclusive(parts) {
        let end = part.trim_end_matches(parts);
        match end.split_once('=') {
            Some((name, value))
                if !value.is_empty()
                    && !value.starts_with('$')
                    && is_secret_name(name.trim_start_matches('-')) =>
            {
                let _ = write!(out, "{name}={HIDDEN}{}", &part[end.len()..]);
            }
            _ => out.push_str(part),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_is_secret() {
        for name in [
            "PASSWORD",
            "DB_PASSWORD",
            "pgpasswd",
            "SECRET_KEY",
            "API_KEY",
            "apikey",
            "JWT_SECRET",
            "GITHUB_TOKEN",
            "DB_PASS",
            "aws-credentials",
            "ENCRYPTION_KEYS",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in [
            "POSTGRES_PASSWORD_FILE",
            "KEYCLOAK_URL",
            "USER",
            "MONKEY",
            "TOKEN_TTL",
            "SECRET_NAME",
            "COMPASS",
            "AWS_ACCESS_KEY_ID",
        ] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn secrets_are_hidden() {
        let table = [
            ("DB_PASSWORD", "hunter2", "***"),
            ("DB_PASSWORD", "", ""),
            ("URL", "postgres://me:hunter2@db:5432/x", "postgres://me:***@db:5432/x"),
            ("URL", "postgres://me@db/x and http://a:b@c", "postgres://me@db/x and http://a:***@c"),
            ("URL", "http://db:5432/x?a=b&password=y&c=d", "http://db:5432/x?a=b&password=***&c=d"),
            ("command", "run --token=x --user=y", "run --token=*** --user=y"),
            ("IMAGE", "db:5432", "db:5432"),
        ];
        for (name, text, expected) in table {
            assert_eq!(Masks::Hide.text(name, text), expected, "{text}");
            assert_eq!(Masks::Reveal.text(name, text), text);
        }
        let table = [
            ("DB_PASSWORD", "${DB_PASSWORD:-hunter2}", "${DB_PASSWORD:-***}"),
            ("DB_PASSWORD", "a${X}", "***${X}"),
            ("DB_PASSWORD", "${X:?say why}", "${X:?say why}"),
            ("URL", "postgres://me:${DB_PASSWORD}@db", "postgres://me:${DB_PASSWORD}@db"),
            ("URL", "x ${DB_PASSWORD:-hunter2} ${PORT:-80}", "x ${DB_PASSWORD:-***} ${PORT:-80}"),
        ];
        for (name, text, expected) in table {
            assert_eq!(Masks::Hide.written(name, text), expected, "{text}");
        }
    }
}
