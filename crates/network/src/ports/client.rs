//! Whose address a carried connection should have.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, UdpSocket};

/// Returns the address of ours that leads to `target`, and the one that a connection made for the client at `peer` should
/// have instead: the client's own. None where the container's answer would not come back to us: to a neighbour on its
/// bridge it goes directly, to a loopback address not at all, and an IPv6 address is none for an IPv4 connection.
pub(super) fn on_behalf_of(peer: IpAddr, target: SocketAddrV4) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let peer = match peer {
        IpAddr::V4(peer) => peer,
        IpAddr::V6(peer) => peer.to_ipv4_mapped()?,
    };
    if peer.is_loopback() {
        return None;
    }
    let own = source_for(*target.ip())?;
    (source_for(peer)? != own && peer != own).then_some((own, peer))
}

/// Returns the address that the kernel would send from. Connecting a datagram socket sends nothing.
fn source_for(address: Ipv4Addr) -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((address, 9)).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(own) => Some(own),
        IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_nobodys_client() {
        let target = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 80);
        assert_eq!(on_behalf_of(Ipv4Addr::LOCALHOST.into(), target), None);
        assert_eq!(on_behalf_of("::1".parse().unwrap(), target), None);
        assert_eq!(on_behalf_of("2001:db8::1".parse().unwrap(), target), None);
    }
}
