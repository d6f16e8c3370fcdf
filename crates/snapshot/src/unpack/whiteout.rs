//! Whiteouts: what an archive says with names, overlay says with devices and attributes.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;

use super::extract::Extractor;
use super::names::hostile;
use crate::archive::Entry;
use crate::error::{Result, SnapshotError};
use crate::pack::{OPAQUE, WHITEOUT};
use crate::rootfs::{Attributes, FileKind, Metadata, open_directory, remove_tree, set_attributes};
use crate::stack::is_whiteout;
use crate::xattr;

impl Extractor {
    /// Makes directories, opaque ones, where the archive first deleted a name and then puts things below it.
    pub(super) fn replace_whiteouts(&mut self, path: &Path, entry: &Entry) -> Result<()> {
        let mut prefix = PathBuf::new();
        for part in path.components() {
            prefix.push(part);
            let (directory, name) = self.root.open_parent(&prefix)?;
            let fail = |error: io::Error| SnapshotError::io("unpack", &prefix, error);
            match rustix::fs::statat(&directory, &*name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if is_whiteout(&stat) => {
                    remove_tree(directory.as_fd(), &name).map_err(fail)?;
                    rustix::fs::mkdirat(&directory, &*name, Mode::from_raw_mode(0o755))
                        .map_err(|error| fail(error.into()))?;
                    let made = open_directory(&directory, &name).map_err(fail)?;
                    set_attributes(&made, &Attributes { mode: 0o755, uid: 0, gid: 0 }).map_err(fail)?;
                    xattr::set_opaque(&made).map_err(fail)?;
                }
                Ok(stat) if Metadata::from(&stat).kind == FileKind::Directory => {}
                Ok(stat) if Metadata::from(&stat).kind == FileKind::Symlink => {}
                Ok(_) => return Err(hostile(&entry.path, "it lies below something that is no directory")),
                Err(Errno::NOENT) => return Ok(()),
                Err(error) => return Err(fail(error.into())),
            }
        }
        Ok(())
    }

    pub(super) fn whiteout(
        &mut self,
        directory: &OwnedFd,
        parent: &Path,
        name: &[u8],
        entry: &Entry,
    ) -> Result<()> {
        let fail = |error: io::Error| SnapshotError::io("unpack", &self.place.join(parent), error);
        if name == OPAQUE {
            return xattr::set_opaque(directory).map_err(fail);
        }
        let deleted = &name[WHITEOUT.len()..];
        // Other names of this kind are bookkeeping of AUFS, which old archives hold.
        if deleted.starts_with(WHITEOUT) {
            return Ok(());
        }
        if matches!(deleted, b"" | b"." | b"..") {
            return Err(hostile(&entry.path, "it deletes no name"));
        }
        let deleted = OsStr::from_bytes(deleted);
        match rustix::fs::statat(directory, deleted, AtFlags::SYMLINK_NOFOLLOW) {
            // A whiteout deletes from lower layers only; what this layer brings itself stays.
            Ok(stat) if Metadata::from(&stat).kind == FileKind::Directory => {
                let kept = open_directory(directory, deleted).map_err(fail)?;
                xattr::set_opaque(&kept).map_err(fail)
            }
            Ok(_) => Ok(()),
            Err(Errno::NOENT) => {
                let mode = Mode::empty();
                rustix::fs::mknodat(directory, deleted, FileType::CharacterDevice, mode, 0)
                    .map_err(|error| fail(error.into()))
            }
            Err(error) => Err(fail(error.into())),
        }
    }
}
