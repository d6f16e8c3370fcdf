//! Walking a tree in the order of its names, holding one directory open at a time.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::node::names_in;
use super::{FileKind, Metadata, open_in_root};
use crate::error::{Result, SnapshotError};

/// One thing below a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalkEntry {
    /// Its path, relative to the directory.
    pub path: PathBuf,
    /// What it is.
    pub metadata: Metadata,
}

/// What a visitor sees of one file.
pub(crate) struct Node<'a> {
    /// Path relative to the root, without links.
    pub path: &'a Path,
    /// The directory that holds it.
    pub directory: BorrowedFd<'a>,
    pub name: &'a OsStr,
    pub stat: &'a Stat,
}

/// Whether a visit goes into a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    Enter,
    Skip,
}

/// Calls `visitor` with everything below `start` (a path without links), each directory before its content.
pub(crate) fn visit(
    root: BorrowedFd<'_>,
    start: &Path,
    visitor: &mut dyn FnMut(&Node<'_>) -> Result<Flow>,
) -> Result<()> {
    let open = || -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        open_in_root(root, start, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
            .map_err(|error| SnapshotError::io("read the directory", start, error))
    };
    let directory = open()?;
    let names =
        names_in(&directory).map_err(|error| SnapshotError::io("read the directory", start, error))?;
    // Closed while a level below is walked, so that the depth of a tree is not bounded by open files.
    let mut held = Some(directory);
    for name in names {
        let directory = match held.take() {
            Some(directory) => directory,
            None => open()?,
        };
        let path = start.join(&name);
        let stat = match rustix::fs::statat(&directory, &*name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            // Removed since its name was read.
            Err(Errno::NOENT) => {
                held = Some(directory);
                continue;
            }
            Err(error) => return Err(SnapshotError::io("look up", &path, error)),
        };
        let node = Node { path: &path, directory: directory.as_fd(), name: &name, stat: &stat };
        let flow = visitor(&node)?;
        if flow == Flow::Enter && Metadata::from(&stat).kind == FileKind::Directory {
            drop(directory);
            visit(root, &path, visitor)?;
        } else {
            held = Some(directory);
        }
    }
    Ok(())
}
