//! Limits of a control group that change while its processes run, by the files of either interface.
//!
//! The order matters: memory alone may not exceed memory and swap together, at any moment.

use std::fs;
use std::io;
use std::path::Path;

use crate::cgroup::{Cgroup, Version};

/// New limits; `None` leaves one as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory, bytes.
    pub memory: Option<u64>,
    /// Memory and swap together, bytes; -1 is without bound.
    pub memory_swap: Option<i64>,
    /// Soft limit of memory, bytes.
    pub memory_reservation: Option<u64>,
    /// Relative weight of processor time, 2 to 262144.
    pub cpu_shares: Option<u64>,
    /// Processor time in a period, microseconds; -1 is without bound.
    pub cpu_quota: Option<i64>,
    /// The period, microseconds.
    pub cpu_period: Option<u64>,
    /// Real-time processor time in a period, microseconds.
    pub cpu_rt_runtime: Option<i64>,
    /// The period of that, microseconds.
    pub cpu_rt_period: Option<u64>,
    /// Processors, e.g. `0-1`.
    pub cpuset: Option<String>,
    /// Memory nodes, e.g. `0`.
    pub cpuset_mems: Option<String>,
    /// Processes and threads; -1 is without bound.
    pub pids: Option<i64>,
    /// Weight of block devices, 10 to 1000.
    pub block_weight: Option<u16>,
}

/// A file and what is written into it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Setting {
    controller: &'static str,
    file: &'static str,
    text: String,
}

fn setting(controller: &'static str, file: &'static str, text: impl ToString) -> Setting {
    Setting { controller, file, text: text.to_string() }
}

impl Limits {
    /// Returns what is written, in order; `memory_now` is the limit of memory that holds now.
    fn settings(&self, version: Version, memory_now: Option<u64>) -> Vec<Setting> {
        match version {
            Version::V1 => self.settings_v1(memory_now),
            Version::V2 => self.settings_v2(memory_now),
        }
    }

    fn settings_v1(&self, memory_now: Option<u64>) -> Vec<Setting> {
        let mut all = Vec::new();
        let memory = self.memory.map(|bytes| setting("memory", "memory.limit_in_bytes", bytes));
        let swap = self.memory_swap.map(|bytes| setting("memory", "memory.memsw.limit_in_bytes", bytes));
        let grows = self.memory.is_some_and(|new| memory_now.is_some_and(|now| new > now));
        // Growing, the sum must make room first; shrinking, the part.
        if grows || (self.memory.is_some() && memory_now.is_none() && self.memory_swap == Some(-1)) {
            all.extend(swap.into_iter().chain(memory));
        } else {
            all.extend(memory.into_iter().chain(swap));
        }
        all.extend(
            self.memory_reservation.map(|bytes| setting("memory", "memory.soft_limit_in_bytes", bytes)),
        );
        all.extend(self.cpu_shares.map(|shares| setting("cpu", "cpu.shares", shares)));
        all.extend(self.cpu_period.map(|period| setting("cpu", "cpu.cfs_period_us", period)));
        all.extend(self.cpu_quota.map(|quota| setting("cpu", "cpu.cfs_quota_us", quota)));
        all.extend(self.cpu_rt_period.map(|period| setting("cpu", "cpu.rt_period_us", period)));
        all.extend(self.cpu_rt_runtime.map(|runtime| setting("cpu", "cpu.rt_runtime_us", runtime)));
        all.extend(self.cpuset.as_ref().map(|list| setting("cpuset", "cpuset.cpus", list)));
        all.extend(self.cpuset_mems.as_ref().map(|list| setting("cpuset", "cpuset.mems", list)));
        all.extend(self.pids.map(|count| setting("pids", "pids.max", bound(count))));
        all.extend(self.block_weight.map(|weight| setting("blkio", "blkio.weight", weight)));
        all
    }

    fn settings_v2(&self, memory_now: Option<u64>) -> Vec<Setting> {
        let mut all = Vec::new();
        let memory = self.memory.or(memory_now);
        // Version 2 counts swap by itself.
        let swap = self.memory_swap.and_then(|sum| match u64::try_from(sum) {
            Ok(sum) => memory.map(|memory| sum.saturating_sub(memory).to_string()),
            Err(_) => Some("max".to_owned()),
        });
        all.extend(swap.map(|swap| setting("memory", "memory.swap.max", swap)));
        all.extend(self.memory.map(|bytes| setting("memory", "memory.max", bytes)));
        all.extend(self.memory_reservation.map(|bytes| setting("memory", "memory.low", bytes)));
        // The conversion that runc and crun use.
        let weight = |shares: u64| 1 + ((shares.clamp(2, 262_144) - 2) * 9_999) / 262_142;
        all.extend(self.cpu_shares.map(|shares| setting("cpu", "cpu.weight", weight(shares))));
        if self.cpu_quota.is_some() || self.cpu_period.is_some() {
            let quota = self.cpu_quota.map_or_else(String::new, bound);
            let text = match (quota.as_str(), self.cpu_period) {
                ("", Some(period)) => format!("max {period}"),
                (quota, Some(period)) => format!("{quota} {period}"),
                (quota, None) => quota.to_owned(),
            };
            all.push(setting("cpu", "cpu.max", text));
        }
        all.extend(self.cpuset.as_ref().map(|list| setting("cpuset", "cpuset.cpus", list)));
        all.extend(self.cpuset_mems.as_ref().map(|list| setting("cpuset", "cpuset.mems", list)));
        all.extend(self.pids.map(|count| setting("pids", "pids.max", bound(count))));
        all.extend(self.block_weight.map(|weight| setting("io", "io.weight", format!("default {weight}"))));
        all
    }
}

fn bound(number: i64) -> String {
    if number < 0 { "max".to_owned() } else { number.to_string() }
}

impl Cgroup {
    /// Sets limits of the group. A file that this kernel does not have is named in the answer; one that the kernel refuses
    /// is an error that names it, and what was set before it stays.
    pub fn set_limits(&self, limits: &Limits) -> io::Result<Vec<&'static str>> {
        let mut left_out = Vec::new();
        for setting in limits.settings(self.version(), self.usage().memory_limit) {
            let path = self.controller(setting.controller).join(setting.file);
            if !path.exists() {
                left_out.push(setting.file);
                continue;
            }
            write(&path, &setting.text).map_err(|error| {
                io::Error::new(error.kind(), format!("{} <- {}: {error}", setting.file, setting.text))
            })?;
        }
        Ok(left_out)
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(limits: &Limits, version: Version, now: Option<u64>) -> Vec<(&'static str, String)> {
        limits.settings(version, now).into_iter().map(|setting| (setting.file, setting.text)).collect()
    }

    #[test]
    fn memory_and_its_sum_with_swap_are_set_in_the_order_that_the_kernel_allows() {
        let limits = Limits { memory: Some(200), memory_swap: Some(400), ..Limits::default() };
        let order = |now| files(&limits, Version::V1, Some(now)).remove(0).0;
        assert_eq!(order(100), "memory.memsw.limit_in_bytes");
        assert_eq!(order(300), "memory.limit_in_bytes");
        let unified = files(&limits, Version::V2, Some(100));
        assert!(unified.contains(&("memory.swap.max", "200".to_owned())), "{unified:?}");
        let endless = Limits { memory_swap: Some(-1), ..Limits::default() };
        assert_eq!(files(&endless, Version::V2, None), [("memory.swap.max", "max".to_owned())]);
    }

    #[test]
    fn processor_time_in_both_interfaces() {
        let limits = Limits {
            cpu_quota: Some(50_000),
            cpu_period: Some(100_000),
            cpu_shares: Some(1024),
            pids: Some(-1),
            ..Limits::default()
        };
        let old = files(&limits, Version::V1, None);
        assert!(old.contains(&("cpu.cfs_quota_us", "50000".to_owned())));
        assert!(old.contains(&("pids.max", "max".to_owned())));
        let unified = files(&limits, Version::V2, None);
        assert!(unified.contains(&("cpu.max", "50000 100000".to_owned())));
        assert!(unified.contains(&("cpu.weight", "39".to_owned())));
    }
}
