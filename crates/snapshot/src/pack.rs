//! Makes the archive of one layer from its directory: always the same bytes for the same layer.

use std::collections::{HashMap, HashSet};
use std::io::{BufWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use coracle_oci::{DiffId, Sha256Writer};
use rustix::fs::{Mode, OFlags, Stat, openat};

use crate::archive::{Entry, Kind, TarWriter, Time};
use crate::error::{Result, SnapshotError};
use crate::prefetch::{self, BATCH, Batch, Content, Queue, Readers, Wanted};
use crate::rootfs::{FileKind, Flow, Metadata, Node, visit};
use crate::stack::is_whiteout;
use crate::{RootFs, SnapshotId, Snapshots, snapshots, xattr};

/// The prefix of names that delete, and the name that hides a directory's lower content (OCI image specification,
/// "Whiteouts").
pub(crate) const WHITEOUT: &[u8] = b".wh.";
pub(crate) const OPAQUE: &[u8] = b".wh..wh..opq";

/// An archive that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerInfo {
    /// Its digest.
    pub diff_id: DiffId,
    /// Its length in bytes.
    pub size: u64,
}

impl Snapshots {
    /// Writes a snapshot's own layer as an uncompressed archive: the one that it came from when that was kept, else
    /// one that is made of its files.
    ///
    /// Members are sorted by name; times are whole seconds, and none is later than `latest` (seconds since 1970)
    /// when that is given. Sockets are left out.
    pub fn layer_tar(&self, id: &SnapshotId, mut out: impl Write, latest: Option<i64>) -> Result<LayerInfo> {
        // Asked first, so that an unknown id does not look like a missing directory.
        self.get(id)?;
        if latest.is_none()
            && let Some(kept) = self.kept_tar(id, &mut out)?
        {
            return Ok(kept);
        }
        write_layer(&self.layer_path(id), out, latest)
    }
}

impl RootFs {
    /// Writes the whole tree as an uncompressed archive, members sorted by name. Sockets are left out.
    pub fn tar(&self, out: &mut dyn Write) -> Result<()> {
        self.tar_no_later(out, None)
    }

    /// As [`RootFs::tar`]; no time is later than `latest` (seconds since 1970) when that is given.
    pub fn tar_no_later(&self, out: &mut dyn Write, latest: Option<i64>) -> Result<()> {
        // A detached mount's own descriptor only names it; listing needs one that reads.
        let root = self.subtree(Path::new("/"))?;
        write_tree(root.as_fd(), Path::new("/"), out, latest, Form::Tree).map(drop)
    }
}

/// What a directory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A layer in overlay's form: its marks become the archive's.
    Layer,
    /// A file system as it is seen.
    Tree,
}

pub(crate) fn write_layer(layer: &Path, out: impl Write, latest: Option<i64>) -> Result<LayerInfo> {
    let root = snapshots::open_directory(layer)?;
    write_tree(root.as_fd(), layer, out, latest, Form::Layer)
}

fn write_tree(
    root: BorrowedFd<'_>,
    layer: &Path,
    out: impl Write,
    latest: Option<i64>,
    form: Form,
) -> Result<LayerInfo> {
    pack_into(out, latest, form, layer, |pack| {
        pack.root(root, layer)?;
        visit(root, Path::new(""), &mut |node| pack.add(node))
    })
}

/// Writes an archive of what `fill` adds to it; `layer` is named when that fails.
pub(crate) fn pack_into<W: Write>(
    out: W,
    latest: Option<i64>,
    form: Form,
    layer: &Path,
    fill: impl for<'scope, 'env> FnOnce(&mut Pack<'scope, 'env, W>) -> Result<()>,
) -> Result<LayerInfo> {
    let written = |error| SnapshotError::io("write the archive of", layer, error);
    let tar = thread::scope(|scope| {
        let mut pack = Pack {
            scope,
            readers: None,
            batch: Vec::new(),
            about: Vec::new(),
            queue: Queue::new(),
            last: None,
            // Hashing small pieces is slow: the buffer lies before the hasher.
            tar: TarWriter::new(BufWriter::with_capacity(256 << 10, Sha256Writer::new(out))),
            latest,
            form,
            linked: HashMap::new(),
            buffer: vec![0; 256 << 10],
        };
        fill(&mut pack)?;
        pack.finish()
    })?;
    let writer = tar.finish().map_err(written)?;
    let hasher = writer.into_inner().map_err(|error| written(error.into_error()))?;
    let (_, digest, size) = hasher.finish();
    Ok(LayerInfo { diff_id: DiffId::new(digest), size })
}

/// A member that waits for its turn.
enum Waiting {
    /// A file, whose attributes and content are being read.
    File(Entry, PathBuf),
    /// Anything else, complete.
    Complete(Entry),
}

pub(crate) struct Pack<'scope, 'env, W: Write> {
    scope: &'scope thread::Scope<'scope, 'env>,
    /// Started when there is more than one batch.
    readers: Option<Readers>,
    /// Files of the batch that is being filled, and all members since it was begun, in order.
    batch: Vec<Wanted>,
    about: Vec<Waiting>,
    queue: Queue<Waiting>,
    /// The directory that files were last taken from.
    last: Option<(PathBuf, Arc<OwnedFd>)>,
    tar: TarWriter<BufWriter<Sha256Writer<W>>>,
    latest: Option<i64>,
    form: Form,
    /// The first name of each file that has several.
    linked: HashMap<(u64, u64), PathBuf>,
    buffer: Vec<u8>,
}

impl<W: Write> Pack<'_, '_, W> {
    /// Forgets the directory that files were last taken from: the next may lie under the same path in another layer.
    pub(crate) fn forget(&mut self) {
        self.last = None;
    }

    /// Writes that a name of lower layers is deleted.
    pub(crate) fn whiteout(&mut self, path: &Path) -> Result<()> {
        let name = [WHITEOUT, path.file_name().unwrap_or_default().as_bytes()].concat();
        self.put(marker(&path.with_file_name(std::ffi::OsStr::from_bytes(&name))))
    }

    /// Writes that nothing of lower layers shows in a directory, whose member was added just now.
    pub(crate) fn opaque(&mut self, path: &Path) -> Result<()> {
        self.put(marker(&path.join(std::ffi::OsStr::from_bytes(OPAQUE))))
    }

    /// Puts a complete member behind those that wait.
    fn put(&mut self, entry: Entry) -> Result<()> {
        if self.about.is_empty() && self.queue.is_empty() {
            return self.write(Batch::new(), vec![Waiting::Complete(entry)]);
        }
        self.about.push(Waiting::Complete(entry));
        self.hand_over()
    }

    /// Puts a file behind those that wait, and has it read.
    fn put_file(&mut self, entry: Entry, node: &Node<'_>, size: u64) -> Result<()> {
        let parent = node.path.parent().unwrap_or(Path::new(""));
        let directory = match &self.last {
            Some((path, directory)) if path == parent => directory.clone(),
            _ => {
                let directory = node
                    .directory
                    .try_clone_to_owned()
                    .map_err(|error| SnapshotError::io("read", node.path, error))?;
                let directory = Arc::new(directory);
                self.last = Some((parent.to_owned(), directory.clone()));
                directory
            }
        };
        self.batch.push(Wanted { directory, name: node.name.to_owned(), size });
        self.about.push(Waiting::File(entry, node.path.to_owned()));
        self.hand_over()
    }

    /// Has a batch read when it is full, and writes the first one when there are too many.
    fn hand_over(&mut self) -> Result<()> {
        if self.batch.len() < BATCH && self.about.len() < 8 * BATCH {
            return Ok(());
        }
        if self.queue.is_full() {
            self.write_one()?;
        }
        let scope = self.scope;
        let readers = self.readers.get_or_insert_with(|| Readers::start(scope));
        let batch = readers.read(std::mem::take(&mut self.batch));
        self.queue.push(batch, std::mem::take(&mut self.about));
        Ok(())
    }

    /// Writes the members of the first batch that waits; false when there is none.
    fn write_one(&mut self) -> Result<bool> {
        let Some((batch, about)) = self.queue.pop() else { return Ok(false) };
        self.write(batch, about)?;
        Ok(true)
    }

    fn write(&mut self, batch: Batch, about: Vec<Waiting>) -> Result<()> {
        let mut files = batch.into_iter();
        for waiting in about {
            let (mut entry, path) = match waiting {
                Waiting::Complete(entry) => {
                    let path = PathBuf::from(std::ffi::OsStr::from_bytes(&entry.path));
                    let written = self.tar.entry(&entry);
                    written.map_err(|error| SnapshotError::io("write to the archive", &path, error))?;
                    continue;
                }
                Waiting::File(entry, path) => (entry, path),
            };
            let read = |error: std::io::Error| SnapshotError::io("read", &path, error);
            let write = |error: std::io::Error| SnapshotError::io("write to the archive", &path, error);
            let opened = files.next().expect("each file was read").map_err(read)?;
            let Kind::File(mut left) = entry.kind else { unreachable!("only files wait to be read") };
            entry.xattrs = opened.xattrs;
            self.tar.entry(&entry).map_err(write)?;
            let mut file = match opened.content {
                Content::Bytes(bytes) => {
                    self.tar.content(&bytes).map_err(write)?;
                    continue;
                }
                Content::File(file) => file,
            };
            // A committed layer does not change: the read that would say "no more" is spared.
            while left > 0 {
                match file.read(&mut self.buffer) {
                    Ok(0) => break,
                    Ok(count) => {
                        self.tar.content(&self.buffer[..count]).map_err(write)?;
                        left = left.saturating_sub(count as u64);
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(read(error)),
                }
            }
        }
        Ok(())
    }

    /// Writes all that waits, and returns the archive, which is not ended yet.
    fn finish(mut self) -> Result<TarWriter<BufWriter<Sha256Writer<W>>>> {
        while self.write_one()? {}
        let (batch, about) = (std::mem::take(&mut self.batch), std::mem::take(&mut self.about));
        self.write(prefetch::read(&batch), about)?;
        Ok(self.tar)
    }

    /// Writes the root when it differs from the one that unpacking makes by itself.
    pub(crate) fn root(&mut self, root: impl AsFd, layer: &Path) -> Result<()> {
        let fail = |error: std::io::Error| SnapshotError::io("read", layer, error);
        let stat = rustix::fs::fstat(&root).map_err(|error| fail(error.into()))?;
        let metadata = Metadata::from(&stat);
        let xattrs = xattr::read(&root).map_err(fail)?;
        if (metadata.mode, metadata.uid, metadata.gid) == (0o755, 0, 0) && xattrs.is_empty() {
            return Ok(());
        }
        let mut entry = self.describe(b"./".to_vec(), Kind::Directory, &stat);
        entry.xattrs = xattrs;
        self.tar.entry(&entry).map_err(|error| SnapshotError::io("write the archive of", layer, error))
    }

    pub(crate) fn add(&mut self, node: &Node<'_>) -> Result<Flow> {
        let read = |error: std::io::Error| SnapshotError::io("read", node.path, error);
        let path = node.path.as_os_str().as_bytes().to_vec();
        if self.form == Form::Layer && is_whiteout(node.stat) {
            self.whiteout(node.path)?;
            return Ok(Flow::Skip);
        }
        let metadata = Metadata::from(node.stat);
        let several = metadata.kind != FileKind::Directory && node.stat.st_nlink > 1;
        let inode = (node.stat.st_dev, node.stat.st_ino);
        if several && let Some(first) = self.linked.get(&inode) {
            let target = first.as_os_str().as_bytes().to_vec();
            let entry = self.describe(path, Kind::Hardlink(target), node.stat);
            self.put(entry)?;
            return Ok(Flow::Skip);
        }
        let device = || (rustix::fs::major(node.stat.st_rdev), rustix::fs::minor(node.stat.st_rdev));
        let open = |more: OFlags| {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | more;
            openat(node.directory, node.name, flags, Mode::empty())
        };
        match metadata.kind {
            FileKind::File => {
                let entry = self.describe(path, Kind::File(metadata.size), node.stat);
                self.put_file(entry, node, metadata.size)?;
            }
            FileKind::Directory => {
                let directory = open(OFlags::DIRECTORY).map_err(|error| read(error.into()))?;
                let mut name = path;
                name.push(b'/');
                let mut entry = self.describe(name, Kind::Directory, node.stat);
                entry.xattrs = xattr::read(&directory).map_err(read)?;
                self.put(entry)?;
                if self.form == Form::Layer && xattr::is_opaque(&directory).map_err(read)? {
                    self.opaque(node.path)?;
                }
            }
            FileKind::Symlink => {
                let target = rustix::fs::readlinkat(node.directory, node.name, Vec::new())
                    .map_err(|error| read(error.into()))?;
                let entry = self.describe(path, Kind::Symlink(target.into_bytes()), node.stat);
                self.put(entry)?;
            }
            FileKind::Character | FileKind::Block | FileKind::Fifo => {
                let (major, minor) = device();
                let kind = match metadata.kind {
                    FileKind::Character => Kind::Character(major, minor),
                    FileKind::Block => Kind::Block(major, minor),
                    _ => Kind::Fifo,
                };
                let entry = self.describe(path, kind, node.stat);
                self.put(entry)?;
            }
            FileKind::Socket => return Ok(Flow::Skip),
        }
        if several {
            self.linked.insert(inode, node.path.to_owned());
        }
        Ok(Flow::Enter)
    }

    fn describe(&self, path: Vec<u8>, kind: Kind, stat: &Stat) -> Entry {
        let metadata = Metadata::from(stat);
        let seconds = self.latest.map_or(metadata.mtime.0, |latest| metadata.mtime.0.min(latest));
        let mode = if metadata.kind == FileKind::Symlink { 0o777 } else { metadata.mode };
        let mtime = Time { seconds, nanoseconds: 0 };
        Entry { path, kind, mode, uid: metadata.uid, gid: metadata.gid, mtime, xattrs: Vec::new() }
    }
}

/// Returns an empty file whose name is a message to whoever unpacks the layer.
fn marker(path: &Path) -> Entry {
    Entry {
        path: path.as_os_str().as_bytes().to_vec(),
        kind: Kind::File(0),
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: Time::default(),
        xattrs: Vec::new(),
    }
}

/// Returns the bytes on disk below a directory; a file with several names counts once.
pub(crate) fn usage(layer: &Path) -> Result<u64> {
    let root = snapshots::open_directory(layer)?;
    let mut seen = HashSet::new();
    let mut bytes = 0;
    visit(root.as_fd(), Path::new(""), &mut |node| {
        let single = node.stat.st_nlink <= 1 || Metadata::from(node.stat).kind == FileKind::Directory;
        if single || seen.insert((node.stat.st_dev, node.stat.st_ino)) {
            bytes += node.stat.st_blocks as u64 * 512;
        }
        Ok(Flow::Enter)
    })?;
    Ok(bytes)
}
