//! The program file that shims are started from, out of reach of containers.
//!
//! A process of a container that finds a shim, or that was one before it became the container's program, can open
//! the shim's executable through `/proc/PID/exe` and overwrite it once nobody runs it (CVE-2019-5736). A shim is
//! therefore started from a read-only mount of the file that is attached nowhere and ends with it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::mount::OpenTreeFlags;

use crate::syscall;

/// Returns `program` on a read-only mount of its own; it is executed as `/proc/self/fd/N`.
///
/// Needs CAP_SYS_ADMIN and Linux 5.12; who has neither runs the file as it is.
pub fn protected(program: &Path) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = rustix::mount::open_tree(rustix::fs::CWD, program, flags)?;
    syscall::make_tree_read_only(tree.as_fd())?;
    Ok(tree)
}
