//! Where a supervisor hands the container's output to: the log itself, or, with `mode=non-blocking`, a child that writes
//! it, so that the container does not wait for a slow disk. What does not fit into the buffer meanwhile is dropped.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::{LogWriter, Source};
use crate::{config, syscall};

/// How long the end of a container waits for what is buffered to be written.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes before those of a chunk: whose it is, and how many.
const HEADER: usize = 5;
/// The kind of chunk that says that a run has ended.
const FINISH: u8 = 2;

/// A container's log as its supervisor sees it.
pub(crate) enum Logger {
    /// Written at once.
    Direct(Box<LogWriter>),
    /// Written by a child.
    Relayed(Relay),
}

impl Logger {
    pub fn open(bounds: config::Log) -> io::Result<Self> {
        match bounds.buffer {
            None => LogWriter::open(bounds).map(|writer| Self::Direct(Box::new(writer))),
            Some(limit) => {
                let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                let mut relay = Relay { bounds, limit, child: None, pending: Vec::new() };
                relay.start()?;
                Ok(Self::Relayed(relay))
            }
        }
    }

    /// Takes what one read of a stream brought.
    pub fn take(&mut self, source: Source, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Direct(writer) => writer.take(source, bytes),
            Self::Relayed(relay) => relay.take(source, bytes),
        }
    }

    /// Says that a run has ended: begun lines are written.
    pub fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Direct(writer) => writer.finish(),
            Self::Relayed(relay) => {
                relay.push(FINISH, &[]);
                relay.flush();
                Ok(())
            }
        }
    }

    /// Gives up buffers that an idle shim does not need.
    pub fn rest(&mut self) {
        match self {
            Self::Direct(writer) => writer.rest(),
            Self::Relayed(relay) => relay.pending.shrink_to_fit(),
        }
    }

    pub fn due(&self) -> Option<Instant> {
        match self {
            Self::Direct(writer) => writer.due(),
            Self::Relayed(_) => None,
        }
    }

    pub fn keep_time(&mut self, now: Instant) {
        if let Self::Direct(writer) = self {
            writer.keep_time(now);
        }
    }

    /// Takes note of a child's end; says whether it was ours.
    pub fn child_ended(&mut self, pid: i32) -> bool {
        match self {
            Self::Direct(writer) => writer.child_ended(pid),
            Self::Relayed(relay) => relay.child_ended(pid),
        }
    }

    /// Returns what must accept bytes before [`Self::flush`] can do more.
    pub fn waiting(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Relayed(Relay { child: Some((_, pipe)), pending, .. }) if !pending.is_empty() => {
                Some(pipe.as_fd())
            }
            Self::Direct(_) | Self::Relayed(_) => None,
        }
    }

    /// Hands on what is buffered, as far as it is accepted now.
    pub fn flush(&mut self) {
        if let Self::Relayed(relay) = self {
            relay.flush();
        }
    }

    /// Sees to it that all is written, when nothing more comes.
    pub fn end(&mut self) {
        if let Self::Relayed(relay) = self {
            relay.end();
        }
    }
}

/// The buffer before a child that writes the log.
pub(crate) struct Relay {
    bounds: config::Log,
    limit: usize,
    child: Option<(i32, OwnedFd)>,
    pending: Vec<u8>,
}

impl Relay {
    fn start(&mut self) -> io::Result<()> {
        let (reader, writer) = io::pipe()?;
        let bounds = self.bounds.clone();
        let mut reader = Some(reader);
        let pid = syscall::fork(|| {
            // Not below 3 and not closed: everything else is.
            let Some(reader) = reader.take() else { return 1 };
            let Ok(reader) = rustix::io::fcntl_dupfd_cloexec(&reader, 3) else { return 1 };
            if rustix::stdio::dup2_stdin(&reader).is_err() {
                return 1;
            }
            syscall::close_from(3);
            i32::from(write_log(bounds).is_err())
        })?;
        let writer = OwnedFd::from(writer);
        rustix::fs::fcntl_setfl(&writer, rustix::fs::fcntl_getfl(&writer)? | OFlags::NONBLOCK)?;
        self.child = Some((pid, writer));
        Ok(())
    }

    fn take(&mut self, source: Source, bytes: &[u8]) -> io::Result<()> {
        if self.child.is_none() {
            self.start()?;
        }
        self.flush();
        if self.pending.len() + bytes.len() <= self.limit.max(bytes.len()) {
            self.push(source as u8, bytes);
        }
        self.flush();
        Ok(())
    }

    fn push(&mut self, kind: u8, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).expect("one read is small");
        self.pending.push(kind);
        self.pending.extend_from_slice(&length.to_le_bytes());
        self.pending.extend_from_slice(bytes);
    }

    fn flush(&mut self) {
        let Some((_, pipe)) = &self.child else { return };
        let mut sent = 0;
        while sent < self.pending.len() {
            match rustix::io::write(pipe, &self.pending[sent..]) {
                Ok(count) => sent += count,
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        self.pending.drain(..sent);
    }

    fn child_ended(&mut self, pid: i32) -> bool {
        let ours = self.child.as_ref().is_some_and(|(child, _)| *child == pid);
        if ours {
            // The next one would misread the rest of a chunk.
            self.child = None;
            self.pending.clear();
        }
        ours
    }

    fn end(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while let Some((_, pipe)) = &self.child
            && !self.pending.is_empty()
        {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = rustix::time::Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: 1_000_000 };
            let mut watched = [PollFd::new(pipe, PollFlags::OUT)];
            let _ = rustix::event::poll(&mut watched, Some(&timeout));
            let broken = watched[0].revents().contains(PollFlags::ERR);
            self.flush();
            if left.is_zero() || broken {
                break;
            }
        }
        let Some((pid, pipe)) = self.child.take() else { return };
        drop(pipe);
        while let Ok(None) = syscall::wait(pid, false) {
            if Instant::now() >= deadline {
                let _ = syscall::kill(pid, libc::SIGKILL);
                let _ = syscall::wait(pid, true);
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The child: writes what comes on standard input until its end.
fn write_log(bounds: config::Log) -> io::Result<()> {
    let mut log = LogWriter::open(bounds)?;
    let mut input = io::stdin().lock();
    let (mut unread, mut chunk) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        let timeout = log.due().map(|due| {
            let left = due.saturating_duration_since(Instant::now());
            rustix::time::Timespec {
                tv_sec: left.as_secs().cast_signed(),
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        let stdin = rustix::stdio::stdin();
        let mut watched = [PollFd::from_borrowed_fd(stdin, PollFlags::IN)];
        let ready = rustix::event::poll(&mut watched, timeout.as_ref()).unwrap_or(0) > 0;
        while let Ok(Some(ended)) = syscall::wait(-1, false) {
            log.child_ended(ended.pid);
        }
        log.keep_time(Instant::now());
        if !ready {
            continue;
        }
        match input.read(&mut chunk) {
            Ok(0) => return log.finish(),
            Ok(count) => unread.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        let mut from = 0;
        while let Some((kind, bytes)) = parse(&unread[from..]) {
            from += HEADER + bytes.len();
            // A full disk must not end the log: there may be room again.
            let _ = match kind {
                0 => log.take(Source::Stdout, bytes),
                1 => log.take(Source::Stderr, bytes),
                _ => log.finish(),
            };
        }
        unread.drain(..from);
    }
}

fn parse(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (header, rest) = bytes.split_at_checked(HEADER)?;
    let length = u32::from_le_bytes([header[1], header[2], header[3], header[4]]) as usize;
    Some((header[0], rest.get(..length)?))
}
