//! `--checksum` of `ADD`: what a download must hash to.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// A hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HashAlgorithm {
    /// SHA-256
    Sha256,
    /// SHA-384
    Sha384,
    /// SHA-512
    Sha512,
}

/// A hash function and the value that it must give.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checksum {
    /// The function.
    pub algorithm: HashAlgorithm,
    /// The value in lower-case hexadecimal digits.
    pub hex: String,
}

impl HashAlgorithm {
    const ALL: [(&str, Self, usize); 3] =
        [("sha256", Self::Sha256, 64), ("sha384", Self::Sha384, 96), ("sha512", Self::Sha512, 128)];

    /// Returns the name, e.g. `sha256`.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, this, _)| *this == self).map_or("", |(name, _, _)| name)
    }
}

impl FromStr for Checksum {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, hex) = text
            .split_once(':')
            .ok_or_else(|| format!("`{text}` is no checksum; write it as sha256:<64 hexadecimal digits>"))?;
        let known = HashAlgorithm::ALL.iter().find(|(known, _, _)| *known == name);
        let Some((_, algorithm, length)) = known else {
            return Err(format!("`{name}` is no known hash; sha256, sha384 and sha512 are"));
        };
        let digits = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if hex.len() != *length || !hex.bytes().all(digits) {
            return Err(format!(
                "`{text}` is no checksum: after `{name}:` stand {length} hexadecimal digits"
            ));
        }
        Ok(Self { algorithm: *algorithm, hex: hex.to_owned() })
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.as_str(), self.hex)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_hashes_are_read() {
        for (name, length) in [("sha256", 64), ("sha384", 96), ("sha512", 128)] {
            let text = format!("{name}:{}", "a".repeat(length));
            assert_eq!(text.parse::<Checksum>().unwrap().to_string(), text);
        }
        for text in ["md5:00", "sha256:00", "sha256", &format!("sha256:{}", "A".repeat(64))] {
            assert!(text.parse::<Checksum>().is_err(), "{text}");
        }
    }
}
