//! Transferring layers: several at once, going on where a transfer broke off, into a place of the caller's.

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use coracle_oci::{Digest, Platform, Reference};
use coracle_report::{Outcome, Reporter, Task, TaskId, Unit};
use ureq::http::StatusCode;

use crate::client::{Client, Request};
use crate::error::{RegistryError, Result};
use crate::manifest::{Layer, Resolved};

/// A place for blobs. Used by several threads.
pub trait BlobSink: Sync {
    /// Starts a blob, or goes on with one that an earlier attempt began; `None` when it is there already.
    fn open(&self, digest: &Digest, size: u64) -> io::Result<Option<Box<dyn BlobWriter + '_>>>;
}

/// One blob on its way. What was written must survive being dropped, or [`BlobWriter::written`] must say 0 next time.
pub trait BlobWriter: Write {
    /// Returns how many bytes are there.
    fn written(&self) -> u64;

    /// Forgets what is there.
    fn restart(&mut self) -> io::Result<()>;

    /// Verifies the whole content against the digest and stores it.
    fn commit(self: Box<Self>) -> std::result::Result<(), CommitError>;
}

/// Why a blob was not stored.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The content is not the digest's. What was written must be gone.
    #[error("the content is {0}")]
    Mismatch(Digest),
    /// It could not be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Bytes between two reports of progress.
const STEP: u64 = 512 << 10;

impl Client {
    /// Finds an image and transfers the layers that the sink does not have.
    ///
    /// `parent` groups the tasks that are reported, one a layer.
    pub fn pull(
        &self,
        reference: &Reference,
        platform: &Platform,
        sink: &dyn BlobSink,
        reporter: &dyn Reporter,
        parent: Option<TaskId>,
    ) -> Result<Resolved> {
        let resolved = self.resolve(reference, platform)?;
        self.fetch_layers(reference, &resolved.layers, sink, reporter, parent)?;
        Ok(resolved)
    }

    /// Transfers the layers that the sink does not have; stops all when one fails for good.
    pub fn fetch_layers(
        &self,
        reference: &Reference,
        layers: &[Layer],
        sink: &dyn BlobSink,
        reporter: &dyn Reporter,
        parent: Option<TaskId>,
    ) -> Result<()> {
        // The same layer may be in an image twice. The last is taken first, so the list is turned around.
        let mut seen = HashSet::new();
        let mut waiting: Vec<&Layer> = layers.iter().filter(|layer| seen.insert(layer.digest)).collect();
        waiting.reverse();
        let threads = self.options.parallel.clamp(1, 16).min(waiting.len());
        let waiting = Mutex::new(waiting);
        let failure = Mutex::new(None);
        let stop = AtomicBool::new(false);
        let work = || {
            while !stop.load(Ordering::Relaxed) {
                let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let Some(layer) = next else { return };
                let task = Task::start(reporter, parent, layer.digest.short());
                match self.fetch(reference, layer, sink, &task, &stop) {
                    Ok(outcome) => task.finish(outcome),
                    Err(error) => {
                        task.finish(Outcome::Failed(error.to_string()));
                        stop.store(true, Ordering::Relaxed);
                        failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(work);
            }
            work();
        });
        match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Begins to read a blob from its registry. The bytes are not verified; at most `size` of them come.
    pub fn read_blob(
        &self,
        reference: &Reference,
        digest: &Digest,
        size: u64,
    ) -> Result<impl Read + Send + use<>> {
        let subject = format!("{} of {}", digest.short(), reference.familiar());
        let response = self.get(Request {
            registry: reference.registry(),
            repository: reference.repository(),
            path: &format!("{}/blobs/{digest}", reference.repository()),
            accept: &[],
            from: 0,
            subject: &subject,
        })?;
        Ok(response.into_body().into_reader().take(size))
    }

    fn fetch(
        &self,
        reference: &Reference,
        layer: &Layer,
        sink: &dyn BlobSink,
        task: &Task<'_>,
        stop: &AtomicBool,
    ) -> Result<Outcome> {
        let Layer { digest, size, .. } = *layer;
        let sink_error = |source| RegistryError::Sink { digest, source };
        let mut wrong_before = false;
        loop {
            let Some(mut writer) = sink.open(&digest, size).map_err(sink_error)? else {
                return Ok(Outcome::Cached);
            };
            let resumed = writer.written() > 0;
            let mut attempts = 0;
            let mut furthest = writer.written();
            loop {
                if stop.load(Ordering::Relaxed) {
                    return Ok(Outcome::Skipped("another layer failed".to_owned()));
                }
                let Err(error) = self.transfer(reference, layer, writer.as_mut(), task, stop) else { break };
                // Only an attempt that came further than all before does not count: a layer that is too short would
                // else begin again for ever.
                attempts = if writer.written() > furthest { 1 } else { attempts + 1 };
                furthest = furthest.max(writer.written());
                if attempts > self.options.retries || !may_pass(&error) {
                    return Err(error);
                }
                std::thread::sleep(self.pause(attempts, &error));
            }
            if stop.load(Ordering::Relaxed) && writer.written() < size {
                return Ok(Outcome::Skipped("another layer failed".to_owned()));
            }
            match writer.commit() {
                Ok(()) => return Ok(Outcome::Done),
                // What an earlier process left may have been wrong: once more, from the beginning.
                Err(CommitError::Mismatch(_)) if resumed && !wrong_before => wrong_before = true,
                Err(CommitError::Mismatch(actual)) => {
                    let subject = format!("layer {} of {}", digest.short(), reference.familiar());
                    let reason = format!("it is {actual} instead of {digest}");
                    return Err(RegistryError::Corrupt { subject, reason });
                }
                Err(CommitError::Io(source)) => return Err(sink_error(source)),
            }
        }
    }

    /// Transfers what is missing of a blob.
    fn transfer(
        &self,
        reference: &Reference,
        layer: &Layer,
        writer: &mut dyn BlobWriter,
        task: &Task<'_>,
        stop: &AtomicBool,
    ) -> Result<()> {
        let Layer { digest, size, .. } = *layer;
        let sink_error = |source| RegistryError::Sink { digest, source };
        if writer.written() > size {
            writer.restart().map_err(sink_error)?;
        }
        if writer.written() == size {
            return Ok(());
        }
        let subject = format!("layer {} of {}", digest.short(), reference.familiar());
        let path = format!("{}/blobs/{digest}", reference.repository());
        let response = self.get(Request {
            registry: reference.registry(),
            repository: reference.repository(),
            path: &path,
            accept: &[],
            from: writer.written(),
            subject: &subject,
        });
        let response = response?;
        let goes_on = response.status() == StatusCode::PARTIAL_CONTENT
            && response
                .headers()
                .get("content-range")
                .and_then(|value| value.to_str().ok())
                .is_some_and(|range| range.starts_with(&format!("bytes {}-", writer.written())));
        if writer.written() > 0 && !goes_on {
            // The registry cannot begin in the middle, or began elsewhere.
            writer.restart().map_err(sink_error)?;
            if response.status() != StatusCode::OK {
                let (registry, reason) =
                    (reference.registry().to_owned(), "it cannot be gone on with".to_owned());
                return Err(RegistryError::Interrupted { registry, digest, received: 0, reason });
            }
        }
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; 128 << 10];
        let mut reported = writer.written();
        task.progress(reported, Some(size), Unit::Bytes);
        loop {
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let interrupted = |received: u64, reason: String| RegistryError::Interrupted {
                registry: reference.registry().to_owned(),
                digest,
                received,
                reason,
            };
            match body.read(&mut buffer) {
                Ok(0) if writer.written() < size => {
                    return Err(interrupted(writer.written(), "the connection ended".to_owned()));
                }
                Ok(0) => return Ok(()),
                Ok(count) => {
                    if writer.written() + count as u64 > size {
                        let reason = format!("it has more than {size} bytes");
                        return Err(RegistryError::Corrupt { subject, reason });
                    }
                    writer.write_all(&buffer[..count]).map_err(sink_error)?;
                    if writer.written() - reported >= STEP || writer.written() == size {
                        reported = writer.written();
                        task.progress(reported, Some(size), Unit::Bytes);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(interrupted(writer.written(), error.to_string())),
            }
        }
    }

    pub(crate) fn pause(&self, attempt: u32, error: &RegistryError) -> Duration {
        if let RegistryError::RateLimited { retry_after: Some(seconds), .. } = error {
            return Duration::from_secs(*seconds);
        }
        self.options.retry_pause * 2u32.saturating_pow(attempt.saturating_sub(1)).min(64)
    }
}

/// Returns whether the same request may succeed a little later.
pub(crate) fn may_pass(error: &RegistryError) -> bool {
    match error {
        RegistryError::Interrupted { .. }
        | RegistryError::Unreachable { .. }
        | RegistryError::Broken { .. } => true,
        RegistryError::Status { status, .. } => *status >= 500,
        // A long pause is the user's to decide.
        RegistryError::RateLimited { retry_after, .. } => retry_after.is_some_and(|seconds| seconds <= 10),
        _ => false,
    }
}
