//! Cache keys: what a step's result is known by across builds.

use std::fmt;

use coracle_oci::{Digest, DigestError};
use serde::{Deserialize, Serialize};

/// The SHA-256 over everything that decides a step's result: what it does, the keys of what it builds upon and
/// the digests of the files it takes. Times, names of stages and places in the Dockerfile are not in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CacheKey(Digest);

/// Changes when the meaning of keys does, so that old records are never found.
const GENERATION: &str = "coracle-build-1";

impl CacheKey {
    /// Returns the key of a base image.
    pub fn of_base(key: &Digest) -> Self {
        Self::of("base", &key)
    }

    /// Returns the key of an empty file system.
    pub fn of_scratch() -> Self {
        Self::of("scratch", &())
    }

    /// Returns the key of `parts`, which must serialise the same way each time. `kind` keeps apart things whose
    /// parts look alike.
    pub(crate) fn of(kind: &str, parts: &impl Serialize) -> Self {
        let bytes =
            serde_json::to_vec(&(GENERATION, kind, parts)).expect("keys are made of text, lists and numbers");
        Self(Digest::of(bytes))
    }

    /// Returns the digest.
    pub const fn digest(&self) -> Digest {
        self.0
    }

    /// Returns the 64 hexadecimal digits, a safe file name.
    pub fn hex(&self) -> String {
        self.0.hex()
    }
}

impl std::str::FromStr for CacheKey {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        text.parse().map(Self)
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
