//! What bind mounts show: views of stages, images and the context.
//!
//! Nothing is copied for a stage or an image: the shim mounts their layers once more, read-only, or below a layer that
//! is thrown away. The context is copied into a snapshot once for every content it has, owned by root as in BuildKit
//! and without what `.dockerignore` hides; steps and builds with the same content share it.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use coracle_build::{
    BuildHost, CacheKey, CacheRecord, Selection, SnapshotRef, SourceFault, SourcePath, SourcePlace,
};
use coracle_oci::Digest;
use coracle_report::Diagnostic;
use coracle_runtime::Overlay;
use coracle_snapshot::rootfs::CopyOptions;
use coracle_snapshot::{ActiveSnapshot, RootFs, SnapshotId};

use super::super::{EngineHost, parse};
use crate::containers::overlay_of;
use crate::{During, Failure, Result};

/// Where the context's files lie in their snapshot.
const CONTENT: &str = "content";

/// The views of one step.
#[derive(Default)]
pub(super) struct Views {
    pub(super) overlays: Vec<Overlay>,
    /// Which snapshot a read-only view shows.
    shown: Vec<Option<SnapshotId>>,
    /// What takes the writes, until the step has ended.
    scratch: Vec<ActiveSnapshot>,
}

/// A view's number and the path in it, without links.
pub(super) struct View {
    pub(super) number: usize,
    pub(super) path: PathBuf,
}

impl EngineHost<'_> {
    /// Returns the view that a bind mount wants; `None` when it shows an empty directory.
    pub(super) fn bind(
        &self,
        place: &SourcePlace,
        path: &str,
        writable: bool,
        cancel: &AtomicBool,
        views: &mut Views,
    ) -> Result<Option<View>> {
        let (id, inside) = match place {
            SourcePlace::Empty if path.is_empty() => return Ok(None),
            SourcePlace::Empty => return Err(nothing(path)),
            SourcePlace::Snapshot(snapshot) => (parse(snapshot)?, PathBuf::from(path)),
            SourcePlace::Context | SourcePlace::Named(_) => {
                (self.context_snapshot(place, path, cancel)?, PathBuf::from(CONTENT))
            }
        };
        let tree = RootFs::new(self.engine.snapshots.view(&id).during("looking into a stage")?);
        let real = match tree.real_path(&inside) {
            Ok(real) => real,
            Err(error) if error.is_not_found() => return Err(nothing(path)),
            Err(error) => return Err(error).during("looking for a bind mount's source"),
        };
        drop(tree);
        let number = if writable {
            let active = self.engine.snapshots.prepare(Some(&id)).during("preparing a bind mount")?;
            views.overlays.push(overlay_of(active.mount_spec().volatile()));
            views.shown.push(None);
            views.scratch.push(active);
            views.overlays.len() - 1
        } else if let Some(number) = views.shown.iter().position(|shown| shown.as_ref() == Some(&id)) {
            number
        } else {
            let lower = self.engine.snapshots.lowerdirs(&id).during("looking for a stage's layers")?;
            views.overlays.push(Overlay { lower, ..Overlay::default() });
            views.shown.push(Some(id));
            views.overlays.len() - 1
        };
        Ok(Some(View { number, path: real }))
    }

    /// Opens what fills a new cache mount; `None` is nothing.
    pub(super) fn seed(&self, place: &SourcePlace, path: &str) -> Result<Option<(RootFs, PathBuf)>> {
        let (id, inside) = match place {
            SourcePlace::Empty => return Ok(None),
            SourcePlace::Snapshot(snapshot) => (parse(snapshot)?, Path::new("/").join(path)),
            SourcePlace::Context | SourcePlace::Named(_) => {
                (self.context_snapshot(place, path, &AtomicBool::new(false))?, PathBuf::from(CONTENT))
            }
        };
        let tree = RootFs::new(self.engine.snapshots.view(&id).during("looking into a stage")?);
        match tree.stat(&inside).during("looking for a cache mount's source")? {
            Some(_) => Ok(Some((tree, inside))),
            None => Err(nothing(path)),
        }
    }

    /// Returns the digest of a context's files at `path`.
    pub(super) fn content(&self, place: &SourcePlace, path: &str) -> Result<Digest> {
        let source = SourcePath { path: path.to_owned(), literal: true, trailing_slash: false, pivot: None };
        let selection = Selection { paths: vec![source], exclude: Vec::new() };
        self.digest_sources(place, &selection).map_err(|fault| match fault {
            SourceFault::Other(diagnostic) => Failure::from(diagnostic),
            SourceFault::Missing { path, .. } => nothing(&path),
        })
    }

    /// Returns a snapshot that holds the context's files at `path` as [`CONTENT`].
    fn context_snapshot(&self, place: &SourcePlace, path: &str, cancel: &AtomicBool) -> Result<SnapshotId> {
        let content = self.content(place, path)?;
        let key = Digest::of(format!("context for bind mounts\n{content}")).to_string();
        let key: CacheKey = key.parse().during("naming the context's content")?;
        let kept = || self.cache_get(&key).and_then(|record| record.snapshot);
        if let Some(snapshot) = kept() {
            return parse(&snapshot);
        }
        let _lock = self.lock(&key, cancel)?;
        if let Some(snapshot) = kept() {
            return parse(&snapshot);
        }
        let active = self.engine.snapshots.prepare(None).during("preparing the context")?;
        let to = active.mount_spec().volatile().mount_detached(false).during("preparing the context")?;
        let to = RootFs::new(to);
        let base = Path::new(path);
        let from = self.held(place);
        let filter = |path: &Path, is_directory: bool| from.visit(&base.join(path), is_directory);
        let options = CopyOptions {
            owner: Some((0, 0)),
            keep_mtime: true,
            filter: Some(&filter),
            ..Default::default()
        };
        to.copy_tree_in(&from.root, &Path::new("/").join(path), Path::new(CONTENT), &options)
            .during(format_args!("taking `{path}` of the context"))?;
        drop(to);
        let snapshot = active.commit().during("keeping the context")?;
        let name = SnapshotRef::new(snapshot.id.to_string());
        self.cache_put(
            &key,
            &CacheRecord {
                snapshot: Some(name),
                parent: None,
                key,
                step: "files of a bind mount".to_owned(),
            },
        )?;
        Ok(snapshot.id)
    }
}

fn nothing(path: &str) -> Failure {
    let message = format!("there is nothing at `{path}` to mount");
    Failure::user(Diagnostic::error("mount-source", message))
}
