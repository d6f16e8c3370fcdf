//! Pulls from a registry on the loopback interface: what works, and every way in which a registry can fail.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod server;

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use coracle_oci::{Digest, Platform, Reference};
use coracle_registry::{
    BlobSink, BlobWriter, Client, CommitError, Compression, CredentialStore, Credentials, Options,
    RegistryError, Resolved,
};
use coracle_report::{Event, Outcome, Quiet, Reporter};

use crate::server::{Answer, Seen, Server};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// Keeps blobs in memory, partial ones too.
#[derive(Default)]
struct Memory {
    partial: Mutex<HashMap<Digest, Vec<u8>>>,
    done: Mutex<HashMap<Digest, Vec<u8>>>,
    room: Option<usize>,
}

struct MemoryBlob<'a> {
    memory: &'a Memory,
    digest: Digest,
    bytes: Vec<u8>,
}

impl BlobSink for Memory {
    fn open(&self, digest: &Digest, _: u64) -> io::Result<Option<Box<dyn BlobWriter + '_>>> {
        if self.done.lock().unwrap().contains_key(digest) {
            return Ok(None);
        }
        let bytes = self.partial.lock().unwrap().remove(digest).unwrap_or_default();
        Ok(Some(Box::new(MemoryBlob { memory: self, digest: *digest, bytes })))
    }
}

impl Write for MemoryBlob<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.memory.room.is_some_and(|room| self.bytes.len() + bytes.len() > room) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobWriter for MemoryBlob<'_> {
    fn written(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn restart(&mut self) -> io::Result<()> {
        self.bytes.clear();
        Ok(())
    }

    fn commit(mut self: Box<Self>) -> Result<(), CommitError> {
        let bytes = std::mem::take(&mut self.bytes);
        let actual = Digest::of(&bytes);
        if actual != self.digest {
            return Err(CommitError::Mismatch(actual));
        }
        self.memory.done.lock().unwrap().insert(self.digest, bytes);
        Ok(())
    }
}

impl Drop for MemoryBlob<'_> {
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            self.memory.partial.lock().unwrap().insert(self.digest, std::mem::take(&mut self.bytes));
        }
    }
}

fn client() -> Client {
    client_as(CredentialStore::default())
}

fn client_as(credentials: CredentialStore) -> Client {
    let options = Options { retry_pause: Duration::from_millis(1), ..Options::default() };
    Client::new(credentials, options)
}

fn basic() -> Credentials {
    Credentials::Basic { username: "me".to_owned(), password: "secret".to_owned() }
}

fn amd64() -> Platform {
    "linux/amd64".parse().unwrap()
}

fn reference(server: &Server, rest: &str) -> Reference {
    format!("{}/{rest}", server.host()).parse().unwrap()
}

fn layer(number: u8) -> Vec<u8> {
    (0..300_000u32).map(|at| (at % 251) as u8 ^ number).collect()
}

/// Puts an image with these layers into a server and returns its manifest's digest.
fn publish(server: &Server, tag: &str, layers: &[Vec<u8>], architecture: &str) -> Digest {
    let diff_ids: Vec<_> =
        layers.iter().map(|bytes| Digest::of([b"plain", bytes.as_slice()].concat())).collect();
    let config = serde_json::json!({
        "architecture": architecture, "os": "linux", "config": {"Env": ["A=b"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = serde_json::to_vec(&config).unwrap();
    let config_digest = server.put_blob("team/app", &config);
    let layers: Vec<_> = layers
        .iter()
        .map(|bytes| {
            serde_json::json!({
                "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                "digest": server.put_blob("team/app", bytes), "size": bytes.len(),
            })
        })
        .collect();
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": config_digest, "size": config.len(),
        },
        "layers": layers,
    });
    server.put_manifest("team/app", tag, MANIFEST, &serde_json::to_vec(&manifest).unwrap())
}

fn pull(server: &Server, memory: &Memory) -> Result<Resolved, RegistryError> {
    client().pull(&reference(server, "team/app:1"), &amd64(), memory, &Quiet, None)
}

#[test]
fn pulls_an_image_and_then_nothing_again() {
    let server = Server::honest();
    let layers: Vec<_> = (0..6).map(layer).collect();
    let digest = publish(&server, "1", &layers, "amd64");
    let memory = Memory::default();
    let resolved = pull(&server, &memory).unwrap();
    assert_eq!(resolved.manifest_digest, digest);
    assert_eq!(Digest::of(&resolved.manifest), digest);
    assert_eq!(Digest::of(&resolved.config), resolved.config_digest);
    assert_eq!(resolved.image.config.env, ["A=b"]);
    assert_eq!(resolved.layers.len(), 6);
    assert_eq!(resolved.layers[0].compression, Compression::Gzip);
    for (bytes, described) in layers.iter().zip(&resolved.layers) {
        assert_eq!(memory.done.lock().unwrap()[&described.digest], *bytes);
        assert_eq!(described.size, 300_000);
    }
    let before = server.seen().len();
    pull(&server, &memory).unwrap();
    assert_eq!(server.seen().len(), before + 2, "only manifest and configuration are asked for again");
    client().ping(&server.host()).unwrap();
}

#[test]
fn chooses_the_platform_from_an_index() {
    for (index_type, list) in [(INDEX, "oci"), (DOCKER_LIST, "docker")] {
        let server = Server::honest();
        let arm = publish(&server, "arm", &[layer(1)], "arm64");
        let amd = publish(&server, "amd", &[layer(2)], "amd64");
        let entry = |digest: Digest, os: &str, architecture: &str| {
            serde_json::json!({"mediaType": MANIFEST, "digest": digest, "size": 1,
                "platform": {"os": os, "architecture": architecture}})
        };
        let index = serde_json::json!({"schemaVersion": 2, "mediaType": index_type, "manifests": [
            entry(Digest::of("attestation"), "unknown", "unknown"),
            entry(arm, "linux", "arm64"), entry(amd, "linux", "amd64"),
        ]});
        let index = serde_json::to_vec(&index).unwrap();
        let index_digest = server.put_manifest("team/app", list, index_type, &index);
        let by_digest = format!("team/app@{index_digest}");
        for name in [&format!("team/app:{list}"), &by_digest] {
            let resolved = client().resolve(&reference(&server, name), &amd64()).unwrap();
            assert_eq!(resolved.manifest_digest, amd);
        }
        let error = client().resolve(&reference(&server, &by_digest), &"linux/s390x".parse().unwrap());
        let text = error.unwrap_err().to_string();
        assert!(text.ends_with("exists for linux/amd64, linux/arm64, but not for linux/s390x"), "{text}");
    }
}

#[test]
fn dockers_own_types_are_understood_and_older_ones_refused() {
    let server = Server::honest();
    let bytes = layer(0);
    let config = serde_json::json!({"architecture": "amd64", "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [Digest::of("x")]}});
    let config = serde_json::to_vec(&config).unwrap();
    let publish = |tag: &str, layer_type: &str| {
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": DOCKER_MANIFEST,
            "config": {"mediaType": "application/vnd.docker.container.image.v1+json",
                "digest": server.put_blob("team/app", &config), "size": config.len()},
            "layers": [{"mediaType": layer_type, "digest": server.put_blob("team/app", &bytes),
                "size": bytes.len()}],
        });
        server.put_manifest("team/app", tag, DOCKER_MANIFEST, &serde_json::to_vec(&manifest).unwrap());
    };
    publish("1", "application/vnd.docker.image.rootfs.diff.tar.gzip");
    pull(&server, &Memory::default()).unwrap();
    publish("foreign", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
    let old = br#"{"schemaVersion": 1, "name": "team/app", "fsLayers": []}"#;
    server.put_manifest("team/app", "old", "application/vnd.docker.distribution.manifest.v1+prettyjws", old);
    for tag in ["foreign", "old"] {
        let error = client().resolve(&reference(&server, &format!("team/app:{tag}")), &amd64()).unwrap_err();
        assert!(matches!(error, RegistryError::Unsupported { .. }), "{tag}: {error}");
    }
}

#[test]
fn a_transfer_that_breaks_off_goes_on() {
    let server = Server::start(|seen: &Seen| {
        // Every transfer ends after 100,000 bytes.
        if !seen.path.contains("/blobs/") {
            return None;
        }
        let bytes = layer(9);
        if !seen.path.ends_with(&Digest::of(&bytes).to_string()) {
            return None;
        }
        let from: usize = seen
            .headers
            .get("range")
            .map_or(0, |range| range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap());
        let answer = if from == 0 {
            Answer::new(200, bytes)
        } else {
            Answer::new(206, &bytes[from..]).header("content-range", format!("bytes {from}-299999/300000"))
        };
        Some(answer.cut(100_000))
    });
    publish(&server, "1", &[layer(9)], "amd64");
    let memory = Memory::default();
    pull(&server, &memory).unwrap();
    assert_eq!(memory.done.lock().unwrap()[&Digest::of(layer(9))], layer(9));
    let ranges: Vec<_> = server.seen().iter().filter_map(|seen| seen.headers.get("range").cloned()).collect();
    assert_eq!(ranges, ["bytes=100000-", "bytes=200000-"]);
}

#[test]
fn what_another_process_left_is_gone_on_with_or_replaced() {
    let server = Server::honest();
    publish(&server, "1", &[layer(3), layer(4)], "amd64");
    let memory = Memory::default();
    let (right, wrong) = (Digest::of(layer(3)), Digest::of(layer(4)));
    memory.partial.lock().unwrap().insert(right, layer(3)[..1000].to_vec());
    memory.partial.lock().unwrap().insert(wrong, vec![0; 1000]);
    pull(&server, &memory).unwrap();
    assert_eq!(memory.done.lock().unwrap().len(), 2);
    let asked = |digest: &Digest| -> Vec<_> {
        let of_digest = |seen: &Seen| seen.path.ends_with(&digest.to_string());
        let seen = server.seen();
        seen.iter().filter(|seen| of_digest(seen)).map(|seen| seen.headers.get("range").cloned()).collect()
    };
    assert_eq!(asked(&right), [Some("bytes=1000-".to_owned())]);
    assert_eq!(asked(&wrong), [Some("bytes=1000-".to_owned()), None]);
}

#[test]
fn a_registry_that_cannot_begin_in_the_middle_is_asked_from_the_beginning() {
    let server = Server::start(|seen: &Seen| {
        let bytes = layer(5);
        let ours = seen.path.ends_with(&Digest::of(&bytes).to_string());
        ours.then(|| Answer::new(200, bytes))
    });
    publish(&server, "1", &[layer(5)], "amd64");
    let memory = Memory::default();
    memory.partial.lock().unwrap().insert(Digest::of(layer(5)), layer(5)[..1000].to_vec());
    pull(&server, &memory).unwrap();
    assert_eq!(memory.done.lock().unwrap()[&Digest::of(layer(5))], layer(5));
}

#[test]
fn wrong_bytes_are_never_stored() {
    let wrong = |path_part: &'static str, change: fn(&mut Vec<u8>)| {
        move |server: &Server| {
            publish(server, "1", &[layer(6)], "amd64");
            let seen = server.seen().len();
            assert_eq!(seen, 0, "{path_part}");
            let mut bytes = layer(6);
            change(&mut bytes);
            server.put(&format!("team/app/blobs/{}", Digest::of(layer(6))), "x", &bytes);
        }
    };
    let flipped = wrong("flipped", |bytes| bytes[7] ^= 1);
    let longer = wrong("longer", |bytes| bytes.push(0));
    for spoil in [&flipped as &dyn Fn(&Server), &longer] {
        let server = Server::honest();
        spoil(&server);
        let memory = Memory::default();
        let error = pull(&server, &memory).unwrap_err();
        assert!(matches!(error, RegistryError::Corrupt { .. }), "{error}");
        assert!(memory.done.lock().unwrap().is_empty());
    }
    // A layer that stays too short is no success either.
    let server = Server::honest();
    publish(&server, "1", &[layer(6)], "amd64");
    server.put(&format!("team/app/blobs/{}", Digest::of(layer(6))), "x", &layer(6)[..10]);
    let error = pull(&server, &Memory::default()).unwrap_err();
    assert!(matches!(error, RegistryError::Interrupted { .. }), "{error}");
}

#[test]
fn wrong_documents_are_corrupt() {
    let server = Server::honest();
    let digest = publish(&server, "1", &[], "amd64");
    server.put(&format!("team/app/manifests/{digest}"), MANIFEST, b"{}");
    let pinned = reference(&server, &format!("team/app@{digest}"));
    let error = client().resolve(&pinned, &amd64()).unwrap_err();
    assert!(matches!(error, RegistryError::Corrupt { .. }), "{error}");

    let announced = Server::start(|seen: &Seen| {
        let other = Digest::of("other").to_string();
        seen.path.contains("manifests").then(|| Answer::new(200, "{}").header("docker-content-digest", other))
    });
    for (server, tag) in [(&announced, "1"), (&server, "html"), (&server, "empty")] {
        server.put("team/app/manifests/html", "text/html", b"<html>");
        server.put("team/app/manifests/empty", MANIFEST, b"");
        let error = client().resolve(&reference(server, &format!("team/app:{tag}")), &amd64()).unwrap_err();
        assert!(matches!(error, RegistryError::Corrupt { .. }), "{tag}: {error}");
    }

    let huge = Server::start(|seen: &Seen| {
        seen.path.contains("manifests").then(|| Answer::new(200, vec![b' '; 9 << 20]))
    });
    let error = client().resolve(&reference(&huge, "team/app:1"), &amd64()).unwrap_err();
    assert!(matches!(error, RegistryError::Corrupt { .. }), "{error}");
}

/// A registry that wants a token from its own second address.
fn guarded(user: Option<&'static str>) -> Server {
    Server::start(move |seen: &Seen| {
        if let Some(query) = seen.path.strip_prefix("/token?") {
            if seen.method == "POST" {
                return None;
            }
            assert!(
                query.contains("service=the%20registry") || query.contains("service=the+registry"),
                "{query}"
            );
            assert!(query.contains("scope=repository%3Ateam%2Fapp%3Apull"), "{query}");
            let allowed = seen.headers.get("authorization").map(String::as_str) == user;
            let denied = r#"{"errors": [{"code": "DENIED", "message": "wrong password"}]}"#;
            return Some(if allowed {
                Answer::new(200, r#"{"token": "t0k3n", "expires_in": 300}"#)
            } else {
                Answer::new(401, denied)
            });
        }
        if seen.path == "/token" {
            assert!(seen.body.contains("refresh_token=identity"), "{}", seen.body);
            return Some(Answer::new(200, r#"{"access_token": "t0k3n"}"#));
        }
        if seen.headers.get("authorization").map(String::as_str) == Some("Bearer t0k3n") {
            return None;
        }
        let realm = format!("http://{}/token", seen.headers["host"]);
        let challenge = format!(r#"Bearer realm="{realm}",service="the registry""#);
        Some(Answer::new(401, "{}").header("www-authenticate", challenge))
    })
}

#[test]
fn a_token_is_got_once_and_used_for_everything() {
    let server = guarded(None);
    publish(&server, "1", &[layer(0), layer(1), layer(2)], "amd64");
    pull(&server, &Memory::default()).unwrap();
    let tokens = server.seen().iter().filter(|seen| seen.path.starts_with("/token")).count();
    assert_eq!(tokens, 1);
    client().ping(&server.host()).unwrap();
}

#[test]
fn passwords_and_identity_tokens_are_exchanged() {
    // base64 of me:secret
    let server = guarded(Some("Basic bWU6c2VjcmV0"));
    publish(&server, "1", &[layer(0)], "amd64");
    let app = reference(&server, "team/app:1");
    let error = client().resolve(&app, &amd64()).unwrap_err();
    let RegistryError::Unauthorized { message, .. } = &error else { panic!("{error}") };
    assert_eq!(message, "wrong password");
    let mut credentials = CredentialStore::default();
    credentials.set(&server.host(), basic());
    client_as(credentials.clone()).resolve(&app, &amd64()).unwrap();
    credentials.set(&server.host(), Credentials::IdentityToken("identity".to_owned()));
    client_as(credentials).resolve(&app, &amd64()).unwrap();
}

#[test]
fn basic_authentication_works_without_a_token() {
    let server = Server::start(|seen: &Seen| {
        let allowed = seen.headers.get("authorization").map(String::as_str) == Some("Basic bWU6c2VjcmV0");
        (!allowed).then(|| Answer::new(401, "").header("www-authenticate", r#"Basic realm="x""#))
    });
    publish(&server, "1", &[layer(0)], "amd64");
    let app = reference(&server, "team/app:1");
    assert!(matches!(client().resolve(&app, &amd64()), Err(RegistryError::Unauthorized { .. })));
    let mut credentials = CredentialStore::default();
    credentials.set(&server.host(), basic());
    client_as(credentials).pull(&app, &amd64(), &Memory::default(), &Quiet, None).unwrap();
}

#[test]
fn credentials_do_not_follow_a_redirection_to_another_host() {
    let other = Server::honest();
    let bytes = layer(0);
    let blob = other.put_blob("elsewhere", &bytes);
    let target = format!("http://{}/v2/elsewhere/blobs/{blob}", other.host());
    let server = Server::start(move |seen: &Seen| {
        let allowed = seen.headers.get("authorization").map(String::as_str) == Some("Basic bWU6c2VjcmV0");
        if !allowed {
            return Some(Answer::new(401, "").header("www-authenticate", "Basic"));
        }
        seen.path
            .ends_with(&blob.to_string())
            .then(|| Answer::new(307, "").header("location", target.clone()))
    });
    publish(&server, "1", &[bytes], "amd64");
    let mut credentials = CredentialStore::default();
    credentials.set(&server.host(), basic());
    let app = reference(&server, "team/app:1");
    client_as(credentials).pull(&app, &amd64(), &Memory::default(), &Quiet, None).unwrap();
    assert_eq!(other.seen().len(), 1);
    assert!(!other.seen()[0].headers.contains_key("authorization"));
}

#[test]
fn failures_are_told_apart() {
    let server = Server::start(|seen: &Seen| {
        let answer = match seen.path.rsplit('/').next().unwrap() {
            "limited" => {
                Answer::new(429, r#"{"errors": [{"message": "slow down"}]}"#).header("retry-after", "60")
            }
            "forbidden" => Answer::new(403, "no\nentry\u{1b}[31m"),
            "broken" => Answer::new(503, "<html>oops</html>"),
            _ => return None,
        };
        Some(answer)
    });
    let fails =
        |tag: &str| client().resolve(&reference(&server, &format!("team/app:{tag}")), &amd64()).unwrap_err();
    let error = fails("limited");
    assert!(matches!(&error, RegistryError::RateLimited { retry_after: Some(60), .. }), "{error}");
    assert!(error.to_string().ends_with("slow down"));
    let error = fails("forbidden");
    let RegistryError::Unauthorized { message, .. } = &error else { panic!("{error}") };
    assert_eq!(message, "no entry [31m");
    let error = fails("broken");
    let RegistryError::Status { status: 503, message, .. } = &error else { panic!("{error}") };
    assert_eq!(message, "a web page, as if it were no registry");
    assert!(matches!(fails("missing"), RegistryError::NotFound(_)));
}

#[test]
fn an_unreachable_registry_is_remembered() {
    // A port that nobody listens on, since its listener is gone.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let host = format!("127.0.0.1:{port}");
    let client = client();
    let app: Reference = format!("{host}/app:1").parse().unwrap();
    let error = client.resolve(&app, &amd64()).unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    // Somebody listens now, and is not even asked.
    let listener = std::net::TcpListener::bind(&host).unwrap();
    listener.set_nonblocking(true).unwrap();
    assert!(client.ping(&host).unwrap_err().is_unreachable());
    assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    // No such host, by a name that never exists (RFC 6761).
    let app: Reference = "registry.invalid/app:1".parse().unwrap();
    assert!(client.resolve(&app, &amd64()).unwrap_err().is_unreachable());
}

#[test]
fn something_that_is_no_tls_server_is_unreachable() {
    // Any address of this machine but loopback, for there no TLS would be spoken. Nothing is sent.
    let probe = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let address = probe.connect("192.0.2.1:9").and_then(|()| probe.local_addr()).map(|address| address.ip());
    let Ok(address) = address else {
        assert!(std::env::var_os("CI").is_none(), "needs a network interface");
        eprintln!("SKIPPED: needs a network interface besides loopback");
        return;
    };
    let listener = std::net::TcpListener::bind((address, 0)).unwrap();
    let host = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let error = client().ping(&host).unwrap_err();
    assert!(error.is_unreachable(), "{error}");
}

#[test]
fn a_full_disk_ends_the_pull_and_says_so() {
    let server = Server::honest();
    publish(&server, "1", &[layer(0), layer(1)], "amd64");
    let memory = Memory { room: Some(10_000), ..Memory::default() };
    let error = pull(&server, &memory).unwrap_err();
    let RegistryError::Sink { source, .. } = &error else { panic!("{error}") };
    assert_eq!(source.kind(), io::ErrorKind::StorageFull);
}

#[test]
fn servers_that_recover_are_asked_again_and_others_not_for_ever() {
    let tries = AtomicU32::new(0);
    let blob = Digest::of(layer(0)).to_string();
    let server = Server::start(move |seen: &Seen| {
        let fails = seen.path.ends_with(&blob) && tries.fetch_add(1, Ordering::SeqCst) < 3;
        fails.then(|| Answer::new(502, ""))
    });
    publish(&server, "1", &[layer(0)], "amd64");
    pull(&server, &Memory::default()).unwrap();

    let blob = Digest::of(layer(0)).to_string();
    let server = Server::start(move |seen: &Seen| seen.path.ends_with(&blob).then(|| Answer::new(502, "")));
    publish(&server, "1", &[layer(0)], "amd64");
    let error = pull(&server, &Memory::default()).unwrap_err();
    assert!(matches!(error, RegistryError::Status { status: 502, .. }), "{error}");
    let asked = server.seen().iter().filter(|seen| seen.path.contains("/blobs/")).count();
    assert_eq!(asked, 1 + 5, "the configuration, then one try and four more");
}

#[derive(Default)]
struct Recorder(Mutex<Vec<Event>>);

impl Reporter for Recorder {
    fn event(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

#[test]
fn progress_is_reported_for_every_layer() {
    let server = Server::honest();
    publish(&server, "1", &[layer(0), layer(1), layer(0)], "amd64");
    let (memory, recorder) = (Memory::default(), Recorder::default());
    client().pull(&reference(&server, "team/app:1"), &amd64(), &memory, &recorder, None).unwrap();
    let events = recorder.0.into_inner().unwrap();
    let count = |wanted: fn(&Event) -> bool| events.iter().filter(|event| wanted(event)).count();
    assert_eq!(
        count(|event| matches!(event, Event::Started { .. })),
        2,
        "a layer that is there twice comes once"
    );
    assert_eq!(count(|event| matches!(event, Event::Finished { outcome: Outcome::Done, .. })), 2);
    let complete =
        |event: &Event| matches!(event, Event::Progress { done: 300_000, total: Some(300_000), .. });
    assert_eq!(count(complete), 2);
}
