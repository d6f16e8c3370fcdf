//! Contexts of every kind from the command line: what is built of them, and that nothing of them stays.

mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Outcome, SOON, coracle, eventually, holds, ready};

/// Roots and files of one test.
struct World(tempfile::TempDir);

impl World {
    fn new() -> Self {
        let world = Self(tempfile::tempdir().expect("a directory"));
        world.write("context/Dockerfile", "FROM scratch\nCOPY a.txt /a\n");
        world.write("context/a.txt", "hello");
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a file has a parent")).expect("a directory");
        fs::write(path, text).expect("a file");
    }

    fn call(&self, words: &[&str]) -> support::Call {
        let root = |name: &str| self.path(name).to_string_lossy().into_owned();
        coracle(["build", "-q"])
            .args(words)
            .dir(self.0.path())
            .env("CORACLE_DATA_ROOT", &root("data"))
            .env("CORACLE_RUN_ROOT", &root("run"))
    }

    #[track_caller]
    fn id(&self, words: &[&str]) -> String {
        let outcome: Outcome = self.call(words).run().ok();
        assert_eq!(self.left(), 0, "{outcome}");
        outcome.stdout
    }

    /// Returns how many files of contexts are left in the data root.
    fn left(&self) -> usize {
        fs::read_dir(self.path("data/tmp")).map_or(0, Iterator::count)
    }

    fn tar(&self, flag: &str) -> Vec<u8> {
        let output =
            Command::new("tar").args(["-C", "context", flag, "-c", "."]).current_dir(self.0.path()).output();
        output.expect("tar runs").stdout
    }
}

/// Runs git with nobody's configuration.
fn git(directory: &Path, words: &[&str]) {
    let name = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"];
    let status = Command::new("git").args(name).args(words).current_dir(directory).status();
    assert!(status.expect("git runs").success(), "git {words:?}");
}

#[test]
fn the_same_files_give_the_same_image_whatever_they_come_as() {
    if !ready() {
        return;
    }
    let world = World::new();
    let id = world.id(&["context"]);
    for flag in ["--no-auto-compress", "-z", "-J"] {
        let bytes = world.tar(flag);
        fs::write(world.path("context.tar"), &bytes).expect("a file");
        assert_eq!(world.id(&["context.tar"]), id, "{flag}");
        let piped = world.call(&["-"]).input(bytes).run().ok();
        assert_eq!((piped.stdout.as_str(), world.left()), (id.as_str(), 0), "{flag}");
    }
    let text = "FROM scratch\nCOPY a.txt /a\n";
    assert_eq!(world.call(&["-f", "-", "context"]).input(text).run().ok().stdout, id);
    let named = "FROM scratch\nCOPY --from=files a.txt /a\n";
    world.call(&["--build-context", "files=context", "-"]).input(named).run().ok();
}

#[test]
fn repositories_are_built_at_a_reference_and_named_when_it_is_none() {
    if !ready() {
        return;
    }
    let world = World::new();
    let id = world.id(&["context"]);
    let repository = world.path("context");
    git(&repository, &["init", "-q"]);
    git(&repository, &["add", "-A"]);
    git(&repository, &["commit", "-qm", "one"]);
    git(&repository, &["tag", "v1"]);
    world.write("context/a.txt", "other");
    git(&repository, &["commit", "-qam", "two"]);
    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let base = format!("--base-path={}", world.0.path().display());
    let mut daemon = Command::new("git")
        .args(["daemon", "--listen=127.0.0.1", &format!("--port={port}"), &base, "--export-all"])
        .arg(world.0.path())
        .spawn()
        .expect("git daemon starts");
    eventually("the daemon listens", SOON, || {
        holds(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok(), || "no answer".to_owned())
    });
    let url = format!("git://127.0.0.1:{port}/context");
    assert_eq!(world.id(&[&format!("{url}#v1")]), id);
    assert_ne!(world.id(&[&url]), id);
    world.call(&[&format!("{url}#v2")]).run().refuses(1, &["has no branch or tag `v2`", "it has main, v1"]);
    let _ = daemon.kill();
    let _ = daemon.wait();
}

#[test]
fn a_killed_download_leaves_nothing_after_the_next_command() {
    if !ready() {
        return;
    }
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nbegin");
        // Until the client is gone.
        let _ = stream.read(&mut [0; 1024]);
    });
    world.write("context/Dockerfile", &format!("FROM scratch\nADD http://{address}/x /\n"));
    let started = world.call(&["context"]).start();
    eventually("the download has begun", SOON, || {
        holds(world.left() > 0, || "nothing is being written".to_owned())
    });
    started.signal("KILL");
    let _ = started.finish();
    assert!(world.left() > 0, "a killed command removes nothing");
    world.write("context/Dockerfile", "FROM scratch\nCOPY a.txt /a\n");
    world.id(&["context"]);
}
