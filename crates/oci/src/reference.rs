//! Image references: registry, repository, tag and digest, normalised on parse.
//!
//! Grammar: <https://github.com/distribution/reference/blob/main/reference.go>; familiar names expand as
//! Docker's do (`python` is `docker.io/library/python:latest`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Digest;

/// Why a text is no image reference.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReferenceError {
    /// No text at all.
    #[error("an image reference cannot be empty")]
    Empty,
    /// An upper-case letter in the repository.
    #[error("image reference `{0}` has upper-case letters in its repository; repositories are lower case")]
    UpperCase(String),
    /// Any other violation.
    #[error("`{text}` is not an image reference: {reason}")]
    Malformed {
        /// The text.
        text: String,
        /// The rule it breaks.
        reason: &'static str,
    },
}

/// A normalised image reference. `Display` gives the canonical form, [`Reference::familiar`] Docker's short one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_NAMESPACE: &str = "library/";

impl Reference {
    /// Returns the registry's host (and port), `docker.io` for Docker Hub.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Returns the repository, with Docker Hub's `library/` written out.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Returns the tag; `latest` was filled in when neither tag nor digest was given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns the digest that pins the reference.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// Returns the same repository with another tag and no digest.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        check_tag(tag, tag)?;
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// Returns the form people type: no `docker.io/`, no `library/`; the tag is always written.
    pub fn familiar(&self) -> String {
        let repository = if self.registry == DEFAULT_REGISTRY {
            self.repository.strip_prefix(DEFAULT_NAMESPACE).unwrap_or(&self.repository).to_owned()
        } else {
            format!("{}/{}", self.registry, self.repository)
        };
        self.suffixed(repository)
    }

    fn suffixed(&self, mut text: String) -> String {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(&digest.to_string());
        }
        text
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        let malformed = |reason| ReferenceError::Malformed { text: text.to_owned(), reason };
        let (rest, digest) = match text.split_once('@') {
            None => (text, None),
            Some((rest, digest)) => {
                (rest, Some(digest.parse().map_err(|_| malformed("the part after `@` is not a digest"))?))
            }
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => {
                check_tag(text, tag)?;
                (name, Some(tag.to_owned()))
            }
            _ => (rest, None),
        };
        let (registry, repository) = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
                (first, rest.to_owned())
            }
            Some(_) => (DEFAULT_REGISTRY, name.to_owned()),
            None => (DEFAULT_REGISTRY, format!("{DEFAULT_NAMESPACE}{name}")),
        };
        let registry = match registry {
            "index.docker.io" | "registry-1.docker.io" => DEFAULT_REGISTRY,
            other => other,
        };
        let host_ok =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']');
        let labels_ok = registry.split('.').all(|label| !label.is_empty());
        if !registry.bytes().all(host_ok) || !labels_ok {
            return Err(malformed("the registry has characters that no host name has"));
        }
        if repository.len() > 255 {
            return Err(malformed("the repository is longer than 255 characters"));
        }
        for component in repository.split('/') {
            check_component(text, component)?;
        }
        let tag = match (tag, digest) {
            (None, None) => Some("latest".to_owned()),
            (tag, _) => tag,
        };
        Ok(Self { registry: registry.to_owned(), repository, tag, digest })
    }
}

/// Checks one path component: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
fn check_component(text: &str, component: &str) -> Result<(), ReferenceError> {
    let malformed = |reason| ReferenceError::Malformed { text: text.to_owned(), reason };
    if component.is_empty() {
        return Err(malformed("a part of the repository is empty"));
    }
    if component.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(ReferenceError::UpperCase(text.to_owned()));
    }
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if !component.bytes().all(|byte| alphanumeric(byte) || matches!(byte, b'.' | b'_' | b'-')) {
        return Err(malformed("a repository holds only a-z, 0-9, `.`, `_` and `-`"));
    }
    let bytes = component.as_bytes();
    if !alphanumeric(bytes[0]) || !alphanumeric(bytes[bytes.len() - 1]) {
        return Err(malformed("a part of the repository must begin and end with a letter or digit"));
    }
    let mut separator = String::new();
    for character in component.chars() {
        if matches!(character, '.' | '_' | '-') {
            separator.push(character);
            continue;
        }
        let legal =
            matches!(separator.as_str(), "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-');
        if !legal {
            return Err(malformed("separators in a repository are `.`, `_`, `__` or dashes"));
        }
        separator.clear();
    }
    Ok(())
}

fn check_tag(text: &str, tag: &str) -> Result<(), ReferenceError> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let bytes = tag.as_bytes();
    let legal = !bytes.is_empty()
        && bytes.len() <= 128
        && word(bytes[0])
        && bytes.iter().all(|byte| word(*byte) || matches!(byte, b'.' | b'-'));
    if legal {
        Ok(())
    } else {
        let reason = "a tag holds up to 128 letters, digits, `_`, `.` and `-`, and begins with no `.` or `-`";
        Err(ReferenceError::Malformed { text: text.to_owned(), reason })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.suffixed(format!("{}/{}", self.registry, self.repository)))
    }
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, ReferenceError> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn normalises() {
        let table = [
            ("python", "docker.io/library/python:latest", "python:latest"),
            ("python:3.11-slim", "docker.io/library/python:3.11-slim", "python:3.11-slim"),
            ("prom/prometheus", "docker.io/prom/prometheus:latest", "prom/prometheus:latest"),
            ("localhost/a", "localhost/a:latest", "localhost/a:latest"),
            ("localhost:5000/a/b:1", "localhost:5000/a/b:1", "localhost:5000/a/b:1"),
            ("ghcr.io/x/y__z", "ghcr.io/x/y__z:latest", "ghcr.io/x/y__z:latest"),
            ("index.docker.io/library/a", "docker.io/library/a:latest", "a:latest"),
        ];
        for (text, canonical, familiar) in table {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.to_string(), canonical);
            assert_eq!(reference.familiar(), familiar);
        }
    }

    #[test]
    fn a_digest_needs_no_tag() {
        let text = format!("redis@{}", Digest::of("x"));
        let reference: Reference = text.parse().unwrap();
        assert_eq!(reference.tag(), None);
        assert_eq!(reference.familiar(), text);
    }

    #[test]
    fn refuses() {
        for text in
            ["", "Python", "a//b", "a:", "a:-x", "-a", "a-", "a..b", "a@sha256:1", "a b", "../etc", "a/../b"]
        {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn parse_of_print_is_identity(text in "([a-z]{1,5}\\.[a-z]{2}(:[0-9]{2})?/)?[a-z0-9]{1,8}(/[a-z0-9]{1,5})?(:[a-z0-9]{1,6})?") {
            let reference: Reference = text.parse().unwrap();
            prop_assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference);
        }

        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = text.parse::<Reference>();
        }
    }
}
