//! Overlay snapshots: prepare, commit, apply and diff of layers, and safe access to the trees they make.
//!
//! Owns the directory of snapshots (see [`Snapshots`]) and everything that is done inside a root file system from
//! the host's side (see [`RootFs`]). Refuses to know images, containers or builds: it is told ids and paths.

mod active;
mod archive;
mod changes;
mod detached;
mod error;
mod id;
mod merge;
mod overlay;
mod pack;
mod prefetch;
mod record;
pub mod rootfs;
mod snapshots;
mod stack;
mod unpack;
mod xattr;

pub use active::ActiveSnapshot;
pub use changes::Change;
pub use detached::{Detached, disk_usage, erase_directory};
pub use error::SnapshotError;
pub use id::{SnapshotId, SnapshotIdError};
pub use overlay::OverlaySpec;
pub use pack::LayerInfo;
pub use record::{Snapshot, State};
pub use rootfs::RootFs;
pub use snapshots::{Limits, Snapshots};
pub use unpack::{ExtractOptions, UnpackedLayer};
