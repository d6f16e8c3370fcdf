//! The form in which a build cache leaves the machine: an OCI image manifest whose configuration lists records, and
//! whose layers are the results' layers.
//!
//! A record says: who did the step with this key on the stack of layers `parent`, got these layers. All digests are
//! checked when the layers are used; that a key stands for the work it names must be believed, as of every build cache.

use coracle_build::CacheKey;
use coracle_oci::{ChainId, DiffId};
use serde::{Deserialize, Serialize};

/// Media type of the configuration.
pub(super) const CONFIG_TYPE: &str = "application/vnd.coracle.buildcache.config.v1+json";
/// Annotation of an image's manifest that holds the same for the image's own layers.
pub(super) const INLINE: &str = "org.coracle.buildcache.v1";
/// Newest version that is known.
const VERSION: u32 = 1;
/// Most records and layers that are read.
const MOST: usize = 100_000;

/// A build cache.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CacheDocument {
    pub version: u32,
    /// The layers, in the manifest's order.
    #[serde(default)]
    pub layers: Vec<LayerEntry>,
    /// The steps.
    #[serde(default)]
    pub records: Vec<StepEntry>,
    /// Cache mounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<MountEntry>,
}

/// One layer: what the manifest does not say of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LayerEntry {
    /// The digest of the uncompressed archive.
    pub diff_id: DiffId,
    /// Its length in bytes.
    pub size: u64,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StepEntry {
    /// What it is found by.
    pub key: CacheKey,
    /// What dependents build upon.
    pub result: CacheKey,
    /// The stack of layers that it was done on; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ChainId>,
    /// The layers that it added, by their places in the list, lowest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<usize>,
}

/// The content of a cache mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MountEntry {
    /// The name that it is kept under.
    pub name: String,
    /// Its layer, by its place in the list.
    pub layer: usize,
}

impl CacheDocument {
    pub fn new() -> Self {
        Self { version: VERSION, ..Self::default() }
    }

    /// Reads a document and refuses one that does not hold together. `layers` is how many the manifest lists.
    pub fn parse(bytes: &[u8], layers: usize) -> Result<Self, String> {
        let document: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if document.version != VERSION {
            return Err(format!("it has version {}, and {VERSION} is known", document.version));
        }
        if document.layers.len() != layers {
            return Err(format!("it lists {} layers, its manifest {layers}", document.layers.len()));
        }
        if document.records.len().max(document.mounts.len()).max(layers) > MOST {
            return Err(format!("it has more than {MOST} records"));
        }
        let indices = document.records.iter().flat_map(|record| &record.layers);
        let mut indices = indices.chain(document.mounts.iter().map(|mount| &mount.layer));
        if indices.any(|index| *index >= layers) {
            return Err("a record names a layer that is not there".to_owned());
        }
        if document.mounts.iter().any(|mount| mount.name.is_empty() || mount.name.len() > 4096) {
            return Err("a cache mount has no proper name".to_owned());
        }
        Ok(document)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_oci::Digest;

    #[test]
    fn documents_round_trip_and_broken_ones_are_refused() {
        let key: CacheKey = Digest::of("key").to_string().parse().unwrap();
        let layer = DiffId::new(Digest::of("layer"));
        let document = CacheDocument {
            layers: vec![LayerEntry { diff_id: layer, size: 5 }],
            records: vec![StepEntry {
                key,
                result: key,
                parent: Some(ChainId::extend(None, layer)),
                layers: vec![0],
            }],
            mounts: vec![MountEntry { name: "/root/.cache".to_owned(), layer: 0 }],
            ..CacheDocument::new()
        };
        let bytes = serde_json::to_vec(&document).unwrap();
        assert_eq!(CacheDocument::parse(&bytes, 1), Ok(document.clone()));
        assert!(CacheDocument::parse(&bytes, 2).is_err());
        for broken in [
            CacheDocument { version: 2, ..document.clone() },
            CacheDocument { mounts: vec![MountEntry { name: "x".to_owned(), layer: 1 }], ..document.clone() },
            CacheDocument { mounts: vec![MountEntry { name: String::new(), layer: 0 }], ..document.clone() },
            CacheDocument {
                records: vec![StepEntry { layers: vec![7], ..document.records[0].clone() }],
                ..document
            },
        ] {
            assert!(CacheDocument::parse(&serde_json::to_vec(&broken).unwrap(), 1).is_err());
        }
        for text in ["", "[]", "{}", "{\"version\":1,\"records\":[{\"key\":\"x\"}]}"] {
            assert!(CacheDocument::parse(text.as_bytes(), 0).is_err(), "{text}");
        }
    }
}
