//! Files of a layer, read by several threads ahead of the one that writes and hashes the archive.
//!
//! The writer needs them in order; what is ahead of it is bounded: [`AHEAD`] batches of [`BATCH`] files, of which
//! large ones are only opened.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;

use rustix::fs::{Mode, OFlags, openat};

use crate::rootfs::threads;
use crate::xattr::{self, Xattr};

/// Files that one thread reads at a time.
pub(crate) const BATCH: usize = 32;
/// Batches that are ahead of the writer.
pub(crate) const AHEAD: usize = 8;
/// Larger files are read by the writer itself.
const SMALL: u64 = 64 << 10;

/// A file to read.
pub(crate) struct Wanted {
    pub directory: Arc<OwnedFd>,
    pub name: OsString,
    pub size: u64,
}

/// A file that was opened.
pub(crate) struct Opened {
    pub xattrs: Vec<Xattr>,
    pub content: Content,
}

/// Its bytes, or the file to read them from.
pub(crate) enum Content {
    Bytes(Vec<u8>),
    File(File),
}

/// What a batch came to, file by file.
pub(crate) type Batch = Vec<io::Result<Opened>>;

type Job = (Vec<Wanted>, SyncSender<Batch>);

/// The threads that read ahead.
pub(crate) struct Readers {
    jobs: SyncSender<Job>,
}

impl Readers {
    /// Starts the threads; they end when the readers are dropped.
    pub(crate) fn start<'scope>(scope: &'scope Scope<'scope, '_>) -> Self {
        let (jobs, taken) = sync_channel::<Job>(AHEAD);
        let taken = Arc::new(Mutex::new(taken));
        for _ in 0..threads() {
            let taken = taken.clone();
            scope.spawn(move || {
                loop {
                    let job = taken.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((wanted, reply)) = job else { return };
                    // Nobody waits for it any more when the archive could not be written.
                    let _ = reply.send(read(&wanted));
                }
            });
        }
        Self { jobs }
    }

    /// Has a batch read, and returns where its files will come from.
    pub(crate) fn read(&self, wanted: Vec<Wanted>) -> Receiver<Batch> {
        let (reply, batch) = sync_channel(1);
        // Readers end only after this.
        let _ = self.jobs.send((wanted, reply));
        batch
    }
}

/// Reads a batch.
pub(crate) fn read(wanted: &[Wanted]) -> Batch {
    wanted.iter().map(open).collect()
}

fn open(wanted: &Wanted) -> io::Result<Opened> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = File::from(openat(&wanted.directory, &*wanted.name, flags, Mode::empty())?);
    let xattrs = xattr::read(&file)?;
    if wanted.size > SMALL {
        return Ok(Opened { xattrs, content: Content::File(file) });
    }
    let mut bytes = vec![0; wanted.size as usize];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    // A file that shrank is found out by the writer.
    bytes.truncate(filled);
    Ok(Opened { xattrs, content: Content::Bytes(bytes) })
}

/// What is to be written, in order.
pub(crate) struct Queue<T> {
    waiting: VecDeque<(Receiver<Batch>, Vec<T>)>,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self { waiting: VecDeque::new() }
    }

    pub(crate) fn push(&mut self, batch: Receiver<Batch>, about: Vec<T>) {
        self.waiting.push_back((batch, about));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= AHEAD
    }

    /// Waits for the first batch.
    pub(crate) fn pop(&mut self) -> Option<(Batch, Vec<T>)> {
        let (batch, about) = self.waiting.pop_front()?;
        let batch = batch.recv().unwrap_or_else(|_| {
            about.iter().map(|_| Err(io::Error::other("a reading thread ended early"))).collect()
        });
        Some((batch, about))
    }
}
