//! A registry's upload protocol in memory, with faults that can be asked for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use coracle_oci::Digest;

use crate::server::{Answer, Seen, Server};

#[derive(Default)]
pub struct State {
    blobs: HashMap<(String, Digest), Vec<u8>>,
    uploads: HashMap<String, Vec<u8>>,
    next: u32,
    received: u64,
    breaks: u32,
    forgotten: u32,
}

/// Clones share what they store.
#[derive(Clone, Default)]
pub struct Uploads {
    pub state: Arc<Mutex<State>>,
    /// Takes so many bytes of a stream and then answers 502, so often.
    pub break_after: Option<(usize, u32)>,
    /// Forgets an upload once it was written to, so often.
    pub forget: u32,
}

impl Uploads {
    pub fn serve(&self) -> Server {
        let inner = self.clone();
        Server::start(move |seen| inner.answer(seen))
    }

    pub fn put(&self, repository: &str, bytes: &[u8]) {
        let key = (repository.to_owned(), Digest::of(bytes));
        self.state.lock().unwrap().blobs.insert(key, bytes.to_vec());
    }

    pub fn forget(&self, repository: &str) {
        self.state.lock().unwrap().blobs.retain(|(kept, _), _| kept != repository);
    }

    pub fn blob(&self, digest: &Digest) -> Option<Vec<u8>> {
        let state = self.state.lock().unwrap();
        state.blobs.iter().find(|((_, key), _)| key == digest).map(|(_, bytes)| bytes.clone())
    }

    pub fn blobs(&self) -> usize {
        self.state.lock().unwrap().blobs.len()
    }

    /// Uploads that were begun and neither ended nor given up.
    pub fn open(&self) -> usize {
        self.state.lock().unwrap().uploads.len()
    }

    /// Bytes that uploads have taken.
    pub fn received(&self) -> u64 {
        self.state.lock().unwrap().received
    }

    pub fn answer(&self, seen: &Seen) -> Option<Answer> {
        let mut state = self.state.lock().unwrap();
        let (path, query) = seen.path.split_once('?').unwrap_or((&seen.path, ""));
        let query: HashMap<&str, &str> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let (repository, rest) = path.strip_prefix("/v2/")?.split_once("/blobs/")?;
        let location = |id: &str| format!("/v2/{repository}/blobs/uploads/{id}?state=x");
        if let Some(id) = rest.strip_prefix("uploads/") {
            if seen.method == "POST" {
                if let (Some(digest), Some(from)) = (query.get("mount"), query.get("from")) {
                    let digest: Digest = digest.parse().unwrap();
                    let found = state.blobs.get(&(from.replace("%2F", "/"), digest)).cloned();
                    if let Some(bytes) = found {
                        state.blobs.insert((repository.to_owned(), digest), bytes);
                        return Some(Answer::new(201, ""));
                    }
                }
                state.next += 1;
                let id = state.next.to_string();
                state.uploads.insert(id.clone(), Vec::new());
                return Some(Answer::new(202, "").header("location", location(&id)));
            }
            let Some(mut bytes) = state.uploads.remove(id) else { return Some(Answer::new(404, "")) };
            return Some(match &*seen.method {
                "DELETE" => Answer::new(204, ""),
                "GET" => {
                    let range = format!("0-{}", bytes.len().saturating_sub(1));
                    state.uploads.insert(id.to_owned(), bytes);
                    Answer::new(204, "").header("range", range).header("location", location(id))
                }
                "PATCH" => {
                    if let Some(range) = seen.headers.get("content-range")
                        && !range.starts_with(&format!("{}-", bytes.len()))
                    {
                        return Some(Answer::new(416, ""));
                    }
                    let mut body = seen.bytes.as_slice();
                    let broken = match self.break_after {
                        Some((after, times)) if state.breaks < times => {
                            state.breaks += 1;
                            body = &body[..after.min(body.len())];
                            true
                        }
                        _ => false,
                    };
                    bytes.extend_from_slice(body);
                    state.received += body.len() as u64;
                    if state.forgotten < self.forget {
                        state.forgotten += 1;
                    } else {
                        state.uploads.insert(id.to_owned(), bytes);
                    }
                    if broken {
                        Answer::new(502, "")
                    } else {
                        Answer::new(202, "").header("location", location(id))
                    }
                }
                "PUT" => {
                    bytes.extend_from_slice(&seen.bytes);
                    state.received += seen.bytes.len() as u64;
                    let digest: Digest = query["digest"].parse().unwrap();
                    if Digest::of(&bytes) != digest {
                        return Some(Answer::new(400, r#"{"errors": [{"code": "DIGEST_INVALID"}]}"#));
                    }
                    state.blobs.insert((repository.to_owned(), digest), bytes);
                    Answer::new(201, "")
                }
                _ => Answer::new(405, ""),
            });
        }
        let key = (repository.to_owned(), rest.parse().ok()?);
        Some(match (&*seen.method, state.blobs.get(&key)) {
            ("HEAD", Some(_)) => Answer::new(200, ""),
            ("GET", Some(bytes)) => Answer::new(200, bytes.clone()),
            _ => Answer::new(404, ""),
        })
    }
}
