//! What is below a path, each file with a digest of its bytes, found by several threads.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, openat};
use rustix::io::Errno;

use super::KnownDigests;
use crate::error::{Result, SnapshotError};
use crate::rootfs::node::entries_in;
use crate::rootfs::{FileKind, Filter, Metadata, RootFs, Visit, open_in_root, threads};

/// Files of one directory that one thread looks at.
const BATCH: usize = 256;

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Nothing that counts: a directory, pipe or socket.
    None,
    /// Bytes with this BLAKE3 digest.
    Bytes([u8; 32]),
    /// The text of a link.
    Link(OsString),
    /// A device's number.
    Device(u64),
}

/// One file, directory or link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeEntry {
    /// Relative to where the listing began; empty for the beginning itself.
    pub path: PathBuf,
    /// What it is.
    pub metadata: Metadata,
    /// What it holds.
    pub content: Content,
}

/// Returns a path (links on the way and at its end followed) and what is below it that `filter` takes, in the order of
/// names, directories before what they hold.
///
/// The filter gets paths relative to the root. A directory that it only descends into is listed when something below
/// it is.
pub fn list_tree(
    root: &RootFs,
    path: &Path,
    filter: Option<Filter<'_>>,
    known: Option<&KnownDigests>,
) -> Result<Vec<TreeEntry>> {
    let start =
        root.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).or_else(
            |error| match error {
                // A device without a driver, a socket: nothing to read, but it can be named.
                SnapshotError::Io { .. } if !error.is_not_found() => {
                    root.open_at(path, OFlags::PATH, Mode::empty())
                }
                other => Err(other),
            },
        )?;
    let look = |error: Errno| SnapshotError::io("look up", path, error);
    let stat = rustix::fs::statat(&start, "", AtFlags::EMPTY_PATH).map_err(look)?;
    let metadata = Metadata::from(&stat);
    let mut reader = Reader { known, buffer: Vec::new() };
    if metadata.kind != FileKind::Directory {
        let content = match metadata.kind {
            FileKind::File => Content::Bytes(
                reader
                    .digest(File::from(start), &stat)
                    .map_err(|error| SnapshotError::io("read", path, error))?,
            ),
            FileKind::Character | FileKind::Block => Content::Device(stat.st_rdev),
            _ => Content::None,
        };
        return Ok(vec![TreeEntry { path: PathBuf::new(), metadata, content }]);
    }
    let prefix = path.strip_prefix("/").or_else(|_| path.strip_prefix(".")).unwrap_or(path);
    let walk = Walk { root: &start, prefix, filter, state: Mutex::default(), changed: Condvar::new() };
    walk.state().todo.push(Task::Directory { path: PathBuf::new(), listed: true });
    let count = threads();
    thread::scope(|scope| {
        for _ in 1..count {
            scope.spawn(|| walk.work(Reader { known, buffer: Vec::new() }));
        }
        walk.work(reader);
    });
    let mut state = walk.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(failure) = state.failure.take() {
        return Err(failure);
    }
    Ok(in_order(state.found))
}

/// Entries of one directory; `chunk` 0 begins with the directory itself.
struct Found {
    directory: PathBuf,
    chunk: usize,
    /// Whether the directory was taken, or only descended into.
    listed: bool,
    entries: Vec<TreeEntry>,
}

fn in_order(mut found: Vec<Found>) -> Vec<TreeEntry> {
    found.sort_unstable_by(|one, two| one.directory.cmp(&two.directory).then(one.chunk.cmp(&two.chunk)));
    // From the end: a directory that was only descended into counts when something below it does.
    let mut below: Option<PathBuf> = None;
    for part in found.iter_mut().rev() {
        let holds = part.entries.len() > usize::from(part.chunk == 0);
        let needed =
            part.listed || holds || below.as_ref().is_some_and(|below| below.starts_with(&part.directory));
        if needed {
            below = Some(part.directory.clone());
        } else {
            part.entries.clear();
        }
    }
    found.into_iter().flat_map(|part| part.entries).collect()
}

enum Task {
    Directory {
        path: PathBuf,
        listed: bool,
    },
    Files {
        directory: Arc<OwnedFd>,
        path: Arc<PathBuf>,
        chunk: usize,
        listed: bool,
        files: Vec<(OsString, FileType)>,
    },
}

#[derive(Default)]
struct State {
    todo: Vec<Task>,
    running: usize,
    failure: Option<SnapshotError>,
    found: Vec<Found>,
}

struct Walk<'a> {
    root: &'a OwnedFd,
    /// What paths are relative to, relative to the root that the filter knows.
    prefix: &'a Path,
    filter: Option<Filter<'a>>,
    state: Mutex<State>,
    changed: Condvar,
}

impl Walk<'_> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, mut reader: Reader<'_>) {
        let mut state = self.state();
        loop {
            if let Some(task) = state.todo.pop() {
                state.running += 1;
                drop(state);
                let result = self.carry_out(task, &mut reader);
                state = self.state();
                state.running -= 1;
                match result {
                    Ok((found, mut more)) => {
                        state.found.push(found);
                        state.todo.append(&mut more);
                    }
                    Err(error) => {
                        state.failure.get_or_insert(error);
                        state.todo.clear();
                    }
                }
                self.changed.notify_all();
            } else if state.running == 0 {
                return;
            } else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn carry_out(&self, task: Task, reader: &mut Reader<'_>) -> Result<(Found, Vec<Task>)> {
        match task {
            Task::Directory { path, listed } => self.directory(path, listed, reader),
            Task::Files { directory, path, chunk, listed, files } => {
                let entries = reader.files(&directory, &path, files)?;
                let directory = Arc::unwrap_or_clone(path);
                Ok((Found { directory, chunk, listed, entries }, Vec::new()))
            }
        }
    }

    fn directory(&self, path: PathBuf, listed: bool, reader: &mut Reader<'_>) -> Result<(Found, Vec<Task>)> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let directory =
            match open_in_root(self.root.as_fd(), &path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
                Ok(directory) => directory,
                // Removed since its name was read.
                Err(Errno::NOENT) if !path.as_os_str().is_empty() => {
                    return Ok((
                        Found { directory: path, chunk: 0, listed, entries: Vec::new() },
                        Vec::new(),
                    ));
                }
                Err(error) => return Err(SnapshotError::io("read the directory", &path, error)),
            };
        let fail = |error: io::Error| SnapshotError::io("read the directory", &path, error);
        let stat = rustix::fs::fstat(&directory).map_err(|error| fail(error.into()))?;
        let own = TreeEntry { path: path.clone(), metadata: Metadata::from(&stat), content: Content::None };
        let (mut files, mut more) = (Vec::new(), Vec::new());
        for (name, kind) in entries_in(&directory).map_err(fail)? {
            let is_directory = kind == FileType::Directory;
            let verdict = match self.filter {
                None => Visit::Take,
                Some(filter) => filter(&self.prefix.join(&path).join(&name), is_directory),
            };
            match verdict {
                Visit::Take | Visit::Descend if is_directory => {
                    more.push(Task::Directory { path: path.join(&name), listed: verdict == Visit::Take });
                }
                // Sockets are never copied.
                Visit::Take if kind != FileType::Socket => files.push((name, kind)),
                Visit::Take | Visit::Skip | Visit::Descend => {}
            }
        }
        // Others may take what is left over of a large directory.
        let rest = if files.len() > BATCH { files.split_off(BATCH) } else { Vec::new() };
        let mut entries = vec![own];
        let directory = Arc::new(directory);
        let shared = Arc::new(path);
        let mut rest = rest.into_iter().peekable();
        let mut chunk = 1;
        while rest.peek().is_some() {
            let files = rest.by_ref().take(BATCH).collect();
            let (directory, path) = (directory.clone(), shared.clone());
            more.push(Task::Files { directory, path, chunk, listed, files });
            chunk += 1;
        }
        entries.extend(reader.files(&directory, &shared, files)?);
        Ok((Found { directory: Arc::unwrap_or_clone(shared), chunk: 0, listed, entries }, more))
    }
}

/// What reads files.
struct Reader<'a> {
    known: Option<&'a KnownDigests>,
    buffer: Vec<u8>,
}

impl Reader<'_> {
    fn files(
        &mut self,
        directory: &OwnedFd,
        path: &Path,
        files: Vec<(OsString, FileType)>,
    ) -> Result<Vec<TreeEntry>> {
        let mut entries = Vec::with_capacity(files.len());
        for (name, _) in files {
            let path = path.join(&name);
            match self.entry(directory, &name) {
                Ok((metadata, content)) => entries.push(TreeEntry { path, metadata, content }),
                // Removed since its name was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(SnapshotError::io("read", &path, error)),
            }
        }
        Ok(entries)
    }

    fn entry(&mut self, directory: &OwnedFd, name: &OsStr) -> io::Result<(Metadata, Content)> {
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let metadata = Metadata::from(&stat);
        let content = match metadata.kind {
            FileKind::File => {
                if let Some(digest) = self.known.and_then(|known| known.get(&stat)) {
                    return Ok((metadata, Content::Bytes(digest)));
                }
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let file = File::from(openat(directory, name, flags, Mode::empty())?);
                let stat = rustix::fs::fstat(&file)?;
                Content::Bytes(self.digest(file, &stat)?)
            }
            FileKind::Symlink => {
                let target = rustix::fs::readlinkat(directory, name, Vec::new())?;
                Content::Link(OsString::from_vec(target.into_bytes()))
            }
            FileKind::Character | FileKind::Block => Content::Device(stat.st_rdev),
            FileKind::Directory | FileKind::Fifo | FileKind::Socket => Content::None,
        };
        Ok((metadata, content))
    }

    /// Hashes an open file, of which `stat` was just asked.
    fn digest(&mut self, mut file: File, stat: &Stat) -> io::Result<[u8; 32]> {
        if let Some(digest) = self.known.and_then(|known| known.get(stat)) {
            return Ok(digest);
        }
        let began = known_clock(self.known);
        self.buffer.resize(256 << 10, 0);
        let mut hasher = blake3::Hasher::new();
        let mut total = 0;
        loop {
            match file.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(count) => {
                    hasher.update(&self.buffer[..count]);
                    total += count as u64;
                    if total == stat.st_size as u64 && total < self.buffer.len() as u64 {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let digest = *hasher.finalize().as_bytes();
        if let (Some(known), Some(began)) = (self.known, began) {
            // Written to while it was read: what was read belongs to no state of the file.
            let after = rustix::fs::fstat(&file)?;
            known.put(stat, &after, digest, began);
        }
        Ok(digest)
    }
}

fn known_clock(known: Option<&KnownDigests>) -> Option<i64> {
    known.map(|_| KnownDigests::now())
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn a_large_directory_is_listed_in_order() {
        let directory = tempfile::tempdir().unwrap();
        for number in 0..1000 {
            std::fs::write(directory.path().join(format!("{number:04}")), b"x").unwrap();
        }
        std::fs::create_dir(directory.path().join("0500.d")).unwrap();
        std::fs::write(directory.path().join("0500.d/inner"), b"y").unwrap();
        let root = RootFs::open_directory(directory.path()).unwrap();
        let list = |known| list_tree(&root, Path::new("/"), None, known).unwrap();
        let first = list(None);
        assert_eq!(first.len(), 1 + 1000 + 2);
        assert_eq!(first[0].path, Path::new(""));
        let bytes: Vec<&[u8]> = first.iter().map(|entry| entry.path.as_os_str().as_bytes()).collect();
        assert_eq!(bytes[..3], [&b""[..], b"0000", b"0001"]);
        assert_eq!(list(None), first);
        let known = KnownDigests::default();
        assert_eq!(list(Some(&known)), first);
    }

    #[test]
    fn directories_that_are_only_descended_into_are_listed_when_they_hold_something() {
        let directory = tempfile::tempdir().unwrap();
        for path in ["a/b/keep", "a/c/drop", "d/drop"] {
            std::fs::create_dir_all(directory.path().join(path).parent().unwrap()).unwrap();
            std::fs::write(directory.path().join(path), b"x").unwrap();
        }
        let root = RootFs::open_directory(directory.path()).unwrap();
        let filter = |path: &Path, is_directory: bool| match path.file_name().and_then(OsStr::to_str) {
            Some("keep") => Visit::Take,
            _ if is_directory => Visit::Descend,
            _ => Visit::Skip,
        };
        let listed = list_tree(&root, Path::new("/"), Some(&filter), None).unwrap();
        let paths: Vec<&Path> = listed.iter().map(|entry| entry.path.as_path()).collect();
        assert_eq!(paths, ["", "a", "a/b", "a/b/keep"].map(Path::new));
    }
}
