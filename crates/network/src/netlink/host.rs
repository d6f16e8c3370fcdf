//! What the host has: routes, addresses, links. Read only.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_core::{NetlinkDeserializable, NetlinkHeader};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::link::LinkAttribute;
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteType};

use super::connection::{Connection, Frame, attributes};
use super::{NetlinkError, message};
use crate::subnet::Subnet;

/// The MTU where there is no default route to take it from.
const ETHERNET_MTU: u32 = 1500;

/// What an address plan must know of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFacts {
    /// Destinations of routes and addresses of links; without default routes.
    pub taken: Vec<Subnet>,
    /// The MTU of the link that the default route leaves by, in bytes. 1500 if there is none.
    pub mtu: u32,
    /// The name of that link.
    pub uplink: Option<String>,
}

/// Reads what the calling thread's network namespace has.
pub fn host_facts() -> Result<HostFacts, NetlinkError> {
    let failed = |source| NetlinkError::new("read the host's routes and addresses", source);
    let mut connection = Connection::open(libc::NETLINK_ROUTE as isize).map_err(failed)?;
    let mut taken = Vec::new();
    let mut uplink = None;
    for frame in connection.dump(&message::all_routes()).map_err(failed)? {
        let RouteNetlinkMessage::NewRoute(route) = decode(&frame).map_err(failed)? else { continue };
        let prefix = route.header.destination_prefix_length;
        let destination = route.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(*address),
            _ => None,
        });
        // The halves of the world that VPNs route instead of the whole (0/1, 128/1) are default routes too.
        if prefix > 1 {
            taken.push(Subnet::containing(destination.unwrap_or(Ipv4Addr::UNSPECIFIED), prefix));
        } else if prefix == 0 && route.header.kind == RouteType::Unicast {
            let attribute =
                |wanted: fn(&RouteAttribute) -> Option<u32>| route.attributes.iter().find_map(wanted);
            let metric =
                attribute(|a| if let RouteAttribute::Priority(n) = a { Some(*n) } else { None }).unwrap_or(0);
            let link = attribute(|a| if let RouteAttribute::Oif(n) = a { Some(*n) } else { None });
            if let Some(link) = link
                && uplink.is_none_or(|(best, _)| metric < best)
            {
                uplink = Some((metric, link));
            }
        }
    }
    for frame in connection.dump(&message::all_addresses()).map_err(failed)? {
        let RouteNetlinkMessage::NewAddress(address) = decode(&frame).map_err(failed)? else { continue };
        for attribute in &address.attributes {
            if let AddressAttribute::Local(IpAddr::V4(local)) = attribute {
                taken.push(Subnet::containing(*local, address.header.prefix_len));
            }
        }
    }
    taken.sort();
    taken.dedup();
    let links = read_links(&mut connection).map_err(failed)?;
    let uplink = uplink.and_then(|(_, index)| links.into_iter().find(|link| link.index == index));
    Ok(HostFacts {
        taken,
        mtu: uplink.as_ref().and_then(|link| link.mtu).unwrap_or(ETHERNET_MTU),
        uplink: uplink.map(|link| link.name),
    })
}

/// A destination that the host reaches through a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRoute {
    /// The destination.
    pub subnet: Subnet,
    /// The link's name.
    pub link: String,
}

/// Returns the host's routes to other machines by the link they lead through, without default routes.
pub fn routes() -> Result<Vec<HostRoute>, NetlinkError> {
    let failed = |source| NetlinkError::new("read the host's routes", source);
    let mut connection = Connection::open(libc::NETLINK_ROUTE as isize).map_err(failed)?;
    let links = read_links(&mut connection).map_err(failed)?;
    let mut routes = Vec::new();
    for frame in connection.dump(&message::all_routes()).map_err(failed)? {
        let RouteNetlinkMessage::NewRoute(route) = decode(&frame).map_err(failed)? else { continue };
        let prefix = route.header.destination_prefix_length;
        if route.header.kind != RouteType::Unicast || prefix <= 1 {
            continue;
        }
        let (mut destination, mut link) = (None, None);
        for attribute in &route.attributes {
            match attribute {
                RouteAttribute::Destination(RouteAddress::Inet(address)) => destination = Some(*address),
                RouteAttribute::Oif(index) => link = links.iter().find(|link| link.index == *index),
                _ => {}
            }
        }
        if let (Some(address), Some(link)) = (destination, link) {
            let subnet = Subnet::containing(address, prefix);
            routes.push(HostRoute { subnet, link: link.name.clone() });
        }
    }
    Ok(routes)
}

/// Returns the names of all links of the calling thread's network namespace, sorted.
pub fn links() -> Result<Vec<String>, NetlinkError> {
    let failed = |source| NetlinkError::new("list links", source);
    let mut connection = Connection::open(libc::NETLINK_ROUTE as isize).map_err(failed)?;
    let mut names: Vec<String> =
        read_links(&mut connection).map_err(failed)?.into_iter().map(|link| link.name).collect();
    names.sort();
    Ok(names)
}

struct Link {
    index: u32,
    name: String,
    mtu: Option<u32>,
}

fn read_links(connection: &mut Connection) -> io::Result<Vec<Link>> {
    let mut links = Vec::new();
    for frame in connection.dump(&message::all_links())? {
        if let RouteNetlinkMessage::NewLink(message) = decode(&frame)? {
            let mut link = Link { index: message.header.index, name: String::new(), mtu: None };
            for attribute in message.attributes {
                match attribute {
                    LinkAttribute::IfName(name) => link.name = name,
                    LinkAttribute::Mtu(mtu) => link.mtu = Some(mtu),
                    _ => {}
                }
            }
            links.push(link);
        }
    }
    Ok(links)
}

/// Returns the index of the link called `name`, if there is one.
pub(super) fn link_index(connection: &mut Connection, name: &str) -> io::Result<Option<u32>> {
    let Some(frame) = connection.get(&message::get_link(name))? else { return Ok(None) };
    // `struct ifinfomsg`: family, pad, type, then the index.
    let index = frame.body.get(4..).and_then(<[u8]>::first_chunk).map(|bytes| u32::from_ne_bytes(*bytes));
    index.map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Returns whether packets pass the link called `name`: its carrier is known to be there and, where it is a port of a
/// bridge, the bridge forwards by it.
pub(super) fn passes(connection: &mut Connection, name: &str) -> io::Result<bool> {
    const UP: &[u8] = &[6]; // IF_OPER_UP
    const FORWARDING: &[u8] = &[3]; // BR_STATE_FORWARDING
    let Some(frame) = connection.get(&message::get_link(name))? else { return Ok(false) };
    let body = frame.body.get(16..).unwrap_or_default(); // after `struct ifinfomsg`
    let find = |data, wanted| attributes(data).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let state = find(body, 16); // IFLA_OPERSTATE
    let port = find(body, 18) // IFLA_LINKINFO, IFLA_INFO_SLAVE_DATA, IFLA_BRPORT_STATE
        .and_then(|info| find(info, 5))
        .and_then(|data| find(data, 1));
    Ok(state == Some(UP) && port.is_none_or(|state| state == FORWARDING))
}

fn decode(frame: &Frame) -> io::Result<RouteNetlinkMessage> {
    let mut header = NetlinkHeader::default();
    header.message_type = frame.kind;
    RouteNetlinkMessage::deserialize(&header, &frame.body)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
