//! Layers' digests, made off the critical path: hashing begins when a step is committed and is waited for at the end.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use coracle_oci::DiffId;
use coracle_snapshot::{LayerInfo, SnapshotError, SnapshotId, Snapshots};

use crate::{During, Engine, Failure, Result};

/// The hashes of one build that are being made.
pub struct Hashing<'a> {
    engine: &'a Engine,
    running: Mutex<BTreeMap<SnapshotId, JoinHandle<Result<LayerInfo, SnapshotError>>>>,
}

impl<'a> Hashing<'a> {
    /// Returns hashing for a build, with nothing under way.
    pub fn new(engine: &'a Engine) -> Self {
        Self { engine, running: Mutex::default() }
    }

    /// Begins to hash a committed snapshot's layer.
    pub fn begin(&self, id: &SnapshotId) {
        let (snapshots, hashed) = (self.engine.snapshots.clone(), id.clone());
        let handle = std::thread::spawn(move || hash(&snapshots, &hashed));
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), handle);
    }

    /// Returns the digest of a snapshot's layer, and records it; waits when it is still being made.
    pub fn diff_id(&self, id: &SnapshotId) -> Result<DiffId> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        let snapshot = self.engine.snapshots.get(id).during("reading a layer's record")?;
        if let (Some(diff_id), Some(_), Some(_)) = (snapshot.diff_id, snapshot.chain_id, snapshot.size) {
            return Ok(diff_id);
        }
        if let Some(maker) = &snapshot.layer_of {
            // The same bytes: hashed once, wherever the layer lies.
            let diff_id = self.diff_id(maker)?;
            let size = self.engine.snapshots.get(maker).during("reading a layer's record")?.size.unwrap_or(0);
            if let Some(parent) = &snapshot.parent {
                self.diff_id(parent)?;
            }
            let recorded = self.engine.snapshots.set_diff_id(id, diff_id, size);
            return recorded.during("recording a layer's digest").map(|_| diff_id);
        }
        let info = match running {
            Some(handle) => handle.join().map_err(|_| {
                Failure::ours("hashing a layer", &std::io::Error::other("the hashing thread ended early"))
            })?,
            None => hash(&self.engine.snapshots, id),
        };
        let info = info.during("hashing a layer")?;
        // Bottom up: a chain id needs the one below.
        if let Some(parent) = &snapshot.parent {
            self.diff_id(parent)?;
        }
        self.engine
            .snapshots
            .set_diff_id(id, info.diff_id, info.size)
            .during("recording a layer's digest")?;
        Ok(info.diff_id)
    }
}

fn hash(snapshots: &Snapshots, id: &SnapshotId) -> Result<LayerInfo, SnapshotError> {
    snapshots.layer_tar(id, std::io::sink(), None)
}
