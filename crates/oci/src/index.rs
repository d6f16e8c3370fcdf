//! Image indexes: one name for the images of several platforms (OCI image specification, "Image Index").

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Digest, MediaType, Platform};

/// An image index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageIndex {
    /// Always 2.
    pub schema_version: u32,
    /// `application/vnd.oci.image.index.v1+json`, or Docker's equivalent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The images.
    pub manifests: Vec<IndexEntry>,
    /// Free-form metadata.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// One image of an index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IndexEntry {
    /// What the digest names; an image manifest.
    pub media_type: String,
    /// The manifest.
    pub digest: Digest,
    /// Bytes of the manifest.
    pub size: u64,
    /// What it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Free-form metadata.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl ImageIndex {
    /// Returns an index of image manifests: platform, digest and size of each.
    pub fn of(images: impl IntoIterator<Item = (Platform, Digest, u64)>) -> Self {
        let entry = |(platform, digest, size)| IndexEntry {
            media_type: MediaType::ImageManifest.to_string(),
            digest,
            size,
            platform: Some(platform),
            annotations: BTreeMap::new(),
        };
        Self {
            schema_version: 2,
            media_type: Some(MediaType::ImageIndex.to_string()),
            manifests: images.into_iter().map(entry).collect(),
            annotations: BTreeMap::new(),
        }
    }

    /// Returns the canonical bytes whose digest names the index.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an index holds only strings, numbers, lists and maps")
    }

    /// Returns the entry for a platform; the first of equals.
    pub fn find(&self, platform: &Platform) -> Option<&IndexEntry> {
        let wanted = platform.clone().normalized();
        let is = |entry: &&IndexEntry| {
            entry.platform.as_ref().is_some_and(|platform| platform.clone().normalized() == wanted)
        };
        self.manifests.iter().find(is)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_by_what_platforms_mean() {
        let platform = |text: &str| text.parse::<Platform>().unwrap();
        let index = ImageIndex::of([
            (platform("linux/amd64"), Digest::of("a"), 1),
            (platform("linux/arm64/v8"), Digest::of("b"), 2),
        ]);
        let text = String::from_utf8(index.to_bytes()).unwrap();
        assert!(text.starts_with(
            r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:"#
        ));
        assert_eq!(serde_json::from_str::<ImageIndex>(&text).unwrap(), index);
        let digest = |text: &str| index.find(&platform(text)).map(|entry| entry.digest);
        assert_eq!(digest("linux/arm64"), Some(Digest::of("b")));
        assert_eq!(digest("linux/amd64"), Some(Digest::of("a")));
        assert_eq!(digest("linux/arm/v7"), None);
    }
}
