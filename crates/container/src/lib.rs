//! Wanted and actual containers, and the pure writer of the OCI runtime specification.
//!
//! Owns [`ContainerSpec`] (what is wanted, complete: nothing is looked up later) and [`ContainerState`] (what is
//! so). Refuses to touch files, processes or clocks.

mod id;
pub mod runtime_spec;
mod spec;
mod state;

pub use id::{ContainerId, IdError};
pub use spec::{
    ContainerSpec, Healthcheck, LogOptions, Mount, MountKind, NetworkAttachment, NetworkMode, Protocol,
    PublishedPort, Resources, RestartPolicy, SecretFile, Ulimit,
};
pub use state::{ContainerRecord, ContainerState, Health, HealthStatus, ProbeResult, ProcessIdentity};
