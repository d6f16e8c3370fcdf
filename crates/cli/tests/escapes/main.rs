//! The container escapes of the last decade, tried against our build and run, and images that are not what they seem.
//!
//! Each test is named after the fault it repeats, and fails when the attack works. An attack aims at canary files of
//! the test's own, never at a file of the machine; where an attack could be blind, a control shows that it sees.
//! Every test has roots of its own and images made of the host's busybox. `docs/security.md` says of each why it does
//! not work here.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it skips"
)]

#[path = "../support/mod.rs"]
mod support;

mod builds;
mod images;
mod kernel_files;
mod links;
mod processes;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Call, Outcome, coracle, ready};

const BUSYBOX: &str = "/bin/busybox";
/// What the base's shell can do.
const APPLETS: &[&str] = &[
    "sh", "cat", "chmod", "cp", "cut", "dd", "echo", "false", "grep", "head", "hostname", "id", "ls", "ln",
    "mkdir", "mkfifo", "mknod", "mount", "mv", "ps", "pwd", "readlink", "rm", "rmdir", "sed", "seq", "sleep",
    "stat", "tail", "test", "touch", "tr", "true", "umount", "unshare", "wc",
];
/// What a canary holds.
const SONG: &str = "the canary sings";

/// Roots of its own, images, and files of the host that no container may reach.
pub struct World {
    directory: tempfile::TempDir,
    /// The binary to be called.
    program: PathBuf,
}

/// An entry of an image's file system.
pub enum Entry<'a> {
    /// A file, its content and its mode.
    File(&'a str, &'a [u8], u32),
    /// A symbolic link and where it leads.
    Link(&'a str, &'a str),
    /// A directory.
    Directory(&'a str),
    /// A named pipe.
    Pipe(&'a str),
    /// A character device and its numbers.
    Device(&'a str, u32, u32),
}

impl World {
    /// `None`, with the reason printed, where containers cannot run.
    pub fn new() -> Option<Self> {
        if !ready() {
            return None;
        }
        if !Path::new(BUSYBOX).exists() {
            assert!(std::env::var_os("CI").is_none(), "needs {BUSYBOX}");
            eprintln!("SKIPPED: no {BUSYBOX}; apt-get install busybox-static");
            return None;
        }
        // Layers need a real file system below, which /tmp may not be.
        let directory = tempfile::tempdir_in("/var/tmp").unwrap();
        let program =
            std::env::var_os("CORACLE_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_coracle").into()).into();
        let world = Self { directory, program };
        fs::create_dir(world.path("canary")).unwrap();
        fs::write(world.path("canary/song"), SONG).unwrap();
        Some(world)
    }

    /// The same with the binary copied beside, where an attack may try to write.
    pub fn with_private_program() -> Option<Self> {
        let mut world = Self::new()?;
        let copy = world.path("coracle");
        fs::copy(&world.program, &copy).unwrap();
        world.program = copy;
        Some(world)
    }

    /// Returns a path below the world.
    pub fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    /// Returns the same as text.
    pub fn text(&self, path: &str) -> String {
        self.path(path).to_str().unwrap().to_owned()
    }

    /// Returns the binary that is called.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Returns a call of the binary with the roots of this world.
    pub fn call(&self, words: &[&str]) -> Call {
        Call::of(&self.program)
            .args(words)
            .env("CORACLE_DATA_ROOT", &self.text("data"))
            .env("CORACLE_RUN_ROOT", &self.text("run"))
            .dir(self.directory.path())
    }

    /// Runs `script` in a container of `image`, with `options` before the image.
    pub fn run(&self, options: &[&str], image: &str, script: &str) -> Outcome {
        let call = self.call(&["run", "--rm", "--network", "none"]).args(options);
        call.args([image, "/bin/sh", "-c", script]).run()
    }

    /// Starts a container `name` that runs `script`.
    #[track_caller]
    pub fn start(&self, name: &str, options: &[&str], image: &str, script: &str) {
        let call = self.call(&["run", "-d", "--network", "none", "--name", name]).args(options);
        call.args([image, "/bin/sh", "-c", script]).run().ok();
    }

    /// Makes the image `name` of the base, without what `entries` replace, and what `lines` of a Dockerfile add.
    #[track_caller]
    pub fn image(&self, name: &str, entries: &[Entry<'_>], lines: &str) {
        let context = self.path(name);
        fs::create_dir(&context).unwrap();
        fs::write(context.join("root.tar"), archive(entries)).unwrap();
        fs::write(context.join("Dockerfile"), format!("FROM scratch\nADD root.tar /\n{lines}")).unwrap();
        self.call(&["build", "-q", "--network", "none", "-t", name, context.to_str().unwrap()]).run().ok();
    }

    /// Builds `lines` after the stage `base`; `options` go before the context.
    pub fn build(&self, options: &[&str], lines: &str) -> Outcome {
        let context = self.path("context");
        if !context.exists() {
            fs::create_dir(&context).unwrap();
            fs::write(context.join("root.tar"), archive(&[])).unwrap();
        }
        let text = format!("FROM scratch AS base\nADD root.tar /\nFROM base\n{lines}");
        fs::write(context.join("Dockerfile"), text).unwrap();
        let call = self.call(&["build", "--progress", "plain", "--network", "none"]).args(options);
        call.args([context]).run()
    }

    /// Returns what lies beside the canary and what it holds.
    pub fn canary(&self) -> (Vec<String>, String) {
        let mut names: Vec<String> = fs::read_dir(self.path("canary"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        (names, fs::read_to_string(self.path("canary/song")).unwrap_or_default())
    }

    /// Fails unless the canary is as it was, and alone.
    #[track_caller]
    pub fn canary_sings(&self) {
        assert_eq!(self.canary(), (vec!["song".to_owned()], SONG.to_owned()), "an attack reached the host");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let listed = self.call(&["ps", "-a", "-q"]).run();
        let ids: Vec<&str> = listed.stdout.split_whitespace().collect();
        if !ids.is_empty() {
            self.call(&["rm", "-f", "-v"]).args(ids).quietly();
        }
    }
}

/// Returns the base as a tar archive: busybox under its names, a user database, and `entries`, which come last and take
/// the place of what is there.
fn archive(entries: &[Entry<'_>]) -> Vec<u8> {
    let name = |entry: &Entry<'_>| match entry {
        Entry::File(name, ..) | Entry::Link(name, _) | Entry::Directory(name) | Entry::Pipe(name) => {
            (*name).to_owned()
        }
        Entry::Device(name, ..) => (*name).to_owned(),
    };
    let busybox = fs::read(BUSYBOX).unwrap();
    let links: Vec<String> = APPLETS.iter().map(|applet| format!("bin/{applet}")).collect();
    let mut base = vec![
        Entry::Directory("bin"),
        Entry::Directory("etc"),
        Entry::Directory("tmp"),
        Entry::Directory("root"),
        Entry::File("bin/busybox", &busybox, 0o755),
        Entry::File("etc/passwd", b"root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/app:/bin/sh\n", 0o644),
        Entry::File("etc/group", b"root:x:0:\napp:x:1000:\n", 0o644),
    ];
    base.extend(links.iter().map(|link| Entry::Link(link, "busybox")));
    let replaced: Vec<String> = entries.iter().map(name).collect();
    base.retain(|entry| !replaced.contains(&name(entry)));
    let mut builder = tar::Builder::new(Vec::new());
    for entry in base.iter().chain(entries) {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o755);
        header.set_size(0);
        let mut content: &[u8] = b"";
        match entry {
            Entry::File(_, bytes, mode) => {
                content = bytes;
                header.set_size(bytes.len() as u64);
                header.set_mode(*mode);
            }
            Entry::Link(_, target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_link_name(target).unwrap();
            }
            Entry::Directory(_) => header.set_entry_type(tar::EntryType::Directory),
            Entry::Pipe(_) => header.set_entry_type(tar::EntryType::Fifo),
            Entry::Device(_, major, minor) => {
                header.set_entry_type(tar::EntryType::Char);
                header.set_device_major(*major).unwrap();
                header.set_device_minor(*minor).unwrap();
            }
        }
        builder.append_data(&mut header, name(entry), content).unwrap();
    }
    builder.into_inner().unwrap()
}

/// Returns the libraries that a program is linked with, for an image that is to run it; none for a static one.
pub fn libraries(program: &Path) -> Vec<(String, Vec<u8>)> {
    let listed = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let paths = text.split_whitespace().filter(|word| word.starts_with('/'));
    paths.map(|path| (path[1..].to_owned(), fs::read(path).unwrap())).collect()
}

/// Says that the suite's own entry can be called, so that `coracle` is used.
#[test]
fn the_binary_answers() {
    coracle(["--version"]).run().ok();
}
