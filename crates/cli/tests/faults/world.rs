//! A machine of its own for one test: process, network and mount namespaces, control groups below one of its own, and
//! roots on file systems in memory.
//!
//! The test runs itself again inside. Nothing that goes wrong there reaches the host's containers, and the kernel
//! takes everything away with the first process of the world, however the test ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::{Call, Files, Outcome, Snapshot, coracle, eventually, get, holds};

/// Where the world lies; set inside it.
const WORLD: &str = "CORACLE_FAULTS_WORLD";
/// Which part of a test's work a world does, as `NUMBER/COUNT`.
const SHARE: &str = "CORACLE_FAULTS_SHARE";
/// The image that everything is made of.
pub const IMAGE: &str = "busybox";
/// The container that must not notice anything.
pub const BYSTANDER: &str = "bystander";
/// The port on which it answers.
const PORT: u16 = 7070;

/// How a world is made.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Options of the file system that holds the data root.
    pub data: &'static str,
    /// How many worlds share the work, at once.
    pub worlds: usize,
}

impl Default for Shape {
    fn default() -> Self {
        Self { data: "size=512m", worlds: 1 }
    }
}

/// The inside of a world.
#[derive(Debug)]
pub struct World {
    root: PathBuf,
    share: (usize, usize),
}

/// A world from outside; everything in it ends with this value.
struct Outside {
    root: tempfile::TempDir,
    process: Child,
}

/// Runs `body` in a world of its own, or in several that share the work. `test` is the full name of the calling test.
#[track_caller]
pub fn in_world(test: &str, shape: Shape, body: impl FnOnce(&World)) {
    if let Some(root) = std::env::var_os(WORLD) {
        let share = std::env::var(SHARE).expect("a world knows its share");
        let (number, count) = share.split_once('/').expect("a share has two numbers");
        let share = (number.parse().expect("a number"), count.parse().expect("a number"));
        let world = World { root: root.into(), share };
        world.furnish(shape);
        body(&world);
        return;
    }
    if !crate::armed() {
        return;
    }
    let archive = tempfile::tempdir().expect("a directory can be made");
    let image = archive.path().join("image.tar");
    // The image comes from the host's store, which no fault reaches.
    Call::of(binary()).args(["save", "-o"]).args([&image]).args([IMAGE]).run().ok();
    let worlds: Vec<Outside> =
        (0..shape.worlds).map(|number| Outside::begin(test, &image, number, shape.worlds)).collect();
    let mut failed = Vec::new();
    for mut world in worlds {
        let status = world.process.wait().expect("a child can be waited for");
        if !status.success() {
            let said = fs::read_to_string(world.root.path().join("said")).unwrap_or_default();
            failed.push(said);
        }
    }
    assert!(failed.is_empty(), "{test} failed in its world:\n{}", failed.join("\n"));
}

fn binary() -> PathBuf {
    std::env::var_os("CORACLE_FAULTS_BIN").map_or_else(|| env!("CARGO_BIN_EXE_coracle").into(), PathBuf::from)
}

impl Outside {
    fn begin(test: &str, image: &Path, number: usize, count: usize) -> Self {
        let root = tempfile::Builder::new().prefix("faults-").tempdir().expect("a directory can be made");
        let path = |name: &str| root.path().join(name);
        let said = fs::File::create(path("said")).expect("a file can be made");
        let process = Command::new("unshare")
            .args(["--pid", "--fork", "--kill-child", "--mount", "--propagation", "private"])
            .args(["--mount-proc", "--net"])
            // The first process of the world waits for whoever loses its parent.
            .args(["bash", "-c", "\"$@\"; exit $?", "bash"])
            .arg(std::env::current_exe().expect("a test knows its program"))
            .args([test, "--exact", "--nocapture", "--test-threads=1"])
            .env(WORLD, root.path())
            .env(SHARE, format!("{number}/{count}"))
            .env("CORACLE_BIN", binary())
            .env("CORACLE_DATA_ROOT", path("data"))
            .env("CORACLE_RUN_ROOT", path("run"))
            .env("CORACLE_FAULTS_IMAGE", image)
            .stdin(Stdio::null())
            .stdout(said.try_clone().expect("a descriptor can be duplicated"))
            .stderr(said)
            .spawn()
            .expect("unshare starts");
        Self { root, process }
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        // What the world left of its control groups; its processes are gone.
        let name = self.root.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let script =
            format!("find /sys/fs/cgroup -depth -type d -path '*/{name}*' -exec rmdir {{}} + 2>/dev/null");
        let _ = Command::new("bash").args(["-c", &script]).status();
    }
}

/// Runs a program that sets the world up.
#[track_caller]
pub fn sh(script: &str) {
    let output = Command::new("bash").args(["-euc", script]).output().expect("bash starts");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

impl World {
    fn furnish(&self, shape: Shape) {
        let root = self.root.display();
        let name = self.root.file_name().expect("a root has a name").to_string_lossy();
        let data = shape.data;
        // Control groups of this world lie below one of its own in each hierarchy, which stands in for the hierarchy. A
        // link leads towards outside, so that the world has a route as any machine; links of the host are not seen.
        sh(&format!(
            "mkdir -p {root}/cgroup {root}/data {root}/run
             mount --rbind /sys/fs/cgroup {root}/cgroup
             mount -t sysfs sysfs /sys
             mount --rbind {root}/cgroup /sys/fs/cgroup
             umount -l {root}/cgroup
             for place in /sys/fs/cgroup /sys/fs/cgroup/*; do
                 [[ -L $place || ! -e $place/cgroup.procs ]] && continue
                 mkdir -p $place/{name}
                 for file in cpuset.cpus cpuset.mems; do
                     [[ -e $place/$file ]] && cat $place/$file > $place/{name}/$file
                 done
                 mount --bind $place/{name} $place
             done
             mount -t tmpfs -o {data} tmpfs {root}/data
             mount -t tmpfs -o size=32m tmpfs {root}/run
             ip link set lo up
             ip link add up0 type veth peer name up1
             ip link set up1 up
             ip address add 192.0.2.10/24 dev up0
             ip link set up0 up
             ip route add default via 192.0.2.1"
        ));
        let image = std::env::var_os("CORACLE_FAULTS_IMAGE").expect("a world knows its image");
        coracle(["load", "-i"]).args([image]).run().ok();
        // Directories and locks that are made on first use.
        coracle(["run", "--rm", "-v", "/data", IMAGE, "true"]).run().ok();
        let port = format!("127.0.0.1:{PORT}:80");
        coracle(["run", "-d", "--name", BYSTANDER, "-p", &port, IMAGE, "sh", "-c"])
            .args(["mkdir /www; echo alive > /www/index.html; exec busybox httpd -f -p 80 -h /www"])
            .run()
            .ok();
        self.bystander_lives();
    }

    /// Returns the directory that is the world's.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the data root.
    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// Returns whether the piece of work with this number is this world's.
    pub fn does(&self, number: usize) -> bool {
        number % self.share.1 == self.share.0
    }

    /// Looks at everything there is.
    pub fn look(&self) -> Snapshot {
        Snapshot::take(Files::Snapshots)
    }

    /// Fails unless the bystander runs, answers and does what it is told.
    #[track_caller]
    pub fn bystander_lives(&self) {
        self.bystander_answers();
        assert_eq!(self.bystander_obeys().ok().line(), "alive");
    }

    /// Fails unless the bystander answers.
    #[track_caller]
    pub fn bystander_answers(&self) {
        eventually("the bystander answers", Duration::from_secs(20), || {
            let answer = get(&format!("http://127.0.0.1:{PORT}/"));
            holds(answer.body.contains("alive"), || answer.to_string())
        });
    }

    /// Runs a command inside the bystander.
    pub fn bystander_obeys(&self) -> Outcome {
        coracle(["exec", BYSTANDER, "cat", "/www/index.html"]).run()
    }

    /// Fails unless every command that only looks answers.
    #[track_caller]
    pub fn commands_answer(&self) {
        let listed = coracle(["ps", "-a"]).run().ok();
        assert!(listed.line_with(BYSTANDER).contains("Up "), "{listed}");
        let images = coracle(["images"]).run().ok();
        assert!(images.stdout.contains(IMAGE), "{images}");
        for words in
            [&["volume", "ls"][..], &["network", "ls"], &["logs", BYSTANDER], &["inspect", BYSTANDER]]
        {
            coracle(words).run().ok();
        }
    }

    /// Fails if the data root holds a file under a temporary name.
    #[track_caller]
    pub fn nothing_is_half_written(&self) {
        let mut found = Vec::new();
        half_written(&self.data(), &mut found);
        assert!(found.is_empty(), "half written: {found:#?}");
    }
}

fn half_written(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        let gone = name == ".gone" && fs::read_dir(&path).is_ok_and(|entries| entries.count() > 0);
        if name.starts_with(".new-") || gone || name.ends_with(".json.new") {
            found.push(path.clone());
        }
        // What containers and images hold is theirs.
        let ours = !matches!(name.as_str(), "fs" | "_data" | "work" | "cache-mounts");
        if ours && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            half_written(&path, found);
        }
    }
}
