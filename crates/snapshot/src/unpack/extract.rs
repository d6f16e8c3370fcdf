//! Members of an archive becoming files.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::names::{clean, hostile};
use super::stream::tar_error;
use crate::archive::{Entry, Kind, TarReader, Time};
use crate::error::{Result, SnapshotError};
use crate::pack::WHITEOUT;
use crate::rootfs::{
    Attributes, FileKind, Metadata, RootFs, create_file, open_directory, remove_tree, set_attributes,
    set_attributes_at, set_mtime,
};
use crate::stack::is_whiteout;
use crate::{Limits, xattr};

/// What an archive is unpacked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A layer in overlay's form: whiteouts are marks.
    Layer,
    /// A file system as it is seen.
    Tree,
}

/// Puts the members of an archive into a directory, one after the other.
pub(super) struct Extractor {
    pub(super) root: RootFs,
    /// What the directory is called in messages.
    pub(super) place: PathBuf,
    limits: Limits,
    form: Form,
    /// Owner and group of everything; `None` takes the members'.
    owner: Option<(u32, u32)>,
    entries: u64,
    /// Bytes of all files, holes included.
    bytes: u64,
    /// Directories that the archive has no member for, only things in them.
    pub(super) implied: BTreeSet<PathBuf>,
    /// Hard links whose file is not there: the new name and the file's name.
    pub(super) links: BTreeMap<PathBuf, PathBuf>,
    /// Times of directories, which adding to them changes.
    pub(super) times: BTreeMap<PathBuf, Time>,
    pub(super) has_root: bool,
    /// The directory written to last; most members lie beside the one before.
    last: Option<(PathBuf, OwnedFd)>,
    buffer: Vec<u8>,
}

impl Extractor {
    pub(super) fn new(
        root: RootFs,
        place: &Path,
        limits: Limits,
        form: Form,
        owner: Option<(u32, u32)>,
    ) -> Self {
        Self {
            root,
            place: place.to_owned(),
            limits,
            form,
            owner,
            entries: 0,
            bytes: 0,
            implied: BTreeSet::new(),
            links: BTreeMap::new(),
            times: BTreeMap::new(),
            has_root: false,
            last: None,
            buffer: vec![0; 256 << 10],
        }
    }

    /// Ends the unpacking into a file system: sets the times of directories.
    pub(super) fn finish_tree(self) -> Result<()> {
        if let Some((link, _)) = self.links.first_key_value() {
            return Err(hostile(link.as_os_str().as_bytes(), "it links to a file that does not exist"));
        }
        for (path, time) in &self.times {
            let flags = OFlags::PATH | OFlags::NOFOLLOW;
            // Replaced by something else later in the archive: then its time means nothing.
            let Ok(directory) = self.root.open_at(path, flags, Mode::empty()) else { continue };
            set_mtime(directory.as_fd(), OsStr::new(""), (time.seconds, time.nanoseconds))
                .map_err(|error| SnapshotError::io("set the time of", path, error))?;
        }
        Ok(())
    }

    fn attributes(&self, entry: &Entry) -> Attributes {
        // A user who may give no ids away has root's only: better an image with one owner than none.
        let own = || if xattr::is_single() { (0, 0) } else { (entry.uid, entry.gid) };
        let (uid, gid) = self.owner.unwrap_or_else(own);
        Attributes { mode: entry.mode, uid, gid }
    }

    pub(super) fn add<R: Read>(&mut self, entry: &Entry, tar: &mut TarReader<R>) -> Result<()> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(SnapshotError::TooLarge { limit: self.limits.entries, unit: "members" });
        }
        let path = clean(&entry.path, &entry.path)?;
        let place = self.place.clone();
        let fail = |error: io::Error| SnapshotError::io("unpack", &place.join(&path), error);
        let (Some(name), Some(parent)) = (path.file_name(), path.parent()) else {
            return self.root_entry(entry);
        };
        let directory = self.parent(parent, entry)?;
        let name_bytes = name.as_bytes();
        if self.form == Form::Layer && name_bytes.starts_with(WHITEOUT) {
            let result = self.whiteout(&directory, parent, name_bytes, entry);
            self.last = Some((parent.to_owned(), directory));
            return result;
        }
        let attributes = self.attributes(entry);
        let mtime = (entry.mtime.seconds, entry.mtime.nanoseconds);
        match &entry.kind {
            Kind::File(size) => {
                let mut file = match create_file(&directory, name) {
                    Ok(file) => file,
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        self.make_room(&directory, name, &path).map_err(fail)?;
                        create_file(&directory, name).map_err(fail)?
                    }
                    Err(error) => return Err(fail(error)),
                };
                self.content(*size, tar, &mut file, &fail)?;
                set_attributes(&file, &attributes).map_err(fail)?;
                xattr::write(&file, &entry.xattrs).map_err(fail)?;
                set_mtime(file.as_fd(), OsStr::new(""), mtime).map_err(fail)?;
            }
            Kind::Directory => {
                self.directory(&directory, name, &path, entry).map_err(fail)?;
            }
            Kind::Hardlink(target) => self.hardlink(&directory, name, &path, target, entry)?,
            Kind::Symlink(target) => {
                self.make_room(&directory, name, &path).map_err(fail)?;
                if target.is_empty() || target.contains(&0) {
                    return Err(hostile(&entry.path, "it links to nothing"));
                }
                rustix::fs::symlinkat(OsStr::from_bytes(target), &directory, name)
                    .map_err(|error| fail(error.into()))?;
                set_attributes_at(directory.as_fd(), name, &attributes, true).map_err(fail)?;
                set_mtime(directory.as_fd(), name, mtime).map_err(fail)?;
            }
            Kind::Character(..) | Kind::Block(..) | Kind::Fifo => {
                self.make_room(&directory, name, &path).map_err(fail)?;
                let (kind, device) = match entry.kind {
                    // To overlay this would be a whiteout, which archives write otherwise.
                    Kind::Character(0, 0) => {
                        return Err(hostile(&entry.path, "a character device 0,0 cannot be in a layer"));
                    }
                    Kind::Character(major, minor) => {
                        (FileType::CharacterDevice, rustix::fs::makedev(major, minor))
                    }
                    Kind::Block(major, minor) => (FileType::BlockDevice, rustix::fs::makedev(major, minor)),
                    _ => (FileType::Fifo, 0),
                };
                match rustix::fs::mknodat(&directory, name, kind, Mode::RUSR | Mode::WUSR, device) {
                    Ok(()) => {}
                    // A normal user makes no devices; a container gets those of its own in `/dev`.
                    Err(Errno::PERM) if kind != FileType::Fifo && xattr::in_user_namespace() => return Ok(()),
                    Err(error) => return Err(fail(error.into())),
                }
                set_attributes_at(directory.as_fd(), name, &attributes, false).map_err(fail)?;
                set_mtime(directory.as_fd(), name, mtime).map_err(fail)?;
            }
        }
        // Replacing a directory may have made the one held invalid; `make_room` then forgot it on purpose.
        self.last = Some((parent.to_owned(), directory));
        Ok(())
    }

    /// Writes a file's bytes; what the archive says are holes stay holes.
    fn content<R: Read>(
        &mut self,
        size: u64,
        tar: &mut TarReader<R>,
        file: &mut File,
        fail: &dyn Fn(io::Error) -> SnapshotError,
    ) -> Result<()> {
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > self.limits.bytes {
            return Err(SnapshotError::TooLarge { limit: self.limits.bytes, unit: "bytes" });
        }
        let mut end = 0;
        while let Some((offset, count)) =
            tar.read(&mut self.buffer).map_err(|error| tar_error(error, self.limits))?
        {
            if offset != end {
                file.seek(SeekFrom::Start(offset)).map_err(fail)?;
            }
            file.write_all(&self.buffer[..count]).map_err(fail)?;
            end = offset + count as u64;
        }
        if end < size {
            file.set_len(size).map_err(fail)?;
        }
        Ok(())
    }

    fn root_entry(&mut self, entry: &Entry) -> Result<()> {
        if entry.kind != Kind::Directory {
            return Err(hostile(&entry.path, "only a directory can be the root"));
        }
        let fail = |error| SnapshotError::io("set the attributes of", &self.place, error);
        let attributes = self.attributes(entry);
        set_attributes(self.root.as_fd(), &attributes).map_err(fail)?;
        // The descriptor may be used for attributes only when it is a real one, which the root's is.
        xattr::write(self.root.as_fd(), &entry.xattrs).map_err(fail)?;
        self.times.insert(PathBuf::new(), entry.mtime);
        self.has_root = true;
        Ok(())
    }

    /// Opens the directory that a member lies in, and makes what the archive left out.
    fn parent(&mut self, path: &Path, entry: &Entry) -> Result<OwnedFd> {
        if let Some((_, directory)) = self.last.take_if(|(last, _)| last == path) {
            return Ok(directory);
        }
        let attributes = Attributes { mode: 0o755, uid: 0, gid: 0 };
        let first = self.root.make_directories(path, &attributes);
        let (directory, made) = match first {
            Err(SnapshotError::Io { source, .. })
                if self.form == Form::Layer && source.kind() == io::ErrorKind::NotADirectory =>
            {
                self.replace_whiteouts(path, entry)?;
                self.root.make_directories(path, &attributes)?
            }
            other => other?,
        };
        self.implied.extend(made);
        Ok(directory)
    }

    fn directory(&mut self, parent: &OwnedFd, name: &OsStr, path: &Path, entry: &Entry) -> io::Result<()> {
        let mut opaque = false;
        match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
                if Metadata::from(&stat).kind != FileKind::Directory {
                    // Deleted first, made anew then: what lower layers have in it stays deleted.
                    opaque = is_whiteout(&stat);
                    self.make_room(parent, name, path)?;
                    rustix::fs::mkdirat(parent, name, Mode::RWXU)?;
                }
            }
            Err(error) => return Err(error.into()),
        }
        let directory = open_directory(parent, name)?;
        set_attributes(&directory, &self.attributes(entry))?;
        xattr::write(&directory, &entry.xattrs)?;
        if opaque {
            xattr::set_opaque(&directory)?;
        }
        self.implied.remove(path);
        self.times.insert(path.to_owned(), entry.mtime);
        Ok(())
    }

    fn hardlink(
        &mut self,
        directory: &OwnedFd,
        name: &OsStr,
        path: &Path,
        target: &[u8],
        entry: &Entry,
    ) -> Result<()> {
        let target = clean(target, &entry.path)?;
        let fail = |error: io::Error| SnapshotError::io("link", path, error);
        if target == path {
            return Err(hostile(&entry.path, "it links to itself"));
        }
        self.make_room(directory, name, path).map_err(fail)?;
        let linked = self.root.open_parent(&target).and_then(|(target_directory, target_name)| {
            let io = |error: Errno| SnapshotError::io("link", path, error);
            let stat = rustix::fs::statat(&target_directory, &*target_name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(io)?;
            if is_whiteout(&stat) || Metadata::from(&stat).kind == FileKind::Directory {
                return Err(hostile(&entry.path, "it links to something that is no file"));
            }
            rustix::fs::linkat(&target_directory, &*target_name, directory, name, AtFlags::empty())
                .map_err(io)
        });
        match linked {
            Ok(()) => Ok(()),
            Err(error) if error.is_not_found() => {
                // Perhaps a file of a lower layer; that is known when the layer is attached.
                self.links.insert(path.to_owned(), target);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Removes what has a new member's name.
    fn make_room(&mut self, directory: &OwnedFd, name: &OsStr, path: &Path) -> io::Result<()> {
        match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => {}
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        remove_tree(directory.as_fd(), name)?;
        // Directories known by a path through the removed one are not what they were.
        self.last = None;
        // What lies below a name comes right after it in the order of paths.
        let below = |known: &PathBuf| known.starts_with(path);
        while let Some(known) =
            self.implied.range(path.to_owned()..).next().filter(|known| below(known)).cloned()
        {
            self.implied.remove(&known);
        }
        while let Some(known) = next_key(&self.times, path).filter(below) {
            self.times.remove(&known);
        }
        while let Some(known) = next_key(&self.links, path).filter(below) {
            self.links.remove(&known);
        }
        Ok(())
    }
}

fn next_key<V>(map: &BTreeMap<PathBuf, V>, from: &Path) -> Option<PathBuf> {
    map.range(from.to_owned()..).next().map(|(key, _)| key.clone())
}
