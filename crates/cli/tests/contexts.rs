//! Contexts of every kind from the command line: what is built of them, and that nothing of them stays.

mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use support::{Files, Outcome, SOON, Snapshot, coracle, eventually, holds, ready};

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

/// A server of the world's repositories, which ends with this value.
struct Daemon(Child, u16);

impl Daemon {
    fn start(world: &World) -> Self {
        let output = Command::new("git").arg("--exec-path").output().expect("git runs");
        let place = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()).join("git-daemon");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
        let root = world.0.path();
        let child = Command::new(place)
            .args(["--listen=127.0.0.1", "--reuseaddr", "--export-all", &format!("--port={port}")])
            .arg(format!("--base-path={}", root.display()))
            .arg(root)
            .stderr(Stdio::null())
            .spawn()
            .expect("git daemon starts");
        let daemon = Self(child, port);
        eventually("the daemon listens", SOON, || {
            holds(TcpStream::connect(("127.0.0.1", port)).is_ok(), || "no answer".to_owned())
        });
        daemon
    }

    fn url(&self, name: &str) -> String {
        format!("git://127.0.0.1:{}/{name}", self.1)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Makes a repository of a directory's files and returns its commit.
fn commit(directory: &Path) -> String {
    git(directory, &["init", "-q"]);
    git(directory, &["add", "-A"]);
    git(directory, &["commit", "-qm", "one"]);
    let output = Command::new("git").args(["rev-parse", "HEAD"]).current_dir(directory).output();
    String::from_utf8_lossy(&output.expect("git runs").stdout).trim().to_owned()
}

/// One member of a tar archive as it stands there, whatever its name.
fn member(name: &str, kind: u8, link: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0; 512];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000644\x000000000\x000000000\x00");
    put(124, format!("{:011o}\x0000000000000\x00        ", content.len()).as_bytes());
    put(156, &[kind]);
    put(157, link.as_bytes());
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\x00 ").as_bytes());
    let mut bytes = header.to_vec();
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// A server that answers every request with the same file and keeps the requests' first lines.
fn serve(body: &'static str) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/x", listener.local_addr().expect("an address"));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a client");
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                request.push(byte[0]);
            }
            let request = String::from_utf8_lossy(&request).into_owned();
            let head = request.starts_with("HEAD");
            log.lock().expect("a log").push(request.lines().next().unwrap_or_default().to_owned());
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\netag: \"1\"\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
            );
            let _ = stream.write_all(answer.as_bytes());
            if !head {
                let _ = stream.write_all(body.as_bytes());
            }
        }
    });
    (url, asked)
}

/// A server that takes connections and says nothing.
fn silent() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming() {
            held.push(stream);
        }
    });
    port
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
    let daemon = Daemon::start(&world);
    let url = daemon.url("context");
    assert_eq!(world.id(&[&format!("{url}#v1")]), id);
    assert_ne!(world.id(&[&url]), id);
    world.call(&[&format!("{url}#v2")]).run().refuses(1, &["has no branch or tag `v2`", "it has main, v1"]);
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

#[test]
fn a_killed_archive_on_standard_input_leaves_nothing_after_the_next_command() {
    if !ready() {
        return;
    }
    let world = World::new();
    let before = Snapshot::take(Files::Records);
    let root = |name: &str| world.path(name);
    let program = std::env::var_os("CORACLE_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_coracle").into());
    let mut child = Command::new(program)
        .args(["build", "-q", "-"])
        .envs([("CORACLE_DATA_ROOT", root("data")), ("CORACLE_RUN_ROOT", root("run"))])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(&world.tar("-v")[..600]).expect("it reads");
    eventually("the archive is being kept", SOON, || {
        holds(world.left() > 1, || "nothing is being written".to_owned())
    });
    child.kill().expect("it lives");
    child.wait().expect("it ends");
    assert!(world.left() > 0, "a killed command removes nothing");
    world.id(&["context"]);
    before.nothing_is_left();
}

#[test]
fn hostile_archives_write_nowhere_else() {
    if !ready() {
        return;
    }
    let world = World::new();
    let outside = world.path("outside");
    fs::create_dir(&outside).expect("a directory");
    let out = outside.to_str().expect("a path");
    let dockerfile = member("Dockerfile", b'0', "", b"FROM scratch\nCOPY . /\n");
    let end = [0; 1024];
    let archive =
        |members: &[Vec<u8>]| [std::slice::from_ref(&dockerfile), members, &[end.to_vec()]].concat().concat();
    let up = "../".repeat(12);
    // What leads out by its name is refused.
    for name in [format!("..{out}/evil"), format!("{up}{}/evil", &out[1..]), "a/../../evil".to_owned()] {
        let bytes = archive(&[member(&name, b'0', "", b"evil")]);
        world.call(&["-"]).input(bytes).run().refuses(1, &["standard input", "evil"]);
    }
    // Absolute names and links mean places in the context, whatever they lead to.
    let absolute = format!("{out}/evil");
    let inside = archive(&[
        member(&absolute, b'0', "", b"evil"),
        member("link", b'2', out, b""),
        member("link/evil", b'0', "", b"evil"),
        member("up", b'2', &format!("{up}{}", &out[1..]), b""),
        member("up/evil", b'0', "", b"evil"),
    ]);
    let outcome = world.call(&["-"]).input(inside).run();
    assert!(matches!(outcome.code(), 0 | 1) && !outcome.stderr.contains("panicked"), "{outcome}");
    assert_eq!(world.left(), 0, "{outcome}");
    // A hard link to a file of the host's is none of the context's.
    let hard = archive(&[member("passwd", b'1', "/etc/passwd", b"")]);
    world.call(&["-"]).input(hard).run().refuses(1, &["passwd"]);
    // Nor is a link, when it is read.
    let read = [
        member("Dockerfile", b'0', "", b"FROM scratch\nCOPY shadow /\n"),
        member("shadow", b'2', "/etc/shadow", b""),
        end.to_vec(),
    ];
    let outcome = world.call(&["-o", "out", "-"]).input(read.concat()).run();
    assert_ne!(fs::read(world.path("out/shadow")).ok(), fs::read("/etc/shadow").ok(), "{outcome}");
    let linked = [member("Dockerfile", b'2', "/etc/passwd", b""), end.to_vec()];
    let outcome = world.call(&["-"]).input(linked.concat()).run().ended(1);
    assert!(!outcome.stderr.contains("root:"), "{outcome}");
    assert_eq!(fs::read_dir(&outside).expect("it is there").count(), 0);
    assert_eq!(world.left(), 0);
}

#[test]
fn ignore_files_hide_what_came_from_elsewhere_too() {
    if !ready() {
        return;
    }
    let world = World::new();
    world.write("context/Dockerfile", "FROM scratch\nCOPY . /\n");
    world.write("context/.dockerignore", "*.log\nDockerfile\n.dockerignore\n.git\n");
    world.write("context/b.log", "log");
    let built = |words: &[&str], input: Vec<u8>| {
        let _ = fs::remove_dir_all(world.path("out"));
        world.call(&["-o", "out"]).args(words).input(input).run().ok();
        assert_eq!(world.left(), 0);
        let names = fs::read_dir(world.path("out")).expect("the result").flatten();
        let mut names: Vec<String> =
            names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(built(&["context"], Vec::new()), ["a.txt"]);
    assert_eq!(built(&["-"], world.tar("-z")), ["a.txt"]);
    commit(&world.path("context"));
    let daemon = Daemon::start(&world);
    assert_eq!(built(&[&daemon.url("context")], Vec::new()), ["a.txt"]);
}

#[test]
fn submodules_are_fetched_and_the_git_directory_stays_when_it_is_asked_for() {
    if !ready() {
        return;
    }
    let world = World::new();
    let before = Snapshot::take(Files::Records);
    world.write("sub/inner.txt", "inner");
    let inner = commit(&world.path("sub"));
    let daemon = Daemon::start(&world);
    let text = format!("[submodule \"s\"]\n\tpath = s\n\turl = {}\n", daemon.url("sub"));
    world.write("context/.gitmodules", &text);
    world.write("context/Dockerfile", "FROM scratch\nCOPY . /src/\n");
    let repository = world.path("context");
    git(&repository, &["init", "-q"]);
    git(&repository, &["update-index", "--add", "--cacheinfo", &format!("160000,{inner},s")]);
    git(&repository, &["add", "Dockerfile", "a.txt", ".gitmodules"]);
    git(&repository, &["commit", "-qm", "one"]);
    let url = daemon.url("context");
    let built = |words: &[&str]| {
        let _ = fs::remove_dir_all(world.path("out"));
        world.call(&["-o", "out"]).args(words).run().ok();
        assert_eq!(world.left(), 0);
        let there = |name: &str| world.path("out/src").join(name).exists();
        (there("s/inner.txt"), there(".git"))
    };
    assert_eq!(built(&[&url]), (true, false));
    assert_eq!(built(&[&format!("{url}?submodules=0")]), (false, false));
    assert_eq!(built(&[&format!("{url}?keep-git-dir=1")]), (true, true));
    world.write("add/Dockerfile", &format!("FROM scratch\nADD {url} /src/\n"));
    assert_eq!(built(&["add"]), (true, false));
    world.write("add/Dockerfile", &format!("FROM scratch\nADD --keep-git-dir=true {url} /src/\n"));
    assert_eq!(built(&["add"]), (true, true));
    before.nothing_is_left();
}

#[test]
fn images_in_directories_are_bases_and_sources() {
    if !ready() {
        return;
    }
    let world = World::new();
    world.call(&["-t", "app:v1", "-o", "type=oci,tar=false,dest=layout", "context"]).run().ok();
    world.write("user/Dockerfile", "FROM base\nCOPY --from=base /a /b\n");
    for source in ["layout", "layout:v1"] {
        let context = format!("base=oci-layout://{source}");
        world.call(&["--build-context", &context, "-o", "out", "user"]).run().ok();
        assert_eq!(fs::read_to_string(world.path("out/b")).expect("a file"), "hello", "{source}");
        assert!(world.path("out/a").is_file());
        fs::remove_dir_all(world.path("out")).expect("it is there");
    }
    let refused = |source: &str, texts: &[&str]| {
        let context = format!("base=oci-layout://{source}");
        world.call(&["--build-context", &context, "user"]).run().refuses(1, texts);
    };
    refused("layout:v2", &["has no image with the tag `v2`", "v1"]);
    refused("none", &["none cannot be used"]);
    refused("context", &["index.json cannot be read"]);
    // Not one byte may be another. A world of its own, that has no layer of it.
    for entry in fs::read_dir(world.path("layout/blobs/sha256")).expect("blobs").flatten() {
        let mut bytes = fs::read(entry.path()).expect("a blob");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(entry.path(), bytes).expect("a blob");
    }
    fs::remove_dir_all(world.path("data")).expect("the data");
    refused("layout", &["instead"]);
}

#[test]
fn what_is_no_directory_is_checked_and_explained_too() {
    if !ready() {
        return;
    }
    let world = World::new();
    world.write("context/Dockerfile", "FROM scratch AS one\nCOPY a.txt /a\nFROM one AS two\nCOPY a.txt /b\n");
    commit(&world.path("context"));
    let daemon = Daemon::start(&world);
    let url = daemon.url("context");
    fs::write(world.path("context.tar"), world.tar("-z")).expect("an archive");
    for (words, input) in
        [(["-"], world.tar("-z")), (["context.tar"], Vec::new()), ([url.as_str()], Vec::new())]
    {
        let call = |options: &[&str]| world.call(options).args(words).input(input.clone()).run();
        let clean = call(&["--check"]).ok();
        assert!(clean.stdout.contains("no warnings found"), "{clean}");
        let targets = call(&["--call", "targets"]).ok();
        assert!(targets.stdout.contains("one") && targets.stdout.contains("two"), "{targets}");
        call(&["--call", "outline"]).ok();
        let looked = call(&["--why", "--dry-run", "--format", "json"]).ok();
        assert!(looked.stdout.contains("COPY a.txt /b"), "{looked}");
        let built = call(&["--why", "--format", "json"]).ok();
        assert!(built.stdout.contains("\"name\":\"a.txt\""), "{built}");
        assert_eq!(world.left(), 0);
    }
    // Named contexts are no stages that are missing.
    world.write("named/Dockerfile", "FROM Files AS one\nFROM scratch\nCOPY --from=files a.txt /\n");
    let named = world.call(&["--check", "--build-context", "files=context", "named"]).run().ok();
    assert!(named.stdout.contains("no warnings found"), "{named}");
    let root = |name: &str| world.path(name).to_string_lossy().into_owned();
    let graph = coracle(["graph", "build", "--format", "json", "-f", "-", "context"])
        .dir(world.0.path())
        .env("CORACLE_DATA_ROOT", &root("data"))
        .env("CORACLE_RUN_ROOT", &root("run"))
        .input("FROM scratch AS first\nCOPY a.txt /a\n")
        .run()
        .ok();
    assert!(graph.stdout.contains("first") && graph.stdout.contains("a.txt"), "{graph}");
}

#[test]
fn whoever_only_looks_downloads_nothing() {
    if !ready() {
        return;
    }
    let world = World::new();
    let (url, asked) = serve("hello");
    let requests = || asked.lock().expect("a log").clone();
    world.write("context/Dockerfile", &format!("FROM scratch\nADD {url} /x\n"));
    let look = || world.call(&["--why", "--dry-run", "--format", "json", "context"]).run().ok().stdout;
    assert!(look().contains("\"would\""), "{}", look());
    assert_eq!(requests(), Vec::<String>::new());
    world.id(&["context"]);
    assert_eq!(requests(), ["GET /x HTTP/1.1"]);
    assert!(look().contains("\"cached\""), "{}", look());
    assert!(requests()[1..].iter().all(|line| line.starts_with("HEAD ")), "{:?}", requests());
}

#[test]
fn an_interrupt_ends_a_fetch_at_once() {
    if !ready() {
        return;
    }
    let world = World::new();
    let before = Snapshot::take(Files::Records);
    let port = silent();
    let git = format!("git://127.0.0.1:{port}/r");
    let url = format!("http://127.0.0.1:{port}/x");
    world.write("add-git/Dockerfile", &format!("FROM scratch\nADD {git} /x\n"));
    world.write("add-url/Dockerfile", &format!("FROM scratch\nADD {url} /x\n"));
    for context in [git.as_str(), url.as_str(), "add-git", "add-url"] {
        let started = world.call(&[context]).bound(SOON).start();
        let mark = world.path("data/downloads/lock");
        eventually("the build has begun", SOON, || {
            holds(mark.exists() || world.left() > 0, || "nothing is there".to_owned())
        });
        std::thread::sleep(std::time::Duration::from_millis(300));
        started.signal("INT");
        let outcome = started.finish();
        assert_ne!(outcome.code(), 0, "{outcome}");
        assert_eq!(world.left(), 0, "{outcome}");
        let _ = fs::remove_file(&mark);
    }
    before.nothing_is_left();
}
