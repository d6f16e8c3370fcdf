//! The connections to a shim: what each wants, what it is still owed, and what happens when it is slow.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use crate::protocol::{self, Kind, Reply, Request};

/// Owed output beyond which the container waits for a lossless client, bytes.
const PRESSURE: usize = 256 * 1024;
/// Owed output beyond which any other client is dropped, bytes.
const DROP: usize = 1 << 20;
/// Unread requests beyond which a client's input is left in the kernel, bytes.
const MAX_UNREAD: usize = protocol::MAX_BODY + protocol::HEADER;
/// How long a shim that ends waits for a client to take what it is owed.
const LAST_PATIENCE: Duration = Duration::from_secs(30);

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// One request after another.
    Requests,
    /// It waits for the container's end.
    Waiting { reaping: bool },
    /// It waits for the end of a stop.
    Stopping,
    /// It carries streams.
    Attached { stdin: bool, lossless: bool },
}

/// One connection.
pub(crate) struct Client {
    stream: UnixStream,
    pub role: Role,
    unread: Vec<u8>,
    owed: Vec<u8>,
    gone: bool,
}

/// What a client sent.
pub(crate) enum Message {
    Request(Request),
    /// A request of a later version, by its name.
    Unknown(String),
    Stdin(Vec<u8>),
}

impl Client {
    /// Takes the next connection; `None` when there is none.
    pub fn accept(listener: &UnixListener) -> Option<Self> {
        let (stream, _) = listener.accept().ok()?;
        stream.set_nonblocking(true).ok()?;
        Some(Self { stream, role: Role::Requests, unread: Vec::new(), owed: Vec::new(), gone: false })
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    pub const fn is_gone(&self) -> bool {
        self.gone
    }

    pub const fn owes(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Returns whether the container must wait for it.
    pub const fn presses(&self) -> bool {
        matches!(self.role, Role::Attached { lossless: true, .. }) && self.owed.len() > PRESSURE
    }

    /// Reads what has come.
    pub fn read(&mut self) {
        let mut buffer = [0; 16 * 1024];
        while self.unread.len() < MAX_UNREAD {
            match self.stream.read(&mut buffer) {
                Ok(0) => {
                    self.gone = true;
                    return;
                }
                Ok(count) => self.unread.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.gone = true;
                    return;
                }
            }
        }
    }

    /// Takes the next whole message out of what was read. A client that speaks nonsense is cut off.
    pub fn next(&mut self) -> Option<Message> {
        let (message, length) = match protocol::parse(&self.unread) {
            Ok(Some((Kind::Stdin, body, length))) => (Message::Stdin(body.to_vec()), length),
            Ok(Some((Kind::Control, body, length))) => match serde_json::from_slice(body) {
                Ok(request) => (Message::Request(request), length),
                Err(error) => {
                    if let Some(request) = protocol::unknown_request(body) {
                        self.unread.drain(..length);
                        return Some(Message::Unknown(request));
                    }
                    let message = format!("malformed request: {error}");
                    self.reply(&Reply::Failed { message, code: crate::launch::OURS });
                    self.gone = true;
                    return None;
                }
            },
            Ok(None) => return None,
            Ok(Some((Kind::Stdout | Kind::Stderr, ..))) | Err(_) => {
                self.gone = true;
                return None;
            }
        };
        self.unread.drain(..length);
        if self.unread.is_empty() {
            self.unread = Vec::new();
        }
        Some(message)
    }

    /// Answers it.
    pub fn reply(&mut self, reply: &Reply) {
        protocol::append_control(&mut self.owed, reply);
        self.flush();
    }

    /// Gives it output of the container.
    pub fn output(&mut self, kind: Kind, bytes: &[u8]) {
        let Role::Attached { lossless, .. } = self.role else { return };
        if !lossless && self.owed.len() + bytes.len() > DROP {
            self.gone = true;
            return;
        }
        protocol::append(&mut self.owed, kind, bytes);
        self.flush();
    }

    /// Sends what it is owed, as far as it takes it.
    pub fn flush(&mut self) {
        let mut sent = 0;
        while sent < self.owed.len() {
            match self.stream.write(&self.owed[sent..]) {
                Ok(0) => break,
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.gone = true;
                    self.owed = Vec::new();
                    return;
                }
            }
        }
        if sent == self.owed.len() {
            self.owed = Vec::new();
        } else {
            self.owed.drain(..sent);
        }
    }

    /// Sends the rest in the shim's last moments; gives up when the client takes nothing for a while.
    pub fn finish(&mut self) {
        let mut deadline = Instant::now() + LAST_PATIENCE;
        while self.owes() && !self.gone {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let timeout = rustix::time::Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: 1_000_000 };
            let mut watched = [rustix::event::PollFd::new(&self.stream, rustix::event::PollFlags::OUT)];
            let _ = rustix::event::poll(&mut watched, Some(&timeout));
            let before = self.owed.len();
            self.flush();
            if self.owed.len() < before {
                deadline = Instant::now() + LAST_PATIENCE;
            }
        }
    }
}
