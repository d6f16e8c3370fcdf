//! The time that a caller is attached to a container: what is typed goes in, what is printed comes out, until one of
//! them goes.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coracle_container::{ContainerRecord, ContainerState};
use coracle_report::Stream;
use coracle_runtime::{Attachment, Chunk, Input, KeyWatch, RuntimeError};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use super::Containers;
use super::run::{AttachStreams, Attached};
use crate::signals::Forward;
use crate::terminal::{RawTerminal, Winch};
use crate::{During, Failure, Result};

/// How long the beginning of the keys that let go is held back before it is passed on.
const KEY_PATIENCE: rustix::time::Timespec = rustix::time::Timespec { tv_sec: 1, tv_nsec: 0 };

/// What becomes of the container when who reads its output has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AtLoss {
    /// It was started for us: it ends, as a program does at a closed pipe.
    StopIt,
    /// It is no business of ours.
    LeaveIt,
}

/// Holds what must be given back at the end, however that comes: the terminal first of all.
pub(super) struct Following<'a> {
    containers: &'a Containers<'a>,
    record: &'a ContainerRecord,
    streams: &'a AttachStreams,
    signals: Forward,
    winch: Option<Winch>,
    raw: Option<RawTerminal>,
    input: Option<Input>,
    at_loss: AtLoss,
    /// The keys came.
    let_go: Arc<AtomicBool>,
    /// Nothing more is to be read.
    done: Arc<AtomicBool>,
}

impl<'a> Following<'a> {
    #[expect(clippy::too_many_arguments, reason = "each is one thing that is held; there is one caller")]
    pub(super) fn new(
        containers: &'a Containers<'a>,
        record: &'a ContainerRecord,
        streams: &'a AttachStreams,
        signals: Forward,
        winch: Option<Winch>,
        raw: Option<RawTerminal>,
        input: Option<Input>,
        at_loss: AtLoss,
    ) -> Self {
        let (let_go, done) = (Arc::default(), Arc::default());
        Self { containers, record, streams, signals, winch, raw, input, at_loss, let_go, done }
    }

    /// Begins to pass our standard input on.
    pub(super) fn start_input(&mut self) -> Result<()> {
        let Some(input) = self.input.take() else { return Ok(()) };
        let keys = if self.streams.tty { self.streams.detach_keys.bytes() } else { &[] };
        let mut pump = Pump {
            input,
            watch: KeyWatch::new(keys),
            let_go: Arc::clone(&self.let_go),
            done: Arc::clone(&self.done),
        };
        // It may sit in a read for ever: it is left behind when the process ends.
        std::thread::Builder::new()
            .name("stdin".to_owned())
            .spawn(move || pump.run())
            .map(drop)
            .during("starting a thread")
    }

    /// Shows what the container prints until one of us goes.
    pub(super) fn output(&mut self, attachment: &mut Attachment) -> Result<Attached> {
        const PATIENCE: Duration = Duration::from_millis(50);
        let runtime = &self.containers.engine.runtime;
        let id = &self.record.id;
        loop {
            for signal in self.signals.pending() {
                if self.streams.keep_signals {
                    return Ok(Attached::Signalled(signal));
                }
                // One that has just ended gets no more signals.
                let _ = runtime.kill(id, signal);
            }
            if self.signals.resumed() {
                if let Some(raw) = &self.raw {
                    raw.again();
                }
                if self.streams.tty {
                    self.containers.resize(id);
                }
            }
            if self.winch.as_ref().is_some_and(Winch::changed) {
                self.containers.resize(id);
            }
            if self.let_go.load(Ordering::Relaxed) {
                self.containers.tell(id, "detach", &[]);
                return Ok(Attached::LetGo);
            }
            let chunk = match attachment.next(Some(PATIENCE)) {
                Ok(chunk) => chunk,
                Err(error) => return self.lost(&error),
            };
            let written = match chunk {
                Chunk::Output(Stream::Stdout, bytes) if !self.streams.without_stdout => {
                    let mut out = std::io::stdout().lock();
                    out.write_all(bytes).and_then(|()| out.flush())
                }
                Chunk::Output(Stream::Stderr, bytes) if !self.streams.without_stderr => {
                    std::io::stderr().lock().write_all(bytes)
                }
                Chunk::Output(..) | Chunk::Nothing => Ok(()),
                Chunk::Ended(ended) => return Ok(Attached::Ended(ended.code)),
            };
            if written.is_err() {
                if self.at_loss == AtLoss::StopIt {
                    // As with `| head`.
                    let _ = runtime.stop(id, None, None);
                }
                return Ok(Attached::ReaderGone);
            }
        }
    }

    /// The shim was lost: its container's recorded end is what there is to tell.
    fn lost(&self, error: &RuntimeError) -> Result<Attached> {
        let state = self.containers.state(&self.record.id)?;
        match state {
            ContainerState::Exited { code, .. } => Ok(Attached::Ended(code)),
            _ => Err(Failure::ours(format_args!("following container {}", self.record.spec.name), error)),
        }
    }
}

impl Drop for Following<'_> {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
    }
}

/// Passes our standard input on until it ends, or the keys come that let go.
struct Pump {
    input: Input,
    watch: KeyWatch,
    let_go: Arc<AtomicBool>,
    done: Arc<AtomicBool>,
}

impl Pump {
    fn run(&mut self) {
        let mut buffer = [0; 16 * 1024];
        let mut passed = Vec::new();
        while !self.done.load(Ordering::Relaxed) {
            let stdin = rustix::stdio::stdin();
            let timeout = self.watch.holds_back().then_some(&KEY_PATIENCE);
            let mut watched = [PollFd::from_borrowed_fd(stdin, PollFlags::IN)];
            passed.clear();
            match rustix::event::poll(&mut watched, timeout) {
                Ok(0) => self.watch.give_up(&mut passed),
                Err(Errno::INTR) => continue,
                // What cannot be watched is read.
                Ok(_) | Err(_) => match rustix::io::read(stdin, &mut buffer) {
                    Err(Errno::INTR | Errno::AGAIN) => continue,
                    Ok(0) | Err(_) => {
                        let _ = self.input.close();
                        return;
                    }
                    Ok(count) => {
                        if self.watch.pass(&buffer[..count], &mut passed) {
                            let _ = self.input.write(&passed);
                            self.let_go.store(true, Ordering::Relaxed);
                            return;
                        }
                    }
                },
            }
            if !passed.is_empty() && self.input.write(&passed).is_err() {
                return;
            }
        }
    }
}
