//! Copying what is below a directory.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, openat};
use rustix::io::Errno;

use super::entry::{failed, replace};
use super::{Copier, CopyOptions, CopySummary, READ, Visit};
use crate::error::{Result, SnapshotError};
use crate::rootfs::node::{entries_in, make_directory};
use crate::rootfs::{FileKind, Metadata, Node, RootFs, open_in_root, set_attributes, set_mtime, threads};
use crate::xattr;

/// Files that one thread takes at a time.
const BATCH: usize = 64;
/// Batches that may wait; each holds two directories open.
const WAITING: usize = 16;

/// Files of one directory to copy.
struct Batch {
    source: Arc<OwnedFd>,
    target: Arc<OwnedFd>,
    path: Arc<PathBuf>,
    files: Vec<(OsString, FileType)>,
}

/// What the threads share.
struct Shared<'a> {
    from: &'a RootFs,
    to: &'a RootFs,
    base: &'a Path,
    options: &'a CopyOptions<'a>,
    stop: AtomicBool,
    failure: Mutex<Option<SnapshotError>>,
    summary: Mutex<CopySummary>,
    /// Files with several names, which are copied once: device and inode, and the names seen.
    linked: Mutex<BTreeMap<(u64, u64), Vec<PathBuf>>>,
}

/// The walk, which makes the directories.
struct Walk<'s> {
    shared: &'s Shared<'s>,
    known: HashSet<PathBuf>,
    /// Times of directories, set at the end because writing into them changes them.
    times: Vec<(PathBuf, (i64, u32))>,
}

/// Copies what is below `from` into the directory `base` of `to`, which exists.
pub(super) fn copy(
    from: &RootFs,
    to: &RootFs,
    base: &Path,
    source: &Metadata,
    options: &CopyOptions<'_>,
) -> Result<CopySummary> {
    let shared = Shared {
        from,
        to,
        base,
        options,
        stop: AtomicBool::new(false),
        failure: Mutex::default(),
        summary: Mutex::default(),
        linked: Mutex::default(),
    };
    let mut walk =
        Walk { shared: &shared, known: HashSet::new(), times: vec![(PathBuf::new(), source.mtime)] };
    let (sender, receiver) = sync_channel(WAITING);
    let receiver = Mutex::new(receiver);
    let walked = thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(|| shared.work(&receiver));
        }
        let walked = walk.run(&sender);
        drop(sender);
        walked
    });
    let times = std::mem::take(&mut walk.times);
    drop(walk);
    shared.result(walked)?;
    shared.links()?;
    if options.keep_mtime {
        for (path, mtime) in times.into_iter().rev() {
            let destination = base.join(&path);
            let directory = to.open_at(&destination, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
            set_mtime(directory.as_fd(), OsStr::new(""), options.mtime(mtime))
                .map_err(|error| SnapshotError::io("set the time of", &destination, error))?;
        }
    }
    Ok(shared.summary.into_inner().unwrap_or_else(PoisonError::into_inner))
}

impl Walk<'_> {
    fn run(&mut self, batches: &SyncSender<Batch>) -> Result<()> {
        let mut todo = vec![(PathBuf::new(), Visit::Take)];
        while let Some((path, verdict)) = todo.pop() {
            if self.shared.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let source = self.source(&path)?;
            let mut target = match verdict {
                Visit::Take => Some(self.target(&path, &source)?),
                Visit::Descend | Visit::Skip => None,
            };
            let entries = entries_in(&source).map_err(|error| SnapshotError::io("list", &path, error))?;
            let (mut files, mut below) = (Vec::new(), Vec::new());
            for (name, kind) in entries {
                let child = path.join(&name);
                let is_directory = kind == FileType::Directory;
                let visit =
                    self.shared.options.filter.map_or(Visit::Take, |filter| filter(&child, is_directory));
                match visit {
                    Visit::Take | Visit::Descend if is_directory => below.push((child, visit)),
                    Visit::Take => files.push((name, kind)),
                    Visit::Skip | Visit::Descend => {}
                }
            }
            if !files.is_empty() {
                let target = match target.take() {
                    Some(target) => target,
                    None => self.target(&path, &source)?,
                };
                let (source, target, path) = (Arc::new(source), Arc::new(target), Arc::new(path));
                let mut files = files.into_iter().peekable();
                while files.peek().is_some() {
                    let files = files.by_ref().take(BATCH).collect();
                    let batch =
                        Batch { source: source.clone(), target: target.clone(), path: path.clone(), files };
                    if batches.send(batch).is_err() {
                        return Ok(());
                    }
                }
            }
            todo.extend(below.into_iter().rev());
        }
        Ok(())
    }

    fn source(&self, path: &Path) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        open_in_root(self.shared.from.as_fd(), path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
            .map_err(|error| SnapshotError::io("read the directory", path, error))
    }

    /// Opens the place of a source directory, and makes it when it is missing.
    fn target(&mut self, path: &Path, source: &OwnedFd) -> Result<OwnedFd> {
        let destination = self.shared.base.join(path);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let open = |more: OFlags| {
            open_in_root(
                self.shared.to.as_fd(),
                &destination,
                flags | more,
                Mode::empty(),
                ResolveFlags::empty(),
            )
        };
        let fail = |error: io::Error| SnapshotError::io("make the directory", &destination, error);
        if path.as_os_str().is_empty() {
            return open(OFlags::empty()).map_err(|error| fail(error.into()));
        }
        let stat = rustix::fs::fstat(source).map_err(|error| SnapshotError::io("look up", path, error))?;
        let metadata = Metadata::from(&stat);
        let attributes = self.shared.options.attributes(&metadata);
        let directory = match open(OFlags::NOFOLLOW) {
            Ok(directory) => {
                let stat = rustix::fs::fstat(&directory).map_err(|error| fail(error.into()))?;
                let there = Metadata::from(&stat);
                if (there.mode, there.uid, there.gid) != (attributes.mode, attributes.uid, attributes.gid) {
                    set_attributes(&directory, &attributes).map_err(fail)?;
                }
                directory
            }
            Err(Errno::NOENT) => {
                let parent = path.parent().unwrap_or(Path::new(""));
                if !self.known.contains(parent) && !parent.as_os_str().is_empty() {
                    let above = self.source(parent)?;
                    self.target(parent, &above)?;
                }
                let (held, name) = self.shared.to.open_parent(&destination)?;
                make_directory(&held, &name, &attributes).map_err(fail)?
            }
            // A link to a directory stands for that directory, whose attributes are its own.
            Err(Errno::LOOP | Errno::NOTDIR) => {
                self.known.insert(path.to_owned());
                return open(OFlags::empty()).map_err(|_| SnapshotError::Occupied {
                    path: destination.clone(),
                    wanted: "a directory",
                    by: "something else",
                });
            }
            Err(error) => return Err(fail(error.into())),
        };
        let xattrs = xattr::read(source).map_err(fail)?;
        xattr::write(&directory, &xattrs).map_err(fail)?;
        if self.known.insert(path.to_owned()) {
            self.times.push((path.to_owned(), metadata.mtime));
        }
        Ok(directory)
    }
}

impl Shared<'_> {
    fn result(&self, walked: Result<()>) -> Result<()> {
        match self.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(failure) => Err(failure),
            None => walked,
        }
    }

    fn fail(&self, error: SnapshotError) {
        self.stop.store(true, Ordering::Relaxed);
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    fn add(&self, done: CopySummary) {
        let mut summary = self.summary.lock().unwrap_or_else(PoisonError::into_inner);
        summary.files += done.files;
        summary.bytes += done.bytes;
    }

    /// Copies batches until there are no more. After a failure it still takes them, so that the walk does not wait.
    fn work(&self, batches: &Mutex<Receiver<Batch>>) {
        let mut copier = Copier::new(self.options);
        let mut done = CopySummary::default();
        loop {
            let batch = batches.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(batch) = batch else { break };
            copier.next_directory();
            for (name, kind) in &batch.files {
                if self.stop.load(Ordering::Relaxed) {
                    break;
                }
                if let Err(error) = self.one(&batch, name, *kind, &mut copier, &mut done) {
                    self.fail(error);
                }
            }
        }
        self.add(done);
    }

    fn one(
        &self,
        batch: &Batch,
        name: &OsStr,
        kind: FileType,
        copier: &mut Copier<'_>,
        done: &mut CopySummary,
    ) -> Result<()> {
        let path = || batch.path.join(name);
        if kind == FileType::RegularFile {
            let file = match openat(&batch.source, name, READ, Mode::empty()) {
                Ok(file) => File::from(file),
                // Removed since its name was read.
                Err(Errno::NOENT) => return Ok(()),
                Err(error) => return Err(SnapshotError::io("read", &path(), error)),
            };
            let stat = rustix::fs::fstat(&file).map_err(|error| SnapshotError::io("read", &path(), error))?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                return Err(SnapshotError::io("read", &path(), Errno::INVAL));
            }
            if stat.st_nlink > 1 {
                self.remember(&stat, path());
                return Ok(());
            }
            done.bytes += copier
                .file(file, &stat, batch.target.as_fd(), name)
                .map_err(|error| failed(error, &self.base.join(path())))?;
            done.files += 1;
            return Ok(());
        }
        let stat = match rustix::fs::statat(&batch.source, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(SnapshotError::io("look up", &path(), error)),
        };
        if Metadata::from(&stat).kind == FileKind::File && stat.st_nlink > 1 {
            self.remember(&stat, path());
            return Ok(());
        }
        let path = path();
        let node = Node { path: &path, directory: batch.source.as_fd(), name, stat: &stat };
        copier.node(&node, batch.target.as_fd(), name, done)
    }

    fn remember(&self, stat: &rustix::fs::Stat, path: PathBuf) {
        let mut linked = self.linked.lock().unwrap_or_else(PoisonError::into_inner);
        linked.entry((stat.st_dev, stat.st_ino)).or_default().push(path);
    }

    /// Copies the files that have several names, each once, and gives them the names that were taken.
    fn links(&self) -> Result<()> {
        let linked = std::mem::take(&mut *self.linked.lock().unwrap_or_else(PoisonError::into_inner));
        if linked.is_empty() {
            return Ok(());
        }
        let groups: Vec<Vec<PathBuf>> = linked.into_values().collect();
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..threads().min(groups.len()) {
                scope.spawn(|| {
                    let mut copier = Copier::new(self.options);
                    let mut done = CopySummary::default();
                    while let Some(group) = groups.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if self.stop.load(Ordering::Relaxed) {
                            break;
                        }
                        if let Err(error) = self.group(group, &mut copier, &mut done) {
                            self.fail(error);
                        }
                    }
                    self.add(done);
                });
            }
        });
        self.result(Ok(()))
    }

    fn group(&self, names: &[PathBuf], copier: &mut Copier<'_>, done: &mut CopySummary) -> Result<()> {
        let first = names.iter().min().expect("a group has a name");
        copier.next_directory();
        let (source, source_name) = self.from.open_parent(first)?;
        let (target, target_name) = self.to.open_parent(&self.base.join(first))?;
        let stat = match rustix::fs::statat(&source, &*source_name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(SnapshotError::io("look up", first, error)),
        };
        let node = Node { path: first, directory: source.as_fd(), name: &source_name, stat: &stat };
        copier.node(&node, target.as_fd(), &target_name, done)?;
        for other in names.iter().filter(|name| *name != first) {
            let (directory, name) = self.to.open_parent(&self.base.join(other))?;
            replace(directory.as_fd(), &name, || {
                Ok(rustix::fs::linkat(&target, &*target_name, &directory, &*name, AtFlags::empty())?)
            })
            .map_err(|error| failed(error, other))?;
            done.files += 1;
        }
        Ok(())
    }
}
