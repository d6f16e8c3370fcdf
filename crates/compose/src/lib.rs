//! Observed state, reconcile, plan and execute for projects, over a port it declares.
//!
//! ```text
//!   Project + images --desired--> DesiredProject --\
//!                                                   reconcile --> Plan --execute--> Host
//!   host ------------observe----> ObservedState ---/
//! ```
//!
//! Owns the decision what to change and in which order; refuses to touch the host (a [`Host`] does), to build and
//! pull, and to ask the user: destructive steps are marked, the caller asks.

mod attributes;
mod choices;
mod convert;
mod desired;
mod execute;
mod failure;
mod hash;
mod host;
pub mod labels;
mod life;
mod mounts;
mod observed;
mod plan;
mod ports;
mod reconcile;
mod teardown;

pub use choices::{AnonymousVolumes, Dependencies, Finished, Goal, Options, Orphans, Recreate};
pub use desired::{
    DesiredDependency, DesiredNetwork, DesiredProject, DesiredService, DesiredVolume, GeneratedFile, Inputs,
    ResolvedImage, desired, source_files,
};
pub use execute::execute;
pub use host::{Evidence, Host, RESTART_LIMIT, WaitOutcome};
pub use life::{RemoveOptions, await_dependencies, boot, kill, one_off, remove, start};
pub use observed::{
    ObservedContainer, ObservedDependency, ObservedNetwork, ObservedRun, ObservedState, ObservedVolume,
};
pub use plan::{After, Cause, Condition, Operation, Plan, Step, StepId};
pub use ports::{Publication, published_ports};
pub use reconcile::{reconcile, unknown_service};
pub use teardown::{DownOptions, Volumes, down, restart, stop};
