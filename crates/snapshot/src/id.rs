//! Names of snapshots: small counters in base 36, short so that overlay's option strings stay short.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is no snapshot id.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a snapshot id: one to twelve characters of 0-9 and a-z, without leading zero")]
pub struct SnapshotIdError(String);

/// The name of one snapshot, e.g. `1k`. Never used twice under one root.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SnapshotId(String);

const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// The directory of the chain index, which lies among the snapshots and whose name would be an id.
pub(crate) const INDEX: &str = "chains";

impl SnapshotId {
    /// Returns the id that stands for a counter's value.
    pub(crate) fn from_counter(mut counter: u64) -> Self {
        let mut digits = Vec::new();
        loop {
            digits.push(char::from(DIGITS[(counter % 36) as usize]));
            counter /= 36;
            if counter == 0 {
                break;
            }
        }
        Self(digits.iter().rev().collect())
    }

    /// Returns the counter's value, which grows with age.
    pub(crate) fn counter(&self) -> u64 {
        u64::from_str_radix(&self.0, 36).expect("twelve base-36 digits fit in 64 bits")
    }

    /// Returns the id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SnapshotId {
    type Err = SnapshotIdError;

    fn from_str(text: &str) -> Result<Self, SnapshotIdError> {
        let legal = (1..=12).contains(&text.len())
            && text.bytes().all(|byte| DIGITS.contains(&byte))
            && (text == "0" || !text.starts_with('0'))
            && text != INDEX;
        if legal { Ok(Self(text.to_owned())) } else { Err(SnapshotIdError(text.to_owned())) }
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for SnapshotId {
    type Error = SnapshotIdError;

    fn try_from(text: String) -> Result<Self, SnapshotIdError> {
        text.parse()
    }
}

impl From<SnapshotId> for String {
    fn from(id: SnapshotId) -> Self {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_round_trip() {
        for counter in [0, 1, 35, 36, 1295, 1296, 123_456_789] {
            let id = SnapshotId::from_counter(counter);
            assert_eq!(id.to_string().parse(), Ok(id.clone()));
            assert_eq!(id.counter(), counter);
        }
    }

    #[test]
    fn refuses_other_texts() {
        for text in ["", "00", "A", "../1", "a/b", "chains", "0000000000001", "1234567890abc"] {
            assert!(text.parse::<SnapshotId>().is_err(), "{text}");
        }
    }
}
