//! The record of one snapshot on disk, `<id>/record.json`.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use coracle_oci::{ChainId, DiffId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::SnapshotId;
use crate::error::{Result, SnapshotError};

/// Whether a snapshot is still written to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Written to by the process that prepared it; reclaimed when that process is gone.
    Active,
    /// Written to by a named thing that outlives processes, e.g. a container; removed by its owner.
    Held {
        /// The thing's name, e.g. `container 3f2a...`.
        holder: String,
    },
    /// Never changes again; others may be based on it.
    Committed,
}

/// What is known about one snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Version of this record's form.
    version: u32,
    /// Its name.
    pub id: SnapshotId,
    /// The snapshot it is based on.
    pub parent: Option<SnapshotId>,
    /// Whether it is still written to.
    pub state: State,
    /// The digest of the layer as an uncompressed tar, when it is known.
    pub diff_id: Option<DiffId>,
    /// The length of that tar in bytes, when it is known.
    #[serde(default)]
    pub size: Option<u64>,
    /// The snapshot whose layer this one shares, when it has none of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer_of: Option<SnapshotId>,
    /// The digest of the stack of layers that ends with this one, when it is known.
    pub chain_id: Option<ChainId>,
    /// When it was prepared.
    pub created: Timestamp,
}

const VERSION: u32 = 1;

impl Snapshot {
    pub(crate) fn new(id: SnapshotId, parent: Option<SnapshotId>) -> Self {
        let created = Timestamp::now();
        Self {
            version: VERSION,
            id,
            parent,
            state: State::Active,
            diff_id: None,
            size: None,
            layer_of: None,
            chain_id: None,
            created,
        }
    }

    /// Returns whether others may be based on it.
    pub fn is_committed(&self) -> bool {
        self.state == State::Committed
    }

    /// Reads a record; `None` when there is none.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(SnapshotError::io("read", path, error)),
        };
        let damaged = |source| SnapshotError::Record { path: path.to_owned(), source };
        let snapshot: Self = serde_json::from_slice(&bytes).map_err(damaged)?;
        if snapshot.version > VERSION {
            let newer = format!("version {} is newer than {VERSION}", snapshot.version);
            return Err(damaged(serde::de::Error::custom(newer)));
        }
        Ok(Some(snapshot))
    }

    /// Writes the record in one step; `durable` also brings it to the disk before returning.
    pub(crate) fn write(&self, path: &Path, durable: bool) -> Result<()> {
        let temporary = path.with_extension("new");
        let bytes = serde_json::to_vec(self).expect("a record holds only strings and numbers");
        let written = File::create(&temporary)
            .and_then(|mut file| {
                file.write_all(&bytes)?;
                if durable { file.sync_all() } else { Ok(()) }
            })
            .and_then(|()| std::fs::rename(&temporary, path));
        written.map_err(|error| {
            let _ = std::fs::remove_file(&temporary);
            SnapshotError::io("write", path, error)
        })
    }
}
