//! Fetching an image from its registry: layers are unpacked while their bytes come, several at once, and put on top of one another
//! when all are there.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use coracle_oci::{ChainId, DiffId, Digest, Platform, Reference};
use coracle_registry::{BlobSink, BlobWriter, CommitError, Layer, Resolved};
use coracle_report::{Outcome, Task, TaskId};
use coracle_snapshot::{SnapshotError, SnapshotId, Snapshots, UnpackedLayer};
use coracle_store::{FinishedBlob, PartialBlob, StoreError};

use super::growing::{Growing, Grown};
use super::{Images, ReadyImage, Refused};
use crate::{During, Engine};

impl Images<'_> {
    /// Fetches an image from its registry and unpacks it.
    pub(crate) fn pull(
        &self,
        reference: &Reference,
        platform: &Platform,
        parent: Option<TaskId>,
    ) -> Result<ReadyImage, Refused> {
        let engine = self.engine;
        let name = if *platform == Platform::host() {
            format!("pull {}", reference.familiar())
        } else {
            format!("pull {} for {platform}", reference.familiar())
        };
        let task = Task::start(&*engine.reporter, parent, name);
        let result = self.pull_into_store(reference, platform, &task);
        match &result {
            Ok(_) => task.finish(Outcome::Done),
            Err(Refused::Unreachable(_)) => {
                task.finish(Outcome::Skipped("registry not reachable".to_owned()));
            }
            Err(error) => task.finish(Outcome::Failed(error.to_string())),
        }
        result
    }

    fn pull_into_store(
        &self,
        reference: &Reference,
        platform: &Platform,
        task: &Task<'_>,
    ) -> Result<ReadyImage, Refused> {
        let engine = self.engine;
        let _adding = engine.store.adding().during("adding an image to the store")?;
        let resolved =
            engine.registry().resolve(reference, platform).map_err(|error| Refused::from_pull(&error))?;
        let snapshot = self.fetch_layers(reference, &resolved, task)?;
        engine.snapshots.sync().during("syncing layers to the disk")?;
        let image =
            engine.store.put_manifest(&resolved.manifest, &resolved.config).during("recording an image")?;
        engine.store.add_reference(reference, &image).during("naming an image")?;
        crate::cache::remember_pulled(engine, reference, &resolved.layers);
        engine.events().named("image", "pull", &reference.familiar(), &[]);
        Ok(ReadyImage { id: image.id, config: image.config, snapshot, stand_in: false })
    }

    /// Fetches the layers that are not there and returns the topmost's snapshot.
    fn fetch_layers(
        &self,
        reference: &Reference,
        resolved: &Resolved,
        task: &Task<'_>,
    ) -> Result<Option<SnapshotId>, Refused> {
        let engine = self.engine;
        let chains = chains(&resolved.layers);
        let (mut top, there) = lowest_there(engine, &chains)?;
        let (missing, chains) = (&resolved.layers[there..], &chains[there..]);
        let sink = Unpacking::new(engine, missing, chains);
        let fetched =
            engine.registry().fetch_layers(reference, missing, &sink, &*engine.reporter, Some(task.id()));
        // What went wrong while unpacking is why a transfer was given up, not the other way round.
        let mut unpacked = sink.finish()?;
        fetched.map_err(|error| Refused::from_pull(&error))?;
        for (layer, chain) in missing.iter().zip(chains) {
            let during = || format!("unpacking layer {}", layer.digest.short());
            let attached = match unpacked.get_mut(&layer.digest) {
                Some(Fetched { layer: place @ Some(_), blob }) => {
                    let mut fresh = place.take().expect("it was looked at");
                    fresh.adopt_archive(blob.path()).during(during())?;
                    fresh.attach(top.as_ref())
                }
                // The same layer once more.
                Some(Fetched { layer: None, blob }) => {
                    let content = blob.content().during(during())?;
                    engine.snapshots.apply(top.as_ref(), content, Some(layer.diff_id))
                }
                // Another command pulled the same meanwhile, or one of old left the compressed blob in the store.
                None => {
                    if let Some(snapshot) = engine.snapshots.by_chain(chain).during(during())? {
                        Ok(snapshot)
                    } else {
                        let content = engine.store.open_blob(&layer.digest).during(during())?;
                        engine.snapshots.apply(top.as_ref(), content, Some(layer.diff_id))
                    }
                }
            };
            top = Some(attached.during(during())?.id);
        }
        Ok(top)
    }
}

/// Returns the names of the stacks that end with each layer.
fn chains(layers: &[Layer]) -> Vec<ChainId> {
    let mut chain = None;
    let extended = layers.iter().map(|layer| {
        let next = ChainId::extend(chain, layer.diff_id);
        chain = Some(next);
        next
    });
    extended.collect()
}

/// Returns the snapshot of the lowest layers that are unpacked already, and how many these are.
fn lowest_there(engine: &Engine, chains: &[ChainId]) -> Result<(Option<SnapshotId>, usize), Refused> {
    for (number, chain) in chains.iter().enumerate().rev() {
        if let Some(snapshot) = engine.snapshots.by_chain(chain).during("looking for layers")? {
            return Ok((Some(snapshot.id), number + 1));
        }
    }
    Ok((None, 0))
}

/// A layer that came.
struct Fetched {
    /// Taken by the first place of the image where it belongs.
    layer: Option<UnpackedLayer>,
    /// Held, so that whoever pulls the same waits until the snapshot is there.
    blob: FinishedBlob,
}

/// Unpacks each blob on a thread of its own while it is written.
struct Unpacking<'a> {
    engine: &'a Engine,
    wanted: HashMap<Digest, (DiffId, ChainId)>,
    done: Mutex<HashMap<Digest, (FinishedBlob, JoinHandle<Unpacked>)>>,
    /// What went wrong first.
    failure: Arc<Mutex<Option<SnapshotError>>>,
}

type Unpacked = Result<UnpackedLayer, ()>;

impl<'a> Unpacking<'a> {
    fn new(engine: &'a Engine, layers: &[Layer], chains: &[ChainId]) -> Self {
        let wanted = layers.iter().zip(chains).map(|(layer, chain)| (layer.digest, (layer.diff_id, *chain)));
        Self { engine, wanted: wanted.collect(), done: Mutex::default(), failure: Arc::default() }
    }

    /// Waits for what is still being unpacked.
    fn finish(self) -> Result<HashMap<Digest, Fetched>, Refused> {
        let mut fetched = HashMap::new();
        for (digest, (blob, thread)) in self.done.into_inner().unwrap_or_else(PoisonError::into_inner) {
            if let Ok(Ok(layer)) = thread.join() {
                fetched.insert(digest, Fetched { layer: Some(layer), blob });
            }
        }
        match self.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(refused(error)),
            None => Ok(fetched),
        }
    }
}

/// Tells a wrong layer, which is the registry's fault, from a full disk, which is not.
fn refused(error: SnapshotError) -> Refused {
    use coracle_report::Diagnostic;
    match error {
        SnapshotError::Mismatch { .. }
        | SnapshotError::Malformed(_)
        | SnapshotError::Hostile { .. }
        | SnapshotError::TooLarge { .. } => {
            let message = format!("a layer of the image is wrong: {error}");
            Refused::Denied(Diagnostic::error("pull", message))
        }
        other => Refused::Failed(crate::Failure::ours("unpacking a layer", &other)),
    }
}

impl BlobSink for Unpacking<'_> {
    fn open(&self, digest: &Digest, _size: u64) -> io::Result<Option<Box<dyn BlobWriter + '_>>> {
        let (diff_id, chain) = self.wanted.get(digest).copied().ok_or(io::ErrorKind::InvalidInput)?;
        let Some(partial) = self.engine.store.resume_blob(digest).map_err(io::Error::other)? else {
            return Ok(None);
        };
        if self.engine.snapshots.by_chain(&chain).map_err(io::Error::other)?.is_some() {
            // Another command pulled it while this one waited for the blob.
            partial.discard();
            return Ok(None);
        }
        let mut writer = Writer {
            partial: Some(partial),
            unpacker: None,
            start: Start {
                snapshots: self.engine.snapshots.clone(),
                diff_id,
                failure: Arc::clone(&self.failure),
                broken: Arc::default(),
            },
            digest: *digest,
            done: &self.done,
        };
        writer.begin()?;
        Ok(Some(Box::new(writer)))
    }
}

/// What a thread needs to unpack a layer.
struct Start {
    snapshots: Snapshots,
    diff_id: DiffId,
    failure: Arc<Mutex<Option<SnapshotError>>>,
    /// Set when unpacking failed: no more bytes are wanted.
    broken: Arc<AtomicBool>,
}

impl Start {
    fn spawn(&self, growing: Growing) -> io::Result<JoinHandle<Unpacked>> {
        let (snapshots, diff_id) = (self.snapshots.clone(), self.diff_id);
        let (failure, broken) = (Arc::clone(&self.failure), Arc::clone(&self.broken));
        std::thread::Builder::new().name("unpack".to_owned()).spawn(move || {
            let given_up = growing.given_up();
            snapshots.unpack_without_copy(growing, diff_id).map_err(|error| {
                // One that ended because its bytes ended says nothing new.
                if !given_up.load(Ordering::Relaxed) {
                    broken.store(true, Ordering::Relaxed);
                    failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            })
        })
    }
}

/// One blob on its way into a file and a layer.
struct Writer<'a> {
    partial: Option<PartialBlob>,
    unpacker: Option<(Grown, JoinHandle<Unpacked>)>,
    start: Start,
    digest: Digest,
    done: &'a Mutex<HashMap<Digest, (FinishedBlob, JoinHandle<Unpacked>)>>,
}

impl Writer<'_> {
    fn partial(&mut self) -> io::Result<&mut PartialBlob> {
        self.partial.as_mut().ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }

    /// Starts to unpack what is there, and what comes.
    fn begin(&mut self) -> io::Result<()> {
        let partial = self.partial()?;
        let (written, file) = (partial.written(), partial.reader().map_err(io::Error::other)?);
        let (grown, growing) = Growing::new(file, written);
        self.unpacker = Some((grown, self.start.spawn(growing)?));
        Ok(())
    }

    /// Ends the unpacking of bytes that turned out wrong.
    fn give_up(&mut self) {
        if let Some((grown, thread)) = self.unpacker.take() {
            grown.give_up();
            let _ = thread.join();
        }
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.start.broken.load(Ordering::Relaxed) {
            return Err(io::Error::other("the layer cannot be unpacked"));
        }
        let partial = self.partial()?;
        let count = partial.write(bytes)?;
        let written = partial.written();
        if let Some((grown, _)) = &self.unpacker {
            grown.to(written);
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.partial()?.flush()
    }
}

impl BlobWriter for Writer<'_> {
    fn written(&self) -> u64 {
        self.partial.as_ref().map_or(0, PartialBlob::written)
    }

    fn restart(&mut self) -> io::Result<()> {
        self.give_up();
        self.partial()?.restart().map_err(io::Error::other)?;
        self.begin()
    }

    fn commit(mut self: Box<Self>) -> Result<(), CommitError> {
        let broken = || CommitError::Io(io::ErrorKind::BrokenPipe.into());
        let partial = self.partial.take().ok_or_else(broken)?;
        let blob = match partial.finish() {
            Ok(blob) => blob,
            Err(StoreError::Mismatch { actual, .. }) => return Err(CommitError::Mismatch(actual)),
            Err(error) => return Err(CommitError::Io(io::Error::other(error))),
        };
        let (grown, thread) = self.unpacker.take().ok_or_else(broken)?;
        grown.whole();
        self.done.lock().unwrap_or_else(PoisonError::into_inner).insert(self.digest, (blob, thread));
        Ok(())
    }
}
