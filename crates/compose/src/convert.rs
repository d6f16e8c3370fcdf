//! A service and its image to a complete [`ContainerSpec`].

use std::time::Duration;

use coracle_composefile as file;
use coracle_composefile::{DependencyCondition, FileContent, Project, Service};
use coracle_container::{
    ContainerSpec, Healthcheck, Hook, Hooks, LogOptions, Protocol, PublishedPort, RestartPace, RestartPolicy,
    SecretFile, Ulimit,
};
use coracle_oci::{Digest, HealthCommand, HealthcheckConfig, RunConfig};
use coracle_report::Diagnostic;
use indexmap::IndexMap;

use crate::desired::{DesiredProject, GeneratedFile, Inputs, ResolvedImage};
use crate::{attributes, labels, mounts, ports};

/// `PATH` of an image that sets none, Docker's default.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A file that a service is given, and the digest of its content.
#[derive(Clone, Debug)]
pub(crate) struct GrantedFile {
    pub(crate) file: SecretFile,
    pub(crate) content: Digest,
    pub(crate) generated: Option<GeneratedFile>,
}

/// Resolves the secrets and configurations that a service is granted.
pub(crate) fn granted_files(
    inputs: Inputs<'_>,
    service: &Service,
) -> Result<Vec<GrantedFile>, Vec<Diagnostic>> {
    let project = inputs.project;
    let secrets = service.secrets.iter().map(|grant| ("secret", grant, &project.secrets));
    let configs = service.configs.iter().map(|grant| ("config", grant, &project.configs));
    let (mut granted, mut errors) = (Vec::new(), Vec::new());
    for (word, grant, objects) in secrets.chain(configs) {
        let Some(object) = objects.get(&grant.source) else { continue };
        let (source, content, generated) = match &object.content {
            FileContent::File(path) => {
                if let Some(digest) = inputs.files.get(path) {
                    (path.clone(), *digest, None)
                } else {
                    let message = format!("{word} `{}` has no file {}", grant.source, path.display());
                    errors.push(
                        Diagnostic::error("missing-file", message)
                            .with_span(object.span.clone())
                            .with_note(format!("service `{}` needs it", service.name))
                            .with_hint(format!("create it: printf '%s' VALUE > {}", path.display())),
                    );
                    continue;
                }
            }
            FileContent::Inline(text) => {
                let path = inputs.generated_directory.join(format!("{word}-{}", grant.source));
                let generated = GeneratedFile { path: path.clone(), content: text.clone() };
                (path, Digest::of(text), Some(generated))
            }
            FileContent::External(name) => {
                let message = format!("{word} `{name}` is external, which is not supported yet");
                errors.push(
                    Diagnostic::error("not-supported", message)
                        .with_span(object.span.clone())
                        .with_hint("give it a `file` or an `environment` variable"),
                );
                continue;
            }
        };
        let target = grant.target.clone();
        let file = SecretFile { source, target, uid: grant.uid, gid: grant.gid, mode: grant.mode };
        granted.push(GrantedFile { file, content, generated });
    }
    if errors.is_empty() { Ok(granted) } else { Err(errors) }
}

/// Returns the specification of one replica, without the labels that [`label`] adds.
pub(crate) fn container_spec(
    inputs: Inputs<'_>,
    wanted: &DesiredProject,
    service: &Service,
    image: &ResolvedImage,
    files: &[GrantedFile],
    ordinal: u32,
) -> Result<ContainerSpec, Vec<Diagnostic>> {
    let project = inputs.project;
    let defaults = &image.config;
    let (entrypoint, command) = command_line(service, defaults);
    if entrypoint.is_empty() && command.is_empty() {
        let message = format!(
            "service `{}`: neither it nor image `{}` has a command",
            service.name,
            service.image.familiar()
        );
        let hint = "give the service a `command`";
        return Err(vec![
            Diagnostic::error("no-command", message).with_span(service.span.clone()).with_hint(hint),
        ]);
    }
    if !service.refusals.is_empty() {
        return Err(service.refusals.clone());
    }
    let name = attributes::container_name(project, service, ordinal);
    let (network_mode, networks) = attributes::networks(project, service)?;
    let mounts = mounts::mounts(inputs, wanted, service, defaults, ordinal)?;
    let mut ports = Vec::new();
    for port in &service.ports {
        let host_port = ports::host_port(service, port, ordinal).map_err(|error| vec![*error])?;
        let protocol = match port.protocol {
            file::Protocol::Tcp => Protocol::Tcp,
            file::Protocol::Udp => Protocol::Udp,
        };
        ports.push(PublishedPort { host_ip: port.host_ip, host_port, container_port: port.target, protocol });
    }
    let labels = defaults.labels.clone().into_iter().chain(service.labels.clone()).collect();
    let working_directory = service.working_dir.clone().unwrap_or_else(|| defaults.working_dir.clone());
    let working_directory =
        if working_directory.starts_with('/') { working_directory } else { format!("/{working_directory}") };
    Ok(ContainerSpec {
        exposed: Vec::new(),
        name,
        image: service.image.familiar(),
        image_id: image.id,
        entrypoint,
        command,
        environment: environment(service, defaults),
        working_directory,
        user: service.user.clone().unwrap_or_else(|| defaults.user.clone()),
        group_add: service.group_add.clone(),
        hostname: service.hostname.clone(),
        domainname: service.domainname.clone(),
        labels,
        annotations: attributes::annotations(service),
        tty: service.tty,
        open_stdin: service.stdin_open,
        init: service.init,
        auto_remove: false,
        read_only: service.read_only,
        privileged: service.privileged,
        no_new_privileges: attributes::no_new_privileges(service),
        seccomp_unconfined: service.seccomp_unconfined,
        cap_add: service.cap_add.clone(),
        cap_drop: service.cap_drop.clone(),
        security: attributes::security(service)?,
        isolation: attributes::isolation(project, &service.isolation),
        mounts,
        volumes_from: mounts::of_containers(service),
        secrets: files.iter().map(|granted| granted.file.clone()).collect(),
        network_mode,
        networks,
        ports,
        extra_hosts: service.extra_hosts.clone(),
        dns: service.dns.clone(),
        dns_search: service.dns_search.clone(),
        dns_options: service.dns_options.clone(),
        links: attributes::links(project, service),
        resources: attributes::resources(&service.resources),
        ulimits: service
            .ulimits
            .iter()
            .map(|ulimit| Ulimit { name: ulimit.name.clone(), soft: ulimit.soft, hard: ulimit.hard })
            .collect(),
        sysctls: service.sysctls.clone().into_iter().collect(),
        devices: attributes::devices(service)?,
        device_rules: attributes::device_rules(service)?,
        cgroup_parent: service.cgroup_parent.clone(),
        oom_score_adj: service.oom_score_adj,
        shm_size: service.shm_size,
        restart: restart(service.restart),
        restart_pace: RestartPace {
            delay: service.deploy.restart_delay.map(milliseconds),
            window: service.deploy.restart_window.map(milliseconds),
        },
        hooks: Hooks {
            post_start: service.post_start.iter().map(hook).collect(),
            pre_stop: service.pre_stop.iter().map(hook).collect(),
        },
        on_unhealthy: service.on_unhealthy,
        healthcheck: healthcheck(service.healthcheck.as_ref(), defaults.healthcheck.as_ref()),
        stop_signal: service
            .stop_signal
            .clone()
            .or_else(|| defaults.stop_signal.clone())
            .unwrap_or_else(|| "SIGTERM".to_owned()),
        stop_grace_seconds: service
            .stop_grace_period
            .map_or(10, |period| period.as_millis().div_ceil(1000) as u64),
        log: log(&service.logging),
        scope: project.name.clone(),
    })
}

/// Folds entry points and commands: a service's entry point makes the image's command void (Compose, `entrypoint`).
fn command_line(service: &Service, defaults: &RunConfig) -> (Vec<String>, Vec<String>) {
    let entrypoint = service.entrypoint.clone();
    let command = match (&service.command, &entrypoint) {
        (Some(command), _) => command.clone(),
        (None, Some(_)) => Vec::new(),
        (None, None) => defaults.cmd.clone().unwrap_or_default(),
    };
    (entrypoint.or_else(|| defaults.entrypoint.clone()).unwrap_or_default(), command)
}

fn environment(service: &Service, defaults: &RunConfig) -> IndexMap<String, String> {
    let mut environment: IndexMap<String, String> = defaults
        .env
        .iter()
        .filter_map(|entry| entry.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    environment.entry("PATH".to_owned()).or_insert_with(|| DEFAULT_PATH.to_owned());
    environment.extend(service.environment.clone());
    environment
}

fn restart(policy: file::RestartPolicy) -> RestartPolicy {
    match policy {
        file::RestartPolicy::No => RestartPolicy::No,
        file::RestartPolicy::Always => RestartPolicy::Always,
        file::RestartPolicy::UnlessStopped => RestartPolicy::UnlessStopped,
        file::RestartPolicy::OnFailure { max_retries } => RestartPolicy::OnFailure { max_retries },
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn hook(hook: &file::Hook) -> Hook {
    Hook {
        command: hook.command.clone(),
        user: hook.user.clone(),
        working_directory: hook.working_dir.clone(),
        environment: hook.environment.clone(),
        privileged: hook.privileged,
    }
}

/// Returns whether the health of a service's containers is probed.
pub(crate) fn has_health(service: &Service, image: &ResolvedImage) -> bool {
    healthcheck(service.healthcheck.as_ref(), image.config.healthcheck.as_ref()).is_some()
}

/// Folds a service's health check over its image's; `None` when neither gives a command or probing is turned off.
fn healthcheck(own: Option<&file::Healthcheck>, image: Option<&HealthcheckConfig>) -> Option<Healthcheck> {
    let command = own.and_then(|own| own.command.clone()).or_else(|| image?.command())?;
    if command == HealthCommand::None {
        return None;
    }
    let mut check = Healthcheck::with_defaults(command);
    let milliseconds = |duration: Option<Duration>, inherited: Option<u64>, default: u64| match duration {
        Some(duration) if !duration.is_zero() => duration.as_millis() as u64,
        // The image stores nanoseconds, 0 is "not said".
        Some(_) | None => inherited.filter(|ns| *ns > 0).map_or(default, |ns| ns.div_ceil(1_000_000)),
    };
    let own = own.cloned().unwrap_or_default();
    check.interval = milliseconds(own.interval, image.map(|image| image.interval), check.interval);
    check.timeout = milliseconds(own.timeout, image.map(|image| image.timeout), check.timeout);
    check.start_period =
        milliseconds(own.start_period, image.map(|image| image.start_period), check.start_period);
    check.start_interval =
        milliseconds(own.start_interval, image.map(|image| image.start_interval), check.start_interval);
    let retries = own.retries.filter(|retries| *retries > 0);
    let inherited = image.map(|image| image.retries as u32).filter(|retries| *retries > 0);
    check.retries = retries.or(inherited).unwrap_or(check.retries);
    Some(check)
}

fn log(logging: &file::Logging) -> LogOptions {
    let defaults = LogOptions::default();
    LogOptions {
        labels: Vec::new(),
        variables: Vec::new(),
        disabled: logging.disabled,
        max_size: logging.max_size.unwrap_or(defaults.max_size),
        max_files: logging.max_files.unwrap_or(defaults.max_files),
        compress: logging.compress.unwrap_or(defaults.compress),
        non_blocking: logging.non_blocking,
        buffer: logging.buffer.unwrap_or(defaults.buffer),
    }
}

/// Adds the labels by which a container is found again.
pub(crate) fn label(
    project: &Project,
    service: &Service,
    spec: &mut ContainerSpec,
    ordinal: u32,
    config_hash: &str,
) {
    let condition = |condition| match condition {
        DependencyCondition::Started => "service_started",
        DependencyCondition::Healthy => "service_healthy",
        DependencyCondition::CompletedSuccessfully => "service_completed_successfully",
    };
    let depends_on: Vec<String> = service
        .depends_on
        .iter()
        .map(|(name, dependency)| {
            format!("{name}:{}:{}", condition(dependency.condition), dependency.restart)
        })
        .collect();
    let files: Vec<String> = project.files.iter().map(|path| path.display().to_string()).collect();
    let all = [
        (labels::PROJECT, project.name.clone()),
        (labels::SERVICE, service.name.clone()),
        (labels::CONTAINER_NUMBER, ordinal.to_string()),
        (labels::CONFIG_HASH, config_hash.to_owned()),
        (labels::ONE_OFF, "False".to_owned()),
        (labels::DEPENDS_ON, depends_on.join(",")),
        (labels::IMAGE, spec.image_id.to_string()),
        (labels::WORKING_DIRECTORY, project.directory.display().to_string()),
        (labels::CONFIG_FILES, files.join(",")),
        (labels::VERSION, labels::COMPOSE_VERSION.to_owned()),
    ];
    spec.labels.extend(all.map(|(name, value)| (name.to_owned(), value)));
}
