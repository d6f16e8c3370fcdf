//! What a world shows of control groups.

use std::io;
use std::path::Path;

use rustix::mount::MountFlags;

const MOUNT: &str = "/sys/fs/cgroup";

/// Puts the unified hierarchy where everybody looks for it, in this mount namespace, when the host has those of
/// version 1 there: a normal user can be given nothing in those, and what is read of the unified one is true.
pub(crate) fn show_unified() -> io::Result<()> {
    if Path::new(MOUNT).join("cgroup.controllers").exists() {
        return Ok(());
    }
    let unified = Path::new(MOUNT).join("unified");
    if unified.join("cgroup.procs").exists() {
        rustix::mount::mount_bind(&unified, MOUNT)?;
        return Ok(());
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("cgroup2", MOUNT, "cgroup2", flags, None)?;
    Ok(())
}
