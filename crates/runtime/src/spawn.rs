//! Starting a shim.

use std::io::{BufRead, BufReader};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use coracle_container::{ContainerId, ContainerRecord, ContainerSpec};
use coracle_shim::program;
use coracle_shim::protocol::Reply;

use crate::{Prepared, Runtime, RuntimeError, bundle};

/// A shim that is ready: its namespaces exist, its root file system is mounted, nothing runs in it yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spawned {
    /// Its process id.
    pub pid: i32,
    /// What could not be given in full, in words for the user.
    pub notes: Vec<String>,
}

impl Spawned {
    /// Returns the file of the network namespace that the container will use.
    pub fn network_namespace(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.pid))
    }
}

/// This program as it is to be executed; the descriptor, if there is one, must live until then.
pub(crate) struct Program {
    path: PathBuf,
    _protected: Option<OwnedFd>,
}

impl Program {
    pub fn new(path: &Path) -> Self {
        match program::protected(path) {
            Ok(protected) => Self {
                path: format!("/proc/self/fd/{}", protected.as_raw_fd()).into(),
                _protected: Some(protected),
            },
            Err(_) => Self { path: path.to_path_buf(), _protected: None },
        }
    }

    /// Returns a command that starts it as a shim, in `mode`, with nothing of this process's environment.
    pub fn shim(&self, mode: &str) -> Command {
        let mut command = Command::new(&self.path);
        command.arg("shim").arg(mode).env_clear();
        coracle_fault::pass_on(&mut command);
        command
    }
}

impl Runtime {
    /// Writes the container's bundle and starts its shim, which waits for [`Runtime::create`].
    pub fn spawn_shim(&self, record: &ContainerRecord, prepared: &Prepared) -> Result<Spawned, RuntimeError> {
        self.spawn(&record.id, &record.spec, prepared, self.paths.state(&record.id))
    }

    pub(crate) fn spawn(
        &self,
        id: &ContainerId,
        container: &ContainerSpec,
        prepared: &Prepared,
        state: PathBuf,
    ) -> Result<Spawned, RuntimeError> {
        let notes = bundle::write(&self.paths, id, container, prepared, state)?;
        let program = Program::new(&self.paths.program);
        let mut child = program
            .shim("run")
            .arg(self.paths.bundle(id))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(RuntimeError::Spawn)?;
        let mut line = String::new();
        let read = match child.stdout.take() {
            Some(stdout) => BufReader::new(stdout).read_line(&mut line),
            None => Ok(0),
        };
        // The child only begets the shim and ends at once.
        child.wait().map_err(RuntimeError::Spawn)?;
        read.map_err(RuntimeError::Spawn)?;
        match serde_json::from_str(&line) {
            Ok(Reply::Ready { pid }) => Ok(Spawned { pid, notes }),
            Ok(Reply::Failed { message, code }) => Err(RuntimeError::Shim { message, code }),
            Ok(_) | Err(_) => {
                let message = "the program did not start as a supervisor";
                Err(RuntimeError::Spawn(std::io::Error::other(message)))
            }
        }
    }
}
