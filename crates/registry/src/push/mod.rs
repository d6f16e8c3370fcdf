//! Sending images: blobs that a registry lacks, several at once, then the manifests that name them.

mod upload;

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use coracle_oci::{Digest, Reference};
use coracle_report::{Outcome, Reporter, Task, TaskId};
use ureq::http::{Method, StatusCode};

use crate::call::{Call, Load};
use crate::client::{Client, status_error};
use crate::error::{RegistryError, Result};
use crate::pull::may_pass;

/// Where a blob's bytes come from. Used by several threads.
pub trait BlobSource: Sync {
    /// Begins to read. May be called again when a transfer broke off; every call should give the same bytes.
    fn open(&self) -> io::Result<Box<dyn Read + Send + '_>>;
}

impl BlobSource for Vec<u8> {
    fn open(&self) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(self.as_slice()))
    }
}

/// A blob to send.
pub struct PushBlob<'a> {
    /// How progress and messages call it.
    pub label: String,
    /// Its digest and length, when they are known before it is read. A source that gives other bytes is sent under
    /// the digest that those have.
    pub known: Option<(Digest, u64)>,
    /// Repositories of the same registry that may have it, so that nothing need be sent.
    pub mount_from: Vec<String>,
    /// Its bytes.
    pub source: &'a dyn BlobSource,
}

/// A blob that the registry has now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushedBlob {
    /// Its digest.
    pub digest: Digest,
    /// Its length.
    pub size: u64,
    /// Whether its bytes were sent; else the registry had it.
    pub sent: bool,
}

/// Longest a pause is before the same is tried again.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

impl Client {
    /// Sends blobs, several at once, and returns what they became, in the same order. Stops all when one fails for good.
    ///
    /// `parent` groups the tasks that are reported, one a blob.
    pub fn push_blobs(
        &self,
        target: &Reference,
        blobs: &[PushBlob<'_>],
        reporter: &dyn Reporter,
        parent: Option<TaskId>,
        cancel: &AtomicBool,
    ) -> Result<Vec<PushedBlob>> {
        let results: Vec<Mutex<Option<PushedBlob>>> = blobs.iter().map(|_| Mutex::new(None)).collect();
        let waiting = Mutex::new((0..blobs.len()).rev().collect::<Vec<_>>());
        let failure = Mutex::new(None);
        let stop = Stop { outside: cancel, inside: AtomicBool::new(false) };
        let work = || {
            while !stop.is_set() {
                let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let Some(index) = next else { return };
                let task = Task::start(reporter, parent, blobs[index].label.clone());
                match self.push_blob(target, &blobs[index], &task, &stop) {
                    Ok(pushed) => {
                        task.finish(if pushed.sent { Outcome::Done } else { Outcome::Cached });
                        *results[index].lock().unwrap_or_else(PoisonError::into_inner) = Some(pushed);
                    }
                    Err(error) => {
                        task.finish(Outcome::Failed(error.to_string()));
                        stop.inside.store(true, Ordering::Relaxed);
                        failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.options.parallel.clamp(1, 16).min(blobs.len()) {
                scope.spawn(work);
            }
            work();
        });
        if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        let results =
            results.into_iter().map(|slot| slot.into_inner().unwrap_or_else(PoisonError::into_inner));
        results.collect::<Option<Vec<_>>>().ok_or(RegistryError::Cancelled)
    }

    /// Returns whether a repository has a blob.
    pub fn has_blob(&self, target: &Reference, digest: &Digest) -> Result<bool> {
        let url = self.url(target.registry(), &format!("{}/blobs/{digest}", target.repository()))?;
        let subject = format!("whether {} has {}", target.familiar(), digest.short());
        self.exists(target, &url, &[], &subject)
    }

    /// Returns whether a repository has a manifest under its digest.
    pub fn has_manifest(&self, target: &Reference, digest: &Digest) -> Result<bool> {
        let url = self.url(target.registry(), &format!("{}/manifests/{digest}", target.repository()))?;
        let accept: Vec<_> =
            crate::manifest::ACCEPTED.iter().map(|kind| ("accept", (*kind).to_owned())).collect();
        let subject = format!("whether {} has {}", target.familiar(), digest.short());
        self.exists(target, &url, &accept, &subject)
    }

    fn exists(
        &self,
        target: &Reference,
        url: &str,
        headers: &[(&'static str, String)],
        subject: &str,
    ) -> Result<bool> {
        let response = self.call(Call {
            method: Method::HEAD,
            registry: target.registry(),
            scopes: &[push_scope(target.repository())],
            url,
            headers,
            load: Load::Empty,
            subject,
        })?;
        Ok(response.status() == StatusCode::OK)
    }

    /// Sends a manifest or an index under `name`, a tag or its own digest. All that it names must be there.
    pub fn push_manifest(
        &self,
        target: &Reference,
        name: &str,
        media_type: &str,
        bytes: &[u8],
        cancel: &AtomicBool,
    ) -> Result<Digest> {
        let digest = Digest::of(bytes);
        let registry = target.registry();
        let url = self.url(registry, &format!("{}/manifests/{name}", target.repository()))?;
        let subject = format!("a push of {}", target.familiar());
        self.persist(&Stop { outside: cancel, inside: AtomicBool::new(false) }, || {
            let response = self.call(Call {
                method: Method::PUT,
                registry,
                scopes: &[push_scope(target.repository())],
                url: &url,
                headers: &[("content-type", media_type.to_owned())],
                load: Load::Bytes(bytes),
                subject: &subject,
            })?;
            match response.status() {
                StatusCode::CREATED => {}
                status if status.is_success() => {
                    let message = "it does not answer as a registry does".to_owned();
                    let (registry, subject) = (registry.to_owned(), subject.clone());
                    return Err(RegistryError::Status {
                        registry,
                        status: status.as_u16(),
                        subject,
                        message,
                    });
                }
                _ => return Err(refusal(target, &subject, response)),
            }
            let stored =
                response.headers().get("docker-content-digest").and_then(|value| value.to_str().ok());
            match stored.map(str::parse::<Digest>) {
                Some(Ok(stored)) if stored != digest => Err(RegistryError::Corrupt {
                    subject: subject.clone(),
                    reason: format!("the registry stored {stored} instead of {digest}"),
                }),
                _ => Ok(digest),
            }
        })
    }

    /// Tries again what may pass, with growing pauses.
    fn persist<T>(&self, stop: &Stop<'_>, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
        let mut attempts = 0;
        loop {
            let error = match attempt() {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            attempts += 1;
            if attempts > self.options.retries || !passes(&error) {
                return Err(error);
            }
            self.rest(attempts, &error, stop)?;
        }
    }

    /// Waits before a further attempt; a caller that gives up need not wait for that.
    fn rest(&self, attempts: u32, error: &RegistryError, stop: &Stop<'_>) -> Result<()> {
        let until = Instant::now() + self.pause(attempts, error).min(LONGEST_PAUSE);
        while Instant::now() < until {
            if stop.is_set() {
                return Err(RegistryError::Cancelled);
            }
            std::thread::sleep(
                Duration::from_millis(20).min(until.saturating_duration_since(Instant::now())),
            );
        }
        if stop.is_set() { Err(RegistryError::Cancelled) } else { Ok(()) }
    }
}

/// Says when work must stop: the caller's wish, or the failure of a sibling.
struct Stop<'a> {
    outside: &'a AtomicBool,
    inside: AtomicBool,
}

impl Stop<'_> {
    fn is_set(&self) -> bool {
        self.outside.load(Ordering::Relaxed) || self.inside.load(Ordering::Relaxed)
    }
}

fn push_scope(repository: &str) -> String {
    format!("repository:{repository}:pull,push")
}

/// Returns whether the same request may succeed a little later. Whoever pushes has done the work already, so that a
/// registry that only asks for patience is waited for.
fn passes(error: &RegistryError) -> bool {
    match error {
        RegistryError::RateLimited { retry_after, .. } => {
            retry_after.is_none_or(|seconds| Duration::from_secs(seconds) <= LONGEST_PAUSE)
        }
        other => may_pass(other),
    }
}

/// Returns the error that a refused upload stands for.
fn refusal(target: &Reference, subject: &str, response: ureq::http::Response<ureq::Body>) -> RegistryError {
    let missing = response.status() == StatusCode::NOT_FOUND;
    match status_error(target.registry(), subject, response) {
        RegistryError::Status { registry, message, .. } if missing => {
            RegistryError::NoRepository { registry, repository: target.repository().to_owned(), message }
        }
        other => other,
    }
}
