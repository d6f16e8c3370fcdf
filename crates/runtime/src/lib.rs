//! Talks to shims: create, start, exec, logs, health, stop.
//!
//! Owns the bundle that a shim is given, the way its socket is spoken to, the reading of its records and log, and
//! what happens when it was lost. Refuses to know images, snapshots, volumes and networks: mounts come resolved, and
//! the network is attached by a caller that is told the shim's process id.

mod attach;
mod bundle;
mod cgroups;
mod connection;
mod error;
mod exec;
mod facts;
mod filters;
mod journal;
mod logs;
mod paths;
mod signal;
mod spawn;
mod state;
mod step;
mod stop;
mod user;

pub use attach::{Attachment, Chunk, Input};
pub use bundle::{Prepared, SharedWith};
pub use cgroups::expect_moves;
pub use connection::{Ended, Waiter};
pub use coracle_shim::cgroup::Usage;
pub use coracle_shim::config::{IdMap, Overlay, Propagation, SecretVariable, Shared, Source, Stdin};
pub use coracle_shim::detach::{DetachKeys, KeyWatch};
pub use coracle_shim::exec::ExecUser;
pub use coracle_shim::journal::Entry;
pub use coracle_shim::limits::Limits;
pub use error::RuntimeError;
pub use exec::{Captured, ExecSpec, Executing};
pub use journal::{EventQuery, attributes};
pub use logs::{LogEntry, LogQuery};
pub use paths::Paths;
pub use signal::{SignalError, signal_number};
pub use spawn::Spawned;
pub use step::{Step, StepOutcome};
pub use user::{ResolvedUser, UserError, resolve_user};

/// The door to shims.
#[derive(Clone, Debug)]
pub struct Runtime {
    paths: Paths,
}

impl Runtime {
    /// Returns a runtime that keeps its files where `paths` says.
    pub fn new(paths: Paths) -> Self {
        Self { paths }
    }

    /// Returns where it keeps its files.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }
}
