//! Why the store failed. Owns the mapping of "disk full" to an error of its own.

use std::io;
use std::path::{Path, PathBuf};

use coracle_oci::{Digest, Reference};

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk or the quota is full. What was half-written has been removed.
    #[error("no space left on the disk that holds {}", path.display())]
    NoSpace {
        /// The file that could not grow.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The bytes to store could not be read from where they come from.
    #[error("cannot read the content to store")]
    Source(#[source] io::Error),
    /// A record or document cannot be understood.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A record was written by a later version of this program.
    #[error("{} has version {found}, this program knows up to {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version in it.
        found: u32,
        /// The last version that is known.
        known: u32,
    },
    /// Stored or received bytes are not the ones their name says.
    #[error("the content of {expected} is damaged: it is {actual}")]
    Mismatch {
        /// The name.
        expected: Digest,
        /// What the bytes are.
        actual: Digest,
    },
    /// Stored or received bytes are more or fewer than announced.
    #[error("{digest} has {actual} bytes instead of {expected}")]
    Size {
        /// The name.
        digest: Digest,
        /// What was announced.
        expected: u64,
        /// What came.
        actual: u64,
    },
    /// Nothing is stored under this digest.
    #[error("{0} is not stored")]
    Missing(Digest),
    /// A document is larger than any honest one.
    #[error("{digest} is larger than {limit} bytes")]
    TooLarge {
        /// The document.
        digest: Digest,
        /// The bound.
        limit: u64,
    },
    /// Several images begin with the given digits.
    #[error("`{prefix}` names several images: {}", candidates.join(", "))]
    Ambiguous {
        /// What was given.
        prefix: String,
        /// Short ids of the images.
        candidates: Vec<String>,
    },
    /// The layers given for an image are not the ones in its configuration.
    #[error("the image's configuration lists {expected} layers, which are not the {actual} that were given")]
    Layers {
        /// Number in the configuration.
        expected: usize,
        /// Number given.
        actual: usize,
    },
    /// An image has other names, so removing it by id needs force.
    #[error("the image has {} names: {}", references.len(), names(references))]
    Referenced {
        /// The names.
        references: Vec<Reference>,
    },
    /// Somebody else holds a lock that must be free.
    #[error("{} is in use{}", path.display(), holder.map(|pid| format!(" by process {pid}")).unwrap_or_default())]
    Busy {
        /// The lock's file.
        path: PathBuf,
        /// The process that holds it, when it said so.
        holder: Option<u32>,
    },
}

/// What the store returns.
pub type Result<T> = std::result::Result<T, StoreError>;

impl StoreError {
    /// Returns the error for `source` on `path`, telling a full disk apart.
    pub(crate) fn io(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return Self::NoSpace { path: path.to_owned() };
        }
        Self::Io { action, path: path.to_owned(), source }
    }

    /// Returns whether something stored is not what it should be, or is lost.
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Damaged { .. }
                | Self::Mismatch { .. }
                | Self::TooLarge { .. }
                | Self::Missing(_)
                | Self::Size { .. }
        )
    }

    /// Returns whether the disk was full.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::NoSpace { .. })
    }
}

fn names(references: &[Reference]) -> String {
    references.iter().map(Reference::familiar).collect::<Vec<_>>().join(", ")
}
