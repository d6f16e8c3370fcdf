//! Snapshots on a real file system: layers, hostile archives, many processes, full disks, mounts.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod archives;
mod hostile;
mod layers;
mod merged;
mod mounts;
mod processes;
mod rootfs;
mod world;
