//! Images: a configuration and a manifest, found by name or by the beginning of their id.

use std::collections::BTreeMap;
use std::str::FromStr;

use coracle_oci::{
    Descriptor, DiffId, Digest, ImageConfig, ImageId, ImageManifest, MediaType, Platform, Reference,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Store;
use crate::error::{Result, StoreError};
use crate::records::{self, Record};

/// Largest configuration or manifest that is read; registries bound manifests by 4 MiB.
pub const MAX_DOCUMENT: u64 = 8 << 20;

/// A stored image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its id, the digest of its configuration.
    pub id: ImageId,
    /// The manifest that lists its layers.
    pub manifest_digest: Digest,
    /// Its configuration.
    pub config: ImageConfig,
    /// Its names, sorted.
    pub references: Vec<Reference>,
    /// When it came into this store.
    pub stored: Timestamp,
}

/// The images of a store, and what hinders it from showing all.
#[derive(Debug)]
pub struct Survey {
    /// Those that are whole, newest first.
    pub images: Vec<Image>,
    /// What is wrong with records and documents of others.
    pub damage: Vec<StoreError>,
}

/// Which manifest an image id belongs to.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct ImageRecord {
    manifest: Digest,
    stored: Timestamp,
}

impl Record for ImageRecord {}

impl Store {
    /// Stores an image that was made here, from its layers (lowest first) as uncompressed archives.
    ///
    /// The archives themselves are not stored: they can be made again from the snapshots.
    pub fn put_image(&self, config: &ImageConfig, layers: &[(DiffId, u64)]) -> Result<Image> {
        self.put_annotated_image(config, layers, BTreeMap::new())
    }

    /// As [`Store::put_image`], with annotations of the manifest.
    pub fn put_annotated_image(
        &self,
        config: &ImageConfig,
        layers: &[(DiffId, u64)],
        annotations: BTreeMap<String, String>,
    ) -> Result<Image> {
        let listed = &config.rootfs.diff_ids;
        if !listed.iter().eq(layers.iter().map(|(diff_id, _)| diff_id)) {
            return Err(StoreError::Layers { expected: listed.len(), actual: layers.len() });
        }
        let config_bytes = config.to_bytes();
        let descriptor = |kind, digest: Digest, size| Descriptor::new(kind, size, digest);
        let manifest = ImageManifest {
            schema_version: 2,
            media_type: Some(MediaType::ImageManifest.to_string()),
            config: descriptor(MediaType::ImageConfig, Digest::of(&config_bytes), config_bytes.len() as u64),
            layers: layers
                .iter()
                .map(|(diff_id, size)| descriptor(MediaType::ImageLayer, diff_id.digest(), *size))
                .collect(),
            annotations,
        };
        self.put_manifest(&manifest.to_bytes(), &config_bytes)
    }

    /// Stores an image's documents as they came from elsewhere.
    ///
    /// The configuration must be the one that the manifest names.
    pub fn put_manifest(&self, manifest: &[u8], config: &[u8]) -> Result<Image> {
        let manifest_digest = Digest::of(manifest);
        let parsed: ImageManifest = self.parse(&manifest_digest, manifest)?;
        let config_digest = Digest::of(config);
        let named = self.parse_digest(&manifest_digest, &parsed.config)?;
        if named != config_digest {
            return Err(StoreError::Mismatch { expected: named, actual: config_digest });
        }
        let _: ImageConfig = self.parse(&config_digest, config)?;
        self.put_blob(config)?;
        self.put_blob(manifest)?;
        let id = ImageId::new(config_digest);
        let record = ImageRecord { manifest: manifest_digest, stored: Timestamp::now() };
        records::write_json_atomic(&self.layout.image(&id), &record)?;
        self.image_by_id(&id)?.ok_or(StoreError::Missing(config_digest))
    }

    /// Returns the image that a reference names; of several platforms' the host's, else the first.
    pub fn image(&self, reference: &Reference) -> Result<Option<Image>> {
        let Some(named) = self.reference(reference)? else { return Ok(None) };
        let manifest = match self.index(&named)? {
            Some(index) => {
                let entry = index.find(&Platform::host()).or_else(|| index.manifests.first());
                entry.map(|entry| entry.digest)
            }
            None => Some(named),
        };
        manifest.map(|manifest| self.image_of(&manifest)).transpose()
    }

    pub(crate) fn load_unrecorded(&self, id: ImageId, manifest_digest: Digest) -> Result<Image> {
        self.load(id, manifest_digest, Timestamp::UNIX_EPOCH, &self.names()?)
    }

    /// Returns the image with an id.
    pub fn image_by_id(&self, id: &ImageId) -> Result<Option<Image>> {
        let Some(record) = records::read_json::<ImageRecord>(&self.layout.image(id))? else {
            return Ok(None);
        };
        self.load(*id, record.manifest, record.stored, &self.names()?).map(Some)
    }

    /// Returns the image that a text names: a full id, a reference, or the beginning of an id, in this order.
    pub fn find_image(&self, text: &str) -> Result<Option<Image>> {
        if let Ok(id) = ImageId::from_str(text)
            && let Some(image) = self.image_by_id(&id)?
        {
            return Ok(Some(image));
        }
        if let Ok(reference) = Reference::from_str(text)
            && let Some(image) = self.image(&reference)?
        {
            return Ok(Some(image));
        }
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Ok(None);
        }
        let ids: Vec<ImageId> =
            self.image_ids()?.into_iter().filter(|id| id.digest().hex().starts_with(digits)).collect();
        match ids.as_slice() {
            [] => Ok(None),
            [id] => self.image_by_id(id),
            _ => {
                let candidates = ids.iter().map(|id| id.digest().short()).collect();
                Err(StoreError::Ambiguous { prefix: text.to_owned(), candidates })
            }
        }
    }

    /// Returns all images, newest first. Those whose documents are lost or damaged are left out; [`Store::survey`]
    /// tells of them.
    pub fn list_images(&self) -> Result<Vec<Image>> {
        self.survey().map(|survey| survey.images)
    }

    /// Returns all images, and what is wrong with those that cannot be shown.
    pub fn survey(&self) -> Result<Survey> {
        let (references, mut damage) = self.surveyed_references()?;
        let mut names: BTreeMap<Digest, Vec<Reference>> = BTreeMap::new();
        for name in references {
            match self.manifests_of(&name) {
                Ok(manifests) => {
                    for manifest in manifests {
                        names.entry(manifest).or_default().push(name.reference.clone());
                    }
                }
                Err(error) if error.is_damage() => damage.push(error),
                Err(error) => return Err(error),
            }
        }
        let mut images = Vec::new();
        for id in self.image_ids()? {
            let loaded = records::read_json::<ImageRecord>(&self.layout.image(&id)).and_then(|record| {
                record.map(|record| self.load(id, record.manifest, record.stored, &names)).transpose()
            });
            match loaded {
                Ok(image) => images.extend(image),
                Err(error) if error.is_damage() => damage.push(error),
                Err(error) => return Err(error),
            }
        }
        images.sort_by_key(|image| std::cmp::Reverse(image.stored));
        Ok(Survey { images, damage })
    }

    /// Removes an image's record; with several names only when `force` says so. Its content goes with the next
    /// [`Store::collect`].
    pub fn remove_image(&self, id: &ImageId, force: bool) -> Result<bool> {
        let image = match self.image_by_id(id) {
            Ok(Some(image)) => image,
            Ok(None) => return Ok(false),
            // Its documents are lost or damaged; the record must still be removable.
            Err(error) if error.is_damage() => return records::remove(&self.layout.image(id)),
            Err(error) => return Err(error),
        };
        if image.references.len() > 1 && !force {
            return Err(StoreError::Referenced { references: image.references });
        }
        for reference in &image.references {
            self.remove_reference(reference)?;
        }
        records::remove(&self.layout.image(id))
    }

    /// Reads a stored manifest.
    pub fn manifest(&self, digest: &Digest) -> Result<ImageManifest> {
        self.parse(digest, &self.read_blob(digest, MAX_DOCUMENT)?)
    }

    pub(crate) fn image_ids(&self) -> Result<Vec<ImageId>> {
        let paths = records::list(&self.layout.images())?;
        let name = |path: &std::path::PathBuf| Some(format!("sha256:{}", path.file_name()?.to_str()?));
        Ok(paths.iter().filter_map(|path| name(path)?.parse().ok()).collect())
    }

    /// Returns the digest that a descriptor names.
    pub(crate) fn parse_digest(&self, within: &Digest, descriptor: &Descriptor) -> Result<Digest> {
        Digest::try_from(descriptor.digest()).map_err(|error| StoreError::Damaged {
            path: self.layout.blob(within),
            source: serde::de::Error::custom(error),
        })
    }

    fn names(&self) -> Result<BTreeMap<Digest, Vec<Reference>>> {
        let mut names: BTreeMap<Digest, Vec<Reference>> = BTreeMap::new();
        for name in self.references()? {
            // One whose index is damaged names nothing; who lists images is told.
            for manifest in self.manifests_of(&name).unwrap_or_default() {
                names.entry(manifest).or_default().push(name.reference.clone());
            }
        }
        Ok(names)
    }

    fn load(
        &self,
        id: ImageId,
        manifest_digest: Digest,
        stored: Timestamp,
        names: &BTreeMap<Digest, Vec<Reference>>,
    ) -> Result<Image> {
        let config = self.parse(&id.digest(), &self.read_blob(&id.digest(), MAX_DOCUMENT)?)?;
        let references = names.get(&manifest_digest).cloned().unwrap_or_default();
        Ok(Image { id, manifest_digest, config, references, stored })
    }

    fn parse<T: serde::de::DeserializeOwned>(&self, digest: &Digest, bytes: &[u8]) -> Result<T> {
        serde_json::from_slice(bytes)
            .map_err(|source| StoreError::Damaged { path: self.layout.blob(digest), source })
    }
}
