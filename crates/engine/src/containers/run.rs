//! Running a container in the foreground: its streams are ours, signals go to it, its exit code comes back.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coracle_container::{ContainerId, ContainerRecord};
use coracle_report::Stream;
use coracle_runtime::{Attachment, Chunk, Ended, Input, Stdin};

use super::Containers;
use super::launch::gone;
use crate::terminal::{RawTerminal, Winch};
use crate::{During, Failure, Result};

/// Which of the caller's streams a container gets.
#[derive(Clone, Copy, Debug, Default)]
pub struct AttachStreams {
    /// The caller's standard input.
    pub stdin: bool,
    /// The container has a terminal: the caller's goes into raw mode.
    pub tty: bool,
}

impl Containers<'_> {
    /// Starts a container, passes its streams and our signals on, and returns its exit code when it has ended. A container
    /// that is to be removed at its end is gone then.
    pub fn run_attached(&self, id: &ContainerId, streams: AttachStreams) -> Result<i32> {
        let launched = self.launch(id, Stdin::Once);
        let record = match launched {
            Ok(Some(record)) => record,
            Ok(None) => self.record(id)?.ok_or_else(|| gone(id))?,
            Err(failure) => {
                let _ = self.forget_if_auto_remove(id);
                return Err(failure);
            }
        };
        let ended = self.follow(&record, streams);
        // The shim knows that we clean up (`reaping`), so nobody else does.
        let reaped = self.reap(id);
        let ended = ended?;
        reaped?;
        Ok(ended.code)
    }

    fn follow(&self, record: &ContainerRecord, streams: AttachStreams) -> Result<Ended> {
        let id = &record.id;
        let runtime = &self.engine.runtime;
        let mut attachment = runtime.attach(id, streams.stdin, true).during("attaching to the container")?;
        // Dropped at the end; its only purpose is to tell the shim that somebody cleans up.
        let _waiter = runtime.waiter(id, true).during("attaching to the container")?;
        let signals = crate::signals::Forward::begin().during("catching signals")?;
        let raw = if streams.tty && streams.stdin { RawTerminal::enter() } else { None };
        self.let_go(record)?;
        if streams.tty {
            self.resize(id);
        }
        let done = Arc::new(AtomicBool::new(false));
        if streams.stdin {
            let input = attachment.input().during("attaching to the container")?;
            let done = Arc::clone(&done);
            // It may sit in a read for ever: it is left behind when the process ends.
            std::thread::Builder::new()
                .name("stdin".to_owned())
                .spawn(move || pump(input, &done))
                .during("starting a thread")?;
        }
        let winch = streams.tty.then(Winch::watch).transpose().during("watching the terminal")?;
        let result = self.output(record, &mut attachment, &signals, winch.as_ref());
        done.store(true, Ordering::Relaxed);
        drop(raw);
        result
    }

    fn output(
        &self,
        record: &ContainerRecord,
        attachment: &mut Attachment,
        signals: &crate::signals::Forward,
        winch: Option<&Winch>,
    ) -> Result<Ended> {
        const PATIENCE: Duration = Duration::from_millis(50);
        let (stdout, stderr) = (std::io::stdout(), std::io::stderr());
        loop {
            for signal in signals.pending() {
                // One that has just ended gets no more signals.
                let _ = self.engine.runtime.kill(&record.id, signal);
            }
            if winch.is_some_and(Winch::changed) {
                self.resize(&record.id);
            }
            let chunk = match attachment.next(Some(PATIENCE)) {
                Ok(chunk) => chunk,
                Err(error) => return self.lost(record, &error),
            };
            let written = match chunk {
                Chunk::Output(Stream::Stdout, bytes) => {
                    let mut out = stdout.lock();
                    out.write_all(bytes).and_then(|()| out.flush())
                }
                Chunk::Output(Stream::Stderr, bytes) => stderr.lock().write_all(bytes),
                Chunk::Nothing => Ok(()),
                Chunk::Ended(ended) => return Ok(ended),
            };
            if written.is_err() {
                // Our reader has gone, as with `| head`: the container goes too.
                let _ = self.engine.runtime.stop(&record.id, None, None);
                return Ok(Ended { code: 141, error: None });
            }
        }
    }

    /// The shim was lost: its container's recorded end is what there is to tell.
    fn lost(&self, record: &ContainerRecord, error: &coracle_runtime::RuntimeError) -> Result<Ended> {
        let state = self.engine.runtime.state(&record.id).during("looking for the container's end")?;
        match state {
            coracle_container::ContainerState::Exited { code, error, .. } => Ok(Ended { code, error }),
            _ => Err(Failure::ours(format_args!("following container {}", record.spec.name), error)),
        }
    }

    fn resize(&self, id: &ContainerId) {
        if let Ok(size) = rustix::termios::tcgetwinsize(std::io::stdout()) {
            let _ = self.engine.runtime.resize(id, size.ws_row, size.ws_col);
        }
    }
}

/// Passes our standard input on until it ends.
fn pump(mut input: Input, done: &AtomicBool) {
    let mut buffer = [0; 16 * 1024];
    let mut stdin = std::io::stdin().lock();
    while !done.load(Ordering::Relaxed) {
        match stdin.read(&mut buffer) {
            Ok(0) | Err(_) => {
                let _ = input.close();
                return;
            }
            Ok(count) => {
                if input.write(&buffer[..count]).is_err() {
                    return;
                }
            }
        }
    }
}
