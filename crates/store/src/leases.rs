//! Work under way: what a running process has put into the store, or taken from it, before a record says so.

use std::collections::BTreeSet;

use coracle_oci::Digest;
use serde::{Deserialize, Serialize};

use crate::error::{Result, StoreError};
use crate::records::{self, Record};
use crate::{FileLock, Store};

/// What a lease protects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leased {
    /// What the work is, for people.
    pub purpose: String,
    /// Blobs in use.
    pub blobs: BTreeSet<Digest>,
    /// Snapshots in use.
    pub snapshots: BTreeSet<String>,
}

impl Record for Leased {}

/// A lease of this process. It ends when it is dropped, or when the process ends, however that happens.
#[derive(Debug)]
pub struct Lease {
    leased: Leased,
    path: std::path::PathBuf,
    lock: Option<FileLock>,
}

impl Store {
    /// Starts a lease.
    pub fn lease(&self, purpose: impl Into<String>) -> Result<Lease> {
        let leases = self.layout.leases();
        // The lock's own file is what lives and dies with us; the record lies beside it.
        let name = tempfile::Builder::new()
            .prefix(&format!("{}-", std::process::id()))
            .suffix(".lock")
            .tempfile_in(&leases)
            .map_err(|error| StoreError::io("write", &leases, error))?
            .into_temp_path();
        let lock_path = name.keep().map_err(|error| StoreError::io("write", &leases, error.error))?;
        let lock = FileLock::exclusive(&lock_path)?;
        let leased = Leased { purpose: purpose.into(), ..Leased::default() };
        let lease = Lease { leased, path: lock_path.with_extension("json"), lock: Some(lock) };
        records::write_json_atomic(&lease.path, &lease.leased)?;
        Ok(lease)
    }

    /// Returns what living processes protect, and forgets the leases of dead ones.
    pub fn leased(&self) -> Result<Vec<Leased>> {
        let mut all = Vec::new();
        for path in records::list(&self.layout.leases())? {
            if path.extension().is_none_or(|extension| extension != "lock") {
                continue;
            }
            let record = path.with_extension("json");
            if let Some(lock) = FileLock::try_exclusive(&path)? {
                records::remove(&record)?;
                lock.remove()?;
            } else {
                all.extend(records::read_json::<Leased>(&record)?);
            }
        }
        Ok(all)
    }
}

impl Lease {
    /// Protects a blob from now on.
    pub fn add_blob(&mut self, digest: Digest) -> Result<()> {
        if self.leased.blobs.insert(digest) {
            records::write_json_atomic(&self.path, &self.leased)?;
        }
        Ok(())
    }

    /// Protects a snapshot from now on.
    pub fn add_snapshot(&mut self, id: impl Into<String>) -> Result<()> {
        if self.leased.snapshots.insert(id.into()) {
            records::write_json_atomic(&self.path, &self.leased)?;
        }
        Ok(())
    }

    /// Returns what the lease protects.
    pub fn leased(&self) -> &Leased {
        &self.leased
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // What cannot be removed now is removed by `leased`, since the lock ends with us.
        let _ = records::remove(&self.path);
        if let Some(lock) = self.lock.take() {
            let _ = lock.remove();
        }
    }
}
