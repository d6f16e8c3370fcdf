//! A layer that was unpacked without knowing what lies below it, and its way on top of others.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use coracle_oci::{ChainId, DiffId};
use rustix::fs::{AtFlags, Mode, OFlags};

use super::kept::settle;
use crate::archive::Time;
use crate::error::{Result, SnapshotError};
use crate::pack::write_layer;
use crate::rootfs::{
    Attributes, CopyOptions, CopySummary, FileKind, Metadata, Node, RootFs, copy_node, set_attributes,
    set_mtime,
};
use crate::stack::LayerStack;
use crate::{ActiveSnapshot, Snapshot, SnapshotId, Snapshots, snapshots};

/// A layer that is unpacked, but not yet on top of others. Dropping it discards it.
///
/// Layers of one image can be unpacked at once, in any order, and attached from the lowest up.
#[derive(Debug)]
pub struct UnpackedLayer {
    pub(super) active: ActiveSnapshot,
    pub(super) snapshots: Snapshots,
    pub(super) diff_id: DiffId,
    pub(super) size: u64,
    /// Whether the archive lies beside the layer.
    pub(super) has_archive: bool,
    /// Directories that the archive has no member for, only things in them.
    pub(super) implied: BTreeSet<PathBuf>,
    /// Hard links to files of lower layers: the new name and the file's name.
    pub(super) links: BTreeMap<PathBuf, PathBuf>,
    /// Times of directories, which adding to them changes.
    pub(super) times: BTreeMap<PathBuf, Time>,
    pub(super) has_root: bool,
}

/// What a layer is named by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Id {
    /// The archive that it came from.
    Archive,
    /// The archive that we make of it.
    Ours,
}

impl UnpackedLayer {
    /// Returns the digest of the uncompressed archive.
    pub fn diff_id(&self) -> DiffId {
        self.diff_id
    }

    /// Returns the length of the uncompressed archive.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Moves the archive that the layer came from beside it, to be kept as [`Snapshots::unpack`] would have.
    pub fn adopt_archive(&mut self, archive: &Path) -> Result<()> {
        let place = self.snapshots.archive_path(self.active.id());
        std::fs::rename(archive, &place)
            .or_else(|_| std::fs::copy(archive, &place).map(drop))
            .map_err(|error| SnapshotError::io("move the archive to", &place, error))?;
        self.has_archive = true;
        Ok(())
    }

    /// Puts the layer on top of a committed snapshot (or makes it the lowest) and commits it.
    pub fn attach(self, parent: Option<&SnapshotId>) -> Result<Snapshot> {
        self.attach_as(parent, Id::Archive)
    }

    /// Makes it the lowest layer under the id of our own archive of its files, whatever archive it came from.
    pub fn attach_as_ours(self) -> Result<Snapshot> {
        self.attach_as(None, Id::Ours)
    }

    /// Puts it on top of a committed snapshot under the id of our own archive of its files, without the empty files and
    /// directories at `stubs` that only stood as the places of mounts.
    pub fn attach_as_ours_on(self, parent: Option<&SnapshotId>, stubs: &[PathBuf]) -> Result<Snapshot> {
        let lower = match parent {
            Some(parent) => self.snapshots.lowerdirs(parent)?,
            None => Vec::new(),
        };
        let stack = LayerStack::open(&lower)?;
        let root = RootFs::new(snapshots::open_directory(&self.active.layer_path())?);
        for stub in stubs {
            let inside = stub.strip_prefix("/").unwrap_or(stub);
            // What was below is not a place that was made for a mount.
            if stack.find(inside)?.is_none() {
                root.remove_empty_stub(stub)?;
            }
        }
        self.attach_as(parent, Id::Ours)
    }

    fn attach_as(mut self, parent: Option<&SnapshotId>, id: Id) -> Result<Snapshot> {
        let lower = match parent {
            Some(parent) => self.snapshots.lowerdirs(parent)?,
            None => Vec::new(),
        };
        self.complete(&lower)?;
        let layer = self.active.layer_path();
        if id == Id::Ours {
            let ours = write_layer(&layer, io::sink(), None)?;
            (self.diff_id, self.size) = (ours.diff_id, ours.size);
        }
        if self.has_archive {
            settle(&layer, &self.snapshots.archive_path(self.active.id()))?;
        }
        let below = parent.map(|parent| self.snapshots.get(parent)).transpose()?;
        self.active.record.parent = parent.cloned();
        self.active.record.diff_id = Some(self.diff_id);
        self.active.record.size = Some(self.size);
        self.active.record.chain_id = match below {
            None => Some(ChainId::extend(None, self.diff_id)),
            Some(below) => below.chain_id.map(|chain| ChainId::extend(Some(chain), self.diff_id)),
        };
        self.active.commit()
    }

    /// Moves the tree to a path of the same file system that does not exist, where it is no layer any more.
    pub fn move_to(mut self, path: &Path) -> Result<()> {
        self.complete(&[])?;
        std::fs::rename(self.active.layer_path(), path)
            .map_err(|error| SnapshotError::io("make", path, error))
    }

    /// Does what needs the layers below.
    fn complete(&mut self, lower: &[PathBuf]) -> Result<()> {
        let stack = LayerStack::open(lower)?;
        let layer = self.active.layer_path();
        let root = RootFs::new(snapshots::open_directory(&layer)?);
        self.add_lower_links(&root, &stack)?;
        self.adopt_directories(&root, &stack)?;
        for (path, time) in &self.times {
            // Replaced by something else later in the archive: then its time means nothing.
            let Ok(directory) = root.open_at(path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty()) else {
                continue;
            };
            set_mtime(directory.as_fd(), OsStr::new(""), (time.seconds, time.nanoseconds))
                .map_err(|error| SnapshotError::io("set the time of", path, error))?;
        }
        if !self.has_root {
            snapshots::copy_root_attributes(lower.first().map(PathBuf::as_path), &layer)?;
        }
        Ok(())
    }

    /// Brings files of lower layers up that the archive gives another name.
    fn add_lower_links(&mut self, root: &RootFs, stack: &LayerStack) -> Result<()> {
        for (path, target) in std::mem::take(&mut self.links) {
            let hostile = |reason| SnapshotError::Hostile { entry: path.display().to_string(), reason };
            let found =
                stack.find(&target)?.ok_or_else(|| hostile("it links to a file that does not exist"))?;
            if Metadata::from(&found.stat).kind != FileKind::File {
                return Err(hostile("it links to something that is no file"));
            }
            let implied = Attributes { mode: 0o755, uid: 0, gid: 0 };
            let parent = target.parent().unwrap_or(Path::new(""));
            let (directory, made) = root.make_directories(parent, &implied)?;
            self.implied.extend(made);
            let name = target.file_name().ok_or_else(|| hostile("it links to no file"))?;
            if rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
                // Unpacking looked for it and found nothing, so this came later; the archive contradicts itself.
                return Err(hostile("it links to a file that comes after it"));
            }
            let source = crate::rootfs::open_in_root(
                found.layer.as_fd(),
                parent,
                OFlags::RDONLY | OFlags::DIRECTORY,
                Mode::empty(),
                rustix::fs::ResolveFlags::NO_SYMLINKS,
            )
            .map_err(|error| SnapshotError::io("open", parent, error))?;
            let node = Node { path: &target, directory: source.as_fd(), name, stat: &found.stat };
            let options = CopyOptions { keep_mtime: true, ..CopyOptions::default() };
            copy_node(&node, directory.as_fd(), name, &options, &mut CopySummary::default())?;
            let (link_directory, link_name) = root.open_parent(&path)?;
            rustix::fs::linkat(&directory, name, &link_directory, &*link_name, AtFlags::empty())
                .map_err(|error| SnapshotError::io("link", &path, error))?;
        }
        Ok(())
    }

    /// Gives directories that the archive only implies what they have in the layers below.
    fn adopt_directories(&mut self, root: &RootFs, stack: &LayerStack) -> Result<()> {
        for path in &self.implied {
            let Some(found) = stack.find(path)? else { continue };
            let metadata = Metadata::from(&found.stat);
            if metadata.kind != FileKind::Directory {
                continue;
            }
            let Ok(directory) =
                root.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
            else {
                continue;
            };
            let attributes = Attributes { mode: metadata.mode, uid: metadata.uid, gid: metadata.gid };
            let fail = |error| SnapshotError::io("set the attributes of", path, error);
            set_attributes(&directory, &attributes).map_err(fail)?;
            let (seconds, nanoseconds) = metadata.mtime;
            self.times.insert(path.clone(), Time { seconds, nanoseconds });
        }
        Ok(())
    }
}
