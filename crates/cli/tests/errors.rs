//! What a user sees of a build that fails: the place, what was tried, what to do. Every world has roots of its own and a
//! base made of the host's busybox, so none needs a registry.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it skips"
)]

mod support;

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use support::{Call, coracle, ready};

const BUSYBOX: &str = "/bin/busybox";
/// A base with a shell.
const BASE: &str = "FROM scratch AS base\n\
    COPY busybox /bin/busybox\n\
    RUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n\
    FROM base\n";

/// Roots and a context that go with the test.
struct World(tempfile::TempDir);

impl World {
    /// `None`, with the reason printed, where steps cannot run.
    fn new() -> Option<Self> {
        if !ready() {
            return None;
        }
        if !Path::new(BUSYBOX).exists() {
            assert!(std::env::var_os("CI").is_none(), "needs {BUSYBOX}");
            eprintln!("SKIPPED: no {BUSYBOX}; apt-get install busybox-static");
            return None;
        }
        // Layers need a real file system below, which /tmp may not be.
        let world = Self(tempfile::tempdir_in("/var/tmp").unwrap());
        fs::create_dir(world.path("context")).unwrap();
        fs::copy(BUSYBOX, world.path("context/busybox")).unwrap();
        world.write("main.py", "");
        Some(world)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path("context").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn call(&self, dockerfile: &str, words: &[&str]) -> Call {
        self.write("Dockerfile", dockerfile);
        let command = ["build", "--progress", "quiet", "--network", "none"];
        coracle(command)
            .env("CORACLE_DATA_ROOT", self.path("data").to_str().unwrap())
            .env("CORACLE_RUN_ROOT", self.path("run").to_str().unwrap())
            .dir(self.path("context"))
            .args(words)
            .args(["."])
    }

    /// Adds what is said of a build that fails to a text.
    #[track_caller]
    fn fails(&self, all: &mut String, title: &str, dockerfile: &str, words: &[&str]) {
        let outcome = self.call(dockerfile, words).run().ended(1);
        assert!(!outcome.stderr.contains('\u{1b}'), "{outcome}");
        let _ = writeln!(all, "== {title}\n{}", outcome.stderr);
    }
}

#[test]
fn what_a_dockerfile_names_that_is_not_there() {
    let Some(world) = World::new() else { return };
    let mut all = String::new();
    world.write("secret/key", "");
    world.write(".dockerignore", "# keys\nsecret\n");
    world.fails(&mut all, "a hidden source", "FROM scratch\nCOPY main.py secret/key /app/\n", &[]);
    let stages = "FROM scratch AS builder\nCOPY main.py /\nFROM scratch\nCOPY --from=bilder /main.py /\n";
    world.fails(&mut all, "a stage", stages, &[]);
    world.fails(&mut all, "a target", "FROM scratch AS builder\nCOPY main.py /\n", &["--target", "bulder"]);
    world.fails(&mut all, "a source", "FROM scratch\nCOPY \\\n    busybox mian.py /app/\n", &[]);
    let mount = format!("{BASE}RUN --mount=type=bind,source=mian.py,target=/m true\n");
    world.fails(&mut all, "a mount's source", &mount, &[]);
    world.fails(&mut all, "a flag", "FROM scratch\nCOPY --chwon=1 main.py /\n", &[]);
    world.fails(&mut all, "an option", "FROM scratch\n", &["--taget", "x"]);
    world.fails(&mut all, "an image", "FROM 127.0.0.1:9/nothing:1\nCOPY main.py /\n", &[]);
    insta::assert_snapshot!(all);
}

#[test]
fn what_a_step_cannot_do() {
    let Some(world) = World::new() else { return };
    let mut all = String::new();
    let based = |steps: &str| format!("{BASE}{steps}");
    world.fails(&mut all, "no shell", "FROM scratch\nCOPY main.py /\nRUN echo hello\n", &[]);
    let user = "RUN mkdir -p /etc && echo app:x:1:1::/: > /etc/passwd\nUSER ap\nRUN true\n";
    world.fails(&mut all, "no user", &based(user), &[]);
    world.fails(&mut all, "no owner", &based("COPY --chown=ap main.py /\n"), &[]);
    let heredoc = "RUN <<EOF\nset -e\necho one\nmissing-tool --flag\necho two\nEOF\n";
    world.fails(&mut all, "a line of a heredoc", &based(heredoc), &[]);
    let silent = "RUN <<EOF\nset -e\necho one\nfalse\nEOF\n";
    world.fails(&mut all, "some line of a heredoc", &based(silent), &[]);
    let chain = "RUN echo one && \\\n    ls /nowhere && \\\n    echo two\n";
    world.fails(&mut all, "a line of a chain", &based(chain), &[]);
    let hostile = r"RUN printf '\033]0;owned\007\033[2J\033[31mred\033[0m bell\007\r\n' && false";
    world.fails(&mut all, "hostile output", &based(hostile), &[]);
    let plain = world.call(&based(hostile), &["--progress", "plain"]).run().ended(1);
    assert!(!plain.stderr.contains(|c: char| c.is_control() && c != '\n'), "{:?}", plain.stderr);
    insta::assert_snapshot!(all);

    let mut foreign = fs::read(BUSYBOX).unwrap();
    foreign[18] = if foreign[18] == 183 { 62 } else { 183 };
    fs::write(world.path("context/foreign"), foreign).unwrap();
    fs::set_permissions(world.path("context/foreign"), fs::Permissions::from_mode(0o755)).unwrap();
    let run = "FROM scratch\nCOPY foreign /f\nRUN [\"/f\"]\n";
    world.call(run, &[]).run().refuses(1, &["Dockerfile:3:1", "`/f` is a program for", "this host runs"]);
}

#[test]
fn what_a_base_brings() {
    let Some(world) = World::new() else { return };
    let mut all = String::new();
    let basis = format!("{BASE}ONBUILD COPY app.toml /\nONBUILD RUN false\n");
    world.call(&basis, &["-t", "basis"]).run().ok();
    world.fails(&mut all, "a trigger's source", "FROM basis\n", &[]);
    world.write("app.toml", "");
    world.fails(&mut all, "a trigger's command", "FROM basis\n", &[]);
    insta::assert_snapshot!(all);
}

#[test]
fn a_download_that_is_another() {
    let Some(world) = World::new() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi");
        }
    });
    let mut all = String::new();
    let add = format!("FROM scratch\nADD --checksum=sha256:{} http://127.0.0.1:{port}/x /\n", "0".repeat(64));
    world.fails(&mut all, "another checksum", &add, &[]);
    insta::assert_snapshot!(all.replace(&port.to_string(), "PORT"));
}
