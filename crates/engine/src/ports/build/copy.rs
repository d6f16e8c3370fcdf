//! Putting files on top of a snapshot: `COPY`, `ADD`, `WORKDIR`.
//!
//! The rules are BuildKit's (`solver/llbsolver/file`, `fsutil/copy`): sources are put into place one after the other,
//! a directory's content into the destination, a file under its name into a directory that exists or is written
//! with `/`, else under the destination's name.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use coracle_build::{
    CopyItem, CopyRequest, DirectoryRequest, Downloaded, InlineFile, SnapshotRef, SourceFault, Unpack,
};
use coracle_report::Diagnostic;
use coracle_snapshot::rootfs::{CopyOptions, FileKind, ModeChange};
use coracle_snapshot::{ActiveSnapshot, ExtractOptions, RootFs, SnapshotError};

use super::download::Tree;
use super::sources::{Exclude, Matched, Sources, root_path};
use super::{EngineHost, fault, parse, parse_parent};
use crate::containers::look_up_user;
use crate::{During, Failure, Result};

/// Mode of files that the Dockerfile itself gives, and of downloads.
const INLINE_MODE: u32 = 0o644;
const DOWNLOAD_MODE: u32 = 0o600;

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
        cancel: &AtomicBool,
    ) -> Result<Option<SnapshotRef>, SourceFault> {
        let plan = Plan::new(request, from)?;
        let trees = request.items.iter().filter_map(|item| match item {
            CopyItem::Git(checkout) => Some(self.tree_of(checkout, cancel)),
            CopyItem::Path(_) | CopyItem::Inline(_) | CopyItem::Download(_) => None,
        });
        let trees = trees.collect::<Result<Vec<_>>>().map_err(fault)?;
        let (active, to) = self.prepare(request.parent.as_ref()).map_err(fault)?;
        plan.put(&to, &trees).map_err(fault)?;
        drop(to);
        self.commit(active).map(Some).map_err(fault)
    }

    pub(super) fn stack_layer(&self, layer: &SnapshotRef, parent: &SnapshotRef) -> Result<SnapshotRef> {
        let (layer, parent) = (parse(layer)?, parse(parent)?);
        let stacked = self.engine.snapshots.stack_on(&layer, &parent).during("putting a layer on another")?;
        Ok(SnapshotRef::new(stacked.id.to_string()))
    }

    pub(super) fn make_path(&self, request: &DirectoryRequest) -> Result<Option<SnapshotRef>> {
        let path = Path::new(&request.path);
        let (active, to) = self.prepare(request.parent.as_ref())?;
        let (uid, gid) = match &request.owner {
            None => (0, 0),
            Some(text) => owner(&to, text)?,
        };
        to.mkdir_all(path, 0o755, uid, gid).map_err(|error| refused(error, &request.path))?;
        drop(to);
        self.commit(active).map(Some)
    }
}

/// One thing to put into place.
enum Part<'r> {
    Source(Matched),
    Inline(&'r InlineFile),
    Download(&'r Downloaded),
    /// The next of the repositories.
    Git,
}

/// What a copy does, known before anything is written.
struct Plan<'r> {
    request: &'r CopyRequest,
    from: &'r Sources,
    parts: Vec<Part<'r>>,
    exclude: Exclude,
    mode: Option<ModeChange>,
}

impl<'r> Plan<'r> {
    fn new(request: &'r CopyRequest, from: &'r Sources) -> Result<Self, SourceFault> {
        let mut parts = Vec::new();
        for item in &request.items {
            match item {
                CopyItem::Path(path) => parts.extend(from.matches(path)?.into_iter().map(Part::Source)),
                CopyItem::Inline(file) => parts.push(Part::Inline(file)),
                CopyItem::Download(download) => parts.push(Part::Download(download)),
                CopyItem::Git(_) => parts.push(Part::Git),
            }
        }
        let exclude = Exclude::parse(&request.exclude)?;
        let mode = request.chmod.as_deref().map(mode).transpose().map_err(fault)?;
        Ok(Self { request, from, parts, exclude, mode })
    }

    /// Writes everything below `to`.
    fn put(&self, to: &RootFs, trees: &[Tree]) -> Result<()> {
        let mut trees = trees.iter();
        let chown = self.request.chown.as_deref().map(|text| owner(to, text)).transpose()?;
        let during = |error| refused(error, &self.request.dest);
        let several = self.parts.len() > 1 && !self.request.dest.ends_with('/');
        for part in &self.parts {
            let dest = self.dest(to).map_err(during)?;
            let is_directory = to.stat(&dest).map_err(during)?.is_some_and(|m| m.kind == FileKind::Directory);
            // A pattern that matches several files means a directory, though it is not written as one.
            let into = is_directory || self.request.dest.ends_with('/') || several;
            let place = |name: &Path| if into { dest.join(name) } else { dest.clone() };
            match part {
                Part::Source(source) => self.source(to, source, &dest, &place, chown).map_err(during)?,
                Part::Inline(file) => {
                    let options = self.options(Some(chown.unwrap_or((0, 0))), None);
                    to.put_file(
                        &place(Path::new(&file.name)),
                        file.content.as_bytes(),
                        INLINE_MODE,
                        &options,
                    )
                    .map_err(during)?;
                }
                Part::Download(file) => self.download(to, file, &dest, &place, chown).map_err(during)?,
                Part::Git => {
                    let tree = trees.next().expect("one tree for each repository");
                    self.repository(to, tree, &dest, chown).map_err(during)?;
                }
            }
        }
        Ok(())
    }

    /// Returns the destination; a link at its end is followed, so that what it names is replaced and not the link.
    fn dest(&self, to: &RootFs) -> Result<PathBuf, SnapshotError> {
        to.follow(Path::new(self.request.dest.trim_end_matches('/')))
            .map(|path| if path.as_os_str().is_empty() { PathBuf::from("/") } else { path })
    }

    fn options(&self, owner: Option<(u32, u32)>, mode: Option<&'r ModeChange>) -> CopyOptions<'_> {
        CopyOptions { owner, mode: self.mode.as_ref().or(mode), filter: None, keep_mtime: true, latest: None }
    }

    fn source(
        &self,
        to: &RootFs,
        source: &Matched,
        dest: &Path,
        place: &dyn Fn(&Path) -> PathBuf,
        chown: Option<(u32, u32)>,
    ) -> Result<(), SnapshotError> {
        let path = root_path(&source.path);
        if source.metadata.kind == FileKind::File && self.request.unpack != Unpack::Never {
            let file = self.from.root.open(&path)?;
            if to.extract_archive(dest, file, &extract_options(chown))? {
                return Ok(());
            }
        }
        let filter = |below: &Path, is_directory: bool| {
            // The copy gives paths below the source.
            self.from.takes(source, &self.exclude, &source.path.join(below), is_directory)
        };
        let options =
            CopyOptions { filter: Some(&filter), ..self.options(chown.or_else(|| self.from.owner()), None) };
        let target = match (source.metadata.kind, source.path.file_name()) {
            (FileKind::Directory, _) | (_, None) => dest.to_owned(),
            (_, Some(name)) => place(Path::new(name)),
        };
        to.copy_tree_in(&self.from.root, &path, &target, &options).map(drop)
    }

    /// Puts the content of a repository's directory into the destination.
    fn repository(
        &self,
        to: &RootFs,
        tree: &Tree,
        dest: &Path,
        chown: Option<(u32, u32)>,
    ) -> Result<(), SnapshotError> {
        let filter =
            |below: &Path, is_directory: bool| self.exclude.visit(below, Path::new(""), is_directory);
        let options = self.options(Some(chown.unwrap_or((0, 0))), None);
        let options = CopyOptions { filter: Some(&filter), ..options };
        to.copy_tree_in(&tree.root, Path::new("."), dest, &options).map(drop)
    }

    fn download(
        &self,
        to: &RootFs,
        download: &Downloaded,
        dest: &Path,
        place: &dyn Fn(&Path) -> PathBuf,
        chown: Option<(u32, u32)>,
    ) -> Result<(), SnapshotError> {
        let file = Path::new(&download.file);
        let (Some(directory), Some(name)) = (file.parent(), file.file_name()) else {
            return Err(SnapshotError::Malformed(format!("`{}` names no download", download.file)));
        };
        let held = RootFs::open_directory(directory)?;
        if self.request.unpack == Unpack::All
            && to.extract_archive(dest, held.open(Path::new(name))?, &extract_options(chown))?
        {
            return Ok(());
        }
        let own = ModeChange::Fixed(DOWNLOAD_MODE);
        let options = CopyOptions {
            owner: Some(chown.unwrap_or((0, 0))),
            mode: Some(self.mode.as_ref().unwrap_or(&own)),
            filter: None,
            keep_mtime: true,
            latest: None,
        };
        let target = place(Path::new(&download.name));
        if let (None, Some(parent)) = (&self.mode, target.parent()) {
            // A download's own mode is not that of the directories above it.
            let (uid, gid) = chown.unwrap_or((0, 0));
            to.mkdir_all(parent, 0o755, uid, gid)?;
        }
        to.copy_tree_in(&held, Path::new(name), &target, &options).map(drop)
    }
}

fn extract_options(owner: Option<(u32, u32)>) -> ExtractOptions {
    ExtractOptions { owner, ..ExtractOptions::default() }
}

/// Says whose fault it is that something could not be put into place: the sources' and the destination's are the user's.
fn refused(error: SnapshotError, dest: &str) -> Failure {
    let code = match &error {
        SnapshotError::Occupied { .. } => "copy-conflict",
        SnapshotError::Malformed(_) | SnapshotError::Hostile { .. } | SnapshotError::TooLarge { .. } => {
            "bad-archive"
        }
        _ => return Failure::ours(format_args!("copying to {dest}"), &error),
    };
    Failure::user(Diagnostic::error(code, format!("copying to {dest}: {error}")))
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

fn mode(text: &str) -> Result<ModeChange> {
    text.parse().map_err(|error| {
        let diagnostic = Diagnostic::error("bad-chmod", format!("--chmod: {error}"));
        Failure::user(diagnostic.with_hint("write it as 0755 or u=rwX,go=rX"))
    })
}

#[cfg(test)]
mod tests;
