//! The root file system of a container: its overlay mount, the directory it works in, and mount points that leave no
//! trace.
//!
//! Paths inside the root are resolved by `openat2` with RESOLVE_IN_ROOT: a link in an image never leads out.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags};

use crate::config::{Overlay, WorkingDirectory};
use crate::identity;

/// The kernel takes one page of options in mount(2).
const MAX_OPTIONS: usize = 4000;

/// Mounts `overlay` at `target`, an existing directory.
pub(crate) fn mount(overlay: &Overlay, target: &Path) -> io::Result<()> {
    if overlay.lower.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the root file system has no layer"));
    }
    if let (None, [only]) = (&overlay.upper, overlay.lower.as_slice()) {
        // The driver refuses a single layer without an upper directory.
        rustix::mount::mount_bind(only, target)?;
        rustix::mount::mount_remount(target, MountFlags::BIND | MountFlags::RDONLY, c"")?;
        return Ok(());
    }
    let mut overlay = overlay.clone();
    if identity::in_user_namespace() {
        // The kernel keeps its marks where a user may write (5.11).
        overlay.options.push("userxattr".to_owned());
    }
    let overlay = &overlay;
    if !takes_layers_one_by_one() {
        return mount_by_string(overlay, target);
    }
    match mount_by_descriptor(overlay, target) {
        // A kernel that calls itself new and is not.
        Err(Errno::INVAL | Errno::NOSYS) => mount_by_string(overlay, target),
        Err(error) => Err(error.into()),
        Ok(()) => Ok(()),
    }
}

/// Returns whether the kernel knows the options of overlay one by one: from 6.5 on. Older ones would find out, too, but write
/// each attempt into their log.
fn takes_layers_one_by_one() -> bool {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let mut numbers = release.split(['.', '-', '+']).map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(5))
}

fn mount_by_descriptor(overlay: &Overlay, target: &Path) -> Result<(), Errno> {
    use rustix::mount::{
        fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount,
    };
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", "coracle")?;
    for lower in &overlay.lower {
        fsconfig_set_string(&context, "lowerdir+", lower)?;
    }
    if let (Some(upper), Some(work)) = (&overlay.upper, &overlay.work) {
        fsconfig_set_string(&context, "upperdir", upper)?;
        fsconfig_set_string(&context, "workdir", work)?;
    }
    for option in &overlay.options {
        match option.split_once('=') {
            Some((key, value)) => fsconfig_set_string(&context, key, value)?,
            None => fsconfig_set_flag(&context, option.as_str())?,
        }
    }
    fsconfig_create(&context)?;
    let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    move_mount(&mount, "", rustix::fs::CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

fn mount_by_string(overlay: &Overlay, target: &Path) -> io::Result<()> {
    let whole = options(overlay, None);
    if whole.len() <= MAX_OPTIONS {
        return mount_overlay(&whole, target);
    }
    // Many layers fit when their names are relative to the directory they share.
    let base = shared_directory(overlay);
    let short = options(overlay, Some(&base));
    let back = std::env::current_dir()?;
    std::env::set_current_dir(&base)?;
    let mounted = mount_overlay(&short, target);
    std::env::set_current_dir(back)?;
    mounted
}

fn mount_overlay(options: &OsStr, target: &Path) -> io::Result<()> {
    let options = std::ffi::CString::new(options.as_bytes())?;
    rustix::mount::mount("coracle", target, "overlay", MountFlags::empty(), options.as_c_str())?;
    Ok(())
}

fn shared_directory(overlay: &Overlay) -> PathBuf {
    let mut paths = overlay.lower.iter().chain(&overlay.upper).chain(&overlay.work);
    let mut base = paths.next().and_then(|path| path.parent()).map_or_else(PathBuf::new, Path::to_path_buf);
    for path in paths {
        while !path.starts_with(&base) {
            base.pop();
        }
    }
    base
}

/// Returns the option string of mount(2), with paths relative to `base` if one is given.
fn options(overlay: &Overlay, base: Option<&Path>) -> OsString {
    let escaped = |path: &Path| {
        let path = base.and_then(|base| path.strip_prefix(base).ok()).unwrap_or(path);
        let mut bytes = Vec::new();
        for byte in path.as_os_str().as_bytes() {
            if matches!(byte, b':' | b',' | b'\\') {
                bytes.push(b'\\');
            }
            bytes.push(*byte);
        }
        OsString::from(OsStr::from_bytes(&bytes))
    };
    let mut text = OsString::from("lowerdir=");
    for (index, lower) in overlay.lower.iter().enumerate() {
        if index > 0 {
            text.push(":");
        }
        text.push(escaped(lower));
    }
    if let (Some(upper), Some(work)) = (&overlay.upper, &overlay.work) {
        text.push(",upperdir=");
        text.push(escaped(upper));
        text.push(",workdir=");
        text.push(escaped(work));
    }
    for option in &overlay.options {
        text.push(",");
        text.push(option);
    }
    text
}

fn open_root(root: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(root, flags, Mode::empty())?)
}

fn open_inside(root: &impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    rustix::fs::openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::IN_ROOT)
}

/// Makes `directory` and its missing parents in the root file system at `root`; an existing one is left alone.
pub(crate) fn make_directory(root: &Path, directory: &WorkingDirectory) -> io::Result<()> {
    let root = open_root(root)?;
    let mut reached = PathBuf::new();
    let mut current = open_inside(&root, Path::new("."))?;
    for component in Path::new(&directory.path).components() {
        let name = match component {
            Component::Normal(name) => name,
            Component::ParentDir => {
                reached.pop();
                current = open_inside(&root, &reached)?;
                continue;
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => continue,
        };
        reached.push(name);
        match open_inside(&root, &reached) {
            Ok(found) => current = found,
            Err(Errno::NOENT) => {
                // A link that leads nowhere is found here too, and mkdir then says that it exists.
                rustix::fs::mkdirat(&current, name, Mode::from_raw_mode(0o755))?;
                let owner = (Uid::from_raw(directory.uid), Gid::from_raw(directory.gid));
                rustix::fs::chownat(&current, name, Some(owner.0), Some(owner.1), AtFlags::SYMLINK_NOFOLLOW)?;
                current = open_inside(&root, &reached)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Refuses a root file system where something else than a directory lies where the kernel's file systems belong.
///
/// The runtime makes the links of `/dev` before it enters the root, by their paths: were `/dev` a link of the image,
/// they would be made on the host (CVE-2026-41579).
pub(crate) fn check_places(root: &Path) -> io::Result<()> {
    let root = open_root(root)?;
    for name in ["dev", "proc", "sys"] {
        let kind = match rustix::fs::statat(&root, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => rustix::fs::FileType::from_raw_mode(stat.st_mode),
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(error.into()),
        };
        if !kind.is_dir() {
            let what = if kind.is_symlink() { "a symbolic link" } else { "a file" };
            let message = format!("`/{name}` is {what} in the image; it must be a directory, or missing");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
    }
    Ok(())
}

/// A mount point that a run makes in the root file system, to be taken out afterwards.
pub(crate) struct MountPoint {
    /// The topmost path that did not exist.
    path: PathBuf,
    /// The target below it.
    target: PathBuf,
    /// Times of the directory that gets it.
    times: Timestamps,
}

/// Returns those of `targets` that do not exist yet, with what is needed to undo their making.
pub(crate) fn missing(root: &Path, targets: &[PathBuf]) -> io::Result<Vec<MountPoint>> {
    let root = open_root(root)?;
    let mut list = Vec::new();
    for target in targets {
        let target: PathBuf =
            target.components().filter(|part| matches!(part, Component::Normal(_))).collect();
        let mut path = PathBuf::new();
        for part in target.components() {
            let parent = path.clone();
            path.push(part);
            if open_inside(&root, &path).is_err_and(|error| error == Errno::NOENT) {
                let stat = rustix::fs::fstat(open_inside(&root, &parent)?)?;
                let times = Timestamps {
                    last_access: Timespec {
                        tv_sec: stat.st_atime,
                        tv_nsec: stat.st_atime_nsec.cast_signed(),
                    },
                    last_modification: Timespec {
                        tv_sec: stat.st_mtime,
                        tv_nsec: stat.st_mtime_nsec.cast_signed(),
                    },
                };
                list.push(MountPoint { path, target, times });
                break;
            }
        }
    }
    Ok(list)
}

/// Takes out mount points that are still as empty as they were made, and gives their directories their times back.
pub(crate) fn remove(root: &Path, points: &[MountPoint]) -> io::Result<()> {
    let root = open_root(root)?;
    for point in points.iter().rev() {
        let mut path = point.target.as_path();
        while let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
            if let Ok(directory) = open_inside(&root, parent) {
                remove_empty(&directory, name);
            }
            if path == point.path {
                break;
            }
            path = parent;
        }
        if let Some(Ok(directory)) = point.path.parent().map(|parent| open_inside(&root, parent)) {
            let _ = rustix::fs::utimensat(&directory, "", &point.times, AtFlags::EMPTY_PATH);
        }
    }
    Ok(())
}

fn remove_empty(directory: &OwnedFd, name: &OsStr) {
    let Ok(stat) = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else { return };
    let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
    // A failure means that the run put something there, which then stays.
    if kind.is_dir() {
        let _ = rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR);
    } else if kind.is_file() && stat.st_size == 0 {
        let _ = rustix::fs::unlinkat(directory, name, AtFlags::empty());
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn overlay(lower: &[&str]) -> Overlay {
        Overlay {
            lower: lower.iter().map(PathBuf::from).collect(),
            upper: Some(PathBuf::from("/data/snapshots/9/fs")),
            work: Some(PathBuf::from("/data/snapshots/9/work")),
            options: vec!["volatile".to_owned()],
        }
    }

    #[test]
    fn option_strings() {
        let overlay = overlay(&["/data/snapshots/a:b/fs", "/data/snapshots/2/fs"]);
        assert_eq!(shared_directory(&overlay), Path::new("/data/snapshots"));
        assert_eq!(
            options(&overlay, Some(Path::new("/data/snapshots"))),
            "lowerdir=a\\:b/fs:2/fs,upperdir=9/fs,workdir=9/work,volatile"
        );
    }

    #[test]
    fn directories_are_made_inside_the_root() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("srv")).unwrap();
        std::os::unix::fs::symlink("/srv", root.path().join("link")).unwrap();
        std::os::unix::fs::symlink(outside.path(), root.path().join("out")).unwrap();
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let make =
            |path: &str| make_directory(root.path(), &WorkingDirectory { path: path.to_owned(), uid, gid });
        make("/link/app/deep").unwrap();
        assert!(root.path().join("srv/app/deep").is_dir());
        make("/").unwrap();
        assert!(make("/out/app").is_err());
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn places_of_the_kernel_are_directories() {
        let root = tempfile::tempdir().unwrap();
        check_places(root.path()).unwrap();
        fs::create_dir(root.path().join("proc")).unwrap();
        check_places(root.path()).unwrap();
        std::os::unix::fs::symlink("/tmp", root.path().join("dev")).unwrap();
        let error = check_places(root.path()).unwrap_err();
        assert!(error.to_string().contains("`/dev` is a symbolic link"), "{error}");
        fs::remove_file(root.path().join("dev")).unwrap();
        fs::write(root.path().join("sys"), "").unwrap();
        assert!(check_places(root.path()).is_err());
    }

    #[test]
    fn mount_points_leave_no_trace() {
        let root = tempfile::tempdir().unwrap();
        let etc = root.path().join("etc");
        fs::create_dir(&etc).unwrap();
        let before = fs::metadata(&etc).unwrap().modified().unwrap();
        let targets = ["/etc/resolv.conf", "/run/secrets", "/etc"].map(PathBuf::from);
        let points = missing(root.path(), &targets).unwrap();
        assert_eq!(points.len(), 2);
        fs::write(etc.join("resolv.conf"), "").unwrap();
        fs::create_dir_all(root.path().join("run/secrets")).unwrap();
        remove(root.path(), &points).unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
        assert_eq!(fs::metadata(&etc).unwrap().modified().unwrap(), before);

        let points = missing(root.path(), &targets).unwrap();
        fs::write(etc.join("resolv.conf"), "mine").unwrap();
        remove(root.path(), &points).unwrap();
        assert!(etc.join("resolv.conf").exists());
    }
}
