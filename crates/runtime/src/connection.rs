//! Requests to a shim.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use coracle_container::{ContainerId, RestartPolicy};
use coracle_shim::protocol::{self, Kind, Reply, Request};
use rustix::fs::{Mode, OFlags};

use crate::{Runtime, RuntimeError, bundle};

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Exit code; 128 + signal number when a signal ended it.
    pub code: i32,
    /// Why, when it was not the container's own doing.
    pub error: Option<String>,
}

/// A connection to a shim.
#[derive(Debug)]
pub(crate) struct Connection {
    pub stream: UnixStream,
}

impl Connection {
    /// Connects to the socket, whose path may be longer than an address can hold.
    pub fn open(socket: &Path) -> Result<Self, RuntimeError> {
        let (Some(directory), Some(name)) = (socket.parent(), socket.file_name()) else {
            return Err(RuntimeError::NotRunning);
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory =
            rustix::fs::open(directory, flags, Mode::empty()).map_err(|_| RuntimeError::NotRunning)?;
        let path = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
        match UnixStream::connect(path) {
            Ok(stream) => Ok(Self { stream }),
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
            {
                Err(RuntimeError::NotRunning)
            }
            Err(error) => Err(RuntimeError::Connection(error)),
        }
    }

    /// Sends a request.
    pub fn send(&mut self, request: &Request) -> Result<(), RuntimeError> {
        let mut frame = Vec::new();
        protocol::append_control(&mut frame, request);
        io::Write::write_all(&mut self.stream, &frame).map_err(RuntimeError::Connection)
    }

    /// Waits for the answer.
    pub fn receive(&mut self) -> Result<Reply, RuntimeError> {
        let mut body = Vec::new();
        match protocol::read_frame(&mut self.stream, &mut body).map_err(RuntimeError::Connection)? {
            Some(Kind::Control) => serde_json::from_slice(&body)
                .map_err(|error| RuntimeError::Connection(io::Error::new(io::ErrorKind::InvalidData, error))),
            Some(Kind::Stdin | Kind::Stdout | Kind::Stderr) => Err(unexpected()),
            None => Err(RuntimeError::Connection(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// Sends a request whose answer is only whether it was done.
    pub fn ask(&mut self, request: &Request) -> Result<(), RuntimeError> {
        self.send(request)?;
        match self.receive()? {
            Reply::Done => Ok(()),
            Reply::Failed { message, code } => Err(RuntimeError::Shim { message, code }),
            Reply::Ready { .. } | Reply::State { .. } | Reply::Exited { .. } => Err(unexpected()),
        }
    }
}

pub(crate) fn unexpected() -> RuntimeError {
    RuntimeError::Connection(io::Error::new(io::ErrorKind::InvalidData, "unexpected answer"))
}

impl Runtime {
    pub(crate) fn connect(&self, id: &ContainerId) -> Result<Connection, RuntimeError> {
        Connection::open(&self.paths.socket(id))
    }

    /// Makes the container's first process, which waits. When that fails, the shim has recorded why and ended by the
    /// time this returns.
    pub fn create(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let mut connection = self.connect(id)?;
        let made = connection.ask(&Request::Create);
        if made.is_err() {
            // The shim closes the connection last of all.
            let _ = io::copy(&mut connection.stream, &mut io::sink());
        }
        made
    }

    /// Lets the first process go.
    pub fn start(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.connect(id)?.ask(&Request::Start)
    }

    /// Sends the first process a signal.
    pub fn kill(&self, id: &ContainerId, signal: i32) -> Result<(), RuntimeError> {
        self.connect(id)?.ask(&Request::Kill { signal })
    }

    /// Freezes all processes of the container.
    pub fn pause(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.connect(id)?.ask(&Request::Pause)
    }

    /// Thaws them.
    pub fn unpause(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.connect(id)?.ask(&Request::Unpause)
    }

    /// Sets the size of the container's terminal.
    pub fn resize(&self, id: &ContainerId, rows: u16, columns: u16) -> Result<(), RuntimeError> {
        self.connect(id)?.ask(&Request::Resize { rows, columns })
    }

    /// Replaces the restart policy that a running container's shim follows.
    pub fn set_restart(&self, id: &ContainerId, policy: RestartPolicy) -> Result<(), RuntimeError> {
        self.connect(id)?.ask(&Request::SetRestart { restart: bundle::restart(policy) })
    }

    /// Ends the shim of a container that was not started.
    pub fn discard(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.connect(id)?.ask(&Request::Discard)
    }

    /// Returns a waiter for the container's final end. Connect before the start, and no end is missed.
    ///
    /// With `reaping` the caller promises to clean up itself, and no other process is started to do so.
    pub fn waiter(&self, id: &ContainerId, reaping: bool) -> Result<Waiter, RuntimeError> {
        let mut connection = self.connect(id)?;
        connection.send(&Request::Wait { reaping })?;
        Ok(Waiter { connection })
    }
}

/// Waits for the final end of a container.
#[derive(Debug)]
pub struct Waiter {
    connection: Connection,
}

impl Waiter {
    /// Waits. A shim that is lost meanwhile shows as [`RuntimeError::Connection`]; the container's state then tells.
    pub fn wait(mut self) -> Result<Ended, RuntimeError> {
        match self.connection.receive()? {
            Reply::Exited { code, error } => Ok(Ended { code, error }),
            Reply::Failed { message, code } => Err(RuntimeError::Shim { message, code }),
            Reply::Ready { .. } | Reply::Done | Reply::State { .. } => Err(unexpected()),
        }
    }
}
