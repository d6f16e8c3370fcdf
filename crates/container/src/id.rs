//! Container identifiers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is no container id.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a container id: 64 lower-case hexadecimal digits")]
pub struct IdError(String);

/// A container's id: 64 lower-case hexadecimal digits, as Docker's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(String);

impl ContainerId {
    /// Returns the id made of 32 random bytes that the caller drew.
    pub fn from_random(bytes: [u8; 32]) -> Self {
        use fmt::Write as _;
        let mut text = String::with_capacity(64);
        for byte in bytes {
            write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        }
        Self(text)
    }

    /// Returns the whole id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the first 12 digits, the form people see.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }

    /// Returns the path of the container's cgroup below each hierarchy's root. It is flat, so that no parent
    /// group stays behind.
    pub fn cgroup_path(&self) -> String {
        format!("/coracle-{}", self.short())
    }
}

impl FromStr for ContainerId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let legal = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if legal { Ok(Self(text.to_owned())) } else { Err(IdError(text.to_owned())) }
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ContainerId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> Self {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_full_ids_parse() {
        let id = ContainerId::from_random([0xab; 32]);
        assert_eq!(id.as_str().parse(), Ok(id.clone()));
        assert_eq!(id.cgroup_path(), "/coracle-abababababab");
        for text in ["", "ab", &"g".repeat(64), &"A".repeat(64)] {
            assert!(text.parse::<ContainerId>().is_err());
        }
    }
}
