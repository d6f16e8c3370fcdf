//! Look-ups in a stack of unmounted layers, with whiteouts and opaque directories as overlay reads them.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::error::{Result, SnapshotError};
use crate::rootfs::{FileKind, Metadata, open_in_root};
use crate::{snapshots, xattr};

/// Layers, topmost first.
pub(crate) struct LayerStack(Vec<OwnedFd>);

/// Where a path was found.
pub(crate) struct Found<'a> {
    pub layer: &'a OwnedFd,
    pub stat: Stat,
}

/// Returns whether a file hides its name in lower layers (kernel, overlayfs documentation: "whiteouts").
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    Metadata::from(stat).kind == FileKind::Character && stat.st_rdev == 0
}

impl LayerStack {
    pub(crate) fn open(layers: &[PathBuf]) -> Result<Self> {
        layers.iter().map(|layer| snapshots::open_directory(layer)).collect::<Result<_>>().map(Self)
    }

    /// Finds a path without following links; `None` when it does not exist in the merged tree.
    pub(crate) fn find(&self, path: &Path) -> Result<Option<Found<'_>>> {
        'layers: for layer in &self.0 {
            let mut last_layer = false;
            let mut prefix = PathBuf::new();
            let mut parts = path.components().peekable();
            while let Some(part) = parts.next() {
                prefix.push(part);
                let Some(file) = open_plain(layer, &prefix, OFlags::PATH | OFlags::NOFOLLOW)? else {
                    if last_layer {
                        return Ok(None);
                    }
                    continue 'layers;
                };
                let stat = rustix::fs::statat(&file, "", AtFlags::EMPTY_PATH)
                    .map_err(|error| SnapshotError::io("look up", &prefix, error))?;
                if is_whiteout(&stat) {
                    return Ok(None);
                }
                if parts.peek().is_none() {
                    return Ok(Some(Found { layer, stat }));
                }
                if Metadata::from(&stat).kind != FileKind::Directory {
                    return Ok(None);
                }
                let Some(directory) = open_plain(layer, &prefix, OFlags::RDONLY | OFlags::DIRECTORY)? else {
                    continue 'layers;
                };
                last_layer |= xattr::is_opaque(&directory)
                    .map_err(|error| SnapshotError::io("read the attributes of", &prefix, error))?;
            }
        }
        Ok(None)
    }
}

fn open_plain(layer: &OwnedFd, path: &Path, flags: OFlags) -> Result<Option<OwnedFd>> {
    match open_in_root(layer.as_fd(), path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
        Ok(file) => Ok(Some(file)),
        // A link on the way: the merged tree has a link there too, so the path names nothing of its own.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(error) => Err(SnapshotError::io("look up", path, error)),
    }
}
