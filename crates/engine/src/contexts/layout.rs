//! Images in directories of the OCI image layout (`oci-layout://`), read where they are.
//!
//! The directory may come from a stranger: names in it are resolved below it, documents are bounded, and every byte that
//! is used is verified against the digest that names it.

use std::io::Seek as _;
use std::path::{Path, PathBuf};

use coracle_oci::{DiffId, Digest, ImageConfig, ImageIndex, ImageManifest, IndexEntry, Platform, Reference};
use coracle_report::Diagnostic;
use coracle_snapshot::{RootFs, SnapshotId};

use crate::{During, Engine, Failure, Result};

/// Most bytes of a document.
const LARGEST: u64 = 8 << 20;
/// Indexes within indexes that are followed.
const DEPTH: usize = 4;
/// What an entry's tag is called (OCI image specification, "Pre-Defined Annotation Keys").
const TAG: &str = "org.opencontainers.image.ref.name";
/// What containerd and Docker call an entry's whole name.
const NAME: &str = "io.containerd.image.name";

/// An image, or the images of several platforms, in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutImage {
    directory: PathBuf,
    entry: IndexEntry,
    reference: Reference,
}

/// The image of one platform.
#[derive(Clone, Debug)]
pub struct LayoutPlatform {
    /// The manifest's digest.
    pub manifest: Digest,
    /// The configuration's digest, the image's id.
    pub id: Digest,
    /// The configuration.
    pub config: ImageConfig,
    /// The layers as they lie there, and what they are uncompressed; lowest first.
    layers: Vec<(Digest, DiffId)>,
}

impl LayoutImage {
    /// Finds an image by its tag or its manifest's digest; `None` is the only one, or the one with the tag `latest`.
    pub fn open(directory: &Path, wanted: Option<&str>) -> Result<Self> {
        let shown = directory.display();
        let root = RootFs::open_directory(directory)
            .map_err(|error| bad(directory, &format!("it cannot be opened: {error}")))?;
        let bytes = root.read(Path::new("index.json"), LARGEST).map_err(|error| {
            let failure = bad(directory, &format!("index.json cannot be read: {error}"));
            failure.with_hint(format!("write one: coracle build -o type=oci,tar=false,dest={shown} ..."))
        })?;
        let index: ImageIndex = serde_json::from_slice(&bytes)
            .map_err(|error| bad(directory, &format!("index.json is no image index: {error}")))?;
        let entry = match wanted {
            Some(text) if text.starts_with("sha256:") => {
                let digest: Digest =
                    text.parse().map_err(|error| bad(directory, &format!("`{text}`: {error}")))?;
                find_digest(&root, directory, &index, &digest)?
            }
            _ => find_tag(directory, &index, wanted)?,
        };
        // Named by what it holds, so that equal content is one base wherever it lies.
        let name = format!("oci-layout/{}@{}", entry.digest.short(), entry.digest);
        let reference = name.parse().map_err(|error| bad(directory, &format!("{error}")))?;
        Ok(Self { directory: directory.to_owned(), entry, reference })
    }

    /// Returns the name by which a build asks for it.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// Reads the description of one platform's image.
    pub fn resolve(&self, platform: &Platform) -> Result<LayoutPlatform> {
        let root = self.root()?;
        let mut entry = self.entry.clone();
        let mut depth = 0;
        while is_index(&entry) {
            depth += 1;
            if depth > DEPTH {
                return Err(self.bad("its indexes lie in one another without end"));
            }
            let index: ImageIndex = self.document(&root, &entry.digest, "an index")?;
            entry = self.choose(index, platform)?;
        }
        let manifest: ImageManifest = self.document(&root, &entry.digest, "the manifest")?;
        let digest = |descriptor: &coracle_oci::Descriptor| {
            Digest::try_from(descriptor.digest()).map_err(|error| self.bad(&error.to_string()))
        };
        let id = digest(&manifest.config)?;
        let config: ImageConfig = self.document(&root, &id, "the configuration")?;
        let own = Platform {
            os: config.os.clone(),
            architecture: config.architecture.clone(),
            variant: config.variant.clone(),
        };
        let (own, wanted) = (own.normalized(), platform.clone().normalized());
        if own.os != wanted.os || own.architecture != wanted.architecture {
            let message = format!("there is no image for {wanted} in {}", self.directory.display());
            let error = Diagnostic::error("no-platform", message);
            return Err(Failure::user(error.with_note(format!("it is for {own}"))));
        }
        let diff_ids = &config.rootfs.diff_ids;
        if diff_ids.len() != manifest.layers.len() {
            let (listed, there) = (diff_ids.len(), manifest.layers.len());
            return Err(self.bad(&format!("the configuration lists {listed} layers of {there}")));
        }
        let layers = manifest.layers.iter().zip(diff_ids);
        let layers = layers.map(|(layer, diff_id)| Ok((digest(layer)?, *diff_id)));
        let layers = layers.collect::<Result<_>>()?;
        Ok(LayoutPlatform { manifest: entry.digest, id, config, layers })
    }

    /// Returns whether all layers are unpacked already.
    pub fn is_unpacked(engine: &Engine, image: &LayoutPlatform) -> Result<bool> {
        let Some(chain) = image.config.chain_id() else { return Ok(true) };
        let found = engine.snapshots.by_chain(&chain).during("looking for an image's layers")?;
        Ok(found.is_some())
    }

    /// Unpacks the layers unless they are there; returns the top snapshot, `None` of an image without layers.
    pub fn unpack(&self, engine: &Engine, image: &LayoutPlatform) -> Result<Option<SnapshotId>> {
        let Some(chain) = image.config.chain_id() else { return Ok(None) };
        let found = engine.snapshots.by_chain(&chain).during("looking for an image's layers")?;
        if let Some(there) = found {
            return Ok(Some(there.id));
        }
        let root = self.root()?;
        let mut top: Option<SnapshotId> = None;
        for (digest, diff_id) in &image.layers {
            let mut file = root.open(&blob(digest)).map_err(|error| self.missing(digest, &error))?;
            let mut hasher = coracle_oci::Sha256Writer::new(std::io::sink());
            let during = "reading an image's layer";
            std::io::copy(&mut file, &mut hasher).during(during)?;
            let (_, actual, _) = hasher.finish();
            if actual != *digest {
                return Err(self.bad(&format!("{} holds {actual} instead", blob(digest).display())));
            }
            file.rewind().during(during)?;
            // The uncompressed bytes are verified too, so that a file that changes meanwhile is found out.
            let applied = engine.snapshots.apply(top.as_ref(), file, Some(*diff_id));
            top = Some(applied.map_err(|error| self.unpackable(digest, error))?.id);
        }
        engine.snapshots.sync().during("syncing layers to the disk")?;
        Ok(top)
    }

    fn root(&self) -> Result<RootFs> {
        RootFs::open_directory(&self.directory).map_err(|error| self.bad(&error.to_string()))
    }

    fn choose(&self, index: ImageIndex, platform: &Platform) -> Result<IndexEntry> {
        let images: Vec<IndexEntry> = index.manifests.into_iter().filter(is_image).collect();
        let wanted = platform.clone().normalized();
        let exact = |entry: &&IndexEntry| {
            entry.platform.as_ref().is_some_and(|platform| platform.clone().normalized() == wanted)
        };
        let near = |entry: &&IndexEntry| {
            entry.platform.as_ref().is_some_and(|platform| {
                platform.os == wanted.os && platform.architecture == wanted.architecture
            })
        };
        let found = images.iter().find(exact).or_else(|| images.iter().find(near));
        let found = found.or(if images.len() == 1 { images.first() } else { None });
        found.cloned().ok_or_else(|| {
            let message = format!("there is no image for {wanted} in {}", self.directory.display());
            let others = images.iter().filter_map(|entry| Some(entry.platform.as_ref()?.to_string()));
            let others = others.collect::<Vec<_>>().join(", ");
            let error = Diagnostic::error("no-platform", message);
            Failure::user(error.with_note(format!("it has images for {others}")))
        })
    }

    fn document<T: serde::de::DeserializeOwned>(
        &self,
        root: &RootFs,
        digest: &Digest,
        what: &str,
    ) -> Result<T> {
        read(root, &self.directory, digest, what)
    }

    fn bad(&self, why: &str) -> Failure {
        bad(&self.directory, why)
    }

    fn missing(&self, digest: &Digest, error: &coracle_snapshot::SnapshotError) -> Failure {
        self.bad(&format!("{}: {error}", blob(digest).display()))
    }

    fn unpackable(&self, digest: &Digest, error: coracle_snapshot::SnapshotError) -> Failure {
        use coracle_snapshot::SnapshotError::{Hostile, Malformed, Mismatch, TooLarge};
        match error {
            error @ (Mismatch { .. } | Malformed(_) | Hostile { .. } | TooLarge { .. }) => {
                self.bad(&format!("layer {}: {error}", digest.short()))
            }
            error => Failure::ours("unpacking a layer", &error),
        }
    }
}

fn blob(digest: &Digest) -> PathBuf {
    Path::new("blobs/sha256").join(digest.hex())
}

fn read<T: serde::de::DeserializeOwned>(
    root: &RootFs,
    directory: &Path,
    digest: &Digest,
    what: &str,
) -> Result<T> {
    let path = blob(digest);
    let bytes = root
        .read(&path, LARGEST)
        .map_err(|error| bad(directory, &format!("{what}, {}: {error}", path.display())))?;
    let actual = Digest::of(&bytes);
    if actual != *digest {
        return Err(bad(directory, &format!("{} holds {actual} instead", path.display())));
    }
    serde_json::from_slice(&bytes)
        .map_err(|error| bad(directory, &format!("{what}, {}: {error}", path.display())))
}

fn is_index(entry: &IndexEntry) -> bool {
    entry.media_type.contains("index") || entry.media_type.contains("manifest.list")
}

/// Attestations lie beside images in an index.
fn is_image(entry: &IndexEntry) -> bool {
    !entry.annotations.contains_key("vnd.docker.reference.type")
}

fn find_digest(root: &RootFs, directory: &Path, index: &ImageIndex, digest: &Digest) -> Result<IndexEntry> {
    if let Some(entry) = index.manifests.iter().find(|entry| entry.digest == *digest) {
        return Ok(entry.clone());
    }
    // One platform's image may be meant, which an index in the index names.
    for entry in index.manifests.iter().filter(|entry| is_index(entry)) {
        let inner: ImageIndex = read(root, directory, &entry.digest, "an index")?;
        if let Some(entry) = inner.manifests.into_iter().find(|entry| entry.digest == *digest) {
            return Ok(entry);
        }
    }
    Err(bad(directory, &format!("it has no image {digest}")))
}

fn find_tag(directory: &Path, index: &ImageIndex, wanted: Option<&str>) -> Result<IndexEntry> {
    let entries: Vec<&IndexEntry> = index.manifests.iter().filter(|entry| is_image(entry)).collect();
    let tag = |entry: &IndexEntry| -> Option<String> {
        let name = entry.annotations.get(TAG).or_else(|| entry.annotations.get(NAME))?;
        // Some tools write the whole name there.
        let whole = name.parse::<Reference>().ok().filter(|_| name.contains([':', '/']));
        Some(whole.and_then(|name| name.tag().map(str::to_owned)).unwrap_or_else(|| name.clone()))
    };
    let called = |entry: &&&IndexEntry, wanted: &str| {
        tag(entry).is_some_and(|tag| tag == wanted)
            || [TAG, NAME].iter().any(|key| entry.annotations.get(*key).is_some_and(|name| name == wanted))
    };
    let found = match wanted {
        Some(wanted) => entries.iter().find(|entry| called(entry, wanted)),
        None if entries.len() == 1 => entries.first(),
        None => entries.iter().find(|entry| called(entry, "latest")),
    };
    if let Some(entry) = found {
        return Ok((*entry).clone());
    }
    let tags: Vec<String> = entries.iter().filter_map(|entry| tag(entry)).collect();
    let failure = match wanted {
        Some(wanted) => bad(directory, &format!("it has no image with the tag `{wanted}`")),
        None if entries.is_empty() => bad(directory, "it holds no image"),
        None => bad(directory, "it holds several images, and none has the tag `latest`"),
    };
    let near = wanted.and_then(|wanted| crate::near::nearest(wanted, tags.iter().map(String::as_str)));
    Err(match near {
        Some(near) => {
            failure.with_hint(format!("did you mean `oci-layout://{}:{near}`?", directory.display()))
        }
        None if tags.is_empty() => failure,
        None => failure.with_hint(format!("its tags are {}", tags.join(", "))),
    })
}

fn bad(directory: &Path, why: &str) -> Failure {
    let message = format!("the image layout {} cannot be used: {why}", directory.display());
    Failure::user(Diagnostic::error("image-layout", message))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn put(directory: &Path, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        std::fs::create_dir_all(directory.join("blobs/sha256")).unwrap();
        std::fs::write(directory.join(blob(&digest)), bytes).unwrap();
        digest
    }

    fn descriptor(kind: &str, digest: &Digest, size: usize) -> serde_json::Value {
        json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest, "size": size})
    }

    /// Writes an image without layers and returns its entry's digest.
    fn write(directory: &Path, tags: &[&str]) -> Digest {
        let host = Platform::host();
        let config = json!({"os": host.os, "architecture": host.architecture,
            "rootfs": {"type": "layers", "diff_ids": []}});
        let config = serde_json::to_vec(&config).unwrap();
        let id = put(directory, &config);
        let manifest = json!({"schemaVersion": 2, "layers": [],
            "config": descriptor("config.v1+json", &id, config.len())});
        let manifest = serde_json::to_vec(&manifest).unwrap();
        let digest = put(directory, &manifest);
        let entries = tags.iter().map(|tag| {
            let mut entry = descriptor("manifest.v1+json", &digest, manifest.len());
            entry["annotations"] = json!({TAG: tag});
            entry
        });
        let index = json!({"schemaVersion": 2, "manifests": entries.collect::<Vec<_>>()});
        std::fs::write(directory.join("index.json"), index.to_string()).unwrap();
        digest
    }

    fn message(failure: &Failure) -> String {
        let first = failure.first();
        format!("{} {:?}", first.message, first.hints)
    }

    #[test]
    fn images_are_found_by_tag_and_digest() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let digest = write(path, &["v1", "v2"]);
        for wanted in ["v1", "v2", &digest.to_string()] {
            let image = LayoutImage::open(path, Some(wanted)).unwrap();
            assert_eq!(image.resolve(&Platform::host()).unwrap().manifest, digest, "{wanted}");
        }
        let error = |wanted| message(&LayoutImage::open(path, wanted).unwrap_err());
        assert!(error(None).contains("several images"), "{}", error(None));
        assert!(error(Some("v3")).contains("its tags are v1, v2"), "{}", error(Some("v3")));
        let other = Digest::of("other").to_string();
        assert!(error(Some(&other)).contains("has no image sha256:"), "{}", error(Some(&other)));
        write(path, &["latest", "v2"]);
        LayoutImage::open(path, None).unwrap();
        write(path, &["v2"]);
        LayoutImage::open(path, None).unwrap();
        write(path, &["docker.io/library/app:v7"]);
        LayoutImage::open(path, Some("v7")).unwrap();
    }

    #[test]
    fn what_is_not_what_its_digest_says_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let digest = write(path, &["v1"]);
        std::fs::write(path.join(blob(&digest)), "{}").unwrap();
        let image = LayoutImage::open(path, None).unwrap();
        let error = message(&image.resolve(&Platform::host()).unwrap_err());
        assert!(error.contains("instead"), "{error}");
        // A link that leads out is not followed, whatever it leads to.
        let outside = tempfile::tempdir().unwrap();
        let right = outside.path().join("manifest");
        std::fs::rename(path.join(blob(&digest)), &right).unwrap();
        let manifest = path.join(blob(&digest));
        std::os::unix::fs::symlink(&right, &manifest).unwrap();
        assert!(image.resolve(&Platform::host()).is_err());
        std::fs::remove_file(&manifest).unwrap();
        let other: Platform = "linux/s390x".parse().unwrap();
        write(path, &["v1"]);
        let error = message(&LayoutImage::open(path, None).unwrap().resolve(&other).unwrap_err());
        assert!(error.contains("no image for linux/s390x"), "{error}");
    }

    #[test]
    fn other_directories_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let error = message(&LayoutImage::open(directory.path(), None).unwrap_err());
        assert!(error.contains("index.json") && error.contains("coracle build"), "{error}");
        assert!(LayoutImage::open(&directory.path().join("none"), None).is_err());
    }
}
