//! Copying a file or tree from one root into another.
//!
//! A tree is walked by one thread and its files are copied by several: the walk makes the directories, so that
//! nobody waits for them.

mod entry;
mod tree;

use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, OFlags};
use rustix::io::Errno;

pub(crate) use entry::{Copier, copy_node};

use super::mode::ModeChange;
use super::{Attributes, FileKind, Metadata, Node, RootFs, create_file, set_attributes};
use crate::error::{Result, SnapshotError};

/// What a [`Filter`] says about one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visit {
    /// Take it; a directory is entered.
    Take,
    /// Leave it and all below it.
    Skip,
    /// Leave this directory itself, but look at what is below it (`.dockerignore` with exceptions). It is made when
    /// something below it is taken.
    Descend,
}

/// Decides by the path relative to the source, and whether it is a directory.
pub type Filter<'a> = &'a (dyn Fn(&Path, bool) -> Visit + Sync);

/// How a copy differs from its source.
#[derive(Clone, Copy, Default)]
pub struct CopyOptions<'a> {
    /// Owner and group of everything copied; `None` keeps the source's.
    pub owner: Option<(u32, u32)>,
    /// What becomes of the permission bits of everything copied; `None` keeps the source's.
    pub mode: Option<&'a ModeChange>,
    /// Which paths to take; `None` takes all. The source itself is always taken.
    pub filter: Option<Filter<'a>>,
    /// Whether times of last change are kept; else they are the time of copying.
    pub keep_mtime: bool,
    /// No time that is kept is later than this (seconds since 1970).
    pub latest: Option<i64>,
}

/// What a copy did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopySummary {
    /// Files, links and devices copied.
    pub files: u64,
    /// Bytes of regular files copied.
    pub bytes: u64,
}

impl CopyOptions<'_> {
    /// Returns the time that a copy gets, when times are kept.
    fn mtime(&self, source: (i64, u32)) -> (i64, u32) {
        match self.latest {
            Some(latest) if source >= (latest, 0) => (latest, 0),
            _ => source,
        }
    }

    fn attributes(&self, source: &Metadata) -> Attributes {
        let (uid, gid) = self.owner.unwrap_or((source.uid, source.gid));
        let is_directory = source.kind == FileKind::Directory;
        let mode = self.mode.map_or(source.mode, |change| change.apply(source.mode, is_directory));
        Attributes { mode, uid, gid }
    }

    /// Returns the attributes of directories that no source stands for: 0755 or a mode that is a number, owned by root
    /// unless an owner is given (as BuildKit makes them).
    pub(crate) fn above(&self) -> Attributes {
        let (uid, gid) = self.owner.unwrap_or((0, 0));
        Attributes { mode: self.mode.and_then(ModeChange::fixed).unwrap_or(0o755), uid, gid }
    }
}

impl RootFs {
    /// Copies a file to the path `destination`, or a directory's content into the directory `destination`.
    ///
    /// Missing directories above, and `destination` itself when it takes a directory's content, are made with mode
    /// 0755 (or `mode`, when that is a number) and the copy's owner (root unless given). Links on the way to source
    /// and destination are followed, each inside its root; links below the source are copied as links. Directories
    /// below `destination` that exist get the source's attributes; an existing file or link is replaced. A file never
    /// replaces a directory, nor a directory a file ([`SnapshotError::Occupied`]). Files with several names in the
    /// source have them in the copy. Sockets are left out.
    pub fn copy_tree_in(
        &self,
        from: &Self,
        source: &Path,
        destination: &Path,
        options: &CopyOptions<'_>,
    ) -> Result<CopySummary> {
        let metadata = from
            .stat(source)?
            .ok_or_else(|| SnapshotError::io("copy", source, io::Error::from(Errno::NOENT)))?;
        if metadata.kind == FileKind::Directory {
            self.make_directories(destination, &options.above())
                .map_err(|error| occupied(error, destination))?;
            return tree::copy(&from.subtree(source)?, self, destination, &metadata, options);
        }
        let parent = destination.parent().unwrap_or(Path::new(""));
        let (directory, _) =
            self.make_directories(parent, &options.above()).map_err(|error| occupied(error, parent))?;
        let Some(name) = destination.file_name() else {
            return Err(SnapshotError::io("write", destination, Errno::ISDIR));
        };
        let mut summary = CopySummary::default();
        // The end of the source's path may be a link: take what it names.
        let whole = from.follow(source)?;
        let (held, source_name) = from.open_parent(&whole)?;
        let stat = rustix::fs::statat(&held, &*source_name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| SnapshotError::io("look up", source, error))?;
        let node = Node { path: source, directory: held.as_fd(), name: &source_name, stat: &stat };
        copy_node(&node, directory.as_fd(), name, options, &mut summary)?;
        Ok(summary)
    }

    /// Writes a file given as bytes as a copy of one with `mode` would be; see [`RootFs::copy_tree_in`].
    pub fn put_file(&self, path: &Path, bytes: &[u8], mode: u32, options: &CopyOptions<'_>) -> Result<()> {
        let parent = path.parent().unwrap_or(Path::new(""));
        let (directory, _) =
            self.make_directories(parent, &options.above()).map_err(|error| occupied(error, parent))?;
        let Some(name) = path.file_name() else {
            return Err(SnapshotError::io("write", path, Errno::ISDIR));
        };
        let (uid, gid) = options.owner.unwrap_or((0, 0));
        let mode = options.mode.map_or(mode, |change| change.apply(mode, false));
        entry::replace(directory.as_fd(), name, || create_file(&directory, name))
            .and_then(|mut file| {
                file.write_all(bytes)?;
                set_attributes(&file, &Attributes { mode, uid, gid })
            })
            .map_err(|error| entry::failed(error, path))
    }

    /// Returns where a path leads when it ends with links: the last one's target, be it there or not.
    ///
    /// Links on the way are left to the kernel, which walks them inside the root.
    pub fn follow(&self, path: &Path) -> Result<std::path::PathBuf> {
        let mut path = path.to_owned();
        for _ in 0..super::MAX_LINKS {
            let Ok(target) = self.read_link(&path) else { return Ok(path) };
            let parent = path.parent().unwrap_or(Path::new("/")).to_owned();
            // An absolute target replaces what stands before it, and `..` is walked by the kernel.
            path = parent.join(target);
        }
        Err(SnapshotError::io("look up", &path, Errno::LOOP))
    }
}

/// Says that a directory is wanted where something else is.
fn occupied(error: SnapshotError, path: &Path) -> SnapshotError {
    match error {
        SnapshotError::Io { source, .. } if source.kind() == io::ErrorKind::NotADirectory => {
            SnapshotError::Occupied { path: path.to_owned(), wanted: "a directory", by: "something else" }
        }
        other => other,
    }
}

/// How a file is opened for copying: never through a link, and never waiting for a named pipe.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);
