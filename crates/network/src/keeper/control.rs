//! The words spoken over a keeper's control socket, and the asking side.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::port::PublishedPort;
use crate::ports::BindError;

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
        let status =
            Reply::Status(Status { pid: 7, networks: vec!["a".to_owned()], ports: vec![], missing: vec![] });
        let text = serde_json::to_string(&status).unwrap();
        assert_eq!(text, r#"{"reply":"status","pid":7,"networks":["a"],"ports":[],"missing":[]}"#);
        assert_eq!(serde_json::from_str::<Reply>(&text).unwrap(), status);
    }
}
