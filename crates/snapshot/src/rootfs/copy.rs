//! Copying a file or tree from one root into another.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, openat};
use rustix::io::Errno;

use super::node::{create_file, set_attributes_at};
use super::{
    Attributes, FileKind, Flow, Metadata, Node, RootFs, remove_tree, set_attributes, set_mtime, visit,
};
use crate::error::{Result, SnapshotError};
use crate::xattr;

/// What a [`Filter`] says about one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visit {
    /// Take it; a directory is entered.
    Take,
    /// Leave it and all below it.
    Skip,
    /// Leave this directory itself, but look at what is below it (`.dockerignore` with exceptions).
    Descend,
}

/// Decides by the path relative to the source, and whether it is a directory.
pub type Filter<'a> = &'a dyn Fn(&Path, bool) -> Visit;

/// How a copy differs from its source.
#[derive(Clone, Copy, Default)]
pub struct CopyOptions<'a> {
    /// Owner and group of everything copied; `None` keeps the source's.
    pub owner: Option<(u32, u32)>,
    /// Permission bits of everything copied; `None` keeps the source's.
    pub mode: Option<u32>,
    /// Which paths to take; `None` takes all. The source itself is always taken.
    pub filter: Option<Filter<'a>>,
    /// Whether times of last change are kept; else they are the time of copying.
    pub keep_mtime: bool,
}

/// What a copy did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopySummary {
    /// Files, links and devices copied.
    pub files: u64,
    /// Bytes of regular files copied.
    pub bytes: u64,
}

impl RootFs {
    /// Copies a file to the path `destination`, or a directory's content into the directory `destination`.
    ///
    /// Missing directories above are made with mode 0755 and the copy's owner (root unless given). Links on the way
    /// to source and destination are followed, each inside its root; links below the source are copied as links. An
    /// existing directory keeps its attributes, an existing file or link is replaced; a file never replaces a
    /// directory. Sockets are left out.
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
        let (uid, gid) = options.owner.unwrap_or((0, 0));
        let above = Attributes { mode: 0o755, uid, gid };
        if metadata.kind == FileKind::Directory {
            let parent = destination.parent().unwrap_or(Path::new(""));
            self.make_directories(parent, &above)?;
            let mut copy = Copy {
                from: from.subtree(source)?,
                to: self,
                base: destination,
                options,
                last: None,
                times: Vec::new(),
                summary: CopySummary::default(),
            };
            copy.directory(Path::new(""))?;
            copy.tree()?;
            return Ok(copy.summary);
        }
        let parent = destination.parent().unwrap_or(Path::new(""));
        let (directory, _) = self.make_directories(parent, &above)?;
        let Some(name) = destination.file_name() else {
            return Err(SnapshotError::io("write", destination, Errno::ISDIR));
        };
        // The end of the source's path may be a link: take what it names.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        if metadata.kind != FileKind::File {
            let mut summary = CopySummary::default();
            let (held, source_name) = from.open_parent(source)?;
            let stat = rustix::fs::statat(&held, &*source_name, AtFlags::empty())
                .map_err(|error| SnapshotError::io("look up", source, error))?;
            let node = Node { path: source, directory: held.as_fd(), name: &source_name, stat: &stat };
            copy_node(&node, directory.as_fd(), name, options, &mut summary)?;
            return Ok(summary);
        }
        let file = File::from(from.open_at(source, flags, Mode::empty())?);
        let bytes = copy_file(file, &metadata, directory.as_fd(), name, options)
            .map_err(|error| SnapshotError::io("copy", source, error))?;
        Ok(CopySummary { files: 1, bytes })
    }
}

struct Copy<'a> {
    /// The source directory.
    from: RootFs,
    to: &'a RootFs,
    /// Where the source directory's content goes.
    base: &'a Path,
    options: &'a CopyOptions<'a>,
    /// The directory written to last, by its path relative to the source.
    last: Option<(PathBuf, OwnedFd)>,
    /// Times of directories, set at the end because writing into them changes them.
    times: Vec<(PathBuf, (i64, u32))>,
    summary: CopySummary,
}

impl Copy<'_> {
    fn tree(&mut self) -> Result<()> {
        let source =
            self.from.root.try_clone().map_err(|error| SnapshotError::io("open", self.base, error))?;
        visit(source.as_fd(), Path::new(""), &mut |node| self.take(node))?;
        for (path, mtime) in self.times.drain(..).rev() {
            let directory = self.to.open_at(&path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
            set_mtime(directory.as_fd(), OsStr::new(""), mtime)
                .map_err(|error| SnapshotError::io("set the time of", &path, error))?;
        }
        Ok(())
    }

    fn take(&mut self, node: &Node<'_>) -> Result<Flow> {
        let is_directory = FileType::from_raw_mode(node.stat.st_mode) == FileType::Directory;
        let verdict = self.options.filter.map_or(Visit::Take, |filter| filter(node.path, is_directory));
        match verdict {
            Visit::Skip => return Ok(Flow::Skip),
            Visit::Descend => return Ok(if is_directory { Flow::Enter } else { Flow::Skip }),
            Visit::Take => {}
        }
        if is_directory {
            self.directory(node.path)?;
            return Ok(Flow::Enter);
        }
        let parent = node.path.parent().unwrap_or(Path::new(""));
        self.directory(parent)?;
        let (_, directory) = self.last.as_ref().expect("the directory was opened just now");
        copy_node(node, directory.as_fd(), node.name, self.options, &mut self.summary)?;
        Ok(Flow::Skip)
    }

    /// Opens, and makes when missing, the destination of a source directory and of those above it.
    fn directory(&mut self, path: &Path) -> Result<()> {
        if self.last.as_ref().is_some_and(|(last, _)| last == path) {
            return Ok(());
        }
        let destination = self.base.join(path);
        let missing = self.to.stat(&destination)?.is_none();
        if missing && let Some(parent) = path.parent() {
            self.directory(parent)?;
        }
        let source = self.from.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        let stat = rustix::fs::fstat(&source).map_err(|error| SnapshotError::io("look up", path, error))?;
        let metadata = Metadata::from(&stat);
        let attributes = self.options.attributes(&metadata);
        let (directory, made) = self.to.make_directories(&destination, &attributes)?;
        if !made.is_empty() {
            copy_xattrs(&source, &directory)
                .map_err(|error| SnapshotError::io("copy the attributes of", path, error))?;
            if self.options.keep_mtime {
                self.times.push((destination, metadata.mtime));
            }
        }
        self.last = Some((path.to_owned(), directory));
        Ok(())
    }
}

impl CopyOptions<'_> {
    fn attributes(&self, source: &Metadata) -> Attributes {
        let (uid, gid) = self.owner.unwrap_or((source.uid, source.gid));
        Attributes { mode: self.mode.unwrap_or(source.mode), uid, gid }
    }
}

/// Copies one thing that is no directory.
pub(crate) fn copy_node(
    node: &Node<'_>,
    directory: BorrowedFd<'_>,
    name: &OsStr,
    options: &CopyOptions<'_>,
    summary: &mut CopySummary,
) -> Result<()> {
    let fail = |error: io::Error| SnapshotError::io("copy", node.path, error);
    let metadata = Metadata::from(node.stat);
    let attributes = options.attributes(&metadata);
    match metadata.kind {
        FileKind::File => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = File::from(
                openat(node.directory, node.name, flags, Mode::empty())
                    .map_err(|error| fail(error.into()))?,
            );
            summary.bytes += copy_file(file, &metadata, directory, name, options).map_err(fail)?;
        }
        FileKind::Symlink => {
            let target = rustix::fs::readlinkat(node.directory, node.name, Vec::new())
                .map_err(|error| fail(error.into()))?;
            clear(directory, name).map_err(fail)?;
            rustix::fs::symlinkat(&target, directory, name).map_err(|error| fail(error.into()))?;
            set_attributes_at(directory, name, &attributes, true).map_err(fail)?;
        }
        FileKind::Character | FileKind::Block | FileKind::Fifo => {
            clear(directory, name).map_err(fail)?;
            make_special(directory, name, node.stat).map_err(fail)?;
            set_attributes_at(directory, name, &attributes, false).map_err(fail)?;
        }
        FileKind::Socket | FileKind::Directory => return Ok(()),
    }
    if options.keep_mtime && metadata.kind != FileKind::File {
        set_mtime(directory, name, metadata.mtime).map_err(fail)?;
    }
    summary.files += 1;
    Ok(())
}

fn make_special(directory: BorrowedFd<'_>, name: &OsStr, stat: &Stat) -> io::Result<()> {
    let kind = FileType::from_raw_mode(stat.st_mode);
    Ok(rustix::fs::mknodat(directory, name, kind, Mode::RUSR | Mode::WUSR, stat.st_rdev)?)
}

/// Makes room for a file: removes a file or link, refuses a directory.
fn clear(directory: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn copy_file(
    mut source: File,
    metadata: &Metadata,
    directory: BorrowedFd<'_>,
    name: &OsStr,
    options: &CopyOptions<'_>,
) -> io::Result<u64> {
    // Between look-up and opening it may have become something else.
    if !source.metadata()?.is_file() {
        return Err(Errno::INVAL.into());
    }
    clear(directory, name)?;
    let mut target = create_file(directory, name)?;
    let written = (|| {
        // Shares the bytes where the file system can, else copies them within the kernel.
        let bytes = if rustix::fs::ioctl_ficlone(&target, &source).is_ok() {
            metadata.size
        } else {
            io::copy(&mut source, &mut target)?
        };
        set_attributes(&target, &options.attributes(metadata))?;
        copy_xattrs(&source, &target)?;
        if options.keep_mtime {
            set_mtime(target.as_fd(), OsStr::new(""), metadata.mtime)?;
        }
        Ok(bytes)
    })();
    if written.is_err() {
        let _ = remove_tree(directory, name);
    }
    written
}

fn copy_xattrs(source: impl AsFd, target: impl AsFd) -> io::Result<()> {
    let xattrs = xattr::read(source)?;
    xattr::write(target, &xattrs)
}
