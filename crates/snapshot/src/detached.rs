//! Removing many snapshots at once: out of sight quickly and under the lock, their files later and without it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::{Snapshot, SnapshotId, Snapshots, State};

/// Snapshots that are out of sight. Their files lie there until [`Detached::erase`], or else [`Snapshots::reclaim`].
#[derive(Debug, Default)]
#[must_use = "the files are still there"]
pub struct Detached {
    ids: Vec<SnapshotId>,
    gone: Vec<PathBuf>,
}

impl Snapshots {
    /// Takes committed snapshots out of sight, in this order; children must come before their parents. What is
    /// unknown, still written to, or needed by a snapshot that stays is left alone.
    pub fn detach_all(&self, ids: &[SnapshotId]) -> Result<Detached> {
        let _guard = self.lock()?;
        let all = self.list()?;
        let mut children: BTreeMap<&SnapshotId, usize> = BTreeMap::new();
        for below in all.iter().flat_map(rests_on) {
            *children.entry(below).or_default() += 1;
        }
        let known: BTreeMap<&SnapshotId, &Snapshot> =
            all.iter().map(|snapshot| (&snapshot.id, snapshot)).collect();
        let mut detached = Detached::default();
        for id in ids {
            let Some(snapshot) = known.get(id).filter(|snapshot| snapshot.state == State::Committed) else {
                continue;
            };
            if children.get(id).is_some_and(|count| *count > 0) || detached.ids.contains(id) {
                continue;
            }
            detached.gone.push(self.detach(id, snapshot.chain_id)?);
            detached.ids.push(id.clone());
            for below in rests_on(snapshot) {
                if let Some(count) = children.get_mut(below) {
                    *count -= 1;
                }
            }
        }
        Ok(detached)
    }
}

fn rests_on(snapshot: &Snapshot) -> impl Iterator<Item = &SnapshotId> {
    snapshot.parent.iter().chain(&snapshot.layer_of)
}

impl Detached {
    /// Returns the snapshots that are out of sight.
    pub fn ids(&self) -> &[SnapshotId] {
        &self.ids
    }

    /// Removes the files.
    pub fn erase(self) -> Result<()> {
        self.gone.iter().try_for_each(|path| erase_directory(path))
    }
}

/// Removes a directory and all below it, following no links; one that is not there, or that somebody else removes
/// meanwhile, is no failure.
pub fn erase_directory(path: &Path) -> Result<()> {
    match Snapshots::erase(path) {
        // Another command reclaims it at the same time.
        Err(_) if path.symlink_metadata().is_err() => Ok(()),
        result => result,
    }
}

/// Returns the bytes on disk of all that is below a directory, following no links; files with several names count
/// once.
pub fn disk_usage(directory: &Path) -> Result<u64> {
    crate::pack::usage(directory)
}
