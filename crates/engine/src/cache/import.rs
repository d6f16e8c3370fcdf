//! Results of other machines' builds: read as small records, fetched only when a step needs the files.
//!
//! A result that is known but not here is a snapshot by the name of its stack of layers (`chain:...`). The builder
//! passes such names on; whoever needs the files makes them real. A cache that lies is left out from then on.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use coracle_build::{CacheKey, CacheRecord, SnapshotRef};
use coracle_oci::{ChainId, Descriptor, Digest, ImageConfig, ImageIndex, ImageManifest, Platform, Reference};
use coracle_registry::{Compression, Layer};
use coracle_report::{Diagnostic, Event, Outcome, Task, TaskId};
use coracle_snapshot::{Limits, SnapshotId};

use super::document::{CONFIG_TYPE, CacheDocument, INLINE, LayerEntry, StepEntry};
use super::{CacheFrom, CachePlace};
use crate::images::StoreSink;
use crate::{Engine, Failure, Result};

/// Code of the diagnostic that says that a cache broke its word.
pub(crate) const BROKEN: &str = "cache-import";
const LAZY: &str = "chain:";
/// Largest document that is read from a directory.
const MAX_DOCUMENT: u64 = 8 << 20;

/// A layer that a source has.
#[derive(Clone, Debug)]
pub(super) struct RemoteLayer {
    pub entry: LayerEntry,
    pub layer: Layer,
    pub media_type: String,
}

/// One cache that is read.
pub(super) struct Source {
    pub name: String,
    pub place: Place,
    pub layers: Vec<RemoteLayer>,
    records: HashMap<CacheKey, StepEntry>,
    pub mounts: BTreeMap<String, usize>,
    broken: AtomicBool,
}

/// Where a source's layers are.
#[derive(Clone)]
pub(super) enum Place {
    Registry(Reference),
    Local(PathBuf),
}

/// How a stack of layers is made that is not here.
#[derive(Clone, Copy, Debug)]
struct Recipe {
    below: Option<ChainId>,
    source: usize,
    layer: usize,
}

/// What other machines' builds offer to one build.
pub(crate) struct Imports<'a> {
    engine: &'a Engine,
    pub(super) sources: Vec<Source>,
    recipes: Mutex<BTreeMap<ChainId, Recipe>>,
    /// Held while layers are fetched: two steps that need the same fetch it once.
    fetching: Mutex<()>,
    /// Records that can be kept once their snapshots are real.
    unkept: Mutex<Vec<(CacheKey, CacheRecord)>>,
}

/// Returns the chain that a name stands for, when it is one of ours.
pub(crate) fn lazy(snapshot: &SnapshotRef) -> Option<ChainId> {
    snapshot.as_str().strip_prefix(LAZY)?.parse::<Digest>().ok().and_then(chain_of)
}

fn chain_of(digest: Digest) -> Option<ChainId> {
    serde_json::from_value(serde_json::Value::String(digest.to_string())).ok()
}

fn name_of(chain: &ChainId) -> SnapshotRef {
    SnapshotRef::new(format!("{LAZY}{}", chain.digest()))
}

impl<'a> Imports<'a> {
    /// Reads the records of all caches. One that cannot be read only warns.
    pub fn open(engine: &'a Engine, from: &[CacheFrom], parent: Option<TaskId>) -> Self {
        let mut sources = Vec::new();
        for wanted in from {
            let task = Task::start(&*engine.reporter, parent, format!("import cache {}", wanted.place));
            match open(engine, wanted) {
                Ok(source) => {
                    task.finish(Outcome::Done);
                    sources.push(source);
                }
                Err(why) => {
                    task.finish(Outcome::Skipped(why.clone()));
                    let message = format!("the cache {} is not used: {why}", wanted.place);
                    engine.reporter.event(Event::Notice(Diagnostic::warning(BROKEN, message)));
                }
            }
        }
        let (recipes, fetching, unkept) = Default::default();
        Self { engine, sources, recipes, fetching, unkept }
    }

    /// Returns whether there is nothing to ask.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Returns the name of a stack of layers, real when it is here.
    fn snapshot(&self, chain: &ChainId) -> Option<SnapshotRef> {
        if self.recipes.lock().unwrap_or_else(PoisonError::into_inner).contains_key(chain) {
            return Some(name_of(chain));
        }
        let found = self.engine.snapshots.by_chain(chain).ok().flatten()?;
        Some(SnapshotRef::new(found.id.to_string()))
    }

    /// Returns what the caches know under a key.
    pub fn get(&self, key: &CacheKey) -> Option<CacheRecord> {
        for (number, source) in self.sources.iter().enumerate() {
            if source.broken.load(Ordering::Relaxed) {
                continue;
            }
            let Some(entry) = source.records.get(key) else { continue };
            let parent = match &entry.parent {
                None => None,
                // On layers that nobody here has, it serves nobody here.
                Some(chain) => match self.snapshot(chain) {
                    Some(parent) => Some(parent),
                    None => continue,
                },
            };
            let (mut chain, mut snapshot) = (entry.parent, parent.clone());
            for layer in &entry.layers {
                let next = ChainId::extend(chain, source.layers[*layer].entry.diff_id);
                snapshot = self.snapshot(&next).or_else(|| {
                    let recipe = Recipe { below: chain, source: number, layer: *layer };
                    self.recipes.lock().unwrap_or_else(PoisonError::into_inner).insert(next, recipe);
                    Some(name_of(&next))
                });
                chain = Some(next);
            }
            let record = CacheRecord { snapshot, parent, key: entry.result, step: String::new() };
            self.unkept.lock().unwrap_or_else(PoisonError::into_inner).push((*key, record.clone()));
            return Some(record);
        }
        None
    }

    /// Sees a record of this machine as builds see it that have got its parent from a cache.
    pub fn seen(&self, mut record: CacheRecord) -> CacheRecord {
        let chain = |snapshot: &SnapshotRef| {
            let id: SnapshotId = snapshot.as_str().parse().ok()?;
            self.engine.snapshots.get(&id).ok()?.chain_id
        };
        if self.is_empty() {
            return record;
        }
        for snapshot in [&mut record.parent, &mut record.snapshot].into_iter().flatten() {
            if let Some(known) = chain(snapshot).and_then(|chain| self.recipe(&chain).map(|_| chain)) {
                *snapshot = name_of(&known);
            }
        }
        record
    }

    /// Returns the top layer of a stack that a cache has.
    pub fn diff_id(&self, chain: &ChainId) -> Option<coracle_oci::DiffId> {
        self.top(chain).map(|(_, _, layer)| layer.entry.diff_id)
    }

    fn recipe(&self, chain: &ChainId) -> Option<Recipe> {
        self.recipes.lock().unwrap_or_else(PoisonError::into_inner).get(chain).copied()
    }

    /// Returns the source's layer that lies on top of a stack, and the stack below.
    pub(super) fn top(&self, chain: &ChainId) -> Option<(Option<ChainId>, &Source, &RemoteLayer)> {
        let recipe = self.recipe(chain)?;
        let source = &self.sources[recipe.source];
        Some((recipe.below, source, &source.layers[recipe.layer]))
    }

    /// Fetches and unpacks what is missing of a stack of layers.
    pub fn real(&self, chain: &ChainId, parent: Option<TaskId>) -> Result<SnapshotId, Diagnostic> {
        let _alone = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        let mut missing = Vec::new();
        let mut next = Some(*chain);
        let mut below = None;
        while let Some(wanted) = next {
            if let Ok(Some(there)) = self.engine.snapshots.by_chain(&wanted) {
                below = Some(there.id);
                break;
            }
            let Some(recipe) = self.recipe(&wanted) else {
                return Err(Diagnostic::error(BROKEN, "a cached layer is nowhere to be found"));
            };
            missing.push(recipe);
            next = recipe.below;
        }
        missing.reverse();
        for recipe in &missing {
            let source = &self.sources[recipe.source];
            let made = self.fetch(source, &source.layers[recipe.layer], below.as_ref(), parent);
            match made {
                Ok(id) => below = Some(id),
                Err(why) => {
                    source.broken.store(true, Ordering::Relaxed);
                    let message = format!("the cache {} is not used any more: {why}", source.name);
                    return Err(Diagnostic::error(BROKEN, message));
                }
            }
        }
        below.ok_or_else(|| Diagnostic::error(BROKEN, "a cached result has no layer"))
    }

    fn fetch(
        &self,
        source: &Source,
        layer: &RemoteLayer,
        below: Option<&SnapshotId>,
        parent: Option<TaskId>,
    ) -> Result<SnapshotId, String> {
        let snapshots = self.bounded(layer)?;
        let archive = self.archive(source, layer, parent)?;
        let applied = snapshots.apply(below, archive, Some(layer.entry.diff_id));
        self.drop_archive(source, layer);
        let snapshot = applied.map_err(|error| chain_text(&error))?;
        super::layers::remember(self.engine, &source.place, layer);
        Ok(snapshot.id)
    }

    /// Returns snapshots that refuse more than a layer claims to hold, when there is room for that.
    fn bounded(&self, layer: &RemoteLayer) -> Result<coracle_snapshot::Snapshots, String> {
        let free = rustix::fs::statvfs(self.engine.layout.data())
            .map_or(u64::MAX, |stat| stat.f_bavail.saturating_mul(stat.f_frsize));
        let (claimed, packed) = (layer.entry.size, layer.layer.size);
        if claimed.max(packed) > free {
            return Err(format!("a layer of {} bytes has no room on the disk", claimed.max(packed)));
        }
        let limits = Limits { bytes: claimed, ..Limits::default() };
        Ok(self.engine.snapshots.clone().with_limits(limits))
    }

    fn archive(
        &self,
        source: &Source,
        layer: &RemoteLayer,
        parent: Option<TaskId>,
    ) -> Result<Box<dyn Read>, String> {
        match &source.place {
            Place::Local(directory) => {
                let file = File::open(blob_path(directory, &layer.layer.digest))
                    .map_err(|error| format!("layer {}: {error}", layer.layer.digest.short()))?;
                Ok(Box::new(file.take(layer.layer.size)))
            }
            Place::Registry(reference) => {
                let store = &self.engine.store;
                let (sink, reporter) = (StoreSink(store), &*self.engine.reporter);
                self.engine
                    .registry()
                    .fetch_layers(reference, std::slice::from_ref(&layer.layer), &sink, reporter, parent)
                    .map_err(|error| chain_text(&error))?;
                let file = store.open_blob(&layer.layer.digest).map_err(|error| chain_text(&error))?;
                Ok(Box::new(file))
            }
        }
    }

    /// Its content lies in a snapshot now.
    fn drop_archive(&self, source: &Source, layer: &RemoteLayer) {
        if matches!(source.place, Place::Registry(_)) {
            let _ = std::fs::remove_file(self.engine.store.blob_path(&layer.layer.digest));
        }
    }

    /// Fills a cache mount that is not here; returns whether a cache had it. `path` appears whole or not at all.
    pub fn fill_mount(&self, name: &str, path: &Path, parent: Option<TaskId>) -> bool {
        for source in &self.sources {
            let Some(index) = source.mounts.get(name) else { continue };
            if source.broken.load(Ordering::Relaxed) {
                continue;
            }
            let layer = &source.layers[*index];
            let filled = self.bounded(layer).and_then(|snapshots| {
                let archive = self.archive(source, layer, parent)?;
                let unpacked = snapshots.unpack(archive, Some(layer.entry.diff_id));
                self.drop_archive(source, layer);
                let unpacked = unpacked.map_err(|error| chain_text(&error))?;
                unpacked.move_to(path).map_err(|error| chain_text(&error))
            });
            match filled {
                Ok(()) => return true,
                Err(why) => {
                    source.broken.store(true, Ordering::Relaxed);
                    let message =
                        format!("the cache mount {name} is not taken from the cache {}: {why}", source.name);
                    self.engine.reporter.event(Event::Notice(Diagnostic::warning(BROKEN, message)));
                }
            }
        }
        false
    }

    /// Returns the records whose snapshots are real now, and forgets them.
    pub fn keepable(&self) -> Vec<(CacheKey, CacheRecord)> {
        let real = |snapshot: &Option<SnapshotRef>| match snapshot.as_ref().map(|name| (name, lazy(name))) {
            None => Some(None),
            Some((name, None)) => Some(Some(name.clone())),
            Some((_, Some(chain))) => {
                let found = self.engine.snapshots.by_chain(&chain).ok().flatten()?;
                Some(Some(SnapshotRef::new(found.id.to_string())))
            }
        };
        let unkept = std::mem::take(&mut *self.unkept.lock().unwrap_or_else(PoisonError::into_inner));
        unkept
            .into_iter()
            .filter_map(|(key, record)| {
                let (snapshot, parent) = (real(&record.snapshot)?, real(&record.parent)?);
                Some((key, CacheRecord { snapshot, parent, ..record }))
            })
            .collect()
    }

    /// Keeps a record in mind that names results which may not be here.
    pub fn keep_later(&self, key: CacheKey, record: CacheRecord) {
        self.unkept.lock().unwrap_or_else(PoisonError::into_inner).push((key, record));
    }

    /// Forgets what was taken from caches that broke their word, so that the build can begin again without them.
    pub fn restart(&self) {
        let broken = |number: usize| self.sources[number].broken.load(Ordering::Relaxed);
        self.recipes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|_, recipe| !broken(recipe.source));
        self.unkept.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Returns an error with its causes on one line.
pub(super) fn chain_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

pub(super) fn blob_path(directory: &Path, digest: &Digest) -> PathBuf {
    directory.join("blobs/sha256").join(digest.hex())
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, String> {
    let fail = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut bytes = Vec::new();
    File::open(path).map_err(fail)?.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(format!("{} has more than {MAX_DOCUMENT} bytes", path.display()));
    }
    Ok(bytes)
}

fn read_blob(directory: &Path, digest: &Digest) -> Result<Vec<u8>, String> {
    let bytes = read_bounded(&blob_path(directory, digest))?;
    let actual = Digest::of(&bytes);
    if actual == *digest { Ok(bytes) } else { Err(format!("{digest} is {actual}")) }
}

/// Reads the records of one cache.
fn open(engine: &Engine, from: &CacheFrom) -> Result<Source, String> {
    let name = from.place.to_string();
    let digest = |descriptor: &Descriptor| Digest::try_from(descriptor.digest()).map_err(|e| e.to_string());
    let json = |error: serde_json::Error| error.to_string();
    match &from.place {
        CachePlace::Inline => Err("an inline cache has its image's name".to_owned()),
        CachePlace::Local(directory, tag) => {
            let index: ImageIndex =
                serde_json::from_slice(&read_bounded(&directory.join("index.json"))?).map_err(json)?;
            let tagged = |entry: &&coracle_oci::IndexEntry| {
                entry.annotations.get(super::export::TAG).is_some_and(|known| known == tag)
            };
            let entry = index.manifests.iter().find(tagged);
            let entry = entry.ok_or_else(|| format!("it has no tag {tag}"))?;
            let manifest: ImageManifest =
                serde_json::from_slice(&read_blob(directory, &entry.digest)?).map_err(json)?;
            let config = read_blob(directory, &digest(&manifest.config)?)?;
            build(name, Place::Local(directory.clone()), &manifest, &config)
        }
        CachePlace::Registry(reference) => {
            let client = engine.registry();
            let document = client.fetch_document(reference).map_err(|error| chain_text(&error))?;
            let mut manifest = serde_json::from_slice::<ImageManifest>(&document.bytes);
            if manifest.is_err() {
                // An image for several platforms: the host's.
                let resolved = client.resolve(reference, &Platform::host());
                let resolved = resolved.map_err(|error| chain_text(&error))?;
                manifest = serde_json::from_slice(&resolved.manifest);
            }
            let manifest = manifest.map_err(json)?;
            let config =
                client.fetch_small(reference, &manifest.config).map_err(|error| chain_text(&error))?;
            build(name, Place::Registry(reference.clone()), &manifest, &config)
        }
    }
}

fn build(name: String, place: Place, manifest: &ImageManifest, config: &[u8]) -> Result<Source, String> {
    let own = manifest.config.media_type().to_string();
    let document = if own == CONFIG_TYPE {
        CacheDocument::parse(config, manifest.layers.len())?
    } else if let Some(text) = manifest.annotations.get(INLINE) {
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).map_err(|e| e.to_string())?;
        let mut stated: CacheDocument = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        let image: ImageConfig = serde_json::from_slice(config).map_err(|error| error.to_string())?;
        if image.rootfs.diff_ids.len() != stated.layers.len()
            || image
                .rootfs
                .diff_ids
                .iter()
                .zip(&stated.layers)
                .any(|(diff_id, entry)| *diff_id != entry.diff_id)
        {
            return Err("its records are not about this image".to_owned());
        }
        stated.mounts.clear();
        let bytes = serde_json::to_vec(&stated).map_err(|error| error.to_string())?;
        CacheDocument::parse(&bytes, manifest.layers.len())?
    } else if own.starts_with("application/vnd.buildkit.cacheconfig") {
        return Err("it was written by BuildKit, whose caches cannot be read".to_owned());
    } else {
        return Err("it is no build cache, and an image without one".to_owned());
    };
    let mut layers = Vec::new();
    for (descriptor, entry) in manifest.layers.iter().zip(document.layers) {
        let media_type = descriptor.media_type().to_string();
        let compression = Compression::of_media_type(&media_type)
            .ok_or_else(|| format!("a layer has the unknown type {media_type}"))?;
        let digest = Digest::try_from(descriptor.digest()).map_err(|error| error.to_string())?;
        let layer = Layer { digest, size: descriptor.size(), compression, diff_id: entry.diff_id };
        layers.push(RemoteLayer { entry, layer, media_type });
    }
    Ok(Source {
        name,
        place,
        layers,
        records: document.records.into_iter().map(|record| (record.key, record)).collect(),
        mounts: document.mounts.into_iter().map(|mount| (mount.name, mount.layer)).collect(),
        broken: AtomicBool::new(false),
    })
}

/// Says that a build goes on without a cache.
pub(crate) fn warn_of(engine: &Engine, diagnostic: &Diagnostic) {
    let mut warning = Diagnostic::warning(BROKEN, diagnostic.message.clone());
    warning.notes.push("the build goes on without it".to_owned());
    engine.reporter.event(Event::Notice(warning));
}

/// Returns whether a build failed because a cache broke its word.
pub(crate) fn is_broken(failure: &Failure) -> bool {
    failure.first().code == BROKEN
}
