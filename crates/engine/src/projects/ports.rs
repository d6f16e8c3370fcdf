//! Host ports of a project, looked at before anything starts.

use coracle_compose::{ObservedState, Operation, Plan, Publication, published_ports};
use coracle_composefile::{Project, Protocol};
use coracle_network::PublishedPort;
use coracle_network::ports::HostSockets;
use coracle_report::Diagnostic;

use super::Projects;
use crate::{Failure, Result};

impl Projects<'_> {
    /// Refuses a plan that would start containers whose host ports somebody else holds.
    pub(super) fn check_ports(&self, project: &Project, plan: &Plan, observed: &ObservedState) -> Result<()> {
        let starting: Vec<&str> = plan
            .steps
            .iter()
            .filter_map(|step| match &step.operation {
                Operation::StartContainer { name } => Some(name.as_str()),
                _ => None,
            })
            .collect();
        if starting.is_empty() {
            return Ok(());
        }
        // Ports that the project itself holds now are free when their container is replaced.
        let state = self.engine.networks().read_state()?;
        let own: Vec<&PublishedPort> = state
            .containers
            .iter()
            .filter(|(id, _)| observed.containers.iter().any(|container| container.id == **id))
            .flat_map(|(_, attached)| &attached.ports)
            .collect();
        let publications = published_ports(project).map_err(Failure::findings)?;
        let sockets = HostSockets::of(self.engine.layout.run());
        let mut errors: Vec<Diagnostic> = Vec::new();
        for publication in &publications {
            let port = port_of(publication);
            let held = own.iter().any(|own| own.host_port == port.host_port && own.protocol == port.protocol);
            let begins = starting.iter().any(|name| belongs(name, &publication.service));
            if held || !begins {
                continue;
            }
            if let Err(error) = coracle_network::ports::check(std::slice::from_ref(&port), &sockets) {
                errors.push(error.diagnostic().with_span(publication.span.clone()));
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(Failure::findings(errors)) }
    }
}

/// Returns whether a container's name is one that the service gives: `PROJECT-SERVICE-N`, or its own.
fn belongs(container: &str, service: &str) -> bool {
    let middle = container.rsplit_once('-').map_or(container, |(head, _)| head);
    middle.ends_with(&format!("-{service}")) || container == service || !container.contains('-')
}

fn port_of(publication: &Publication) -> PublishedPort {
    PublishedPort {
        protocol: match publication.protocol {
            Protocol::Tcp => coracle_network::Protocol::Tcp,
            Protocol::Udp => coracle_network::Protocol::Udp,
        },
        host_ip: publication.host_ip,
        host_port: publication.host_port,
        // Not known before it starts, and of no matter here.
        container_ip: std::net::Ipv4Addr::UNSPECIFIED,
        container_port: publication.container_port,
    }
}
