//! The rtnetlink messages that we send, built from `netlink-packet-route` types.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NetlinkSerializable};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData,
    InfoPortKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::connection::Request;
use crate::subnet::Subnet;

/// Encodes a message.
pub(super) fn request(flags: u16, message: &RouteNetlinkMessage) -> Request {
    let mut body = vec![0; message.buffer_len()];
    message.serialize(&mut body);
    Request { kind: message.message_type(), flags, body }
}

fn link(name: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    message
}

/// Asks for the link called `name`.
pub(super) fn get_link(name: &str) -> Request {
    request(0, &RouteNetlinkMessage::GetLink(link(name)))
}

/// Takes the link called `name` away; a veth's other end goes with it.
pub(super) fn delete_link(name: &str) -> Request {
    request(0, &RouteNetlinkMessage::DelLink(link(name)))
}

/// Creates a bridge that is down.
pub(super) fn new_bridge(name: &str, hardware: [u8; 6], mtu: u32) -> Request {
    let mut message = link(name);
    message.attributes.extend([
        LinkAttribute::Mtu(mtu),
        // A chosen hardware address stays; otherwise it would change whenever a port comes or goes.
        LinkAttribute::Address(hardware.to_vec()),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Bridge),
            // Snooping needs a querier, which nobody runs here: without one, multicast between containers would stop.
            LinkInfo::Data(InfoData::Bridge(vec![InfoBridge::MulticastSnooping(false)])),
        ]),
    ]);
    request(NLM_F_CREATE | NLM_F_EXCL, &RouteNetlinkMessage::NewLink(message))
}

/// The two ends of a new veth pair.
pub(super) struct VethPair<'a> {
    pub(super) host_name: &'a str,
    pub(super) bridge: u32,
    pub(super) namespace: BorrowedFd<'a>,
    pub(super) name: &'a str,
    pub(super) hardware: [u8; 6],
    pub(super) mtu: u32,
}

/// Creates a veth pair, both ends down: one is a port of the bridge, the other already in the container's namespace.
pub(super) fn new_veth(pair: &VethPair<'_>) -> Request {
    let mut peer = link(pair.name);
    peer.attributes.extend([
        LinkAttribute::Mtu(pair.mtu),
        LinkAttribute::Address(pair.hardware.to_vec()),
        LinkAttribute::NetNsFd(pair.namespace.as_raw_fd()),
    ]);
    let mut message = link(pair.host_name);
    message.attributes.extend([
        LinkAttribute::Mtu(pair.mtu),
        LinkAttribute::Controller(pair.bridge),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]),
    ]);
    request(NLM_F_CREATE | NLM_F_EXCL, &RouteNetlinkMessage::NewLink(message))
}

/// Brings a link up, without IPv6 addresses of its own making: no duplicate address detection, no stray packets.
pub(super) fn up(name: &str) -> Request {
    let mut message = link(name);
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    // A kernel without IPv6 refuses to hear of it.
    if name != "lo" && Path::new("/proc/thread-self/net/if_inet6").exists() {
        let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
        message.attributes.push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![mode])]));
    }
    request(0, &RouteNetlinkMessage::SetLink(message))
}

/// Keeps a link of a bridge from reaching the bridge's other isolated links.
pub(super) fn isolate(name: &str) -> Request {
    let mut message = link(name);
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::PortKind(InfoPortKind::Bridge),
        LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::Isolated(true)])),
    ]));
    request(0, &RouteNetlinkMessage::NewLink(message))
}

/// Gives a link an address that means something on it only.
pub(super) fn link_local_address(index: u32, address: IpAddr) -> Request {
    let mut message = AddressMessage::default();
    let (family, prefix) = match address {
        IpAddr::V4(_) => (AddressFamily::Inet, 16),
        IpAddr::V6(_) => (AddressFamily::Inet6, 64),
    };
    message.header.family = family;
    message.header.prefix_len = prefix;
    message.header.scope = AddressScope::Link;
    message.header.index = index;
    message.attributes.extend([AddressAttribute::Local(address), AddressAttribute::Address(address)]);
    request(NLM_F_CREATE | NLM_F_EXCL, &RouteNetlinkMessage::NewAddress(message))
}

/// Gives a link an address.
pub(super) fn new_address(index: u32, address: Ipv4Addr, subnet: Subnet) -> Request {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = subnet.prefix();
    message.header.scope = AddressScope::Universe;
    message.header.index = index;
    message.attributes.extend([
        AddressAttribute::Local(address.into()),
        AddressAttribute::Address(address.into()),
        AddressAttribute::Broadcast(subnet.broadcast()),
    ]);
    request(NLM_F_CREATE | NLM_F_EXCL, &RouteNetlinkMessage::NewAddress(message))
}

/// Gives a link an IPv6 address that is usable at once: our plan gives it to nobody else.
pub(super) fn new_address6(index: u32, address: Ipv6Addr, prefix: u8) -> Request {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet6;
    message.header.prefix_len = prefix;
    message.header.scope = AddressScope::Universe;
    message.header.index = index;
    message.header.flags = AddressHeaderFlags::Nodad;
    message
        .attributes
        .extend([AddressAttribute::Local(address.into()), AddressAttribute::Address(address.into())]);
    request(NLM_F_CREATE | NLM_F_EXCL, &RouteNetlinkMessage::NewAddress(message))
}

/// As [`default_route`], for IPv6.
pub(super) fn default_route6(index: u32, gateway: Ipv6Addr) -> Request {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet6;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Boot;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    message
        .attributes
        .extend([RouteAttribute::Gateway(RouteAddress::Inet6(gateway)), RouteAttribute::Oif(index)]);
    request(NLM_F_CREATE | NLM_F_EXCL, &RouteNetlinkMessage::NewRoute(message))
}

/// Sends what has no other way to `gateway`.
pub(super) fn default_route(index: u32, gateway: Ipv4Addr) -> Request {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Boot;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    message
        .attributes
        .extend([RouteAttribute::Gateway(RouteAddress::Inet(gateway)), RouteAttribute::Oif(index)]);
    request(NLM_F_CREATE | NLM_F_EXCL, &RouteNetlinkMessage::NewRoute(message))
}

/// Asks for all IPv4 routes of all tables.
pub(super) fn all_routes() -> Request {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    request(0, &RouteNetlinkMessage::GetRoute(message))
}

/// Asks for all IPv4 addresses.
pub(super) fn all_addresses() -> Request {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    request(0, &RouteNetlinkMessage::GetAddress(message))
}

/// Asks for all links.
pub(super) fn all_links() -> Request {
    request(0, &RouteNetlinkMessage::GetLink(LinkMessage::default()))
}
