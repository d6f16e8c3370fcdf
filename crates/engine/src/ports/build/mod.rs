//! The builder's port, carried out: images, cache, files and commands.

mod contexts;
mod copy;
mod download;
mod exec;
mod hashing;
mod memory;
mod report;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use coracle_build::{
    BuildHost, CacheKey, CacheRecord, CopyRequest, DirectoryRequest, Downloaded, ExecMountKind, ExecOutcome,
    ExecRequest, GitSource, HashAlgorithm, KeyLock, Memory, OutputSink, ResolvedBase, Selection, SnapshotRef,
    SourceEntry, SourceFault, SourcePlace, StepWhy,
};
use coracle_fault::Point;
use coracle_oci::{DiffId, Digest, Platform, Reference};
use coracle_report::{Diagnostic, TaskId};
use coracle_snapshot::{RootFs, SnapshotId};
use coracle_store::FileLock;

use self::exec::Agents;
pub(crate) use self::exec::Secrets;
pub(crate) use self::exec::beside;
use self::hashing::Hashing;
use self::memory::{Memories, scope};
pub use self::report::{Amount, ContextEntry, ContextReport, HidingLine};
use self::sources::Sources;
pub(crate) use self::sources::ignore_of;
use super::compose::told;
use crate::builds::{BuildOptions, HostCa, Slot, Together};
use crate::cache::{Imports, lazy};
use crate::contexts::{Downloads, Git, LayoutImage, Named, NamedContent, Opened, Place};
use crate::failure::pass;
use crate::outputs::Material;
use crate::{During, Engine, Failure, Pull, Result, stored};

/// Code of the diagnostic by which refused work is known.
pub(crate) const WOULD_WORK: &str = "would-work";

/// Whether steps that are not cached are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// They are.
    Done,
    /// They end the build: it only looks whether there is something to do.
    Refused,
}

/// An engine during one build.
pub struct EngineHost<'a> {
    pub(super) engine: &'a Engine,
    context: Sources,
    /// The files of named contexts; `None` where one is an image.
    named: Vec<Option<Sources>>,
    /// Images that lie in directories.
    layouts: Vec<LayoutImage>,
    downloads: Downloads,
    pull: Pull,
    /// The host's certificate authorities, when steps are lent them.
    pub(super) host_ca: Option<PathBuf>,
    secrets: Secrets,
    agents: Agents,
    hashing: Hashing<'a>,
    memories: Memories,
    work: Work,
    /// What is shared with builds that run as one with this.
    together: Option<Together>,
    /// What other machines' builds offer.
    pub(crate) imports: Imports<'a>,
    /// What the build found and made.
    records: Mutex<BTreeMap<CacheKey, CacheRecord>>,
    /// Names of the cache mounts that steps used.
    pub(super) mounts_used: Mutex<BTreeSet<String>>,
    /// What became of the steps, for each platform that was built.
    examined: Mutex<Vec<(String, Vec<StepWhy>)>>,
    /// What the build used.
    materials: Mutex<BTreeSet<Material>>,
    /// Stand-ins that the user was told of.
    told: Mutex<BTreeSet<Reference>>,
    /// Digests of files of snapshots, which never change.
    digests: Mutex<BTreeMap<(String, String), Digest>>,
}

impl<'a> EngineHost<'a> {
    /// Prepares a build.
    pub fn new(engine: &'a Engine, options: &BuildOptions, opened: &Opened, work: Work) -> Result<Self> {
        Ok(Self {
            engine,
            context: remembered(engine, &opened.main, Sources::of(&opened.main, &opened.dockerfile.0)?),
            named: named(engine, opened)?,
            layouts: opened.layouts().cloned().collect(),
            downloads: Downloads::new(engine)?,
            pull: if options.pull { Pull::Always } else { Pull::Missing },
            host_ca: host_ca(engine, options.host_ca)?,
            secrets: Secrets::read(&options.run.secrets, &engine.environment)?,
            agents: Agents::read(&options.run.agents, &engine.environment)?,
            hashing: Hashing::new(engine),
            memories: Memories::new(
                &engine.layout,
                scope(&options.context, &opened.main, &opened.dockerfile.0),
            ),
            work,
            together: options.together.clone(),
            imports: Imports::open(engine, &options.cache_from, options.parent),
            records: Mutex::default(),
            mounts_used: Mutex::default(),
            examined: Mutex::default(),
            materials: Mutex::new(opened.materials.iter().cloned().collect()),
            told: Mutex::default(),
            digests: Mutex::default(),
        })
    }

    /// Takes note of what became of the steps.
    pub fn note_examined(&self, platform: String, steps: Vec<StepWhy>) {
        self.examined.lock().unwrap_or_else(PoisonError::into_inner).push((platform, steps));
    }

    /// Returns what was noted.
    pub fn take_examined(&self) -> Vec<(String, Vec<StepWhy>)> {
        std::mem::take(&mut *self.examined.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes a result real whose files are needed.
    pub(crate) fn real(&self, snapshot: &SnapshotRef) -> Result<SnapshotRef, Diagnostic> {
        match lazy(snapshot) {
            None => Ok(snapshot.clone()),
            Some(chain) => {
                self.permit()?;
                self.imports.real(&chain, None).map(|id| SnapshotRef::new(id.to_string()))
            }
        }
    }

    fn real_parent(&self, parent: Option<&SnapshotRef>) -> Result<Option<SnapshotRef>, Diagnostic> {
        parent.map(|parent| self.real(parent)).transpose()
    }

    /// Returns what this machine has under a key.
    fn cached_here(&self, key: &CacheKey) -> Option<CacheRecord> {
        let path = self.engine.layout.cache_record(&key.digest());
        let record: CacheRecord = stored::read(&path).ok().flatten()?;
        let there = |snapshot: &SnapshotRef| {
            parse(snapshot)
                .is_ok_and(|id| self.engine.snapshots.get(&id).is_ok_and(|found| found.is_committed()))
        };
        if !record.snapshot.iter().chain(&record.parent).all(there) {
            return None;
        }
        let _ = self.engine.store.touch_cached(&key.digest());
        Some(self.imports.seen(record))
    }

    /// Remembers what the build found or made, for exports.
    fn note(&self, key: &CacheKey, record: &CacheRecord) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.entry(record.key).or_insert_with(|| record.clone());
        records.insert(*key, record.clone());
    }

    /// Keeps what was imported and is here now, for later builds.
    pub(crate) fn keep_imported(&self) {
        for (key, record) in self.imports.keepable() {
            let _ = stored::write_fast(&self.engine.layout.cache_record(&key.digest()), &record);
        }
    }

    /// Forgets what a failed attempt noted.
    pub(crate) fn restart(&self) {
        self.imports.restart();
        self.records.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Returns what the build found and made, and the names of the cache mounts that it used.
    pub(crate) fn used(&self) -> (BTreeMap<CacheKey, CacheRecord>, BTreeSet<String>) {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (records, self.mounts_used.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Notes something that the build used, for its provenance.
    pub(super) fn note_material(&self, material: Material) {
        self.materials.lock().unwrap_or_else(PoisonError::into_inner).insert(material);
    }

    /// Returns what the build used so far, sorted.
    pub(crate) fn materials(&self) -> Vec<Material> {
        self.materials.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Refuses work when the build only looks.
    fn permit(&self) -> Result<(), Diagnostic> {
        match self.work {
            Work::Done => Ok(()),
            Work::Refused => Err(Diagnostic::error(WOULD_WORK, "a step is not cached")),
        }
    }

    /// Waits until a step may work among those of all builds that run as one.
    fn slot(&self) -> Result<Option<Slot<'_>>, Diagnostic> {
        self.together.as_ref().map(Together::slot).transpose()
    }

    /// Returns the files of the context, or of a named one.
    pub(super) fn held(&self, place: &SourcePlace) -> &Sources {
        match place {
            SourcePlace::Named(number) => {
                self.named[*number].as_ref().expect("plans take files from contexts that have some")
            }
            SourcePlace::Context | SourcePlace::Snapshot(_) | SourcePlace::Empty => &self.context,
        }
    }

    /// Opens a place that files are taken from; `None` is the context or a named one.
    fn tree(&self, place: &SourcePlace) -> Result<Option<Sources>, SourceFault> {
        match place {
            SourcePlace::Context | SourcePlace::Named(_) => Ok(None),
            SourcePlace::Snapshot(snapshot) => {
                let real = self.real(snapshot).map_err(SourceFault::Other)?;
                let id = told(parse(&real)).map_err(SourceFault::Other)?;
                let view = self.engine.snapshots.view(&id).during("looking into a stage");
                let view = told(view).map_err(SourceFault::Other)?;
                Ok(Some(Sources::tree(RootFs::new(view))))
            }
            SourcePlace::Empty => {
                let made = tempfile::tempdir().during("making an empty directory").and_then(|directory| {
                    RootFs::open_directory(directory.path()).during("opening an empty directory")
                });
                Ok(Some(Sources::tree(told(made).map_err(SourceFault::Other)?)))
            }
        }
    }

    /// Makes an image ready that lies in a directory.
    fn resolve_layout(&self, layout: &LayoutImage, platform: &Platform) -> Result<ResolvedBase, Diagnostic> {
        let image = told(layout.resolve(platform))?;
        if !told(LayoutImage::is_unpacked(self.engine, &image))? {
            self.permit()?;
        }
        let snapshot = told(layout.unpack(self.engine, &image))?;
        self.note_material(Material::image(layout.reference(), platform, &image.manifest));
        let snapshot = snapshot.map(|id| SnapshotRef::new(id.to_string()));
        Ok(ResolvedBase { config: image.config, key: image.id, snapshot })
    }

    /// Commits what was written and has it hashed off the critical path.
    pub(super) fn commit(&self, active: coracle_snapshot::ActiveSnapshot) -> Result<SnapshotRef> {
        let snapshot = active.commit().during("committing a step")?;
        pass(Point::BuildStepCommitted)?;
        self.hashing.begin(&snapshot.id);
        Ok(SnapshotRef::new(snapshot.id.to_string()))
    }
}

impl Drop for EngineHost<'_> {
    fn drop(&mut self) {
        self.context.keep();
        self.named.iter().flatten().for_each(Sources::keep);
        contexts::bound(&self.engine.layout);
        self.memories.bound();
    }
}

/// Lets a directory of the user's remember the digests of its files.
fn remembered(engine: &Engine, place: &Place, sources: Sources) -> Sources {
    if place.is_foreign() {
        sources
    } else {
        sources.remember(contexts::kept(&engine.layout, &place.directory))
    }
}

/// Opens the files of named contexts, each behind its own ignore file.
fn named(engine: &Engine, opened: &Opened) -> Result<Vec<Option<Sources>>> {
    let open = |named: &Named| match &named.content {
        NamedContent::Image(_) | NamedContent::Layout(_) => Ok(None),
        NamedContent::Files(place) => {
            let sources = Sources::of(place, &place.directory.join("Dockerfile"))?;
            Ok(Some(remembered(engine, place, sources)))
        }
    };
    opened.named.iter().map(open).collect()
}

/// Reads the builder's name of a snapshot.
pub(crate) fn parse(snapshot: &SnapshotRef) -> Result<SnapshotId> {
    snapshot.as_str().parse().during("reading a snapshot's id")
}

pub(super) fn parse_parent(parent: Option<&SnapshotRef>) -> Result<Option<SnapshotId>> {
    parent.map(parse).transpose()
}

impl BuildHost for EngineHost<'_> {
    fn resolve_base(
        &self,
        reference: &Reference,
        platform: &Platform,
        task: TaskId,
    ) -> Result<ResolvedBase, Diagnostic> {
        if let Some(layout) = self.layouts.iter().find(|layout| layout.reference() == reference) {
            return self.resolve_layout(layout, platform);
        }
        let pull = match self.work {
            Work::Done => self.pull,
            Work::Refused => Pull::Never,
        };
        if let Some(result) = self.together.as_ref().and_then(|together| together.result(reference, platform))
        {
            let (base, materials) = told(result)?;
            materials.into_iter().for_each(|material| self.note_material(material));
            return Ok(base);
        }
        let find = || self.engine.images().ensure_for(reference, platform, pull, Some(task));
        let found = match &self.together {
            Some(together) => together.base(reference, platform, pull, find),
            None => find(),
        };
        let image = told(found).map_err(|error| self.permit().err().unwrap_or(error))?;
        let first = self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(reference.clone());
        if image.stand_in && first && self.work == Work::Done {
            self.engine.images().say_stand_in(reference);
        }
        let stored = told(self.engine.store.image_by_id(&image.id).during("reading a base image"))?;
        if let Some(stored) = stored {
            self.note_material(Material::image(reference, platform, &stored.manifest_digest));
        }
        Ok(ResolvedBase {
            config: image.config,
            key: image.id.digest(),
            snapshot: image.snapshot.map(|id| SnapshotRef::new(id.to_string())),
        })
    }

    fn cache_get(&self, key: &CacheKey) -> Option<CacheRecord> {
        let record = self.cached_here(key).or_else(|| self.imports.get(key))?;
        self.note(key, &record);
        Some(record)
    }

    fn cache_put(&self, key: &CacheKey, record: &CacheRecord) -> Result<(), Diagnostic> {
        if self.work == Work::Refused {
            return Ok(());
        }
        self.note(key, record);
        if record.snapshot.iter().chain(&record.parent).any(|snapshot| lazy(snapshot).is_some()) {
            self.imports.keep_later(*key, record.clone());
            return Ok(());
        }
        // Not forced to the disk: a record that is lost only costs the step again.
        told(
            stored::write_fast(&self.engine.layout.cache_record(&key.digest()), record)
                .during("recording a step"),
        )
    }

    fn lock(&self, key: &CacheKey, cancel: &AtomicBool) -> Result<KeyLock, Diagnostic> {
        let path = self.engine.layout.cache_lock(&key.digest());
        loop {
            if let Some(lock) = told(FileLock::try_exclusive(&path).during("locking a step"))? {
                return Ok(KeyLock::new(Unlock(Some(lock))));
            }
            if cancel.load(Ordering::Relaxed) {
                return Err(Diagnostic::error("cancelled", "the build was cancelled"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn digest_sources(&self, place: &SourcePlace, selection: &Selection) -> Result<Digest, SourceFault> {
        let tree = self.tree(place)?;
        let SourcePlace::Snapshot(snapshot) = place else {
            return tree.as_ref().unwrap_or(self.held(place)).digest(selection);
        };
        let name = (snapshot.to_string(), format!("{selection:?}"));
        let known = self.digests.lock().unwrap_or_else(PoisonError::into_inner).get(&name).copied();
        if let Some(digest) = known {
            return Ok(digest);
        }
        let digest = tree.as_ref().unwrap_or(&self.context).digest(selection)?;
        self.digests.lock().unwrap_or_else(PoisonError::into_inner).insert(name, digest);
        Ok(digest)
    }

    fn list_sources(
        &self,
        place: &SourcePlace,
        selection: &Selection,
    ) -> Result<Vec<SourceEntry>, SourceFault> {
        let tree = self.tree(place)?;
        let listed = tree.as_ref().unwrap_or(self.held(place)).list(selection)?;
        Ok(listed.into_iter().map(memory::entry).collect())
    }

    fn recall(&self, memory: Memory<'_>) -> Option<Vec<u8>> {
        self.memories.recall(memory)
    }

    fn remember(&self, memory: Memory<'_>, content: &[u8]) {
        if self.work == Work::Done {
            self.memories.remember(memory, content);
        }
    }

    fn download(&self, url: &str, _task: TaskId, cancel: &AtomicBool) -> Result<Downloaded, Diagnostic> {
        told(self.fetch(url, cancel))
    }

    fn hash_download(&self, download: &Downloaded, algorithm: HashAlgorithm) -> Result<String, Diagnostic> {
        told(download::hash(download, algorithm))
    }

    fn resolve_git(
        &self,
        source: &GitSource,
        _task: TaskId,
        cancel: &AtomicBool,
    ) -> Result<String, Diagnostic> {
        let secret = |id: &str| self.secrets.value(id);
        let commit = told(Git::new(&self.engine.environment, &secret, cancel).resolve(source))?;
        self.note_material(Material::repository(source, &commit));
        Ok(commit)
    }

    fn copy(&self, request: &CopyRequest, cancel: &AtomicBool) -> Result<Option<SnapshotRef>, SourceFault> {
        self.permit().map_err(SourceFault::Other)?;
        let _slot = self.slot().map_err(SourceFault::Other)?;
        let tree = self.tree(&request.place)?;
        let parent = self.real_parent(request.parent.as_ref()).map_err(SourceFault::Other)?;
        let real = CopyRequest { parent: parent.clone(), ..request.clone() };
        let made = self.copy_files(&real, tree.as_ref().unwrap_or(self.held(&request.place)), cancel)?;
        Ok(if made == parent { request.parent.clone() } else { made })
    }

    fn stack(&self, layer: &SnapshotRef, parent: &SnapshotRef) -> Result<SnapshotRef, Diagnostic> {
        self.permit()?;
        let _slot = self.slot()?;
        let (layer, parent) = (self.real(layer)?, self.real(parent)?);
        told(self.stack_layer(&layer, &parent))
    }

    fn make_directory(&self, request: &DirectoryRequest) -> Result<Option<SnapshotRef>, Diagnostic> {
        self.permit()?;
        let _slot = self.slot()?;
        let parent = self.real_parent(request.parent.as_ref())?;
        let real = DirectoryRequest { parent: parent.clone(), ..request.clone() };
        let made = told(self.make_path(&real))?;
        Ok(if made == parent { request.parent.clone() } else { made })
    }

    fn exec(&self, request: &ExecRequest<'_>, output: OutputSink<'_>) -> Result<ExecOutcome, Diagnostic> {
        self.permit()?;
        let _slot = self.slot()?;
        let parent = self.real_parent(request.parent.as_ref())?;
        let mut mounts = request.mounts.clone();
        for mount in &mut mounts {
            let place = match &mut mount.kind {
                ExecMountKind::Bind { place, .. } | ExecMountKind::Cache { seed: Some((place, _)), .. } => {
                    Some(place)
                }
                _ => None,
            };
            if let Some(SourcePlace::Snapshot(snapshot)) = place {
                *snapshot = self.real(snapshot)?;
            }
        }
        let real = ExecRequest {
            parent: parent.clone(),
            args: request.args.clone(),
            env: request.env.clone(),
            secret_env: request.secret_env.clone(),
            cwd: request.cwd.clone(),
            user: request.user.clone(),
            mounts,
            ..*request
        };
        Ok(match (told(self.run(&real, output))?, &request.parent) {
            (ExecOutcome::Succeeded(made), Some(given)) if Some(&made) == parent.as_ref() => {
                ExecOutcome::Succeeded(given.clone())
            }
            (outcome, _) => outcome,
        })
    }

    fn diff_id(&self, snapshot: &SnapshotRef) -> Result<DiffId, Diagnostic> {
        if let Some(layer) = lazy(snapshot).and_then(|chain| self.imports.diff_id(&chain)) {
            return Ok(layer);
        }
        told(parse(snapshot).and_then(|id| self.hashing.diff_id(&id)))
    }
}

/// Removes the lock's file when it is given up, so that keys leave nothing behind.
struct Unlock(Option<FileLock>);

impl Drop for Unlock {
    fn drop(&mut self) {
        if let Some(lock) = self.0.take() {
            let _ = lock.remove();
        }
    }
}

/// Returns the snapshots that cache records name. Records that cannot be read count as none.
pub(crate) fn cached(engine: &Engine) -> Result<BTreeSet<SnapshotId>> {
    let mut found = BTreeSet::new();
    for path in coracle_store::records::list(&engine.layout.cache()).during("listing the build cache")? {
        let record: Option<CacheRecord> =
            if path.is_file() { stored::read(&path).ok().flatten() } else { None };
        found.extend(record.and_then(|record| record.snapshot).and_then(|snapshot| parse(&snapshot).ok()));
    }
    Ok(found)
}

/// Returns the bundle of certificate authorities to lend, if one is to be lent.
fn host_ca(engine: &Engine, wish: HostCa) -> Result<Option<PathBuf>> {
    let variable = |name: &str| engine.environment.get(name).filter(|value| !value.is_empty());
    let own = || {
        let mut local = std::fs::read_dir("/usr/local/share/ca-certificates").into_iter().flatten().flatten();
        let names = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"];
        let is_certificate =
            |entry: std::fs::DirEntry| entry.path().extension().is_some_and(|kind| kind == "crt");
        local.any(is_certificate) || names.iter().any(|name| variable(name).is_some())
    };
    let lend = match wish {
        HostCa::Never => false,
        HostCa::Always => true,
        HostCa::Auto => own(),
    };
    let bundle =
        variable("SSL_CERT_FILE").map_or_else(|| "/etc/ssl/certs/ca-certificates.crt".into(), PathBuf::from);
    if !lend || bundle.is_file() {
        return Ok(lend.then_some(bundle));
    }
    match wish {
        HostCa::Always => {
            let message =
                format!("this host has no bundle of certificate authorities at {}", bundle.display());
            Err(Failure::user(Diagnostic::error("no-host-ca", message).with_hint(
                "install ca-certificates, or name the bundle: `SSL_CERT_FILE=/path/to/bundle.crt coracle build ...`",
            )))
        }
        HostCa::Auto | HostCa::Never => Ok(None),
    }
}

/// Returns a failure in the words of a source fault.
pub(super) fn fault(failure: Failure) -> SourceFault {
    match told::<()>(Err(failure)) {
        Err(diagnostic) => SourceFault::Other(diagnostic),
        Ok(()) => unreachable!("a failure stays one"),
    }
}
