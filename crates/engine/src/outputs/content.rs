//! An image as content: documents and packed layers under their digests (OCI image specification).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use coracle_oci::{DiffId, Digest, Platform, Reference, Sha256Writer};
use serde_json::{Map, Value, json};

use super::annotations::{Annotation, AnnotationKind, select};
use super::compress::Blocks;
use super::finished::Finished;
use super::spec::Packing;
use crate::{During, Engine, Result};

/// Where a blob's bytes are.
#[derive(Clone, Debug)]
pub enum Bytes {
    /// Here.
    Memory(Vec<u8>),
    /// In a file without a name, which is gone with the last holder.
    File(Arc<File>),
}

/// One blob.
#[derive(Clone, Debug)]
pub struct Blob {
    /// Its length.
    pub size: u64,
    /// Its bytes.
    pub bytes: Bytes,
}

impl Blob {
    /// Opens the blob for reading.
    pub fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(match &self.bytes {
            Bytes::Memory(bytes) => Box::new(io::Cursor::new(bytes.clone())),
            Bytes::File(file) => Box::new(At { file: Arc::clone(file), offset: 0 }),
        })
    }
}

/// Reads a file that several read at once.
struct At {
    file: Arc<File>,
    offset: u64,
}

impl Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

/// A descriptor: what a document says of another (OCI image specification, "Descriptor").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The media type.
    pub media_type: String,
    /// The digest.
    pub digest: Digest,
    /// The length.
    pub size: u64,
    /// The platform, in an index.
    pub platform: Option<Platform>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

impl Described {
    /// Returns it as JSON with the keys in the specification's order.
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("mediaType".to_owned(), json!(self.media_type));
        object.insert("digest".to_owned(), json!(self.digest));
        object.insert("size".to_owned(), json!(self.size));
        if !self.annotations.is_empty() {
            object.insert("annotations".to_owned(), json!(self.annotations));
        }
        if let Some(platform) = &self.platform {
            object.insert("platform".to_owned(), json!(platform));
        }
        Value::Object(object)
    }
}

/// One platform's image within a [`Content`].
#[derive(Clone, Debug)]
pub struct PackedImage {
    /// The manifest.
    pub manifest: Described,
    /// The configuration.
    pub config: Described,
    /// The packed layers, lowest first.
    pub layers: Vec<Described>,
}

/// An image, or an index of several, with all blobs.
#[derive(Debug)]
pub struct Content {
    /// The blobs.
    pub blobs: BTreeMap<Digest, Blob>,
    /// The document that stands for the whole: a manifest or an index.
    pub root: Described,
    /// The images in it.
    pub images: Vec<PackedImage>,
}

/// An attestation of one image: a predicate of some type.
#[derive(Clone, Debug)]
pub struct Attestation {
    /// The name of its file beside a local output, e.g. `provenance.json`.
    pub file: String,
    /// The predicate's type.
    pub predicate_type: String,
    /// The predicate.
    pub predicate: Value,
}

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const IN_TOTO: &str = "application/vnd.in-toto+json";

impl Content {
    /// Packs images. With several, or with attestations (one list an image), there is an index.
    pub fn pack(
        engine: &Engine,
        images: &[(Finished, Vec<Attestation>)],
        names: &[Reference],
        packing: &Packing,
        annotations: &[Annotation],
    ) -> Result<Self> {
        let temporary = engine.layout.temporary();
        std::fs::create_dir_all(&temporary).during("making the directory of temporary files")?;
        let mut blobs = BTreeMap::new();
        let attested = images.iter().any(|(_, attestations)| !attestations.is_empty());
        // Attestations exist only in the OCI specification's index.
        let oci = packing.oci_media_types || attested;
        let mut packed = Vec::new();
        for (image, _) in images {
            packed.push(pack_image(engine, image, packing, oci, annotations, &mut blobs)?);
        }
        let mut manifests: Vec<Described> = packed.iter().map(|image| image.manifest.clone()).collect();
        let mut attestations = Vec::new();
        for ((_, list), image) in images.iter().zip(&packed).filter(|((_, list), _)| !list.is_empty()) {
            let Attested { manifest, bytes, blobs: own } =
                attestation_documents(list, &image.manifest, names);
            let all = own.into_iter().chain([(manifest.digest, bytes)]);
            blobs.extend(all.map(|(digest, bytes)| {
                (digest, Blob { size: bytes.len() as u64, bytes: Bytes::Memory(bytes) })
            }));
            attestations.push(manifest);
        }
        manifests.extend(attestations.iter().cloned());
        let root = match manifests.as_slice() {
            [only] => Described { platform: None, ..only.clone() },
            all => {
                let mut index = json!({
                    "schemaVersion": 2,
                    "mediaType": if oci { OCI_INDEX } else { "application/vnd.docker.distribution.manifest.list.v2+json" },
                    "manifests": all.iter().map(Described::to_json).collect::<Vec<_>>(),
                });
                let own = select(annotations, AnnotationKind::Index, None);
                if !own.is_empty() {
                    index["annotations"] = json!(own);
                }
                let media_type = index["mediaType"].as_str().unwrap_or(OCI_INDEX).to_owned();
                put(&mut blobs, to_bytes(&index), &media_type)
            }
        };
        let mut root = root;
        root.annotations.extend(select(annotations, AnnotationKind::IndexDescriptor, None));
        Ok(Self { blobs, root, images: packed })
    }
}

fn pack_image(
    engine: &Engine,
    image: &Finished,
    packing: &Packing,
    oci: bool,
    annotations: &[Annotation],
    blobs: &mut BTreeMap<Digest, Blob>,
) -> Result<PackedImage> {
    let mut layers = Vec::new();
    let mut diff_ids = Vec::new();
    for snapshot in &image.stack {
        let (file, digest, size, diff_id) = pack_layer(engine, snapshot, packing)?;
        diff_ids.push(diff_id);
        let media_type = packing.compression.media_type(oci).to_owned();
        blobs.entry(digest).or_insert(Blob { size, bytes: Bytes::File(Arc::new(file)) });
        layers.push(Described { media_type, digest, size, platform: None, annotations: BTreeMap::new() });
    }
    let config_type = if oci { OCI_CONFIG } else { "application/vnd.docker.container.image.v1+json" };
    let config = put(blobs, image.config_with(&diff_ids), config_type);
    let manifest_type =
        if oci { OCI_MANIFEST } else { "application/vnd.docker.distribution.manifest.v2+json" };
    let platform = image.platform();
    let mut document = json!({
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "config": config.to_json(),
        "layers": layers.iter().map(Described::to_json).collect::<Vec<_>>(),
    });
    let mut own = image.annotations.clone();
    own.extend(select(annotations, AnnotationKind::Manifest, Some(&platform)));
    if !own.is_empty() {
        document["annotations"] = json!(own);
    }
    let mut manifest = put(blobs, to_bytes(&document), manifest_type);
    manifest.annotations = select(annotations, AnnotationKind::ManifestDescriptor, Some(&platform));
    manifest.platform = Some(platform);
    Ok(PackedImage { manifest, config, layers })
}

/// Packs one layer into a file and returns the digest and length of that, and of the uncompressed archive its id.
fn pack_layer(
    engine: &Engine,
    snapshot: &coracle_snapshot::Snapshot,
    packing: &Packing,
) -> Result<(File, Digest, u64, DiffId)> {
    let what = "packing a layer";
    let file = tempfile::tempfile_in(engine.layout.temporary()).during(what)?;
    let jobs = std::thread::available_parallelism().map_or(2, std::num::NonZeroUsize::get);
    let hashed = Sha256Writer::new(BufWriter::with_capacity(256 << 10, file));
    let mut blocks = Blocks::new(hashed, packing.compression, jobs);
    let info = engine.snapshots.layer_tar(&snapshot.id, &mut blocks, None).during(what)?;
    let (file, digest, size) = blocks.finish().during(what)?.finish();
    let file = file.into_inner().map_err(io::IntoInnerError::into_error).during(what)?;
    Ok((file, digest, size, info.diff_id))
}

/// The manifest that holds what is attested of an image.
pub(crate) struct Attested {
    /// What an index says of it.
    pub manifest: Described,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The blobs that it names.
    pub blobs: Vec<(Digest, Vec<u8>)>,
}

/// Makes the manifest that holds what is attested of an image (BuildKit, "Image attestation storage").
pub(crate) fn attestation_documents(
    list: &[Attestation],
    image: &Described,
    names: &[Reference],
) -> Attested {
    let mut blobs = BTreeMap::new();
    let mut layers = Vec::new();
    for attestation in list {
        let statement = statement(attestation, &subjects(image, names));
        let mut layer = put(&mut blobs, to_bytes(&statement), IN_TOTO);
        layer.annotations.insert("in-toto.io/predicate-type".to_owned(), attestation.predicate_type.clone());
        layers.push(layer);
    }
    let config = json!({
        "architecture": "unknown", "os": "unknown", "config": {},
        "rootfs": {"type": "layers", "diff_ids": layers.iter().map(|layer| layer.digest).collect::<Vec<_>>()},
    });
    let config = put(&mut blobs, to_bytes(&config), OCI_CONFIG);
    let document = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config.to_json(),
        "layers": layers.iter().map(Described::to_json).collect::<Vec<_>>(),
    });
    let bytes = to_bytes(&document);
    let mut manifest = described(&bytes, OCI_MANIFEST);
    manifest.annotations.extend([
        ("vnd.docker.reference.digest".to_owned(), image.digest.to_string()),
        ("vnd.docker.reference.type".to_owned(), "attestation-manifest".to_owned()),
    ]);
    manifest.platform =
        Some(Platform { os: "unknown".to_owned(), architecture: "unknown".to_owned(), variant: None });
    let in_memory = |(digest, blob): (Digest, Blob)| match blob.bytes {
        Bytes::Memory(bytes) => (digest, bytes),
        Bytes::File(_) => unreachable!("documents are made in memory"),
    };
    Attested { manifest, bytes, blobs: blobs.into_iter().map(in_memory).collect() }
}

/// Returns what a statement is about: the image's manifest, under each of its names as a package URL.
fn subjects(manifest: &Described, names: &[Reference]) -> Value {
    let digest = json!({"sha256": manifest.digest.hex()});
    let mut all: Vec<Value> = names
        .iter()
        .map(|name| json!({"name": image_purl(name, manifest.platform.as_ref(), None), "digest": digest}))
        .collect();
    if all.is_empty() {
        all.push(json!({"name": "_", "digest": digest}));
    }
    Value::Array(all)
}

/// Returns an in-toto statement.
pub fn statement(attestation: &Attestation, subjects: &Value) -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v0.1",
        "predicateType": attestation.predicate_type,
        "subject": subjects,
        "predicate": attestation.predicate,
    })
}

/// Returns an image's package URL, as BuildKit writes it (purl specification, type `docker`).
pub fn image_purl(name: &Reference, platform: Option<&Platform>, digest: Option<&Digest>) -> String {
    let familiar = name.familiar();
    let familiar = familiar.split('@').next().unwrap_or_default();
    let (repository, tag) = match name.tag() {
        Some(tag) => (familiar.strip_suffix(&format!(":{tag}")).unwrap_or(familiar), Some(tag)),
        None => (familiar, None),
    };
    let repository = repository.replace(':', "%3A");
    let tag = tag.map(|tag| format!("@{tag}")).unwrap_or_default();
    let mut qualifiers = Vec::new();
    if let Some(digest) = digest {
        qualifiers.push(format!("digest={digest}"));
    }
    if let Some(platform) = platform {
        qualifiers.push(format!("platform={}", platform.to_string().replace('/', "%2F")));
    }
    let qualifiers = if qualifiers.is_empty() { String::new() } else { format!("?{}", qualifiers.join("&")) };
    format!("pkg:docker/{repository}{tag}{qualifiers}")
}

fn to_bytes(document: &Value) -> Vec<u8> {
    serde_json::to_vec(document).expect("JSON values can be written")
}

fn put(blobs: &mut BTreeMap<Digest, Blob>, bytes: Vec<u8>, media_type: &str) -> Described {
    let described = described(&bytes, media_type);
    blobs.entry(described.digest).or_insert(Blob { size: described.size, bytes: Bytes::Memory(bytes) });
    described
}

fn described(bytes: &[u8], media_type: &str) -> Described {
    Described {
        media_type: media_type.to_owned(),
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
        platform: None,
        annotations: BTreeMap::new(),
    }
}
