//! The state of a container as its shim records it.
//!
//! The JSON is that of `ContainerState` in crate `container`, which this crate may not use; `runtime` reads it as
//! such, and a test there holds the two together.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::identity::ProcessIdentity;

/// The version of the record's form. 1 did not say it; fields that are missing have defaults, others are passed over.
const VERSION: u32 = 2;

#[derive(Serialize)]
struct Recorded<'a> {
    version: u32,
    #[serde(flatten)]
    state: &'a ShimState,
}

/// What a container is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "status")]
pub enum ShimState {
    /// Made, never started.
    Created,
    /// Its first process runs.
    Running {
        /// That process.
        process: ProcessIdentity,
        /// Its shim.
        shim: ProcessIdentity,
        /// Since when.
        since: Timestamp,
        /// Its health; `None` without a check.
        #[serde(default)]
        health: Option<Health>,
        /// Starts by the restart policy.
        #[serde(default)]
        restarts: u32,
    },
    /// Frozen.
    Paused {
        /// The frozen process.
        process: ProcessIdentity,
        /// Its shim.
        shim: ProcessIdentity,
        /// Since when it runs.
        since: Timestamp,
        /// Starts by the restart policy.
        #[serde(default)]
        restarts: u32,
    },
    /// Ended; the shim waits to start it again.
    Restarting {
        /// Its shim.
        shim: ProcessIdentity,
        /// Exit code of the last run.
        code: i32,
        /// When the next start is due.
        due: Timestamp,
        /// Starts by the restart policy.
        #[serde(default)]
        restarts: u32,
    },
    /// Ended for good.
    Exited {
        /// Exit code; 128 + signal number when a signal ended it.
        code: i32,
        /// When.
        at: Timestamp,
        /// Since when it had run; `None` if it never did.
        started: Option<Timestamp>,
        /// Whether the kernel ended it for want of memory.
        #[serde(default)]
        out_of_memory: bool,
        /// Whether a user asked for it.
        #[serde(default)]
        by_user: bool,
        /// Why, when it was not the container's own doing.
        error: Option<String>,
        /// Starts by the restart policy.
        #[serde(default)]
        restarts: u32,
        /// Its last known health.
        #[serde(default)]
        health: Option<Health>,
    },
}

/// A container's health.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The verdict.
    pub status: HealthStatus,
    /// Failures in a row.
    #[serde(default)]
    pub failing_streak: u32,
    /// The last probes, oldest first, five at most.
    #[serde(default)]
    pub log: VecDeque<ProbeResult>,
}

/// The verdict on a container's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// No verdict yet.
    Starting,
    /// The last probe succeeded.
    Healthy,
    /// As many probes in a row failed as the check allows.
    Unhealthy,
}

impl HealthStatus {
    /// Returns the verdict in Docker's word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// One probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeResult {
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// Exit code; -1 when it took too long or could not be run.
    pub exit_code: i32,
    /// What it printed, 4 KiB at most.
    pub output: String,
}

impl ShimState {
    /// Writes the state, with the version of its form, to `path` through a temporary name.
    ///
    /// It is not synced: after a crash of the machine every state but `Exited` is void anyway, and a torn file counts
    /// as a lost shim.
    pub fn record(&self, path: &Path) -> io::Result<()> {
        let temporary = path.with_extension("json.new");
        let recorded = Recorded { version: VERSION, state: self };
        fs::write(&temporary, serde_json::to_vec(&recorded)?)?;
        fs::rename(&temporary, path)
    }
}
