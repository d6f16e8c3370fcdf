//! Images out of the store into an archive, and back: what `docker save` and `docker load` do.
//!
//! Archives come from strangers: members are only looked up by the names that documents give, never written under them;
//! every size is bounded and every digest is verified before anything has a name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path};

use coracle_oci::{DiffId, Digest, ImageConfig, ImageId, Platform, Reference, Sha256Writer};
use coracle_report::Diagnostic;
use coracle_store::MAX_DOCUMENT;
use serde::Deserialize;
use serde_json::json;

use super::content::Content;
use super::finished::Finished;
use super::layout::{self, Reader};
use super::spec::{Packing, Place};
use super::{Compression, to_place};
use crate::{During, Engine, Failure, Images, Result};

/// Most bytes of an archive, and most members.
const MAX_BYTES: u64 = 256 << 30;
const MAX_MEMBERS: usize = 100_000;
/// Indexes within indexes that are followed.
const MAX_DEPTH: usize = 4;

/// An image that was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedImage {
    /// Its id.
    pub id: ImageId,
    /// The names that it was given.
    pub names: Vec<Reference>,
}

impl Images<'_> {
    /// Writes images into one archive; a name that is given stays with its image. `docker` writes what
    /// `docker load` reads, too.
    pub fn save(
        &self,
        names: &[String],
        place: &Place,
        docker: bool,
        compression: Compression,
    ) -> Result<()> {
        let engine = self.engine;
        let mut wanted: Vec<(coracle_store::Image, Vec<Reference>)> = Vec::new();
        for name in names {
            let image = self.find(name)?;
            let named = name.parse::<Reference>().ok().filter(|name| image.references.contains(name));
            match wanted.iter_mut().find(|(other, _)| other.id == image.id) {
                Some((_, names)) => names.extend(named),
                None => wanted.push((image, named.into_iter().collect())),
            }
        }
        // Held meanwhile: nothing that is being written may be collected.
        let _adding = engine.store.adding().during("reading images of the store")?;
        let packing = Packing { compression, oci_media_types: true, rewrite_timestamp: false };
        let mut packed = Vec::new();
        for (image, names) in &wanted {
            let finished = Finished::of_image(engine, image)?;
            packed.push(Content::pack(engine, &[(finished, Vec::new())], names, &packing, &[])?);
        }
        let named: Vec<layout::Named<'_>> =
            packed.iter().zip(&wanted).map(|(content, (_, names))| (content, names.as_slice())).collect();
        let reader = if docker { Reader::Docker } else { Reader::Oci };
        match place {
            Place::Directory(path) => super::target::fill_directory(path, &mut |directory| {
                layout::write_directory(&named, reader, directory)
            }),
            place => to_place(place, &mut |out| layout::write_archive(&named, reader, out)),
        }
    }

    /// Reads images out of an archive (of `docker save`, or an OCI image layout; plain or compressed) into the store.
    pub fn load(&self, archive: impl Read) -> Result<Vec<LoadedImage>> {
        let spool = Spool::read(self.engine, archive)?;
        let _adding = self.engine.store.adding().during("adding images to the store")?;
        let found = if spool.has("manifest.json") {
            docker_images(&spool)?
        } else if spool.has("index.json") {
            oci_images(&spool)?
        } else {
            return Err(bad("it has neither manifest.json nor index.json, so it is no image archive"));
        };
        if found.is_empty() {
            return Err(bad("it holds no image for this machine"));
        }
        found.into_iter().map(|image| self.take(&spool, image)).collect()
    }

    fn take(&self, spool: &Spool, image: Found) -> Result<LoadedImage> {
        let engine = self.engine;
        let config: ImageConfig = parse(&image.config, "the configuration")?;
        if config.rootfs.diff_ids.len() != image.layers.len() {
            return Err(bad(&format!(
                "the configuration names {} layers, the manifest {}",
                config.rootfs.diff_ids.len(),
                image.layers.len()
            )));
        }
        let mut parent = None;
        for (layer, diff_id) in image.layers.iter().zip(&config.rootfs.diff_ids) {
            if let Some(expected) = layer.digest {
                let mut hasher = Sha256Writer::new(io::sink());
                io::copy(&mut spool.open(&layer.member)?, &mut hasher).during("reading the archive")?;
                let (_, actual, _) = hasher.finish();
                if actual != expected {
                    return Err(bad(&format!("{} holds {actual} instead", layer.member)));
                }
            }
            parent = Some(self.unpack(spool, layer, parent.as_ref(), *diff_id)?);
        }
        engine.snapshots.sync().during("syncing layers to the disk")?;
        let manifest =
            image.manifest.unwrap_or_else(|| own_manifest(&image.config, &config, spool, &image.layers));
        let stored = engine.store.put_manifest(&manifest, &image.config).during("recording an image")?;
        for name in &image.names {
            engine.store.set_reference(name, &stored.manifest_digest).during("naming an image")?;
        }
        Ok(LoadedImage { id: stored.id, names: image.names })
    }

    fn unpack(
        &self,
        spool: &Spool,
        layer: &LayerMember,
        parent: Option<&coracle_snapshot::SnapshotId>,
        diff_id: DiffId,
    ) -> Result<coracle_snapshot::SnapshotId> {
        use coracle_snapshot::SnapshotError;
        match self.engine.snapshots.apply(parent, spool.open(&layer.member)?, Some(diff_id)) {
            Ok(snapshot) => Ok(snapshot.id),
            // The archive's fault, not ours.
            Err(
                error @ (SnapshotError::Mismatch { .. }
                | SnapshotError::Malformed(_)
                | SnapshotError::Hostile { .. }
                | SnapshotError::TooLarge { .. }),
            ) => Err(bad(&format!("layer {}: {error}", layer.member))),
            Err(error) => Err(error).during("unpacking a layer"),
        }
    }
}

/// An image in an archive, before its layers are looked at.
struct Found {
    config: Vec<u8>,
    manifest: Option<Vec<u8>>,
    layers: Vec<LayerMember>,
    names: Vec<Reference>,
}

struct LayerMember {
    member: String,
    /// The digest of the member's bytes, when a document gives it.
    digest: Option<Digest>,
}

fn bad(why: &str) -> Failure {
    Failure::user(Diagnostic::error("bad-archive", format!("cannot load the archive: {why}")))
}

fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| bad(&format!("{what} cannot be read: {error}")))
}

#[derive(Deserialize)]
struct DockerImage {
    #[serde(rename = "Config")]
    config: String,
    #[serde(rename = "RepoTags", default)]
    tags: Option<Vec<String>>,
    #[serde(rename = "Layers")]
    layers: Vec<String>,
}

fn docker_images(spool: &Spool) -> Result<Vec<Found>> {
    let listed: Vec<DockerImage> = parse(&spool.document("manifest.json")?, "manifest.json")?;
    let mut all = Vec::new();
    for image in listed {
        let config = spool.document(&image.config)?;
        // Docker names it by its digest: `<hex>.json`, or `blobs/sha256/<hex>`.
        let stem = image.config.rsplit('/').next().unwrap_or_default().trim_end_matches(".json");
        if let Ok(expected) = format!("sha256:{stem}").parse::<Digest>()
            && expected != Digest::of(&config)
        {
            return Err(bad(&format!("{} holds {} instead", image.config, Digest::of(&config))));
        }
        let digest = |member: &str| {
            let hex = member.strip_prefix("blobs/sha256/")?;
            format!("sha256:{hex}").parse().ok()
        };
        let layers = image.layers.into_iter();
        let layers = layers.map(|member| LayerMember { digest: digest(&member), member }).collect();
        let names = image.tags.unwrap_or_default().iter().map(|tag| name(tag)).collect::<Result<_>>()?;
        all.push(Found { config, manifest: None, layers, names });
    }
    Ok(all)
}

fn name(text: &str) -> Result<Reference> {
    text.parse().map_err(|error: coracle_oci::ReferenceError| bad(&format!("its name is wrong: {error}")))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OciDescriptor {
    #[serde(default)]
    media_type: String,
    digest: Digest,
    size: u64,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct OciIndex {
    manifests: Vec<OciDescriptor>,
}

#[derive(Deserialize)]
struct OciManifest {
    config: OciDescriptor,
    layers: Vec<OciDescriptor>,
}

fn oci_images(spool: &Spool) -> Result<Vec<Found>> {
    let index: OciIndex = parse(&spool.document("index.json")?, "index.json")?;
    let mut all: BTreeMap<Digest, Found> = BTreeMap::new();
    for descriptor in &index.manifests {
        let named = descriptor.annotations.get("io.containerd.image.name").or_else(|| {
            // Others write the whole name here, and some only the tag.
            descriptor
                .annotations
                .get("org.opencontainers.image.ref.name")
                .filter(|name| name.contains([':', '/']))
        });
        let named = named.map(|text| name(text)).transpose()?;
        let Some((digest, manifest)) = host_manifest(spool, descriptor, 0)? else { continue };
        if let Some(found) = all.get_mut(&digest) {
            found.names.extend(named);
            continue;
        }
        let parsed: OciManifest = parse(&manifest, "a manifest")?;
        let member = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
        let layers = parsed.layers.iter();
        all.insert(
            digest,
            Found {
                config: spool.verified(&parsed.config)?,
                manifest: Some(manifest),
                layers: layers
                    .map(|layer| LayerMember { member: member(&layer.digest), digest: Some(layer.digest) })
                    .collect(),
                names: named.into_iter().collect(),
            },
        );
    }
    Ok(all.into_values().collect())
}

/// Finds the manifest of this machine's platform below a descriptor.
fn host_manifest(spool: &Spool, from: &OciDescriptor, depth: usize) -> Result<Option<(Digest, Vec<u8>)>> {
    if depth > MAX_DEPTH {
        return Err(bad("its indexes lie in one another without end"));
    }
    if from.annotations.contains_key("vnd.docker.reference.type") {
        return Ok(None);
    }
    let bytes = spool.verified(from)?;
    let is_index = from.media_type.contains("index") || from.media_type.contains("manifest.list");
    if !is_index {
        return Ok(Some((from.digest, bytes)));
    }
    let index: OciIndex = parse(&bytes, "an index")?;
    let host = Platform::host();
    let images: Vec<&OciDescriptor> = index
        .manifests
        .iter()
        .filter(|entry| !entry.annotations.contains_key("vnd.docker.reference.type"))
        .collect();
    let fits = |entry: &&&OciDescriptor| {
        entry
            .platform
            .as_ref()
            .is_some_and(|platform| platform.os == host.os && platform.architecture == host.architecture)
    };
    let chosen = images.iter().find(fits).or(if images.len() == 1 { images.first() } else { None });
    chosen.map_or(Ok(None), |entry| host_manifest(spool, entry, depth + 1))
}

/// Makes the manifest that Docker's archives lack.
fn own_manifest(bytes: &[u8], config: &ImageConfig, spool: &Spool, layers: &[LayerMember]) -> Vec<u8> {
    let layers: Vec<_> = config
        .rootfs
        .diff_ids
        .iter()
        .zip(layers)
        .map(|(diff_id, layer)| {
            json!({
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": diff_id.digest(),
                "size": spool.size(&layer.member),
            })
        })
        .collect();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": Digest::of(bytes),
            "size": bytes.len(),
        },
        "layers": layers,
    });
    serde_json::to_vec(&manifest).expect("JSON values can be written")
}

/// An archive's files, one after the other in a file without a name.
struct Spool {
    file: File,
    /// Where each lies, and its length.
    members: BTreeMap<String, (u64, u64)>,
    /// Names that stand for other members: Docker's older archives share layers so.
    links: BTreeMap<String, String>,
}

impl Spool {
    fn read(engine: &Engine, archive: impl Read) -> Result<Self> {
        let temporary = engine.layout.temporary();
        std::fs::create_dir_all(&temporary).during("making the directory of temporary files")?;
        let file = tempfile::tempfile_in(&temporary).during("making a temporary file")?;
        let mut out = BufWriter::with_capacity(256 << 10, file);
        let mut tar = tar::Archive::new(decompress(archive)?.take(MAX_BYTES));
        let (mut members, mut links, mut offset) = (BTreeMap::new(), BTreeMap::new(), 0);
        let broken = |error: io::Error| bad(&format!("it is no tar archive, or damaged: {error}"));
        let mut seen = BTreeSet::new();
        for entry in tar.entries().map_err(broken)? {
            let mut entry = entry.map_err(broken)?;
            let path = entry.path().map_err(broken)?.into_owned();
            if entry.header().entry_type().is_dir() {
                continue;
            }
            let name = clean(&path).ok_or_else(|| bad(&format!("`{}` leads out of it", path.display())))?;
            if !seen.insert(name.clone()) {
                return Err(bad(&format!("`{name}` is in it twice")));
            }
            if seen.len() > MAX_MEMBERS {
                return Err(bad("it has too many members"));
            }
            let kind = entry.header().entry_type();
            if kind.is_file() || kind == tar::EntryType::Continuous {
                let count = copy(&mut entry, &mut out).map_err(|error| match error {
                    Copy::Read(error) => broken(error),
                    Copy::Write(error) => Failure::ours("writing a temporary file", &error),
                })?;
                members.insert(name, (offset, count));
                offset += count;
            } else if kind.is_symlink() || kind.is_hard_link() {
                let target = entry.link_name().map_err(broken)?.unwrap_or_default().into_owned();
                let from =
                    if kind.is_symlink() { path.parent().unwrap_or(Path::new("")) } else { Path::new("") };
                let target =
                    resolve(from, &target).ok_or_else(|| bad(&format!("`{name}` leads out of it")))?;
                links.insert(name, target);
            } else {
                return Err(bad(&format!("`{name}` is neither a file nor a link")));
            }
        }
        let file = out.into_inner().map_err(io::IntoInnerError::into_error);
        Ok(Self { file: file.during("writing a temporary file")?, members, links })
    }

    fn place(&self, name: &str) -> Option<(u64, u64)> {
        let mut name = clean(Path::new(name))?;
        for _ in 0..8 {
            match self.links.get(&name) {
                None => break,
                Some(target) => name.clone_from(target),
            }
        }
        self.members.get(&name).copied()
    }

    fn has(&self, name: &str) -> bool {
        self.place(name).is_some()
    }

    fn size(&self, name: &str) -> u64 {
        self.place(name).map_or(0, |(_, size)| size)
    }

    fn open(&self, name: &str) -> Result<Range<'_>> {
        let (offset, left) = self.place(name).ok_or_else(|| bad(&format!("it has no `{name}`")))?;
        Ok(Range { file: &self.file, offset, left })
    }

    fn document(&self, name: &str) -> Result<Vec<u8>> {
        let mut range = self.open(name)?;
        if range.left > MAX_DOCUMENT {
            return Err(bad(&format!("`{name}` is larger than any such document")));
        }
        let mut bytes = Vec::new();
        range.read_to_end(&mut bytes).during("reading the archive")?;
        Ok(bytes)
    }

    /// Returns the document that a descriptor names.
    fn verified(&self, descriptor: &OciDescriptor) -> Result<Vec<u8>> {
        let name = format!("blobs/sha256/{}", descriptor.digest.hex());
        let bytes = self.document(&name)?;
        let actual = Digest::of(&bytes);
        if actual != descriptor.digest || bytes.len() as u64 != descriptor.size {
            return Err(bad(&format!("{name} holds {actual}, {} bytes, instead", bytes.len())));
        }
        Ok(bytes)
    }
}

/// A part of a file.
struct Range<'a> {
    file: &'a File,
    offset: u64,
    left: u64,
}

impl Read for Range<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.file.read_at(&mut buffer[..wanted], self.offset)?;
        self.offset += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

enum Copy {
    Read(io::Error),
    Write(io::Error),
}

fn copy(from: &mut impl Read, to: &mut impl Write) -> Result<u64, Copy> {
    let mut buffer = vec![0; 128 << 10];
    let mut total = 0;
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(count) => {
                to.write_all(&buffer[..count]).map_err(Copy::Write)?;
                total += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Copy::Read(error)),
        }
    }
}

/// Returns a member's name without `.`; `None` when it leads out of the archive.
fn clean(path: &Path) -> Option<String> {
    resolve(Path::new(""), path)
}

fn resolve(from: &Path, path: &Path) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for component in from.components().chain(path.components()) {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(parts.pop()?),
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

fn decompress<'a>(archive: impl Read + 'a) -> Result<Box<dyn Read + 'a>> {
    let mut archive = BufReader::with_capacity(128 << 10, archive);
    let start = archive.fill_buf().during("reading the archive")?;
    if start.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(flate2::bufread::MultiGzDecoder::new(archive)));
    }
    if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let decoder = zstd::stream::read::Decoder::with_buffer(archive).during("reading the archive")?;
        return Ok(Box::new(decoder));
    }
    Ok(Box::new(archive))
}
