//! The port to the host: all that executing a plan needs. Implemented by the engine; calls block.

use std::sync::atomic::AtomicBool;

use coracle_container::{ContainerId, ContainerSpec};
use coracle_report::Diagnostic;

use crate::desired::{DesiredNetwork, DesiredVolume};
use crate::plan::Condition;

/// Starts by the restart policy within one wait after which a container counts as failing again and again.
pub const RESTART_LIMIT: u32 = 3;

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitOutcome {
    /// The condition holds.
    Met,
    /// Its health check gave the verdict.
    Unhealthy,
    /// It ended, and the condition cannot hold any more.
    Exited {
        /// Exit code.
        code: i32,
        /// Whether the kernel ended it for want of memory.
        out_of_memory: bool,
    },
    /// The restart policy started it [`RESTART_LIMIT`] times, and it ended each time.
    Restarting {
        /// Exit code of the last run.
        code: i32,
    },
    /// It is frozen, so nothing will change.
    Paused,
    /// The user wants the command to end.
    Cancelled,
}

/// What shows why a container failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The last lines of its log, oldest first.
    pub log: Vec<String>,
    /// What the last probe of its health printed, and how it ended.
    pub probe: Option<String>,
}

/// What can be done to the host. Called from several threads at once.
pub trait Host: Sync {
    /// Makes a network.
    fn create_network(&self, network: &DesiredNetwork) -> Result<(), Diagnostic>;

    /// Removes a network; that it is gone already is no error.
    fn remove_network(&self, name: &str) -> Result<(), Diagnostic>;

    /// Makes a volume.
    fn create_volume(&self, volume: &DesiredVolume) -> Result<(), Diagnostic>;

    /// Removes a volume and its data; that it is gone already is no error.
    fn remove_volume(&self, name: &str) -> Result<(), Diagnostic>;

    /// Makes a container, which does not run yet.
    fn create_container(&self, spec: &ContainerSpec) -> Result<(), Diagnostic>;

    /// Starts a container by name; returns once its first process runs.
    fn start_container(&self, name: &str) -> Result<(), Diagnostic>;

    /// Ends a container, first by its stop signal; returns once it has ended.
    fn stop_container(&self, id: &ContainerId) -> Result<(), Diagnostic>;

    /// Sends a signal, by name or number, to a container; that it has ended already is no error.
    fn kill_container(&self, id: &ContainerId, signal: &str) -> Result<(), Diagnostic>;

    /// Removes a container; that it is gone already is no error.
    fn remove_container(&self, id: &ContainerId) -> Result<(), Diagnostic>;

    /// Takes a name from an image and removes it when it has no other; that it is gone already, or that another
    /// container uses it, is no error.
    fn remove_image(&self, name: &str) -> Result<(), Diagnostic>;

    /// Waits until `condition` holds of the container `name`, or can hold no more, or `cancel` is raised.
    fn wait(&self, name: &str, condition: Condition, cancel: &AtomicBool) -> Result<WaitOutcome, Diagnostic>;

    /// Returns what shows why the container `name` failed. Best effort: nothing rather than an error.
    fn evidence(&self, name: &str) -> Evidence;
}
