//! What containers printed.

use std::sync::atomic::{AtomicBool, Ordering};

use coracle_container::ContainerId;
use coracle_runtime::LogQuery;
use jiff::Timestamp;

use super::Containers;
use crate::{During, Result};

/// Which stream a line came from.
pub use coracle_report::Stream as LogStream;

/// Which lines are wanted.
#[derive(Clone, Debug, Default)]
pub struct LogRequest {
    /// Go on until the container ends.
    pub follow: bool,
    /// Only the last ones.
    pub tail: Option<usize>,
    /// Only those since then.
    pub since: Option<Timestamp>,
    /// Only those until then.
    pub until: Option<Timestamp>,
}

/// A line of a log, or a part of a long one.
#[derive(Clone, Debug)]
pub struct LogLine {
    /// When it was printed.
    pub time: Timestamp,
    /// Where it was printed to.
    pub stream: LogStream,
    /// The text, with its line end if it has one.
    pub bytes: Vec<u8>,
}

impl LogLine {
    /// Returns an entry as a line of its own.
    pub(super) fn of(entry: coracle_runtime::LogEntry<'_>) -> Self {
        Self { time: entry.time, stream: entry.stream, bytes: entry.text.into_owned().into_bytes() }
    }
}

impl Containers<'_> {
    /// Gives a container's lines to `sink` until there are no more, or `cancel` is raised.
    pub fn logs(
        &self,
        id: &ContainerId,
        request: &LogRequest,
        cancel: &AtomicBool,
        sink: &mut dyn FnMut(LogLine),
    ) -> Result<()> {
        self.logs_with_pauses(id, request, cancel, sink, &|| {})
    }

    /// As [`Self::logs`]; `pause` is called each time nothing more is there for now.
    pub fn logs_with_pauses(
        &self,
        id: &ContainerId,
        request: &LogRequest,
        cancel: &AtomicBool,
        sink: &mut dyn FnMut(LogLine),
        pause: &dyn Fn(),
    ) -> Result<()> {
        let query = LogQuery {
            follow: request.follow,
            tail: request.tail,
            since: request.since,
            until: request.until,
        };
        let mut give = |entry: coracle_runtime::LogEntry<'_>| {
            sink(LogLine::of(entry));
            !cancel.load(Ordering::Relaxed)
        };
        self.engine
            .runtime
            .logs_with_pauses(id, &query, &|| cancel.load(Ordering::Relaxed), &mut give, pause)
            .during(format_args!("reading the log of {}", id.short()))
    }

    /// Returns the last lines of a container's log, for evidence; nothing rather than an error.
    pub fn last_lines(&self, id: &ContainerId, count: usize) -> Vec<String> {
        let request = LogRequest { tail: Some(count), ..LogRequest::default() };
        let mut lines = Vec::new();
        let never = AtomicBool::new(false);
        let _ = self.logs(id, &request, &never, &mut |line| {
            lines.push(String::from_utf8_lossy(&line.bytes).trim_end().to_owned());
        });
        lines
    }
}
