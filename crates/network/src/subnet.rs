//! IPv4 subnets as values. Owns their text form and arithmetic; refuses host bits.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An IPv4 network in CIDR form, e.g. `10.210.3.0/24`; the bits after the prefix are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    network: Ipv4Addr,
    prefix: u8,
}

/// Why a text is no subnet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubnetError {
    /// Not of the form `a.b.c.d/n`.
    #[error("`{0}` is not an IPv4 subnet such as 10.210.0.0/24")]
    Form(String),
    /// Bits are set after the prefix; the second value is what was probably meant.
    #[error("`{0}` has bits set after its prefix; the subnet is {1}")]
    HostBits(String, Subnet),
}

impl Subnet {
    /// Returns the subnet of `prefix` bits (at most 32) that `address` lies in.
    pub fn containing(address: Ipv4Addr, prefix: u8) -> Self {
        let prefix = prefix.min(32);
        Self { network: Ipv4Addr::from_bits(address.to_bits() & mask(prefix)), prefix }
    }

    /// Returns the first address, the one that names the subnet.
    pub fn network(self) -> Ipv4Addr {
        self.network
    }

    /// Returns the number of leading bits that are fixed.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Returns the netmask, e.g. `255.255.255.0`.
    pub fn netmask(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(mask(self.prefix))
    }

    /// Returns the last address, the broadcast address of subnets larger than /31.
    pub fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits() | !mask(self.prefix))
    }

    /// Returns whether `address` lies within.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask(self.prefix) == self.network.to_bits()
    }

    /// Returns whether the two share an address.
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.network) || other.contains(self.network)
    }

    /// Returns the address that is the gateway when nobody says otherwise: the first host, `.1`.
    pub fn default_gateway(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits().saturating_add(1))
    }

    /// Returns the first and the last address a host can have: not the network's, not the broadcast's.
    pub fn hosts(self) -> (Ipv4Addr, Ipv4Addr) {
        if self.prefix >= 31 {
            return (self.network, self.broadcast());
        }
        let last = Ipv4Addr::from_bits(self.broadcast().to_bits() - 1);
        (self.default_gateway(), last)
    }

    /// Returns the subnets of `prefix` bits within this one, in order; none if this one is smaller.
    pub fn split(self, prefix: u8) -> impl Iterator<Item = Self> {
        let count = if prefix < self.prefix || prefix > 32 { 0 } else { 1_u64 << (prefix - self.prefix) };
        (0..count).map(move |index| Self {
            network: Ipv4Addr::from_bits(self.network.to_bits() + ((index << (32 - prefix)) as u32)),
            prefix,
        })
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

impl FromStr for Subnet {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Self, SubnetError> {
        let form = || SubnetError::Form(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(form)?;
        let address: Ipv4Addr = address.parse().map_err(|_| form())?;
        let prefix: u8 = prefix.parse().map_err(|_| form())?;
        if prefix > 32 {
            return Err(form());
        }
        let subnet = Self::containing(address, prefix);
        if subnet.network != address {
            return Err(SubnetError::HostBits(text.to_owned(), subnet));
        }
        Ok(subnet)
    }
}

impl TryFrom<String> for Subnet {
    type Error = SubnetError;

    fn try_from(text: String) -> Result<Self, SubnetError> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn parses_and_prints() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "192.168.1.4/30", "1.2.3.4/32"] {
            assert_eq!(subnet(text).to_string(), text);
        }
        for text in ["10.0.0.0", "10.0.0.0/33", "10.0.0/8", "x/8", "10.0.0.0/-1", "::1/64", ""] {
            assert_eq!(text.parse::<Subnet>(), Err(SubnetError::Form(text.to_owned())), "{text}");
        }
        assert_eq!(
            "10.1.2.3/16".parse::<Subnet>().unwrap_err().to_string(),
            "`10.1.2.3/16` has bits set after its prefix; the subnet is 10.1.0.0/16"
        );
    }

    #[test]
    fn overlap_is_containment_either_way() {
        assert!(subnet("10.0.0.0/8").overlaps(subnet("10.3.0.0/16")));
        assert!(subnet("10.3.0.0/16").overlaps(subnet("10.0.0.0/8")));
        assert!(!subnet("10.3.0.0/16").overlaps(subnet("10.4.0.0/16")));
        assert!(subnet("0.0.0.0/0").overlaps(subnet("1.2.3.4/32")));
    }

    #[test]
    fn hosts_and_split() {
        let net = subnet("10.9.8.0/29");
        assert_eq!(net.hosts(), ("10.9.8.1".parse().unwrap(), "10.9.8.6".parse().unwrap()));
        assert_eq!(net.split(30).map(|s| s.to_string()).collect::<Vec<_>>(), ["10.9.8.0/30", "10.9.8.4/30"]);
        assert_eq!(net.split(28).count(), 0);
        assert_eq!(subnet("10.210.0.0/16").split(24).count(), 256);
    }
}
