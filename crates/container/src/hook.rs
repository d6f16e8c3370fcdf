//! Commands that run in a container at turns of its life, by order of whoever starts and stops it.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// The hooks of a container (Compose's `post_start`, `pre_stop`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hooks {
    /// What runs once it has started, in order.
    pub post_start: Vec<Hook>,
    /// What runs before it is stopped, in order.
    pub pre_stop: Vec<Hook>,
}

impl Hooks {
    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.post_start.is_empty() && self.pre_stop.is_empty()
    }
}

/// A command that runs in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Program and arguments.
    pub command: Vec<String>,
    /// `user[:group]`; `None` is the container's.
    #[serde(default)]
    pub user: Option<String>,
    /// Working directory; `None` is the container's.
    #[serde(default)]
    pub working_directory: Option<String>,
    /// Variables over the container's.
    #[serde(default)]
    pub environment: IndexMap<String, String>,
    /// Whether it has all capabilities.
    #[serde(default)]
    pub privileged: bool,
}

/// How restarts by policy follow one another. Durations in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RestartPace {
    /// Time between end and start; `None` doubles it from 100 ms up to a minute, as Docker does.
    pub delay: Option<u64>,
    /// How long a run must last to count as a success; `None` is 10 s.
    pub window: Option<u64>,
}
