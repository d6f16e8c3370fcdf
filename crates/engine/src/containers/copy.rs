//! Files into and out of containers: `docker cp`.
//!
//! A running container is seen as its processes see it, volumes included; one that does not run by its snapshot, with
//! its volumes and bind mounts where they are mounted. Paths are walked inside that root, whatever links say.

use std::io::Write;
use std::path::{Component, Path, PathBuf};

use coracle_container::{ContainerId, ContainerState, MountKind};
use coracle_report::Diagnostic;
use coracle_snapshot::rootfs::{CopyOptions, CopySummary, FileKind};
use coracle_snapshot::{ExtractOptions, RootFs, SnapshotId};

use super::launch::gone;
use super::{ContainerView, Containers};
use crate::contexts::Throwaway;
use crate::process::lives;
use crate::{During, Failure, Result};

/// How files are copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyRequest {
    /// Owner and group stay as they are; else what comes into a container is root's, and what comes out is ours.
    pub archive: bool,
    /// A link that the source names is followed.
    pub follow_link: bool,
}

/// A place in a container: the root that it lies in, and the path inside that.
struct Place {
    root: RootFs,
    path: PathBuf,
}

impl Containers<'_> {
    /// Copies a file or directory of the host into a container. `source` may end with `/.`: a directory's content.
    pub fn copy_in(
        &self,
        id: &ContainerId,
        source: &Path,
        destination: &str,
        request: CopyRequest,
    ) -> Result<CopySummary> {
        let view = self.view(id)?.ok_or_else(|| gone(id))?;
        let place = self.place(&view, destination, false)?;
        let here = absolute(source)?;
        let host = RootFs::open_directory(Path::new("/")).during("opening the host's root")?;
        let from = Origin { root: &host, path: &here, text: &source.to_string_lossy() };
        let owner = (!request.archive).then_some((0, 0));
        transfer(&from, &place.root, &place.path, destination, request, owner)
    }

    /// Copies a file or directory of a container to the host.
    pub fn copy_out(
        &self,
        id: &ContainerId,
        source: &str,
        destination: &Path,
        request: CopyRequest,
    ) -> Result<CopySummary> {
        let view = self.view(id)?.ok_or_else(|| gone(id))?;
        let place = self.place(&view, source, true)?;
        let host = RootFs::open_directory(Path::new("/")).during("opening the host's root")?;
        let there = absolute(destination)?;
        let from = Origin { root: &place.root, path: &place.path, text: source };
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let owner = (!request.archive).then_some((uid, gid));
        transfer(&from, &host, &there, &destination.to_string_lossy(), request, owner)
    }

    /// Writes a file or directory of a container as a tar archive.
    pub fn copy_to_archive(&self, id: &ContainerId, source: &str, out: &mut dyn Write) -> Result<()> {
        let view = self.view(id)?.ok_or_else(|| gone(id))?;
        let place = self.place(&view, source, true)?;
        let there = place.root.stat(&place.path).during("looking up the source")?;
        if there.is_none() {
            return Err(missing(source));
        }
        // The archive's one member at the top is the source, as Docker has it: made in a directory of its own.
        let staging = Throwaway::new(&self.engine.layout)?;
        let to = RootFs::open_directory(staging.path()).during("opening the directory for the archive")?;
        let name =
            place.path.file_name().map_or_else(|| PathBuf::from("/"), |name| Path::new("/").join(name));
        let options = CopyOptions { keep_mtime: true, ..CopyOptions::default() };
        to.copy_tree_in(&place.root, &place.path, &name, &options)
            .and_then(|_| to.tar(out))
            .during(format_args!("copying {source}"))
    }

    /// Unpacks a tar archive into a directory of a container.
    pub fn copy_from_archive(
        &self,
        id: &ContainerId,
        archive: &std::fs::File,
        destination: &str,
        request: CopyRequest,
    ) -> Result<()> {
        let view = self.view(id)?.ok_or_else(|| gone(id))?;
        let place = self.place(&view, destination, false)?;
        let there = place.root.stat(&place.path).during("looking up the destination")?;
        if there.is_none_or(|there| there.kind != FileKind::Directory) {
            let message = format!("{destination} is no directory of container `{}`", view.record.spec.name);
            return Err(Failure::user(Diagnostic::error("no-directory", message)));
        }
        let archive = seekable(archive).during("reading standard input")?;
        let options =
            ExtractOptions { owner: (!request.archive).then_some((0, 0)), ..ExtractOptions::default() };
        let done = place
            .root
            .extract_archive(&place.path, archive, &options)
            .during(format_args!("unpacking into {destination}"))?;
        if done {
            return Ok(());
        }
        Err(Failure::user(Diagnostic::error("no-archive", "standard input is no tar archive")))
    }

    /// Returns where a path of a container is; `reading` never changes anything.
    fn place(&self, view: &ContainerView, path: &str, reading: bool) -> Result<Place> {
        let name = &view.record.spec.name;
        // Relative paths start at the container's root.
        let path = clean(Path::new(path));
        if let ContainerState::Running { process, .. } | ContainerState::Paused { process, .. } = &view.state
        {
            let root = RootFs::open_directory(Path::new(&format!("/proc/{}/root", process.pid)))
                .during(format_args!("looking into container {name}"))?;
            // Another process may have got its number just before.
            if !lives(process) {
                let message = format!("container `{name}` has just ended");
                return Err(Failure::user(Diagnostic::error("not-running", message)));
            }
            return Ok(Place { root, path });
        }
        let mounts = view.record.spec.mounts.iter().filter(|mount| path.starts_with(&mount.target));
        let mount = mounts.max_by_key(|mount| mount.target.len());
        if let Some(mount) = mount {
            let (source, part) = match &mount.kind {
                MountKind::Volume { name, subpath, .. } => {
                    (Some(self.engine.volumes().data(name)), subpath.as_deref())
                }
                MountKind::Bind { source, .. } => (Some(source.clone()), None),
                _ => (None, None),
            };
            if !reading && mount.read_only {
                let message = format!("{} is mounted read-only in container `{name}`", mount.target);
                return Err(Failure::user(Diagnostic::error("read-only", message)));
            }
            if let Some(source) = source.filter(|source| source.is_dir()) {
                let root =
                    RootFs::open_directory(&source).during(format_args!("opening {}", source.display()))?;
                let root = match part {
                    Some(part) => root.subtree(Path::new(part)).during(format_args!("opening `{part}`"))?,
                    None => root,
                };
                let below = path.strip_prefix(&mount.target).unwrap_or(Path::new(""));
                return Ok(Place { root, path: Path::new("/").join(below) });
            }
        }
        if !reading && view.record.spec.read_only {
            let message = format!("the file system of container `{name}` is read-only");
            return Err(Failure::user(Diagnostic::error("read-only", message)));
        }
        let snapshot: SnapshotId = view.record.snapshot.parse().during("reading the container's record")?;
        let root = self
            .engine
            .snapshots
            .held(&snapshot)
            .and_then(|overlay| overlay.mount_detached(reading))
            .during(format_args!("looking into container {name}"))?;
        Ok(Place { root: RootFs::new(root), path })
    }
}

/// What is copied.
struct Origin<'a> {
    root: &'a RootFs,
    path: &'a Path,
    /// As the user wrote it.
    text: &'a str,
}

fn transfer(
    from: &Origin<'_>,
    to: &RootFs,
    destination: &Path,
    written: &str,
    request: CopyRequest,
    owner: Option<(u32, u32)>,
) -> Result<CopySummary> {
    let look = if request.follow_link { RootFs::stat } else { RootFs::stat_link };
    let source = look(from.root, from.path).during(format_args!("looking up {}", from.text))?;
    let source = source.ok_or_else(|| missing(from.text))?;
    let directory = source.kind == FileKind::Directory;
    let there = to.stat(destination).during(format_args!("looking up {written}"))?;
    let there = there.map(|there| there.kind == FileKind::Directory);
    let names = Names {
        source: from.path,
        contents: is_contents(from.text),
        destination,
        slash: written.ends_with('/'),
    };
    let target = target(&names, directory, there)
        .map_err(|why| Failure::user(Diagnostic::error("cannot-copy", format!("{written}: {why}"))))?;
    if there.is_none() && destination.parent().is_some_and(|parent| !matches!(to.stat(parent), Ok(Some(_)))) {
        let message = format!("{written}: the directory above it is not there");
        return Err(Failure::user(Diagnostic::error("cannot-copy", message)));
    }
    let options = CopyOptions { owner, keep_mtime: true, ..CopyOptions::default() };
    let kept = source.mode & 0o7777;
    if source.kind == FileKind::Symlink {
        let link = from.root.read_link(from.path).during(format_args!("reading {}", from.text))?;
        if to.stat_link(&target).during(format_args!("looking up {written}"))?.is_some() {
            to.remove(&target).during(format_args!("replacing {written}"))?;
        }
        to.symlink(&link, &target).during(format_args!("writing {written}"))?;
        return Ok(CopySummary { files: 1, bytes: 0 });
    }
    let new = directory && there.is_none();
    let summary = to
        .copy_tree_in(from.root, from.path, &target, &options)
        .during(format_args!("copying {}", from.text))?;
    if new {
        let (uid, gid) = owner.unwrap_or((source.uid, source.gid));
        to.set_attributes(&target, kept, uid, gid).during(format_args!("writing {written}"))?;
    }
    Ok(summary)
}

/// The two ends of a copy.
struct Names<'a> {
    source: &'a Path,
    /// Whether the source was written with `/.`: only what is in it.
    contents: bool,
    destination: &'a Path,
    /// Whether the destination was written with a slash at its end.
    slash: bool,
}

/// Decides what the copy is called, by the rules of `docker cp`. `there` says of the destination whether it exists, and
/// then whether it is a directory.
fn target(
    names: &Names<'_>,
    directory: bool,
    there: Option<bool>,
) -> std::result::Result<PathBuf, &'static str> {
    let inside = || match names.source.file_name() {
        Some(name) => names.destination.join(name),
        // The root itself.
        None => names.destination.to_owned(),
    };
    match (directory, there) {
        (_, None) if !directory && names.slash => Err("no such directory"),
        (true, Some(false)) => Err("is a file, which a directory cannot replace"),
        (true, Some(true)) if names.contents => Ok(names.destination.to_owned()),
        (_, Some(true)) => Ok(inside()),
        (false, Some(false)) if names.slash => Err("is no directory"),
        (_, None) | (false, Some(false)) => Ok(names.destination.to_owned()),
    }
}

fn is_contents(text: &str) -> bool {
    text == "." || text.ends_with("/.")
}

/// Returns a path from the root on, without `.` and `..`; the latter stop at the root.
fn clean(path: &Path) -> PathBuf {
    let mut out = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => out.push(name),
            Component::ParentDir => {
                out.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    out
}

fn absolute(path: &Path) -> Result<PathBuf> {
    let here = std::path::absolute(path).during(format_args!("looking for {}", path.display()))?;
    Ok(clean(&here))
}

fn missing(path: &str) -> Failure {
    Failure::user(Diagnostic::error("no-such-file", format!("{path}: no such file or directory")))
}

/// Holds standard input as a file that can be read twice: a pipe is written to a file first.
fn seekable(input: &std::fs::File) -> std::io::Result<std::fs::File> {
    if input.metadata()?.is_file() {
        return input.try_clone();
    }
    let mut file = tempfile::tempfile()?;
    std::io::copy(&mut &*input, &mut file)?;
    std::io::Seek::rewind(&mut file)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of Docker's documentation of `docker cp`.
    #[test]
    fn names_of_copies() {
        let of = |source: &str, destination: &str, directory, there| {
            let (from, to) = (clean(Path::new(source)), clean(Path::new(destination)));
            let names = Names {
                source: &from,
                contents: is_contents(source),
                destination: &to,
                slash: destination.ends_with('/'),
            };
            target(&names, directory, there).map(|path| path.display().to_string())
        };
        let file = |destination, there| of("/a/f", destination, false, there);
        assert_eq!(file("/b/g", None).unwrap(), "/b/g");
        assert!(file("/b/g/", None).is_err());
        assert_eq!(file("/b/g", Some(false)).unwrap(), "/b/g");
        assert_eq!(file("/b", Some(true)).unwrap(), "/b/f");
        let tree = |source, there| of(source, "/b", true, there);
        assert_eq!(tree("/a/d", None).unwrap(), "/b");
        assert!(tree("/a/d", Some(false)).is_err());
        assert_eq!(tree("/a/d", Some(true)).unwrap(), "/b/d");
        assert_eq!(tree("/a/d/.", Some(true)).unwrap(), "/b");
        assert_eq!(tree("/a/d/.", None).unwrap(), "/b");
    }

    #[test]
    fn paths_do_not_leave_the_root() {
        assert_eq!(clean(Path::new("../../etc/./passwd")), Path::new("/etc/passwd"));
        assert_eq!(clean(Path::new("a//b/")), Path::new("/a/b"));
    }
}
