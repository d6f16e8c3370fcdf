//! What bind mounts show: parts of the host's files, mounted in the shim's own namespace before the runtime binds them.
//!
//! A part of a volume is opened through `openat2` with RESOLVE_IN_ROOT and mounted by its descriptor: no link that a
//! container put into the volume leads out, and nothing can be swapped between the look and the mount.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::mount::{MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};

use crate::config::{Propagation, ShimConfig, Source};
use crate::idmap;

/// Mounts every source anew, so that a restart sees what is there now.
pub(crate) fn place(config: &ShimConfig, bundle: &Path) -> io::Result<()> {
    for (number, source) in config.sources.iter().enumerate() {
        let place = ShimConfig::source(bundle, number);
        let _ = rustix::mount::unmount(&place, UnmountFlags::DETACH);
        place_one(source, &place).map_err(|error| {
            let mut path = source.root.display().to_string();
            if let Some(inside) = &source.inside {
                path = format!("{} of {path}", inside.display());
            }
            io::Error::new(error.kind(), format!("cannot mount {path}: {error}"))
        })?;
    }
    Ok(())
}

fn place_one(source: &Source, place: &Path) -> io::Result<()> {
    let opened = open(source)?;
    let is_directory = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&opened)?.st_mode).is_dir();
    mount_point(place, is_directory)?;
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    flags.set(OpenTreeFlags::AT_RECURSIVE, source.recursive);
    let tree = rustix::mount::open_tree(&opened, "", flags)?;
    if let Some(map) = &source.idmap {
        idmap::apply(tree.as_fd(), map, source.recursive)?;
    }
    rustix::mount::move_mount(tree.as_fd(), "", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    match source.propagation {
        Propagation::Private { recursive } => {
            let mut flags = MountPropagationFlags::PRIVATE;
            flags.set(MountPropagationFlags::REC, recursive);
            rustix::mount::mount_change(place, flags)?;
        }
        // As all mounts of the shim are.
        Propagation::Slave => {}
    }
    Ok(())
}

fn open(source: &Source) -> io::Result<OwnedFd> {
    let root = rustix::fs::open(&source.root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let Some(inside) = &source.inside else { return Ok(root) };
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    Ok(rustix::fs::openat2(&root, inside, flags, Mode::empty(), ResolveFlags::IN_ROOT)?)
}

/// Makes the directory or file that something is mounted on; one of the other kind, left by an earlier run, goes.
fn mount_point(place: &Path, is_directory: bool) -> io::Result<()> {
    if let Some(parent) = place.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    if is_directory {
        let _ = fs::remove_file(place);
        match fs::create_dir(place) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        }
    } else {
        let _ = fs::remove_dir(place);
        File::options().create(true).append(true).open(place).map(drop)
    }
}
