//! Further commands in a running container.

use coracle_container::{ContainerId, ContainerRecord};
use coracle_report::Diagnostic;
use coracle_runtime::{DetachKeys, ExecSpec, ResolvedUser, RuntimeError};
use coracle_snapshot::{RootFs, SnapshotId};
use indexmap::IndexMap;

use super::Containers;
use super::launch::{gone, look_up_user};
use crate::signals::{Caught, Passing};
use crate::terminal::RawTerminal;
use crate::{During, Failure, Fault, Result};

/// A command to run in a container.
#[derive(Clone, Debug, Default)]
pub struct ExecRequest {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Variables over the container's.
    pub environment: IndexMap<String, String>,
    /// User; `None` means the container's.
    pub user: Option<String>,
    /// Working directory; `None` means the container's.
    pub working_directory: Option<String>,
    /// A terminal of its own.
    pub tty: bool,
    /// Our standard input.
    pub stdin: bool,
    /// All capabilities.
    pub privileged: bool,
    /// Nobody waits for it.
    pub detach: bool,
    /// The keys that let go of its terminal.
    pub detach_keys: DetachKeys,
}

impl Containers<'_> {
    /// Looks a user up in a container's own files.
    pub(super) fn user_inside(&self, record: &ContainerRecord, user: &str) -> Result<ResolvedUser> {
        let snapshot: SnapshotId = record.snapshot.parse().during("reading the container's record")?;
        let root = self
            .engine
            .snapshots
            .held(&snapshot)
            .and_then(|overlay| overlay.mount_detached(true))
            .during("looking into the container")?;
        look_up_user(&RootFs::new(root), user, &[])
            .map_err(|error| Failure::user(Diagnostic::error("no-such-user", error.to_string())))
    }

    /// Runs a command in a container and returns its exit code.
    pub fn exec(&self, id: &ContainerId, request: ExecRequest) -> Result<i32> {
        let view = self.view(id)?.ok_or_else(|| gone(id))?;
        let name = &view.record.spec.name;
        if !view.state.is_running() {
            let message = format!("container `{name}` is not running: {}", view.state.word());
            return Err(Failure::user(
                Diagnostic::error("not-running", message).with_hint(format!("coracle start {name}")),
            ));
        }
        let user = request.user.as_ref().map(|user| self.user_inside(&view.record, user)).transpose()?;
        let spec = ExecSpec {
            args: request.command,
            env: request.environment.into_iter().collect(),
            cwd: request.working_directory.map(Into::into),
            user,
            tty: request.tty,
            interactive: request.stdin,
            privileged: request.privileged,
            detach_keys: if request.tty && request.stdin {
                request.detach_keys.bytes().to_vec()
            } else {
                Vec::new()
            },
        };
        let runtime = &self.engine.runtime;
        let failed = |error: RuntimeError| match error {
            RuntimeError::Shim { message, code } => {
                let diagnostic = Diagnostic::error("cannot-run", format!("in container `{name}`: {message}"));
                Failure {
                    fault: Fault::Container(u8::try_from(code).unwrap_or(125)),
                    diagnostics: vec![diagnostic],
                }
            }
            error => Failure::ours(format_args!("running a command in container {name}"), &error),
        };
        let words = spec.args.join(" ");
        self.engine.events().container(&view.record, &format!("exec_create: {words}"), &[]);
        self.engine.events().container(&view.record, &format!("exec_start: {words}"), &[]);
        if request.detach {
            return runtime.exec_detached(id, &spec).map(|()| 0).map_err(failed);
        }
        // First of all: a signal must not end us with the terminal in raw mode, or leave the command behind.
        let caught = Caught::begin().during("catching signals")?;
        let raw = if request.tty && request.stdin { RawTerminal::enter() } else { None };
        let mut executing = runtime.exec_started(id, &spec).map_err(failed)?;
        let child = executing.descriptor().during("looking for the command's process")?;
        let passing = Passing::begin(caught, child, raw.is_some()).during("catching signals")?;
        let code = executing.wait().map_err(failed);
        drop(passing);
        drop(raw);
        if let Ok(code) = &code {
            self.engine.events().container(&view.record, "exec_die", &[("exitCode", code.to_string())]);
        }
        code
    }
}
