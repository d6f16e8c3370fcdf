//! What goes over a shim's control socket.
//!
//! A frame is a length (4 bytes, little-endian, of what follows the kind), a kind (1 byte) and a body. Requests and
//! replies are JSON; streams are raw. A connection carries one request after another, each answered once, until it
//! attaches: from then on it carries streams and ends with [`Reply::Exited`].
//!
//! A shim keeps the program that it was started from, so commands of later versions speak to it, and after a step back
//! commands of earlier ones. Every control message carries [`VERSION`]; what a side does not know of a message it passes
//! over, what is missing has a default, and a request that a shim does not know is answered with [`Reply::Failed`].

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use crate::config::Restart;
use crate::state::ShimState;

/// The version of what is said here. 1 did not say it; 2 says it.
pub const VERSION: u32 = 2;
/// Largest body of a frame, bytes. Whoever sends more is cut off.
pub const MAX_BODY: usize = 1 << 20;
/// Bytes before a body.
pub const HEADER: usize = 5;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A [`Request`] or a [`Reply`].
    Control = 0,
    /// Bytes for the container's standard input; an empty body closes it.
    Stdin = 1,
    /// Bytes of its standard output, or of its terminal.
    Stdout = 2,
    /// Bytes of its standard error.
    Stderr = 3,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Control),
            1 => Some(Self::Stdin),
            2 => Some(Self::Stdout),
            3 => Some(Self::Stderr),
            _ => None,
        }
    }
}

/// Asks a shim for something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "request")]
pub enum Request {
    /// Makes the container's first process, which waits.
    Create,
    /// Lets it go.
    Start,
    /// Sends it a signal.
    Kill {
        /// Signal number.
        signal: i32,
    },
    /// Asks it to end, then ends it; answered when it has ended.
    Stop {
        /// Signal number; `None` means the configured one.
        signal: Option<i32>,
        /// Time until SIGKILL, ms; `None` means the configured one.
        grace: Option<u64>,
    },
    /// Freezes all its processes.
    Pause,
    /// Thaws them.
    Unpause,
    /// Turns this connection into streams.
    Attach {
        /// Whether this client writes standard input.
        #[serde(default)]
        stdin: bool,
        /// Whether the container waits when this client is slow, rather than the client being dropped.
        #[serde(default)]
        lossless: bool,
    },
    /// Sets the size of its terminal.
    Resize {
        /// Lines.
        rows: u16,
        /// Columns.
        columns: u16,
    },
    /// Is answered with [`Reply::Exited`] when it has ended for good.
    Wait {
        /// Whether the asker cleans up itself, so that nobody else need be started to do so.
        #[serde(default)]
        reaping: bool,
    },
    /// Replaces the restart policy, from the next end on.
    SetRestart {
        /// The new one.
        restart: Restart,
    },
    /// Is answered with [`Reply::State`].
    State,
    /// Ends a shim whose container was never started.
    Discard,
}

/// Answers a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "reply")]
pub enum Reply {
    /// The shim is ready for requests; written to its standard output, not to the socket.
    Ready {
        /// Its process id.
        pid: i32,
    },
    /// It was done.
    Done,
    /// It could not be done.
    Failed {
        /// Why.
        message: String,
        /// The exit code that Docker gives for it: 125, 126 (cannot be run) or 127 (not found).
        code: i32,
    },
    /// The state.
    State {
        /// As recorded.
        state: ShimState,
    },
    /// The container has ended for good.
    Exited {
        /// Exit code.
        code: i32,
        /// Why, when it was not the container's own doing.
        error: Option<String>,
    },
}

/// Appends a frame to `out`.
pub fn append(out: &mut Vec<u8>, kind: Kind, body: &[u8]) {
    let length = u32::try_from(body.len()).expect("bodies are shorter than MAX_BODY");
    out.extend_from_slice(&length.to_le_bytes());
    out.push(kind as u8);
    out.extend_from_slice(body);
}

#[derive(Serialize)]
struct Versioned<'a, T> {
    #[serde(flatten)]
    message: &'a T,
    version: u32,
}

/// Returns what a control message asks for that is none of the requests known here; `None` when it asks for nothing.
pub fn unknown_request(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        request: String,
    }
    serde_json::from_slice::<Named>(body).ok().map(|named| named.request)
}

/// Appends a control frame to `out`.
pub fn append_control(out: &mut Vec<u8>, message: &impl Serialize) {
    let body = serde_json::to_vec(&Versioned { message, version: VERSION })
        .expect("messages have no maps with non-text keys");
    append(out, Kind::Control, &body);
}

/// Returns the first frame of `bytes` and its whole length; `None` when it is not all there.
pub fn parse(bytes: &[u8]) -> io::Result<Option<(Kind, &[u8], usize)>> {
    let Some((header, rest)) = bytes.split_at_checked(HEADER) else { return Ok(None) };
    let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
    let kind = Kind::from_byte(header[4]).filter(|_| length <= MAX_BODY);
    let Some(kind) = kind else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "malformed frame"));
    };
    Ok(rest.get(..length).map(|body| (kind, body, HEADER + length)))
}

/// Writes one frame to a blocking stream.
pub fn write_frame(stream: &mut impl Write, kind: Kind, body: &[u8]) -> io::Result<()> {
    let mut frame = Vec::with_capacity(HEADER + body.len());
    append(&mut frame, kind, body);
    stream.write_all(&frame)
}

/// Reads one frame from a blocking stream into `body`; `None` at its end.
pub fn read_frame(stream: &mut impl Read, body: &mut Vec<u8>) -> io::Result<Option<Kind>> {
    let mut header = [0; HEADER];
    let mut filled = 0;
    while filled < HEADER {
        match stream.read(&mut header[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
    let kind = Kind::from_byte(header[4]).filter(|_| length <= MAX_BODY);
    let Some(kind) = kind else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "malformed frame"));
    };
    body.resize(length, 0);
    stream.read_exact(body)?;
    Ok(Some(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_round_trip() {
        let mut bytes = Vec::new();
        append_control(&mut bytes, &Request::Kill { signal: 15 });
        append(&mut bytes, Kind::Stdin, b"");
        let (kind, body, length) = parse(&bytes).unwrap().unwrap();
        assert_eq!(kind, Kind::Control);
        assert_eq!(serde_json::from_slice::<Request>(body).unwrap(), Request::Kill { signal: 15 });
        assert_eq!(parse(&bytes[..length - 1]).unwrap(), None);
        assert_eq!(parse(&bytes[length..]).unwrap(), Some((Kind::Stdin, &b""[..], HEADER)));

        let mut stream = &bytes[..];
        let mut body = Vec::new();
        assert_eq!(read_frame(&mut stream, &mut body).unwrap(), Some(Kind::Control));
        assert_eq!(read_frame(&mut stream, &mut body).unwrap(), Some(Kind::Stdin));
        assert_eq!(read_frame(&mut stream, &mut body).unwrap(), None);
        assert!(read_frame(&mut &bytes[..3], &mut body).is_err());
    }

    #[test]
    fn messages_of_other_versions_are_understood() {
        let read = |text: &str| serde_json::from_str::<Request>(text);
        assert_eq!(read(r#"{"request":"start"}"#).unwrap(), Request::Start);
        assert_eq!(read(r#"{"request":"start","version":9,"new":[1]}"#).unwrap(), Request::Start);
        let attach = Request::Attach { stdin: false, lossless: false };
        assert_eq!(read(r#"{"request":"attach"}"#).unwrap(), attach);
        let later = r#"{"request":"checkpoint","version":9}"#;
        assert!(read(later).is_err());
        assert_eq!(unknown_request(later.as_bytes()), Some("checkpoint".to_owned()));
        assert_eq!(unknown_request(b"[]"), None);
        let reply: Reply =
            serde_json::from_str(r#"{"reply":"exited","code":3,"version":9,"why":"x"}"#).unwrap();
        assert_eq!(reply, Reply::Exited { code: 3, error: None });
        let mut frame = Vec::new();
        append_control(&mut frame, &Request::Kill { signal: 9 });
        assert_eq!(&frame[HEADER..], br#"{"request":"kill","signal":9,"version":2}"#);
    }

    #[test]
    fn hostile_frames_are_refused() {
        assert!(parse(&[0xff, 0xff, 0xff, 0xff, 0]).is_err());
        assert!(parse(&[0, 0, 0, 0, 9]).is_err());
        assert!(read_frame(&mut &[0xff, 0xff, 0xff, 0x7f, 1][..], &mut Vec::new()).is_err());
    }
}
