//! The standard streams of a container as its shim holds them: pipes, or one terminal.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Gid, OFlags, Uid};
use rustix::io::Errno;

use crate::config::{ShimConfig, Stdin};
use crate::log::Source;
use crate::{launch, syscall};

/// Input that waits for the container to read it; beyond this, clients wait.
const MAX_PENDING: usize = 64 * 1024;
/// Size asked for output pipes, bytes, so that a chatty container seldom waits.
const PIPE_SIZE: usize = 256 * 1024;

/// The container's ends of its pipes.
pub(crate) struct ContainerEnds {
    pub stdin: OwnedFd,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

/// The shim's ends.
#[derive(Default)]
pub(crate) struct Streams {
    input: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    terminal: bool,
    pending: Vec<u8>,
    close_input: bool,
}

/// What one read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadOutcome {
    Bytes(usize),
    Nothing,
    End,
}

impl Streams {
    /// Makes pipes.
    pub fn pipes(config: &ShimConfig) -> io::Result<(Self, ContainerEnds)> {
        let (stdin, input) = match config.stdin {
            Stdin::Closed => (launch::null()?, None),
            Stdin::Open | Stdin::Once => {
                let (reader, writer) = io::pipe()?;
                (reader.into(), Some(nonblocking(writer.into())?))
            }
        };
        let output = || -> io::Result<(OwnedFd, OwnedFd)> {
            let (reader, writer) = io::pipe()?;
            // May be refused beyond the user's share; the default size works as well.
            let _ = rustix::pipe::fcntl_setpipe_size(&writer, PIPE_SIZE);
            // A program of another user may open /dev/stdout again, which asks for its owner.
            let (uid, gid) = config.stream_owner;
            rustix::fs::fchown(&writer, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
            Ok((nonblocking(reader.into())?, writer.into()))
        };
        let (our_stdout, stdout) = output()?;
        let (our_stderr, stderr) = output()?;
        let ours = Self { input, stdout: Some(our_stdout), stderr: Some(our_stderr), ..Self::default() };
        Ok((ours, ContainerEnds { stdin, stdout, stderr }))
    }

    /// Uses a terminal's controlling side.
    pub fn terminal(config: &ShimConfig, master: OwnedFd) -> io::Result<Self> {
        let master = nonblocking(master)?;
        let input = match config.stdin {
            Stdin::Closed => None,
            Stdin::Open | Stdin::Once => Some(master.try_clone()?),
        };
        Ok(Self { input, stdout: Some(master), terminal: true, ..Self::default() })
    }

    /// Returns the descriptor of an output stream that has not ended.
    pub fn output(&self, source: Source) -> Option<BorrowedFd<'_>> {
        match source {
            Source::Stdout => self.stdout.as_ref().map(AsFd::as_fd),
            Source::Stderr => self.stderr.as_ref().map(AsFd::as_fd),
        }
    }

    /// Returns whether both output streams have ended.
    pub fn ended(&self) -> bool {
        self.stdout.is_none() && self.stderr.is_none()
    }

    /// Reads from an output stream; closes it at its end.
    pub fn read(&mut self, source: Source, buffer: &mut [u8]) -> ReadOutcome {
        let stream = match source {
            Source::Stdout => &mut self.stdout,
            Source::Stderr => &mut self.stderr,
        };
        let Some(fd) = stream else { return ReadOutcome::End };
        match rustix::io::read(&*fd, &mut *buffer) {
            Ok(count) if count > 0 => ReadOutcome::Bytes(count),
            Err(Errno::AGAIN | Errno::INTR) => ReadOutcome::Nothing,
            // A terminal whose other side is closed says EIO.
            Ok(_) | Err(_) => {
                *stream = None;
                ReadOutcome::End
            }
        }
    }

    /// Takes input for the container, and writes what it accepts now.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.input.is_some() {
            self.pending.extend_from_slice(bytes);
            self.flush();
        }
    }

    /// Closes the input once everything pending is written. A terminal stays open: its end is a character.
    pub fn close_input(&mut self) {
        if !self.terminal {
            self.close_input = true;
            self.flush();
        }
    }

    /// Returns the input descriptor when something waits to be written to it.
    pub fn waiting_input(&self) -> Option<BorrowedFd<'_>> {
        self.input.as_ref().filter(|_| !self.pending.is_empty()).map(AsFd::as_fd)
    }

    /// Returns whether more input may be taken.
    pub fn accepts_input(&self) -> bool {
        self.pending.len() < MAX_PENDING
    }

    /// Writes pending input as far as the container reads it.
    pub fn flush(&mut self) {
        let Some(input) = &self.input else { return };
        while !self.pending.is_empty() {
            match rustix::io::write(input, &self.pending) {
                Ok(count) => {
                    self.pending.drain(..count);
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                // Nobody reads any more.
                Err(_) => {
                    self.pending = Vec::new();
                    self.input = None;
                    return;
                }
            }
        }
        if self.close_input {
            self.input = None;
        }
    }

    /// Sets the terminal's size.
    pub fn resize(&self, rows: u16, columns: u16) -> io::Result<()> {
        match &self.stdout {
            Some(master) if self.terminal => syscall::resize_terminal(master.as_fd(), rows, columns),
            _ => Err(io::Error::new(io::ErrorKind::Unsupported, "the container has no terminal")),
        }
    }
}

fn nonblocking(fd: OwnedFd) -> io::Result<OwnedFd> {
    let flags = rustix::fs::fcntl_getfl(&fd)?;
    rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?;
    Ok(fd)
}
