//! `push`: images to registries, layers compressed while they are sent.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::sync::atomic::AtomicBool;

use coracle_oci::{
    ChainId, Descriptor, DiffId, Digest, ImageConfig, ImageIndex, ImageManifest, IndexEntry, MediaType,
    Platform, Reference,
};
use coracle_registry::{BlobSource, Client, PushBlob, RegistryError};
use coracle_report::{Diagnostic, Outcome, Task, TaskId};
use coracle_store::MAX_DOCUMENT;

use super::layers::{Form, LayerBlob, LayerCompression, Layers, place_of};
use crate::outputs::{Attestation, Attested, Described, attestation_documents};
use crate::{During, Failure, Images, Result};

/// How an image is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushOptions {
    /// How layers are compressed that were made here. Those that came from a registry stay as they came.
    pub compression: LayerCompression,
    /// The task that it is a part of.
    pub parent: Option<TaskId>,
}

/// What was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushReport {
    /// The name it has now in its registry.
    pub reference: Reference,
    /// The media type of the manifest or index.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Bytes of the manifest or index.
    pub size: u64,
    /// Bytes of blobs that were sent; what the registry had is not counted.
    pub sent: u64,
}

/// What goes to a registry with images, in an index that names both.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beside {
    /// For each image, in the document's order.
    pub images: Vec<BesideImage>,
    /// Annotations of the index.
    pub index: BTreeMap<String, String>,
}

/// What goes with one image.
#[derive(Clone, Debug)]
pub(crate) struct BesideImage {
    /// What it runs on.
    pub platform: Platform,
    /// What is attested of it.
    pub attestations: Vec<Attestation>,
    /// Annotations of its descriptor in the index.
    pub annotations: BTreeMap<String, String>,
}

impl Beside {
    /// Returns the index that one image needs of which something is attested.
    fn index_of(&self, document: &Digest) -> Option<ImageIndex> {
        let attested = self.images.first().filter(|image| !image.attestations.is_empty())?;
        Some(ImageIndex::of([(attested.platform.clone(), *document, 0)]))
    }
}

/// A document that was sent.
struct Sent {
    media_type: String,
    digest: Digest,
    size: u64,
}

impl Images<'_> {
    /// Sends the image that a name stands for to the name's registry, for all its platforms.
    pub fn push(
        &self,
        reference: &Reference,
        options: &PushOptions,
        cancel: &AtomicBool,
    ) -> Result<PushReport> {
        let tag = reference.tag().unwrap_or("latest");
        let named = reference.with_tag(tag).during("reading an image's name")?;
        let Some(document) = self.engine.store.reference(&named).during("looking for an image")? else {
            return Err(self.no_such_image(&named.familiar()));
        };
        self.push_document(&document, &named, &Beside::default(), options, cancel)
    }

    /// Sends a stored manifest or index, with all that it names and what goes beside it, under a name.
    pub(crate) fn push_document(
        &self,
        document: &Digest,
        target: &Reference,
        beside: &Beside,
        options: &PushOptions,
        cancel: &AtomicBool,
    ) -> Result<PushReport> {
        let reporter = &*self.engine.reporter;
        let task = Task::start(reporter, options.parent, format!("push {}", target.familiar()));
        let _adding = self.engine.store.adding().during("holding an image while it is sent")?;
        let result = self.push_under(document, target, beside, options, &task, cancel);
        task.finish(match &result {
            Ok(_) => Outcome::Done,
            Err(failure) => Outcome::Failed(failure.first().message.clone()),
        });
        result
    }

    fn push_under(
        &self,
        document: &Digest,
        target: &Reference,
        beside: &Beside,
        options: &PushOptions,
        task: &Task<'_>,
        cancel: &AtomicBool,
    ) -> Result<PushReport> {
        let store = &self.engine.store;
        let tag = target.tag().unwrap_or("latest");
        let push = Push { images: *self, target, options, task, cancel, sent: Cell::new(0) };
        let index = store.index(document).during("reading an image's index")?;
        let done = match index.or_else(|| beside.index_of(document)) {
            None => push.manifest(document, Some(tag))?,
            Some(index) => push.index(index, beside, tag)?,
        };
        Ok(PushReport {
            reference: target.clone(),
            media_type: done.media_type,
            digest: done.digest,
            size: done.size,
            sent: push.sent.get(),
        })
    }
}

/// One push under way.
struct Push<'a> {
    images: Images<'a>,
    target: &'a Reference,
    options: &'a PushOptions,
    task: &'a Task<'a>,
    cancel: &'a AtomicBool,
    sent: Cell<u64>,
}

impl Push<'_> {
    fn client(&self) -> &Client {
        self.images.engine.registry()
    }

    /// Sends all images of an index, then the index.
    fn index(&self, mut index: ImageIndex, beside: &Beside, tag: &str) -> Result<Sent> {
        let mut moved = BTreeMap::new();
        for entry in &mut index.manifests {
            let sent = self.manifest(&entry.digest, None)?;
            moved.insert(entry.digest.to_string(), sent.digest.to_string());
            (entry.digest, entry.size) = (sent.digest, sent.size);
        }
        // Attestations say in an annotation which image they are about.
        for value in index.manifests.iter_mut().flat_map(|entry| entry.annotations.values_mut()) {
            if let Some(now) = moved.get(value) {
                value.clone_from(now);
            }
        }
        let mut attestations = Vec::new();
        for (entry, with) in index.manifests.iter_mut().zip(&beside.images) {
            entry.annotations.extend(with.annotations.clone());
            if !with.attestations.is_empty() {
                attestations.push(self.attestations(&with.attestations, entry)?);
            }
        }
        index.manifests.extend(attestations);
        index.annotations.extend(beside.index.clone());
        let media_type = index.media_type.clone().unwrap_or_else(|| MediaType::ImageIndex.to_string());
        self.document(tag, &media_type, &index.to_bytes())
    }

    /// Sends what is attested of an image, and returns the entry of that in the index.
    fn attestations(&self, list: &[Attestation], image: &IndexEntry) -> Result<IndexEntry> {
        let image = Described {
            media_type: image.media_type.clone(),
            digest: image.digest,
            size: image.size,
            platform: image.platform.clone(),
            annotations: BTreeMap::new(),
        };
        let names = std::slice::from_ref(self.target);
        let Attested { manifest, bytes: document, blobs } = attestation_documents(list, &image, names);
        let blob = |(digest, bytes): &(Digest, Vec<u8>)| (*digest, bytes.len() as u64);
        let sent: Vec<PushBlob<'_>> = blobs
            .iter()
            .map(|entry| PushBlob {
                label: format!("attestation {}", entry.0.short()),
                known: Some(blob(entry)),
                mount_from: Vec::new(),
                source: &entry.1,
            })
            .collect();
        let pushed = self
            .client()
            .push_blobs(self.target, &sent, &*self.images.engine.reporter, Some(self.task.id()), self.cancel)
            .map_err(|error| refused(&error, self.target))?;
        let bytes: u64 = pushed.iter().filter(|blob| blob.sent).map(|blob| blob.size).sum();
        self.sent.set(self.sent.get() + bytes);
        self.document(&manifest.digest.to_string(), &manifest.media_type, &document)?;
        Ok(IndexEntry {
            media_type: manifest.media_type,
            digest: manifest.digest,
            size: manifest.size,
            platform: manifest.platform,
            annotations: manifest.annotations,
        })
    }

    /// Sends an image: layers and configuration, then the manifest under a tag or its digest.
    fn manifest(&self, digest: &Digest, tag: Option<&str>) -> Result<Sent> {
        let store = &self.images.engine.store;
        let bytes = store.read_blob(digest, MAX_DOCUMENT).during("reading an image's manifest")?;
        let mut manifest: ImageManifest = store.manifest(digest).during("reading an image's manifest")?;
        let config_digest = digest_of(&manifest.config)?;
        let config = store.read_blob(&config_digest, MAX_DOCUMENT).during("reading a configuration")?;
        let diff_ids = serde_json::from_slice::<ImageConfig>(&config)
            .map(|config| config.rootfs.diff_ids)
            .unwrap_or_default();
        let parcels = self.parcels(&manifest, &diff_ids)?;
        let mut blobs: Vec<PushBlob<'_>> = parcels.iter().map(|parcel| parcel.blob(self.target)).collect();
        blobs.push(PushBlob {
            label: format!("config {}", config_digest.short()),
            known: Some((config_digest, config.len() as u64)),
            mount_from: Vec::new(),
            source: &config,
        });
        let pushed = self
            .client()
            .push_blobs(self.target, &blobs, &*self.images.engine.reporter, Some(self.task.id()), self.cancel)
            .map_err(|error| refused(&error, self.target))?;
        drop(blobs);
        let bytes_sent: u64 = pushed.iter().filter(|blob| blob.sent).map(|blob| blob.size).sum();
        self.sent.set(self.sent.get() + bytes_sent);
        let mut changed = false;
        let layers = Layers { engine: self.images.engine };
        for ((parcel, pushed), descriptor) in parcels.iter().zip(&pushed).zip(&mut manifest.layers) {
            if digest_of(descriptor)? != pushed.digest {
                changed = true;
                let annotations = descriptor.annotations().clone();
                *descriptor =
                    Descriptor::new(MediaType::from(&*parcel.media_type), pushed.size, pushed.digest);
                descriptor.set_annotations(annotations);
            }
            if let Some(layer) = parcel.layer {
                layers.remember(
                    &layer,
                    Form {
                        digest: pushed.digest,
                        size: pushed.size,
                        media_type: parcel.media_type.clone(),
                        made_by: parcel.made_by.clone(),
                        places: vec![place_of(self.target)],
                    },
                );
            }
        }
        let bytes = if changed { manifest.to_bytes() } else { bytes };
        let media_type = manifest.media_type.clone().unwrap_or_else(|| MediaType::ImageManifest.to_string());
        let name = tag.map_or_else(|| Digest::of(&bytes).to_string(), str::to_owned);
        self.document(&name, &media_type, &bytes)
    }

    fn document(&self, name: &str, media_type: &str, bytes: &[u8]) -> Result<Sent> {
        let digest = self
            .client()
            .push_manifest(self.target, name, media_type, bytes, self.cancel)
            .map_err(|error| refused(&error, self.target))?;
        Ok(Sent { media_type: media_type.to_owned(), digest, size: bytes.len() as u64 })
    }

    /// Finds for each layer of a manifest where its bytes come from.
    fn parcels(&self, manifest: &ImageManifest, diff_ids: &[DiffId]) -> Result<Vec<Parcel<'_>>> {
        let engine = self.images.engine;
        let mut parcels = Vec::new();
        let mut chain = None;
        for (index, descriptor) in manifest.layers.iter().enumerate() {
            let digest = digest_of(descriptor)?;
            let media_type = descriptor.media_type().to_string();
            let layer = diff_ids.get(index).copied();
            chain = layer.map(|layer| ChainId::extend(chain, layer));
            // What is stored as it is sent: attestations, and whatever else is no layer of a file system.
            if engine.store.has_blob(&digest) || layer.is_none() {
                let path = engine.store.blob_path(&digest);
                let source = Bytes::File(path);
                let known = Some((digest, descriptor.size()));
                parcels.push(Parcel {
                    layer: None,
                    known,
                    media_type,
                    made_by: None,
                    places: vec![],
                    source,
                });
                continue;
            }
            let (Some(layer), Some(chain)) = (layer, chain) else { continue };
            parcels.push(self.layer_parcel(&chain, layer, digest, descriptor.size(), media_type)?);
        }
        Ok(parcels)
    }

    fn layer_parcel(
        &self,
        chain: &ChainId,
        layer: DiffId,
        digest: Digest,
        size: u64,
        media_type: String,
    ) -> Result<Parcel<'_>> {
        let engine = self.images.engine;
        let forms = Layers { engine }.forms(&layer);
        let compressed = digest != layer.digest();
        // A layer that came from a registry stays as it came: that form is there already, or can be mounted.
        let came = forms.iter().find(|form| form.made_by.is_none());
        let as_it_came = if compressed {
            let places = forms.iter().find(|form| form.digest == digest).map(|form| form.places.clone());
            Some((digest, size, media_type, places.unwrap_or_default()))
        } else {
            came.map(|form| (form.digest, form.size, form.media_type.clone(), form.places.clone()))
        };
        if let Some((digest, size, media_type, places)) = as_it_came {
            // What came compressed is kept as it came, unless it could be made again.
            let snapshot = engine.snapshots.by_chain(chain).during("looking for an image's layers")?;
            let kept = snapshot.and_then(|layer| engine.snapshots.kept_archive(&layer.id).ok().flatten());
            let kept = kept.filter(|file| file.metadata().is_ok_and(|metadata| metadata.len() == size));
            let source = match kept {
                Some(file) => Bytes::Kept(file),
                None => Bytes::Origin { client: self.client(), places: places.clone(), digest, size },
            };
            return Ok(Parcel {
                layer: Some(layer),
                known: Some((digest, size)),
                media_type,
                made_by: None,
                places,
                source,
            });
        }
        let snapshot = engine.snapshots.by_chain(chain).during("looking for an image's layers")?;
        let Some(snapshot) = snapshot else {
            let message = format!("the files of layer {} are not in the store", layer.digest().short());
            return Err(Failure::user(
                Diagnostic::error("no-layer", message).with_hint("build or pull the image again"),
            ));
        };
        let compression = self.options.compression;
        let maker = compression.to_string();
        let made = Layers { engine }.made(&layer, compression);
        let id = snapshot.layer_of.unwrap_or(snapshot.id);
        Ok(Parcel {
            layer: Some(layer),
            known: made.as_ref().map(|form| (form.digest, form.size)),
            media_type: compression.media_type().to_owned(),
            made_by: Some(maker),
            places: made.map(|form| form.places).unwrap_or_default(),
            source: Bytes::Layer(LayerBlob {
                snapshots: engine.snapshots.clone(),
                id,
                expected: layer,
                compression,
            }),
        })
    }
}

/// A layer on its way.
struct Parcel<'a> {
    layer: Option<DiffId>,
    known: Option<(Digest, u64)>,
    media_type: String,
    made_by: Option<String>,
    places: Vec<String>,
    source: Bytes<'a>,
}

impl Parcel<'_> {
    fn blob(&self, target: &Reference) -> PushBlob<'_> {
        let prefix = format!("{}/", target.registry());
        let name = self.known.map(|(digest, _)| digest).or(self.layer.map(|layer| layer.digest()));
        PushBlob {
            label: name.map_or_else(|| "layer".to_owned(), |name| name.short()),
            known: self.known,
            mount_from: self
                .places
                .iter()
                .filter_map(|place| place.strip_prefix(&prefix))
                .map(str::to_owned)
                .collect(),
            source: &self.source,
        }
    }
}

/// Where a blob's bytes are.
enum Bytes<'a> {
    /// In a file.
    File(std::path::PathBuf),
    /// In an archive that was kept.
    Kept(File),
    /// In a snapshot.
    Layer(LayerBlob),
    /// In the registry that they came from.
    Origin { client: &'a Client, places: Vec<String>, digest: Digest, size: u64 },
}

impl BlobSource for Bytes<'_> {
    fn open(&self) -> io::Result<Box<dyn Read + Send + '_>> {
        match self {
            Self::File(path) => Ok(Box::new(File::open(path)?)),
            Self::Kept(file) => {
                let mut file = file.try_clone()?;
                file.rewind()?;
                Ok(Box::new(file))
            }
            Self::Layer(layer) => layer.open(),
            Self::Origin { client, places, digest, size } => {
                let mut why =
                    format!("{} is not stored here, and nobody is known to have it", digest.short());
                for place in places {
                    let Ok(reference) = place.parse::<Reference>() else { continue };
                    match client.read_blob(&reference, digest, *size) {
                        Ok(body) => return Ok(Box::new(body)),
                        Err(error) => why = error.to_string(),
                    }
                }
                Err(io::Error::other(why))
            }
        }
    }
}

fn digest_of(descriptor: &Descriptor) -> Result<Digest> {
    Digest::try_from(descriptor.digest()).during("reading an image's manifest")
}

/// Returns a push's error for the user.
pub(crate) fn refused(error: &RegistryError, target: &Reference) -> Failure {
    let code = match error {
        RegistryError::Cancelled => "cancelled",
        _ => "push",
    };
    let mut diagnostic = Diagnostic::error(code, error.to_string());
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        diagnostic = diagnostic.with_note(format!("caused by: {error}"));
        cause = error.source();
    }
    match error {
        RegistryError::Unauthorized { .. } => {
            diagnostic = diagnostic
                .with_note("credentials are read from ~/.docker/config.json ($DOCKER_CONFIG)")
                .with_hint(format!("docker login {}", target.registry()));
        }
        RegistryError::NoRepository { registry, repository, .. } => {
            diagnostic =
                diagnostic.with_hint(format!("make the repository {repository} at {registry} first"));
        }
        _ => {}
    }
    Failure::user(diagnostic)
}
