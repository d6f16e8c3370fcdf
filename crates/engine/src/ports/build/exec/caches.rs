//! Cache mounts: directories that outlive builds, shared by all processes of the machine.
//!
//! ```text
//! <cache-mounts>/<name>            a cache mount
//! <cache-mounts>/%lock-<name>      held alone by the step that uses it, where `sharing` says so
//! <cache-mounts>/%make-<name>      held alone by whoever makes it
//! <cache-mounts>/%new-<name>       one on its way, renamed when it is whole
//! <cache-mounts>/%used-<name>      its time is when a step used the mount last
//! <cache-mounts>/%gone-<name>      one being removed
//! ```
//!
//! In encoded names two digits follow each `%`, so that no id is called as one of the others.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use coracle_build::{ExecMountKind, ExecRequest, SourcePlace};
use coracle_dockerfile::{MountOwner, Sharing};
use coracle_oci::Digest;
use coracle_report::{Diagnostic, Event};
use coracle_snapshot::RootFs;
use coracle_snapshot::rootfs::CopyOptions;
use coracle_store::FileLock;

use super::super::EngineHost;
use crate::{During, Failure, Result};

/// How often a step that waits looks again.
const PATIENCE: Duration = Duration::from_millis(20);

/// What a step wants of a cache mount.
pub(super) struct Cache<'a> {
    pub(super) id: &'a str,
    pub(super) sharing: Sharing,
    pub(super) seed: Option<(&'a SourcePlace, &'a str)>,
    pub(super) owner: &'a MountOwner,
    /// What the seed holds, when it is files of a context.
    content: Option<Digest>,
}

impl<'a> Cache<'a> {
    /// Returns what a mount wants when it is a cache mount, before its seed is looked at.
    fn of(kind: &'a ExecMountKind) -> Option<Self> {
        match kind {
            ExecMountKind::Cache { id, sharing, seed, owner, .. } => Some(Self {
                id,
                sharing: *sharing,
                seed: seed.as_ref().map(|(place, path)| (place, path.as_str())),
                owner,
                content: None,
            }),
            _ => None,
        }
    }

    /// Returns the name it is kept under. As in BuildKit, one that begins with other content or another owner is
    /// another one, though the ids are equal.
    fn name(&self) -> String {
        let mut name = self.id.to_owned();
        if let Some((place, path)) = self.seed {
            let place = match place {
                SourcePlace::Snapshot(snapshot) => snapshot.to_string(),
                // By what they hold: contexts are other ones in other builds, whatever they are called.
                SourcePlace::Context | SourcePlace::Named(_) => {
                    self.content.map_or_else(|| "context".to_owned(), |content| content.hex())
                }
                SourcePlace::Empty => String::new(),
            };
            name = format!("{name}@{place}/{path}");
        }
        let MountOwner { uid, gid, mode } = *self.owner;
        if self.seed.is_none() && (uid.is_some() || gid.is_some() || mode.is_some()) {
            let (uid, gid, mode) = (uid.unwrap_or(0), gid.unwrap_or(0), mode.unwrap_or(0o755));
            if (uid, gid, mode) != (0, 0, 0o755) {
                name = format!("{name}@{uid}:{gid}:{mode:o}");
            }
        }
        name
    }
}

impl EngineHost<'_> {
    /// Returns what a mount wants when it is a cache mount.
    pub(super) fn cache_of<'m>(&self, kind: &'m ExecMountKind) -> Result<Option<Cache<'m>>> {
        let Some(mut cache) = Cache::of(kind) else { return Ok(None) };
        if let Some((place @ (SourcePlace::Context | SourcePlace::Named(_)), path)) = cache.seed {
            cache.content = Some(self.content(place, path)?);
        }
        Ok(Some(cache))
    }

    /// Waits for the cache mounts that only one step may use at a time. Each is locked once and all in one order, so
    /// that steps which share several never wait for each other, or one for itself.
    pub(super) fn lock_caches(&self, request: &ExecRequest<'_>) -> Result<Vec<FileLock>> {
        let caches = request.mounts.iter().filter_map(|mount| self.cache_of(&mount.kind).transpose());
        let wanted: BTreeSet<PathBuf> = caches
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .filter(|cache| cache.sharing == Sharing::Locked)
            .map(|cache| beside("%lock-", &self.engine.layout.cache_mount(&cache.name())))
            .collect();
        wanted.iter().map(|path| self.wait_for(path, request)).collect()
    }

    fn wait_for(&self, path: &Path, request: &ExecRequest<'_>) -> Result<FileLock> {
        let mut told = false;
        loop {
            if let Some(lock) = FileLock::try_exclusive(path).during("locking a cache mount")? {
                return Ok(lock);
            }
            if request.cancel.load(Ordering::Relaxed) {
                return Err(Failure::user(Diagnostic::error("cancelled", "the build was cancelled")));
            }
            if !told {
                let state = "waiting for cache mount".to_owned();
                self.engine.reporter.event(Event::State { task: request.task, state });
                told = true;
            }
            std::thread::sleep(PATIENCE);
        }
    }

    /// Returns the directory of a cache mount, made when it is missing; a private one that nobody else uses is locked.
    pub(super) fn cache(
        &self,
        cache: &Cache<'_>,
        request: &ExecRequest<'_>,
        locks: &mut Vec<FileLock>,
    ) -> Result<PathBuf> {
        let name = cache.name();
        if cache.seed.is_none() && cache.sharing != Sharing::Private {
            let mut used = self.mounts_used.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            used.insert(name.clone());
        }
        let path = self.engine.layout.cache_mount(&name);
        let path = match cache.sharing {
            Sharing::Shared | Sharing::Locked => path,
            Sharing::Private => {
                // The first one that nobody uses now.
                let mut number = 0;
                loop {
                    let candidate = self.engine.layout.cache_mount(&format!("{name}#{number}"));
                    let lock = FileLock::try_exclusive(&beside("%lock-", &candidate));
                    if let Some(lock) = lock.during(format_args!("locking the cache mount {name}"))? {
                        locks.push(lock);
                        break candidate;
                    }
                    number += 1;
                }
            }
        };
        if !path.exists() {
            // Closes the race of two steps that make the same one: a half-filled one is never used.
            let _making = self.wait_for(&beside("%make-", &path), request)?;
            if !path.exists() {
                let filled =
                    cache.seed.is_none() && self.imports.fill_mount(&name, &path, Some(request.task));
                if !filled {
                    self.make_cache(cache, &path)?;
                }
            }
        }
        // Only the collector asks for it.
        let _ = std::fs::write(beside("%used-", &path), "");
        Ok(path)
    }

    fn make_cache(&self, cache: &Cache<'_>, path: &Path) -> Result<()> {
        let during = || format!("making the cache mount {}", cache.id);
        let new = beside("%new-", path);
        match std::fs::remove_dir_all(&new) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).during(during()),
            _ => {}
        }
        std::fs::create_dir_all(&new).during(during())?;
        let root = RootFs::open_directory(&new).during(during())?;
        let MountOwner { uid, gid, mode } = *cache.owner;
        root.mkdir_all(Path::new("/content"), mode.unwrap_or(0o755), uid.unwrap_or(0), gid.unwrap_or(0))
            .during(during())?;
        if let Some((place, source)) = cache.seed {
            let options = CopyOptions { keep_mtime: true, ..CopyOptions::default() };
            if let Some((tree, inside)) = self.seed(place, source)? {
                // The seed's own directory says who owns the root and what may be done with it.
                if let Some(metadata) = tree.stat(&inside).during(during())? {
                    root.set_attributes(
                        Path::new("/content"),
                        mode.unwrap_or(metadata.mode),
                        uid.unwrap_or(metadata.uid),
                        gid.unwrap_or(metadata.gid),
                    )
                    .during(during())?;
                }
                root.copy_tree_in(&tree, &inside, Path::new("/content"), &options).during(during())?;
            }
        }
        drop(root);
        std::fs::rename(new.join("content"), path).during(during())?;
        std::fs::remove_dir(&new).during(during())
    }
}

/// Returns a path beside a cache mount's directory, named after it.
pub(crate) fn beside(prefix: &str, directory: &Path) -> PathBuf {
    let mut name = OsString::from(prefix);
    name.push(directory.file_name().unwrap_or_default());
    directory.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use coracle_store::Layout;

    use super::*;

    #[test]
    fn every_cache_mount_has_a_lock_of_its_own() {
        let layout = Layout::new("/data", "/run");
        let ids = [
            "/root/.cache/pip",
            "/root/.npm",
            "a",
            "a.b",
            "a.lock",
            "%lock-a",
            "\u{1}lock-a",
            &"x".repeat(300),
        ];
        let directories: BTreeSet<PathBuf> = ids.iter().map(|id| layout.cache_mount(id)).collect();
        let locks: BTreeSet<PathBuf> = directories.iter().map(|path| beside("%lock-", path)).collect();
        assert_eq!(locks.len(), ids.len());
        assert!(directories.is_disjoint(&locks));
    }

    #[test]
    fn other_owners_and_seeds_have_caches_of_their_own() {
        let owner = |uid, mode| MountOwner { uid, gid: None, mode };
        let place = SourcePlace::Snapshot(coracle_build::SnapshotRef::new("7"));
        fn of(seed: Option<(&SourcePlace, &str)>, owner: &MountOwner, content: Option<Digest>) -> String {
            Cache { id: "a", sharing: Sharing::Shared, seed, owner, content }.name()
        }
        let name = |seed, owner: &MountOwner| of(seed, owner, None);
        assert_eq!(name(None, &owner(None, None)), "a");
        assert_eq!(name(None, &owner(Some(0), Some(0o755))), "a");
        assert_eq!(name(None, &owner(Some(1000), None)), "a@1000:0:755");
        assert_eq!(name(Some((&place, "x")), &owner(None, None)), "a@7/x");
        // Which number a named context has says nothing.
        let by = |place: &SourcePlace, text: &str| {
            of(Some((place, "x")), &owner(None, None), Some(Digest::of(text)))
        };
        assert_eq!(by(&SourcePlace::Named(0), "one"), by(&SourcePlace::Named(1), "one"));
        assert_ne!(by(&SourcePlace::Named(0), "one"), by(&SourcePlace::Named(0), "two"));
    }
}
