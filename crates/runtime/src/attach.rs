//! The streams of a running container.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use coracle_container::ContainerId;
use coracle_report::Stream;
use coracle_shim::protocol::{self, Kind, Reply, Request};

use crate::connection::unexpected;
use crate::{Ended, Runtime, RuntimeError};

/// Bytes read from the socket at once.
const CHUNK: usize = 64 * 1024;

/// Something that came from a container.
#[derive(Debug, PartialEq, Eq)]
pub enum Chunk<'a> {
    /// Output.
    Output(Stream, &'a [u8]),
    /// Nothing within the time that was given.
    Nothing,
    /// Its final end; nothing follows.
    Ended(Ended),
}

/// A client's hold on the streams of a container.
#[derive(Debug)]
pub struct Attachment {
    stream: UnixStream,
    unread: Vec<u8>,
    /// Length of the frame handed out last.
    taken: usize,
}

/// The writing side of an attachment; may live in another thread.
#[derive(Debug)]
pub struct Input {
    stream: UnixStream,
}

impl Runtime {
    /// Takes hold of the container's streams; attach before the start, and no output is missed.
    ///
    /// With `lossless` the container waits for a client that is slow; without, such a client is dropped.
    pub fn attach(&self, id: &ContainerId, stdin: bool, lossless: bool) -> Result<Attachment, RuntimeError> {
        let mut connection = self.connect(id)?;
        connection.ask(&Request::Attach { stdin, lossless })?;
        Ok(Attachment { stream: connection.stream, unread: Vec::new(), taken: 0 })
    }
}

impl Attachment {
    /// Returns the writing side.
    pub fn input(&self) -> Result<Input, RuntimeError> {
        Ok(Input { stream: self.stream.try_clone().map_err(RuntimeError::Connection)? })
    }

    /// Waits for the next output or the end, for `patience` at most when one is given.
    pub fn next(&mut self, patience: Option<Duration>) -> Result<Chunk<'_>, RuntimeError> {
        self.unread.drain(..self.taken);
        self.taken = 0;
        self.stream.set_read_timeout(patience).map_err(RuntimeError::Connection)?;
        loop {
            if let Some((_, _, length)) = protocol::parse(&self.unread).map_err(RuntimeError::Connection)? {
                self.taken = length;
                break;
            }
            let filled = self.unread.len();
            self.unread.resize(filled + CHUNK, 0);
            let outcome = self.stream.read(&mut self.unread[filled..]);
            self.unread.truncate(filled + outcome.as_ref().copied().unwrap_or(0));
            match outcome {
                Ok(0) => return Err(RuntimeError::Connection(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Ok(Chunk::Nothing);
                }
                Err(error) => return Err(RuntimeError::Connection(error)),
            }
        }
        match protocol::parse(&self.unread).map_err(RuntimeError::Connection)? {
            Some((Kind::Stdout, body, _)) => Ok(Chunk::Output(Stream::Stdout, body)),
            Some((Kind::Stderr, body, _)) => Ok(Chunk::Output(Stream::Stderr, body)),
            Some((Kind::Control, body, _)) => match serde_json::from_slice(body) {
                Ok(Reply::Exited { code, error }) => Ok(Chunk::Ended(Ended { code, error })),
                Ok(Reply::Failed { message, code }) => Err(RuntimeError::Shim { message, code }),
                Ok(Reply::Ready { .. } | Reply::Done | Reply::State { .. }) | Err(_) => Err(unexpected()),
            },
            Some((Kind::Stdin, ..)) | None => Err(unexpected()),
        }
    }
}

impl Input {
    /// Writes to the container's standard input.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), RuntimeError> {
        for part in bytes.chunks(CHUNK) {
            protocol::write_frame(&mut self.stream, Kind::Stdin, part).map_err(RuntimeError::Connection)?;
        }
        self.stream.flush().map_err(RuntimeError::Connection)
    }

    /// Says that no more input comes.
    pub fn close(&mut self) -> Result<(), RuntimeError> {
        protocol::write_frame(&mut self.stream, Kind::Stdin, b"").map_err(RuntimeError::Connection)
    }

    /// Lets the container go: the attachment ends with an error in its reader.
    pub fn detach(self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}
