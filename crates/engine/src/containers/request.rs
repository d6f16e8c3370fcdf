//! What a caller asks of `run` and `create`, and the pure fold of an image's defaults into it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use coracle_container::{
    ContainerSpec, Device, DeviceRule, Healthcheck, Isolation, Link, LogOptions, Mount, MountKind,
    NetworkAttachment, NetworkMode, Protocol, PublishedPort, Resources, RestartPolicy, SecretFile, Security,
    Ulimit, VolumesFrom,
};
use coracle_oci::{HealthCommand, HealthcheckConfig, ImageConfig, ImageId, OnUnhealthy, Platform};
use coracle_report::Diagnostic;
use indexmap::IndexMap;

/// The scope of containers that belong to no project.
pub const STANDALONE: &str = "_standalone";
/// The network of containers that name none.
pub const DEFAULT_NETWORK: &str = "bridge";
/// Docker's search path, for images that set none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a caller asks for; `None` and empty mean the image's default, or Docker's.
#[derive(Clone, Debug, Default)]
pub struct ContainerRequest {
    /// Name; one is made up when it is `None`.
    pub name: Option<String>,
    /// The image as the user wrote it.
    pub image: String,
    /// Replaces the image's entry point, and drops its command.
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the image's command.
    pub command: Vec<String>,
    /// Variables, over the image's.
    pub environment: IndexMap<String, String>,
    /// Working directory.
    pub working_directory: Option<String>,
    /// User.
    pub user: Option<String>,
    /// Extra groups.
    pub group_add: Vec<String>,
    /// Host name.
    pub hostname: Option<String>,
    /// NIS domain name.
    pub domainname: Option<String>,
    /// Labels, over the image's.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the runtime specification.
    pub annotations: BTreeMap<String, String>,
    /// A terminal.
    pub tty: bool,
    /// Standard input stays open.
    pub open_stdin: bool,
    /// An init process as pid 1.
    pub init: bool,
    /// Remove it when it ends.
    pub auto_remove: bool,
    /// Read-only root.
    pub read_only: bool,
    /// Everything allowed.
    pub privileged: bool,
    /// No gain from set-user-id programs.
    pub no_new_privileges: bool,
    /// No seccomp filter.
    pub seccomp_unconfined: bool,
    /// Capabilities added.
    pub cap_add: Vec<String>,
    /// Capabilities dropped.
    pub cap_drop: Vec<String>,
    /// Further options of security.
    pub security: Security,
    /// Namespaces that are shared.
    pub isolation: Isolation,
    /// Mounts.
    pub mounts: Vec<Mount>,
    /// Secrets and configuration files.
    pub secrets: Vec<SecretFile>,
    /// Networks: empty means the default bridge.
    pub networks: Vec<NetworkAttachment>,
    /// `none`, `host` or another container's instead of networks.
    pub network_mode: Option<NetworkMode>,
    /// Ports.
    pub ports: Vec<PublishedPort>,
    /// Publish each exposed port on a free one.
    pub publish_all: bool,
    /// Ports it listens on beside those of its image, e.g. `80/tcp`.
    pub exposed: Vec<String>,
    /// Containers whose mounts it has too.
    pub volumes_from: Vec<VolumesFrom>,
    /// What it runs on; `None` is this machine's.
    pub platform: Option<Platform>,
    /// Lines for `/etc/hosts`.
    pub extra_hosts: Vec<(String, String)>,
    /// Name servers.
    pub dns: Vec<IpAddr>,
    /// Search domains.
    pub dns_search: Vec<String>,
    /// Options of the resolver.
    pub dns_options: Vec<String>,
    /// Names of others that it alone knows.
    pub links: Vec<Link>,
    /// Limits.
    pub resources: Resources,
    /// Process limits.
    pub ulimits: Vec<Ulimit>,
    /// Kernel parameters.
    pub sysctls: BTreeMap<String, String>,
    /// Devices.
    pub devices: Vec<Device>,
    /// Rules for devices.
    pub device_rules: Vec<DeviceRule>,
    /// The control group that its own is below.
    pub cgroup_parent: Option<String>,
    /// How soon the kernel ends it for want of memory.
    pub oom_score_adj: Option<i32>,
    /// Size of `/dev/shm`.
    pub shm_size: Option<u64>,
    /// Restart policy.
    pub restart: RestartPolicy,
    /// Health check.
    pub healthcheck: HealthRequest,
    /// Stop signal.
    pub stop_signal: Option<String>,
    /// Seconds until SIGKILL.
    pub stop_grace_seconds: Option<u64>,
    /// Log bounds.
    pub log: LogOptions,
}

/// What a caller says about the health check. Durations in milliseconds.
#[derive(Clone, Debug, Default)]
pub struct HealthRequest {
    /// Turned off.
    pub disabled: bool,
    /// What to run.
    pub command: Option<HealthCommand>,
    /// Time between probes.
    pub interval: Option<u64>,
    /// Time one probe may take.
    pub timeout: Option<u64>,
    /// Time in which failures do not count.
    pub start_period: Option<u64>,
    /// Time between probes within that.
    pub start_interval: Option<u64>,
    /// Failures that make it unhealthy.
    pub retries: Option<u32>,
    /// What follows then.
    pub on_failure: OnUnhealthy,
}

/// Folds the image's defaults into `request`. `name` is the final name.
pub fn fold(
    request: ContainerRequest,
    name: String,
    image: &ImageConfig,
    id: ImageId,
) -> Result<ContainerSpec, Diagnostic> {
    let defaults = &image.config;
    let (entrypoint, command) = match request.entrypoint {
        // Docker: an entry point given by the user drops the image's command.
        Some(entrypoint) => (entrypoint, request.command),
        None if request.command.is_empty() => {
            (defaults.entrypoint.clone().unwrap_or_default(), defaults.cmd.clone().unwrap_or_default())
        }
        None => (defaults.entrypoint.clone().unwrap_or_default(), request.command),
    };
    if entrypoint.iter().chain(&command).next().is_none_or(String::is_empty) {
        let message = format!("image `{}` names no command to run", request.image);
        return Err(Diagnostic::error("no-command", message)
            .with_hint(format!("give one: coracle run {} COMMAND", request.image)));
    }
    let mut environment = IndexMap::new();
    for line in &defaults.env {
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        environment.insert(key.to_owned(), value.to_owned());
    }
    environment.entry("PATH".to_owned()).or_insert_with(|| DEFAULT_PATH.to_owned());
    environment.extend(request.environment);
    let mut labels = defaults.labels.clone();
    labels.extend(request.labels);
    let mut mounts = request.mounts;
    for path in defaults.volumes.keys() {
        // Each path the image declares gets an anonymous volume, unless something is mounted there.
        if !mounts.iter().any(|mount| mount.target.trim_end_matches('/') == path.trim_end_matches('/')) {
            let kind = MountKind::volume("", false);
            mounts.push(Mount { kind, target: path.clone(), read_only: false });
        }
    }
    let mut listens: Vec<String> = defaults.exposed_ports.keys().cloned().chain(request.exposed).collect();
    listens.sort();
    listens.dedup();
    let mut ports = request.ports;
    if request.publish_all {
        let published = |port: &PublishedPort| {
            ports.iter().any(|own| own.container_port == port.container_port && own.protocol == port.protocol)
        };
        let more: Vec<_> =
            listens.iter().filter_map(|text| exposed(text)).filter(|port| !published(port)).collect();
        ports.extend(more);
    }
    let network_mode = request.network_mode.unwrap_or(NetworkMode::Bridge);
    let networks = match (&network_mode, request.networks.is_empty()) {
        (NetworkMode::Bridge, true) => {
            vec![NetworkAttachment { network: DEFAULT_NETWORK.to_owned(), ..NetworkAttachment::default() }]
        }
        (NetworkMode::Bridge, false) => request.networks,
        (NetworkMode::None | NetworkMode::Host | NetworkMode::Container(_), _) => Vec::new(),
    };
    let working_directory = match request.working_directory {
        Some(path) if path.starts_with('/') => path,
        Some(path) => {
            return Err(Diagnostic::error(
                "working-directory",
                format!("working directory `{path}` is not absolute"),
            )
            .with_hint(format!("write it from the root: -w /{path}")));
        }
        None if defaults.working_dir.is_empty() => "/".to_owned(),
        None => defaults.working_dir.clone(),
    };
    Ok(ContainerSpec {
        name,
        image: request.image,
        image_id: id,
        entrypoint,
        command,
        environment,
        working_directory,
        user: request.user.unwrap_or_else(|| defaults.user.clone()),
        group_add: request.group_add,
        hostname: request.hostname,
        domainname: request.domainname,
        labels,
        annotations: request.annotations,
        tty: request.tty,
        open_stdin: request.open_stdin,
        init: request.init,
        auto_remove: request.auto_remove,
        read_only: request.read_only,
        privileged: request.privileged,
        no_new_privileges: request.no_new_privileges,
        seccomp_unconfined: request.seccomp_unconfined,
        cap_add: request.cap_add,
        cap_drop: request.cap_drop,
        security: request.security,
        isolation: request.isolation,
        mounts,
        volumes_from: request.volumes_from,
        on_unhealthy: request.healthcheck.on_failure,
        restart_pace: coracle_container::RestartPace::default(),
        hooks: coracle_container::Hooks::default(),
        secrets: request.secrets,
        network_mode,
        networks,
        ports,
        exposed: listens,
        extra_hosts: request.extra_hosts,
        dns: request.dns,
        dns_search: request.dns_search,
        dns_options: request.dns_options,
        links: request.links,
        resources: request.resources,
        ulimits: request.ulimits,
        sysctls: request.sysctls,
        devices: request.devices,
        device_rules: request.device_rules,
        cgroup_parent: request.cgroup_parent,
        oom_score_adj: request.oom_score_adj,
        shm_size: request.shm_size,
        restart: request.restart,
        healthcheck: health(&request.healthcheck, defaults.healthcheck.as_ref()),
        stop_signal: request
            .stop_signal
            .or_else(|| defaults.stop_signal.clone())
            .unwrap_or_else(|| "SIGTERM".to_owned()),
        stop_grace_seconds: request.stop_grace_seconds.unwrap_or(10),
        log: request.log,
        scope: STANDALONE.to_owned(),
    })
}

/// Returns the health check that results from what the caller and the image say.
pub fn health(request: &HealthRequest, image: Option<&HealthcheckConfig>) -> Option<Healthcheck> {
    const NANOS_PER_MILLI: u64 = 1_000_000;
    if request.disabled {
        return None;
    }
    let command = request.command.clone().or_else(|| image.and_then(HealthcheckConfig::command))?;
    if command == HealthCommand::None {
        return None;
    }
    let defaults = Healthcheck::with_defaults(command);
    let pick = |asked: Option<u64>, image: Option<u64>, default: u64| {
        let image = image.filter(|nanos| *nanos > 0).map(|nanos| (nanos / NANOS_PER_MILLI).max(1));
        asked.filter(|millis| *millis > 0).or(image).unwrap_or(default)
    };
    let retries = request.retries.filter(|count| *count > 0).or_else(|| {
        image.map(|image| u32::try_from(image.retries).unwrap_or(u32::MAX)).filter(|count| *count > 0)
    });
    Some(Healthcheck {
        interval: pick(request.interval, image.map(|image| image.interval), defaults.interval),
        timeout: pick(request.timeout, image.map(|image| image.timeout), defaults.timeout),
        start_period: pick(
            request.start_period,
            image.map(|image| image.start_period),
            defaults.start_period,
        ),
        start_interval: pick(
            request.start_interval,
            image.map(|image| image.start_interval),
            defaults.start_interval,
        ),
        retries: retries.unwrap_or(defaults.retries),
        command: defaults.command,
    })
}

/// Reads an exposed port of an image: `8000`, `8000/tcp`.
fn exposed(text: &str) -> Option<PublishedPort> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    let container_port = port.parse().ok()?;
    Some(PublishedPort { host_ip: None, host_port: None, container_port, protocol })
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_oci::{Digest, Empty};

    fn image() -> ImageConfig {
        let mut image = ImageConfig::scratch();
        image.config.entrypoint = Some(vec!["/entry".to_owned()]);
        image.config.cmd = Some(vec!["serve".to_owned()]);
        image.config.env = vec!["A=1".to_owned(), "B=2".to_owned()];
        image.config.volumes.insert("/data".to_owned(), Empty {});
        image.config.exposed_ports.insert("80/tcp".to_owned(), Empty {});
        image.config.healthcheck = Some(HealthcheckConfig {
            test: vec!["CMD".to_owned(), "check".to_owned()],
            interval: 2_000_000_000,
            ..HealthcheckConfig::default()
        });
        image
    }

    fn fold_with(request: ContainerRequest) -> ContainerSpec {
        let image = image();
        fold(request, "name".to_owned(), &image, ImageId::new(Digest::of("x"))).unwrap()
    }

    #[test]
    fn the_users_command_keeps_the_entry_point() {
        let spec =
            fold_with(ContainerRequest { command: vec!["shell".to_owned()], ..ContainerRequest::default() });
        assert_eq!((spec.entrypoint, spec.command), (vec!["/entry".to_owned()], vec!["shell".to_owned()]));
    }

    #[test]
    fn the_users_entry_point_drops_the_images_command() {
        let entrypoint = Some(vec!["sh".to_owned()]);
        let spec = fold_with(ContainerRequest { entrypoint, ..ContainerRequest::default() });
        assert_eq!((spec.entrypoint, spec.command), (vec!["sh".to_owned()], Vec::new()));
    }

    #[test]
    fn defaults_of_the_image_are_folded_in() {
        let environment = IndexMap::from([("B".to_owned(), "3".to_owned())]);
        let spec =
            fold_with(ContainerRequest { environment, publish_all: true, ..ContainerRequest::default() });
        assert_eq!(spec.environment["A"], "1");
        assert_eq!(spec.environment["B"], "3");
        assert!(spec.environment.contains_key("PATH"));
        assert_eq!(spec.mounts[0].target, "/data");
        assert_eq!(spec.ports[0].container_port, 80);
        assert_eq!(spec.networks[0].network, DEFAULT_NETWORK);
        let health = spec.healthcheck.unwrap();
        assert_eq!((health.interval, health.timeout, health.retries), (2_000, 30_000, 3));
    }

    #[test]
    fn a_mount_of_the_users_takes_the_place_of_an_anonymous_volume() {
        let kind = MountKind::tmpfs(None, None);
        let mounts = vec![Mount { kind, target: "/data/".to_owned(), read_only: false }];
        assert_eq!(fold_with(ContainerRequest { mounts, ..ContainerRequest::default() }).mounts.len(), 1);
    }

    #[test]
    fn nothing_to_run_is_the_users_error() {
        let image = ImageConfig::scratch();
        let request = ContainerRequest { image: "empty".to_owned(), ..ContainerRequest::default() };
        let error = fold(request, "n".to_owned(), &image, ImageId::new(Digest::of("x"))).unwrap_err();
        assert_eq!(error.code, "no-command");
    }
}
