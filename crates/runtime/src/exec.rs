//! Further processes in a running container.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use coracle_container::{ContainerId, ContainerState};
use coracle_shim::exec::{ExecRequest, ExecUser};

use crate::spawn::Program;
use crate::{ResolvedUser, Runtime, RuntimeError, bundle};

/// What is to run in a container, and as whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecSpec {
    /// Program and arguments.
    pub args: Vec<String>,
    /// Environment over the container's own.
    pub env: Vec<(String, String)>,
    /// Working directory; `None` means the container's.
    pub cwd: Option<PathBuf>,
    /// User; `None` means the container's.
    pub user: Option<ResolvedUser>,
    /// Whether it gets a terminal of its own.
    pub tty: bool,
    /// Whether it reads this process's standard input.
    pub interactive: bool,
    /// Whether it keeps all capabilities and has no filter.
    pub privileged: bool,
    /// Keys that let go of its terminal; empty is none.
    pub detach_keys: Vec<u8>,
}

/// What a captured process did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// Exit code.
    pub code: i32,
    /// What it printed, as much as was asked for.
    pub stdout: Vec<u8>,
    /// What it complained about.
    pub stderr: Vec<u8>,
}

/// A process in a container, on this process's streams.
#[derive(Debug)]
pub struct Executing(Child);

impl Executing {
    /// Returns a descriptor that means this process and no later one of its number.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        let pid = i32::try_from(self.0.id()).ok().and_then(rustix::process::Pid::from_raw);
        let pid = pid.ok_or(io::ErrorKind::NotFound)?;
        Ok(rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?)
    }

    /// Waits until it ends and returns its exit code.
    pub fn wait(&mut self) -> Result<i32, RuntimeError> {
        self.0.wait().map(exit_code).map_err(RuntimeError::Spawn)
    }
}

/// Where a process's streams go.
#[derive(Clone, Copy)]
enum Streams {
    Own,
    Captured,
    None,
}

impl Runtime {
    /// Runs a process on this process's own streams and returns its exit code: 126 when it cannot be run, 127 when it
    /// is not found. With a terminal the caller has put its own into raw mode.
    pub fn exec(&self, id: &ContainerId, spec: &ExecSpec) -> Result<i32, RuntimeError> {
        let mut child = self.exec_process(id, spec, Streams::Own)?;
        Ok(exit_code(child.wait().map_err(RuntimeError::Spawn)?))
    }

    /// Starts a process on this process's own streams; whoever has it waits for it, and may pass it signals meanwhile.
    pub fn exec_started(&self, id: &ContainerId, spec: &ExecSpec) -> Result<Executing, RuntimeError> {
        self.exec_process(id, spec, Streams::Own).map(Executing)
    }

    /// Runs a process and returns what it printed; of each stream `max` bytes are kept, the rest is dropped.
    pub fn exec_captured(
        &self,
        id: &ContainerId,
        spec: &ExecSpec,
        max: usize,
    ) -> Result<Captured, RuntimeError> {
        let mut child = self.exec_process(id, spec, Streams::Captured)?;
        let stderr = child.stderr.take();
        let errors = thread::spawn(move || stderr.map(|stderr| keep(stderr, max)).unwrap_or_default());
        let stdout = child.stdout.take().map(|stdout| keep(stdout, max)).unwrap_or_default();
        let stderr = errors.join().unwrap_or_default();
        let code = exit_code(child.wait().map_err(RuntimeError::Spawn)?);
        Ok(Captured { code, stdout, stderr })
    }

    /// Starts a process that nobody waits for; its output goes nowhere.
    pub fn exec_detached(&self, id: &ContainerId, spec: &ExecSpec) -> Result<(), RuntimeError> {
        self.exec_process(id, spec, Streams::None).map(drop)
    }

    fn exec_process(
        &self,
        id: &ContainerId,
        spec: &ExecSpec,
        streams: Streams,
    ) -> Result<Child, RuntimeError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let refused = |message: &str| RuntimeError::Shim { message: message.to_owned(), code: 125 };
        match self.state(id)? {
            ContainerState::Running { .. } => {}
            ContainerState::Paused { .. } => return Err(refused("the container is paused")),
            ContainerState::Restarting { .. } => return Err(refused("the container is restarting")),
            ContainerState::Created | ContainerState::Exited { .. } => return Err(RuntimeError::NotRunning),
        }
        let request = ExecRequest {
            args: spec.args.clone(),
            env: spec.env.clone(),
            cwd: spec.cwd.clone(),
            user: spec.user.as_ref().map(|user| ExecUser {
                uid: user.uid,
                gid: user.gid,
                groups: user.groups.clone(),
                home: user.home.clone(),
            }),
            terminal: spec.tty,
            privileged: spec.privileged,
            detach_keys: spec.detach_keys.clone(),
        };
        let directory = self.paths.bundle(id);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let file = directory.join(format!("exec-{}-{number}.json", std::process::id()));
        let text = serde_json::to_vec(&request)
            .map_err(|source| RuntimeError::Record { path: file.clone(), source })?;
        bundle::write_file(&file, &text)?;
        let program = Program::new(&self.paths.program);
        let mut command = program.shim("exec");
        command.arg(directory).arg(&file);
        if !spec.interactive {
            command.stdin(Stdio::null());
        }
        match streams {
            Streams::Own => {}
            Streams::Captured => drop(command.stdout(Stdio::piped()).stderr(Stdio::piped())),
            Streams::None => drop(command.stdout(Stdio::null()).stderr(Stdio::null())),
        }
        command.spawn().map_err(|error| {
            let _ = std::fs::remove_file(&file);
            RuntimeError::Spawn(error)
        })
    }
}

fn exit_code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(125)
}

/// Reads to the end and keeps the beginning.
fn keep(mut stream: impl Read, max: usize) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut buffer = [0; 16 * 1024];
    while let Ok(count) = stream.read(&mut buffer) {
        if count == 0 {
            break;
        }
        let room = max - kept.len();
        kept.extend_from_slice(&buffer[..count.min(room)]);
    }
    kept
}
