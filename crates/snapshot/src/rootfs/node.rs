//! One file, directory or link: what it is, its attributes, its making and its removal.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, openat};
use rustix::io::Errno;

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A character device.
    Character,
    /// A block device.
    Block,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// What the system knows about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// What it is.
    pub kind: FileKind,
    /// Permission bits with set-id and sticky bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes of content.
    pub size: u64,
    /// Last change of content: seconds since 1970 and nanoseconds.
    pub mtime: (i64, u32),
}

impl From<&Stat> for Metadata {
    fn from(stat: &Stat) -> Self {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => FileKind::Directory,
            FileType::Symlink => FileKind::Symlink,
            FileType::CharacterDevice => FileKind::Character,
            FileType::BlockDevice => FileKind::Block,
            FileType::Fifo => FileKind::Fifo,
            FileType::Socket => FileKind::Socket,
            FileType::RegularFile | FileType::Unknown => FileKind::File,
        };
        Self {
            kind,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: stat.st_size as u64,
            mtime: (stat.st_mtime, stat.st_mtime_nsec as u32),
        }
    }
}

/// Owner and permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

/// Sets owner and permissions of an open file, in the order that keeps set-id bits.
pub(crate) fn set_attributes(file: impl AsFd, attributes: &Attributes) -> io::Result<()> {
    let file = file.as_fd();
    let (uid, gid) = owner(attributes)?;
    rustix::fs::fchown(file, Some(uid), Some(gid)).map_err(|error| unknown_owner(error, attributes))?;
    Ok(rustix::fs::fchmod(file, Mode::from_raw_mode(attributes.mode))?)
}

/// Sets the owner of a name without following it, and the permissions unless it is a link.
pub(crate) fn set_attributes_at(
    directory: BorrowedFd<'_>,
    name: &OsStr,
    attributes: &Attributes,
    link: bool,
) -> io::Result<()> {
    let (uid, gid) = owner(attributes)?;
    rustix::fs::chownat(directory, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|error| unknown_owner(error, attributes))?;
    if !link {
        rustix::fs::chmodat(directory, name, Mode::from_raw_mode(attributes.mode), AtFlags::empty())?;
    }
    Ok(())
}

/// Says whose file it should have been where a normal user's namespace does not know the owner (`EINVAL`, chown(2)).
fn unknown_owner(error: Errno, attributes: &Attributes) -> io::Error {
    if error != Errno::INVAL || !crate::xattr::in_user_namespace() {
        return error.into();
    }
    let Attributes { uid, gid, .. } = attributes;
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!(
            "its owner {uid}:{gid} is beyond the ids that this user may give to containers (coracle doctor)"
        ),
    )
}

fn owner(attributes: &Attributes) -> io::Result<(Uid, Gid)> {
    // All bits set means "leave it" to the kernel, and is nobody's number.
    if attributes.uid == u32::MAX || attributes.gid == u32::MAX {
        return Err(Errno::INVAL.into());
    }
    Ok((Uid::from_raw(attributes.uid), Gid::from_raw(attributes.gid)))
}

/// Sets the time of last change of a name, without following it.
pub(crate) fn set_mtime(directory: BorrowedFd<'_>, name: &OsStr, mtime: (i64, u32)) -> io::Result<()> {
    let time = Timespec { tv_sec: mtime.0, tv_nsec: mtime.1.into() };
    let times = Timestamps { last_access: time, last_modification: time };
    let flags = if name.is_empty() { AtFlags::EMPTY_PATH } else { AtFlags::SYMLINK_NOFOLLOW };
    Ok(rustix::fs::utimensat(directory, name, &times, flags)?)
}

/// Makes a new, empty file that only we may read until its attributes are set.
pub(crate) fn create_file(directory: impl AsFd, name: &OsStr) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(openat(directory, name, flags, Mode::RUSR | Mode::WUSR)?))
}

/// Makes a directory with attributes; one that another made meanwhile is taken as it is.
pub(crate) fn make_directory(
    parent: impl AsFd,
    name: &OsStr,
    attributes: &Attributes,
) -> io::Result<OwnedFd> {
    let parent = parent.as_fd();
    let made = match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(error) => return Err(error.into()),
    };
    let directory = open_directory(parent, name)?;
    if made {
        set_attributes(&directory, attributes)?;
    }
    Ok(directory)
}

/// Opens a directory for reading its names, without following a link.
pub(crate) fn open_directory(parent: impl AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(parent, name, flags, Mode::empty())?)
}

/// Returns the names in a directory, sorted.
pub(crate) fn names_in(directory: impl AsFd) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Returns the names in a directory with their kinds, sorted.
pub(crate) fn entries_in(directory: impl AsFd) -> io::Result<Vec<(OsString, FileType)>> {
    let directory = directory.as_fd();
    let mut entries = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let name = OsStr::from_bytes(name).to_owned();
        let kind = match entry.file_type() {
            // Not every file system says.
            FileType::Unknown => match rustix::fs::statat(directory, &*name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error.into()),
            },
            kind => kind,
        };
        entries.push((name, kind));
    }
    entries.sort_unstable_by(|(one, _), (two, _)| one.cmp(two));
    Ok(entries)
}

/// Returns how many threads work on a tree.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get).min(8)
}

/// Returns a name that no other file of this machine's processes has.
pub(crate) fn temporary_name() -> OsString {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    OsString::from(format!(".coracle-{}-{number}", std::process::id()))
}

/// How many directories are held open at once while a tree is removed.
const OPEN_LEVELS: usize = 64;

/// Removes a name and all below it, without following links; a missing one is no failure.
///
/// Trees deeper than we may hold files open are moved up piece by piece, so depth is no defence.
pub(crate) fn remove_tree(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let mut todo = vec![name.to_owned()];
    while let Some(name) = todo.pop() {
        remove_levels(parent, parent, &name, 0, &mut todo)?;
    }
    Ok(())
}

fn remove_levels(
    top: BorrowedFd<'_>,
    parent: BorrowedFd<'_>,
    name: &OsStr,
    level: usize,
    todo: &mut Vec<OsString>,
) -> io::Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTEMPTY | Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    if level == OPEN_LEVELS {
        let moved = temporary_name();
        rustix::fs::renameat(parent, name, top, &*moved)?;
        todo.push(moved);
        return Ok(());
    }
    let directory = open_directory(parent, name)?;
    for child in names_in(&directory)? {
        remove_levels(top, directory.as_fd(), &child, level + 1, todo)?;
    }
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
