//! What a container shares with the host and how it is bounded, in the words of Docker's `inspect` (`HostConfig`).

use coracle_container::{BlockIo, ContainerSpec, DeviceLimit, IpcMode, NetworkMode, PidMode, UtsMode};
use serde_json::{Map, Value, json};

/// Returns what `spec` says of namespaces, devices, limits and security.
pub(super) fn of(spec: &ContainerSpec) -> Map<String, Value> {
    let resources = &spec.resources;
    let devices = spec.devices.iter().map(|device| {
        json!({
            "PathOnHost": device.source, "PathInContainer": device.target,
            "CgroupPermissions": device.access.to_string(),
        })
    });
    let links: Vec<String> =
        spec.links.iter().map(|link| format!("{}:{}", link.container, link.alias)).collect();
    let parts = [
        json!({
            "NetworkMode": network(&spec.network_mode), "IpcMode": ipc(&spec.isolation.ipc),
            "PidMode": pid(&spec.isolation.pid), "CgroupnsMode": spec.isolation.cgroup,
            "UTSMode": if spec.isolation.uts == UtsMode::Host { "host" } else { "" },
            "Annotations": spec.annotations, "Links": links, "Dns": spec.dns, "DnsOptions": spec.dns_options,
            "DnsSearch": spec.dns_search,
        }),
        json!({
            "Devices": devices.collect::<Vec<_>>(), "DeviceCgroupRules": spec.device_rules,
            "CgroupParent": spec.cgroup_parent.clone().unwrap_or_default(),
            "OomScoreAdj": spec.oom_score_adj.unwrap_or(0), "OomKillDisable": resources.oom_kill_disable,
            "CpuPeriod": resources.cpu_period.unwrap_or(0), "CpuQuota": resources.cpu_quota.unwrap_or(0),
            "CpuRealtimePeriod": resources.cpu_rt_period.unwrap_or(0),
            "CpuRealtimeRuntime": resources.cpu_rt_runtime.unwrap_or(0),
            "MemorySwap": resources.memory_swap.unwrap_or(0), "MemorySwappiness": resources.memory_swappiness,
            "SecurityOpt": security(spec),
        }),
        block_io(&resources.block_io),
    ];
    let objects =
        parts.into_iter().filter_map(|part| if let Value::Object(part) = part { Some(part) } else { None });
    objects.flatten().collect()
}

fn block_io(io: &BlockIo) -> Value {
    let limits = |limits: &[DeviceLimit], what: &str| -> Vec<Value> {
        limits.iter().map(|limit| json!({ "Path": limit.path, what: limit.rate })).collect()
    };
    json!({
        "BlkioWeight": io.weight.unwrap_or(0), "BlkioWeightDevice": limits(&io.weight_device, "Weight"),
        "BlkioDeviceReadBps": limits(&io.device_read_bps, "Rate"),
        "BlkioDeviceWriteBps": limits(&io.device_write_bps, "Rate"),
        "BlkioDeviceReadIOps": limits(&io.device_read_iops, "Rate"),
        "BlkioDeviceWriteIOps": limits(&io.device_write_iops, "Rate"),
    })
}

fn network(mode: &NetworkMode) -> String {
    match mode {
        NetworkMode::Bridge => "bridge".to_owned(),
        NetworkMode::None => "none".to_owned(),
        NetworkMode::Host => "host".to_owned(),
        NetworkMode::Container(name) => format!("container:{name}"),
    }
}

fn ipc(mode: &IpcMode) -> String {
    match mode {
        IpcMode::Private => "private".to_owned(),
        IpcMode::Shareable => "shareable".to_owned(),
        IpcMode::None => "none".to_owned(),
        IpcMode::Host => "host".to_owned(),
        IpcMode::Container(name) => format!("container:{name}"),
    }
}

fn pid(mode: &PidMode) -> String {
    match mode {
        PidMode::Private => String::new(),
        PidMode::Host => "host".to_owned(),
        PidMode::Container(name) => format!("container:{name}"),
    }
}

/// Returns `--security-opt` as it would be written; a profile is named by what it is, not shown.
fn security(spec: &ContainerSpec) -> Vec<String> {
    let security = &spec.security;
    let mut options = Vec::new();
    options.extend(spec.no_new_privileges.then(|| "no-new-privileges".to_owned()));
    options.extend(spec.seccomp_unconfined.then(|| "seccomp=unconfined".to_owned()));
    options.extend(security.seccomp_profile.as_ref().map(|_| "seccomp=profile".to_owned()));
    options.extend(security.apparmor.as_ref().map(|profile| format!("apparmor={profile}")));
    options.extend(security.labels.iter().map(|label| format!("label={label}")));
    options.extend(security.system_paths_unconfined.then(|| "systempaths=unconfined".to_owned()));
    options
}
