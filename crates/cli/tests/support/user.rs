//! A normal user of a test: a home, a runtime directory and ids of its own, all of which go with this value.
//!
//! The user exists in a mount namespace only: its lines of `/etc/passwd`, `/etc/subuid` and `/etc/subgid` are bound over
//! the host's there, and nothing of the host's is changed.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::{Call, SOON, eventually, holds};

/// How many ids each user may give to containers.
const IDS: u32 = 65_536;

/// Makes the user's view of the files, says so, and waits for its end.
const SCRIPT: &str = r#"
set -e
mount --make-rslave /
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/subids" /etc/subuid
mount --bind "$1/subids" /etc/subgid
mount -t tmpfs -o nosuid,nodev,mode=700,uid=$2,gid=$2 tmpfs "$1/run"
mount --bind "$3" "$1/coracle"
mknod "$1/tun" c 10 200
chmod 666 "$1/tun"
mount --bind "$1/tun" /dev/net/tun
echo ready
exec cat
"#;

/// A normal user.
#[derive(Debug)]
pub struct User {
    directory: TempDir,
    world: Child,
    /// Its number.
    pub uid: u32,
}

impl User {
    /// Makes a user that may give ids away.
    #[track_caller]
    pub fn new() -> Self {
        Self::with_ids(true)
    }

    /// Makes a user that has one id only.
    #[track_caller]
    pub fn alone() -> Self {
        Self::with_ids(false)
    }

    #[track_caller]
    fn with_ids(subordinates: bool) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = std::process::id() % 1000 * 8 + NEXT.fetch_add(1, Ordering::Relaxed) % 8;
        let uid = 50_000 + number;
        let directory = tempfile::tempdir().expect("a directory can be made");
        let path = directory.path();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))
            .expect("the test may write its own files");
        let passwd =
            format!("root:x:0:0:root:/root:/bin/sh\nanna:x:{uid}:{uid}::{}/home:/bin/sh\n", path.display());
        fs::write(path.join("passwd"), passwd).expect("the test may write its own files");
        let first = 1_000_000 + number * IDS;
        let line = if subordinates { format!("anna:{first}:{IDS}\n") } else { String::new() };
        fs::write(path.join("subids"), line).expect("the test may write its own files");
        fs::write(path.join("coracle"), "").expect("the test may write its own files");
        for name in ["home", "run"] {
            fs::create_dir(path.join(name)).expect("the test may write its own files");
        }
        chown(path.join("home"), Some(uid), Some(uid)).expect("the test may write its own files");
        let binary: PathBuf =
            std::env::var_os("CORACLE_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_coracle").into()).into();
        let mut world = Command::new("unshare")
            .args(["-m", "sh", "-c", SCRIPT, "sh"])
            .arg(path)
            .arg(uid.to_string())
            .arg(fs::canonicalize(binary).expect("the binary is there"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare starts");
        let mut line = String::new();
        let output = world.stdout.take().expect("standard output is a pipe");
        BufReader::new(output).read_line(&mut line).expect("the test may write its own files");
        assert_eq!(line, "ready\n", "the user's view of the files could not be made");
        Self { directory, world, uid }
    }

    /// Returns the user's home.
    pub fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    /// Writes a file of the user's.
    #[track_caller]
    pub fn write(&self, name: &str, text: &str) {
        let path = self.home().join(name);
        let parent = path.parent().expect("a file lies in a directory");
        fs::create_dir_all(parent).expect("the test may write its own files");
        fs::write(&path, text).expect("the test may write its own files");
        for path in [parent, &path] {
            chown(path, Some(self.uid), Some(self.uid)).expect("the test may write its own files");
        }
    }

    /// Returns a call of the binary by the user, in its home.
    pub fn coracle<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Call {
        let (path, uid) = (self.directory.path().display(), self.uid.to_string());
        Call::of("nsenter")
            .args(["-t", &self.world.id().to_string(), "-m", "setpriv", "--reuid", &uid, "--regid", &uid])
            .args(["--clear-groups", "env", "-i", "NO_COLOR=1"])
            .args(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"])
            .args([format!("HOME={path}/home"), format!("XDG_RUNTIME_DIR={path}/run")])
            .args(["sh", "-c", "cd && exec \"$@\"", "sh"])
            .args([format!("{path}/coracle")])
            .args(arguments)
    }

    /// Gives the user an image of root's store.
    #[track_caller]
    pub fn load(&self, image: &str) {
        let archive = self.home().join("image.tar");
        super::coracle(["run", "--rm", "--network", "none", image, "true"]).run().ok();
        super::coracle(["save", "-o", &archive.display().to_string(), image]).run().ok();
        chown(&archive, Some(self.uid), Some(self.uid)).expect("the test may write its own files");
        self.coracle(["load", "-i", "image.tar"]).run().ok();
        fs::remove_file(archive).expect("the test may write its own files");
    }

    /// Returns the user's processes: number and command line. Those of containers that have other ids are not among them.
    pub fn processes(&self) -> Vec<(i32, String)> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").expect("/proc can be read").flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
            let is_ours = status.lines().any(|line| {
                line.strip_prefix("Uid:").and_then(|ids| ids.split_whitespace().next()?.parse().ok())
                    == Some(self.uid)
            });
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if is_ours && !line.is_empty() {
                found.push((pid, String::from_utf8_lossy(&line).replace('\0', " ")));
            }
        }
        found
    }

    /// Waits until nothing of the user's runs any more, and no container is recorded.
    #[track_caller]
    pub fn nothing_runs(&self) {
        eventually("nothing of the user's runs", SOON, || {
            let left = self.processes();
            holds(left.is_empty(), || format!("{left:#?}"))
        });
        let names = |path: &Path| fs::read_dir(path).map_or(0, |entries| entries.flatten().count());
        assert_eq!(names(&self.home().join(".local/share/coracle/containers")), 0, "records are left");
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // A test that failed leaves containers: they end with their processes.
        for _ in 0..50 {
            let left = self.processes();
            if left.is_empty() {
                break;
            }
            for (pid, _) in left {
                let _ = Command::new("kill").args(["-9", &pid.to_string()]).stderr(Stdio::null()).status();
            }
            thread::sleep(Duration::from_millis(50));
        }
        drop(self.world.stdin.take());
        let _ = self.world.wait();
    }
}
