//! Everything known about a container, in the shape of Docker's `container inspect`. Contents of secrets are never in it.

use coracle_container::{ContainerState, Health, MountKind, Protocol, RestartPolicy};
use serde_json::{Map, Value, json};

use super::{ContainerView, Containers, host_config};
use crate::Result;

impl Containers<'_> {
    /// Returns everything known about a container, found by name or the beginning of its id.
    pub fn inspect(&self, name: &str) -> Result<Value> {
        let view = self.find(name)?;
        let spec = &view.record.spec;
        let arguments: Vec<&String> = spec.entrypoint.iter().chain(&spec.command).collect();
        let environment: Vec<String> =
            spec.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let networks = self.endpoints(&view)?;
        let mut value = json!({
            "Id": view.record.id, "Created": view.record.created.to_string(), "Name": format!("/{}", spec.name),
            "Path": arguments.first(), "Args": arguments.get(1..).unwrap_or_default(),
            "State": state(&view.state), "Image": spec.image_id,
            "RestartCount": restarts(&view.state), "Driver": "overlay", "Platform": "linux",
            "LogPath": self.engine.runtime.paths().log(&view.record.id),
            "Config": {
                "Domainname": spec.domainname.clone().unwrap_or_default(),
                "Hostname": spec.hostname.clone().unwrap_or_else(|| view.record.id.short().to_owned()),
                "User": spec.user, "Tty": spec.tty, "OpenStdin": spec.open_stdin, "Env": environment,
                "Cmd": spec.command, "Entrypoint": spec.entrypoint, "Image": spec.image,
                "WorkingDir": spec.working_directory, "Labels": spec.labels, "StopSignal": spec.stop_signal,
                "StopTimeout": spec.stop_grace_seconds, "Healthcheck": spec.healthcheck,
            },
            "HostConfig": {
                "Memory": spec.resources.memory.unwrap_or(0),
                "MemoryReservation": spec.resources.memory_reservation.unwrap_or(0),
                "NanoCpus": spec.resources.millicpus.unwrap_or(0) * 1_000_000,
                "CpuShares": spec.resources.cpu_shares.unwrap_or(0),
                "CpusetCpus": spec.resources.cpuset, "PidsLimit": spec.resources.pids,
                "Privileged": spec.privileged, "ReadonlyRootfs": spec.read_only, "Init": spec.init,
                "CapAdd": spec.cap_add, "CapDrop": spec.cap_drop, "AutoRemove": spec.auto_remove,
                "RestartPolicy": policy(spec.restart),
                "ExtraHosts": spec.extra_hosts.iter().map(|(name, ip)| format!("{name}:{ip}")).collect::<Vec<_>>(),
                "LogConfig": {"Type": if spec.log.disabled { "none" } else { "json-file" }, "Config": {
                    "max-size": spec.log.max_size.to_string(), "max-file": spec.log.max_files.to_string(),
                }},
            },
            "Mounts": self.mounts_of(&view),
            "Secrets": spec.secrets.iter().map(|secret| json!({
                "Target": secret.target, "Mode": format!("{:04o}", secret.mode), "Uid": secret.uid, "Gid": secret.gid,
            })).collect::<Vec<_>>(),
            "NetworkSettings": {"Networks": networks, "Ports": ports(&view)},
        });
        if let Value::Object(known) = &mut value["HostConfig"] {
            known.extend(host_config::of(spec));
        }
        Ok(value)
    }

    fn endpoints(&self, view: &ContainerView) -> Result<Map<String, Value>> {
        let mut networks = Map::new();
        for attachment in &view.record.spec.networks {
            let endpoint = view.endpoints.iter().find(|endpoint| endpoint.network == attachment.network);
            let record = self.engine.networks().record(&attachment.network)?;
            networks.insert(
                attachment.network.clone(),
                json!({
                    "Aliases": attachment.aliases,
                    "NetworkID": record.as_ref().map(|record| &record.id),
                    "Gateway": record.as_ref().map(|record| record.gateway),
                    "IPPrefixLen": record.as_ref().map(|record| record.subnet.prefix()),
                    "GlobalIPv6Address": endpoint
                        .and_then(|endpoint| endpoint.address6)
                        .map_or_else(String::new, |address| address.to_string()),
                    "GlobalIPv6PrefixLen": record
                        .as_ref()
                        .and_then(|record| record.ipv6)
                        .map_or(0, |plan| plan.subnet.prefix()),
                    "IPv6Gateway": record
                        .as_ref()
                        .and_then(|record| record.ipv6)
                        .map_or_else(String::new, |plan| plan.gateway.to_string()),
                    "IPAddress": endpoint.map_or_else(String::new, |endpoint| endpoint.address.to_string()),
                }),
            );
        }
        Ok(networks)
    }

    fn mounts_of(&self, view: &ContainerView) -> Vec<Value> {
        let mount = |mount: &coracle_container::Mount| {
            let (kind, name, source) = match &mount.kind {
                MountKind::Bind { source, .. } => ("bind", None, Some(source.clone())),
                MountKind::Volume { name, .. } => {
                    ("volume", Some(name), Some(self.engine.volumes().data(name)))
                }
                MountKind::Tmpfs { .. } => ("tmpfs", None, None),
                MountKind::Image { reference, .. } => ("image", Some(reference), None),
            };
            let mut shown = json!({"Type": kind, "Name": name, "Source": source, "Destination": mount.target, "RW": !mount.read_only});
            if let MountKind::Bind { idmap: Some(idmap), .. } = &mount.kind {
                shown["IdMap"] = json!(idmap.to_string());
            }
            shown
        };
        view.record.spec.mounts.iter().map(mount).collect()
    }
}

fn state(state: &ContainerState) -> Value {
    let (pid, started) = match state {
        ContainerState::Running { process, since, .. } | ContainerState::Paused { process, since, .. } => {
            (process.pid, Some(since.to_string()))
        }
        ContainerState::Exited { started, .. } => (0, started.map(|time| time.to_string())),
        ContainerState::Created | ContainerState::Restarting { .. } => (0, None),
    };
    let (code, finished, out_of_memory, error) = match state {
        ContainerState::Exited { code, at, out_of_memory, error, .. } => {
            (*code, Some(at.to_string()), *out_of_memory, error.clone().unwrap_or_default())
        }
        ContainerState::Restarting { code, .. } => (*code, None, false, String::new()),
        _ => (0, None, false, String::new()),
    };
    let mut value = json!({
        "Status": state.word(), "Running": state.is_running(), "Paused": matches!(state, ContainerState::Paused { .. }),
        "Restarting": matches!(state, ContainerState::Restarting { .. }), "OOMKilled": out_of_memory, "Pid": pid,
        "ExitCode": code, "Error": error, "StartedAt": started, "FinishedAt": finished,
    });
    if let Some(health) = state.health() {
        value["Health"] = health_of(health);
    }
    value
}

fn health_of(health: &Health) -> Value {
    let probes: Vec<Value> = health
        .log
        .iter()
        .map(|probe| {
            json!({
                "Start": probe.start.to_string(), "End": probe.end.to_string(), "ExitCode": probe.exit_code,
                "Output": probe.output,
            })
        })
        .collect();
    json!({"Status": health.status, "FailingStreak": health.failing_streak, "Log": probes})
}

fn restarts(state: &ContainerState) -> u32 {
    match state {
        ContainerState::Running { restarts, .. }
        | ContainerState::Paused { restarts, .. }
        | ContainerState::Restarting { restarts, .. }
        | ContainerState::Exited { restarts, .. } => *restarts,
        ContainerState::Created => 0,
    }
}

fn policy(policy: RestartPolicy) -> Value {
    match policy {
        RestartPolicy::No => json!({"Name": "no", "MaximumRetryCount": 0}),
        RestartPolicy::Always => json!({"Name": "always", "MaximumRetryCount": 0}),
        RestartPolicy::UnlessStopped => json!({"Name": "unless-stopped", "MaximumRetryCount": 0}),
        RestartPolicy::OnFailure { max_retries } => {
            json!({"Name": "on-failure", "MaximumRetryCount": max_retries.unwrap_or(0)})
        }
    }
}

fn ports(view: &ContainerView) -> Map<String, Value> {
    let mut ports: Map<String, Value> = Map::new();
    for port in &view.ports {
        let protocol = match port.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        let host = json!({
            "HostIp": port.host_ip.map_or_else(|| "0.0.0.0".to_owned(), |ip| ip.to_string()),
            "HostPort": port.host_port.map_or_else(String::new, |port| port.to_string()),
        });
        let key = format!("{}/{protocol}", port.container_port);
        match ports.entry(key).or_insert_with(|| json!([])) {
            Value::Array(list) => list.push(host),
            _ => unreachable!("only arrays are put in"),
        }
    }
    ports
}
