//! Pushes to registries on the loopback interface: one that behaves, Debian's, and every way in which one can fail.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod debian;
#[path = "../pull/server.rs"]
#[allow(dead_code, reason = "the pull tests use the rest")]
mod server;
mod uploads;

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use coracle_oci::{Digest, Reference};
use coracle_registry::{
    BlobSource, Client, CredentialStore, Credentials, Options, PushBlob, PushedBlob, RegistryError,
};
use coracle_report::Quiet;

use crate::server::{Answer, Server};
use crate::uploads::Uploads;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
static NEVER: AtomicBool = AtomicBool::new(false);

fn client(credentials: CredentialStore) -> Client {
    let options = Options {
        retry_pause: Duration::from_millis(1),
        connect_timeout: Duration::from_secs(5),
        stall_timeout: Duration::from_secs(5),
        ..Options::default()
    };
    Client::new(credentials, options)
}

fn target(host: &str) -> Reference {
    format!("{host}/team/app:1").parse().unwrap()
}

/// Bytes that no compression or shortcut makes small.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    })
    .take(length)
    .collect()
}

fn push(host: &str, known: bool, bytes: &Vec<u8>) -> Result<PushedBlob, RegistryError> {
    let known = known.then(|| (Digest::of(bytes), bytes.len() as u64));
    let blob = PushBlob { label: "it".to_owned(), known, mount_from: vec![], source: bytes };
    client(CredentialStore::default())
        .push_blobs(&target(host), &[blob], &Quiet, None, &NEVER)
        .map(|pushed| pushed[0])
}

#[test]
fn small_and_large_and_nameless_blobs_arrive_once() {
    let uploads = Uploads::default();
    let server = uploads.serve();
    for (bytes, known) in
        [(noise(100), true), (noise(900_000), true), (noise(900_001), false), (vec![], true)]
    {
        let pushed = push(&server.host(), known, &bytes).unwrap();
        assert_eq!((pushed.digest, pushed.size, pushed.sent), (Digest::of(&bytes), bytes.len() as u64, true));
        assert_eq!(uploads.blob(&pushed.digest).unwrap(), bytes);
    }
    let sent = uploads.received();
    assert!(!push(&server.host(), true, &noise(900_000)).unwrap().sent);
    assert_eq!(uploads.received(), sent);
}

#[test]
fn a_blob_is_mounted_where_the_registry_can() {
    let uploads = Uploads::default();
    let server = uploads.serve();
    let bytes = noise(500_000);
    uploads.put("team/base", &bytes);
    let known = Some((Digest::of(&bytes), bytes.len() as u64));
    for (from, sent) in [(vec!["other".to_owned()], true), (vec!["team/base".to_owned()], false)] {
        uploads.forget("team/app");
        let blob = PushBlob { label: "it".to_owned(), known, mount_from: from, source: &bytes };
        let client = client(CredentialStore::default());
        let pushed = client.push_blobs(&target(&server.host()), &[blob], &Quiet, None, &NEVER).unwrap();
        assert_eq!(pushed[0].sent, sent);
    }
    assert_eq!(uploads.open(), 0, "an upload that a refused mount began is given up");
}

#[test]
fn an_upload_goes_on_where_it_broke_off() {
    let bytes = noise(3_000_000);
    let uploads = Uploads { break_after: Some((1_000_000, 2)), ..Uploads::default() };
    let server = uploads.serve();
    let pushed = push(&server.host(), false, &bytes).unwrap();
    assert_eq!(uploads.blob(&pushed.digest).unwrap(), bytes);
    // Each byte was taken once.
    assert_eq!(uploads.received(), bytes.len() as u64);
}

#[test]
fn a_forgotten_upload_begins_anew_and_not_for_ever() {
    let bytes = noise(1_000_000);
    let uploads = Uploads { forget: 2, ..Uploads::default() };
    let server = uploads.serve();
    assert!(push(&server.host(), true, &bytes).unwrap().sent);
    let uploads = Uploads { forget: 1000, ..Uploads::default() };
    let server = uploads.serve();
    let error = push(&server.host(), true, &bytes).unwrap_err();
    assert!(error.to_string().contains("forgotten"), "{error}");
}

#[test]
fn what_may_pass_is_tried_again() {
    for status in [500, 502, 503, 429] {
        let counts: Mutex<HashMap<String, u32>> = Mutex::default();
        let uploads = Uploads::default();
        let inner = uploads.clone();
        let server = Server::start(move |seen| {
            let mut counts = counts.lock().unwrap();
            let count = counts.entry(seen.method.clone()).or_default();
            *count += 1;
            if *count <= 2 {
                return Some(Answer::new(status, "busy"));
            }
            inner.answer(seen)
        });
        let pushed = push(&server.host(), true, &noise(1000)).unwrap();
        assert!(uploads.blob(&pushed.digest).is_some(), "{status}");
    }
    let server = Server::start(|_| Some(Answer::new(503, "down for good")));
    let error = push(&server.host(), true, &noise(1000)).unwrap_err();
    assert!(matches!(error, RegistryError::Status { status: 503, .. }), "{error:?}");
}

#[test]
fn refusals_say_what_they_are() {
    let denied =
        r#"{"errors": [{"code": "DENIED", "message": "requested access to the resource is denied"}]}"#;
    let unknown =
        r#"{"errors": [{"code": "NAME_UNKNOWN", "message": "repository name not known to registry"}]}"#;
    let html = "<!DOCTYPE html><html>Sign in</html>";
    for (status, body, says) in [
        (403, denied, "denies access to a push of it to 127.0.0.1"),
        (404, unknown, "has no repository team/app: repository name not known"),
        (200, html, "a web page, as if it were no registry"),
        (404, html, "a web page"),
        (405, "", "answered 405"),
        (413, "", "answered 413"),
    ] {
        let server = Server::start(move |seen| match &*seen.method {
            "HEAD" => Some(Answer::new(404, "")),
            _ => Some(Answer::new(status, body)),
        });
        let error = push(&server.host(), true, &noise(1000)).unwrap_err();
        assert!(error.to_string().contains(says), "{status}: {error}");
        let error = client(CredentialStore::default())
            .push_manifest(&target(&server.host()), "1", MANIFEST, b"{}", &NEVER)
            .unwrap_err();
        assert!(!error.is_unreachable(), "{status}: {error}");
    }
}

#[test]
fn an_upload_is_not_led_elsewhere_with_our_token() {
    let other = Server::start(|_| Some(Answer::new(500, "")));
    let elsewhere = format!("http://{}/v2/upload", other.host());
    let server = Server::start(move |seen| match &*seen.method {
        "HEAD" => Some(Answer::new(404, "")),
        _ if !seen.headers.contains_key("authorization") => {
            Some(Answer::new(401, "").header("www-authenticate", "Basic realm=\"x\""))
        }
        _ => Some(Answer::new(202, "").header("location", elsewhere.clone())),
    });
    let mut credentials = CredentialStore::default();
    let secret = Credentials::Basic { username: "u".to_owned(), password: "p".to_owned() };
    credentials.set(&server.host(), secret);
    let bytes = noise(1000);
    let blob = PushBlob {
        label: "it".to_owned(),
        known: Some((Digest::of(&bytes), 1000)),
        mount_from: vec![],
        source: &bytes,
    };
    client(credentials).push_blobs(&target(&server.host()), &[blob], &Quiet, None, &NEVER).unwrap_err();
    assert!(!other.seen().is_empty());
    assert!(other.seen().iter().all(|seen| !seen.headers.contains_key("authorization")));
}

#[test]
fn a_token_is_asked_for_with_the_right_scopes() {
    let uploads = Uploads::default();
    let inner = uploads.clone();
    let server = Server::start(move |seen| {
        if seen.path.starts_with("/token") {
            let scoped =
                seen.path.contains("team%2Fapp%3Apull%2Cpush") || seen.path.contains("team/app:pull,push");
            return Some(Answer::new(200, format!(r#"{{"token": "{scoped}"}}"#)));
        }
        if seen.headers.get("authorization").map(String::as_str) != Some("Bearer true") {
            let realm = format!("Bearer realm=\"http://{}/token\",service=\"s\"", seen.headers["host"]);
            return Some(Answer::new(401, "").header("www-authenticate", realm));
        }
        inner.answer(seen)
    });
    let pushed = push(&server.host(), true, &noise(1000)).unwrap();
    assert!(uploads.blob(&pushed.digest).is_some());
    let tokens = server.seen().iter().filter(|seen| seen.path.starts_with("/token")).count();
    assert_eq!(tokens, 1);
}

#[test]
fn a_source_that_fails_sends_nothing_that_counts() {
    struct Failing;
    impl BlobSource for Failing {
        fn open(&self) -> io::Result<Box<dyn Read + Send + '_>> {
            let rest = Read::chain(io::repeat(7).take(2_000_000), Broken);
            Ok(Box::new(rest))
        }
    }
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    let uploads = Uploads::default();
    let server = uploads.serve();
    let blob = PushBlob { label: "it".to_owned(), known: None, mount_from: vec![], source: &Failing };
    let error = client(CredentialStore::default())
        .push_blobs(&target(&server.host()), &[blob], &Quiet, None, &NEVER)
        .unwrap_err();
    assert!(
        matches!(&error, RegistryError::Source { source, .. } if source.to_string().contains("gone")),
        "{error:?}"
    );
    assert_eq!(uploads.blobs(), 0);
}

#[test]
fn a_cancelled_push_ends() {
    let server = Server::start(|seen| (seen.method != "HEAD").then(|| Answer::new(503, "")));
    let cancel = AtomicBool::new(true);
    let bytes = noise(10);
    let blob = PushBlob { label: "it".to_owned(), known: None, mount_from: vec![], source: &bytes };
    let client = client(CredentialStore::default());
    let error = client.push_blobs(&target(&server.host()), &[blob], &Quiet, None, &cancel).unwrap_err();
    assert!(matches!(error, RegistryError::Cancelled), "{error:?}");
}

#[test]
fn a_registry_that_stores_another_manifest_is_caught() {
    let other = Digest::of("other").to_string();
    let server =
        Server::start(move |_| Some(Answer::new(201, "").header("docker-content-digest", other.clone())));
    let error = client(CredentialStore::default())
        .push_manifest(&target(&server.host()), "1", MANIFEST, b"{}", &NEVER)
        .unwrap_err();
    assert!(matches!(error, RegistryError::Corrupt { .. }), "{error:?}");
}
