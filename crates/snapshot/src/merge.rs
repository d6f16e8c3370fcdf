//! Makes one archive of several layers that lie upon one another, without mounting them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};

use crate::error::{Result, SnapshotError};
use crate::pack::{Form, LayerInfo, Pack, pack_into};
use crate::rootfs::{FileKind, Metadata, Node, names_in, open_in_root};
use crate::stack::{LayerStack, is_whiteout};
use crate::{SnapshotId, Snapshots, snapshots, xattr};

impl Snapshots {
    /// Writes several layers as one uncompressed archive: what the topmost shows when it lies on what is below the
    /// lowest. `ids` are lowest first, each based on the one before, and not empty.
    ///
    /// A name that is deleted gets its whiteout only when there is something below that it hides.
    pub fn merged_tar(&self, ids: &[SnapshotId], out: impl Write) -> Result<LayerInfo> {
        let lowest = self.get(&ids[0])?;
        let below = match &lowest.parent {
            Some(parent) => self.lowerdirs(parent)?,
            None => Vec::new(),
        };
        let paths: Vec<PathBuf> = ids.iter().rev().map(|id| self.layer_path(id)).collect();
        let layers = paths.iter().map(|path| snapshots::open_directory(path)).collect::<Result<Vec<_>>>()?;
        let below = LayerStack::open(&below)?;
        pack_into(out, None, Form::Tree, &paths[0], |pack| {
            pack.root(&layers[0], &paths[0])?;
            let all: Vec<usize> = (0..layers.len()).collect();
            Merge { pack, below: &below, layers: &layers }.directory(Path::new(""), &all, false)
        })
    }
}

struct Merge<'a, 'scope, 'env, W: Write> {
    pack: &'a mut Pack<'scope, 'env, W>,
    /// What the layers lie on.
    below: &'a LayerStack,
    /// Topmost first.
    layers: &'a [OwnedFd],
}

impl<W: Write> Merge<'_, '_, '_, W> {
    /// Writes what is in a directory of these layers, topmost first. `hidden` says that nothing shows from below.
    fn directory(&mut self, path: &Path, layers: &[usize], hidden: bool) -> Result<()> {
        let fail = |error| SnapshotError::io("read the directory", path, error);
        let mut names: BTreeMap<OsString, Vec<usize>> = BTreeMap::new();
        for layer in layers {
            for name in names_in(self.open(*layer, path)?).map_err(fail)? {
                names.entry(name).or_default().push(*layer);
            }
        }
        for (name, holders) in names {
            self.name(path, &name, &holders, hidden)?;
        }
        Ok(())
    }

    fn name(&mut self, parent: &Path, name: &OsString, holders: &[usize], hidden: bool) -> Result<()> {
        let path = parent.join(name);
        let directory = self.open(holders[0], parent)?;
        let stat = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| SnapshotError::io("look up", &path, error))?;
        let hides = !hidden && self.below.find(&path)?.is_some();
        if is_whiteout(&stat) {
            return if hides { self.pack.whiteout(&path) } else { Ok(()) };
        }
        self.pack.forget();
        self.pack.add(&Node { path: &path, directory: directory.as_fd(), name, stat: &stat })?;
        drop(directory);
        if Metadata::from(&stat).kind != FileKind::Directory {
            return Ok(());
        }
        let mut merged = Vec::new();
        let mut opaque = false;
        for layer in holders {
            let Some(own) = self.open_directory(*layer, &path)? else {
                // A whiteout or another file: what is further down does not show.
                opaque = true;
                break;
            };
            merged.push(*layer);
            if xattr::is_opaque(&own)
                .map_err(|error| SnapshotError::io("read the attributes of", &path, error))?
            {
                opaque = true;
                break;
            }
        }
        if opaque && hides {
            self.pack.opaque(&path)?;
        }
        self.directory(&path, &merged, hidden || opaque)
    }

    fn open(&self, layer: usize, path: &Path) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        open_in_root(self.layers[layer].as_fd(), path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
            .map_err(|error| SnapshotError::io("read the directory", path, error))
    }

    fn open_directory(&self, layer: usize, path: &Path) -> Result<Option<OwnedFd>> {
        match self.open(layer, path) {
            Ok(directory) => Ok(Some(directory)),
            Err(error) if error.is_not_found() || is_link(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Returns whether a look-up met a symbolic link.
fn is_link(error: &SnapshotError) -> bool {
    matches!(error, SnapshotError::Io { source, .. }
        if source.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()))
}
