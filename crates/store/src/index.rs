//! Names that stand for the images of several platforms: an image index, stored as a blob like any manifest.
//!
//! A reference names the digest of a manifest or of an index. Who asks for the image of a name gets the host's.

use coracle_oci::{Digest, ImageId, ImageIndex, Platform, Reference};

use crate::error::{Result, StoreError};
use crate::{Image, MAX_DOCUMENT, NamedManifest, Store};

impl Store {
    /// Stores an index of images that are stored, in the order given, and returns its digest.
    pub fn put_index(&self, images: &[Image]) -> Result<Digest> {
        let mut entries = Vec::new();
        for image in images {
            let size = self.read_blob(&image.manifest_digest, MAX_DOCUMENT)?.len() as u64;
            entries.push((platform_of(image), image.manifest_digest, size));
        }
        let bytes = ImageIndex::of(entries).to_bytes();
        self.put_blob(bytes.as_slice())?;
        Ok(Digest::of(&bytes))
    }

    /// Returns the index that a digest names; `None` when it names another document.
    pub fn index(&self, digest: &Digest) -> Result<Option<ImageIndex>> {
        let bytes = self.read_blob(digest, MAX_DOCUMENT)?;
        // A manifest has no `manifests`, so it is never taken for one.
        Ok(serde_json::from_slice(&bytes).ok())
    }

    /// Returns the manifests that a name stands for: its own, or all of its index.
    pub fn manifests_named(&self, digest: &Digest) -> Result<Vec<Digest>> {
        Ok(match self.index(digest) {
            Ok(Some(index)) => index.manifests.into_iter().map(|entry| entry.digest).collect(),
            // What was never completed stands for itself.
            Ok(None) | Err(StoreError::Missing(_)) => vec![*digest],
            Err(error) => return Err(error),
        })
    }

    /// Returns the images that a reference names: one, or those of all platforms in the index's order.
    pub fn images_named(&self, reference: &Reference) -> Result<Vec<Image>> {
        let Some(named) = self.reference(reference)? else { return Ok(Vec::new()) };
        self.manifests_named(&named)?.iter().map(|manifest| self.image_of(manifest)).collect()
    }

    /// Returns the image that a reference names for a platform; `None` when it names none for it.
    pub fn image_for(&self, reference: &Reference, platform: &Platform) -> Result<Option<Image>> {
        let wanted = platform.clone().normalized();
        let images = self.images_named(reference)?;
        Ok(images.into_iter().find(|image| platform_of(image) == wanted))
    }

    /// Lets a reference stand for one more image: beside those of other platforms that it stands for, in place of one of
    /// the same platform.
    pub fn add_reference(&self, reference: &Reference, image: &Image) -> Result<()> {
        let platform = platform_of(image);
        // Images whose documents are lost are no reason to fail.
        let known = self.images_named(reference).unwrap_or_default();
        let mut images: Vec<Image> =
            known.into_iter().filter(|known| platform_of(known) != platform).collect();
        if images.is_empty() {
            return self.set_reference(reference, &image.manifest_digest);
        }
        images.push(image.clone());
        images.sort_by_key(platform_of);
        let index = self.put_index(&images)?;
        self.set_index_reference(reference, &index)
    }

    /// Returns the manifests that a record of a name stands for.
    pub(crate) fn manifests_of(&self, name: &NamedManifest) -> Result<Vec<Digest>> {
        if name.index { self.manifests_named(&name.manifest) } else { Ok(vec![name.manifest]) }
    }

    pub(crate) fn image_of(&self, manifest_digest: &Digest) -> Result<Image> {
        let manifest = self.manifest(manifest_digest)?;
        let id = ImageId::new(self.parse_digest(manifest_digest, &manifest.config)?);
        if let Some(image) = self.image_by_id(&id)?.filter(|image| image.manifest_digest == *manifest_digest)
        {
            return Ok(image);
        }
        self.load_unrecorded(id, *manifest_digest)
    }
}

/// Returns what an image says that it runs on.
fn platform_of(image: &Image) -> Platform {
    let config = &image.config;
    let platform = Platform {
        os: config.os.clone(),
        architecture: config.architecture.clone(),
        variant: config.variant.clone(),
    };
    platform.normalized()
}
