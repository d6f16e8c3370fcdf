//! Copying one thing that is no directory, with few system calls.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use rustix::fs::{AtFlags, FileType, Mode, SeekFrom, Stat, openat};
use rustix::io::Errno;

use super::super::node::set_attributes_at;
use super::super::{FileKind, Metadata, Node, create_file, remove_tree, set_attributes, set_mtime};
use super::{CopyOptions, CopySummary, READ};
use crate::error::{Result, SnapshotError};
use crate::xattr;

/// Files up to this size go through the copier's buffer: two calls instead of the kernel's splice.
const BUFFER: usize = 128 << 10;

/// What copies one file after the other.
pub(crate) struct Copier<'a> {
    options: &'a CopyOptions<'a>,
    buffer: Vec<u8>,
    /// A directory, by its descriptor, and whether files made in it are root's.
    plain: Option<(RawFd, bool)>,
}

/// Copies one thing that is no directory.
pub(crate) fn copy_node(
    node: &Node<'_>,
    directory: BorrowedFd<'_>,
    name: &OsStr,
    options: &CopyOptions<'_>,
    summary: &mut CopySummary,
) -> Result<()> {
    Copier::new(options).node(node, directory, name, summary)
}

impl<'a> Copier<'a> {
    pub(crate) fn new(options: &'a CopyOptions<'a>) -> Self {
        Self { options, buffer: Vec::new(), plain: None }
    }

    /// Copies one thing that is no directory to a name in a directory.
    pub(crate) fn node(
        &mut self,
        node: &Node<'_>,
        directory: BorrowedFd<'_>,
        name: &OsStr,
        summary: &mut CopySummary,
    ) -> Result<()> {
        let fail = |error| failed(error, node.path);
        let metadata = Metadata::from(node.stat);
        let attributes = self.options.attributes(&metadata);
        match metadata.kind {
            FileKind::File => {
                let read = |error: Errno| SnapshotError::io("read", node.path, error);
                let file = File::from(openat(node.directory, node.name, READ, Mode::empty()).map_err(read)?);
                let stat = rustix::fs::fstat(&file).map_err(read)?;
                // Between look-up and opening it may have become something else.
                if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                    return Err(read(Errno::INVAL));
                }
                summary.bytes += self.file(file, &stat, directory, name).map_err(fail)?;
            }
            FileKind::Symlink => {
                let target = rustix::fs::readlinkat(node.directory, node.name, Vec::new())
                    .map_err(|error| fail(error.into()))?;
                replace(directory, name, || Ok(rustix::fs::symlinkat(&target, directory, name)?))
                    .map_err(fail)?;
                set_attributes_at(directory, name, &attributes, true).map_err(fail)?;
            }
            FileKind::Character | FileKind::Block | FileKind::Fifo => {
                replace(directory, name, || make_special(directory, name, node.stat)).map_err(fail)?;
                set_attributes_at(directory, name, &attributes, false).map_err(fail)?;
            }
            FileKind::Socket | FileKind::Directory => return Ok(()),
        }
        if self.options.keep_mtime && metadata.kind != FileKind::File {
            set_mtime(directory, name, self.options.mtime(metadata.mtime)).map_err(fail)?;
        }
        summary.files += 1;
        Ok(())
    }

    /// Copies an open regular file; `stat` is what it says of itself.
    pub(crate) fn file(
        &mut self,
        mut source: File,
        stat: &Stat,
        directory: BorrowedFd<'_>,
        name: &OsStr,
    ) -> io::Result<u64> {
        let metadata = Metadata::from(stat);
        let mut target = replace(directory, name, || create_file(directory, name))?;
        let written = (|| {
            let bytes = self.content(&mut source, &mut target, stat)?;
            self.attributes(&target, directory, &metadata)?;
            let xattrs = xattr::read(&source)?;
            xattr::write(&target, &xattrs)?;
            if self.options.keep_mtime {
                set_mtime(target.as_fd(), OsStr::new(""), self.options.mtime(metadata.mtime))?;
            }
            Ok(bytes)
        })();
        if written.is_err() {
            let _ = remove_tree(directory, name);
        }
        written
    }

    /// Sets owner and permissions of a new file, which is root's already unless its directory hands its group down.
    fn attributes(&mut self, target: &File, directory: BorrowedFd<'_>, source: &Metadata) -> io::Result<()> {
        let attributes = self.options.attributes(source);
        let place = directory.as_raw_fd();
        let plain = match self.plain {
            Some((known, plain)) if known == place => plain,
            _ => {
                let hands_down = rustix::fs::fstat(directory)?.st_mode & 0o2000 != 0;
                let root = rustix::process::geteuid().is_root() && rustix::process::getegid().is_root();
                self.plain = Some((place, root && !hands_down));
                root && !hands_down
            }
        };
        if plain && (attributes.uid, attributes.gid) == (0, 0) {
            return Ok(rustix::fs::fchmod(target, Mode::from_raw_mode(attributes.mode))?);
        }
        set_attributes(target, &attributes)
    }

    /// Forgets what is known of directories: their descriptors are about to mean others.
    pub(crate) fn next_directory(&mut self) {
        self.plain = None;
    }

    fn content(&mut self, source: &mut File, target: &mut File, stat: &Stat) -> io::Result<u64> {
        let size = stat.st_size as u64;
        if size > BUFFER as u64 {
            // Shares the bytes where the file system can, else copies them within the kernel.
            if rustix::fs::ioctl_ficlone(&*target, &*source).is_ok() {
                return Ok(size);
            }
            if (stat.st_blocks as u64) * 512 < size {
                return copy_sparse(source, target);
            }
            return io::copy(source, target);
        }
        self.buffer.resize(BUFFER, 0);
        let mut total = 0;
        loop {
            let count = match source.read(&mut self.buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            target.write_all(&self.buffer[..count])?;
            total += count as u64;
            // All that was there when it was looked at: the read that would say "no more" is spared.
            if count == 0 || total == size {
                return Ok(total);
            }
        }
    }
}

/// Copies the parts that hold data and leaves the holes.
fn copy_sparse(source: &mut File, target: &mut File) -> io::Result<u64> {
    let size = source.metadata()?.len();
    let mut at = 0;
    while at < size {
        let data = match rustix::fs::seek(&*source, SeekFrom::Data(at)) {
            Ok(data) => data,
            // Only a hole is left.
            Err(Errno::NXIO) => break,
            // The file system does not know its holes.
            Err(Errno::INVAL) if at == 0 => {
                rustix::fs::seek(&*source, SeekFrom::Start(0))?;
                return io::copy(source, target);
            }
            Err(error) => return Err(error.into()),
        };
        let hole = rustix::fs::seek(&*source, SeekFrom::Hole(data))?.min(size);
        rustix::fs::seek(&*source, SeekFrom::Start(data))?;
        rustix::fs::seek(&*target, SeekFrom::Start(data))?;
        let wanted = hole.saturating_sub(data);
        if io::copy(&mut (&mut *source).take(wanted), target)? != wanted {
            break;
        }
        at = hole;
    }
    target.set_len(size)?;
    Ok(size)
}

fn make_special(directory: BorrowedFd<'_>, name: &OsStr, stat: &Stat) -> io::Result<()> {
    let kind = FileType::from_raw_mode(stat.st_mode);
    Ok(rustix::fs::mknodat(directory, name, kind, Mode::RUSR | Mode::WUSR, stat.st_rdev)?)
}

/// Makes something under a name, in place of the file or link that has it; a directory stays.
pub(super) fn replace<T>(
    directory: BorrowedFd<'_>,
    name: &OsStr,
    make: impl Fn() -> io::Result<T>,
) -> io::Result<T> {
    match make() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            rustix::fs::unlinkat(directory, name, AtFlags::empty())?;
            make()
        }
        result => result,
    }
}

/// Says what could not be copied, and tells a directory in the way apart.
pub(super) fn failed(error: io::Error, path: &std::path::Path) -> SnapshotError {
    if error.kind() == io::ErrorKind::IsADirectory {
        return SnapshotError::Occupied { path: path.to_owned(), wanted: "a file", by: "a directory" };
    }
    SnapshotError::io("copy", path, error)
}
