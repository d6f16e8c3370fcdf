//! IPv6 subnets as values: their text form, the plan for a network that chooses none, and the addresses of containers.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::subnet::Subnet;

/// The most and the fewest leading bits that a network's subnet may have: an IPv4 host number must fit behind them.
const PREFIXES: std::ops::RangeInclusive<u8> = 8..=112;

/// An IPv6 network in CIDR form, e.g. `fd12:3456:789a::/64`; the bits after the prefix are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet6 {
    network: Ipv6Addr,
    prefix: u8,
}

/// Why a text is no subnet for a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Subnet6Error {
    /// Not of the form `a:b::/n`.
    #[error("`{0}` is not an IPv6 subnet such as fd00:1::/64")]
    Form(String),
    /// A prefix that leaves no room, or all of the world.
    #[error("`{0}` has a prefix that is none of 8 to 112")]
    Prefix(String),
    /// Bits are set after the prefix.
    #[error("`{0}` has bits set after its prefix")]
    HostBits(String),
    /// An address that is not in it, or is its own name.
    #[error("`{0}` is no address of a host in {1}")]
    Address(Ipv6Addr, Subnet6),
}

impl Subnet6 {
    /// Returns the local subnet (RFC 4193) that `random` stands for: a network that chooses none has one that no other is
    /// likely to have.
    pub fn local(random: [u8; 5]) -> Self {
        let mut octets = [0; 16];
        octets[0] = 0xfd;
        octets[1..6].copy_from_slice(&random);
        Self { network: Ipv6Addr::from(octets), prefix: 64 }
    }

    /// Returns the number of leading bits that are fixed.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Returns whether `address` lies within.
    pub fn contains(self, address: Ipv6Addr) -> bool {
        address.to_bits() & mask(self.prefix) == self.network.to_bits()
    }

    /// Returns whether the two share an address.
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.network) || other.contains(self.network)
    }

    /// Returns the gateway when nobody says otherwise: the first host.
    pub fn default_gateway(self) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.network.to_bits() + 1)
    }

    /// Returns the address of a host whose IPv4 address in `subnet` is `address`: one number serves both.
    pub fn beside(self, address: Ipv4Addr, subnet: Subnet) -> Ipv6Addr {
        let number = address.to_bits() - subnet.network().to_bits();
        Ipv6Addr::from_bits(self.network.to_bits() | u128::from(number & 0xffff))
    }

    /// Checks an address that the user chose.
    pub fn check(self, address: Ipv6Addr) -> Result<(), Subnet6Error> {
        if self.contains(address) && address != self.network {
            Ok(())
        } else {
            Err(Subnet6Error::Address(address, self))
        }
    }
}

fn mask(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

impl FromStr for Subnet6 {
    type Err = Subnet6Error;

    fn from_str(text: &str) -> Result<Self, Subnet6Error> {
        let form = || Subnet6Error::Form(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(form)?;
        let network: Ipv6Addr = address.parse().map_err(|_| form())?;
        let prefix: u8 = prefix.parse().map_err(|_| form())?;
        if !PREFIXES.contains(&prefix) {
            return Err(Subnet6Error::Prefix(text.to_owned()));
        }
        if network.to_bits() & mask(prefix) != network.to_bits() {
            return Err(Subnet6Error::HostBits(text.to_owned()));
        }
        Ok(Self { network, prefix })
    }
}

impl TryFrom<String> for Subnet6 {
    type Error = Subnet6Error;

    fn try_from(text: String) -> Result<Self, Subnet6Error> {
        text.parse()
    }
}

impl From<Subnet6> for String {
    fn from(subnet: Subnet6) -> Self {
        subnet.to_string()
    }
}

impl fmt::Display for Subnet6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_and_their_hosts() {
        let net: Subnet6 = "fd00:1::/64".parse().unwrap();
        let four: Subnet = "10.1.2.0/24".parse().unwrap();
        assert_eq!(net.default_gateway().to_string(), "fd00:1::1");
        assert_eq!(net.beside(Ipv4Addr::new(10, 1, 2, 9), four).to_string(), "fd00:1::9");
        assert!(net.check("fd00:1::7".parse().unwrap()).is_ok());
        assert!(net.check("fd00:1::".parse().unwrap()).is_err());
        assert!(net.check("fd00:2::7".parse().unwrap()).is_err());
        assert_eq!(Subnet6::local([1, 2, 3, 4, 5]).to_string(), "fd01:203:405::/64");
        assert!(net.overlaps("fd00::/16".parse().unwrap()) && !net.overlaps("fd00:2::/64".parse().unwrap()));
        for text in ["fd00::1/64", "fd00::/4", "fd00::/120", "10.0.0.0/8", "fd00::"] {
            assert!(text.parse::<Subnet6>().is_err(), "{text}");
        }
    }
}
