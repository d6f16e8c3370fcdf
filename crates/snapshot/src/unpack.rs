//! Unpacks a layer's archive into a snapshot, in overlay's form. Archives come from strangers.
//!
//! Every path is walked inside the layer's own directory, by the kernel. What an archive cannot do: name anything
//! outside, write through a link to outside, set overlay's own attributes, be larger than the limits.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use coracle_oci::{ChainId, DiffId, Digest};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use crate::archive::{Entry, Kind, TarError, TarReader, Time};
use crate::error::{Result, SnapshotError};
use crate::pack::{OPAQUE, WHITEOUT};
use crate::rootfs::{
    Attributes, CopyOptions, CopySummary, FileKind, Metadata, Node, RootFs, copy_node, create_file,
    open_directory, remove_tree, set_attributes, set_attributes_at, set_mtime,
};
use crate::stack::{LayerStack, is_whiteout};
use crate::{ActiveSnapshot, Limits, Snapshot, SnapshotId, Snapshots, snapshots, xattr};

/// A layer that is unpacked, but not yet on top of others. Dropping it discards it.
///
/// Layers of one image can be unpacked at once, in any order, and attached from the lowest up.
#[derive(Debug)]
pub struct UnpackedLayer {
    active: ActiveSnapshot,
    snapshots: Snapshots,
    diff_id: DiffId,
    size: u64,
    /// Directories that the archive has no member for, only things in them.
    implied: BTreeSet<PathBuf>,
    /// Hard links to files of lower layers: the new name and the file's name.
    links: Vec<(PathBuf, PathBuf)>,
    /// Times of directories, which adding to them changes.
    times: BTreeMap<PathBuf, Time>,
    has_root: bool,
}

impl Snapshots {
    /// Unpacks a layer on top of a committed snapshot, or as the lowest.
    ///
    /// `archive` is a tar archive, plain or compressed with gzip or zstd. When `expected` is given, a layer with
    /// other content is refused; and when the same stack exists already it is returned without reading.
    pub fn apply(
        &self,
        parent: Option<&SnapshotId>,
        archive: impl Read,
        expected: Option<DiffId>,
    ) -> Result<Snapshot> {
        if let Some(expected) = expected {
            let below = parent.map(|parent| self.get(parent)).transpose()?;
            let chain = match below {
                None => Some(ChainId::extend(None, expected)),
                Some(below) => below.chain_id.map(|chain| ChainId::extend(Some(chain), expected)),
            };
            if let Some(existing) = chain.map(|chain| self.by_chain(&chain)).transpose()?.flatten() {
                return Ok(existing);
            }
        }
        self.unpack(archive, expected)?.attach(parent)
    }

    /// Unpacks a layer without saying yet what is below it.
    pub fn unpack(&self, archive: impl Read, expected: Option<DiffId>) -> Result<UnpackedLayer> {
        let active = self.prepare(None)?;
        let layer = active.layer_path();
        let stream =
            Hashing::new(decompress(BufReader::with_capacity(128 << 10, archive))?, self.limits.bytes);
        let mut unpacker = Unpacker::open(&layer, self.limits)?;
        let mut tar = TarReader::new(BufReader::with_capacity(256 << 10, stream));
        while let Some(entry) = tar.next().map_err(|error| tar_error(error, self.limits))? {
            unpacker.add(&entry, &mut tar)?;
        }
        let mut rest = tar.into_inner();
        io::copy(&mut rest, &mut io::sink()).map_err(|error| tar_error(error.into(), self.limits))?;
        let (diff_id, size) = rest.into_inner().finish();
        if let Some(expected) = expected.filter(|expected| *expected != diff_id) {
            return Err(SnapshotError::Mismatch { expected, actual: diff_id });
        }
        Ok(UnpackedLayer {
            active,
            snapshots: self.clone(),
            diff_id,
            size,
            implied: unpacker.implied,
            links: unpacker.links,
            times: unpacker.times,
            has_root: unpacker.has_root,
        })
    }
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

    /// Puts the layer on top of a committed snapshot (or makes it the lowest) and commits it.
    pub fn attach(mut self, parent: Option<&SnapshotId>) -> Result<Snapshot> {
        let lower = match parent {
            Some(parent) => self.snapshots.lowerdirs(parent)?,
            None => Vec::new(),
        };
        let stack = LayerStack::open(&lower)?;
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

/// Sees whether the stream is compressed, by its first bytes.
fn decompress<'a>(mut archive: impl BufRead + 'a) -> Result<Box<dyn Read + 'a>> {
    let start = loop {
        match archive.fill_buf() {
            Ok(start) => break start,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(SnapshotError::Malformed(error.to_string())),
        }
    };
    if start.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(flate2::bufread::MultiGzDecoder::new(archive)));
    }
    if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let decoder = zstd::stream::read::Decoder::with_buffer(archive)
            .map_err(|error| SnapshotError::Malformed(error.to_string()))?;
        return Ok(Box::new(decoder));
    }
    Ok(Box::new(archive))
}

/// The marker of an exceeded limit on its way through readers.
#[derive(Debug, thiserror::Error)]
#[error("too many bytes")]
struct TooManyBytes;

/// Hashes, counts and bounds the uncompressed bytes.
struct Hashing<R> {
    inner: R,
    hasher: Sha256,
    count: u64,
    limit: u64,
}

impl<R> Hashing<R> {
    fn new(inner: R, limit: u64) -> Self {
        Self { inner, hasher: Sha256::new(), count: 0, limit }
    }

    fn finish(self) -> (DiffId, u64) {
        (DiffId::new(Digest::from_raw(self.hasher.finalize().into())), self.count)
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.count += count as u64;
        if self.count > self.limit {
            return Err(io::Error::other(TooManyBytes));
        }
        Ok(count)
    }
}

fn tar_error(error: TarError, limits: Limits) -> SnapshotError {
    match error {
        TarError::Malformed(reason) => SnapshotError::Malformed(reason),
        TarError::Io(error) if is_limit(&error) => {
            SnapshotError::TooLarge { limit: limits.bytes, unit: "bytes" }
        }
        TarError::Io(error) => SnapshotError::Malformed(error.to_string()),
    }
}

fn is_limit(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<TooManyBytes>)
}

struct Unpacker {
    root: RootFs,
    layer: PathBuf,
    limits: Limits,
    entries: u64,
    implied: BTreeSet<PathBuf>,
    links: Vec<(PathBuf, PathBuf)>,
    times: BTreeMap<PathBuf, Time>,
    has_root: bool,
    /// The directory written to last; most members lie beside the one before.
    last: Option<(PathBuf, OwnedFd)>,
    buffer: Vec<u8>,
}

impl Unpacker {
    fn open(layer: &Path, limits: Limits) -> Result<Self> {
        Ok(Self {
            root: RootFs::new(snapshots::open_directory(layer)?),
            layer: layer.to_owned(),
            limits,
            entries: 0,
            implied: BTreeSet::new(),
            links: Vec::new(),
            times: BTreeMap::new(),
            has_root: false,
            last: None,
            buffer: vec![0; 256 << 10],
        })
    }

    fn add<R: Read>(&mut self, entry: &Entry, tar: &mut TarReader<R>) -> Result<()> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(SnapshotError::TooLarge { limit: self.limits.entries, unit: "members" });
        }
        let path = clean(&entry.path, &entry.path)?;
        let layer = self.layer.clone();
        let fail = |error: io::Error| SnapshotError::io("unpack", &layer.join(&path), error);
        let (Some(name), Some(parent)) = (path.file_name(), path.parent()) else {
            return self.root_entry(entry);
        };
        let directory = self.parent(parent, entry)?;
        let name_bytes = name.as_bytes();
        if name_bytes.starts_with(WHITEOUT) {
            let result = self.whiteout(&directory, parent, name_bytes, entry);
            self.last = Some((parent.to_owned(), directory));
            return result;
        }
        let attributes = Attributes { mode: entry.mode, uid: entry.uid, gid: entry.gid };
        let mtime = (entry.mtime.seconds, entry.mtime.nanoseconds);
        match &entry.kind {
            Kind::File(_) => {
                let mut file = match create_file(&directory, name) {
                    Ok(file) => file,
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        self.make_room(&directory, name, &path).map_err(fail)?;
                        create_file(&directory, name).map_err(fail)?
                    }
                    Err(error) => return Err(fail(error)),
                };
                loop {
                    let count = tar.read(&mut self.buffer).map_err(|error| tar_error(error, self.limits))?;
                    if count == 0 {
                        break;
                    }
                    file.write_all(&self.buffer[..count]).map_err(fail)?;
                }
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
                rustix::fs::mknodat(&directory, name, kind, Mode::RUSR | Mode::WUSR, device)
                    .map_err(|error| fail(error.into()))?;
                set_attributes_at(directory.as_fd(), name, &attributes, false).map_err(fail)?;
                set_mtime(directory.as_fd(), name, mtime).map_err(fail)?;
            }
        }
        // Replacing a directory may have made the one held invalid; `make_room` then forgot it on purpose.
        self.last = Some((parent.to_owned(), directory));
        Ok(())
    }

    fn root_entry(&mut self, entry: &Entry) -> Result<()> {
        if entry.kind != Kind::Directory {
            return Err(hostile(&entry.path, "only a directory can be the root"));
        }
        let fail = |error| SnapshotError::io("set the attributes of", &self.layer, error);
        let attributes = Attributes { mode: entry.mode, uid: entry.uid, gid: entry.gid };
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
            Err(SnapshotError::Io { source, .. }) if source.kind() == io::ErrorKind::NotADirectory => {
                self.replace_whiteouts(path, entry)?;
                self.root.make_directories(path, &attributes)?
            }
            other => other?,
        };
        self.implied.extend(made);
        Ok(directory)
    }

    /// Makes directories, opaque ones, where the archive first deleted a name and then puts things below it.
    fn replace_whiteouts(&mut self, path: &Path, entry: &Entry) -> Result<()> {
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
        set_attributes(&directory, &Attributes { mode: entry.mode, uid: entry.uid, gid: entry.gid })?;
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
                self.links.push((path.to_owned(), target));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn whiteout(&mut self, directory: &OwnedFd, parent: &Path, name: &[u8], entry: &Entry) -> Result<()> {
        let fail = |error: io::Error| SnapshotError::io("unpack", &self.layer.join(parent), error);
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
        self.implied.retain(|known| !known.starts_with(path));
        self.times.retain(|known, _| !known.starts_with(path));
        self.links.retain(|(link, _)| !link.starts_with(path));
        Ok(())
    }
}

fn hostile(entry: &[u8], reason: &'static str) -> SnapshotError {
    SnapshotError::Hostile { entry: String::from_utf8_lossy(entry).into_owned(), reason }
}

/// Returns a member's path relative to the root: `/a/./b/` is `a/b`.
fn clean(path: &[u8], entry: &[u8]) -> Result<PathBuf> {
    if path.contains(&0) {
        return Err(hostile(entry, "its name has a zero byte"));
    }
    if path.len() > 4096 {
        return Err(hostile(entry, "its name is too long"));
    }
    let mut clean = PathBuf::new();
    for component in Path::new(OsStr::from_bytes(path)).components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => return Err(hostile(entry, "its name has `..` in it")),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Ok(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleans_names() {
        let table: [(&[u8], &str); 5] = [
            (b"/etc//passwd", "etc/passwd"),
            (b"./a/./b/", "a/b"),
            (b"./", ""),
            (b"/", ""),
            (b"..a/b..", "..a/b.."),
        ];
        for (name, expected) in table {
            assert_eq!(clean(name, name).unwrap(), Path::new(expected));
        }
        for name in [&b"../a"[..], b"a/../../b", b"a/..", b"a\0b"] {
            assert!(clean(name, name).is_err());
        }
    }
}
