//! Attaching a container's network namespace to its networks, and letting go of it.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;

use coracle_container::{
    ContainerId, ContainerSpec, NetworkAttachment, NetworkMode, ProcessIdentity, Protocol,
};
use coracle_fault::Point;
use coracle_network::netlink::{self, Attachment, Interface, Ipv6Link};
use coracle_network::{NetworkRecord, PublishedPort, ipam, names, nftables};
use coracle_report::Diagnostic;

use super::{Attached, Endpoint, Networks, host_facts, services};
use crate::failure::pass;
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
            NetworkMode::Host | NetworkMode::Container(_) => return Ok(Attachments::default()),
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
        let interfaces = interfaces(spec, &attachments, mtu);
        let plan = Attachment { interfaces };
        let connected = netlink::attach(namespace, &plan)
            .during(format_args!("connecting container {} (generation {generation})", spec.name));
        if let Err(failure) = connected {
            // The first failure is what the user must see; the addresses are pruned with the holder anyway.
            let _ = self.release(id);
            return Err(failure);
        }
        if attachments.endpoints.iter().any(|(_, network)| !network.services.is_empty()) {
            // Before names are answered: what a name means must lead somewhere.
            let lock = self.lock()?;
            let (state, _) = self.live_state()?;
            if let Err(failure) = self.settle_under(&state, &lock, Some(id)) {
                drop(lock);
                let _ = self.release(id);
                return Err(failure);
            }
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
            let address = address(network, wanted.ipv4_address, taken, last).map_err(|error| {
                let message = format!("network `{}`: {error}", network.name);
                Failure::user(Diagnostic::error("network-addresses", message))
            })?;
            state.last.insert(network.name.clone(), address);
            let address6 = address6(network, wanted.ipv6_address, address, &state.addresses6(&network.name))
                .map_err(|reason| {
                    let message = format!("network `{}`: {reason}", network.name);
                    Failure::user(Diagnostic::error("network-addresses", message))
                })?;
            self.raise(network)?;
            let number = u8::try_from(number).unwrap_or(u8::MAX);
            endpoints.push(Endpoint {
                network: network.name.clone(),
                aliases: wanted.aliases.clone(),
                address,
                address6,
                link: names::veth(id.as_str(), number, generation),
            });
        }
        // Published ports lead to the first network that is reachable from outside.
        let outside = endpoints.iter().zip(networks).find(|(_, network)| !network.internal);
        let ports = match outside {
            Some((endpoint, network)) => publish(spec, endpoint, network)?,
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
        if let Some((_, network)) = outside.filter(|_| !ports.is_empty()) {
            netlink::route_loopback(&network.bridge);
        }
        let attached = Attached {
            name: spec.name.clone(),
            scope: spec.scope.clone(),
            holder,
            endpoints: endpoints.clone(),
            links: spec.links.iter().map(|link| (link.alias.clone(), link.container.clone())).collect(),
            ports: ports.clone(),
            service: services::service_of(spec),
            draining: false,
        };
        let networks = self.address_service(spec, &state, &endpoints, networks)?;
        state.containers.insert(id.clone(), attached);
        self.write_state(&state)?;
        pass(Point::StartAllocated)?;
        nftables::apply(&state.rules(&self.list()?), &lock).during("applying the packet filter's rules")?;
        pass(Point::StartFiltered)?;
        if coracle_rootless::in_user_namespace() {
            nftables::guard_link(coracle_rootless::LINK_NAME).during("guarding the way out")?;
        }
        netlink::enable_forwarding().during("turning on forwarding")?;
        if networks.iter().any(|network| network.ipv6.is_some()) {
            netlink::enable_forwarding6().during("turning on forwarding of IPv6")?;
        }
        let endpoints = endpoints.into_iter().zip(networks).collect();
        Ok((Attachments { endpoints, ports }, generation))
    }

    /// Gives an attached container another name.
    pub fn rename(&self, id: &ContainerId, name: &str) -> Result<()> {
        let _lock = self.lock()?;
        let (mut state, _) = self.live_state()?;
        let Some(attached) = state.containers.get_mut(id) else { return Ok(()) };
        name.clone_into(&mut attached.name);
        self.write_state(&state)
    }

    /// Forgets a container's addresses and ports. Its links go with its namespace.
    pub fn release(&self, id: &ContainerId) -> Result<()> {
        let lock = self.lock()?;
        let (mut state, pruned) = self.live_state()?;
        let removed = state.containers.remove(id);
        if removed.is_none() && pruned.is_empty() {
            return Ok(());
        }
        self.write_state(&state)?;
        pass(Point::ReleaseForgotten)?;
        nftables::apply(&state.rules(&self.list()?), &lock).during("applying the packet filter's rules")?;
        if removed.is_none_or(|attached| attached.service.is_some()) {
            self.settle_under(&state, &lock, None)?;
        }
        Ok(())
    }
}

/// Chooses an address of a network.
fn address(
    network: &NetworkRecord,
    wanted: Option<Ipv4Addr>,
    mut taken: BTreeSet<Ipv4Addr>,
    last: Option<Ipv4Addr>,
) -> std::result::Result<Ipv4Addr, ipam::IpamError> {
    let (subnet, gateway) = (network.subnet, network.gateway);
    if wanted.is_some() {
        return ipam::choose_address(subnet, gateway, &taken, wanted, last);
    }
    taken.extend(network.reserved.values());
    match network.range {
        Some(range) => ipam::choose_address_in(range, subnet, gateway, &taken, last),
        None => ipam::choose_address(subnet, gateway, &taken, None, last),
    }
}

/// Chooses an IPv6 address of a network that has some: the one that is wanted, or the one beside the IPv4 address.
fn address6(
    network: &NetworkRecord,
    wanted: Option<Ipv6Addr>,
    address: Ipv4Addr,
    taken: &BTreeSet<Ipv6Addr>,
) -> std::result::Result<Option<Ipv6Addr>, String> {
    let Some(plan) = network.ipv6 else {
        return match wanted {
            Some(wanted) => Err(format!("it has no IPv6 addresses, {wanted} is none of it")),
            None => Ok(None),
        };
    };
    let address = match wanted {
        Some(wanted) => {
            plan.subnet.check(wanted).map_err(|error| error.to_string())?;
            wanted
        }
        None => plan.subnet.beside(address, network.subnet),
    };
    if taken.contains(&address) || address == plan.gateway {
        return Err(format!("address {address} is in use"));
    }
    Ok(Some(address))
}

/// Returns the links of a container, in the order of its networks.
fn interfaces(spec: &ContainerSpec, attachments: &Attachments, mtu: u32) -> Vec<Interface> {
    // The way out is the network that was given precedence, the first of equals.
    let way_out_of = |fits: &dyn Fn(&NetworkRecord) -> bool| {
        let ways_out = spec.networks.iter().zip(&attachments.endpoints).enumerate();
        ways_out
            .filter(|(_, (_, (_, network)))| !network.internal && fits(network))
            .max_by_key(|(number, (wanted, _))| (wanted.gateway_priority, std::cmp::Reverse(*number)))
            .map(|(number, _)| number)
    };
    let way_out = way_out_of(&|_| true);
    let way_out6 = way_out_of(&|network| network.ipv6.is_some());
    let mut names = BTreeSet::new();
    let interface = |(number, (wanted, (endpoint, network))): (
        usize,
        (&NetworkAttachment, &(Endpoint, NetworkRecord)),
    )| {
        let name = wanted.interface_name.clone().unwrap_or_else(|| {
            let prefix = network.options.interface_prefix.as_deref().unwrap_or("eth");
            let asked =
                |name: &String| spec.networks.iter().any(|it| it.interface_name.as_ref() == Some(name));
            // Names that somebody asked for are passed over.
            let free = |name: &String| !names.contains(name) && !asked(name);
            (0..=2 * spec.networks.len())
                .map(|count| format!("{prefix}{count}"))
                .find(free)
                .expect("there are more numbers than networks")
        });
        names.insert(name.clone());
        let sysctl = |text: &String| {
            let (key, value) = text.split_once('=').unwrap_or((text, ""));
            let key = key.strip_prefix("net.").unwrap_or(key);
            (key.replace("IFNAME", &name), value.to_owned())
        };
        Interface {
            bridge: network.bridge.clone(),
            host_name: endpoint.link.clone(),
            address: endpoint.address,
            subnet: network.subnet,
            gateway: (Some(number) == way_out).then_some(network.gateway),
            ipv6: endpoint.address6.zip(network.ipv6).map(|(address, plan)| Ipv6Link {
                address,
                prefix: plan.subnet.prefix(),
                gateway: (Some(number) == way_out6).then_some(plan.gateway),
            }),
            hardware: wanted.mac_address.map(|address| address.0),
            mtu: network.options.mtu.unwrap_or(mtu),
            link_local: wanted.link_local.clone(),
            isolated: !network.options.inter_container,
            sysctls: wanted.sysctls.iter().map(sysctl).collect(),
            name,
        }
    };
    spec.networks.iter().zip(&attachments.endpoints).enumerate().map(interface).collect()
}

/// Returns the ports to publish, with a free host port where none was asked for.
fn publish(spec: &ContainerSpec, endpoint: &Endpoint, network: &NetworkRecord) -> Result<Vec<PublishedPort>> {
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
            host_ip: port.host_ip.or(network.options.host_binding),
            host_port,
            container_ip: endpoint.address,
            container_port: port.container_port,
        });
    }
    Ok(ports)
}

/// Asks the kernel for a port that is free now; the keeper binds it a moment later and says so if it lost the race.
fn free_port(protocol: coracle_network::Protocol) -> std::io::Result<u16> {
    let any = (Ipv4Addr::UNSPECIFIED, 0);
    match protocol {
        coracle_network::Protocol::Tcp => std::net::TcpListener::bind(any)?.local_addr(),
        coracle_network::Protocol::Udp => std::net::UdpSocket::bind(any)?.local_addr(),
    }
    .map(|address| address.port())
}
