//! Attaching a container's network namespace to its networks, and letting go of it.

use std::os::fd::BorrowedFd;

use coracle_container::{ContainerId, ContainerSpec, NetworkMode, ProcessIdentity, Protocol};
use coracle_network::netlink::{self, Attachment, Interface};
use coracle_network::{NetworkRecord, PublishedPort, ipam, names, nftables};
use coracle_report::Diagnostic;

use super::{Attached, Endpoint, Networks, host_facts};
use crate::{During, Failure, Result};

/// Where a container is attached.
#[derive(Clone, Debug, Default)]
pub struct Attachments {
    /// Its endpoints with their networks, in the order of the interfaces.
    pub endpoints: Vec<(Endpoint, NetworkRecord)>,
    /// Its published ports, every host port decided.
    pub ports: Vec<PublishedPort>,
}

impl Networks<'_> {
    /// Gives a container its addresses and ports and connects its namespace. What was done is undone on failure.
    ///
    /// `holder` is the process whose network namespace it is: the shim.
    pub fn attach(
        &self,
        id: &ContainerId,
        spec: &ContainerSpec,
        holder: ProcessIdentity,
        namespace: BorrowedFd<'_>,
    ) -> Result<Attachments> {
        match spec.network_mode {
            NetworkMode::Host => return Ok(Attachments::default()),
            NetworkMode::None => {
                netlink::loopback(namespace).during("bringing up the loopback interface")?;
                return Ok(Attachments::default());
            }
            NetworkMode::Bridge => {}
        }
        let networks: Vec<NetworkRecord> =
            spec.networks.iter().map(|attachment| self.find(&attachment.network)).collect::<Result<_>>()?;
        let mtu = host_facts()?.mtu;
        let (attachments, generation) = self.allocate(id, spec, holder, &networks)?;
        let interface = |(number, (endpoint, network)): (usize, &(Endpoint, NetworkRecord))| Interface {
            bridge: network.bridge.clone(),
            host_name: endpoint.link.clone(),
            name: format!("eth{number}"),
            address: endpoint.address,
            subnet: network.subnet,
            gateway: (!network.internal).then_some(network.gateway),
            hardware: None,
            mtu,
        };
        let plan =
            Attachment { interfaces: attachments.endpoints.iter().enumerate().map(interface).collect() };
        let connected = netlink::attach(namespace, &plan)
            .during(format_args!("connecting container {} (generation {generation})", spec.name));
        if let Err(failure) = connected {
            // The first failure is what the user must see; the addresses are pruned with the holder anyway.
            let _ = self.release(id);
            return Err(failure);
        }
        Ok(attachments)
    }

    /// Decides addresses and ports, records them, and makes bridges and rules exist.
    fn allocate(
        &self,
        id: &ContainerId,
        spec: &ContainerSpec,
        holder: ProcessIdentity,
        networks: &[NetworkRecord],
    ) -> Result<(Attachments, u32)> {
        let lock = self.lock()?;
        let (mut state, _) = self.live_state()?;
        state.containers.remove(id);
        state.generation = state.generation.wrapping_add(1);
        let generation = state.generation;
        let mut endpoints = Vec::new();
        for (number, (wanted, network)) in spec.networks.iter().zip(networks).enumerate() {
            let taken = state.addresses(&network.name);
            let last = state.last.get(&network.name).copied();
            let address =
                ipam::choose_address(network.subnet, network.gateway, &taken, wanted.ipv4_address, last)
                    .map_err(|error| {
                        let message = format!("network `{}`: {error}", network.name);
                        Failure::user(Diagnostic::error("network-addresses", message))
                    })?;
            state.last.insert(network.name.clone(), address);
            self.raise(network)?;
            let number = u8::try_from(number).unwrap_or(u8::MAX);
            endpoints.push(Endpoint {
                network: network.name.clone(),
                aliases: wanted.aliases.clone(),
                address,
                link: names::veth(id.as_str(), number, generation),
            });
        }
        // Published ports lead to the first network that is reachable from outside.
        let outside = endpoints
            .iter()
            .zip(networks)
            .find(|(_, network)| !network.internal)
            .map(|(endpoint, _)| endpoint);
        let ports = match outside {
            Some(endpoint) => publish(spec, endpoint)?,
            None if spec.ports.is_empty() => Vec::new(),
            None => {
                let message =
                    format!("container `{}` publishes ports but is only on internal networks", spec.name);
                return Err(Failure::user(
                    Diagnostic::error("port-internal", message)
                        .with_hint("attach it to a network that is not internal"),
                ));
            }
        };
        let attached = Attached {
            name: spec.name.clone(),
            scope: spec.scope.clone(),
            holder,
            endpoints: endpoints.clone(),
            ports: ports.clone(),
        };
        state.containers.insert(id.clone(), attached);
        self.write_state(&state)?;
        nftables::apply(&state.rules(&self.list()?), &lock).during("applying the packet filter's rules")?;
        netlink::enable_forwarding().during("turning on forwarding")?;
        let endpoints = endpoints.into_iter().zip(networks.iter().cloned()).collect();
        Ok((Attachments { endpoints, ports }, generation))
    }

    /// Forgets a container's addresses and ports. Its links go with its namespace.
    pub fn release(&self, id: &ContainerId) -> Result<()> {
        let lock = self.lock()?;
        let (mut state, pruned) = self.live_state()?;
        if state.containers.remove(id).is_none() && pruned.is_empty() {
            return Ok(());
        }
        self.write_state(&state)?;
        nftables::apply(&state.rules(&self.list()?), &lock).during("applying the packet filter's rules")?;
        Ok(())
    }
}

/// Returns the ports to publish, with a free host port where none was asked for.
fn publish(spec: &ContainerSpec, endpoint: &Endpoint) -> Result<Vec<PublishedPort>> {
    let mut ports = Vec::new();
    for port in &spec.ports {
        let protocol = match port.protocol {
            Protocol::Tcp => coracle_network::Protocol::Tcp,
            Protocol::Udp => coracle_network::Protocol::Udp,
        };
        let host_port = match port.host_port {
            Some(number) => number,
            None => free_port(protocol).during("looking for a free port")?,
        };
        ports.push(PublishedPort {
            protocol,
            host_ip: port.host_ip,
            host_port,
            container_ip: endpoint.address,
            container_port: port.container_port,
        });
    }
    Ok(ports)
}

/// Asks the kernel for a port that is free now; the keeper binds it a moment later and says so if it lost the race.
fn free_port(protocol: coracle_network::Protocol) -> std::io::Result<u16> {
    let any = (std::net::Ipv4Addr::UNSPECIFIED, 0);
    match protocol {
        coracle_network::Protocol::Tcp => std::net::TcpListener::bind(any)?.local_addr(),
        coracle_network::Protocol::Udp => std::net::UdpSocket::bind(any)?.local_addr(),
    }
    .map(|address| address.port())
}
