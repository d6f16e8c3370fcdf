//! One request on a thread of its own, so that whoever waits for it can leave at once: a server that says nothing
//! holds nobody.

use std::io::Read as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use ureq::Agent;
use ureq::http::{HeaderMap, StatusCode};

/// How often the wish to cancel is looked at.
const POLL: Duration = Duration::from_millis(20);
/// Bytes of one piece, and pieces that wait to be taken.
const PIECE: usize = 256 << 10;
const WAITING: usize = 8;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The file.
    Body,
    /// Only what the server says of it.
    Head,
}

/// Why a transfer ended early.
#[derive(Debug)]
pub enum Stopped {
    /// The caller wanted so.
    Cancelled,
    /// There was no answer.
    Unanswered(ureq::Error),
    /// The answer broke off.
    Broken(String),
}

enum Piece {
    Head(StatusCode, HeaderMap),
    Bytes(Vec<u8>),
    End,
    Stopped(Stopped),
}

/// A request under way. Dropped, its thread ends with the next byte or time limit, and owns nothing but the connection.
pub struct Transfer<'c> {
    pieces: Receiver<Piece>,
    cancel: &'c AtomicBool,
}

impl<'c> Transfer<'c> {
    /// Sends a request.
    pub fn start(
        agent: Agent,
        wanted: Wanted,
        url: &str,
        headers: Vec<(&'static str, String)>,
        cancel: &'c AtomicBool,
    ) -> Self {
        let (sender, pieces) = sync_channel(WAITING);
        let url = url.to_owned();
        std::thread::spawn(move || {
            // Nobody listens any more: the transfer was left.
            let _ = carry_out(&agent, wanted, &url, &headers, &sender);
        });
        Self { pieces, cancel }
    }

    /// Waits for the answer's head.
    pub fn head(&self) -> Result<(StatusCode, HeaderMap), Stopped> {
        match self.piece()? {
            Piece::Head(status, headers) => Ok((status, headers)),
            Piece::Bytes(_) | Piece::End | Piece::Stopped(_) => {
                Err(Stopped::Broken("it began without a head".to_owned()))
            }
        }
    }

    /// Waits for more bytes; `None` is the end.
    pub fn next(&self) -> Result<Option<Vec<u8>>, Stopped> {
        match self.piece()? {
            Piece::Bytes(bytes) => Ok(Some(bytes)),
            Piece::End | Piece::Head(..) | Piece::Stopped(_) => Ok(None),
        }
    }

    fn piece(&self) -> Result<Piece, Stopped> {
        loop {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(Stopped::Cancelled);
            }
            match self.pieces.recv_timeout(POLL) {
                Ok(Piece::Stopped(stopped)) => return Err(stopped),
                Ok(piece) => return Ok(piece),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Stopped::Broken("its thread ended".to_owned()));
                }
            }
        }
    }
}

/// Waits, unless the caller does not want to any more.
pub fn pause(time: Duration, cancel: &AtomicBool) {
    let end = std::time::Instant::now() + time;
    while !cancel.load(Ordering::Relaxed) {
        let left = end.saturating_duration_since(std::time::Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left.min(POLL));
    }
}

fn carry_out(
    agent: &Agent,
    wanted: Wanted,
    url: &str,
    headers: &[(&'static str, String)],
    to: &SyncSender<Piece>,
) -> Result<(), std::sync::mpsc::SendError<Piece>> {
    let mut request = match wanted {
        Wanted::Body => agent.get(url),
        Wanted::Head => agent.head(url),
    };
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let (parts, body) = match request.call() {
        Ok(response) => response.into_parts(),
        Err(error) => return to.send(Piece::Stopped(Stopped::Unanswered(error))),
    };
    to.send(Piece::Head(parts.status, parts.headers))?;
    let mut body = body.into_reader();
    loop {
        let mut bytes = vec![0; PIECE];
        match body.read(&mut bytes) {
            Ok(0) => return to.send(Piece::End),
            Ok(read) => {
                bytes.truncate(read);
                to.send(Piece::Bytes(bytes))?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return to.send(Piece::Stopped(Stopped::Broken(error.to_string()))),
        }
    }
}
