//! Content that is not what its name says, and images, names and build results that lack what they stand for.

use std::collections::BTreeMap;
use std::io;

use coracle_oci::{Digest, ImageId, Sha256Writer};
use coracle_store::{NamedManifest, StoreError, records};

use super::{Ailment, Doctor, Remedy, ailment};
use crate::{During, Result};

impl Doctor<'_> {
    /// Reads every blob and compares it with its digest.
    pub(super) fn blobs(&self, found: &mut Vec<Ailment>) -> Result<()> {
        let store = &self.engine.store;
        for (digest, _) in store.blobs().during("listing blobs")? {
            let mut file = match store.open_blob(&digest) {
                Ok(file) => file,
                // Collected meanwhile.
                Err(StoreError::Missing(_)) => continue,
                Err(error) => return Err(error).during("opening a blob"),
            };
            let mut writer = Sha256Writer::new(io::sink());
            let read = io::copy(&mut file, &mut writer);
            let path = store.blob_path(&digest);
            let why = match read {
                Ok(_) => match writer.finish() {
                    (_, actual, _) if actual == digest => continue,
                    (_, actual, size) => format!("its {size} bytes are those of {actual}"),
                },
                // A sector that cannot be read.
                Err(error) => format!("it cannot be read: {error}"),
            };
            let mut damaged = ailment(
                "damaged-blob",
                format!("{} is damaged: {why}", path.display()),
                Remedy::Quarantine(path),
            );
            for name in self.names_of(&digest) {
                damaged.diagnostic = damaged
                    .diagnostic
                    .with_note(format!("image {name} needs it"))
                    .with_hint(format!("pull or build {name} again"));
            }
            found.push(damaged);
        }
        Ok(())
    }

    /// Returns the names that stand for a document, or for an image whose configuration or layer it is.
    fn names_of(&self, digest: &Digest) -> Vec<String> {
        let store = &self.engine.store;
        let holds = |name: &NamedManifest| {
            name.manifest == *digest
                || store.manifests_named(&name.manifest).unwrap_or_default().iter().any(|manifest| {
                    let read = store.manifest(manifest);
                    manifest == digest
                        || read.is_ok_and(|manifest| {
                            let parts = [&manifest.config].into_iter().chain(&manifest.layers);
                            parts
                                .filter_map(|part| Digest::try_from(part.digest()).ok())
                                .any(|part| part == *digest)
                        })
                })
        };
        let names = store.references().unwrap_or_default();
        names.iter().filter(|name| holds(name)).map(|name| name.reference.familiar()).collect()
    }

    /// Reads every image's record and documents, and every name.
    pub(super) fn images(&self, found: &mut Vec<Ailment>) -> Result<()> {
        let store = &self.engine.store;
        let mut broken: BTreeMap<ImageId, String> = BTreeMap::new();
        for path in records::list(&self.engine.layout.images()).during("listing images")? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Ok(id) = format!("sha256:{name}").parse::<ImageId>() else { continue };
            match store
                .image_by_id(&id)
                .and_then(|image| image.map(|image| store.manifest(&image.manifest_digest)).transpose())
            {
                Ok(_) => {}
                Err(error @ StoreError::Damaged { .. }) if is_of(&error, &path) => {
                    let message = format!("{error}: {}", cause(&error));
                    found.push(
                        ailment("damaged-record", message, Remedy::Quarantine(path))
                            .hinting("pull or build the image again"),
                    );
                }
                Err(error) if error.is_damage() => {
                    broken.insert(id, error.to_string());
                }
                Err(error) => return Err(error).during("reading an image"),
            }
        }
        for path in records::list(&self.engine.layout.references()).during("listing names")? {
            match records::read_json::<NamedManifest>(&path) {
                Ok(None) => {}
                Ok(Some(name)) => {
                    // An image needs its manifest and its configuration; its layers are snapshots.
                    let read = store.images_named(&name.reference).err();
                    if let Some(error) = read.filter(StoreError::is_damage) {
                        let name = name.reference.familiar();
                        let message =
                            format!("the name {name} stands for an image that is not whole: {error}");
                        found.push(
                            ailment("broken-name", message, Remedy::Quarantine(path))
                                .hinting(&format!("pull or build {name} again")),
                        );
                    }
                }
                Err(error) if error.is_damage() => {
                    let message = format!("{error}: {}", cause(&error));
                    let name = path
                        .file_name()
                        .and_then(|name| name.to_str())
                        .and_then(coracle_store::layout::decode);
                    let again = name.unwrap_or_else(|| "the image".to_owned());
                    found.push(
                        ailment("damaged-record", message, Remedy::Quarantine(path))
                            .hinting(&format!("pull or build {again} again")),
                    );
                }
                Err(error) => return Err(error).during("reading a name"),
            }
        }
        for (id, why) in broken {
            let message = format!("image {} is not whole: {why}", id.digest().short());
            found.push(ailment("broken-image", message, Remedy::ForgetImage(id)));
        }
        Ok(())
    }
}

impl Ailment {
    /// Adds what the user can do.
    pub(super) fn hinting(mut self, hint: &str) -> Self {
        self.diagnostic = self.diagnostic.with_hint(hint);
        self
    }
}

/// Returns the cause of an error, or nothing.
pub(super) fn cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(String::new, ToString::to_string)
}

/// Returns whether damage is that of the file at `path`.
fn is_of(error: &StoreError, path: &std::path::Path) -> bool {
    matches!(error, StoreError::Damaged { path: damaged, .. } if damaged == path)
}
