//! A scope's directory, and the one way to change what its keeper serves.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::control::{self, Reply, Request, Status};
use super::process;
use super::state::KeeperState;
use crate::lock::Lock;
use crate::ports::BindError;

/// How long a keeper that another process starts, or that is ending, is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// The directory of one scope's keeper. Cheap to make; touches nothing until used.
#[derive(Clone, Debug)]
pub struct Home {
    directory: PathBuf,
}

/// Why a keeper does not serve what it should. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Ports, or port 53 of a gateway, cannot be had.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Busy(Vec<BindError>),
    /// The directory or a file in it cannot be used.
    #[error("cannot {action} {}", .path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The program that was to become the keeper does not run.
    #[error("cannot start the keeper")]
    Launch(#[source] io::Error),
    /// It started, but said this instead of being ready; empty if it said nothing.
    #[error("the keeper did not start: {0}")]
    NotReady(String),
    /// It runs, but does not answer.
    #[error("the keeper does not answer")]
    Silent(#[source] io::Error),
    /// It answered that it cannot.
    #[error("the keeper failed: {0}")]
    Refused(String),
}

impl Home {
    /// Returns the home of the keeper in `directory`, `<run root>/keepers/<scope>`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// Returns the directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns what the keeper should serve.
    pub fn state(&self) -> Result<KeeperState, HomeError> {
        let path = self.file(process::STATE);
        KeeperState::read(&path).map_err(|source| HomeError::File { action: "read", path, source })
    }

    /// Returns how the keeper goes; none if it does not run.
    pub fn status(&self) -> Result<Option<Status>, HomeError> {
        match self.ask(Request::Status) {
            Ok(Reply::Status(status)) => Ok(Some(status)),
            Ok(reply) => Err(HomeError::Refused(format!("{reply:?}"))),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(HomeError::Silent(error)),
        }
    }

    /// Returns whether a keeper should serve here but was killed.
    pub fn is_deserted(&self) -> bool {
        // Nothing to serve leaves no directory.
        self.directory.exists()
            && UnixStream::connect(self.file(process::SOCKET)).is_err_and(|error| is_absent(&error))
    }

    /// Changes what is served, by `edit`, and returns when the keeper serves it: started if none runs (`launch` gives
    /// the program and arguments that call [`super::run`] on this directory), ended if nothing is left to serve. Where a
    /// port cannot be had, nothing is changed and the error names its holder.
    ///
    /// Safe from many processes at once. `edit` runs under the lock and sees the state as it is then.
    pub fn change(
        &self,
        launch: impl FnOnce() -> Command,
        edit: impl FnOnce(&mut KeeperState),
    ) -> Result<(), HomeError> {
        // Two processes that publish ports in one scope would each write a state without the other's.
        let _lock = self.lock()?;
        let before = self.state()?;
        let mut after = before.clone();
        edit(&mut after);
        if after.is_empty() {
            return self.end();
        }
        if after != before {
            self.write(&after)?;
        }
        match self.ask(Request::Status) {
            Ok(Reply::Status(status)) if status.version < control::OLDEST => {
                // Of an earlier version, which does not know all that it should serve. The next one binds the same
                // ports at once; the kernel's translation of other clients goes on meanwhile.
                self.retire()?;
            }
            Ok(_) if after == before => return Ok(()),
            Ok(_) | Err(_) => {}
        }
        let outcome = self.serve(launch);
        if outcome.is_err() && after != before {
            self.write(&before)?;
            if before.is_empty() {
                self.end()?;
            } else {
                // A keeper that was there goes on as before; one that we started may hold some of the new ports.
                let _goes_on = self.ask(Request::Reload);
            }
        }
        outcome
    }

    fn serve(&self, launch: impl FnOnce() -> Command) -> Result<(), HomeError> {
        let reply = match self.ask(Request::Reload) {
            Err(error) if is_absent(&error) => {
                start(launch())?;
                self.ask(Request::Reload)
            }
            reply => reply,
        };
        match reply.map_err(HomeError::Silent)? {
            Reply::Done | Reply::Status(_) => Ok(()),
            Reply::Busy { failures } => Err(HomeError::Busy(failures)),
            Reply::Failed { message } => Err(HomeError::Refused(message)),
        }
    }

    /// Ends the keeper and removes the directory. The lock on changes is held.
    fn end(&self) -> Result<(), HomeError> {
        self.retire()?;
        match fs::remove_dir_all(&self.directory) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(HomeError::File { action: "remove", path: self.directory.clone(), source })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Ends the keeper and returns when its ports are free. The lock on changes is held.
    fn retire(&self) -> Result<(), HomeError> {
        match self.ask(Request::Stop) {
            Ok(_) => {}
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(HomeError::Silent(error)),
        }
        let lock = self.file(process::LOCK);
        let deadline = Instant::now() + PATIENCE;
        // Its ports are free once its lock is.
        while Lock::try_acquire(&lock)
            .map_err(|source| HomeError::File { action: "lock", path: lock.clone(), source })?
            .is_none()
        {
            if Instant::now() > deadline {
                return Err(HomeError::Silent(io::ErrorKind::TimedOut.into()));
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    fn lock(&self) -> Result<Lock, HomeError> {
        let path = self.file(process::EDIT_LOCK);
        loop {
            fs::create_dir_all(&self.directory).map_err(|source| HomeError::File {
                action: "create",
                path: self.directory.clone(),
                source,
            })?;
            match Lock::acquire(&path) {
                Ok(lock) => return Ok(lock),
                // Another process has just emptied the scope and removed the directory.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(HomeError::File { action: "lock", path, source }),
            }
        }
    }

    fn write(&self, state: &KeeperState) -> Result<(), HomeError> {
        let path = self.file(process::STATE);
        state.write(&path).map_err(|source| HomeError::File { action: "write", path, source })
    }

    fn ask(&self, request: Request) -> io::Result<Reply> {
        control::ask(&self.file(process::SOCKET), request)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// Starts a keeper and returns when it serves.
fn start(mut command: Command) -> Result<(), HomeError> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(HomeError::Launch)?;
    let mut said = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut said).map_err(HomeError::Launch)?;
    }
    if said.trim_end() == process::READY {
        return Ok(());
    }
    // It ended, or is about to: nothing is left of it.
    let _unneeded = child.kill();
    let _reaped = child.wait();
    Err(HomeError::NotReady(said.trim_end().to_owned()))
}

/// Returns whether the error says that no keeper runs. One that was killed leaves its socket's name, and a request that it
/// did not live to answer ends early.
fn is_absent(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotFound, UnexpectedEof};
    matches!(error.kind(), NotFound | ConnectionRefused | ConnectionReset | BrokenPipe | UnexpectedEof)
}
