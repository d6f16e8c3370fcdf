//! Namespaces of other containers, joined or bound where the runtime specification names them.
//!
//! A namespace is reached through a process that its container's record names; the record holds the process's start
//! time, so that another process which took the number over since is never joined.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags};

use crate::config::{Partner, Shared, ShimConfig};
use crate::identity::ProcessIdentity;
use crate::state::ShimState;
use crate::syscall;

/// Joins the network namespace that a container shares, if it does.
pub(crate) fn join_network(config: &ShimConfig) -> io::Result<()> {
    let Some(partner) = config.partners.iter().find(|partner| partner.shared == Shared::Network) else {
        return Ok(());
    };
    let namespace = open(partner)?;
    syscall::join_namespace(namespace.as_fd())
}

/// Binds the other namespaces that a container shares into its bundle. Done at each start, since those of a container
/// that was started again are others.
pub(crate) fn bind(config: &ShimConfig, bundle: &Path) -> io::Result<()> {
    let directory = ShimConfig::namespaces(bundle);
    for partner in config.partners.iter().filter(|partner| partner.shared != Shared::Network) {
        fs::create_dir_all(&directory)?;
        let namespace = open(partner)?;
        let place = directory.join(partner.shared.file());
        clear(&place);
        File::create(&place)?;
        let source = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&namespace));
        rustix::mount::mount_bind(source.as_str(), &place)?;
        if partner.shared == Shared::Ipc {
            bind_shared_memory(partner, &directory.join("shm"))?;
        }
    }
    Ok(())
}

/// Takes what [`bind`] bound away again.
pub(crate) fn unbind(config: &ShimConfig, bundle: &Path) {
    let directory = ShimConfig::namespaces(bundle);
    for partner in &config.partners {
        clear(&directory.join(partner.shared.file()));
    }
    clear(&directory.join("shm"));
}

fn clear(place: &Path) {
    let _ = rustix::mount::unmount(place, UnmountFlags::DETACH);
}

/// Returns the process by which a container's namespace is reached.
fn process(partner: &Partner) -> io::Result<ProcessIdentity> {
    let stopped = || {
        let message =
            format!("container `{}`, whose {} it shares, does not run", partner.name, partner.shared);
        io::Error::new(io::ErrorKind::NotFound, message)
    };
    let state: ShimState = fs::read(&partner.state)
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok())
        .ok_or_else(stopped)?;
    let process = match (state, partner.shared) {
        // A shim keeps its network while its container waits to be started again.
        (
            ShimState::Running { shim, .. }
            | ShimState::Paused { shim, .. }
            | ShimState::Restarting { shim, .. },
            Shared::Network,
        ) => shim,
        (
            ShimState::Running { process, .. } | ShimState::Paused { process, .. },
            Shared::Ipc | Shared::Pid,
        ) => process,
        (ShimState::Restarting { .. }, Shared::Ipc | Shared::Pid)
        | (ShimState::Created | ShimState::Exited { .. }, _) => return Err(stopped()),
    };
    if process.exists() { Ok(process) } else { Err(stopped()) }
}

fn open(partner: &Partner) -> io::Result<File> {
    let process = process(partner)?;
    let file = File::open(format!("/proc/{}/ns/{}", process.pid, partner.shared.file()))?;
    still_there(&process)?;
    Ok(file)
}

fn still_there(process: &ProcessIdentity) -> io::Result<()> {
    if process.exists() {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::NotFound, "the process has ended"))
    }
}

/// Binds the `/dev/shm` of a container at `place`.
fn bind_shared_memory(partner: &Partner, place: &PathBuf) -> io::Result<()> {
    let process = process(partner)?;
    let theirs = File::open(format!("/proc/{}/ns/mnt", process.pid))?;
    still_there(&process)?;
    let ours = File::open("/proc/self/ns/mnt")?;
    clear(place);
    fs::create_dir_all(place)?;
    // A mount can only be copied from within its namespace; a process of its own goes there and comes back.
    let child = syscall::fork(|| {
        let copy = || -> io::Result<()> {
            syscall::join_namespace(theirs.as_fd())?;
            let flags = OpenTreeFlags::OPEN_TREE_CLONE
                | OpenTreeFlags::OPEN_TREE_CLOEXEC
                | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
            let tree = rustix::mount::open_tree(rustix::fs::CWD, "/dev/shm", flags)?;
            syscall::join_namespace(ours.as_fd())?;
            let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
            Ok(rustix::mount::move_mount(&tree, "", rustix::fs::CWD, place, flags)?)
        };
        copy().map_or_else(
            |error| error.raw_os_error().filter(|code| (1..=255).contains(code)).unwrap_or(255),
            |()| 0,
        )
    })?;
    match syscall::wait(child, true)? {
        Some(ended) if ended.code == 0 => Ok(()),
        Some(ended) => Err(io::Error::from_raw_os_error(ended.code)),
        None => Err(io::ErrorKind::NotFound.into()),
    }
}
