//! Published ports as values.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A transport protocol that ports are published for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A protocol's name that is neither `tcp` nor `udp`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a protocol that ports can be published for; use tcp or udp")]
pub struct UnknownProtocol(String);

impl FromStr for Protocol {
    type Err = UnknownProtocol;

    fn from_str(text: &str) -> Result<Self, UnknownProtocol> {
        match text {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            other => Err(UnknownProtocol(other.to_owned())),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// One port of the host that leads to a port of a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PublishedPort {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The host address that is bound; none is every address, IPv4 and IPv6.
    pub host_ip: Option<IpAddr>,
    /// The host's port, from 1.
    pub host_port: u16,
    /// The container's address.
    pub container_ip: Ipv4Addr,
    /// The container's port, from 1.
    pub container_port: u16,
}

impl fmt::Display for PublishedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host_ip {
            Some(IpAddr::V6(address)) => write!(f, "[{address}]:")?,
            Some(IpAddr::V4(address)) => write!(f, "{address}:")?,
            None => {}
        }
        let (host, ip, container) = (self.host_port, self.container_ip, self.container_port);
        write!(f, "{host}->{ip}:{container}/{}", self.protocol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(protocol: Protocol, host_ip: Option<&str>, host_port: u16) -> PublishedPort {
        let host_ip = host_ip.map(|ip| ip.parse().unwrap());
        PublishedPort {
            protocol,
            host_ip,
            host_port,
            container_ip: Ipv4Addr::new(10, 0, 0, 2),
            container_port: 80,
        }
    }

    #[test]
    fn ports_print_as_users_know_them() {
        assert_eq!(port(Protocol::Tcp, None, 8080).to_string(), "8080->10.0.0.2:80/tcp");
        assert_eq!(
            port(Protocol::Tcp, Some("127.0.0.1"), 8080).to_string(),
            "127.0.0.1:8080->10.0.0.2:80/tcp"
        );
        assert_eq!(port(Protocol::Udp, Some("::1"), 53).to_string(), "[::1]:53->10.0.0.2:80/udp");
        assert!("sctp".parse::<Protocol>().is_err());
    }
}
