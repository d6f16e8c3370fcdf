//! The words spoken over a keeper's control socket, and the asking side.
//!
//! A keeper keeps the program that it was started from. What a side does not know of a message it passes over, what is
//! missing has a default; a command that needs more than the keeper can puts another in its place, see [`OLDEST`].

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::port::PublishedPort;
use crate::ports::BindError;

/// The version of keepers of this program. 0 did not say it.
pub(super) const VERSION: u32 = 1;
/// The oldest keeper that serves what this program writes into `state.json`. Raise it with a field that must be served.
pub(super) const OLDEST: u32 = 1;

/// The longest line that either side takes, in bytes.
pub(super) const LONGEST_LINE: u64 = 1024 * 1024;

/// A keeper answers in milliseconds; a stuck one must not hang a command.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a keeper can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    /// Read `state.json` and serve it: all of it, or else go on as before.
    Reload,
    /// Say how it goes.
    Status,
    /// End.
    Stop,
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// Done.
    Done,
    /// These could not be bound; nothing was changed.
    Busy {
        /// At least one.
        failures: Vec<BindError>,
    },
    /// Something else went wrong; nothing was changed.
    Failed {
        /// What, in a line.
        message: String,
    },
    /// How it goes.
    Status(Status),
}

/// How a keeper goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its process id.
    pub pid: u32,
    /// The names of the networks that it serves.
    pub networks: Vec<String>,
    /// The ports that it holds.
    pub ports: Vec<PublishedPort>,
    /// What it should hold but could not bind when it started; it goes on trying.
    pub missing: Vec<BindError>,
    /// Its version; 0 is one that did not say it yet.
    #[serde(default)]
    pub version: u32,
}

/// Asks the keeper at `socket` one thing. An error of kind `NotFound` or `ConnectionRefused` says that none runs.
pub(super) fn ask(socket: &Path, request: Request) -> io::Result<Reply> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(&request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut reader = BufReader::new(stream.take(LONGEST_LINE));
    let mut reply = String::new();
    if reader.read_line(&mut reply)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_str(&reply)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_their_form() {
        assert_eq!(serde_json::to_string(&Request::Reload).unwrap(), r#"{"request":"reload"}"#);
        assert_eq!(serde_json::to_string(&Reply::Done).unwrap(), r#"{"reply":"done"}"#);
        let status = Reply::Status(Status {
            pid: 7,
            networks: vec!["a".to_owned()],
            ports: vec![],
            missing: vec![],
            version: 3,
        });
        let text = serde_json::to_string(&status).unwrap();
        assert_eq!(
            text,
            r#"{"reply":"status","pid":7,"networks":["a"],"ports":[],"missing":[],"version":3}"#
        );
        assert_eq!(serde_json::from_str::<Reply>(&text).unwrap(), status);
        // Of a keeper that does not say its version, and of one that says more.
        let old = text.replace(",\"version\":3", "");
        assert!(matches!(serde_json::from_str(&old), Ok(Reply::Status(Status { version: 0, .. }))));
        let later = text.replace("\"version\":3", "\"version\":9,\"new\":{}");
        assert!(matches!(serde_json::from_str(&later), Ok(Reply::Status(Status { version: 9, .. }))));
    }
}
