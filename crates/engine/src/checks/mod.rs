//! Checks: what the rules of `check` find in Dockerfiles and projects, with what this machine knows of their files,
//! images and of itself.
//!
//! Owns the adapters of that crate's ports: [`DiskFiles`], [`StoredImages`] and [`host`], which gathers facts of the
//! machine. Refuses to pull, to build, to run anything, and to change anything: what is not here is unknown.

mod before;
mod builds;
mod files;
mod fixes;
mod git;
mod host;
mod images;
mod projects;

pub use before::Remarks;
pub use builds::Checked;
pub use files::DiskFiles;
pub use fixes::{FixedFile, fix};
pub use host::Look;
pub(crate) use host::{AskedClock, ask_clock, disk, kernel_facts};
pub use images::StoredImages;
pub use projects::{CheckOptions, CheckedFile, CheckedProject, Checks, check_file};
