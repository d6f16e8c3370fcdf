//! Safe access to the files below a root directory, as a process inside a container would see them.
//!
//! Every path is walked by the kernel with `openat2(RESOLVE_IN_ROOT)`: links, `..` and absolute paths never leave
//! the root, whatever the tree holds. Refuses magic links (`/proc/*/fd`), and to run or interpret anything.

mod copy;
mod digest;
mod mode;
mod node;
mod visit;

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use crate::error::{Result, SnapshotError};

pub(crate) use copy::copy_node;
pub use copy::{CopyOptions, CopySummary, Filter, Visit};
pub use digest::{Content, DigestOptions, KnownDigests, TreeEntry, digest_tree, list_tree};
pub use mode::{ModeChange, ModeError};
pub(crate) use node::{
    Attributes, create_file, names_in, open_directory, remove_tree, set_attributes, set_attributes_at,
    set_mtime, threads,
};
pub use node::{FileKind, Metadata};
pub use visit::WalkEntry;
pub(crate) use visit::{Flow, Node, visit};

/// Links that one look-up may follow, as in the kernel.
const MAX_LINKS: u32 = 40;

/// A root directory held open, and access to what is below it.
#[derive(Debug)]
pub struct RootFs {
    root: OwnedFd,
}

impl RootFs {
    /// Takes a directory, e.g. a detached mount, as the root.
    pub fn new(root: OwnedFd) -> Self {
        Self { root }
    }

    /// Opens a directory of the host as a root.
    pub fn open_directory(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|error| SnapshotError::io("open", path, error))?;
        Ok(Self { root })
    }

    /// Returns the root of a directory below this one; links are followed inside.
    pub fn subtree(&self, path: &Path) -> Result<Self> {
        let root = self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        Ok(Self { root })
    }

    /// Opens a file for reading; links are followed inside. Refuses everything but regular files.
    pub fn open(&self, path: &Path) -> Result<File> {
        // NONBLOCK: a named pipe must not hold us up before it is refused.
        let fd = self.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?;
        let file = File::from(fd);
        let metadata = file.metadata().map_err(|error| SnapshotError::io("read", path, error))?;
        if !metadata.is_file() {
            let reason = if metadata.is_dir() { Errno::ISDIR } else { Errno::INVAL };
            return Err(SnapshotError::io("read", path, reason));
        }
        Ok(file)
    }

    /// Returns a file's bytes; fails when there are more than `limit`.
    pub fn read(&self, path: &Path, limit: u64) -> Result<Vec<u8>> {
        let file = self.open(path)?;
        let mut bytes = Vec::new();
        let count = file
            .take(limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| SnapshotError::io("read", path, error))?;
        if count as u64 > limit {
            return Err(SnapshotError::io("read", path, Errno::FBIG));
        }
        Ok(bytes)
    }

    /// Returns what a path names, links followed; `None` when nothing is there.
    pub fn stat(&self, path: &Path) -> Result<Option<Metadata>> {
        self.look_up(path, OFlags::empty())
    }

    /// Returns what a path names without following a link at its end; `None` when nothing is there.
    pub fn stat_link(&self, path: &Path) -> Result<Option<Metadata>> {
        self.look_up(path, OFlags::NOFOLLOW)
    }

    /// Returns the text of a symbolic link.
    pub fn read_link(&self, path: &Path) -> Result<PathBuf> {
        let link = self.open_at(path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())?;
        let target = rustix::fs::readlinkat(&link, "", Vec::new())
            .map_err(|error| SnapshotError::io("read the link", path, error))?;
        Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
    }

    /// Returns the path, relative to the root, of what a path names once every link on it is followed.
    ///
    /// The kernel says it: whoever walks the result from outside meets no link, as long as the tree does not change.
    pub fn real_path(&self, path: &Path) -> Result<PathBuf> {
        let name = |fd: &OwnedFd| {
            let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
            std::fs::read_link(link).map_err(|error| SnapshotError::io("look up", path, error))
        };
        let found = self.open_at(path, OFlags::PATH, Mode::empty())?;
        let (root, whole) = (name(&self.root)?, name(&found)?);
        let inside = whole.strip_prefix(&root).map(Path::to_owned);
        inside.map_err(|_| SnapshotError::io("look up", path, Errno::XDEV))
    }

    /// Makes a directory and those above it that are missing; existing ones stay as they are.
    ///
    /// A dangling link on the way is followed and its target made, inside the root. Returns the directories that
    /// were made, outermost first, without links and relative to the root.
    pub fn mkdir_all(&self, path: &Path, mode: u32, uid: u32, gid: u32) -> Result<Vec<PathBuf>> {
        self.make_directories(path, &Attributes { mode, uid, gid }).map(|(_, made)| made)
    }

    /// Writes a file of its own: what was there, be it a link, is replaced in one step. The directory must exist.
    pub fn write_file(&self, path: &Path, bytes: &[u8], mode: u32, uid: u32, gid: u32) -> Result<()> {
        let (directory, name) = self.open_parent(path)?;
        let temporary = node::temporary_name();
        let written = create_file(&directory, &temporary)
            .and_then(|mut file| {
                file.write_all(bytes)?;
                set_attributes(&file, &Attributes { mode, uid, gid })
            })
            .and_then(|()| Ok(rustix::fs::renameat(&directory, &*temporary, &directory, &*name)?));
        written.map_err(|error| {
            let _ = rustix::fs::unlinkat(&directory, &*temporary, AtFlags::empty());
            SnapshotError::io("write", path, error)
        })
    }

    /// Makes a symbolic link; what was there is replaced unless it is a directory. The directory must exist.
    pub fn symlink(&self, target: &Path, path: &Path) -> Result<()> {
        let (directory, name) = self.open_parent(path)?;
        let temporary = node::temporary_name();
        rustix::fs::symlinkat(target, &directory, &*temporary)
            .and_then(|()| rustix::fs::renameat(&directory, &*temporary, &directory, &*name))
            .map_err(|error| {
                let _ = rustix::fs::unlinkat(&directory, &*temporary, AtFlags::empty());
                SnapshotError::io("make the link", path, error)
            })
    }

    /// Removes a path and all below it; nothing there is no failure. A link is removed, not its target.
    pub fn remove(&self, path: &Path) -> Result<()> {
        match self.open_parent(path) {
            Ok((directory, name)) => remove_tree(directory.as_fd(), &name)
                .map_err(|error| SnapshotError::io("remove", path, error)),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes an empty file or directory that stood as a mount's place; returns whether it did.
    ///
    /// Anything with content stays, so that what a process put there is never lost.
    pub fn remove_empty_stub(&self, path: &Path) -> Result<bool> {
        let (directory, name) = match self.open_parent(path) {
            Ok(found) => found,
            Err(error) if error.is_not_found() => return Ok(false),
            Err(error) => return Err(error),
        };
        let io = |error: Errno| SnapshotError::io("remove", path, error);
        let stat = match rustix::fs::statat(&directory, &*name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Metadata::from(&stat),
            Err(Errno::NOENT) => return Ok(false),
            Err(error) => return Err(io(error)),
        };
        let flags = match stat.kind {
            FileKind::Directory => AtFlags::REMOVEDIR,
            FileKind::File if stat.size == 0 => AtFlags::empty(),
            _ => return Ok(false),
        };
        match rustix::fs::unlinkat(&directory, &*name, flags) {
            Ok(()) => Ok(true),
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT | Errno::BUSY) => Ok(false),
            Err(error) => Err(io(error)),
        }
    }

    /// Returns the names in a directory, sorted.
    pub fn list(&self, path: &Path) -> Result<Vec<OsString>> {
        let io = |error: Errno| SnapshotError::io("list", path, error);
        let directory = self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&directory).map_err(io)? {
            let name = OsString::from_vec(entry.map_err(io)?.file_name().to_bytes().to_vec());
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Sets a directory's or file's owner and permission bits.
    pub fn set_attributes(&self, path: &Path, mode: u32, uid: u32, gid: u32) -> Result<()> {
        let file = self.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?;
        set_attributes(&file, &Attributes { mode, uid, gid })
            .map_err(|error| SnapshotError::io("set the owner and mode of", path, error))
    }

    /// Returns everything below a directory in the order of its names, without following links.
    pub fn walk(&self, path: &Path) -> Result<Vec<WalkEntry>> {
        let start = self.subtree(path)?;
        let mut entries = Vec::new();
        visit(start.as_fd(), Path::new(""), &mut |node| {
            entries.push(WalkEntry { path: node.path.to_owned(), metadata: Metadata::from(node.stat) });
            Ok(Flow::Enter)
        })?;
        Ok(entries)
    }

    pub(crate) fn open_at(&self, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        open_in_root(self.root.as_fd(), path, flags, mode, ResolveFlags::empty())
            .map_err(|error| SnapshotError::io("open", path, error))
    }

    /// Opens the directory that holds the path's last name.
    pub(crate) fn open_parent(&self, path: &Path) -> Result<(OwnedFd, OsString)> {
        let Some(Component::Normal(name)) = path.components().next_back() else {
            return Err(SnapshotError::io("open", path, Errno::INVAL));
        };
        let parent = path.parent().unwrap_or(Path::new(""));
        Ok((self.open_at(parent, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?, name.to_owned()))
    }

    fn look_up(&self, path: &Path, flags: OFlags) -> Result<Option<Metadata>> {
        let fd =
            open_in_root(self.root.as_fd(), path, OFlags::PATH | flags, Mode::empty(), ResolveFlags::empty());
        let stat = fd.and_then(|fd| rustix::fs::statat(&fd, "", AtFlags::EMPTY_PATH));
        match stat {
            Ok(stat) => Ok(Some(Metadata::from(&stat))),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(SnapshotError::io("look up", path, error)),
        }
    }

    /// Opens a directory, making what is missing; see [`RootFs::mkdir_all`].
    pub(crate) fn make_directories(
        &self,
        path: &Path,
        attributes: &Attributes,
    ) -> Result<(OwnedFd, Vec<PathBuf>)> {
        let fail = |error: io::Error| SnapshotError::io("make the directory", path, error);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        match open_in_root(self.root.as_fd(), path, flags, Mode::empty(), ResolveFlags::empty()) {
            Ok(directory) => return Ok((directory, Vec::new())),
            Err(Errno::NOENT) => {}
            Err(error) => return Err(fail(error.into())),
        }
        let mut made = Vec::new();
        let mut links = 0;
        let mut todo: VecDeque<OsString> = names(path).collect();
        let mut place = PathBuf::new();
        while let Some(name) = todo.pop_front() {
            if name == ".." {
                place.pop();
                continue;
            }
            let parent = self.open_plain(&place).map_err(|error| fail(error.into()))?;
            let stat = match rustix::fs::statat(&parent, &*name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => {
                    node::make_directory(&parent, &name, attributes).map_err(fail)?;
                    place.push(&name);
                    made.push(place.clone());
                    continue;
                }
                Err(error) => return Err(fail(error.into())),
            };
            match Metadata::from(&stat).kind {
                FileKind::Directory => place.push(&name),
                FileKind::Symlink if links < MAX_LINKS => {
                    links += 1;
                    let target = rustix::fs::readlinkat(&parent, &*name, Vec::new())
                        .map_err(|error| fail(error.into()))?;
                    let target = Path::new(OsStr::from_bytes(target.as_bytes())).to_owned();
                    if target.is_absolute() {
                        place.clear();
                    }
                    for name in names(&target).collect::<Vec<_>>().into_iter().rev() {
                        todo.push_front(name);
                    }
                }
                FileKind::Symlink => return Err(fail(Errno::LOOP.into())),
                _ => return Err(fail(Errno::NOTDIR.into())),
            }
        }
        let directory = self.open_plain(&place).map_err(|error| fail(error.into()))?;
        Ok((directory, made))
    }

    /// Opens a directory by a path that has no links.
    fn open_plain(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        open_in_root(self.root.as_fd(), path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
    }
}

impl AsFd for RootFs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

impl SnapshotError {
    /// Returns whether something named did not exist.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
            }
            Self::Unknown(_) => true,
            _ => false,
        }
    }
}

fn names(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

/// Opens `path` below `root` as if `root` were `/`.
pub(crate) fn open_in_root(
    root: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    mode: Mode,
    more: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | more;
    let mut tries = 0;
    loop {
        // The kernel gives EAGAIN when something was renamed while it walked over a `..`.
        match openat2(root, path, flags | OFlags::CLOEXEC, mode, resolve) {
            Err(Errno::AGAIN | Errno::INTR) if tries < 128 => tries += 1,
            result => return result,
        }
    }
}
