//! Why a snapshot operation failed. Owns the mapping of "disk full" to an error of its own.

use std::io;
use std::path::{Path, PathBuf};

use coracle_oci::DiffId;

use crate::SnapshotId;

/// Why a snapshot operation failed.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The disk or the quota is full. What was half-written has been removed.
    #[error("no space left on the disk that holds {}", path.display())]
    NoSpace {
        /// The file or directory that could not grow.
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
    /// A copy would put a file where a directory is, or the other way round.
    #[error("cannot put {wanted} at {}: {by} is there", path.display())]
    Occupied {
        /// The place.
        path: PathBuf,
        /// What was to be put there.
        wanted: &'static str,
        /// What is there.
        by: &'static str,
    },
    /// No snapshot has this id.
    #[error("there is no snapshot {0}")]
    Unknown(SnapshotId),
    /// The snapshot is still being written, so nothing can be based on it.
    #[error("snapshot {0} is not committed yet")]
    NotCommitted(SnapshotId),
    /// The snapshot is committed, so it cannot be mounted for writing.
    #[error("snapshot {0} is committed already")]
    Committed(SnapshotId),
    /// Another snapshot is based on this one.
    #[error("snapshot {id} is the base of snapshot {child}")]
    InUse {
        /// The snapshot that was to go.
        id: SnapshotId,
        /// One that is based on it.
        child: SnapshotId,
    },
    /// A snapshot's record cannot be understood.
    #[error("the record {} is damaged", path.display())]
    Record {
        /// The record.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A layer's archive is no archive, or cut off.
    #[error("the layer is not a readable tar archive: {0}")]
    Malformed(String),
    /// A layer's archive asks for something that no honest layer needs.
    #[error("the layer's entry `{entry}` is refused: {reason}")]
    Hostile {
        /// The entry's name.
        entry: String,
        /// The rule that it breaks.
        reason: &'static str,
    },
    /// A layer is larger than the limits given to [`crate::Snapshots`].
    #[error("the layer has more than {limit} {unit}")]
    TooLarge {
        /// The limit.
        limit: u64,
        /// What is limited.
        unit: &'static str,
    },
    /// A layer's bytes are not the ones that were asked for.
    #[error("the layer's content is {actual}, but {expected} was expected")]
    Mismatch {
        /// What was asked for.
        expected: DiffId,
        /// What came.
        actual: DiffId,
    },
    /// The kernel cannot mount what was asked for.
    #[error("cannot mount the layers: {step}")]
    Mount {
        /// The step that failed, with the kernel's own words where it gave any.
        step: String,
        /// Why.
        source: io::Error,
    },
}

/// What a snapshot operation returns.
pub type Result<T> = std::result::Result<T, SnapshotError>;

impl SnapshotError {
    /// Returns the error for `source` on `path`, telling a full disk apart.
    pub(crate) fn io(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        if is_full(&source) {
            return Self::NoSpace { path: path.to_owned() };
        }
        Self::Io { action, path: path.to_owned(), source }
    }

    /// Returns whether the disk was full.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::NoSpace { .. })
    }
}

/// Returns whether the error means that disk or quota is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
