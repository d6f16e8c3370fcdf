//! Layers' digests, made off the critical path: hashing begins when a step is committed and is waited for at the end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use coracle_oci::DiffId;
use coracle_snapshot::{LayerInfo, SnapshotError, SnapshotId, Snapshots};

use crate::{During, Engine, Failure, Result};

/// The hashes of one build that are being made.
pub struct Hashing<'a> {
    engine: &'a Engine,
    running: Mutex<BTreeMap<SnapshotId, Arc<Mutex<Hash>>>>,
}

/// The hash of one layer. Its lock is held while it is waited for or made, so that nobody makes it twice.
#[derive(Default)]
enum Hash {
    #[default]
    Wanted,
    Running(JoinHandle<Result<LayerInfo, SnapshotError>>),
    Known(LayerInfo),
}

impl<'a> Hashing<'a> {
    /// Returns hashing for a build, with nothing under way.
    pub fn new(engine: &'a Engine) -> Self {
        Self { engine, running: Mutex::default() }
    }

    /// Begins to hash a committed snapshot's layer.
    pub fn begin(&self, id: &SnapshotId) {
        let (snapshots, hashed) = (self.engine.snapshots.clone(), id.clone());
        let handle = std::thread::spawn(move || make(&snapshots, &hashed));
        let hash = Arc::new(Mutex::new(Hash::Running(handle)));
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), hash);
    }

    /// Returns what is known of a layer's archive; waits when it is still being hashed.
    fn info(&self, id: &SnapshotId) -> Result<LayerInfo> {
        let hash = {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            running.entry(id.clone()).or_default().clone()
        };
        let mut hash = hash.lock().unwrap_or_else(PoisonError::into_inner);
        let info = match std::mem::take(&mut *hash) {
            Hash::Known(info) => Ok(info),
            Hash::Running(handle) => handle.join().map_err(|_| {
                Failure::ours("hashing a layer", &std::io::Error::other("the hashing thread ended early"))
            })?,
            Hash::Wanted => make(&self.engine.snapshots, id),
        };
        let info = info.during("hashing a layer")?;
        *hash = Hash::Known(info);
        Ok(info)
    }

    /// Returns the digest of a snapshot's layer, and records it; waits when it is still being made.
    pub fn diff_id(&self, id: &SnapshotId) -> Result<DiffId> {
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
        let info = self.info(id)?;
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

fn make(snapshots: &Snapshots, id: &SnapshotId) -> Result<LayerInfo, SnapshotError> {
    snapshots.layer_tar(id, std::io::sink(), None)
}
