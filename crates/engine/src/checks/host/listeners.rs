//! Sockets that listen, and who holds them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use coracle_check::Listener;
use coracle_composefile::Protocol;

use crate::containers::request::STANDALONE;
use crate::networks::NetworkState;

/// Lists the sockets that hold one of the `wanted` ports. Only those whose port is not one of ours have their holder
/// looked for, as that reads every process's descriptors.
pub(super) fn list(wanted: &BTreeSet<(u16, Protocol)>, state: &NetworkState) -> Vec<Listener> {
    if wanted.is_empty() {
        return Vec::new();
    }
    let mut found: Vec<(Listener, u64)> = Vec::new();
    for (table, protocol) in
        [("tcp", Protocol::Tcp), ("tcp6", Protocol::Tcp), ("udp", Protocol::Udp), ("udp6", Protocol::Udp)]
    {
        // `/proc/net` would be the namespace of the process's first thread.
        let text = fs::read_to_string(format!("/proc/thread-self/net/{table}")).unwrap_or_default();
        for (address, port, inode) in sockets(&text, protocol) {
            if wanted.contains(&(port, protocol)) {
                let (project, container) = published_by(state, port, protocol);
                let listener = Listener { address, port, protocol, holder: None, project, container };
                found.push((listener, inode));
            }
        }
    }
    let foreign = found.iter().filter(|(listener, _)| listener.container.is_none());
    let inodes: BTreeSet<u64> = foreign.map(|(_, inode)| *inode).collect();
    let holders = holders(&inodes);
    let named = found.into_iter().map(|(listener, inode)| Listener {
        holder: holders.get(&inode).cloned().filter(|_| listener.container.is_none()),
        ..listener
    });
    named.collect()
}

/// Returns the project and the container that a port is published for.
fn published_by(state: &NetworkState, port: u16, protocol: Protocol) -> (Option<String>, Option<String>) {
    let protocol = match protocol {
        Protocol::Tcp => coracle_network::Protocol::Tcp,
        Protocol::Udp => coracle_network::Protocol::Udp,
    };
    let attached = state
        .containers
        .values()
        .find(|attached| attached.ports.iter().any(|own| own.host_port == port && own.protocol == protocol));
    let Some(attached) = attached else { return (None, None) };
    let project = (attached.scope != STANDALONE).then(|| attached.scope.clone());
    (project, Some(attached.name.clone()))
}

/// Returns address, port and inode of the sockets in a table of `/proc/net` that listen.
fn sockets(table: &str, protocol: Protocol) -> Vec<(IpAddr, u16, u64)> {
    // TCP_LISTEN; of UDP those that are connected to nobody (TCP_CLOSE).
    let state = match protocol {
        Protocol::Tcp => "0A",
        Protocol::Udp => "07",
    };
    let read = |line: &str| {
        let mut fields = line.split_whitespace();
        let (address, port) = fields.nth(1)?.rsplit_once(':')?;
        let (address, port) = (address_of(address)?, u16::from_str_radix(port, 16).ok()?);
        if fields.nth(1)? != state {
            return None;
        }
        // After the state: queues, timer, retransmits, user, timeout, inode.
        Some((address, port, fields.nth(5)?.parse().ok()?))
    };
    table.lines().skip(1).filter_map(read).collect()
}

/// Reads an address as the kernel prints it: words of 32 bits in the machine's byte order.
fn address_of(text: &str) -> Option<IpAddr> {
    let words: Vec<[u8; 4]> = text
        .as_bytes()
        .chunks(8)
        .map(|word| Some(u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?.to_ne_bytes()))
        .collect::<Option<_>>()?;
    match words.as_slice() {
        [word] => Some(Ipv4Addr::from(*word).into()),
        [_, _, _, _] => {
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            Some(Ipv6Addr::from(bytes).to_canonical())
        }
        _ => None,
    }
}

/// Finds the processes that hold sockets: name and pid by inode.
fn holders(inodes: &BTreeSet<u64>) -> BTreeMap<u64, (String, u32)> {
    let mut found = BTreeMap::new();
    if inodes.is_empty() {
        return found;
    }
    let Ok(processes) = fs::read_dir("/proc") else { return found };
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // Processes end while we look, and those of others may not be looked at.
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else { continue };
        for descriptor in descriptors.flatten() {
            let Ok(target) = fs::read_link(descriptor.path()) else { continue };
            let inode = target
                .to_str()
                .and_then(|target| target.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok());
            if let Some(inode) = inode.filter(|inode| inodes.contains(inode)) {
                let name = fs::read(process.path().join("comm")).unwrap_or_default();
                let name = String::from_utf8_lossy(&name).trim().to_owned();
                found.entry(inode).or_insert((name, pid));
            }
        }
        if found.len() == inodes.len() {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn listeners_are_found_with_their_holders() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("[::1]:0").unwrap();
        let client = std::net::TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
        let ports = [
            (tcp.local_addr().unwrap().port(), Protocol::Tcp),
            (udp.local_addr().unwrap().port(), Protocol::Udp),
            (client.local_addr().unwrap().port(), Protocol::Tcp),
        ];
        let found = list(&BTreeSet::from(ports), &NetworkState::default());
        assert_eq!(found.len(), 2, "{found:?}");
        for (listener, (port, protocol)) in found.iter().zip(ports) {
            assert_eq!((listener.port, listener.protocol), (port, protocol));
            assert!(listener.address.is_loopback());
            assert_eq!(listener.holder.as_ref().map(|(_, pid)| *pid), Some(std::process::id()));
        }
    }

    #[test]
    fn addresses_are_read() {
        assert_eq!(address_of("0100007F"), Some("127.0.0.1".parse().unwrap()));
        assert_eq!(address_of("00000000000000000000000001000000"), Some("::1".parse().unwrap()));
        assert_eq!(address_of("0000000000000000FFFF00000100007F"), Some("127.0.0.1".parse().unwrap()));
        assert_eq!(address_of("x"), None);
    }
}
