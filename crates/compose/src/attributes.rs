//! Attributes of the kernel's making, from the words of a compose file to those of a container: namespaces, devices,
//! limits, security, networks.

use std::collections::BTreeMap;

use coracle_composefile as file;
use coracle_composefile::{Project, Service};
use coracle_container::{
    BlockIo, CgroupMode, Device, DeviceLimit, DeviceRule, IpcMode, Isolation, Link, MacAddress,
    NetworkAttachment, NetworkMode, PidMode, Resources, Security, UtsMode, runtime_spec,
};
use coracle_report::Diagnostic;

/// Returns the name of a service's container.
pub(crate) fn container_name(project: &Project, service: &Service, ordinal: u32) -> String {
    match &service.container_name {
        Some(name) => name.clone(),
        None => format!("{}-{}-{ordinal}", project.name, service.name),
    }
}

/// Returns the name of a service's first container.
fn first_of(project: &Project, name: &str) -> String {
    match project.services.get(name).or_else(|| project.inactive_services.get(name)) {
        Some(service) => container_name(project, service, 1),
        None => format!("{}-{name}-1", project.name),
    }
}

pub(crate) fn isolation(project: &Project, wanted: &file::Isolation) -> Isolation {
    Isolation {
        ipc: match &wanted.ipc {
            file::IpcMode::Private => IpcMode::Private,
            file::IpcMode::Shareable => IpcMode::Shareable,
            file::IpcMode::None => IpcMode::None,
            file::IpcMode::Host => IpcMode::Host,
            file::IpcMode::Service(name) => IpcMode::Container(first_of(project, name)),
            file::IpcMode::Container(name) => IpcMode::Container(name.clone()),
        },
        pid: match &wanted.pid {
            file::PidMode::Private => PidMode::Private,
            file::PidMode::Host => PidMode::Host,
            file::PidMode::Service(name) => PidMode::Container(first_of(project, name)),
            file::PidMode::Container(name) => PidMode::Container(name.clone()),
        },
        uts: match wanted.uts {
            file::UtsMode::Private => UtsMode::Private,
            file::UtsMode::Host => UtsMode::Host,
        },
        cgroup: match wanted.cgroup {
            file::CgroupMode::Private => CgroupMode::Private,
            file::CgroupMode::Host => CgroupMode::Host,
        },
    }
}

/// Returns whether a service's containers live in namespaces of another's: then they do not outlive it.
pub(crate) fn shares_with(service: &Service, other: &str) -> bool {
    let network = matches!(&service.network_mode, file::NetworkMode::Service(name) if name == other);
    network || service.isolation.services().any(|name| name == other)
}

pub(crate) fn devices(service: &Service) -> Result<Vec<Device>, Vec<Diagnostic>> {
    let (mut devices, mut errors) = (Vec::new(), Vec::new());
    for device in &service.devices {
        match device.permissions.parse() {
            Ok(access) => {
                devices.push(Device { source: device.source.clone(), target: device.target.clone(), access });
            }
            Err(reason) => errors.push(Diagnostic::error("bad-value", reason).with_span(device.span.clone())),
        }
    }
    if errors.is_empty() { Ok(devices) } else { Err(errors) }
}

pub(crate) fn device_rules(service: &Service) -> Result<Vec<DeviceRule>, Vec<Diagnostic>> {
    let (mut rules, mut errors) = (Vec::new(), Vec::new());
    for rule in &service.device_rules {
        match rule.rule.parse() {
            Ok(rule) => rules.push(rule),
            Err(reason) => errors.push(Diagnostic::error("bad-value", reason).with_span(rule.span.clone())),
        }
    }
    if errors.is_empty() { Ok(rules) } else { Err(errors) }
}

/// Says whether set-user-id programs gain nothing: so it is unless the service says otherwise, or asks for more than
/// the usual privileges and so may want programs to gain them.
pub(crate) fn no_new_privileges(service: &Service) -> bool {
    let asks_for_more = service.privileged || !service.cap_add.is_empty();
    service.no_new_privileges.unwrap_or(!asks_for_more)
}

pub(crate) fn security(service: &Service) -> Result<Security, Vec<Diagnostic>> {
    let wanted = &service.security;
    if let Some(profile) = &wanted.seccomp_profile
        && let Err(error) = runtime_spec::check_seccomp_profile(&profile.text)
    {
        let message = format!("the seccomp profile {} cannot be used: {error}", profile.path.display());
        return Err(vec![Diagnostic::error("seccomp-profile", message).with_span(profile.span.clone())]);
    }
    Ok(Security {
        seccomp_profile: wanted.seccomp_profile.as_ref().map(|profile| profile.text.clone()),
        apparmor: wanted.apparmor.clone(),
        labels: wanted.labels.clone(),
        system_paths_unconfined: wanted.system_paths_unconfined,
        mask: wanted.mask.clone(),
        unmask: wanted.unmask.clone(),
    })
}

/// Converts limits; the engine reserves no processors, so that reservation has no counterpart.
pub(crate) fn resources(resources: &file::Resources) -> Resources {
    Resources {
        cpuset_mems: None,
        memory: resources.memory,
        memory_swap: resources.memory_swap,
        memory_reservation: resources.memory_reservation,
        millicpus: resources.millicpus,
        cpu_shares: resources.cpu_shares,
        cpuset: resources.cpuset.clone(),
        pids: resources.pids,
        cpu_period: resources.cpu_period,
        cpu_quota: resources.cpu_quota,
        cpu_rt_period: resources.cpu_rt_period,
        cpu_rt_runtime: resources.cpu_rt_runtime,
        memory_swappiness: resources.memory_swappiness,
        oom_kill_disable: resources.oom_kill_disable,
        block_io: block_io(&resources.block_io),
    }
}

fn block_io(wanted: &file::BlockIo) -> BlockIo {
    let limits = |limits: &[file::DeviceLimit]| {
        let limit = |limit: &file::DeviceLimit| DeviceLimit { path: limit.path.clone(), rate: limit.rate };
        limits.iter().map(limit).collect()
    };
    BlockIo {
        weight: wanted.weight,
        weight_device: limits(&wanted.weight_device),
        device_read_bps: limits(&wanted.device_read_bps),
        device_write_bps: limits(&wanted.device_write_bps),
        device_read_iops: limits(&wanted.device_read_iops),
        device_write_iops: limits(&wanted.device_write_iops),
    }
}

/// Returns the names that a service alone knows others by. As in Docker Compose, a linked service is known by the alias,
/// by its containers' names, and by those without the project's.
pub(crate) fn links(project: &Project, service: &Service) -> Vec<Link> {
    let mut links = Vec::new();
    let mut add = |container: String, alias: String| {
        let link = Link { container, alias };
        if !links.contains(&link) {
            links.push(link);
        }
    };
    for link in &service.links {
        let Some(other) = project.services.get(&link.target) else { continue };
        for ordinal in 1..=other.replicas {
            let name = container_name(project, other, ordinal);
            add(name.clone(), link.alias.clone());
            if let Some(short) = name.strip_prefix(&format!("{}-", project.name)) {
                add(name.clone(), short.to_owned());
            }
        }
    }
    for link in &service.external_links {
        add(link.target.clone(), link.alias.clone());
    }
    links
}

/// Returns how a service's containers reach a network, or why they cannot.
pub(crate) fn networks(
    project: &Project,
    service: &Service,
) -> Result<(NetworkMode, Vec<NetworkAttachment>), Vec<Diagnostic>> {
    match &service.network_mode {
        file::NetworkMode::None => Ok((NetworkMode::None, Vec::new())),
        file::NetworkMode::Host => Ok((NetworkMode::Host, Vec::new())),
        file::NetworkMode::Service(name) => {
            joined(service)?;
            Ok((NetworkMode::Container(first_of(project, name)), Vec::new()))
        }
        file::NetworkMode::Container(name) => {
            joined(service)?;
            Ok((NetworkMode::Container(name.clone()), Vec::new()))
        }
        file::NetworkMode::DefaultBridge => {
            let mac_address = service.mac_address.map(|address| MacAddress(address.0));
            let attachment = NetworkAttachment {
                network: "bridge".to_owned(),
                mac_address,
                ..NetworkAttachment::default()
            };
            Ok((NetworkMode::Bridge, vec![attachment]))
        }
        file::NetworkMode::Networks if service.networks.is_empty() => Ok((NetworkMode::None, Vec::new())),
        file::NetworkMode::Networks => attachments(project, service),
    }
}

/// Refuses what excludes another container's network.
fn joined(service: &Service) -> Result<(), Vec<Diagnostic>> {
    let mut errors = Vec::new();
    let mut refuse = |span: coracle_report::Span, what: &str| {
        let message =
            format!("service `{}` shares another container’s network, which excludes {what}", service.name);
        errors.push(
            Diagnostic::error("network-conflict", message)
                .with_span(span)
                .with_hint("move it to the service that has the network"),
        );
    };
    if let Some(port) = service.ports.first() {
        refuse(port.span.clone(), "published ports");
    }
    if let Some(link) = service.links.first().or_else(|| service.external_links.first()) {
        refuse(link.span.clone(), "`links`");
    }
    let further = [
        (service.hostname.is_some(), "`hostname`"),
        (service.domainname.is_some(), "`domainname`"),
        (service.mac_address.is_some(), "`mac_address`"),
        (!service.dns.is_empty(), "`dns`"),
        (!service.dns_search.is_empty(), "`dns_search`"),
        (!service.dns_options.is_empty(), "`dns_opt`"),
        (!service.extra_hosts.is_empty(), "`extra_hosts`"),
    ];
    further.iter().filter(|(given, _)| *given).for_each(|(_, what)| refuse(service.span.clone(), what));
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn attachments(
    project: &Project,
    service: &Service,
) -> Result<(NetworkMode, Vec<NetworkAttachment>), Vec<Diagnostic>> {
    let drivers = service.networks.keys().filter_map(|key| Some((key, project.networks.get(key)?)));
    let special: Vec<_> =
        drivers.filter(|(_, network)| network.driver != file::NetworkDriver::Bridge).collect();
    if let Some((key, network)) = special.first() {
        if service.networks.len() > 1 {
            let message = format!("service `{}` cannot be on network `{key}` and on others", service.name);
            return Err(vec![Diagnostic::error("network-conflict", message).with_span(service.span.clone())]);
        }
        let mode = match network.driver {
            file::NetworkDriver::Host => NetworkMode::Host,
            file::NetworkDriver::None | file::NetworkDriver::Bridge => NetworkMode::None,
        };
        return Ok((mode, Vec::new()));
    }
    let mut wanted: Vec<(&String, &file::NetworkAttachment)> = service.networks.iter().collect();
    wanted.sort_by_key(|(_, attachment)| std::cmp::Reverse(attachment.priority));
    let attach = |(index, (key, attachment)): (usize, (&String, &file::NetworkAttachment))| {
        let network = project.networks.get(key).map_or_else(|| key.clone(), |network| network.name.clone());
        let mut aliases = vec![service.name.clone()];
        for alias in &attachment.aliases {
            if !aliases.contains(alias) {
                aliases.push(alias.clone());
            }
        }
        // The service's own address goes to its first network.
        let mac_address = attachment.mac_address.or(service.mac_address.filter(|_| index == 0));
        NetworkAttachment {
            network,
            aliases,
            round_robin: service.deploy.endpoint_mode.as_deref() == Some("dnsrr"),
            ipv4_address: attachment.ipv4_address,
            ipv6_address: attachment.ipv6_address,
            link_local: attachment.link_local_ips.clone(),
            mac_address: mac_address.map(|address| MacAddress(address.0)),
            interface_name: attachment.interface_name.clone(),
            gateway_priority: attachment.gateway_priority,
            sysctls: attachment.sysctls.clone(),
        }
    };
    Ok((NetworkMode::Bridge, wanted.into_iter().enumerate().map(attach).collect()))
}

/// Returns annotations in the order of their names.
pub(crate) fn annotations(service: &Service) -> BTreeMap<String, String> {
    service.annotations.clone().into_iter().collect()
}
