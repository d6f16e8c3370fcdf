//! The ports of the host that a project wants, and conflicts among them.

use std::net::IpAddr;

use coracle_composefile::{HostPorts, Port, Project, Protocol, Service};
use coracle_report::{Diagnostic, Span};

/// A port of the host that a service publishes.
#[derive(Clone, Debug, PartialEq)]
pub struct Publication {
    /// The service.
    pub service: String,
    /// Which replica of it, from 1.
    pub ordinal: u32,
    /// Address on the host; `None` is all.
    pub host_ip: Option<IpAddr>,
    /// Port on the host.
    pub host_port: u16,
    /// Port inside.
    pub container_port: u16,
    /// Protocol.
    pub protocol: Protocol,
    /// Where it is written.
    pub span: Span,
}

impl Publication {
    /// Returns whether both cannot be bound at once.
    fn clashes(&self, other: &Self) -> bool {
        let everywhere = |address: Option<IpAddr>| address.is_none_or(|address| address.is_unspecified());
        let same_address =
            everywhere(self.host_ip) || everywhere(other.host_ip) || self.host_ip == other.host_ip;
        self.host_port == other.host_port && self.protocol == other.protocol && same_address
    }
}

/// Lists every fixed host port that the project's services publish. Two that cannot both be bound are errors that
/// name both places.
pub fn published_ports(project: &Project) -> Result<Vec<Publication>, Vec<Diagnostic>> {
    let mut all: Vec<Publication> = Vec::new();
    let mut errors = Vec::new();
    for service in project.services.values() {
        for port in &service.ports {
            for ordinal in 1..=service.replicas {
                let host_port = match host_port(service, port, ordinal) {
                    Ok(Some(host_port)) => host_port,
                    Ok(None) => continue,
                    Err(error) => {
                        errors.push(*error);
                        break;
                    }
                };
                let publication = Publication {
                    service: service.name.clone(),
                    ordinal,
                    host_ip: port.host_ip,
                    host_port,
                    container_port: port.target,
                    protocol: port.protocol,
                    span: port.span.clone(),
                };
                match all.iter().find(|earlier| earlier.clashes(&publication)) {
                    None => all.push(publication),
                    Some(earlier) => errors.push(clash(earlier, &publication)),
                }
            }
        }
    }
    if errors.is_empty() { Ok(all) } else { Err(errors) }
}

/// Returns the host port of one replica: a range is dealt out in the order of the replicas, a single port serves one.
pub(crate) fn host_port(
    service: &Service,
    port: &Port,
    ordinal: u32,
) -> Result<Option<u16>, Box<Diagnostic>> {
    let name = &service.name;
    let (first, last) = match port.published {
        HostPorts::Any => return Ok(None),
        HostPorts::One(port) => (port, port),
        HostPorts::Range(first, last) => (first, last),
    };
    let host_port = u32::from(first) + ordinal - 1;
    if host_port <= u32::from(last) {
        return Ok(Some(host_port as u16));
    }
    let replicas = service.replicas;
    let wanted =
        if first == last { format!("host port {first}") } else { format!("host ports {first}-{last}") };
    let message = format!("service `{name}` has {replicas} replicas and publishes only {wanted}");
    let diagnostic = Diagnostic::error("port-conflict", message)
        .with_span(port.span.clone())
        .with_hint("publish the port of a proxy in front of it, or a range with a port for each replica");
    Err(Box::new(diagnostic))
}

fn clash(earlier: &Publication, later: &Publication) -> Diagnostic {
    let port = later.host_port;
    let message = if earlier.service == later.service {
        format!("service `{}` publishes host port {port} twice", later.service)
    } else {
        format!("services `{}` and `{}` both publish host port {port}", earlier.service, later.service)
    };
    Diagnostic::error("port-conflict", message)
        .with_span(later.span.clone())
        .with_note(format!("also published at {}", earlier.span))
        .with_hint("give one of them another host port, or replace the earlier list with `ports: !override`")
}
