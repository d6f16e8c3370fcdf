//! What containers use: two samples, and what lies between them.

use std::fs;
use std::time::Instant;

use coracle_container::{ContainerId, ContainerState};
use coracle_runtime::Usage;

use super::Containers;
use crate::Result;

/// What a container has used up to a moment.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    at: Instant,
    usage: Usage,
    received: u64,
    sent: u64,
}

/// What a container uses, as `docker stats` shows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stats {
    /// Processor time, percent of one processor.
    pub cpu: f64,
    /// Memory without inactive page cache, bytes.
    pub memory: u64,
    /// Its limit, bytes; the machine's memory when there is none.
    pub memory_limit: u64,
    /// Bytes received over its networks.
    pub received: u64,
    /// Bytes sent.
    pub sent: u64,
    /// Bytes read from block devices.
    pub block_read: u64,
    /// Bytes written to block devices.
    pub block_written: u64,
    /// Processes and threads.
    pub pids: u64,
}

impl Stats {
    /// Returns the share of the memory limit that is used, percent.
    pub fn memory_share(&self) -> f64 {
        if self.memory_limit == 0 { 0.0 } else { self.memory as f64 / self.memory_limit as f64 * 100.0 }
    }
}

impl Sample {
    /// Returns what a container uses, its processor time measured from an earlier sample on.
    pub fn since(&self, earlier: &Self) -> Stats {
        let time = self.at.saturating_duration_since(earlier.at).as_nanos() as f64;
        let used = self.usage.cpu.saturating_sub(earlier.usage.cpu) as f64;
        Stats {
            cpu: if time > 0.0 { used / time * 100.0 } else { 0.0 },
            memory: self.usage.memory,
            memory_limit: self.usage.memory_limit.unwrap_or_else(machine_memory),
            received: self.received,
            sent: self.sent,
            block_read: self.usage.block_read,
            block_written: self.usage.block_written,
            pids: self.usage.pids,
        }
    }
}

impl Containers<'_> {
    /// Measures a container; `None` when it does not run.
    pub fn sample(&self, id: &ContainerId) -> Result<Option<Sample>> {
        let (ContainerState::Running { process, .. } | ContainerState::Paused { process, .. }) =
            self.state(id)?
        else {
            return Ok(None);
        };
        let (received, sent) = network_bytes(process.pid);
        let (at, usage) = (Instant::now(), self.engine.runtime.stats(id));
        Ok(Some(Sample { at, usage, received, sent }))
    }
}

/// Returns the bytes that a process's network namespace received and sent, loopback left out.
fn network_bytes(pid: i32) -> (u64, u64) {
    count(&fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default())
}

fn count(table: &str) -> (u64, u64) {
    let (mut received, mut sent) = (0, 0);
    // Two lines of headings.
    for line in table.lines().skip(2) {
        let Some((device, numbers)) = line.split_once(':') else { continue };
        if device.trim() == "lo" {
            continue;
        }
        let numbers: Vec<u64> = numbers.split_whitespace().map(|text| text.parse().unwrap_or(0)).collect();
        received += numbers.first().copied().unwrap_or(0);
        sent += numbers.get(8).copied().unwrap_or(0);
    }
    (received, sent)
}

fn machine_memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_summed_without_loopback() {
        let table = "Inter-|   Receive |  Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes packets\n    lo: 9 1 0 0 0 0 0 0 9 1 0 0 0 0 0 0\n  eth0: 100 2 0 0 0 0 0 0 40 1 0 0 0 0 0 0\n  eth1:  11 2 0 0 0 0 0 0  2 1 0 0 0 0 0 0\n";
        assert_eq!(count(table), (111, 42));
    }

    #[test]
    fn half_a_processor_is_fifty_percent() {
        let at = Instant::now();
        let usage = Usage { cpu: 1_000, ..Usage::default() };
        let earlier = Sample { at, usage, received: 0, sent: 0 };
        let later = Sample {
            at: at + std::time::Duration::from_micros(2),
            usage: Usage { cpu: 2_000, memory: 25, memory_limit: Some(100), ..usage },
            ..earlier
        };
        let stats = later.since(&earlier);
        assert!((stats.cpu - 50.0).abs() < 1e-9);
        assert!((stats.memory_share() - 25.0).abs() < 1e-9);
    }
}
