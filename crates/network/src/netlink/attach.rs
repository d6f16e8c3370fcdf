//! The links between bridges and one container's network namespace.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::connection::{Connection, Request};
use super::host::{link_index, passes};
use super::{NetlinkError, hardware_address, message, sysctl};
use crate::subnet::Subnet;

/// How long links are waited for to pass packets; then the container starts anyway. Usually it is a millisecond.
const SETTLE: Duration = Duration::from_secs(1);

/// All links of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attachment {
    /// In the order of `eth0`, `eth1`, ...
    pub interfaces: Vec<Interface>,
}

/// One link of a container to one network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The bridge to join; it must exist.
    pub bridge: String,
    /// The name of the host's end, see [`crate::names::veth`].
    pub host_name: String,
    /// The name inside, e.g. `eth0`.
    pub name: String,
    /// The address inside.
    pub address: Ipv4Addr,
    /// The network that it lies in.
    pub subnet: Subnet,
    /// The way out; none for internal networks. The first interface that has one gets the default route.
    pub gateway: Option<Ipv4Addr>,
    /// Its IPv6 address, if the network has some.
    pub ipv6: Option<Ipv6Link>,
    /// The hardware address; none derives it from `address`.
    pub hardware: Option<[u8; 6]>,
    /// The largest packet in bytes.
    pub mtu: u32,
    /// Further addresses, which mean something on the link only.
    pub link_local: Vec<IpAddr>,
    /// Whether it may speak to the bridge alone, and not to the bridge's other links.
    pub isolated: bool,
    /// Kernel parameters of the link inside, by their names below `net.`, e.g. `ipv4.conf.eth0.log_martians`.
    pub sysctls: Vec<(String, String)>,
}

/// The IPv6 side of an [`Interface`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Link {
    /// The address inside.
    pub address: Ipv6Addr,
    /// The number of leading bits of the network that it lies in.
    pub prefix: u8,
    /// The way out; none for networks that are none.
    pub gateway: Option<Ipv6Addr>,
}

/// Connects the namespace behind `namespace` to the bridges: creates the links, brings them and `lo` up, and gives them
/// their addresses and the default route. On failure the links that were made are taken away again.
///
/// The caller's thread stays in its own namespace; the work is done by a thread of its own.
pub fn attach(namespace: BorrowedFd<'_>, attachment: &Attachment) -> Result<(), NetlinkError> {
    within(namespace, |host, inside| {
        let outcome = connect(host, inside, namespace, attachment);
        if outcome.is_err() {
            let undo: Vec<Request> = attachment
                .interfaces
                .iter()
                .map(|interface| message::delete_link(&interface.host_name))
                .collect();
            // What failed is told; what could not be undone goes with the namespace.
            let _with_the_namespace = host.exchange(&undo);
        }
        outcome
    })
}

/// Brings `lo` up in the namespace behind `namespace`, and nothing else: a container without networks.
pub fn loopback(namespace: BorrowedFd<'_>) -> Result<(), NetlinkError> {
    within(namespace, |_, inside| finish(inside, &[message::up("lo")], |_| "bring up lo".to_owned()))
}

fn within(
    namespace: BorrowedFd<'_>,
    work: impl FnOnce(&mut Connection, &mut Connection) -> Result<(), NetlinkError> + Send,
) -> Result<(), NetlinkError> {
    let failed = |source: io::Error| NetlinkError::new("enter the container's network namespace", source);
    thread::scope(|scope| {
        let worker = thread::Builder::new().name("attach".to_owned()).spawn_scoped(scope, || {
            // A socket stays in the namespace that it was opened in, so this thread can speak to both sides.
            let mut host = Connection::open(libc::NETLINK_ROUTE as isize).map_err(failed)?;
            move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))
                .map_err(|error| failed(error.into()))?;
            let mut inside = Connection::open(libc::NETLINK_ROUTE as isize).map_err(failed)?;
            sysctl::unprivileged_ports_and_ping();
            work(&mut host, &mut inside)
        });
        match worker.map_err(failed)?.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn connect(
    host: &mut Connection,
    inside: &mut Connection,
    namespace: BorrowedFd<'_>,
    attachment: &Attachment,
) -> Result<(), NetlinkError> {
    let interfaces = &attachment.interfaces;
    let mut requests = Vec::with_capacity(interfaces.len() * 2);
    for interface in interfaces {
        let failed = |source| NetlinkError::new(format!("find bridge {}", interface.bridge), source);
        let bridge = link_index(host, &interface.bridge).map_err(failed)?;
        let bridge = bridge.ok_or_else(|| failed(io::Error::from_raw_os_error(libc::ENODEV)))?;
        requests.push(message::new_veth(&message::VethPair {
            host_name: &interface.host_name,
            bridge,
            namespace,
            name: &interface.name,
            hardware: interface.hardware.unwrap_or_else(|| hardware_address(interface.address)),
            mtu: interface.mtu,
        }));
        requests.push(message::up(&interface.host_name));
    }
    let describe = |position: usize| {
        let Interface { host_name, bridge, .. } = &interfaces[position / 2];
        let verb = if position.is_multiple_of(2) { "create" } else { "bring up" };
        format!("{verb} link {host_name} on bridge {bridge}")
    };
    let mut outcomes =
        host.exchange(&requests).map_err(|source| NetlinkError::new("create links", source))?;
    for (position, outcome) in outcomes.iter_mut().enumerate() {
        // The host's end of a link whose container died may live until the kernel has taken its namespace away.
        let stale = matches!(outcome, Err(error) if error.raw_os_error() == Some(libc::EEXIST));
        if stale && position.is_multiple_of(2) {
            let pair = &requests[position..=position + 1];
            let again =
                [message::delete_link(&interfaces[position / 2].host_name), pair[0].clone(), pair[1].clone()];
            finish(host, &again, |step| describe(position + step.saturating_sub(1)))?;
            *outcome = Ok(());
        }
    }
    report(outcomes, describe)?;
    let isolated: Vec<&Interface> = interfaces.iter().filter(|interface| interface.isolated).collect();
    let requests: Vec<Request> =
        isolated.iter().map(|interface| message::isolate(&interface.host_name)).collect();
    if !requests.is_empty() {
        finish(host, &requests, |position| {
            format!("part link {} from others", isolated[position].host_name)
        })?;
    }

    let mut requests = vec![message::up("lo")];
    let mut meanings = vec!["bring up lo".to_owned()];
    let mut way_out = None;
    for interface in interfaces {
        let name = &interface.name;
        let failed = |source| NetlinkError::new(format!("find {name} in the container's namespace"), source);
        let index = link_index(inside, name).map_err(failed)?;
        let index = index.ok_or_else(|| failed(io::Error::from_raw_os_error(libc::ENODEV)))?;
        requests.push(message::new_address(index, interface.address, interface.subnet));
        meanings.push(format!("give {} to {name}", interface.address));
        for address in &interface.link_local {
            requests.push(message::link_local_address(index, *address));
            meanings.push(format!("give {address} to {name}"));
        }
        requests.push(message::up(name));
        meanings.push(format!("bring up {name}"));
        if let Some(ipv6) = &interface.ipv6 {
            sysctl::allow_ipv6(name);
            requests.push(message::new_address6(index, ipv6.address, ipv6.prefix));
            meanings.push(format!("give {} to {name}", ipv6.address));
            if let Some(gateway) = ipv6.gateway {
                requests.push(message::default_route6(index, gateway));
                meanings.push(format!("route by gateway {gateway}"));
            }
        }
        if let (None, Some(gateway)) = (way_out, interface.gateway) {
            way_out = Some((index, gateway));
        }
    }
    if let Some((index, gateway)) = way_out {
        requests.push(message::default_route(index, gateway));
        meanings.push(format!("route by gateway {gateway}"));
    }
    finish(inside, &requests, |position| meanings[position].clone())?;
    for (name, value) in interfaces.iter().flat_map(|interface| &interface.sysctls) {
        sysctl::set_here(name, value)
            .map_err(|source| NetlinkError::new(format!("set net.{name} to {value}"), source))?;
    }
    settle(host, inside, interfaces)
}

/// Waits until packets pass. The kernel learns of a link's carrier by a queue of its own: what a container sends before is
/// lost, and a lost first request for an address is repeated only after a second.
fn settle(
    host: &mut Connection,
    inside: &mut Connection,
    interfaces: &[Interface],
) -> Result<(), NetlinkError> {
    let deadline = Instant::now() + SETTLE;
    for interface in interfaces {
        let failed =
            |source| NetlinkError::new(format!("see whether link {} is up", interface.host_name), source);
        while !(passes(host, &interface.host_name).map_err(failed)?
            && passes(inside, &interface.name).map_err(failed)?)
        {
            if Instant::now() > deadline {
                return Ok(());
            }
            thread::sleep(Duration::from_micros(100));
        }
    }
    Ok(())
}

fn finish(
    connection: &mut Connection,
    requests: &[Request],
    describe: impl Fn(usize) -> String,
) -> Result<(), NetlinkError> {
    let outcomes = connection.exchange(requests).map_err(|source| NetlinkError::new(describe(0), source))?;
    report(outcomes, describe)
}

/// Returns the first failure, named by its position.
fn report(outcomes: Vec<io::Result<()>>, describe: impl Fn(usize) -> String) -> Result<(), NetlinkError> {
    for (position, outcome) in outcomes.into_iter().enumerate() {
        outcome.map_err(|source| NetlinkError::new(describe(position), source))?;
    }
    Ok(())
}
