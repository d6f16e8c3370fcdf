//! Progress as values: tasks begin, advance, print lines and end. Renderers live in `cli`.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::Diagnostic;

/// Names one piece of running work within this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(u64);

impl TaskId {
    /// Returns an id that no other task of this process has.
    pub fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Returns the number behind the id, for machines that follow the events.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// What a progress count counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Things of one kind: packages, files, steps.
    Items,
}

/// Which stream a line of a child process came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The work was done.
    Done,
    /// The result was there already: cached, unchanged, up to date.
    Cached,
    /// Not done, on purpose; the text says why.
    Skipped(String),
    /// Failed; the text says why in one line.
    Failed(String),
}

/// What may become known of a task while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum About {
    /// It belongs to a group, e.g. the stage of a Dockerfile, beside others of the same parent.
    Group(String),
    /// What its result is known by, so that machines can tell equal work.
    Key(String),
    /// Why it is done although something like it was done before, in one line.
    Cause(String),
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// Work began. `parent` groups tasks: steps under a build, services under an `up`.
    Started {
        /// The new task.
        task: TaskId,
        /// The task it is a part of.
        parent: Option<TaskId>,
        /// What it does, e.g. `[builder 3/5] RUN pip install ...` or `backend`.
        label: String,
    },
    /// The task's short state changed, e.g. `waiting for database`, `healthy`.
    State {
        /// The task.
        task: TaskId,
        /// A word or two.
        state: String,
    },
    /// Something about the task became known.
    About {
        /// The task.
        task: TaskId,
        /// What.
        about: About,
    },
    /// The task advanced.
    Progress {
        /// The task.
        task: TaskId,
        /// How much is done.
        done: u64,
        /// How much there is, when known.
        total: Option<u64>,
        /// What is counted.
        unit: Unit,
    },
    /// The task's child printed a line (without its line end).
    Output {
        /// The task.
        task: TaskId,
        /// The stream it came from.
        stream: Stream,
        /// The line.
        line: String,
    },
    /// The task ended.
    Finished {
        /// The task.
        task: TaskId,
        /// How.
        outcome: Outcome,
    },
    /// Something the user should read, not bound to a task's life.
    Notice(Diagnostic),
}

/// Receives events; implemented by renderers. Called from several threads.
pub trait Reporter: Send + Sync {
    /// Takes one event. Must not block for long.
    fn event(&self, event: Event);

    /// Says that all tasks of the command have ended, so that a renderer can draw its last picture.
    fn settle(&self) {}
}

/// A reporter that drops everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Reporter for Quiet {
    fn event(&self, _event: Event) {}
}

/// One running task: sends its events, and ends as failed when dropped without an end.
pub struct Task<'a> {
    reporter: &'a dyn Reporter,
    id: TaskId,
    ended: bool,
}

impl<'a> Task<'a> {
    /// Starts a task and says so.
    pub fn start(reporter: &'a dyn Reporter, parent: Option<TaskId>, label: impl Into<String>) -> Self {
        let id = TaskId::next();
        reporter.event(Event::Started { task: id, parent, label: label.into() });
        Self { reporter, id, ended: false }
    }

    /// Returns the task's id, for children.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// Says the task's short state.
    pub fn state(&self, state: impl Into<String>) {
        self.reporter.event(Event::State { task: self.id, state: state.into() });
    }

    /// Says something that became known of the task.
    pub fn about(&self, about: About) {
        self.reporter.event(Event::About { task: self.id, about });
    }

    /// Says how far the task is.
    pub fn progress(&self, done: u64, total: Option<u64>, unit: Unit) {
        self.reporter.event(Event::Progress { task: self.id, done, total, unit });
    }

    /// Passes on a line that the task's child printed.
    pub fn output(&self, stream: Stream, line: impl Into<String>) {
        self.reporter.event(Event::Output { task: self.id, stream, line: line.into() });
    }

    /// Ends the task.
    pub fn finish(mut self, outcome: Outcome) {
        self.ended = true;
        self.reporter.event(Event::Finished { task: self.id, outcome });
    }
}

impl Drop for Task<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let outcome = Outcome::Failed("stopped".to_owned());
            self.reporter.event(Event::Finished { task: self.id, outcome });
        }
    }
}
