//! Content digests (OCI image specification, "Digests") and the ids that are made of them.

use std::fmt;
use std::io;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Why a text is no digest.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum DigestError {
    /// The text is not `algorithm:hex`.
    #[error("`{0}` is not a digest of the form sha256:<64 hex digits>")]
    Malformed(String),
    /// Another algorithm than SHA-256.
    #[error("digest algorithm `{0}` is not supported, only sha256 is")]
    Algorithm(String),
}

/// A SHA-256 digest of some bytes, printed as `sha256:<hex>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// Returns the digest of `bytes`.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(Sha256::digest(bytes.as_ref()).into())
    }

    /// Returns the digest with these raw bytes, as a hasher gave them.
    pub const fn from_raw(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the 64 lower-case hexadecimal digits, without the algorithm.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }

    /// Returns the first 12 hexadecimal digits, for people.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..6])
    }

    /// Returns the 32 raw bytes.
    pub const fn as_raw(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let malformed = || DigestError::Malformed(text.to_owned());
        let (algorithm, digits) = text.split_once(':').ok_or_else(malformed)?;
        if algorithm != "sha256" {
            return Err(DigestError::Algorithm(algorithm.to_owned()));
        }
        if digits.len() != 64 || digits.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(malformed());
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| malformed())?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl From<Digest> for oci_spec::image::Digest {
    fn from(digest: Digest) -> Self {
        digest.to_string().parse().expect("sha256 and 64 digits are the specification's form")
    }
}

impl TryFrom<&oci_spec::image::Digest> for Digest {
    type Error = DigestError;

    fn try_from(digest: &oci_spec::image::Digest) -> Result<Self, DigestError> {
        digest.to_string().parse()
    }
}

macro_rules! digest_kind {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Digest);

        impl $name {
            /// Says that `digest` is one of this kind.
            pub const fn new(digest: Digest) -> Self {
                Self(digest)
            }

            /// Returns the digest without its kind.
            pub const fn digest(&self) -> Digest {
                self.0
            }
        }

        impl FromStr for $name {
            type Err = DigestError;

            fn from_str(text: &str) -> Result<Self, DigestError> {
                text.parse().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

digest_kind! {
    /// The digest of a layer's *uncompressed* tar stream (OCI image specification, "Layer DiffID").
    DiffId
}
digest_kind! {
    /// The digest of a stack of layers (OCI image specification, "Layer ChainID").
    ChainId
}
digest_kind! {
    /// The digest of an image's configuration (OCI image specification, "ImageID").
    ImageId
}

impl ChainId {
    /// Returns the chain id of `layer` on top of `parent`.
    pub fn extend(parent: Option<Self>, layer: DiffId) -> Self {
        match parent {
            None => Self(layer.digest()),
            Some(parent) => Self(Digest::of(format!("{parent} {layer}"))),
        }
    }

    /// Returns the chain id of a whole stack, lowest layer first; `None` for no layer.
    pub fn of_layers(layers: &[DiffId]) -> Option<Self> {
        layers.iter().fold(None, |parent, layer| Some(Self::extend(parent, *layer)))
    }
}

/// A writer that hashes what passes through it to an inner writer, and counts the bytes.
pub struct Sha256Writer<W> {
    inner: W,
    hasher: Sha256,
    written: u64,
}

impl<W: io::Write> Sha256Writer<W> {
    /// Wraps `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner, hasher: Sha256::new(), written: 0 }
    }

    /// Returns the inner writer, the digest of all bytes and their count.
    pub fn finish(self) -> (W, Digest, u64) {
        (self.inner, Digest(self.hasher.finalize().into()), self.written)
    }
}

impl<W: io::Write> io::Write for Sha256Writer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn parses_what_it_prints() {
        let digest = Digest::of("");
        assert_eq!(digest.to_string(), EMPTY);
        assert_eq!(EMPTY.parse(), Ok(digest));
        assert_eq!(digest.short(), "e3b0c44298fc");
    }

    #[test]
    fn converts_to_the_specification_and_back() {
        let digest = Digest::of("x");
        assert_eq!(Digest::try_from(&oci_spec::image::Digest::from(digest)), Ok(digest));
    }

    #[test]
    fn refuses_other_texts() {
        for text in ["", "sha256", "sha256:", "sha256:E3", "md5:abc", &EMPTY.to_uppercase(), &EMPTY[..70]] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }

    #[test]
    fn chain_of_one_layer_is_the_layer() {
        let layer = DiffId::new(Digest::of("a"));
        assert_eq!(ChainId::of_layers(&[layer]).unwrap().digest(), layer.digest());
        assert_eq!(ChainId::of_layers(&[]), None);
        let second = DiffId::new(Digest::of("b"));
        let expected = Digest::of(format!("{layer} {second}"));
        assert_eq!(ChainId::of_layers(&[layer, second]).unwrap().digest(), expected);
    }
}
