//! What a held snapshot changed over what is below it, as `docker diff` lists it.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use crate::error::{Result, SnapshotError};
use crate::rootfs::{FileKind, Flow, Metadata, open_directory, visit};
use crate::stack::{LayerStack, is_whiteout};
use crate::{SnapshotId, Snapshots, snapshots, xattr};

/// What became of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was not there.
    Added,
    /// It was there, and its content or attributes are others, or something in it changed.
    Changed,
    /// It is not there any more.
    Deleted,
}

impl Snapshots {
    /// Returns the paths that a held snapshot changed, from the root on, in order; links are not followed. A directory
    /// whose parts changed is changed. What a process writes meanwhile may or may not be in it.
    pub fn changes(&self, id: &SnapshotId) -> Result<BTreeMap<PathBuf, Change>> {
        let overlay = self.held(id)?;
        let below = LayerStack::open(&overlay.lower)?;
        let root = snapshots::open_directory(&overlay.upper)?;
        let mut changes = BTreeMap::new();
        visit(root.as_fd(), Path::new(""), &mut |node| {
            let whole = Path::new("/").join(node.path);
            let found = below.find(node.path)?.map(|found| Metadata::from(&found.stat));
            if is_whiteout(node.stat) {
                // One over nothing hides nothing: the file was made and removed.
                if found.is_some() {
                    mark(&mut changes, whole, Change::Deleted);
                }
                return Ok(Flow::Skip);
            }
            let metadata = Metadata::from(node.stat);
            let Some(found) = found else {
                mark(&mut changes, whole, Change::Added);
                return Ok(Flow::Enter);
            };
            let directory = metadata.kind == FileKind::Directory;
            if !directory || found.kind != FileKind::Directory {
                mark(&mut changes, whole, Change::Changed);
                return Ok(Flow::Enter);
            }
            let own = open_directory(node.directory, node.name)
                .map_err(|error| SnapshotError::io("open", node.path, error))?;
            let opaque = xattr::is_opaque(&own)
                .map_err(|error| SnapshotError::io("read the attributes of", node.path, error))?;
            let same = (metadata.mode, metadata.uid, metadata.gid, metadata.mtime)
                == (found.mode, found.uid, found.gid, found.mtime);
            if opaque || !same {
                mark(&mut changes, whole, Change::Changed);
            }
            Ok(Flow::Enter)
        })?;
        Ok(changes)
    }
}

/// Notes a change, and that the directories above it changed.
fn mark(changes: &mut BTreeMap<PathBuf, Change>, path: PathBuf, change: Change) {
    for above in path.ancestors().skip(1).filter(|above| *above != Path::new("/")) {
        changes.entry(above.to_owned()).or_insert(Change::Changed);
    }
    changes.insert(path, change);
}
