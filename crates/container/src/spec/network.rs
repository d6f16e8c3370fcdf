//! How a container reaches a network.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::is_default;

/// How a container reaches a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkMode {
    /// Its own network namespace attached to `ContainerSpec::networks`.
    Bridge,
    /// Its own network namespace with only loopback.
    None,
    /// The host's network namespace.
    Host,
    /// The namespace of another container, by name or id, with its host name and resolver.
    Container(String),
}

/// One network a container is attached to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkAttachment {
    /// The network's name as stored, e.g. `shop-dev_default`; `bridge` is the default bridge.
    pub network: String,
    /// Names beside the container's own that resolve to it there.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Whether its service's name means its containers' addresses there, and not a virtual one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub round_robin: bool,
    /// A fixed address.
    #[serde(default)]
    pub ipv4_address: Option<Ipv4Addr>,
    /// A fixed IPv6 address.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ipv6_address: Option<Ipv6Addr>,
    /// Addresses beside it that mean something on the link only.
    #[serde(default, skip_serializing_if = "is_default")]
    pub link_local: Vec<IpAddr>,
    /// A fixed hardware address.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mac_address: Option<MacAddress>,
    /// The link's name inside; `None` is `eth0`, `eth1` and so on.
    #[serde(default, skip_serializing_if = "is_default")]
    pub interface_name: Option<String>,
    /// Which network is the way out: the highest, the first of equals.
    #[serde(default, skip_serializing_if = "is_default")]
    pub gateway_priority: i32,
    /// Kernel parameters of the link, `IFNAME` standing for its name.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sysctls: Vec<String>,
}

/// A name under which a container alone knows another one, Docker's `--link`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Link {
    /// The other container, by its name.
    pub container: String,
    /// The name.
    pub alias: String,
}

/// A hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddress(pub [u8; 6]);

impl FromStr for MacAddress {
    type Err = String;

    /// Reads six hexadecimal bytes with `:` or `-` between them.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no hardware address such as `02:42:ac:11:00:02`");
        let separator = if text.contains('-') { '-' } else { ':' };
        let parts: Vec<&str> = text.split(separator).collect();
        let mut bytes = [0; 6];
        if parts.len() != bytes.len() {
            return Err(wrong());
        }
        for (byte, part) in bytes.iter_mut().zip(parts) {
            if part.len() != 2 || part.starts_with('+') {
                return Err(wrong());
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
        }
        if bytes[0] & 1 == 1 {
            return Err(format!("`{text}` is the address of a group, not of one link"));
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, byte) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { ":" };
            write!(f, "{separator}{byte:02x}")?;
        }
        Ok(())
    }
}

impl TryFrom<String> for MacAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<MacAddress> for String {
    fn from(address: MacAddress) -> Self {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses() {
        let read = |text: &str| text.parse::<MacAddress>().map(|address| address.to_string());
        assert_eq!(read("02:42:AC:11:00:02").as_deref(), Ok("02:42:ac:11:00:02"));
        assert_eq!(read("02-42-ac-11-00-02").as_deref(), Ok("02:42:ac:11:00:02"));
        for text in ["02:42:ac:11:00", "02:42:ac:11:00:2", "01:42:ac:11:00:02", "02:42:ac:11:00:zz", ""] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
