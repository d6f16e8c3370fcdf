//! Ports of the host that a project publishes and cannot have.

use std::net::IpAddr;

use coracle_composefile::{HostPorts, Port, Protocol, Service};
use coracle_report::Severity;

use crate::project::{Check, Findings, HostFacts, Listener, Run, Subject};
use crate::{Family, Rule};

pub(super) static BUSY: Check = Check { rules: &[&BUSY_PORT], run: Run::Subject(busy) };
pub(super) static PRIVILEGED: Check =
    Check { rules: &[&HOST_PORT_NEEDS_ROOT], run: Run::Subject(privileged) };

static BUSY_PORT: Rule = Rule {
    id: "BusyPort",
    family: Family::Host,
    severity: Severity::Error,
    title: "a published port must be free on this machine",
    explanation: "A port can be listened on by one process only. When another one holds it, `up` fails after it has built and fetched everything: `address already in use`. Stop the process that is named, or publish another port of the host: in `\"8081:80\"` the number before the colon is the host's.",
    example: Some(("ports: [\"8080:80\"]", "ports: [\"8081:80\"]")),
    ..Rule::PLAIN
};

static HOST_PORT_NEEDS_ROOT: Rule = Rule {
    id: "HostPortNeedsRoot",
    family: Family::Host,
    severity: Severity::Error,
    title: "a port below 1024 is published by root only",
    explanation: "Linux lets only root (or a process with CAP_NET_BIND_SERVICE) listen on ports below `net.ipv4.ip_unprivileged_port_start`, which is 1024 unless somebody changed it. Run the command as root, publish a port above, or lower the bound: `sysctl -w net.ipv4.ip_unprivileged_port_start=80`.",
    example: Some(("ports: [\"80:80\"]", "ports: [\"8080:80\"]")),
    ..Rule::PLAIN
};

/// Where unprivileged ports start when the kernel does not say.
const UNPRIVILEGED: u64 = 1024;

fn busy(subject: &Subject<'_>, findings: &mut Findings) {
    let (Some(host), Some(project)) = (subject.host, subject.project()) else { return };
    for (service, port) in published(subject) {
        let holder = |number: u16| {
            let holds = |listener: &&Listener| {
                listener.port == number
                    && listener.protocol == port.protocol
                    && listener.project.as_deref() != Some(&project.name)
                    && meet(port.host_ip, listener.address)
            };
            // One of which the holder is known says more.
            let all: Vec<&Listener> = host.listeners.iter().filter(holds).collect();
            all.iter().find(|listener| listener.holder.is_some()).or(all.first()).copied()
        };
        let (shown, listener) = match port.published {
            HostPorts::Any => continue,
            HostPorts::One(number) => match holder(number) {
                Some(listener) => (format!("port {number}"), listener),
                None => continue,
            },
            // The first that is free is taken.
            HostPorts::Range(first, last) => {
                let held: Vec<_> = (first..=last).map_while(holder).collect();
                match held.first() {
                    Some(listener) if held.len() > usize::from(last - first) => {
                        (format!("every port from {first} to {last}"), *listener)
                    }
                    _ => continue,
                }
            }
        };
        let protocol = match port.protocol {
            Protocol::Tcp => "",
            Protocol::Udp => "/udp",
        };
        let message = format!("{shown}{protocol} of this machine is held by {}", who(listener));
        let finding = findings.add(&BUSY_PORT, &port.span, message);
        finding.of(&service.name).hint(remedy(listener));
        if let HostPorts::One(number) = port.published
            && let Some(free) = free_above(host, number)
        {
            finding.hint(format!("or publish another one: \"{free}:{}\"", port.target));
        }
    }
}

/// Returns the published ports with their services.
fn published<'a>(subject: &Subject<'a>) -> impl Iterator<Item = (&'a Service, &'a Port)> {
    subject.services().flat_map(|service| service.ports.iter().map(move |port| (service, port)))
}

/// Says whether sockets on two addresses, of which none is all, are in one another's way.
fn meet(own: Option<IpAddr>, other: IpAddr) -> bool {
    match own {
        None => true,
        Some(own) if own == other => true,
        Some(own) if own.is_unspecified() || other.is_unspecified() => {
            // `::` takes IPv4 as well, unless it was told not to.
            own.is_ipv4() == other.is_ipv4() || own.is_ipv6() && own.is_unspecified() || other.is_ipv6()
        }
        Some(_) => false,
    }
}

fn who(listener: &Listener) -> String {
    match (&listener.holder, &listener.container, &listener.project) {
        (_, Some(container), Some(project)) => format!("container `{container}` of project `{project}`"),
        (_, Some(container), None) => format!("container `{container}`"),
        (Some((name, pid)), _, _) => format!("{name} (process {pid})"),
        (None, None, _) => "a process that cannot be seen".to_owned(),
    }
}

fn remedy(listener: &Listener) -> String {
    match (&listener.holder, &listener.container) {
        (_, Some(container)) => format!("coracle stop {container}"),
        (Some((_, pid)), None) => format!("ps -fp {pid} shows what it is; stop it"),
        (None, None) => {
            let letter = if listener.protocol == Protocol::Tcp { 't' } else { 'u' };
            format!("sudo ss -{letter}lnp 'sport = :{}' shows who it is", listener.port)
        }
    }
}

/// Returns a port above `number` that nothing is known to hold.
fn free_above(host: &HostFacts, number: u16) -> Option<u16> {
    let mut above = number.checked_add(1)?..=number.saturating_add(64);
    above.find(|next| host.listeners.iter().all(|listener| listener.port != *next))
}

fn privileged(subject: &Subject<'_>, findings: &mut Findings) {
    let Some(host) = subject.host.filter(|host| !host.root) else { return };
    let bound = super::parameter(host, "net.ipv4.ip_unprivileged_port_start").unwrap_or(UNPRIVILEGED);
    for (service, port) in published(subject) {
        let number = match port.published {
            HostPorts::One(number) | HostPorts::Range(_, number) => number,
            HostPorts::Any => continue,
        };
        if u64::from(number) < bound {
            let message = format!("port {number} is below {bound}: only root may publish it");
            findings.add(&HOST_PORT_NEEDS_ROOT, &port.span, message).of(&service.name).hint(format!(
                "publish a higher one: \"{}:{}\"",
                8000 + number % 1000,
                port.target
            ));
        }
    }
}
