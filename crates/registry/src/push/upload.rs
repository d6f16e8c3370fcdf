//! One blob: asked for, mounted, or sent; gone on with where the transfer broke off.

use std::cell::RefCell;
use std::io::{self, Read};

use coracle_oci::{Digest, Reference, Sha256Writer};
use coracle_report::{Task, Unit};
use ureq::http::{Method, Response, StatusCode};

use super::{PushBlob, PushedBlob, Stop, passes, push_scope, refusal};
use crate::call::{Call, Load, locate};
use crate::client::Client;
use crate::error::{RegistryError, Result};

/// Blobs up to this length go in one request.
const SMALL: u64 = 256 << 10;
/// Bytes between two reports of progress.
const STEP: u64 = 512 << 10;

/// Reads a source while it is sent: counts, hashes, reports, and skips what the registry has.
struct Feed<'a> {
    source: Box<dyn Read + Send + 'a>,
    hash: Sha256Writer<io::Sink>,
    read: u64,
    reported: u64,
    total: Option<u64>,
    task: &'a Task<'a>,
    stop: &'a Stop<'a>,
    /// Why reading failed, which the connection's error hides; and that the end was seen.
    failure: &'a RefCell<Option<io::Error>>,
    ended: bool,
}

impl Feed<'_> {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let mut buffer = vec![0; 64 << 10];
        while self.read < bytes {
            let want = buffer.len().min(usize::try_from(bytes - self.read).unwrap_or(usize::MAX));
            if self.read(&mut buffer[..want])? == 0 {
                return Err(io::Error::other("it became shorter between two attempts"));
            }
        }
        Ok(())
    }
}

impl Read for Feed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_set() {
            return Err(io::Error::other("cancelled"));
        }
        let count = loop {
            match self.source.read(buffer) {
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let copy = io::Error::new(error.kind(), error.to_string());
                    *self.failure.borrow_mut() = Some(error);
                    return Err(copy);
                }
            }
        };
        io::Write::write_all(&mut self.hash, &buffer[..count])?;
        self.read += count as u64;
        self.ended |= count == 0 && !buffer.is_empty();
        if self.read - self.reported >= STEP || count == 0 {
            self.reported = self.read;
            self.task.progress(self.read, self.total, Unit::Bytes);
        }
        Ok(count)
    }
}

impl Client {
    pub(super) fn push_blob(
        &self,
        target: &Reference,
        blob: &PushBlob<'_>,
        task: &Task<'_>,
        stop: &Stop<'_>,
    ) -> Result<PushedBlob> {
        if let Some((digest, size)) = blob.known {
            let there = self.persist(stop, || self.has_blob(target, &digest))?;
            if there || self.mounted(target, blob, &digest, stop)? {
                return Ok(PushedBlob { digest, size, sent: false });
            }
        }
        let subject = format!("a push of {} to {}", blob.label, target.familiar());
        let (mut attempts, mut furthest) = (0, 0);
        let mut upload: Option<(String, u64)> = None;
        loop {
            let (location, from) = match upload.take() {
                Some(begun) => begun,
                None => (self.persist(stop, || self.begin(target, &subject))?, 0),
            };
            let mut reached = 0;
            let error =
                match self.send_blob(target, blob, &location, from, &mut reached, &subject, task, stop) {
                    Ok(pushed) => return Ok(pushed),
                    Err(_) if stop.is_set() => return Err(RegistryError::Cancelled),
                    Err(error) => error,
                };
            let held = if passes(&error) { self.progress_of(target, &location, &subject) } else { None };
            // Only an attempt that came further than all before does not count.
            let held_bytes = held.as_ref().map_or(0, |(_, bytes)| *bytes);
            attempts = if held_bytes > furthest { 1 } else { attempts + 1 };
            furthest = furthest.max(held_bytes);
            if attempts > self.options.retries || !passes(&error) {
                return Err(error);
            }
            // More than was sent by us is not ours.
            upload = held.filter(|(_, bytes)| *bytes <= reached);
            self.rest(attempts, &error, stop)?;
        }
    }

    /// Asks the registry to take a blob from another of its repositories. A refusal only costs the sending.
    fn mounted(
        &self,
        target: &Reference,
        blob: &PushBlob<'_>,
        digest: &Digest,
        stop: &Stop<'_>,
    ) -> Result<bool> {
        for from in blob.mount_from.iter().filter(|from| *from != target.repository()) {
            if stop.is_set() {
                return Err(RegistryError::Cancelled);
            }
            let path = format!(
                "{}/blobs/uploads/?mount={digest}&from={}",
                target.repository(),
                from.replace('/', "%2F")
            );
            let url = self.url(target.registry(), &path)?;
            let scopes = [push_scope(target.repository()), format!("repository:{from}:pull")];
            let answer = self.call(Call {
                method: Method::POST,
                registry: target.registry(),
                scopes: &scopes,
                url: &url,
                headers: &[],
                load: Load::Empty,
                subject: &format!("taking {} from {from}", blob.label),
            });
            match answer {
                Ok(response) if response.status() == StatusCode::CREATED => return Ok(true),
                Ok(response) if response.status() == StatusCode::ACCEPTED => {
                    // The registry has begun an upload instead, which we do not use.
                    if let Some(location) = location_of(&url, &response) {
                        self.give_up(target, &location);
                    }
                }
                Ok(_) | Err(_) => {}
            }
        }
        Ok(false)
    }

    /// Begins an upload and returns where it goes on.
    fn begin(&self, target: &Reference, subject: &str) -> Result<String> {
        let url = self.url(target.registry(), &format!("{}/blobs/uploads/", target.repository()))?;
        let response = self.call(Call {
            method: Method::POST,
            registry: target.registry(),
            scopes: &[push_scope(target.repository())],
            url: &url,
            headers: &[],
            load: Load::Empty,
            subject,
        })?;
        if response.status() != StatusCode::ACCEPTED {
            return Err(refusal(target, subject, response));
        }
        location_of(&url, &response).ok_or_else(|| RegistryError::Status {
            registry: target.registry().to_owned(),
            status: response.status().as_u16(),
            subject: subject.to_owned(),
            message: "it does not say where the upload goes".to_owned(),
        })
    }

    /// Sends what follows the first `from` bytes, and ends the upload. `reached` says how many bytes were read.
    #[expect(clippy::too_many_arguments, reason = "one attempt of a loop whose state these are")]
    fn send_blob(
        &self,
        target: &Reference,
        blob: &PushBlob<'_>,
        location: &str,
        from: u64,
        reached: &mut u64,
        subject: &str,
        task: &Task<'_>,
        stop: &Stop<'_>,
    ) -> Result<PushedBlob> {
        let failure = RefCell::new(None);
        let source = |source| RegistryError::Source { subject: blob.label.clone(), source };
        let total = blob.known.map(|(_, size)| size);
        let mut feed = Feed {
            source: blob.source.open().map_err(source)?,
            hash: Sha256Writer::new(io::sink()),
            read: 0,
            reported: 0,
            total,
            task,
            stop,
            failure: &failure,
            ended: false,
        };
        let scopes = [push_scope(target.repository())];
        let registry = target.registry();
        let call = |method, url: &str, headers: &[(&'static str, String)], load: Load<'_>| {
            self.call(Call { method, registry, scopes: &scopes, url, headers, load, subject })
        };
        let octets = ("content-type", "application/octet-stream".to_owned());
        if from == 0
            && let Some(size) = total.filter(|size| *size <= SMALL)
        {
            let mut bytes = Vec::new();
            feed.read_to_end(&mut bytes).map_err(source)?;
            let digest = Digest::of(&bytes);
            let url = with_digest(location, &digest);
            let response = call(Method::PUT, &url, &[octets], Load::Bytes(&bytes))?;
            *reached = bytes.len() as u64;
            return match response.status() {
                StatusCode::CREATED => Ok(PushedBlob { digest, size: bytes.len() as u64, sent: true }),
                _ => Err(failed(target, subject, size, response)),
            };
        }
        feed.skip(from).map_err(source)?;
        let mut headers = vec![octets];
        if from > 0 {
            let end = total.map_or_else(String::new, |total| total.saturating_sub(1).to_string());
            headers.push(("content-range", format!("{from}-{end}")));
        }
        let sent = call(Method::PATCH, location, &headers, Load::Stream(&mut feed, None));
        *reached = feed.read;
        let ended = feed.ended;
        let (_, digest, size) = feed.hash.finish();
        if let Some(error) = failure.take() {
            self.give_up(target, location);
            return Err(source(error));
        }
        let response = sent?;
        if response.status() != StatusCode::ACCEPTED && !response.status().is_success() {
            return Err(failed(target, subject, size, response));
        }
        if !ended {
            return Err(RegistryError::Broken {
                registry: registry.to_owned(),
                subject: subject.to_owned(),
                reason: "the registry answered before everything was sent".to_owned(),
            });
        }
        let location = location_of(location, &response).unwrap_or_else(|| location.to_owned());
        let url = with_digest(&location, &digest);
        let response = call(Method::PUT, &url, &[], Load::Empty)?;
        if response.status() != StatusCode::CREATED {
            return Err(failed(target, subject, size, response));
        }
        Ok(PushedBlob { digest, size, sent: true })
    }

    /// Asks how much of an upload the registry has, and where it goes on; `None` when it knows nothing of it.
    fn progress_of(&self, target: &Reference, location: &str, subject: &str) -> Option<(String, u64)> {
        let response = self
            .call(Call {
                method: Method::GET,
                registry: target.registry(),
                scopes: &[push_scope(target.repository())],
                url: location,
                headers: &[],
                load: Load::Empty,
                subject,
            })
            .ok()?;
        if response.status() != StatusCode::NO_CONTENT {
            return None;
        }
        // `0-0` is said of an empty upload as well as of one byte: the latter is not worth going on with.
        let range = response.headers().get("range")?.to_str().ok()?;
        let last: u64 = range.trim_start_matches("bytes=").split_once('-')?.1.trim().parse().ok()?;
        let next = location_of(location, &response).unwrap_or_else(|| location.to_owned());
        (last > 0).then_some((next, last + 1))
    }

    /// Lets the registry forget an upload, as a courtesy.
    fn give_up(&self, target: &Reference, location: &str) {
        let _ = self.call(Call {
            method: Method::DELETE,
            registry: target.registry(),
            scopes: &[push_scope(target.repository())],
            url: location,
            headers: &[],
            load: Load::Empty,
            subject: "an upload",
        });
    }
}

/// An upload that the registry no longer knows, or of which it has other bytes than we think, begins anew.
fn failed(target: &Reference, subject: &str, size: u64, response: Response<ureq::Body>) -> RegistryError {
    let status = response.status();
    match refusal(target, subject, response) {
        RegistryError::NoRepository { registry, .. } => RegistryError::Broken {
            registry,
            subject: subject.to_owned(),
            reason: "the registry has forgotten the upload".to_owned(),
        },
        RegistryError::Status { registry, message, .. } if status == StatusCode::PAYLOAD_TOO_LARGE => {
            let message = format!("{size} bytes are too many for it. {message}").trim().to_owned();
            RegistryError::Status { registry, status: status.as_u16(), subject: subject.to_owned(), message }
        }
        RegistryError::Status { registry, message, .. }
            if matches!(status, StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::BAD_REQUEST) =>
        {
            let reason = format!("it answered {status}: {message}");
            RegistryError::Broken { registry, subject: subject.to_owned(), reason }
        }
        other => other,
    }
}

fn location_of(base: &str, response: &Response<ureq::Body>) -> Option<String> {
    locate(base, response.headers().get("location")?.to_str().ok()?)
}

fn with_digest(location: &str, digest: &Digest) -> String {
    let separator = if location.contains('?') { '&' } else { '?' };
    format!("{location}{separator}digest={digest}")
}
