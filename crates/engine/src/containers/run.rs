//! Running a container in the foreground: its streams are ours, signals go to it, its exit code comes back.

use coracle_container::{ContainerId, ContainerRecord, ContainerState};
use coracle_fault::Point;
use coracle_report::Diagnostic;
use coracle_runtime::{Attachment, DetachKeys, Stdin};

use super::Containers;
use super::attached::{AtLoss, Following};
use super::launch::gone;
use crate::failure::pass;
use crate::terminal::{RawTerminal, Winch};
use crate::{During, Failure, Result, signals};

/// Which of the caller's streams a container gets, and what else of the caller.
#[derive(Clone, Debug, Default)]
pub struct AttachStreams {
    /// The caller's standard input.
    pub stdin: bool,
    /// The container has a terminal: the caller's goes into raw mode.
    pub tty: bool,
    /// Its standard output is not shown.
    pub without_stdout: bool,
    /// Its standard error is not shown.
    pub without_stderr: bool,
    /// Signals end the caller alone instead of being passed on.
    pub keep_signals: bool,
    /// The keys that let go of it; heeded with a terminal only.
    pub detach_keys: DetachKeys,
}

/// How a caller was parted from a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attached {
    /// The container ended, with this code.
    Ended(i32),
    /// The keys came that let go of it; it goes on.
    LetGo,
    /// The caller got this signal and keeps it for itself; the container goes on.
    Signalled(i32),
    /// Who read its output has gone.
    ReaderGone,
}

impl Attached {
    /// Returns the exit code that a command ends with then.
    pub fn code(self) -> i32 {
        match self {
            Self::Ended(code) => code,
            Self::LetGo => 0,
            Self::Signalled(signal) => 128 + signal,
            Self::ReaderGone => 141,
        }
    }
}

impl Containers<'_> {
    /// Starts a container, passes its streams and our signals on, and returns how that ended. A container that is to be
    /// removed at its end is gone then, if it ended. One that runs already is attached to.
    pub fn run_attached(&self, id: &ContainerId, streams: AttachStreams) -> Result<Attached> {
        let stdin = if streams.stdin { Stdin::Once } else { Stdin::Open };
        let record = match self.launch(id, stdin) {
            Ok(Some(record)) => record,
            Ok(None) => return self.attach(id, streams),
            Err(failure) => {
                let _ = self.forget_if_auto_remove(id);
                return Err(failure);
            }
        };
        let parted = self.follow_new(&record, &streams);
        match &parted {
            // The shim calls somebody when it ends: we are gone by then.
            Ok(Attached::LetGo | Attached::Signalled(_)) => {}
            // The shim knows that we clean up (`reaping`), so nobody else does.
            Ok(Attached::Ended(_) | Attached::ReaderGone) | Err(_) => {
                let reaped = pass(Point::RunEnded).and_then(|()| self.reap(id));
                if parted.is_ok() {
                    reaped?;
                }
            }
        }
        parted
    }

    /// Takes hold of the streams of a container that runs; several may at once.
    pub fn attach(&self, id: &ContainerId, mut streams: AttachStreams) -> Result<Attached> {
        let view = self.view(id)?.ok_or_else(|| gone(id))?;
        let spec = &view.record.spec;
        let refused = |why: &str, hint: &str| {
            let message = format!("container `{}` {why}, so nothing can be attached to it", spec.name);
            Failure::user(
                Diagnostic::error("cannot-attach", message).with_hint(format!("{hint} {}", spec.name)),
            )
        };
        match view.state {
            ContainerState::Running { .. } => {}
            ContainerState::Paused { .. } => return Err(refused("is paused", "coracle unpause")),
            ContainerState::Restarting { .. } => return Err(refused("is restarting", "coracle logs")),
            ContainerState::Created | ContainerState::Exited { .. } => {
                return Err(refused("does not run", "coracle start"));
            }
        }
        streams.stdin &= spec.open_stdin;
        streams.tty = spec.tty;
        let mut attachment =
            self.engine.runtime.attach(id, streams.stdin, true).during("attaching to the container")?;
        self.tell(id, "attach", &[]);
        let mut following = self.begin(&view.record, &streams, &attachment, AtLoss::LeaveIt)?;
        if streams.tty {
            // Two sizes, so that a program that draws the screen draws it anew.
            self.resize_by(id, 1);
            self.resize(id);
        }
        following.start_input()?;
        following.output(&mut attachment)
    }

    fn follow_new(&self, record: &ContainerRecord, streams: &AttachStreams) -> Result<Attached> {
        let id = &record.id;
        let runtime = &self.engine.runtime;
        let mut attachment = runtime.attach(id, streams.stdin, true).during("attaching to the container")?;
        // Dropped at the end; its only purpose is to tell the shim that somebody cleans up.
        let _waiter = runtime.waiter(id, true).during("attaching to the container")?;
        let mut following = self.begin(record, streams, &attachment, AtLoss::StopIt)?;
        if streams.tty {
            // Before the program looks.
            self.resize(id);
        }
        self.let_go(record)?;
        following.start_input()?;
        following.output(&mut attachment)
    }

    /// Takes hold of the terminal and of signals.
    fn begin<'a>(
        &'a self,
        record: &'a ContainerRecord,
        streams: &'a AttachStreams,
        attachment: &Attachment,
        at_loss: AtLoss,
    ) -> Result<Following<'a>> {
        let signals = signals::Forward::begin().during("catching signals")?;
        let winch = streams.tty.then(Winch::watch).transpose().during("watching the terminal")?;
        let raw = if streams.tty && streams.stdin { RawTerminal::enter() } else { None };
        let input = streams.stdin.then(|| attachment.input()).transpose();
        let input = input.during("attaching to the container")?;
        Ok(Following::new(self, record, streams, signals, winch, raw, input, at_loss))
    }

    /// Gives a container's terminal the size of ours.
    pub(super) fn resize(&self, id: &ContainerId) {
        self.resize_by(id, 0);
    }

    fn resize_by(&self, id: &ContainerId, more: u16) {
        let size = rustix::termios::tcgetwinsize(std::io::stdout())
            .or_else(|_| rustix::termios::tcgetwinsize(std::io::stdin()));
        if let Ok(size) = size {
            let _ = self.engine.runtime.resize(id, size.ws_row.saturating_add(more), size.ws_col);
        }
    }
}
