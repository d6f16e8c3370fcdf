//! The control group of a container: found, frozen, killed, measured and removed by its files.
//!
//! libcontainer makes and configures the group; everything after that is a matter of a few files, read here for both
//! versions of the interface. In the hybrid layout the controllers are those of version 1.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// Where the kernel's control groups are mounted.
const MOUNT: &str = "/sys/fs/cgroup";

/// Which interface holds the controllers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// One hierarchy a controller, or the hybrid layout.
    V1,
    /// The unified hierarchy.
    V2,
}

/// Returns which interface holds the controllers of this host.
pub fn version() -> Version {
    if Path::new(MOUNT).join("cgroup.controllers").exists() { Version::V2 } else { Version::V1 }
}

/// Returns whether this process may make groups below the root that it sees.
pub fn writable() -> bool {
    let root = Path::new(MOUNT);
    let place = match version() {
        Version::V2 => root.to_path_buf(),
        Version::V1 => root.join("memory"),
    };
    rustix::fs::access(&place, rustix::fs::Access::WRITE_OK).is_ok() || !crate::identity::in_user_namespace()
}

/// Returns whether swap is accounted per group.
pub fn accounts_swap() -> bool {
    match version() {
        Version::V1 => Path::new(MOUNT).join("memory/memory.memsw.limit_in_bytes").exists(),
        // Version 2 has the file in every group but the root.
        Version::V2 => fs::read_dir(MOUNT)
            .is_ok_and(|groups| groups.flatten().any(|group| group.path().join("memory.swap.max").exists())),
    }
}

/// What control groups of this kernel can do beside counting memory and processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    /// `memory.swappiness` and `memory.oom_control`.
    pub swappiness: bool,
    /// Real-time processor time.
    pub realtime: bool,
    /// A weight for block devices.
    pub io_weight: bool,
    /// Bounds for block devices.
    pub io_throttle: bool,
}

/// Finds out what the control groups of this kernel can do.
pub fn abilities() -> Abilities {
    let root = Path::new(MOUNT);
    match version() {
        Version::V1 => Abilities {
            swappiness: root.join("memory/memory.swappiness").exists(),
            realtime: root.join("cpu/cpu.rt_runtime_us").exists(),
            // The root group has no weight of its own, only the accounts of the scheduler that would heed it.
            io_weight: ["blkio.weight", "blkio.bfq.io_serviced"]
                .iter()
                .any(|file| root.join("blkio").join(file).exists()),
            io_throttle: root.join("blkio/blkio.throttle.read_bps_device").exists(),
        },
        Version::V2 => {
            let has_io = fs::read_to_string(root.join("cgroup.controllers"))
                .is_ok_and(|text| text.split_ascii_whitespace().any(|name| name == "io"));
            let weighs = |directory: &Path| {
                ["io.weight", "io.bfq.weight"].iter().any(|file| directory.join(file).exists())
            };
            let weight = root.join("io.cost.qos").exists()
                || fs::read_dir(root).is_ok_and(|groups| groups.flatten().any(|group| weighs(&group.path())));
            Abilities { swappiness: false, realtime: false, io_weight: has_io && weight, io_throttle: has_io }
        }
    }
}

/// What a group has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Memory in use without the inactive page cache, bytes, as `docker stats` has it.
    pub memory: u64,
    /// Its limit, bytes; `None` when there is none.
    pub memory_limit: Option<u64>,
    /// Processor time, nanoseconds.
    pub cpu: u64,
    /// Number of processes and threads.
    pub pids: u64,
    /// Bytes read from block devices.
    pub block_read: u64,
    /// Bytes written to block devices.
    pub block_written: u64,
    /// How often the kernel ended a process for want of memory.
    pub oom_kills: u64,
}

/// A container's control group; it may not exist (any more).
#[derive(Clone, Debug)]
pub struct Cgroup {
    version: Version,
    /// Its directory in each hierarchy.
    directories: Vec<PathBuf>,
    path: PathBuf,
}

impl Cgroup {
    /// Returns the group at `path` below each hierarchy's root, e.g. `/coracle-0123456789ab`.
    pub fn new(path: &str) -> Self {
        let path = PathBuf::from(path.trim_start_matches('/'));
        let version = version();
        let directories = match version {
            Version::V2 => vec![Path::new(MOUNT).join(&path)],
            Version::V1 => hierarchies().into_iter().map(|root| root.join(&path)).collect(),
        };
        Self { version, directories, path }
    }

    /// Returns which interface it is of.
    pub(crate) fn version(&self) -> Version {
        self.version
    }

    pub(crate) fn controller(&self, name: &str) -> PathBuf {
        match self.version {
            Version::V1 => Path::new(MOUNT).join(name).join(&self.path),
            Version::V2 => Path::new(MOUNT).join(&self.path),
        }
    }

    /// Returns the group's directory where version 2 holds the controllers.
    pub(crate) fn unified_directory(&self) -> Option<PathBuf> {
        (self.version == Version::V2).then(|| self.controller(""))
    }

    /// Returns whether the group exists in any hierarchy.
    pub fn exists(&self) -> bool {
        self.directories.iter().any(|directory| directory.exists())
    }

    /// Opens the group's doors wherever it exists, for a process that will no longer see these paths.
    pub(crate) fn doors(&self) -> io::Result<Doors> {
        let doors: io::Result<Vec<File>> = self
            .directories
            .iter()
            .filter(|directory| directory.exists())
            .map(|directory| {
                // A thread that moves only itself takes no lock for which the kernel waits milliseconds; the unified
                // hierarchy has no such file outside threaded groups.
                let tasks = directory.join("tasks");
                let door = if tasks.exists() { tasks } else { directory.join("cgroup.procs") };
                File::options().write(true).open(door)
            })
            .collect();
        doors.map(Doors)
    }

    /// Returns the processes of the group.
    pub fn processes(&self) -> BTreeSet<i32> {
        self.directories
            .iter()
            .filter_map(|directory| fs::read_to_string(directory.join("cgroup.procs")).ok())
            .flat_map(|text| text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<i32>>())
            .collect()
    }

    /// Freezes or thaws the group and waits until it is so.
    pub fn set_frozen(&self, frozen: bool) -> io::Result<()> {
        let (file, word, state) = match (self.version, frozen) {
            (Version::V1, true) => ("freezer.state", "FROZEN", "FROZEN"),
            (Version::V1, false) => ("freezer.state", "THAWED", "THAWED"),
            (Version::V2, true) => ("cgroup.freeze", "1", "frozen 1"),
            (Version::V2, false) => ("cgroup.freeze", "0", "frozen 0"),
        };
        let directory = self.controller("freezer");
        let report = match self.version {
            Version::V1 => directory.join("freezer.state"),
            Version::V2 => directory.join("cgroup.events"),
        };
        fs::write(directory.join(file), word)?;
        for _ in 0..500 {
            if fs::read_to_string(&report)?.contains(state) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(2));
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "the processes did not freeze"))
    }

    /// Ends every process of the group and waits, for two seconds at most, until none is left.
    pub fn kill(&self) {
        if self.version == Version::V2 && fs::write(self.controller("").join("cgroup.kill"), "1").is_ok() {
            self.wait_until_empty();
            return;
        }
        for _ in 0..20 {
            let processes = self.processes();
            if processes.is_empty() {
                return;
            }
            for pid in processes {
                let _ = crate::syscall::kill(pid, libc::SIGKILL);
            }
            // A frozen process dies when it is thawed.
            let _ = fs::write(self.controller("freezer").join("freezer.state"), "THAWED");
            thread::sleep(Duration::from_millis(5));
        }
        self.wait_until_empty();
    }

    fn wait_until_empty(&self) {
        for _ in 0..400 {
            if self.processes().is_empty() {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Removes the group from every hierarchy, ending what still runs in it.
    pub fn remove(&self) -> io::Result<()> {
        let mut last = Ok(());
        for directory in &self.directories {
            let mut tries = 0;
            loop {
                match fs::remove_dir(directory) {
                    Ok(()) => break,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                    Err(error) if tries >= 200 => {
                        last = Err(error);
                        break;
                    }
                    Err(_) if tries == 0 => self.kill(),
                    Err(_) => thread::sleep(Duration::from_millis(5)),
                }
                tries += 1;
            }
        }
        last
    }

    /// Removes the group if nothing is in or below it; one that is not there is no error.
    pub fn remove_empty(&self) -> io::Result<()> {
        for directory in &self.directories {
            match fs::remove_dir(directory) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes processes of the group wait for memory rather than be ended; version 2 has no such control.
    pub(crate) fn hold_off_oom_kills(&self) -> io::Result<()> {
        match self.version {
            Version::V1 => fs::write(self.controller("memory").join("memory.oom_control"), "1"),
            Version::V2 => Ok(()),
        }
    }

    /// Returns how often the kernel ended a process of the group for want of memory.
    pub fn oom_kills(&self) -> u64 {
        let (file, key) = match self.version {
            Version::V1 => ("memory.oom_control", "oom_kill"),
            Version::V2 => ("memory.events", "oom_kill"),
        };
        field(&self.controller("memory").join(file), key).unwrap_or(0)
    }

    /// Returns what the group uses now.
    pub fn usage(&self) -> Usage {
        let memory = self.controller("memory");
        let (usage, limit, inactive) = match self.version {
            Version::V1 => (
                number(&memory.join("memory.usage_in_bytes")),
                number(&memory.join("memory.limit_in_bytes")),
                field(&memory.join("memory.stat"), "total_inactive_file"),
            ),
            Version::V2 => (
                number(&memory.join("memory.current")),
                number(&memory.join("memory.max")),
                field(&memory.join("memory.stat"), "inactive_file"),
            ),
        };
        let cpu = match self.version {
            Version::V1 => number(&self.controller("cpuacct").join("cpuacct.usage")).unwrap_or(0),
            Version::V2 => field(&self.controller("cpu").join("cpu.stat"), "usage_usec")
                .unwrap_or(0)
                .saturating_mul(1000),
        };
        let (block_read, block_written) = self.block_bytes();
        Usage {
            memory: usage.unwrap_or(0).saturating_sub(inactive.unwrap_or(0)),
            // Version 1 says "no limit" by the largest multiple of a page.
            memory_limit: limit.filter(|limit| *limit < 1 << 62),
            cpu,
            pids: number(&self.controller("pids").join("pids.current")).unwrap_or(0),
            block_read,
            block_written,
            oom_kills: self.oom_kills(),
        }
    }

    /// Returns the bytes read from and written to block devices.
    fn block_bytes(&self) -> (u64, u64) {
        let directory = self.controller("blkio");
        let (mut read, mut written) = (0, 0);
        match self.version {
            // `8:0 Read 4096`
            Version::V1 => {
                let files = ["blkio.throttle.io_service_bytes", "blkio.io_service_bytes"];
                let text = files.iter().find_map(|file| fs::read_to_string(directory.join(file)).ok());
                for line in text.unwrap_or_default().lines() {
                    let words: Vec<&str> = line.split_whitespace().collect();
                    let [_, kind, count] = words.as_slice() else { continue };
                    match *kind {
                        "Read" => read += count.parse::<u64>().unwrap_or(0),
                        "Write" => written += count.parse::<u64>().unwrap_or(0),
                        _ => {}
                    }
                }
            }
            // `8:0 rbytes=4096 wbytes=0 rios=1 ...`
            Version::V2 => {
                let text = fs::read_to_string(directory.join("io.stat")).unwrap_or_default();
                for word in text.split_whitespace() {
                    match word.split_once('=') {
                        Some(("rbytes", count)) => read += count.parse::<u64>().unwrap_or(0),
                        Some(("wbytes", count)) => written += count.parse::<u64>().unwrap_or(0),
                        _ => {}
                    }
                }
            }
        }
        (read, written)
    }
}

/// The open files through which a process moves itself into a group.
pub(crate) struct Doors(Vec<File>);

impl Doors {
    /// Moves this process, which has one thread, in.
    pub fn enter(&self) -> io::Result<()> {
        self.0.iter().try_for_each(|mut door| door.write_all(b"0"))
    }
}

/// Returns the roots of the hierarchies of version 1, and of the unified one beside them, without links.
fn hierarchies() -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(MOUNT) else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn field(path: &Path, key: &str) -> Option<u64> {
    fs::read_to_string(path)
        .ok()?
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}
