//! What a build came to, as outputs take it: a configuration over a stack of snapshots.

use std::collections::BTreeMap;
use std::io;

use coracle_oci::{DiffId, ImageConfig, Platform};
use coracle_report::Diagnostic;
use coracle_snapshot::{Snapshot, SnapshotId};
use coracle_store::{Image, MAX_DOCUMENT};

use crate::{During, Engine, Failure, Result};

/// A built image of one platform.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Its configuration.
    pub config: ImageConfig,
    /// The configuration's own bytes, when it came from elsewhere: written again they might be others.
    raw: Option<Vec<u8>>,
    /// Its layers, lowest first; one for each of the configuration's.
    pub stack: Vec<Snapshot>,
    /// Annotations of its manifest that the builder itself gives.
    pub annotations: BTreeMap<String, String>,
    /// How many of them are the base image's.
    pub base_layers: usize,
}

/// Which layers are made one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flatten {
    /// Those above the base image's.
    Build,
    /// All.
    All,
}

impl Finished {
    /// Takes a configuration and the snapshot of its file system. The topmost `own` layers are the build's.
    pub fn new(engine: &Engine, config: ImageConfig, top: Option<&SnapshotId>, own: usize) -> Result<Self> {
        let stack = match top {
            None => Vec::new(),
            Some(top) => engine.snapshots.stack(top).during("listing an image's layers")?,
        };
        let base_layers = stack.len().saturating_sub(own);
        let finished = Self { config, raw: None, stack, annotations: BTreeMap::new(), base_layers };
        if finished.diff_ids()? != finished.config.rootfs.diff_ids {
            let error = io::Error::other("the layers are not those of the configuration");
            return Err(Failure::ours("putting the image together", &error));
        }
        Ok(finished)
    }

    /// Takes an image of the store.
    pub fn of_image(engine: &Engine, image: &Image) -> Result<Self> {
        let top = match image.config.chain_id() {
            None => None,
            Some(chain) => {
                let found = engine.snapshots.by_chain(&chain).during("looking for an image's layers")?;
                let missing = || {
                    let message = format!("the layers of image {} are not here", image.id.digest().short());
                    Failure::user(Diagnostic::error("no-layers", message).with_hint("pull or build it again"))
                };
                Some(found.ok_or_else(missing)?.id)
            }
        };
        let mut finished = Self::new(engine, image.config.clone(), top.as_ref(), 0)?;
        let bytes = engine.store.read_blob(&image.id.digest(), MAX_DOCUMENT);
        finished.raw = Some(bytes.during("reading an image's configuration")?);
        Ok(finished)
    }

    /// Returns the bytes of the configuration, whose digest is the image's id, for layers with these ids.
    ///
    /// They are the configuration's own unless a base image came as archives that another tool wrote: then the same
    /// files in our archives have other ids, and so has the image that leaves.
    pub fn config_with(&self, diff_ids: &[DiffId]) -> Vec<u8> {
        let bytes = self.raw.clone().unwrap_or_else(|| self.config.to_bytes());
        if self.config.rootfs.diff_ids == diff_ids {
            return bytes;
        }
        // What we do not know of the document stays in it.
        match serde_json::from_slice::<serde_json::Value>(&bytes) {
            Ok(mut document) => {
                document["rootfs"]["diff_ids"] = serde_json::json!(diff_ids);
                serde_json::to_vec(&document).expect("JSON values can be written")
            }
            Err(_) => bytes,
        }
    }

    /// Returns the platform.
    pub fn platform(&self) -> Platform {
        Platform {
            os: self.config.os.clone(),
            architecture: self.config.architecture.clone(),
            variant: self.config.variant.clone(),
        }
    }

    /// Returns the snapshot of the whole file system; `None` without layers.
    pub fn top(&self) -> Option<&SnapshotId> {
        self.stack.last().map(|snapshot| &snapshot.id)
    }

    /// Returns the layers with the lengths of their archives, lowest first.
    pub fn layers(&self) -> Result<Vec<(DiffId, u64)>> {
        let sizes = self.stack.iter().map(|snapshot| snapshot.size.unwrap_or(0));
        Ok(self.diff_ids()?.into_iter().zip(sizes).collect())
    }

    fn diff_ids(&self) -> Result<Vec<DiffId>> {
        let known = |snapshot: &Snapshot| {
            snapshot.diff_id.ok_or_else(|| {
                let error = io::Error::other("a layer was not hashed");
                Failure::ours(format_args!("putting the image together at snapshot {}", snapshot.id), &error)
            })
        };
        self.stack.iter().map(known).collect()
    }

    /// Returns the same image with no file of its own layers younger than `latest` (seconds since 1970). The base
    /// image's layers stay as they are, so that they are still shared.
    pub fn retimed(&self, engine: &Engine, latest: i64) -> Result<Self> {
        let (base, own) = self.stack.split_at(self.base_layers.min(self.stack.len()));
        let mut stack = base.to_vec();
        for layer in own {
            let below = stack.last().map(|snapshot| snapshot.id.clone());
            stack.push(relayer(engine, below.as_ref(), |out| {
                engine.snapshots.layer_tar(&layer.id, out, Some(latest)).map(drop)
            })?);
        }
        self.upon(stack, self.base_layers)
    }

    /// Returns the same file system in fewer layers. The history stays; entries whose layer went into another's say
    /// that they have none.
    pub fn flattened(&self, engine: &Engine, flatten: Flatten) -> Result<Self> {
        let keep = match flatten {
            Flatten::Build => self.base_layers.min(self.stack.len()),
            Flatten::All => 0,
        };
        let (base, merged) = self.stack.split_at(keep);
        // The base's own layers are its business; one layer of ours is one layer already.
        if merged.len() < 2 {
            return Ok(self.clone());
        }
        let below = base.last().map(|snapshot| snapshot.id.clone());
        let ids: Vec<SnapshotId> = merged.iter().map(|snapshot| snapshot.id.clone()).collect();
        let one = relayer(engine, below.as_ref(), |out| engine.snapshots.merged_tar(&ids, out).map(drop))?;
        let mut stack = base.to_vec();
        stack.push(one);
        let mut flat = self.upon(stack, keep)?;
        let last = flat.config.history.iter().rposition(|entry| !entry.empty_layer);
        let mut kept = 0;
        for (index, entry) in flat.config.history.iter_mut().enumerate() {
            if entry.empty_layer {
                continue;
            }
            if kept < keep {
                kept += 1;
            } else if Some(index) == last {
                entry.comment = Some(format!("{} layers in one", merged.len()));
            } else {
                entry.empty_layer = true;
            }
        }
        Ok(flat)
    }

    fn upon(&self, stack: Vec<Snapshot>, base_layers: usize) -> Result<Self> {
        let mut other = Self {
            config: self.config.clone(),
            raw: None,
            stack,
            annotations: self.annotations.clone(),
            base_layers,
        };
        other.config.rootfs.diff_ids = other.diff_ids()?;
        Ok(other)
    }
}

/// Makes a snapshot of the archive that `write` writes, without keeping the archive.
fn relayer(
    engine: &Engine,
    below: Option<&SnapshotId>,
    write: impl FnOnce(io::PipeWriter) -> Result<(), coracle_snapshot::SnapshotError> + Send,
) -> Result<Snapshot> {
    let (reader, writer) = io::pipe().during("making a pipe")?;
    std::thread::scope(|scope| {
        let writing = scope.spawn(move || write(writer));
        let read = engine.snapshots.unpack(reader, None).and_then(|layer| layer.attach(below));
        let written = writing.join().expect("writing an archive does not panic");
        // When reading failed, writing failed of it.
        let snapshot = read.during("making a layer again")?;
        written.during("making a layer again")?;
        Ok(snapshot)
    })
}
