//! Files by HTTP, kept between builds: an unchanged file costs one conditional request.
//!
//! A download is streamed into a throw-away directory and renamed when it is whole. Kept files never change; those
//! that were used longest ago go.

mod kept;
mod transfer;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use coracle_oci::Digest;
use coracle_report::Diagnostic;
use coracle_store::{FileLock, Layout};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use ureq::Agent;
use ureq::http::{HeaderMap, StatusCode};
use ureq::tls::{RootCerts, TlsConfig};

pub(crate) use self::kept::kept_downloads;
use self::transfer::{Stopped, Transfer, Wanted};
use super::Throwaway;
use crate::{During, Engine, Failure, Result, stored};

/// Most bytes of one file.
const LARGEST: u64 = 64 << 30;
/// Files that are kept between builds, and their bytes.
const KEPT: usize = 256;
const KEPT_BYTES: u64 = 16 << 30;
/// How often a transfer that failed for a passing reason is tried again, and the first pause.
const RETRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(300);
/// Longest pause that a server may ask for (`Retry-After`).
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const MOST_REDIRECTS: u32 = 10;

/// Bounds on one transfer.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Time for reaching a host.
    pub connect: Duration,
    /// Time without a byte.
    pub stall: Duration,
    /// Most bytes.
    pub bytes: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), stall: Duration::from_secs(30), bytes: LARGEST }
    }
}

/// A file that was fetched, and stays until its [`Downloads`] are dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Where it lies; its modification time is the server's `Last-Modified`.
    pub path: PathBuf,
    /// Its name, by the server's `Content-Disposition` or else the URL.
    pub name: String,
    /// The digest of its bytes.
    pub digest: Digest,
    /// What the server calls it, e.g. `text/html`.
    pub kind: String,
}

/// What is remembered of a URL.
#[derive(Debug, Serialize, Deserialize)]
struct Known {
    url: String,
    etag: Option<String>,
    last_modified: Option<String>,
    name: String,
    digest: Digest,
    kind: String,
}

/// Files of one build by HTTP.
pub struct Downloads {
    layout: Layout,
    environment: BTreeMap<String, String>,
    bounds: Bounds,
    /// Held with others, so that nothing in use is removed.
    using: Option<FileLock>,
}

impl Downloads {
    /// Opens the downloads.
    pub fn new(engine: &Engine) -> Result<Self> {
        Self::open(&engine.layout, engine.environment.clone(), Bounds::default())
    }

    fn open(layout: &Layout, environment: BTreeMap<String, String>, bounds: Bounds) -> Result<Self> {
        let using = FileLock::shared(&layout.downloads().join("lock")).during("opening the downloads")?;
        Ok(Self { layout: layout.clone(), environment, bounds, using: Some(using) })
    }

    /// Fetches a URL, or takes the kept file when the server says that it is unchanged.
    pub fn get(&self, url: &str, cancel: &AtomicBool) -> Result<Fetched> {
        let during = "keeping a download";
        let address = url.split('#').next().unwrap_or(url);
        let id = Digest::of(address).hex();
        let directory = self.layout.downloads();
        let record = directory.join(format!("{id}.json"));
        let _lock = self.lock(&directory.join(format!("{id}.lock")), cancel)?;
        let known = stored::read::<Known>(&record).ok().flatten();
        let known = known.filter(|known| place(&directory, &id, &known.digest).is_file());
        let mut pause = PAUSE;
        for attempt in 0.. {
            if cancel.load(Ordering::Relaxed) {
                return Err(cancelled());
            }
            match self.attempt(address, &id, known.as_ref(), cancel) {
                Ok(Some(new)) => {
                    let path = place(&directory, &id, &new.digest);
                    if let Some(old) = known.as_ref().filter(|old| old.digest != new.digest) {
                        // Another build may be copying it.
                        let _ = touch(&place(&directory, &id, &old.digest));
                    }
                    stored::write_fast(&record, &new).during(during)?;
                    return Ok(Fetched { path, name: new.name, digest: new.digest, kind: new.kind });
                }
                Ok(None) => {
                    let known = known.expect("only what is known can be unchanged");
                    let path = place(&directory, &id, &known.digest);
                    touch(&record).during(during)?;
                    return Ok(Fetched { path, name: known.name, digest: known.digest, kind: known.kind });
                }
                Err(Attempt::Passing(_, wait)) if attempt < RETRIES => {
                    transfer::pause(wait.unwrap_or(pause), cancel);
                    pause *= 2;
                }
                Err(Attempt::Passing(failure, _) | Attempt::Final(failure)) => return Err(failure),
            }
        }
        unreachable!("the last attempt returns")
    }

    /// Returns the kept file when the server says that it is unchanged. Asks for the head at most, and for nothing when the
    /// file is not kept; `None` also when there is no answer.
    pub fn unchanged(&self, url: &str, cancel: &AtomicBool) -> Option<Fetched> {
        let address = url.split('#').next().unwrap_or(url);
        let id = Digest::of(address).hex();
        let directory = self.layout.downloads();
        let known = stored::read::<Known>(&directory.join(format!("{id}.json"))).ok().flatten()?;
        let path = place(&directory, &id, &known.digest);
        if !path.is_file() || (known.etag.is_none() && known.last_modified.is_none()) {
            return None;
        }
        let agent = self.agent(address).ok()?;
        let transfer = Transfer::start(agent, Wanted::Head, address, conditions(Some(&known)), cancel);
        let (status, headers) = transfer.head().ok()?;
        let same = || {
            // Some servers answer a HEAD without looking at its conditions.
            known.etag.is_some() && header(&headers, "etag") == known.etag
                || known.etag.is_none() && header(&headers, "last-modified") == known.last_modified
        };
        let unchanged = status == StatusCode::NOT_MODIFIED || status == StatusCode::OK && same();
        unchanged.then_some(Fetched { path, name: known.name, digest: known.digest, kind: known.kind })
    }

    fn lock(&self, path: &Path, cancel: &AtomicBool) -> Result<Unlock> {
        loop {
            if let Some(lock) = FileLock::try_exclusive(path).during("waiting for a download")? {
                return Ok(Unlock(Some(lock)));
            }
            if cancel.load(Ordering::Relaxed) {
                return Err(cancelled());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn attempt(
        &self,
        url: &str,
        id: &str,
        known: Option<&Known>,
        cancel: &AtomicBool,
    ) -> Result<Option<Known>, Attempt> {
        let transfer = Transfer::start(self.agent(url)?, Wanted::Body, url, conditions(known), cancel);
        let (status, headers) = transfer.head().map_err(|stopped| early(url, stopped))?;
        match status {
            StatusCode::NOT_MODIFIED if known.is_some() => return Ok(None),
            StatusCode::OK => {}
            status => return Err(refused(url, status, header(&headers, "retry-after").as_deref())),
        }
        let header = |name: &str| header(&headers, name);
        let etag = header("etag");
        let last_modified = header("last-modified");
        let length: Option<u64> = header("content-length").and_then(|text| text.parse().ok());
        let kind = header("content-type").unwrap_or_default();
        let name = header("content-disposition").and_then(|text| disposition(&text));
        let name = name.unwrap_or_else(|| name_of(url));
        if length.is_some_and(|length| length > self.bounds.bytes) {
            return Err(self.too_large(url));
        }
        let work = Throwaway::new(&self.layout)?;
        let partial = work.path().join("partial");
        let digest = self.receive(url, &transfer, length, &partial)?;
        let keep = || -> std::io::Result<()> {
            let time = last_modified.as_deref().and_then(http_date).unwrap_or_else(SystemTime::now);
            File::options().write(true).open(&partial)?.set_modified(time)?;
            std::fs::rename(&partial, place(&self.layout.downloads(), id, &digest))
        };
        keep().during("keeping a download")?;
        Ok(Some(Known { url: url.to_owned(), etag, last_modified, name, digest, kind }))
    }

    fn receive(
        &self,
        url: &str,
        transfer: &Transfer<'_>,
        length: Option<u64>,
        partial: &Path,
    ) -> Result<Digest, Attempt> {
        let during = "writing a download";
        let mut file = File::create(partial).during(during)?;
        let mut hasher = Sha256::new();
        let mut count = 0;
        while let Some(bytes) = transfer.next().map_err(|stopped| early(url, stopped))? {
            count += bytes.len() as u64;
            if count > self.bounds.bytes {
                return Err(self.too_large(url));
            }
            hasher.update(&bytes);
            file.write_all(&bytes).during(during)?;
        }
        if let Some(length) = length.filter(|length| *length != count) {
            let why = format!("the server announced {length} bytes and sent {count}");
            return Err(Attempt::Passing(broken(url, &why), None));
        }
        Ok(Digest::from_raw(hasher.finalize().into()))
    }

    fn too_large(&self, url: &str) -> Attempt {
        let message = format!("{url} is larger than {} bytes", self.bounds.bytes);
        Attempt::Final(Failure::user(Diagnostic::error("download-too-large", message)))
    }

    fn agent(&self, url: &str) -> Result<Agent, Attempt> {
        // The platform's verifier: a company's own certificate authority counts.
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(MOST_REDIRECTS)
            .timeout_resolve(Some(self.bounds.connect))
            .timeout_connect(Some(self.bounds.connect))
            .timeout_recv_response(Some(self.bounds.stall))
            .timeout_per_read(Some(self.bounds.stall))
            .user_agent(concat!("coracle/", env!("CARGO_PKG_VERSION")))
            .proxy(self.proxy(url)?)
            .build();
        Ok(config.into())
    }

    /// Returns the proxy that the caller's variables name for a URL.
    fn proxy(&self, url: &str) -> Result<Option<ureq::Proxy>, Attempt> {
        let variable = |name: &str| {
            let lower = self.environment.get(name);
            lower
                .or_else(|| self.environment.get(&name.to_ascii_uppercase()))
                .filter(|value| !value.is_empty())
        };
        let scheme = if url.starts_with("https:") { "https_proxy" } else { "http_proxy" };
        let Some(proxy) = variable(scheme).or_else(|| variable("all_proxy")) else { return Ok(None) };
        let host = url.split_once("://").map_or("", |(_, rest)| rest);
        let host = host.split(['/', '?']).next().unwrap_or_default();
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or(rest),
            None => host.split(':').next().unwrap_or(host),
        };
        if is_direct(host, variable("no_proxy").map_or("", String::as_str)) {
            return Ok(None);
        }
        ureq::Proxy::new(proxy).map(Some).map_err(|error| {
            let message = format!("the proxy `{proxy}` of {scheme} cannot be used: {error}");
            Attempt::Final(Failure::user(Diagnostic::error("bad-proxy", message)))
        })
    }
}

impl Drop for Downloads {
    fn drop(&mut self) {
        self.using = None;
        bound(&self.layout.downloads());
    }
}

/// Removes the lock's file when it is given up, so that URLs leave nothing behind.
struct Unlock(Option<FileLock>);

impl Drop for Unlock {
    fn drop(&mut self) {
        if let Some(lock) = self.0.take() {
            let _ = lock.remove();
        }
    }
}

/// How an attempt failed.
enum Attempt {
    /// The next may do better, after a pause when the server asks for one.
    Passing(Failure, Option<Duration>),
    Final(Failure),
}

impl From<Failure> for Attempt {
    fn from(failure: Failure) -> Self {
        Self::Final(failure)
    }
}

/// Removes the files that were used longest ago when there are too many, unless another build uses some.
fn bound(directory: &Path) {
    let files = |extension: &str| {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let all = entries
            .filter(|entry| entry.path().extension().map_or("", |e| e.to_str().unwrap_or("")) == extension);
        all.filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            Some((metadata.modified().ok()?, metadata.len(), entry.path()))
        })
        .collect::<Vec<_>>()
    };
    let bytes: u64 = files("body").iter().map(|(_, length, _)| length).sum();
    let mut records = files("json");
    if records.len() <= KEPT && bytes <= KEPT_BYTES {
        return;
    }
    let lock = directory.join("lock");
    // Upgraded by nobody: whoever drops last finds it free.
    let Ok(Some(_alone)) = FileLock::try_exclusive(&lock) else { return };
    records.sort();
    let excess = (records.len() / 2).max(1);
    for (_, _, path) in records.into_iter().take(excess) {
        let _ = std::fs::remove_file(path);
    }
    let kept: Vec<String> = files("json")
        .iter()
        .filter_map(|(_, _, path)| {
            let known = stored::read::<Known>(path).ok().flatten()?;
            Some(place(directory, path.file_stem()?.to_str()?, &known.digest).to_string_lossy().into_owned())
        })
        .collect();
    for (_, _, path) in files("body") {
        if !kept.iter().any(|kept| Path::new(kept) == path) {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn place(directory: &Path, id: &str, digest: &Digest) -> PathBuf {
    directory.join(format!("{}-{}.body", &id[..32], digest.hex()))
}

fn touch(path: &Path) -> std::io::Result<()> {
    File::options().append(true).open(path)?.set_modified(SystemTime::now())
}

/// Reads a time as HTTP writes it.
fn http_date(text: &str) -> Option<SystemTime> {
    let time = jiff::fmt::rfc2822::parse(text).ok()?;
    let seconds = u64::try_from(time.timestamp().as_second()).ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// Returns the file name of a `Content-Disposition` header.
fn disposition(header: &str) -> Option<String> {
    let fields = header.split(';').skip(1);
    let value = fields
        .filter_map(|field| field.trim().split_once('='))
        .find(|(name, _)| name.eq_ignore_ascii_case("filename"))?;
    safe_name(value.1.trim().trim_matches('"'))
}

/// Returns the last part of a URL's path; `download` when there is none, as in BuildKit.
fn name_of(url: &str) -> String {
    let path = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let last = path.split_once('/').map(|(_, path)| path.rsplit('/').next().unwrap_or_default());
    let last = last.map(|name| percent_encoding::percent_decode_str(name).decode_utf8_lossy().into_owned());
    last.and_then(|name| safe_name(&name)).unwrap_or_else(|| "download".to_owned())
}

/// Returns a name that is one part of a path.
fn safe_name(name: &str) -> Option<String> {
    let name = name.rsplit('/').next().unwrap_or_default();
    let safe = !name.is_empty() && name != "." && name != ".." && name.len() <= 255;
    (safe && !name.contains(char::is_control)).then(|| name.to_owned())
}

/// Returns whether `no_proxy` exempts a host.
fn is_direct(host: &str, no_proxy: &str) -> bool {
    no_proxy.split(',').map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        let entry = entry.split_once(':').map_or(entry, |(entry, _)| entry);
        let domain = entry.trim_start_matches("*.").trim_start_matches('.');
        entry == "*"
            || host.eq_ignore_ascii_case(domain)
            || host.to_ascii_lowercase().ends_with(&format!(".{}", domain.to_ascii_lowercase()))
    })
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// Returns the headers that ask for a file only if it is another than the kept one.
fn conditions(known: Option<&Known>) -> Vec<(&'static str, String)> {
    let mut headers = vec![("accept", "*/*".to_owned())];
    if let Some(known) = known {
        if let Some(etag) = &known.etag {
            headers.push(("if-none-match", etag.clone()));
        } else if let Some(time) = &known.last_modified {
            headers.push(("if-modified-since", time.clone()));
        }
    }
    headers
}

fn early(url: &str, stopped: Stopped) -> Attempt {
    match stopped {
        Stopped::Cancelled => cancelled().into(),
        Stopped::Unanswered(error) => transport(url, &error),
        Stopped::Broken(why) => Attempt::Passing(broken(url, &why), None),
    }
}

fn broken(url: &str, why: &str) -> Failure {
    let message = format!("downloading {url} broke off: {why}");
    Failure::user(Diagnostic::error("download-failed", message))
}

fn cancelled() -> Failure {
    Failure::user(Diagnostic::error("cancelled", "the build was cancelled"))
}

fn transport(url: &str, error: &ureq::Error) -> Attempt {
    let (why, hint, passes) = match error {
        ureq::Error::HostNotFound => {
            ("its host has no address".to_owned(), "check the spelling and the network", true)
        }
        ureq::Error::ConnectionFailed => {
            ("the connection was refused".to_owned(), "is the server running?", true)
        }
        ureq::Error::Timeout(kind) => {
            (format!("no answer in time ({kind})"), "is a proxy needed? set https_proxy", true)
        }
        ureq::Error::TooManyRedirects => {
            ("it redirects too often".to_owned(), "follow it by hand: curl -IL URL", false)
        }
        ureq::Error::Io(error) => (error.to_string(), "is the server running? is a proxy needed?", true),
        other => {
            let text = other.to_string();
            let tls = text.to_ascii_lowercase().contains("certificate")
                || matches!(other, ureq::Error::Tls(_) | ureq::Error::Rustls(_));
            let hint = if tls {
                "the server's certificate is not trusted here: name your authority's bundle with SSL_CERT_FILE"
            } else {
                "check the URL"
            };
            (text, hint, false)
        }
    };
    let error = Diagnostic::error("download-failed", format!("cannot download {url}: {why}"));
    let failure = Failure::user(error.with_hint(hint));
    if passes { Attempt::Passing(failure, None) } else { Attempt::Final(failure) }
}

/// Reads `Retry-After`: seconds, or a time.
fn wait_of(text: &str) -> Option<Duration> {
    let text = text.trim();
    let seconds = text.parse().ok().map(Duration::from_secs);
    seconds.or_else(|| http_date(text).map(|time| time.duration_since(SystemTime::now()).unwrap_or_default()))
}

fn refused(url: &str, status: StatusCode, retry_after: Option<&str>) -> Attempt {
    let error =
        Diagnostic::error("download-failed", format!("cannot download {url}: the server answered {status}"));
    let passes = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
    let hint = match status.as_u16() {
        404 | 410 => "check the URL: there is nothing at it",
        401 | 403 => "the server wants a login; fetch it in a RUN step with a secret",
        _ if passes => "try again later",
        _ => "check the URL",
    };
    let wait = retry_after.and_then(wait_of);
    let error = match wait {
        Some(wait) => error.with_note(format!("it asks to wait {} seconds", wait.as_secs())),
        None => error,
    };
    let failure = Failure::user(error.with_hint(hint));
    // Who is to wait longer than that is better told so.
    let passes = passes && wait.is_none_or(|wait| wait <= LONGEST_PAUSE);
    if passes { Attempt::Passing(failure, wait) } else { Attempt::Final(failure) }
}

#[cfg(test)]
mod tests;
