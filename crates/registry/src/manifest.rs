//! From a reference to the manifest and configuration of one platform.

use coracle_oci::{DiffId, Digest, ImageConfig, ImageManifest, Platform, Reference};
use serde::Deserialize;
use serde_json::Value;
use ureq::http::StatusCode;

use crate::client::{Client, Request};
use crate::error::{RegistryError, Result};

/// Largest manifest or configuration that is read; registries bound manifests by 4 MiB.
const MAX_DOCUMENT: u64 = 8 << 20;

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const ACCEPTED: [&str; 4] = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST];

impl Compression {
    /// Returns how layers of a media type are compressed; `None` for types that are no layers that can be had.
    pub fn of_media_type(media_type: &str) -> Option<Self> {
        compression(media_type)
    }
}

/// How a layer's archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// Gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// A layer as a registry keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The digest of the compressed bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// How they are compressed.
    pub compression: Compression,
    /// The digest of the uncompressed bytes, by the image's configuration.
    pub diff_id: DiffId,
}

/// An image of one platform as a registry describes it; verified, but without its layers.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The manifest's digest.
    pub manifest_digest: Digest,
    /// The manifest's bytes as they came.
    pub manifest: Vec<u8>,
    /// The configuration's digest, the image's id.
    pub config_digest: Digest,
    /// The configuration's bytes as they came.
    pub config: Vec<u8>,
    /// The configuration.
    pub image: ImageConfig,
    /// The layers, lowest first.
    pub layers: Vec<Layer>,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<IndexEntry>,
}

#[derive(Deserialize)]
struct IndexEntry {
    digest: String,
    platform: Option<Platform>,
}

/// A document that a registry keeps under a tag or a digest; verified.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its digest.
    pub digest: Digest,
    /// Its bytes as they came.
    pub bytes: Vec<u8>,
    /// What it says that it is.
    pub media_type: String,
}

impl Client {
    /// Fetches the manifest or index that a reference names, whatever it describes.
    pub fn fetch_document(&self, reference: &Reference) -> Result<Document> {
        let name = reference.digest().map(|digest| digest.to_string());
        let name = name.or_else(|| reference.tag().map(str::to_owned)).unwrap_or_else(|| "latest".to_owned());
        self.document(reference, &name, reference.digest())
    }

    /// Fetches a small blob that a manifest names, such as a configuration; one of more than 8 MiB is refused.
    pub fn fetch_small(
        &self,
        reference: &Reference,
        descriptor: &coracle_oci::Descriptor,
    ) -> Result<Vec<u8>> {
        let subject = format!("the configuration of {}", reference.familiar());
        let digest = Digest::try_from(descriptor.digest()).map_err(|error| RegistryError::Corrupt {
            subject: subject.clone(),
            reason: error.to_string(),
        })?;
        self.small_blob(reference, digest, descriptor.size(), &subject)
    }

    /// Finds the image that a reference names, for one platform.
    pub fn resolve(&self, reference: &Reference, platform: &Platform) -> Result<Resolved> {
        let name = reference
            .digest()
            .map(|digest| digest.to_string())
            .or_else(|| reference.tag().map(str::to_owned))
            .unwrap_or_else(|| "latest".to_owned());
        let mut document = self.document(reference, &name, reference.digest())?;
        let subject = reference.familiar();
        let mut depth = 0;
        while matches!(&*document.media_type, OCI_INDEX | DOCKER_LIST) {
            let corrupt = |reason: String| RegistryError::Corrupt {
                subject: format!("the index of {subject}"),
                reason,
            };
            depth += 1;
            if depth > 3 {
                return Err(corrupt("it leads to index after index".to_owned()));
            }
            let index: Index =
                serde_json::from_slice(&document.bytes).map_err(|error| corrupt(error.to_string()))?;
            let entry = choose(&index.manifests, platform).ok_or_else(|| RegistryError::NoPlatform {
                reference: reference.clone(),
                platform: platform.clone(),
                available: available(&index.manifests),
            })?;
            let digest: Digest = entry.digest.parse().map_err(|error| corrupt(format!("{error}")))?;
            document = self.document(reference, &entry.digest, Some(digest))?;
        }
        if !matches!(&*document.media_type, OCI_MANIFEST | DOCKER_MANIFEST) {
            return Err(RegistryError::Unsupported { subject, media_type: document.media_type });
        }
        self.complete(reference, document)
    }

    /// Fetches the configuration and puts the description together.
    fn complete(&self, reference: &Reference, document: Document) -> Result<Resolved> {
        let name = reference.familiar();
        let corrupt = |what: &str, reason: String| RegistryError::Corrupt {
            subject: format!("{what} of {name}"),
            reason,
        };
        let manifest: ImageManifest = serde_json::from_slice(&document.bytes)
            .map_err(|error| corrupt("the manifest", error.to_string()))?;
        let digest_of = |descriptor: &coracle_oci::Descriptor| {
            Digest::try_from(descriptor.digest()).map_err(|error| corrupt("the manifest", error.to_string()))
        };
        let config_digest = digest_of(&manifest.config)?;
        let config_name = format!("the configuration of {name}");
        let config = self.small_blob(reference, config_digest, manifest.config.size(), &config_name)?;
        let image: ImageConfig = serde_json::from_slice(&config)
            .map_err(|error| corrupt("the configuration", error.to_string()))?;
        let diff_ids = &image.rootfs.diff_ids;
        if diff_ids.len() != manifest.layers.len() {
            let (listed, there) = (diff_ids.len(), manifest.layers.len());
            return Err(corrupt("the configuration", format!("it lists {listed} layers of {there}")));
        }
        let mut layers = Vec::new();
        for (descriptor, diff_id) in manifest.layers.iter().zip(diff_ids) {
            let media_type = descriptor.media_type().to_string();
            let compression = compression(&media_type).ok_or_else(|| RegistryError::Unsupported {
                subject: format!("a layer of {name}"),
                media_type: media_type.clone(),
            })?;
            layers.push(Layer {
                digest: digest_of(descriptor)?,
                size: descriptor.size(),
                compression,
                diff_id: *diff_id,
            });
        }
        Ok(Resolved {
            manifest_digest: document.digest,
            manifest: document.bytes,
            config_digest,
            config,
            image,
            layers,
        })
    }

    fn document(&self, reference: &Reference, name: &str, expected: Option<Digest>) -> Result<Document> {
        let path = format!("{}/manifests/{name}", reference.repository());
        let subject = format!("the manifest of {}", reference.familiar());
        let response = self.get(Request {
            registry: reference.registry(),
            repository: reference.repository(),
            path: &path,
            accept: &ACCEPTED,
            from: 0,
            subject: &subject,
        });
        let mut response = not_found(response, reference)?;
        let header = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        let announced = header("docker-content-digest").and_then(|text| text.parse::<Digest>().ok());
        let content_type = header("content-type").unwrap_or_default();
        let bytes = read_bounded(&mut response, &subject, reference.registry())?;
        let digest = Digest::of(&bytes);
        for expected in [expected, announced].into_iter().flatten() {
            if expected != digest {
                let reason = format!("it is {digest} instead of {expected}");
                return Err(RegistryError::Corrupt { subject, reason });
            }
        }
        let media_type = media_type(&bytes, &content_type)
            .map_err(|error| RegistryError::Corrupt { subject, reason: error.to_string() })?;
        Ok(Document { digest, bytes, media_type })
    }

    fn small_blob(&self, reference: &Reference, digest: Digest, size: u64, subject: &str) -> Result<Vec<u8>> {
        let corrupt = |reason: String| RegistryError::Corrupt { subject: subject.to_owned(), reason };
        if size > MAX_DOCUMENT {
            return Err(corrupt(format!("it claims {size} bytes")));
        }
        let path = format!("{}/blobs/{digest}", reference.repository());
        let response = self.get(Request {
            registry: reference.registry(),
            repository: reference.repository(),
            path: &path,
            accept: &[],
            from: 0,
            subject,
        });
        let mut response = not_found(response, reference)?;
        let bytes = read_bounded(&mut response, subject, reference.registry())?;
        let actual = Digest::of(&bytes);
        if actual != digest {
            return Err(corrupt(format!("it is {actual} instead of {digest}")));
        }
        Ok(bytes)
    }
}

/// Turns status 404 into the error that names the image.
fn not_found<T>(result: Result<T>, reference: &Reference) -> Result<T> {
    result.map_err(|error| match error {
        RegistryError::Status { status, .. } if status == StatusCode::NOT_FOUND.as_u16() => {
            RegistryError::NotFound(reference.clone())
        }
        other => other,
    })
}

fn read_bounded(
    response: &mut ureq::http::Response<ureq::Body>,
    subject: &str,
    registry: &str,
) -> Result<Vec<u8>> {
    response.body_mut().with_config().limit(MAX_DOCUMENT).read_to_vec().map_err(|error| match error {
        ureq::Error::BodyExceedsLimit(limit) => RegistryError::Corrupt {
            subject: subject.to_owned(),
            reason: format!("it has more than {limit} bytes"),
        },
        error => RegistryError::Unreachable {
            registry: registry.to_owned(),
            reason: crate::client::reason(&error),
        },
    })
}

/// Returns a document's type: by itself, by its answer's header, or by its form, in this order.
///
/// The document comes first because its digest covers it, and headers are often wrong.
fn media_type(bytes: &[u8], header: &str) -> serde_json::Result<String> {
    let value: Value = serde_json::from_slice(bytes)?;
    if let Some(own) = value.get("mediaType").and_then(Value::as_str) {
        return Ok(own.to_owned());
    }
    let header = header.split(';').next().unwrap_or_default().trim();
    if value.get("schemaVersion").and_then(Value::as_u64) == Some(1) {
        return Ok("application/vnd.docker.distribution.manifest.v1+json".to_owned());
    }
    if ACCEPTED.contains(&header) {
        return Ok(header.to_owned());
    }
    if value.get("manifests").is_some() {
        return Ok(OCI_INDEX.to_owned());
    }
    if value.get("layers").is_some() && value.get("config").is_some() {
        return Ok(OCI_MANIFEST.to_owned());
    }
    Ok(header.to_owned())
}

fn compression(media_type: &str) -> Option<Compression> {
    match media_type {
        "application/vnd.oci.image.layer.v1.tar" | "application/vnd.docker.image.rootfs.diff.tar" => {
            Some(Compression::None)
        }
        "application/vnd.oci.image.layer.v1.tar+gzip"
        | "application/vnd.docker.image.rootfs.diff.tar.gzip" => Some(Compression::Gzip),
        "application/vnd.oci.image.layer.v1.tar+zstd"
        | "application/vnd.docker.image.rootfs.diff.tar.zstd" => Some(Compression::Zstd),
        // Among them layers that may not be distributed.
        _ => None,
    }
}

/// Returns the entry that fits a platform best; the first of equals.
fn choose<'a>(entries: &'a [IndexEntry], platform: &Platform) -> Option<&'a IndexEntry> {
    let rank = |entry: &&IndexEntry| -> Option<u32> {
        let offered = entry.platform.as_ref()?;
        if offered.os != platform.os || offered.architecture != platform.architecture {
            return None;
        }
        // The only variant of arm64 is v8, and most leave it out.
        let variant = |platform: &Platform| match (&*platform.architecture, platform.variant.as_deref()) {
            ("arm64", Some("v8")) => None,
            (_, variant) => variant.map(str::to_owned),
        };
        match (variant(platform), variant(offered)) {
            (wanted, offered) if wanted == offered => Some(0),
            (Some(_), None) => Some(1),
            (None, Some(_)) => Some(2),
            // A processor of a later version runs code for an earlier one: v7 runs v6.
            (Some(wanted), Some(offered)) if offered < wanted => Some(3),
            _ => None,
        }
    };
    entries.iter().filter(|entry| rank(entry).is_some()).min_by_key(|entry| rank(entry))
}

fn available(entries: &[IndexEntry]) -> Vec<Platform> {
    let real = |platform: &&Platform| platform.os != "unknown";
    let mut platforms: Vec<_> =
        entries.iter().filter_map(|entry| entry.platform.as_ref()).filter(real).cloned().collect();
    platforms.sort();
    platforms.dedup();
    platforms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chooses_the_best_platform() {
        let entry =
            |platform: &str| IndexEntry { digest: platform.to_owned(), platform: platform.parse().ok() };
        let entries: Vec<_> = [
            "unknown/unknown",
            "linux/amd64",
            "linux/arm/v6",
            "linux/arm/v7",
            "linux/arm64/v8",
            "windows/amd64",
        ]
        .into_iter()
        .map(entry)
        .collect();
        for (wanted, chosen) in [
            ("linux/amd64", Some("linux/amd64")),
            ("linux/amd64/v3", Some("linux/amd64")),
            ("linux/arm64", Some("linux/arm64/v8")),
            ("linux/arm/v7", Some("linux/arm/v7")),
            ("linux/arm/v5", None),
            ("linux/arm/v8", Some("linux/arm/v6")),
            ("linux/arm", Some("linux/arm/v6")),
            ("linux/s390x", None),
        ] {
            let found = choose(&entries, &wanted.parse().unwrap());
            assert_eq!(found.map(|entry| &*entry.digest), chosen, "{wanted}");
        }
        assert_eq!(available(&entries).len(), 5);
        assert!(choose(&[IndexEntry { digest: String::new(), platform: None }], &Platform::host()).is_none());
    }

    #[test]
    fn a_document_says_what_it_is() {
        let own = br#"{"mediaType": "application/vnd.oci.image.index.v1+json"}"#;
        assert_eq!(media_type(own, OCI_MANIFEST).unwrap(), OCI_INDEX);
        assert_eq!(media_type(b"{}", "application/json; charset=utf-8").unwrap(), "application/json");
        assert_eq!(media_type(br#"{"manifests": []}"#, "text/plain").unwrap(), OCI_INDEX);
        assert_eq!(media_type(br#"{"layers": [], "config": {}}"#, "").unwrap(), OCI_MANIFEST);
        assert!(media_type(br#"{"schemaVersion": 1}"#, DOCKER_MANIFEST).unwrap().contains("v1+json"));
        assert!(media_type(b"<html>", "").is_err());
    }
}
