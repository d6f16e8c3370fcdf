//! What a container is now.
//!
//! ```text
//!            create            start              exit
//!   (none) ---------> Created -------> Running ---------> Exited
//!                                        |  ^                |  start / restart
//!                                        |  +-- Restarting <-+  (policy, with back-off)
//!                                        +-> Paused -> Running
//! ```

use std::collections::VecDeque;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{ContainerId, ContainerSpec};

/// A process that cannot be mistaken for a later one with the same number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// Process id in the host's namespace.
    pub pid: i32,
    /// Start time in clock ticks since boot: field 22 of `/proc/PID/stat` (proc(5)).
    pub start_time: u64,
    /// `/proc/sys/kernel/random/boot_id` when it was recorded.
    pub boot_id: String,
}

/// What a container is now; written by its shim only (and by whoever finds that the shim was lost).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "status")]
pub enum ContainerState {
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
        /// Its health; `None` without a health check.
        #[serde(default)]
        health: Option<Health>,
        /// Starts by the restart policy since the user's last start.
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
        /// Starts by the restart policy since the user's last start.
        #[serde(default)]
        restarts: u32,
    },
    /// Ended; its shim waits to start it again.
    Restarting {
        /// Its shim.
        shim: ProcessIdentity,
        /// Exit code of the last run.
        code: i32,
        /// When the next start is due.
        due: Timestamp,
        /// Starts by the restart policy since the user's last start.
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
        /// Whether a user asked for it; such a container is not restarted.
        #[serde(default)]
        by_user: bool,
        /// Why, when it was not the container's own doing, e.g. `shim lost`, `cannot start: ...`.
        error: Option<String>,
        /// Starts by the restart policy since the user's last start.
        #[serde(default)]
        restarts: u32,
        /// Its last known health.
        #[serde(default)]
        health: Option<Health>,
    },
}

impl ContainerState {
    /// Returns whether its first process lives.
    pub fn is_running(&self) -> bool {
        matches!(self, Self::Running { .. } | Self::Paused { .. })
    }

    /// Returns whether a shim should be alive for it.
    pub fn has_shim(&self) -> bool {
        matches!(self, Self::Running { .. } | Self::Paused { .. } | Self::Restarting { .. })
    }

    /// Returns its health, if it has a health check.
    pub fn health(&self) -> Option<&Health> {
        match self {
            Self::Running { health, .. } | Self::Exited { health, .. } => health.as_ref(),
            Self::Created | Self::Paused { .. } | Self::Restarting { .. } => None,
        }
    }

    /// Returns Docker's word for the state: `created`, `running`, `paused`, `restarting`, `exited`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running { .. } => "running",
            Self::Paused { .. } => "paused",
            Self::Restarting { .. } => "restarting",
            Self::Exited { .. } => "exited",
        }
    }
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

/// A container's record on disk (`containers/<id>/container.json`): what is wanted, and facts of its making.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// Its id.
    pub id: ContainerId,
    /// What is wanted.
    pub spec: ContainerSpec,
    /// When it was made.
    pub created: Timestamp,
    /// The writable snapshot it runs on.
    pub snapshot: String,
}
