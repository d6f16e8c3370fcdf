//! What build steps made: from a step's key to the snapshot that holds its result.

use coracle_oci::Digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Result, StoreError};
use crate::records::{self, Record};
use crate::{FileLock, Store};

/// The result of one build step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheRecord {
    /// The digest of everything that the result depends on.
    pub key: Digest,
    /// The snapshot that holds the result.
    pub snapshot: String,
    /// A digest of the result's content, when somebody asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Digest>,
    /// When the step ran.
    pub created: Timestamp,
    /// When the result was used last; kept as the file's time, so that using it writes nothing.
    #[serde(skip, default = "Timestamp::now")]
    pub last_used: Timestamp,
    /// The step as the user wrote it.
    pub description: String,
}

impl Record for CacheRecord {}

impl Store {
    /// Returns what a step made before.
    pub fn cached(&self, key: &Digest) -> Result<Option<CacheRecord>> {
        let path = self.layout.cache_record(key);
        let Some(mut record) = records::read_json::<CacheRecord>(&path)? else { return Ok(None) };
        if let Ok(modified) = path.metadata().and_then(|metadata| metadata.modified()) {
            record.last_used = Timestamp::try_from(modified).unwrap_or(record.created);
        }
        Ok(Some(record))
    }

    /// Records what a step made.
    pub fn put_cached(&self, record: &CacheRecord) -> Result<()> {
        records::write_json_atomic(&self.layout.cache_record(&record.key), record)
    }

    /// Says that a result is used now. One that is gone is no failure.
    pub fn touch_cached(&self, key: &Digest) -> Result<()> {
        let path = self.layout.cache_record(key);
        let touched =
            std::fs::File::open(&path).and_then(|file| file.set_modified(std::time::SystemTime::now()));
        match touched {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(StoreError::io("touch", &path, error)),
        }
    }

    /// Forgets a result; returns whether it was known.
    pub fn remove_cached(&self, key: &Digest) -> Result<bool> {
        records::remove(&self.layout.cache_record(key))
    }

    /// Returns all results, the one used last first. Damaged records are left out: a step can run again.
    pub fn cached_all(&self) -> Result<Vec<CacheRecord>> {
        let mut all = Vec::new();
        for path in records::list(&self.layout.cache())? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Ok(key) = format!("sha256:{name}").parse::<Digest>() else { continue };
            match self.cached(&key) {
                Ok(record) => all.extend(record),
                Err(StoreError::Damaged { .. } | StoreError::Newer { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        all.sort_by_key(|record| std::cmp::Reverse(record.last_used));
        Ok(all)
    }

    /// Waits until no other build runs the step with this key, and holds it off.
    ///
    /// Look the key up again afterwards: whoever held it may have run the step.
    pub fn lock_key(&self, key: &Digest) -> Result<FileLock> {
        FileLock::exclusive(&self.layout.cache_lock(key))
    }
}
