//! A snapshot that is being written: mounted, then committed, held or discarded.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use crate::error::{Result, SnapshotError};
use crate::{OverlaySpec, Snapshot, SnapshotId, Snapshots, State};

/// A snapshot that this process writes to. Dropping it discards it.
///
/// Whatever has it mounted must be gone before it is committed or discarded.
#[derive(Debug)]
pub struct ActiveSnapshot {
    snapshots: Snapshots,
    pub(crate) record: Snapshot,
    lower: Vec<PathBuf>,
    /// The locked directory; its lock tells other processes that we live.
    _lock: OwnedFd,
    ended: bool,
}

impl ActiveSnapshot {
    pub(crate) fn new(snapshots: Snapshots, record: Snapshot, lower: Vec<PathBuf>, lock: OwnedFd) -> Self {
        Self { snapshots, record, lower, _lock: lock, ended: false }
    }

    /// Returns the snapshot's name.
    pub fn id(&self) -> &SnapshotId {
        &self.record.id
    }

    /// Returns what an overlay mount of it consists of.
    pub fn mount_spec(&self) -> OverlaySpec {
        OverlaySpec {
            lower: self.lower.clone(),
            upper: self.layer_path(),
            work: self.snapshots.work_path(&self.record.id),
            volatile: false,
        }
    }

    /// Returns the directory that takes the layer.
    pub fn layer_path(&self) -> PathBuf {
        self.snapshots.layer_path(&self.record.id)
    }

    /// Mounts what was written so far over what is below it, read only. Whatever had it mounted must be gone.
    pub fn view(&self) -> Result<OwnedFd> {
        let layers: Vec<PathBuf> =
            [self.layer_path()].into_iter().chain(self.lower.iter().cloned()).collect();
        crate::overlay::view_layers(&layers)
    }

    /// Ends the writing: others may be based on it from now on.
    pub fn commit(mut self) -> Result<Snapshot> {
        let work = self.snapshots.work_path(&self.record.id);
        match std::fs::remove_dir_all(&work) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(SnapshotError::io("remove", &work, error)),
        }
        let (snapshot, ours) = self.snapshots.commit_record(self.record.clone())?;
        // Not ours: the same stack was committed meanwhile, and dropping removes this one.
        self.ended = ours;
        Ok(snapshot)
    }

    /// Leaves the snapshot to a named thing that outlives this process, e.g. a container.
    ///
    /// It stays writable, [`Snapshots::held`] gives its mount again, and [`Snapshots::remove`] removes it.
    pub fn hold(mut self, holder: impl Into<String>) -> Result<Snapshot> {
        self.record.state = State::Held { holder: holder.into() };
        self.record.write(&self.snapshots.record_path(&self.record.id), true)?;
        self.ended = true;
        Ok(self.record.clone())
    }

    /// Throws the snapshot away, and says whether that worked.
    pub fn discard(mut self) -> Result<()> {
        self.ended = true;
        self.snapshots.discard(&self.record.id)
    }
}

impl Drop for ActiveSnapshot {
    fn drop(&mut self) {
        if !self.ended {
            // What cannot be removed now is removed by `reclaim`, since the lock ends with us.
            let _ = self.snapshots.discard(&self.record.id);
        }
    }
}

impl Snapshots {
    /// Returns the mount of a snapshot that [`ActiveSnapshot::hold`] left to somebody.
    pub fn held(&self, id: &SnapshotId) -> Result<OverlaySpec> {
        let snapshot = self.get(id)?;
        if snapshot.is_committed() {
            return Err(SnapshotError::Committed(id.clone()));
        }
        let lower = match &snapshot.parent {
            Some(parent) => self.lowerdirs(parent)?,
            None => Vec::new(),
        };
        Ok(OverlaySpec { lower, upper: self.layer_path(id), work: self.work_path(id), volatile: false })
    }
}
