//! Wanted and actual containers, and the pure writer of the OCI runtime specification.
//!
//! Owns [`ContainerSpec`] (what is wanted, complete: nothing is looked up later) and [`ContainerState`] (what is
//! so). Refuses to touch files, processes or clocks.

mod hook;
mod id;
mod mount;
pub mod runtime_spec;
mod spec;
mod state;

pub use hook::{Hook, Hooks, RestartPace};
pub use id::{ContainerId, IdError};
pub use mount::{Mount, MountKind, Propagation, Recursion, VolumesFrom};
pub use spec::{
    BlockIo, CgroupMode, ContainerSpec, Device, DeviceAccess, DeviceLimit, DeviceRule, Healthcheck, IpcMode,
    Isolation, Link, LogOptions, MacAddress, NetworkAttachment, NetworkMode, PidMode, Protocol,
    PublishedPort, Resources, RestartPolicy, SecretFile, Security, Ulimit, UtsMode,
};
pub use state::{ContainerRecord, ContainerState, Health, HealthStatus, ProbeResult, ProcessIdentity};
