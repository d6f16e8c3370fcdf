//! What the tests have in common: a root file system, a runtime in a temporary place, and a count of what is left.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use coracle_container::runtime_spec::{EtcFiles, NetworkNamespace};
use coracle_container::{ContainerId, ContainerRecord, ContainerSpec, ContainerState};
use coracle_report::Stream;
use coracle_runtime::{Chunk, Ended, ExecSpec, Overlay, Paths, Prepared, ResolvedUser, Runtime, Stdin};
use serde_json::json;
use tempfile::TempDir;

const BUSYBOX: &str = "/bin/busybox";
const APPLETS: &[&str] = &[
    "sh", "cat", "echo", "true", "false", "sleep", "id", "ls", "mkdir", "touch", "rm", "kill", "yes", "head",
    "seq", "grep", "env", "pwd", "stty", "tty", "ps", "dd", "unshare", "chown", "chmod", "mount", "hostname",
    "wc", "test", "printf", "ip", "ping", "setsid", "trap", "expr", "tr", "stat", "readlink", "nproc",
    "tail", "od", "sync",
];

/// Only one test at a time: they count what the whole machine holds.
static ALONE: Mutex<()> = Mutex::new(());

/// A place to run containers in. When it goes, it checks that nothing is left.
pub struct Machine {
    pub runtime: Runtime,
    directory: TempDir,
    before: Leftovers,
    _alone: MutexGuard<'static, ()>,
}

/// What a container leaves if it leaves anything.
#[derive(Debug, PartialEq, Eq)]
struct Leftovers {
    mounts: usize,
    namespaces: BTreeSet<String>,
    processes: Vec<String>,
    cgroups: Vec<PathBuf>,
}

impl Leftovers {
    fn count() -> Self {
        let mut namespaces = BTreeSet::new();
        let mut processes = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
                continue;
            };
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            // Others may run containers on this machine; ours have their bundles in a directory of this name.
            if command.contains("/coracle-test") {
                processes.push(format!("{pid} {command}"));
                if let Ok(namespace) = fs::read_link(entry.path().join("ns/net")) {
                    namespaces.insert(namespace.to_string_lossy().into_owned());
                }
            }
        }
        let mut cgroups = Vec::new();
        for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().filter_map(Result::ok) {
            let Ok(groups) = fs::read_dir(hierarchy.path()) else { continue };
            cgroups.extend(
                groups
                    .filter_map(Result::ok)
                    .filter(|group| group.file_name().to_string_lossy().starts_with("coracle-fe57"))
                    .map(|group| group.path()),
            );
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        Self {
            mounts: mounts.lines().filter(|line| line.contains("coracle-test")).count(),
            namespaces,
            processes,
            cgroups,
        }
    }
}

/// Returns a machine; `None`, with the reason printed, when this one cannot run containers.
pub fn machine() -> Option<Machine> {
    let skip = |reason: &str| {
        assert!(std::env::var_os("CI").is_none(), "{reason}");
        eprintln!("SKIPPED: {reason}");
        None
    };
    if !rustix::process::geteuid().is_root() {
        return skip("containers need root");
    }
    if !Path::new(BUSYBOX).exists() {
        return skip("no /bin/busybox; apt-get install busybox-static");
    }
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // A test that failed may have left something that is just going.
    let end = Instant::now() + Duration::from_secs(20);
    while !Leftovers::count().processes.is_empty() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
    let directory = tempfile::Builder::new().prefix("coracle-test").tempdir().unwrap();
    let root = directory.path().join("lower");
    for name in ["bin", "etc", "tmp", "root", "proc", "sys", "dev"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    fs::copy(BUSYBOX, root.join("bin/busybox")).unwrap();
    for applet in APPLETS {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    std::os::unix::fs::chown(root.join("tmp"), Some(0), Some(0)).unwrap();
    std::os::unix::fs::symlink("/proc/mounts", root.join("etc/mtab")).unwrap();
    let runtime = Runtime::new(Paths {
        data: directory.path().join("data"),
        run: directory.path().join("run"),
        journal: directory.path().join("run/events/journal"),
        // Another build of it may be measured.
        program: std::env::var_os("CORACLE_SHIM_PROGRAM")
            .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_coracle-shim-host")), PathBuf::from),
    });
    Some(Machine { runtime, directory, before: Leftovers::count(), _alone: alone })
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // What was killed may take a moment to go.
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let after = Leftovers::count();
            if after == self.before {
                return;
            }
            assert!(Instant::now() < end, "left behind: {after:#?}, before: {:#?}", self.before);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A container under test.
pub struct Container<'a> {
    machine: &'a Machine,
    pub record: ContainerRecord,
    pub prepared: Prepared,
}

impl Machine {
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Returns a container that runs `script` in a shell.
    pub fn shell(&self, script: &str) -> Container<'_> {
        self.container(&["/bin/sh", "-c", script])
    }

    pub fn container(&self, args: &[&str]) -> Container<'_> {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut bytes = [0x5a; 32];
        // The prefix tells containers of these tests from others on the machine.
        bytes[..2].copy_from_slice(&[0xfe, 0x57]);
        bytes[2..6].copy_from_slice(&(std::process::id() << 8 | (number & 0xff)).to_be_bytes());
        let spec: ContainerSpec = serde_json::from_value(json!({
            "name": format!("test-{number}"),
            "image": "busybox",
            "image_id": format!("sha256:{}", "a".repeat(64)),
            "command": args,
            "working_directory": "/",
            "network_mode": "none",
            "stop_signal": "SIGTERM",
            "stop_grace_seconds": 10,
            "scope": "_standalone",
        }))
        .unwrap();
        let record = ContainerRecord {
            id: ContainerId::from_random(bytes),
            spec,
            created: jiff::Timestamp::now(),
            snapshot: "1".to_owned(),
        };
        let scratch = self.path().join(format!("scratch-{number}"));
        let (upper, work) = (scratch.join("fs"), scratch.join("work"));
        fs::create_dir_all(&upper).unwrap();
        fs::create_dir_all(&work).unwrap();
        Container {
            machine: self,
            record,
            prepared: Prepared {
                overlay: Overlay {
                    lower: vec![self.path().join("lower")],
                    upper: Some(upper),
                    work: Some(work),
                    options: Vec::new(),
                },
                user: ResolvedUser { uid: 0, gid: 0, groups: vec![0], home: "/root".to_owned() },
                views: Vec::new(),
                sources: Vec::new(),
                secret_environment: Vec::new(),
                mounts: Vec::new(),
                etc: EtcFiles::default(),
                network: NetworkNamespace::Own,
                partners: Vec::new(),
                stdin: Stdin::Closed,
                reap: Vec::new(),
                bound_to_client: false,
                host_name_variable: true,
                remove_mount_points: false,
            },
        }
    }
}

/// What a foreground run gave.
#[derive(Debug)]
pub struct Output {
    pub code: i32,
    pub error: Option<String>,
    pub stdout: String,
    pub stderr: String,
}

impl Container<'_> {
    pub fn runtime(&self) -> &Runtime {
        &self.machine.runtime
    }

    pub fn id(&self) -> &ContainerId {
        &self.record.id
    }

    pub fn upper(&self) -> &Path {
        self.prepared.overlay.upper.as_deref().unwrap()
    }

    /// Starts it in the background.
    pub fn start(&self) {
        self.runtime().spawn_shim(&self.record, &self.prepared).unwrap();
        self.runtime().create(self.id()).unwrap();
        self.runtime().start(self.id()).unwrap();
    }

    /// Runs it to its end, feeding `input`.
    pub fn run_with(&mut self, input: &[u8]) -> Output {
        if !input.is_empty() {
            self.prepared.stdin = Stdin::Once;
        }
        self.runtime().spawn_shim(&self.record, &self.prepared).unwrap();
        let mut attachment = self.runtime().attach(self.id(), true, true).unwrap();
        let mut output = Output { code: -1, error: None, stdout: String::new(), stderr: String::new() };
        if let Err(error) = self.runtime().create(self.id()) {
            output.code = error.exit_code();
            output.error = Some(error.to_string());
            return output;
        }
        self.runtime().start(self.id()).unwrap();
        if !input.is_empty() {
            let mut writer = attachment.input().unwrap();
            writer.write(input).unwrap();
            writer.close().unwrap();
        }
        loop {
            match attachment.next(None).unwrap() {
                Chunk::Output(Stream::Stdout, bytes) => {
                    output.stdout.push_str(&String::from_utf8_lossy(bytes));
                }
                Chunk::Output(Stream::Stderr, bytes) => {
                    output.stderr.push_str(&String::from_utf8_lossy(bytes));
                }
                Chunk::Nothing => {}
                Chunk::Ended(Ended { code, error }) => {
                    output.code = code;
                    output.error = error;
                    return output;
                }
            }
        }
    }

    pub fn run(&mut self) -> Output {
        self.run_with(b"")
    }

    pub fn state(&self) -> ContainerState {
        self.runtime().state(self.id()).unwrap()
    }

    /// Waits until the state is as wanted, and returns it.
    pub fn until(&self, wanted: impl Fn(&ContainerState) -> bool) -> ContainerState {
        let end = Instant::now() + Duration::from_mins(1);
        loop {
            let state = self.state();
            if wanted(&state) {
                return state;
            }
            assert!(Instant::now() < end, "still {state:#?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn until_exited(&self) -> ContainerState {
        self.until(|state| matches!(state, ContainerState::Exited { .. }))
    }

    /// Waits until a file that the container writes is there.
    pub fn until_file(&self, name: &str) -> String {
        let path = self.upper().join(name);
        let end = Instant::now() + Duration::from_mins(1);
        loop {
            let mut text = String::new();
            if let Ok(mut file) = fs::File::open(&path) {
                file.read_to_string(&mut text).unwrap();
                return text;
            }
            assert!(Instant::now() < end, "no {}", path.display());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn exec(&self, script: &str) -> coracle_runtime::Captured {
        let spec =
            ExecSpec { args: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(), ..ExecSpec::default() };
        self.runtime().exec_captured(self.id(), &spec, 1 << 16).unwrap()
    }

    pub fn kill(&self) {
        let _ = self.runtime().stop(self.id(), Some(9), Some(Duration::ZERO));
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        self.kill();
    }
}
