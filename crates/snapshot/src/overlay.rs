//! Mounting layers as file descriptors that never appear in the mount table (kernel 5.2+).
//!
//! A detached mount is a root that [`crate::RootFs`] can use, or that `move_mount` puts somewhere. It lives as long
//! as its descriptor.

#![allow(unsafe_code)]

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, OpenTreeFlags,
    fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount, mount_change, open_tree,
};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use serde::{Deserialize, Serialize};

use crate::error::{Result, SnapshotError};
use crate::{SnapshotId, Snapshots, xattr};

/// What a writable overlay mount consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverlaySpec {
    /// Layers that are read, topmost first. May be empty: then `upper` is mounted by itself.
    pub lower: Vec<PathBuf>,
    /// The layer that takes changes.
    pub upper: PathBuf,
    /// Overlay's work directory, on the file system of `upper`.
    pub work: PathBuf,
    /// Whether `fsync` within the mount does nothing. Only for work that a crash may lose, such as a build step: a
    /// volatile upper layer cannot be mounted again with the same work directory.
    #[serde(default)]
    pub volatile: bool,
}

impl OverlaySpec {
    /// Returns the same mount without `fsync`.
    pub fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    /// Mounts the layers without a place in the tree.
    pub fn mount_detached(&self, read_only: bool) -> Result<OwnedFd> {
        if self.lower.is_empty() {
            return clone_directory(&self.upper, read_only);
        }
        mount_layers(&self.lower, Some(self), read_only)
    }
}

impl Snapshots {
    /// Mounts a committed snapshot, read only, without a place in the tree.
    pub fn view(&self, id: &SnapshotId) -> Result<OwnedFd> {
        view_layers(&self.lowerdirs(id)?)
    }
}

/// Mounts layers, topmost first, read only, without a place in the tree.
pub(crate) fn view_layers(layers: &[PathBuf]) -> Result<OwnedFd> {
    match layers {
        [only] => clone_directory(only, true),
        _ => mount_layers(layers, None, true),
    }
}

fn fail(step: impl Into<String>) -> impl FnOnce(Errno) -> SnapshotError {
    |error| SnapshotError::Mount { step: step.into(), source: error.into() }
}

/// Mounts one directory as it is: overlay wants two layers, and a single one needs no merging.
fn clone_directory(path: &Path, read_only: bool) -> Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, path, flags).map_err(fail("clone the layer's directory"))?;
    if read_only {
        set_read_only(&tree).map_err(fail("make the mount read only"))?;
    }
    Ok(tree)
}

fn set_read_only(tree: impl AsFd) -> std::result::Result<(), Errno> {
    let attributes =
        libc::mount_attr { attr_set: libc::MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: the path is an empty C string, the structure lives through the call and its size is its own. No safe
    // wrapper of mount_setattr exists, and a remount does not work on a mount outside the tree.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO))
}

/// What fails when the kernel does not take the layers as they are.
const STEP: &str = "put the layers together";

fn mount_layers(lower: &[PathBuf], writable: Option<&OverlaySpec>, read_only: bool) -> Result<OwnedFd> {
    if !takes_layers_one_by_one() {
        return mount_by_options(lower, writable, read_only);
    }
    let context =
        fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(fail("open the overlay file system"))?;
    let context = context.as_fd();
    // Kernel 6.7 and later take the layers one by one; the value of one option is bounded by 255 bytes.
    for (at, layer) in lower.iter().enumerate() {
        match fsconfig_set_string(context, "lowerdir+", layer) {
            Ok(()) => {}
            Err(Errno::INVAL) if at == 0 => return mount_by_options(lower, writable, read_only),
            Err(error) => return Err(fail(explain(context, "add a layer"))(error)),
        }
    }
    if let Some(spec) = writable {
        for (key, path) in [("upperdir", &spec.upper), ("workdir", &spec.work)] {
            fsconfig_set_string(context, key, path)
                .map_err(|error| fail(explain(context, "set the upper layer"))(error))?;
        }
        if spec.volatile {
            fsconfig_set_flag(context, "volatile")
                .map_err(|error| fail(explain(context, "make it volatile"))(error))?;
        }
    }
    for (key, value) in FEATURES {
        fsconfig_set_string(context, *key, *value)
            .map_err(|error| fail(explain(context, "set an option"))(error))?;
    }
    if xattr::in_user_namespace() {
        fsconfig_set_flag(context, "userxattr")
            .map_err(|error| fail(explain(context, "keep marks where a user may write"))(error))?;
    }
    if let Err(error) = fsconfig_create(context) {
        let text = explain(context, STEP);
        // Before 6.5 the file system has no parameters of its own: every key is taken, and refused only now without a word.
        if error == Errno::INVAL && text == STEP {
            return mount_by_options(lower, writable, read_only);
        }
        return Err(fail(text)(error));
    }
    let attributes = if read_only { MountAttrFlags::MOUNT_ATTR_RDONLY } else { MountAttrFlags::empty() };
    fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(fail("mount"))
}

/// Returns whether the kernel knows the options of overlay one by one: from 6.5 on. Older ones would find out, too, but write
/// each attempt into their log.
fn takes_layers_one_by_one() -> bool {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let mut numbers = release.split(['.', '-', '+']).map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(5))
}

/// A layer must hold its files whole, at their own paths, or it could not become an archive or another's base.
const FEATURES: &[(&str, &str)] = &[("redirect_dir", "nofollow"), ("metacopy", "off"), ("index", "off")];

/// Adds what the kernel wrote into the context's log.
fn explain(context: BorrowedFd<'_>, step: &str) -> String {
    let mut text = step.to_owned();
    let mut buffer = [0; 1024];
    while let Ok(count @ 1..) = rustix::io::read(context, &mut buffer) {
        let line = String::from_utf8_lossy(&buffer[..count]);
        text.push_str(": ");
        text.push_str(line.trim_start_matches("e ").trim());
    }
    text
}

/// Mounts with `mount(2)` and all layers in one string, for kernels before 6.7.
///
/// That call needs a place in a tree: it gets one in a mount namespace that only a short-lived thread sees, from
/// where the mount is cloned. Paths are relative, because all options together are bounded by 4095 bytes.
fn mount_by_options(lower: &[PathBuf], writable: Option<&OverlaySpec>, read_only: bool) -> Result<OwnedFd> {
    let base = lower[0].ancestors().nth(2).unwrap_or(Path::new("/"));
    let relative = |path: &Path| path.strip_prefix(base).unwrap_or(path).as_os_str().to_owned();
    let mut options = OsString::from("lowerdir=");
    for (at, layer) in lower.iter().enumerate() {
        if at > 0 {
            options.push(":");
        }
        options.push(relative(layer));
    }
    if let Some(spec) = writable {
        options.push(",upperdir=");
        options.push(relative(&spec.upper));
        options.push(",workdir=");
        options.push(relative(&spec.work));
        if spec.volatile {
            options.push(",volatile");
        }
    }
    for (key, value) in FEATURES {
        options.push(format!(",{key}={value}"));
    }
    if xattr::in_user_namespace() {
        options.push(",userxattr");
    }
    if options.len() > 4095 {
        return Err(fail(format!("{} layers are too many for this kernel", lower.len()))(Errno::TOOBIG));
    }
    let place = relative(writable.map_or(&lower[0], |spec| &spec.upper));
    let mounted = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: only the thread's mount table, root and working directory are unshared, never its files.
            unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
            let private = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
            mount_change("/", private)?;
            rustix::process::chdir(base)?;
            let options = std::ffi::CString::new(options.as_encoded_bytes()).map_err(|_| Errno::INVAL)?;
            mount("overlay", &place, "overlay", MountFlags::empty(), options.as_c_str())?;
            // The mounted tree, not the directory below it: the path is walked anew.
            let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
            open_tree(CWD, &place, flags)
        });
        thread.join().unwrap_or(Err(Errno::IO))
    });
    let tree = mounted.map_err(fail(STEP))?;
    if read_only {
        set_read_only(&tree).map_err(fail("make the mount read only"))?;
    }
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RootFs;

    /// Old kernels' way gives the same tree as the new one, with no trace in the mount table.
    #[test]
    fn both_ways_of_mounting_agree() {
        if !rustix::process::geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none(), "needs root");
            eprintln!("SKIPPED: needs root to mount");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let layer = |name: &str| directory.path().join(name).join("fs");
        for name in ["1", "2", "3"] {
            std::fs::create_dir_all(layer(name)).unwrap();
            std::fs::write(layer(name).join(name), name).unwrap();
        }
        let lower = vec![layer("2"), layer("1")];
        let work = directory.path().join("3/work");
        std::fs::create_dir(&work).unwrap();
        let spec = OverlaySpec { lower: lower.clone(), upper: layer("3"), work, volatile: false };
        let before = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let names = |fd: OwnedFd| {
            let entries = RootFs::new(fd).walk(Path::new("/")).unwrap();
            entries.into_iter().map(|entry| entry.path).collect::<Vec<_>>()
        };
        let old = mount_by_options(&lower, Some(&spec), false).unwrap();
        assert_eq!(std::fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
        let old = names(old);
        assert_eq!(old, [Path::new("1"), Path::new("2"), Path::new("3")]);
        assert_eq!(names(spec.mount_detached(false).unwrap()), old);
        let read_only = RootFs::new(mount_by_options(&lower, None, true).unwrap());
        assert!(read_only.write_file(Path::new("x"), b"", 0o644, 0, 0).is_err());
        assert_eq!(std::fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
    }
}
