//! An image of one layer from an archive of files, `docker import`.

use std::io::Read;
use std::sync::atomic::AtomicBool;

use coracle_oci::{History, ImageConfig, ImageId, Platform, Reference};
use coracle_report::Diagnostic;
use coracle_snapshot::SnapshotError;
use jiff::Timestamp;

use crate::contexts::Downloads;
use crate::{During, Failure, Images, Result};

/// What an imported image is to be.
#[derive(Clone, Debug, Default)]
pub struct ImportRequest {
    /// Its name; `None` is none.
    pub reference: Option<Reference>,
    /// A remark.
    pub message: Option<String>,
    /// Instructions that change its configuration, e.g. `CMD ["serve"]`.
    pub changes: Vec<String>,
    /// What it runs on; `None` is this machine's.
    pub platform: Option<Platform>,
    /// Where it came from, for its history.
    pub source: String,
}

impl Images<'_> {
    /// Makes an image of an archive of files, plain or compressed.
    pub fn import(&self, archive: impl Read, request: &ImportRequest) -> Result<ImageId> {
        let engine = self.engine;
        let platform = request.platform.clone().unwrap_or_else(Platform::host);
        let now = Timestamp::now().to_string();
        let mut config = ImageConfig {
            created: Some(now.clone()),
            architecture: platform.architecture,
            os: platform.os,
            variant: platform.variant,
            ..ImageConfig::default()
        };
        // Before anything is read: a wrong instruction changes nothing.
        for text in &request.changes {
            coracle_build::change(&mut config, text).map_err(Failure::user)?;
        }
        let _adding = engine.store.adding().during("adding an image to the store")?;
        let unpacked = engine.snapshots.unpack(archive, None).map_err(|error| match error {
            error @ (SnapshotError::Malformed(_)
            | SnapshotError::Hostile { .. }
            | SnapshotError::TooLarge { .. }) => {
                let message = format!("{} is no archive of files that can be taken: {error}", request.source);
                Failure::user(
                    Diagnostic::error("bad-archive", message)
                        .with_hint("images of `save` are read by: coracle load -i FILE"),
                )
            }
            error => Failure::ours(format_args!("unpacking {}", request.source), &error),
        })?;
        let layer = unpacked.attach_as_ours().during(format_args!("unpacking {}", request.source))?;
        let (Some(diff_id), Some(size)) = (layer.diff_id, layer.size) else {
            let error = std::io::Error::other("its layer has no id");
            return Err(Failure::ours(format_args!("unpacking {}", request.source), &error));
        };
        config.rootfs.diff_ids = vec![diff_id];
        let comment = request.message.clone().unwrap_or_else(|| format!("Imported from {}", request.source));
        config.history.push(History { created: Some(now), comment: Some(comment), ..History::default() });
        let image = self.keep(&config, &[(diff_id, size)], request.reference.as_ref())?;
        engine.events().named("image", "import", &image.id.to_string(), &[]);
        Ok(image.id)
    }

    /// Fetches an archive by HTTP and makes an image of it.
    pub fn import_url(&self, url: &str, request: &ImportRequest, cancel: &AtomicBool) -> Result<ImageId> {
        let downloads = Downloads::new(self.engine)?;
        let fetched = downloads.get(url, cancel)?;
        let file = std::fs::File::open(&fetched.path).during("opening a download")?;
        self.import(file, request)
    }
}
