//! `--cache-to`: what a build used and made, written so that a build on another machine need not do it again.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use base64::Engine as _;
use coracle_build::{BuiltImage, CacheKey, CacheRecord, SnapshotRef};
use coracle_oci::{
    ChainId, Descriptor, DiffId, Digest, ImageIndex, ImageManifest, IndexEntry, MediaType, Reference,
    Sha256Writer,
};
use coracle_registry::{BlobSource, PushBlob};
use coracle_report::{Diagnostic, Event, Outcome, Task};
use coracle_snapshot::RootFs;
use coracle_store::FileLock;

use super::document::{CONFIG_TYPE, CacheDocument, INLINE, LayerEntry, MountEntry, StepEntry};
use super::import::{Imports, Place, RemoteLayer, blob_path, lazy};
use super::layers::{Form, LayerBlob, Layers, Piped, place_of};
use super::push::refused;
use super::{CacheMode, CachePlace, CacheTo, LayerCompression};
use crate::{During, Engine, Result};

/// Annotation that names a manifest in an image layout (OCI image layout specification).
pub(super) const TAG: &str = "org.opencontainers.image.ref.name";

/// What a build leaves to exports.
pub(crate) struct Exported<'a> {
    pub engine: &'a Engine,
    pub imports: &'a Imports<'a>,
    /// What the build found and made.
    pub records: BTreeMap<CacheKey, CacheRecord>,
    /// Returns the digest of a real snapshot's layer, and records its chain.
    pub diff_id: &'a dyn Fn(&SnapshotRef) -> Result<DiffId, Diagnostic>,
    /// The images that were built.
    pub images: Vec<BuiltImage>,
    /// Names of the cache mounts of the build.
    pub mounts: BTreeSet<String>,
}

/// A layer that is exported.
struct Parcel<'a> {
    entry: LayerEntry,
    media_type: String,
    known: Option<(Digest, u64)>,
    made_by: Option<String>,
    places: Vec<String>,
    source: Bytes<'a>,
}

enum Bytes<'a> {
    Layer(LayerBlob),
    Remote(&'a Engine, &'a Place, &'a RemoteLayer),
    Mount(PathBuf, LayerCompression),
}

impl BlobSource for Bytes<'_> {
    fn open(&self) -> io::Result<Box<dyn Read + Send + '_>> {
        match self {
            Self::Layer(layer) => layer.open(),
            Self::Remote(_, Place::Local(directory), layer) => {
                Ok(Box::new(std::fs::File::open(blob_path(directory, &layer.layer.digest))?))
            }
            Self::Remote(engine, Place::Registry(reference), layer) => {
                let body = engine.registry().read_blob(reference, &layer.layer.digest, layer.layer.size);
                Ok(Box::new(body.map_err(io::Error::other)?))
            }
            Self::Mount(path, compression) => {
                let root = RootFs::open_directory(path).map_err(io::Error::other)?;
                let compression = *compression;
                Ok(Box::new(Piped::start(move |out| {
                    compression.compress(out, |out| {
                        let mut out: &mut dyn Write = out;
                        root.tar(&mut out).map_err(io::Error::other)
                    })
                })))
            }
        }
    }
}

impl Exported<'_> {
    /// Writes all exports. A failure ends the build unless it is to be ignored.
    pub fn write(
        &self,
        to: &[CacheTo],
        parent: Option<coracle_report::TaskId>,
        cancel: &AtomicBool,
    ) -> Result<()> {
        let reporter = &*self.engine.reporter;
        for wanted in to.iter().filter(|wanted| wanted.place != CachePlace::Inline) {
            let task = Task::start(reporter, parent, format!("export cache {}", wanted.place));
            let result = self.write_one(wanted, &task, cancel);
            match result {
                Ok(()) => task.finish(Outcome::Done),
                Err(failure) => {
                    task.finish(Outcome::Failed(failure.first().message.clone()));
                    if !wanted.ignore_error {
                        return Err(failure);
                    }
                    let mut warning = Diagnostic::warning("cache-export", failure.first().message.clone());
                    warning.notes.push("ignored, as ignore-error=true says".to_owned());
                    reporter.event(Event::Notice(warning));
                }
            }
        }
        Ok(())
    }

    fn write_one(&self, to: &CacheTo, task: &Task<'_>, cancel: &AtomicBool) -> Result<()> {
        let (document, parcels) = self.document(to)?;
        match &to.place {
            CachePlace::Inline => Ok(()),
            CachePlace::Registry(reference) => self.to_registry(reference, document, &parcels, task, cancel),
            CachePlace::Local(directory, tag) => self.to_directory(directory, tag, document, &parcels),
        }
    }

    /// Returns the records and the layers that they need.
    fn document(&self, to: &CacheTo) -> Result<(CacheDocument, Vec<Parcel<'_>>)> {
        let mut document = CacheDocument::new();
        let mut parcels: Vec<Parcel<'_>> = Vec::new();
        let mut places: BTreeMap<DiffId, usize> = BTreeMap::new();
        let wanted = self.wanted(to.mode);
        'records: for (key, record) in &self.records {
            let Some((parent, stack)) = self.between(record)? else { continue };
            let top = stack.last().map(|(chain, _)| *chain).or(parent);
            if wanted.as_ref().is_some_and(|wanted| top.is_some_and(|top| !wanted.contains(&top))) {
                continue;
            }
            let mut layers = Vec::new();
            for (chain, diff_id) in stack {
                let index = if let Some(index) = places.get(&diff_id) {
                    *index
                } else {
                    // Without its layer a record would be a lie.
                    let Some(parcel) = self.parcel(&chain, diff_id, to.compression)? else {
                        continue 'records;
                    };
                    parcels.push(parcel);
                    places.insert(diff_id, parcels.len() - 1);
                    parcels.len() - 1
                };
                layers.push(index);
            }
            document.records.push(StepEntry { key: *key, result: record.key, parent, layers });
        }
        if to.mounts {
            for (name, parcel) in self.mount_parcels(to.compression)? {
                parcels.push(parcel);
                document.mounts.push(MountEntry { name, layer: parcels.len() - 1 });
            }
        }
        Ok((document, parcels))
    }

    /// Returns the stacks of layers that images are made of; `None` for all there are.
    fn wanted(&self, mode: CacheMode) -> Option<BTreeSet<ChainId>> {
        if mode == CacheMode::Max {
            return None;
        }
        let mut chains = BTreeSet::new();
        for image in &self.images {
            let mut chain = None;
            for diff_id in &image.config.rootfs.diff_ids {
                let next = ChainId::extend(chain, *diff_id);
                chains.insert(next);
                chain = Some(next);
            }
        }
        Some(chains)
    }

    /// Returns the chain that a step was done on, and the layers that it added, lowest first; `None` when something of
    /// it is gone.
    #[expect(clippy::type_complexity, reason = "two parts of one answer, used once")]
    fn between(&self, record: &CacheRecord) -> Result<Option<(Option<ChainId>, Vec<(ChainId, DiffId)>)>> {
        let parent = match &record.parent {
            None => None,
            Some(parent) => match self.chain(parent)? {
                None => return Ok(None),
                known => known,
            },
        };
        let mut next = match &record.snapshot {
            None => None,
            Some(snapshot) => match self.chain(snapshot)? {
                None => return Ok(None),
                known => known,
            },
        };
        let mut stack = Vec::new();
        while let Some(chain) = next.filter(|chain| Some(*chain) != parent) {
            if let Some((below, _, layer)) = self.imports.top(&chain) {
                stack.push((chain, layer.entry.diff_id));
                next = below;
                continue;
            }
            let Some(found) = self.engine.snapshots.by_chain(&chain).during("listing cached layers")? else {
                return Ok(None);
            };
            let Some(diff_id) = found.diff_id else { return Ok(None) };
            stack.push((chain, diff_id));
            next = match found.parent {
                None => None,
                Some(below) => self.engine.snapshots.get(&below).during("listing cached layers")?.chain_id,
            };
        }
        stack.reverse();
        Ok(Some((parent, stack)))
    }

    fn chain(&self, snapshot: &SnapshotRef) -> Result<Option<ChainId>> {
        if let Some(chain) = lazy(snapshot) {
            return Ok(Some(chain));
        }
        (self.diff_id)(snapshot)?;
        let id = snapshot.as_str().parse().during("reading a snapshot's id")?;
        Ok(self.engine.snapshots.get(&id).during("reading a layer's record")?.chain_id)
    }

    fn parcel(
        &self,
        chain: &ChainId,
        diff_id: DiffId,
        compression: LayerCompression,
    ) -> Result<Option<Parcel<'_>>> {
        if let Some((_, source, layer)) = self.imports.top(chain) {
            let places = match &source.place {
                Place::Registry(reference) => vec![place_of(reference)],
                Place::Local(_) => Vec::new(),
            };
            return Ok(Some(Parcel {
                entry: layer.entry.clone(),
                media_type: layer.media_type.clone(),
                known: Some((layer.layer.digest, layer.layer.size)),
                made_by: None,
                places,
                source: Bytes::Remote(self.engine, &source.place, layer),
            }));
        }
        let found = self.engine.snapshots.by_chain(chain).during("looking for a cached layer")?;
        let Some(snapshot) = found else { return Ok(None) };
        let made = Layers { engine: self.engine }.made(&diff_id, compression);
        Ok(Some(Parcel {
            entry: LayerEntry { diff_id, size: snapshot.size.unwrap_or(0) },
            media_type: compression.media_type().to_owned(),
            known: made.as_ref().map(|form| (form.digest, form.size)),
            made_by: Some(compression.to_string()),
            places: made.map(|form| form.places).unwrap_or_default(),
            source: Bytes::Layer(LayerBlob {
                snapshots: self.engine.snapshots.clone(),
                id: snapshot.layer_of.unwrap_or(snapshot.id),
                expected: diff_id,
                compression,
            }),
        }))
    }

    /// Returns the contents of cache mounts: of those that are here, and those that a cache has that was read.
    fn mount_parcels(&self, compression: LayerCompression) -> Result<Vec<(String, Parcel<'_>)>> {
        let mut parcels = Vec::new();
        let offered = self.imports.sources.iter().flat_map(|source| source.mounts.keys());
        let names: BTreeSet<&String> = self.mounts.iter().chain(offered).collect();
        for name in names {
            let path = self.engine.layout.cache_mount(name);
            if path.is_dir() {
                // Read once more than written: the digest must be known before the records are.
                let during = || format!("reading the cache mount {name}");
                let root = RootFs::open_directory(&path).during(during())?;
                let mut hash = Sha256Writer::new(io::sink());
                root.tar(&mut hash).during(during())?;
                let (_, digest, size) = hash.finish();
                parcels.push((
                    name.clone(),
                    Parcel {
                        entry: LayerEntry { diff_id: DiffId::new(digest), size },
                        media_type: compression.media_type().to_owned(),
                        known: Layers { engine: self.engine }
                            .made(&DiffId::new(digest), compression)
                            .map(|form| (form.digest, form.size)),
                        made_by: Some(compression.to_string()),
                        places: Vec::new(),
                        source: Bytes::Mount(path, compression),
                    },
                ));
                continue;
            }
            let found =
                self.imports.sources.iter().find_map(|source| Some((source, source.mounts.get(name)?)));
            if let Some((source, index)) = found {
                let layer = &source.layers[*index];
                parcels.push((
                    name.clone(),
                    Parcel {
                        entry: layer.entry.clone(),
                        media_type: layer.media_type.clone(),
                        known: Some((layer.layer.digest, layer.layer.size)),
                        made_by: None,
                        places: Vec::new(),
                        source: Bytes::Remote(self.engine, &source.place, layer),
                    },
                ));
            }
        }
        Ok(parcels)
    }

    fn to_registry(
        &self,
        reference: &Reference,
        mut document: CacheDocument,
        parcels: &[Parcel<'_>],
        task: &Task<'_>,
        cancel: &AtomicBool,
    ) -> Result<()> {
        let client = self.engine.registry();
        let prefix = format!("{}/", reference.registry());
        let blobs: Vec<PushBlob<'_>> = parcels
            .iter()
            .map(|parcel| PushBlob {
                label: parcel.known.map_or(parcel.entry.diff_id.digest(), |(digest, _)| digest).short(),
                known: parcel.known,
                mount_from: parcel
                    .places
                    .iter()
                    .filter_map(|place| place.strip_prefix(&prefix).map(str::to_owned))
                    .collect(),
                source: &parcel.source,
            })
            .collect();
        let reporter = &*self.engine.reporter;
        let fail = |error: coracle_registry::RegistryError| refused(&error, reference);
        let pushed = client.push_blobs(reference, &blobs, reporter, Some(task.id()), cancel).map_err(fail)?;
        let mut layers = Vec::new();
        for (parcel, pushed) in parcels.iter().zip(&pushed) {
            layers.push((pushed.digest, pushed.size));
            self.remember(parcel, pushed.digest, pushed.size, vec![place_of(reference)]);
        }
        let (manifest, config) = finish(&mut document, parcels, &layers);
        let blob = PushBlob {
            label: "records".to_owned(),
            known: Some((Digest::of(&config), config.len() as u64)),
            mount_from: Vec::new(),
            source: &config,
        };
        client.push_blobs(reference, &[blob], reporter, Some(task.id()), cancel).map_err(fail)?;
        let tag = reference.tag().unwrap_or("latest");
        let media_type = MediaType::ImageManifest.to_string();
        client.push_manifest(reference, tag, &media_type, &manifest.to_bytes(), cancel).map_err(fail)?;
        Ok(())
    }

    fn remember(&self, parcel: &Parcel<'_>, digest: Digest, size: u64, places: Vec<String>) {
        Layers { engine: self.engine }.remember(
            &parcel.entry.diff_id,
            Form {
                digest,
                size,
                media_type: parcel.media_type.clone(),
                made_by: parcel.made_by.clone(),
                places,
            },
        );
    }

    fn to_directory(
        &self,
        directory: &Path,
        tag: &str,
        mut document: CacheDocument,
        parcels: &[Parcel<'_>],
    ) -> Result<()> {
        let during = || format!("writing the cache to {}", directory.display());
        let blobs = directory.join("blobs/sha256");
        std::fs::create_dir_all(&blobs).during(during())?;
        let _alone = FileLock::exclusive(&directory.join("index.json.lock")).during(during())?;
        let mut layers = Vec::new();
        for parcel in parcels {
            let there = parcel.known.filter(|(digest, size)| {
                blob_path(directory, digest).metadata().is_ok_and(|metadata| metadata.len() == *size)
            });
            let (digest, size) = match there {
                Some(known) => known,
                None => write_blob(&blobs, &parcel.source).during(during())?,
            };
            layers.push((digest, size));
            self.remember(parcel, digest, size, Vec::new());
        }
        let (manifest, config) = finish(&mut document, parcels, &layers);
        let bytes = manifest.to_bytes();
        write_blob(&blobs, &config).during(during())?;
        let (digest, size) = write_blob(&blobs, &bytes).during(during())?;
        let index_path = directory.join("index.json");
        let mut index = std::fs::read(&index_path)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<ImageIndex>(&bytes).ok())
            .unwrap_or_else(|| ImageIndex::of([]));
        index.manifests.retain(|entry| entry.annotations.get(TAG).is_none_or(|known| known != tag));
        index.manifests.push(IndexEntry {
            media_type: MediaType::ImageManifest.to_string(),
            digest,
            size,
            platform: None,
            annotations: BTreeMap::from([(TAG.to_owned(), tag.to_owned())]),
        });
        let layout = directory.join("oci-layout");
        coracle_store::records::write_atomic(&layout, br#"{"imageLayoutVersion":"1.0.0"}"#)
            .during(during())?;
        coracle_store::records::write_atomic(&index_path, &index.to_bytes()).during(during())?;
        sweep(directory, &index);
        Ok(())
    }

    /// Returns the text of the annotation that holds the records about an image's own layers.
    pub fn inline(&self, image: &BuiltImage) -> Result<(String, String)> {
        let mut document = CacheDocument::new();
        let mut places = BTreeMap::new();
        let mut chain = None;
        for diff_id in &image.config.rootfs.diff_ids {
            let next = ChainId::extend(chain, *diff_id);
            places.insert(next, document.layers.len());
            let size = if let Some((_, _, layer)) = self.imports.top(&next) {
                layer.entry.size
            } else {
                let found = self.engine.snapshots.by_chain(&next).during("listing layers")?;
                found.and_then(|snapshot| snapshot.size).unwrap_or(0)
            };
            document.layers.push(LayerEntry { diff_id: *diff_id, size });
            chain = Some(next);
        }
        for (key, record) in &self.records {
            let Some((parent, stack)) = self.between(record)? else { continue };
            let layers: Option<Vec<usize>> =
                stack.iter().map(|(chain, _)| places.get(chain).copied()).collect();
            let on_it = parent.is_none_or(|parent| places.contains_key(&parent));
            if let Some(layers) = layers.filter(|_| on_it) {
                document.records.push(StepEntry { key: *key, result: record.key, parent, layers });
            }
        }
        let bytes = serde_json::to_vec(&document).during("writing JSON")?;
        Ok((INLINE.to_owned(), base64::engine::general_purpose::STANDARD.encode(bytes)))
    }
}

/// Puts the manifest together, and its configuration.
fn finish(
    document: &mut CacheDocument,
    parcels: &[Parcel<'_>],
    layers: &[(Digest, u64)],
) -> (ImageManifest, Vec<u8>) {
    document.layers = parcels.iter().map(|parcel| parcel.entry.clone()).collect();
    let config = serde_json::to_vec(document).expect("a document holds only strings and numbers");
    let descriptor =
        |kind: &str, digest: Digest, size: u64| Descriptor::new(MediaType::from(kind), size, digest);
    let manifest = ImageManifest {
        schema_version: 2,
        media_type: Some(MediaType::ImageManifest.to_string()),
        config: descriptor(CONFIG_TYPE, Digest::of(&config), config.len() as u64),
        layers: parcels
            .iter()
            .zip(layers)
            .map(|(parcel, (digest, size))| descriptor(&parcel.media_type, *digest, *size))
            .collect(),
        annotations: BTreeMap::new(),
    };
    (manifest, config)
}

/// Writes a blob under its digest; it appears whole or not at all.
fn write_blob(blobs: &Path, source: &dyn BlobSource) -> io::Result<(Digest, u64)> {
    let file = tempfile::Builder::new().prefix(".new-").tempfile_in(blobs)?;
    let mut hash = Sha256Writer::new(file);
    io::copy(&mut source.open()?, &mut hash)?;
    let (file, digest, size) = hash.finish();
    file.as_file().sync_all()?;
    file.persist(blobs.join(digest.hex())).map_err(|error| error.error)?;
    Ok((digest, size))
}

/// Removes blobs that no tag needs any more, and what killed exports left. Whoever exports holds the lock.
fn sweep(directory: &Path, index: &ImageIndex) {
    let mut needed: BTreeSet<String> = BTreeSet::new();
    for entry in &index.manifests {
        needed.insert(entry.digest.hex());
        let manifest = std::fs::read(blob_path(directory, &entry.digest)).ok();
        let manifest = manifest.and_then(|bytes| serde_json::from_slice::<ImageManifest>(&bytes).ok());
        // Something that is not ours may need anything.
        let Some(manifest) = manifest else { return };
        let named = manifest.layers.iter().chain([&manifest.config]);
        needed.extend(named.map(|descriptor| descriptor.digest().digest().to_owned()));
    }
    let entries = std::fs::read_dir(directory.join("blobs/sha256")).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| !needed.contains(&*entry.file_name().to_string_lossy())) {
        let _ = std::fs::remove_file(entry.path());
    }
}
