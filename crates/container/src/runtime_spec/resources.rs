//! Limits of a container's control group; what this kernel cannot do is left out with a note.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{DeviceNode, Facts, RuntimeSpecError};
use crate::{ContainerSpec, DeviceLimit};

/// Length of the period in which a CPU quota is counted, microseconds.
const CPU_PERIOD: u64 = 100_000;

pub(super) fn device(node: &DeviceNode) -> Value {
    json!({
        "path": node.path,
        "type": if node.block { "b" } else { "c" },
        "major": node.major,
        "minor": node.minor,
        "fileMode": node.mode & 0o777,
        "uid": node.uid,
        "gid": node.gid,
    })
}

pub(super) fn resources(
    container: &ContainerSpec,
    facts: &Facts,
    notes: &mut Vec<String>,
) -> Result<Value, RuntimeSpecError> {
    let mut resources = json!({ "devices": devices(container, facts) });
    let parts = [
        ("memory", memory(container, facts, notes)),
        ("cpu", cpu(container, facts, notes)?),
        ("blockIO", block_io(container, facts, notes)?),
    ];
    for (name, part) in parts {
        if !part.is_empty() {
            resources[name] = Value::Object(part);
        }
    }
    if let Some(pids) = container.resources.pids {
        resources["pids"] = json!({ "limit": i64::try_from(pids).unwrap_or(i64::MAX) });
    }
    Ok(resources)
}

/// Says which limits have no effect where there is no control group to set them in.
pub(super) fn not_enforced(resources: &Value) -> Option<String> {
    let names = [
        ("memory", "memory"),
        ("cpu", "processor time"),
        ("pids", "processes"),
        ("blockIO", "block devices"),
    ];
    let wanted: Vec<&str> =
        names.iter().filter(|(key, _)| !resources[*key].is_null()).map(|(_, name)| *name).collect();
    (!wanted.is_empty()).then(|| {
        format!(
            "limits of {} are not enforced: this user has no control group of its own (coracle doctor)",
            wanted.join(", ")
        )
    })
}

fn devices(container: &ContainerSpec, facts: &Facts) -> Vec<Value> {
    let mut devices = vec![json!({ "allow": container.privileged, "access": "rwm" })];
    if container.privileged {
        return devices;
    }
    devices.extend(facts.devices.iter().map(|node| {
        json!({
            "allow": true,
            "type": if node.block { "b" } else { "c" },
            "major": node.major,
            "minor": node.minor,
            "access": node.access.to_string(),
        })
    }));
    for rule in &container.device_rules {
        let mut value =
            json!({ "allow": true, "type": rule.kind.to_string(), "access": rule.access.to_string() });
        for (name, number) in [("major", rule.major), ("minor", rule.minor)] {
            if let Some(number) = number {
                value[name] = json!(number);
            }
        }
        devices.push(value);
    }
    devices
}

fn memory(container: &ContainerSpec, facts: &Facts, notes: &mut Vec<String>) -> Map<String, Value> {
    let wanted = &container.resources;
    let mut memory = Map::new();
    if let Some(limit) = wanted.memory {
        memory.insert("limit".to_owned(), json!(limit));
        let swap = wanted.memory_swap.unwrap_or_else(|| {
            i64::try_from(limit).ok().and_then(|limit| limit.checked_mul(2)).unwrap_or(-1)
        });
        if facts.swap_accounting {
            memory.insert("swap".to_owned(), json!(swap));
        } else if wanted.memory_swap.is_some() {
            notes.push(
                "the limit of memory and swap is left out: this kernel does not account swap".to_owned(),
            );
        }
    }
    if let Some(reservation) = wanted.memory_reservation {
        memory.insert("reservation".to_owned(), json!(reservation));
    }
    if let Some(swappiness) = wanted.memory_swappiness {
        if facts.controls.swappiness {
            memory.insert("swappiness".to_owned(), json!(swappiness));
        } else {
            notes.push("the swappiness is left out: control groups of version 2 have none".to_owned());
        }
    }
    if wanted.oom_kill_disable && !facts.controls.oom_control {
        notes.push(
            "the kernel still ends processes for want of memory: control groups of version 2 cannot hold it off"
                .to_owned(),
        );
    }
    memory
}

fn cpu(
    container: &ContainerSpec,
    facts: &Facts,
    notes: &mut Vec<String>,
) -> Result<Map<String, Value>, RuntimeSpecError> {
    let wanted = &container.resources;
    let mut cpu = Map::new();
    if let Some(millicpus) = wanted.millicpus {
        if wanted.cpu_quota.is_some() || wanted.cpu_period.is_some() {
            return Err(RuntimeSpecError::CpuLimits);
        }
        // The kernel refuses a quota below one millisecond.
        cpu.insert("quota".to_owned(), json!((millicpus * CPU_PERIOD / 1000).max(1000)));
        cpu.insert("period".to_owned(), json!(CPU_PERIOD));
    }
    if let Some(period) = wanted.cpu_period {
        cpu.insert("period".to_owned(), json!(period));
    }
    if let Some(quota) = wanted.cpu_quota {
        cpu.insert("quota".to_owned(), json!(quota));
    }
    if wanted.cpu_rt_runtime.is_some() || wanted.cpu_rt_period.is_some() {
        if facts.controls.realtime {
            cpu.extend(wanted.cpu_rt_period.map(|period| ("realtimePeriod".to_owned(), json!(period))));
            cpu.extend(wanted.cpu_rt_runtime.map(|runtime| ("realtimeRuntime".to_owned(), json!(runtime))));
        } else {
            notes.push("real-time processor time is left out: this kernel accounts none".to_owned());
        }
    }
    if let Some(shares) = wanted.cpu_shares {
        cpu.insert("shares".to_owned(), json!(shares));
    }
    if let Some(cpuset) = &wanted.cpuset {
        cpu.insert("cpus".to_owned(), json!(cpuset));
    }
    if let Some(nodes) = &wanted.cpuset_mems {
        cpu.insert("mems".to_owned(), json!(nodes));
    }
    Ok(cpu)
}

fn block_io(
    container: &ContainerSpec,
    facts: &Facts,
    notes: &mut Vec<String>,
) -> Result<Map<String, Value>, RuntimeSpecError> {
    let wanted = &container.resources.block_io;
    let mut io = Map::new();
    let numbers = |path: &Path| {
        facts
            .block_devices
            .get(path)
            .copied()
            .ok_or_else(|| RuntimeSpecError::BlockDevice(path.display().to_string()))
    };
    if let Some(weight) = wanted.weight.filter(|weight| *weight > 0) {
        if facts.controls.io_weight {
            io.insert("weight".to_owned(), json!(weight));
        } else {
            notes.push("the weight of block devices is left out: this kernel has none".to_owned());
        }
    }
    if !wanted.weight_device.is_empty() {
        for limit in &wanted.weight_device {
            numbers(&limit.path)?;
        }
        notes
            .push("the weights of single block devices are left out: the runtime cannot set them".to_owned());
    }
    let lists = [
        ("throttleReadBpsDevice", &wanted.device_read_bps),
        ("throttleWriteBpsDevice", &wanted.device_write_bps),
        ("throttleReadIOPSDevice", &wanted.device_read_iops),
        ("throttleWriteIOPSDevice", &wanted.device_write_iops),
    ];
    let mut left_out = false;
    for (name, limits) in lists {
        let one = |limit: &DeviceLimit| {
            let (major, minor) = numbers(&limit.path)?;
            Ok(json!({ "major": major, "minor": minor, "rate": limit.rate }))
        };
        let values = limits.iter().map(one).collect::<Result<Vec<_>, RuntimeSpecError>>()?;
        if values.is_empty() {
            continue;
        }
        if facts.controls.io_throttle {
            io.insert(name.to_owned(), Value::Array(values));
        } else {
            left_out = true;
        }
    }
    if left_out {
        notes.push("bounds of block devices are left out: this kernel accounts none per group".to_owned());
    }
    Ok(io)
}
