//! The machine: what it lacks for containers of whoever asks, and the command that mends it.
//!
//! [`survey`] looks around and decides nothing, [`diagnose`] decides and looks at nothing, so that each verdict can be
//! tested. Refuses to change anything, and to open the engine: it must answer on a machine where nothing works.

mod checks;
mod survey;
mod user;

use std::ffi::OsString;
use std::path::PathBuf;

pub use checks::diagnose;
pub use survey::{Survey, survey};

/// For whom and where is looked.
#[derive(Clone, Debug)]
pub struct Question {
    /// Where images, containers and volumes lie.
    pub data_root: PathBuf,
    /// Where sockets and locks lie.
    pub run_root: PathBuf,
    /// Where programs are searched (`PATH`).
    pub path: OsString,
}

/// How it stands with one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// As it should be.
    Good,
    /// Something works less well, or is missing that not everybody needs.
    Limited,
    /// Containers do not work without it.
    Missing,
}

impl State {
    /// Returns the word for listings.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Limited => "limited",
            Self::Missing => "missing",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// A name that stays, e.g. `subordinate-ids`.
    pub id: &'static str,
    /// How it stands.
    pub state: State,
    /// What was found, and what follows.
    pub text: String,
    /// A command that mends it; several lines are several commands.
    pub remedy: Option<String>,
}

impl Check {
    fn new(id: &'static str, state: State, text: impl Into<String>) -> Self {
        Self { id, state, text: text.into(), remedy: None }
    }

    fn good(id: &'static str, text: impl Into<String>) -> Self {
        Self::new(id, State::Good, text)
    }

    fn limited(id: &'static str, text: impl Into<String>) -> Self {
        Self::new(id, State::Limited, text)
    }

    fn missing(id: &'static str, text: impl Into<String>) -> Self {
        Self::new(id, State::Missing, text)
    }

    fn mended_by(mut self, command: impl Into<String>) -> Self {
        self.remedy = Some(command.into());
        self
    }
}
