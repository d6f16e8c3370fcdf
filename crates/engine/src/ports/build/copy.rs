//! Putting files on top of a snapshot: `COPY`, `ADD`, `WORKDIR`.

use std::path::{Path, PathBuf};

use coracle_build::{CopyItem, CopyRequest, DirectoryRequest, SnapshotRef, SourceFault, SourcePath, Unpack};
use coracle_report::Diagnostic;
use coracle_snapshot::rootfs::{CopyOptions, FileKind};
use coracle_snapshot::{ActiveSnapshot, RootFs};

use super::sources::{Exclude, Matched, Sources, both};
use super::{EngineHost, fault, parse_parent};
use crate::containers::look_up_user;
use crate::{During, Failure, Result};

/// Mode of files that the Dockerfile itself gives.
const INLINE_MODE: u32 = 0o644;

impl EngineHost<'_> {
    fn prepare(&self, parent: Option<&SnapshotRef>) -> Result<(ActiveSnapshot, RootFs)> {
        let parent = parse_parent(parent)?;
        let active = self.engine.snapshots.prepare(parent.as_ref()).during("preparing a step")?;
        let root =
            active.mount_spec().volatile().mount_detached(false).during("mounting a step's file system")?;
        Ok((active, RootFs::new(root)))
    }

    pub(super) fn copy_files(
        &self,
        request: &CopyRequest,
        from: &Sources,
    ) -> Result<Option<SnapshotRef>, SourceFault> {
        let paths: Vec<SourcePath> = request
            .items
            .iter()
            .filter_map(|item| match item {
                CopyItem::Path(path) => Some(path.clone()),
                CopyItem::Inline(_) | CopyItem::Download(_) => None,
            })
            .collect();
        let matched = from.select(&paths)?;
        let exclude = Exclude::parse(&request.exclude)?;
        let (active, to) = self.prepare(request.parent.as_ref()).map_err(fault)?;
        self.put(request, from, &matched, &exclude, &to).map_err(fault)?;
        drop(to);
        self.commit(active).map(Some).map_err(fault)
    }

    fn put(
        &self,
        request: &CopyRequest,
        from: &Sources,
        matched: &[Matched],
        exclude: &Exclude,
        to: &RootFs,
    ) -> Result<()> {
        let owner = match &request.chown {
            None => (0, 0),
            Some(text) => owner(to, text)?,
        };
        let mode = request.chmod.as_deref().map(octal).transpose()?;
        if request.unpack != Unpack::Never
            && let Some(archive) = matched.iter().find(|source| is_archive(from, source))
        {
            let message = format!("ADD does not unpack archives yet: {}", archive.path.display());
            return Err(Failure::user(
                Diagnostic::error("not-supported", message)
                    .with_hint("unpack it in a RUN step with a bind mount"),
            ));
        }
        let dest = Path::new(&request.dest);
        let during = || format!("copying to {}", request.dest);
        let existing = to.stat(dest).during(during())?;
        let single = matched.len() + (request.items.len() - path_count(request)) == 1;
        let into_directory = request.dest.ends_with('/')
            || !single
            || request.parents
            || existing.is_some_and(|metadata| metadata.kind == FileKind::Directory)
            || matched.iter().any(|source| source.metadata.kind == FileKind::Directory);
        if into_directory {
            to.mkdir_all(dest, 0o755, owner.0, owner.1).during(during())?;
        }
        for source in matched {
            let filter = |path: &Path, is_directory: bool| {
                // The copy gives paths below the source.
                let whole = source.path.join(path);
                both(from.visit(&whole, is_directory), exclude.visit(&whole, &source.path, is_directory))
            };
            let options = CopyOptions { owner: Some(owner), mode, filter: Some(&filter), keep_mtime: true };
            let target = target(request, source, dest, into_directory);
            if request.parents
                && let Some(parent) = target.parent()
            {
                to.mkdir_all(parent, 0o755, owner.0, owner.1).during(during())?;
            }
            let path =
                if source.path.as_os_str().is_empty() { Path::new("/") } else { source.path.as_path() };
            to.copy_tree_in(&from.root, path, &target, &options).during(during())?;
        }
        for item in &request.items {
            let CopyItem::Inline(file) = item else { continue };
            let path = if into_directory { dest.join(&file.name) } else { dest.to_owned() };
            if let Some(parent) = path.parent() {
                to.mkdir_all(parent, 0o755, owner.0, owner.1).during(during())?;
            }
            to.write_file(&path, file.content.as_bytes(), mode.unwrap_or(INLINE_MODE), owner.0, owner.1)
                .during(during())?;
        }
        Ok(())
    }

    pub(super) fn make_path(&self, request: &DirectoryRequest) -> Result<Option<SnapshotRef>> {
        let path = Path::new(&request.path);
        if let Some(parent) = parse_parent(request.parent.as_ref())? {
            let view = self.engine.snapshots.view(&parent).during("looking into a stage")?;
            let metadata = RootFs::new(view).stat(path).during("looking for a directory")?;
            if metadata.is_some_and(|metadata| metadata.kind == FileKind::Directory) {
                return Ok(request.parent.clone());
            }
        }
        let (active, to) = self.prepare(request.parent.as_ref())?;
        let (uid, gid) = match &request.owner {
            None => (0, 0),
            Some(text) => owner(&to, text)?,
        };
        to.mkdir_all(path, 0o755, uid, gid).during(format_args!("making {}", request.path))?;
        drop(to);
        self.commit(active).map(Some)
    }
}

fn path_count(request: &CopyRequest) -> usize {
    request.items.iter().filter(|item| matches!(item, CopyItem::Path(_))).count()
}

/// Returns where a source goes.
fn target(request: &CopyRequest, source: &Matched, dest: &Path, into_directory: bool) -> PathBuf {
    if request.parents {
        let kept = source.path.strip_prefix(&source.pivot).unwrap_or(&source.path);
        return dest.join(kept);
    }
    match source.path.file_name() {
        Some(name) if into_directory && source.metadata.kind != FileKind::Directory => dest.join(name),
        _ => dest.to_owned(),
    }
}

/// Looks up `user[:group]`; a number without a group stands for both, as in Docker.
fn owner(root: &RootFs, text: &str) -> Result<(u32, u32)> {
    if let Ok(number) = text.parse::<u32>() {
        return Ok((number, number));
    }
    let user = look_up_user(root, text, &[]).map_err(|error| {
        Failure::user(Diagnostic::error("no-such-user", format!("--chown={text}: {error}")))
    })?;
    Ok((user.uid, user.gid))
}

fn octal(text: &str) -> Result<u32> {
    u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777).ok_or_else(|| {
        let message = format!("--chmod={text} is not octal");
        Failure::user(Diagnostic::error("bad-chmod", message).with_hint("write it as 0755"))
    })
}

/// Looks for the beginnings of tar, gzip, bzip2, xz and zstd.
fn is_archive(from: &Sources, source: &Matched) -> bool {
    use std::io::Read as _;
    if source.metadata.kind != FileKind::File {
        return false;
    }
    let mut head = [0; 512];
    let Ok(mut file) = from.root.open(&source.path) else { return false };
    let count = file.read(&mut head).unwrap_or(0);
    let begins = |magic: &[u8]| head[..count].starts_with(magic);
    begins(b"\x1f\x8b")
        || begins(b"BZh")
        || begins(b"\xfd7zXZ")
        || begins(b"\x28\xb5\x2f\xfd")
        || head[..count].get(257..262) == Some(b"ustar")
}
