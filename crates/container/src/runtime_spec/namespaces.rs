//! The namespaces of a container, and which kernel parameters are its own.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Facts, NetworkNamespace, RuntimeSpecError};
use crate::{CgroupMode, ContainerSpec, IpcMode, PidMode, UtsMode};

/// Kernel parameters of the namespace of inter-process communication, beside those below `fs.mqueue.`.
const OF_IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// Returns the namespaces that are made or joined; those of the host are left out. Those of other containers lie where
/// the shim binds them.
pub(super) fn list(container: &ContainerSpec, facts: &Facts) -> Vec<Value> {
    let isolation = &container.isolation;
    let joined = |name: &str| json!({ "type": name, "path": facts.namespaces.join(name) });
    let mut list = Vec::new();
    match isolation.pid {
        PidMode::Private => list.push(json!({ "type": "pid" })),
        PidMode::Container(_) => list.push(joined("pid")),
        PidMode::Host => {}
    }
    match isolation.ipc {
        IpcMode::Private | IpcMode::Shareable | IpcMode::None => list.push(json!({ "type": "ipc" })),
        IpcMode::Container(_) => list.push(joined("ipc")),
        IpcMode::Host => {}
    }
    if isolation.uts == UtsMode::Private {
        list.push(json!({ "type": "uts" }));
    }
    list.push(json!({ "type": "mount" }));
    if isolation.cgroup == CgroupMode::Private {
        list.push(json!({ "type": "cgroup" }));
    }
    list
}

/// Kernel parameters: those of the network namespace, and the rest.
pub(super) type Sysctls = (BTreeMap<String, String>, BTreeMap<String, String>);

/// Splits the kernel parameters; one that is not the container's own is refused, since setting it would set the host's.
pub(super) fn sysctls(
    container: &ContainerSpec,
    namespace: NetworkNamespace,
    largest_group: u32,
) -> Result<Sysctls, RuntimeSpecError> {
    let (mut network, mut rest) = (BTreeMap::new(), BTreeMap::new());
    for (key, value) in &container.sysctls {
        let key = key.replace('/', ".");
        let refuse = |whose: &'static str| Err(RuntimeSpecError::Sysctl { key: key.clone(), whose });
        if key.split('.').any(str::is_empty) {
            return refuse("a kernel parameter: its name is malformed");
        }
        if key.starts_with("net.") {
            if namespace == NetworkNamespace::Host {
                return refuse("the container’s own: it uses the host’s network");
            }
            network.insert(key, value.clone());
            continue;
        }
        if key.starts_with("fs.mqueue.") || OF_IPC.contains(&key.as_str()) {
            if container.isolation.ipc == IpcMode::Host {
                return refuse("the container’s own: it uses the host’s inter-process communication");
            }
        } else if matches!(key.as_str(), "kernel.domainname" | "kernel.hostname") {
            if container.isolation.uts == UtsMode::Host {
                return refuse("the container’s own: it uses the host’s name");
            }
        } else {
            return refuse("part of any namespace: it would change the host");
        }
        rest.insert(key, value.clone());
    }
    if namespace == NetworkNamespace::Own {
        // As Docker: without privileges, a process may use port 80 and ping in a network of its own.
        // The kernel takes no group that does not exist.
        let ping = format!("0 {}", largest_group.min(2_147_483_647));
        for (key, value) in
            [("net.ipv4.ip_unprivileged_port_start", "0"), ("net.ipv4.ping_group_range", ping.as_str())]
        {
            network.entry(key.to_owned()).or_insert_with(|| value.to_owned());
        }
    }
    Ok((network, rest))
}
