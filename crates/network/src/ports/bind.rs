//! Host sockets of published ports.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::Path;

use coracle_report::Diagnostic;
use coracle_rootless::{Lender, SocketRequest};
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind as bind_socket, listen, socket_with, sockopt,
};
use serde::{Deserialize, Serialize};

use super::holder::{Holder, who_holds};
use crate::port::{Protocol, PublishedPort};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// Where sockets of the host come from.
#[derive(Clone, Debug)]
pub enum HostSockets {
    /// This process is in the host's network.
    Own,
    /// It is in a normal user's, whose holder is not.
    Lent(Lender),
}

impl HostSockets {
    /// Finds out where this process is; `run_root` is the engine's.
    pub fn of(run_root: &Path) -> Self {
        coracle_rootless::lender(run_root).map_or(Self::Own, Self::Lent)
    }
}

/// A bound socket.
#[derive(Debug)]
pub enum Socket {
    /// Listening.
    Tcp(TcpListener),
    /// Bound.
    Udp(UdpSocket),
}

/// A port of the host that cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct BindError {
    /// The protocol.
    pub protocol: Protocol,
    /// The wanted address; none is every address.
    pub host_ip: Option<IpAddr>,
    /// The wanted port.
    pub port: u16,
    /// The kernel's errno.
    pub errno: i32,
    /// The process in the way, if the port is in use and its holder can be seen.
    pub holder: Option<Holder>,
}

impl BindError {
    pub(crate) fn new(protocol: Protocol, host_ip: Option<IpAddr>, port: u16, error: &io::Error) -> Self {
        let holder = if error.kind() == io::ErrorKind::AddrInUse { who_holds(port, protocol) } else { None };
        Self { protocol, host_ip, port, errno: error.raw_os_error().unwrap_or(libc::EIO), holder }
    }

    /// Returns the finding for the user, with what to do about it.
    pub fn diagnostic(&self) -> Diagnostic {
        let finding = Diagnostic::error("port-unavailable", self.to_string());
        let port = self.port;
        match (&self.holder, self.errno) {
            (Some(holder), _) => finding
                .with_note(format!("pid {}: {}", holder.pid, holder.command))
                .with_hint(format!("stop it (`kill {}`) or publish another host port", holder.pid)),
            (None, libc::EADDRINUSE) => {
                finding.with_hint(format!("find the holder with `ss -lntup 'sport = :{port}'`"))
            }
            (None, libc::EADDRNOTAVAIL) => {
                finding.with_hint("publish on an address of this host (`ip address` lists them)")
            }
            (None, libc::EACCES) => finding
                .with_hint("publish a host port of 1024 or more, or let every user of this host have it:")
                .with_hint(format!("sudo sysctl -w net.ipv4.ip_unprivileged_port_start={port}")),
            (None, _) => finding,
        }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (port, protocol) = (self.port, self.protocol);
        write!(f, "port {port}/{protocol}")?;
        match self.host_ip {
            Some(address) => write!(f, " on {address}")?,
            None => f.write_str(" on this host")?,
        }
        match (&self.holder, self.errno) {
            (Some(holder), _) => write!(f, " is in use by {} (pid {})", holder.name, holder.pid),
            (None, libc::EADDRINUSE) => f.write_str(" is in use"),
            (None, libc::EADDRNOTAVAIL) => f.write_str(" cannot be bound: the host has no such address"),
            (None, errno) => write!(f, " cannot be bound: {}", io::Error::from_raw_os_error(errno)),
        }
    }
}

/// Looks whether all of `ports` could be bound now, and returns the first that could not. Binds and lets go again, so it
/// is for telling the user before anything starts; only [`bind`] reserves.
pub fn check<'a>(
    ports: impl IntoIterator<Item = &'a PublishedPort>,
    sockets: &HostSockets,
) -> Result<(), BindError> {
    let bound: Result<Vec<Socket>, BindError> =
        ports.into_iter().map(|port| bind(port.protocol, port.host_ip, port.host_port, sockets)).collect();
    bound.map(drop)
}

/// Binds a port of the host; without `host_ip` one socket for every address, IPv4 and IPv6. The socket does not block.
pub fn bind(
    protocol: Protocol,
    host_ip: Option<IpAddr>,
    port: u16,
    sockets: &HostSockets,
) -> Result<Socket, BindError> {
    let open = |address: SocketAddr, both_families: bool| match sockets {
        HostSockets::Own => open(protocol, address, both_families),
        HostSockets::Lent(lender) => borrow(lender, protocol, address, both_families),
    };
    let bound = match host_ip {
        Some(address) => open(SocketAddr::new(address, port), false),
        None => open((Ipv6Addr::UNSPECIFIED, port).into(), true).or_else(|error| {
            match error.raw_os_error() {
                // A kernel without IPv6, or with it switched off.
                Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL) => {
                    open((Ipv4Addr::UNSPECIFIED, port).into(), false)
                }
                Some(_) | None => Err(error),
            }
        }),
    };
    bound.map_err(|error| BindError::new(protocol, host_ip, port, &error))
}

/// Binds port 53 of a network's gateway, for both protocols. The address need not be there yet.
pub(crate) fn bind_name_server(gateway: Ipv4Addr, port: u16) -> Result<(UdpSocket, TcpListener), BindError> {
    let failed =
        |protocol| move |error: io::Error| BindError::new(protocol, Some(gateway.into()), port, &error);
    let udp = open_free(Protocol::Udp, gateway, port).map_err(failed(Protocol::Udp))?;
    let tcp = open_free(Protocol::Tcp, gateway, port).map_err(failed(Protocol::Tcp))?;
    Ok((udp.into(), tcp.into()))
}

fn open_free(protocol: Protocol, address: Ipv4Addr, port: u16) -> io::Result<OwnedFd> {
    let socket = new_socket(protocol, AddressFamily::INET)?;
    // The keeper may start, or go on, while the bridge is being made anew.
    sockopt::set_ip_freebind(&socket, true)?;
    finish(socket, protocol, (address, port).into())
}

fn open(protocol: Protocol, address: SocketAddr, both_families: bool) -> io::Result<Socket> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = new_socket(protocol, family)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, !both_families)?;
    }
    let socket = finish(socket, protocol, address)?;
    Ok(match protocol {
        Protocol::Tcp => Socket::Tcp(socket.into()),
        Protocol::Udp => Socket::Udp(socket.into()),
    })
}

fn borrow(
    lender: &Lender,
    protocol: Protocol,
    address: SocketAddr,
    both_families: bool,
) -> io::Result<Socket> {
    let kind = match protocol {
        Protocol::Tcp => coracle_rootless::Protocol::Tcp,
        Protocol::Udp => coracle_rootless::Protocol::Udp,
    };
    let socket = lender.socket(SocketRequest { protocol: kind, address, both_families })?;
    Ok(match protocol {
        Protocol::Tcp => Socket::Tcp(socket.into()),
        Protocol::Udp => Socket::Udp(socket.into()),
    })
}

fn new_socket(protocol: Protocol, family: AddressFamily) -> io::Result<OwnedFd> {
    let kind = match protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    Ok(socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?)
}

fn finish(socket: OwnedFd, protocol: Protocol, address: SocketAddr) -> io::Result<OwnedFd> {
    match protocol {
        Protocol::Tcp => {
            // Connections that linger must not keep a new keeper from the port. (For UDP it would let two share it.)
            sockopt::set_socket_reuseaddr(&socket, true)?;
            bind_socket(&socket, &address)?;
            listen(&socket, BACKLOG)?;
        }
        Protocol::Udp => bind_socket(&socket, &address)?,
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port_of(socket: &Socket) -> u16 {
        match socket {
            Socket::Tcp(listener) => listener.local_addr().unwrap().port(),
            Socket::Udp(socket) => socket.local_addr().unwrap().port(),
        }
    }

    #[test]
    fn a_busy_port_names_its_holder() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let held = bind(protocol, Some(Ipv4Addr::LOCALHOST.into()), 0, &HostSockets::Own).unwrap();
            let port = port_of(&held);
            for host_ip in [Some(Ipv4Addr::LOCALHOST.into()), None] {
                let error = bind(protocol, host_ip, port, &HostSockets::Own).unwrap_err();
                let holder = error.holder.clone().unwrap();
                assert_eq!(holder.pid, std::process::id());
                let place = host_ip.map_or("this host".to_owned(), |ip| ip.to_string());
                assert_eq!(
                    error.to_string(),
                    format!(
                        "port {port}/{protocol} on {place} is in use by {} (pid {})",
                        holder.name, holder.pid
                    )
                );
                assert_eq!(error.diagnostic().hints.len(), 1);
            }
            let wanted = PublishedPort {
                protocol,
                host_ip: None,
                host_port: port,
                container_ip: Ipv4Addr::LOCALHOST,
                container_port: 1,
            };
            assert!(check([&wanted], &HostSockets::Own).is_err());
            drop(held);
            check([&wanted], &HostSockets::Own).unwrap();
        }
    }

    #[test]
    fn an_address_of_another_host_is_told() {
        let address = Some("203.0.113.1".parse().unwrap());
        let error = bind(Protocol::Tcp, address, 1, &HostSockets::Own).unwrap_err();
        assert_eq!(
            error.to_string(),
            "port 1/tcp on 203.0.113.1 cannot be bound: the host has no such address"
        );
    }
}
