//! What a registry gives becomes snapshots, or nothing at all: a registry made of files on the loopback interface.

#![expect(clippy::unwrap_used, reason = "a test fails where it cannot go on, and says why")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use coracle_engine::{Engine, Options, Pull};
use coracle_oci::{Digest, Platform};
use coracle_report::Quiet;
use coracle_testkit::privileged;
use serde_json::json;

/// A registry of one repository, `app`; it remembers which blobs were asked for.
struct FileRegistry {
    root: tempfile::TempDir,
    host: String,
    asked: Arc<Mutex<Vec<String>>>,
}

/// How a layer is packed.
#[derive(Clone, Copy)]
enum Packing {
    Plain,
    Gzip,
    Zstd,
}

impl FileRegistry {
    fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (directory, seen) = (root.path().to_owned(), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (directory, seen) = (directory.clone(), Arc::clone(&seen));
                std::thread::spawn(move || answer(stream, &directory, &seen));
            }
        });
        for place in ["v2/app/manifests", "v2/app/blobs"] {
            std::fs::create_dir_all(root.path().join(place)).unwrap();
        }
        Self { root, host, asked }
    }

    fn blob(&self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        std::fs::write(self.path(&digest), bytes).unwrap();
        digest
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.root.path().join(format!("v2/app/blobs/{digest}"))
    }

    /// Publishes an image of compressed layers, each with the digest that the configuration says its content has.
    fn publish(&self, tag: &str, layers: &[(Vec<u8>, Digest)]) -> String {
        let diff_ids: Vec<String> = layers.iter().map(|(_, content)| content.to_string()).collect();
        let config = json!({
            "architecture": Platform::host().architecture, "os": "linux", "config": {"Cmd": ["/bin/true"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = serde_json::to_vec(&config).unwrap();
        let entries: Vec<_> = layers
            .iter()
            .map(|(bytes, _)| {
                let kind = match bytes.get(..4) {
                    Some([0x1f, 0x8b, ..]) => "tar+gzip",
                    Some([0x28, 0xb5, 0x2f, 0xfd]) => "tar+zstd",
                    _ => "tar",
                };
                json!({
                    "mediaType": format!("application/vnd.oci.image.layer.v1.{kind}"),
                    "digest": self.blob(bytes).to_string(), "size": bytes.len(),
                })
            })
            .collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": self.blob(&config).to_string(), "size": config.len(),
            },
            "layers": entries,
        });
        let place = self.root.path().join("v2/app/manifests").join(tag);
        std::fs::write(place, serde_json::to_vec(&manifest).unwrap()).unwrap();
        format!("{}/app:{tag}", self.host)
    }

    fn asked_for(&self, digest: &Digest) -> usize {
        self.asked.lock().unwrap().iter().filter(|path| path.contains(digest.hex().as_str())).count()
    }
}

fn answer(mut stream: TcpStream, root: &Path, asked: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let path = text.split(' ').nth(1).unwrap_or("/").to_owned();
    let found = std::fs::read(root.join(path.trim_start_matches('/')));
    asked.lock().unwrap().push(path);
    let status = if found.is_ok() { "200 OK" } else { "404 Not Found" };
    let body = found.unwrap_or_default();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(&body);
}

/// Returns an archive of files, and the same packed.
fn layer(files: &[(&str, &[u8])], packing: Packing) -> (Vec<u8>, Digest) {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, *content).unwrap();
    }
    let archive = archive.into_inner().unwrap();
    (pack(&archive, packing), Digest::of(&archive))
}

fn pack(bytes: &[u8], packing: Packing) -> Vec<u8> {
    match packing {
        Packing::Plain => bytes.to_vec(),
        Packing::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Packing::Zstd => zstd::encode_all(bytes, 1).unwrap(),
    }
}

/// An engine with roots of its own.
struct World {
    directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn open(&self, variables: &[(&str, &str)]) -> Engine {
        let options = Options {
            data_root: Some(self.directory.path().join("data")),
            run_root: Some(self.directory.path().join("run")),
            reporter: Arc::new(Quiet),
            environment: variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        };
        Engine::open(options).unwrap()
    }

    fn engine(&self) -> Engine {
        // No file of this machine's counts here.
        self.open(&[("CORACLE_REGISTRIES", "/nonexistent/registries.toml")])
    }

    /// Returns the files of all layers, without those that hold their place.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let output =
            Command::new("find").arg(self.directory.path().join("data")).args(["-type", "f"]).output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        let of_layers = text.lines().filter_map(|path| {
            let (_, inside) = path.split_once("/fs/")?;
            Some((inside.to_owned(), std::fs::read(path).unwrap()))
        });
        of_layers.collect()
    }

    /// Returns how many snapshots and beginnings of blobs there are.
    fn left(&self) -> (usize, usize) {
        let count = |name: &str| {
            let entries = std::fs::read_dir(self.directory.path().join("data").join(name));
            let names = entries.unwrap().flatten().map(|entry| entry.file_name().into_string().unwrap());
            names.filter(|name| !name.starts_with('.') && name != "chains").count()
        };
        (count("snapshots"), count("blobs/partial"))
    }
}

#[test]
fn every_packing_is_unpacked_and_a_layer_may_come_twice() {
    if !privileged() {
        return;
    }
    let registry = FileRegistry::start();
    let large: Vec<u8> =
        (0..3_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let twice = layer(&[("twice", b"2")], Packing::Gzip);
    let name = registry.publish(
        "1",
        &[
            layer(&[("plain", b"p"), ("changed", b"before")], Packing::Plain),
            twice.clone(),
            layer(&[("gzip", &large)], Packing::Gzip),
            twice.clone(),
            layer(&[("zstd", &large), ("changed", b"after")], Packing::Zstd),
        ],
    );
    let world = World::new();
    let image = world.engine().images().ensure(&name, Pull::Always, None).unwrap();
    assert!(image.snapshot.is_some());
    let files = world.files();
    assert_eq!(files["gzip"], large);
    assert_eq!(files["zstd"], large);
    assert_eq!(files["twice"], b"2");
    assert_eq!(registry.asked_for(&Digest::of(&twice.0)), 1);
    assert_eq!(world.left(), (5, 0));
    // Once more: only documents are asked for.
    let before = registry.asked.lock().unwrap().len();
    assert_eq!(world.engine().images().ensure(&name, Pull::Always, None).unwrap().id, image.id);
    assert!(registry.asked.lock().unwrap().len() - before <= 2);
}

#[test]
fn a_base_that_is_there_is_not_fetched_again() {
    if !privileged() {
        return;
    }
    let registry = FileRegistry::start();
    let base = layer(&[("base", &vec![7; 100_000])], Packing::Gzip);
    let first = registry.publish("1", &[base.clone(), layer(&[("one", b"1")], Packing::Gzip)]);
    let second = registry.publish("2", &[base.clone(), layer(&[("two", b"2")], Packing::Gzip)]);
    let world = World::new();
    world.engine().images().ensure(&first, Pull::Missing, None).unwrap();
    std::fs::remove_file(registry.path(&Digest::of(&base.0))).unwrap();
    world.engine().images().ensure(&second, Pull::Missing, None).unwrap();
    assert_eq!(world.left(), (3, 0));
}

#[test]
fn two_who_pull_the_same_fetch_it_once() {
    if !privileged() {
        return;
    }
    let registry = FileRegistry::start();
    let only = layer(&[("only", &vec![3; 4_000_000])], Packing::Zstd);
    let name = registry.publish("1", std::slice::from_ref(&only));
    let world = World::new();
    std::thread::scope(|scope| {
        let pulls: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| world.engine().images().ensure(&name, Pull::Always, None).unwrap().id))
            .collect();
        let ids: Vec<_> = pulls.into_iter().map(|pull| pull.join().unwrap()).collect();
        assert!(ids.iter().all(|id| *id == ids[0]));
    });
    assert_eq!(registry.asked_for(&Digest::of(&only.0)), 1);
    assert_eq!(world.left(), (1, 0));
}

#[test]
fn what_a_registry_lies_about_leaves_nothing() {
    if !privileged() {
        return;
    }
    let registry = FileRegistry::start();
    let good = layer(&[("good", b"g")], Packing::Gzip);
    let cut = {
        let (bytes, content) = layer(&[("cut", &vec![9; 500_000])], Packing::Gzip);
        (bytes[..bytes.len() / 2].to_vec(), content)
    };
    let escapes = {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..12].copy_from_slice(b"../../escape");
        header.set_size(1);
        header.set_cksum();
        archive.append(&header, &b"x"[..]).unwrap();
        let archive = archive.into_inner().unwrap();
        (archive.clone(), Digest::of(&archive))
    };
    let cases = [
        ("other-content", vec![good.clone(), (layer(&[("x", b"y")], Packing::Gzip).0, Digest::of(b"other"))]),
        ("cut-short", vec![cut]),
        ("no-archive", vec![(pack(b"this is no archive", Packing::Gzip), Digest::of(b"this is no archive"))]),
        ("empty", vec![(Vec::new(), Digest::of(b"something"))]),
        ("escape", vec![escapes]),
    ];
    for (tag, layers) in cases {
        let name = registry.publish(tag, &layers);
        let world = World::new();
        let failure = world.engine().images().ensure(&name, Pull::Missing, None).map(drop).unwrap_err();
        assert_eq!(failure.fault, coracle_engine::Fault::User, "{tag}: {failure}");
        assert_eq!(world.left(), (0, 0), "{tag}: {failure}");
        assert!(world.engine().images().list().unwrap().is_empty());
    }
    // Bytes that are not those of their digest.
    let name = registry.publish("changed", std::slice::from_ref(&good));
    std::fs::write(registry.path(&Digest::of(&good.0)), vec![0; good.0.len()]).unwrap();
    let world = World::new();
    let failure = world.engine().images().ensure(&name, Pull::Missing, None).map(drop).unwrap_err();
    assert!(failure.to_string().contains("is sha256:"), "{failure}");
    assert_eq!(world.left(), (0, 0));
}

#[test]
fn a_mirror_is_asked_first_and_the_registry_when_the_mirror_has_nothing() {
    if !privileged() {
        return;
    }
    let (mirror, registry) = (FileRegistry::start(), FileRegistry::start());
    let content = layer(&[("from", b"somewhere")], Packing::Gzip);
    mirror.publish("both", std::slice::from_ref(&content));
    let name = registry.publish("both", std::slice::from_ref(&content));
    let only = registry.publish("only", std::slice::from_ref(&content));
    let world = World::new();
    let file = world.directory.path().join("registries.toml");
    std::fs::write(&file, format!("[registry.'{}']\nmirrors = ['http://{}']\n", registry.host, mirror.host))
        .unwrap();
    let engine = world.open(&[("CORACLE_REGISTRIES", file.to_str().unwrap())]);
    engine.images().ensure(&name, Pull::Missing, None).unwrap();
    assert_eq!(registry.asked.lock().unwrap().len(), 0);
    engine.images().ensure(&only, Pull::Missing, None).unwrap();
    assert!(!registry.asked.lock().unwrap().is_empty());
    // What cannot be understood asks nobody.
    std::fs::write(&file, "mirror = 'x'\n").unwrap();
    let failure = world
        .open(&[("CORACLE_REGISTRIES", file.to_str().unwrap())])
        .images()
        .ensure(&format!("{}/app:new", registry.host), Pull::Missing, None)
        .map(drop)
        .unwrap_err();
    assert!(failure.to_string().contains("registries.toml"), "{failure}");
}
