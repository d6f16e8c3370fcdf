//! What a test sees and does on the host beside the binary: addresses, ports, processes, control groups.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

/// Returns a port that nobody listens on.
#[track_caller]
pub fn free_port() -> u16 {
    // Below the range from which the kernel takes ports for outgoing connections.
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = 20_000 + (std::process::id() % 10_000) as u16;
    for _ in 0..10_000 {
        let port = 20_000 + (start - 20_000 + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return port;
        }
    }
    panic!("no port from 20000 to 29999 is free");
}

/// Returns the address that the host uses towards others; `None` where it has no network.
pub fn own_address() -> Option<Ipv4Addr> {
    // Connecting a datagram socket sends nothing; it only chooses a route.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    match socket.local_addr().ok()? {
        SocketAddr::V4(address) if !address.ip().is_loopback() => Some(*address.ip()),
        _ => None,
    }
}

/// Returns whether a process in the network of process `pid` can open a connection.
#[track_caller]
pub fn connects_from(pid: i32, address: &str, port: u16) -> bool {
    let script = format!("exec 3<>/dev/tcp/{address}/{port}");
    let status = Command::new("nsenter")
        .args(["-t", &pid.to_string(), "-n", "timeout", "3", "bash", "-c", &script])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.expect("nsenter starts").success()
}

/// Returns the default route in the network of process `pid`; empty when there is none.
#[track_caller]
pub fn default_route_of(pid: i32) -> String {
    let output = Command::new("nsenter")
        .args(["-t", &pid.to_string(), "-n", "ip", "-4", "route", "show", "default"])
        .output()
        .expect("nsenter starts");
    assert!(output.status.success(), "cannot enter the network of {pid}: {output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Returns the value of a line `NAME:\tVALUE...` of `/proc/PID/status`.
fn status_of(pid: i32, name: &str) -> Option<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Returns the parent of a process.
#[track_caller]
pub fn parent_of(pid: i32) -> i32 {
    status_of(pid, "PPid").unwrap_or_else(|| panic!("process {pid} has gone"))
}

/// Returns the user id of a process; `None` when it has gone.
pub fn user_of(pid: i32) -> Option<i32> {
    status_of(pid, "Uid")
}

/// The control group of a container, version 1 or 2.
#[derive(Debug)]
pub struct Cgroup {
    name: String,
}

impl Cgroup {
    /// Returns the group of the container with this id.
    pub fn of(id: &str) -> Self {
        Self { name: format!("coracle-{}", &id[..12]) }
    }

    fn file(&self, controller: &str, file: &str) -> PathBuf {
        Path::new("/sys/fs/cgroup").join(controller).join(&self.name).join(file)
    }

    /// Reads `v1` of the controller's own hierarchy where there is one, else `v2` of the unified one.
    #[track_caller]
    fn read(&self, controller: &str, v1: &str, v2: &str) -> String {
        let old = self.file(controller, v1);
        let path = if old.exists() { old } else { self.file("", v2) };
        let text = fs::read_to_string(&path);
        text.unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display())).trim().to_owned()
    }

    /// Returns its memory limit in bytes, as the kernel writes it.
    #[track_caller]
    pub fn memory(&self) -> String {
        self.read("memory", "memory.limit_in_bytes", "memory.max")
    }

    /// Returns its limit of processes, as the kernel writes it.
    #[track_caller]
    pub fn pids(&self) -> String {
        self.read("pids", "pids.max", "pids.max")
    }

    /// Returns its processor quota in thousandths of a processor; `None` when it has none.
    #[track_caller]
    pub fn millicpus(&self) -> Option<u64> {
        let old = self.file("cpu", "cpu.cfs_quota_us");
        let (quota, period) = if old.exists() {
            (self.read("cpu", "cpu.cfs_quota_us", ""), self.read("cpu", "cpu.cfs_period_us", ""))
        } else {
            let text = self.read("cpu", "", "cpu.max");
            let (quota, period) = text.split_once(' ').expect("cpu.max has two words");
            (quota.to_owned(), period.to_owned())
        };
        let period: u64 = period.parse().expect("a period is a number");
        // `-1` and `max` mean none.
        Some(quota.parse::<u64>().ok()? * 1000 / period)
    }

    /// Returns how often it had to wait because its quota was used up.
    #[track_caller]
    pub fn throttled(&self) -> u64 {
        let text = self.read("cpu", "cpu.stat", "cpu.stat");
        let count = text.lines().find_map(|line| line.strip_prefix("nr_throttled ")?.parse().ok());
        count.unwrap_or_else(|| panic!("no nr_throttled in {text}"))
    }

    /// Returns the processes in it.
    #[track_caller]
    pub fn processes(&self) -> Vec<i32> {
        let text = self.read("pids", "cgroup.procs", "cgroup.procs");
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }
}
