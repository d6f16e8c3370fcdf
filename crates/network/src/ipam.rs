//! The address plan: which subnet a new network gets, and which address a new endpoint gets.
//!
//! Pure: takes what is taken as an argument and returns a choice. Who reads the host's routes is `netlink`; who
//! remembers addresses across processes is `addresses`.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::pools::AddressPool;
use crate::subnet::Subnet;

/// The prefix of a network whose subnet nobody chose: 253 endpoints.
pub const DEFAULT_PREFIX: u8 = 24;

/// Ranges that subnets are cut from, in order. All private (RFC 1918), and away from what other tools take first:
/// Docker's 172.17-20, Kubernetes' 10.96 and 10.244, podman's 10.88, home routers' 192.168.0-1 and 10.0.
const POOLS: [(Ipv4Addr, u8); 4] = [
    (Ipv4Addr::new(10, 210, 0, 0), 16),
    (Ipv4Addr::new(172, 29, 0, 0), 16),
    (Ipv4Addr::new(10, 211, 0, 0), 16),
    (Ipv4Addr::new(192, 168, 192, 0), 18),
];

/// Why no address or subnet can be given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IpamError {
    /// Every subnet of every pool overlaps something.
    #[error("every subnet of the address pools overlaps a route, an address or a network of this host")]
    NoSubnet,
    /// The wanted subnet overlaps one that is in use.
    #[error("subnet {wanted} overlaps {taken}, which is in use")]
    Overlap {
        /// What was asked for.
        wanted: Subnet,
        /// What it collides with.
        taken: Subnet,
    },
    /// The subnet leaves no room for a gateway and one endpoint.
    #[error("subnet {0} is too small for a gateway and an endpoint; use a prefix of 30 or less")]
    TooSmall(Subnet),
    /// The gateway is not a host address of the subnet.
    #[error("gateway {gateway} is not a host address of subnet {subnet}")]
    Gateway {
        /// What was asked for.
        gateway: Ipv4Addr,
        /// The subnet it should lie in.
        subnet: Subnet,
    },
    /// The range does not lie in the subnet.
    #[error("range {range} does not lie in subnet {subnet}")]
    Range {
        /// What was asked for.
        range: Subnet,
        /// The subnet it should lie in.
        subnet: Subnet,
    },
    /// The requested address is not a host address of the subnet, or is its gateway.
    #[error("address {address} cannot be given to an endpoint of subnet {subnet}")]
    Unusable {
        /// What was asked for.
        address: Ipv4Addr,
        /// The subnet it should lie in.
        subnet: Subnet,
    },
    /// The requested address is in use.
    #[error("address {0} is in use")]
    AddressTaken(Ipv4Addr),
    /// All addresses are in use.
    #[error("subnet {0} has no free address")]
    Full(Subnet),
}

/// Returns the first pool subnet that overlaps nothing of `taken`: routes and addresses of the host, subnets of other
/// networks. Default routes (prefix 0 and the halves that VPNs split it into) must not be among `taken`.
///
/// Subnets come from `pools`, in order, or from pools of ours where there are none.
pub fn choose_subnet(pools: &[AddressPool], taken: &[Subnet]) -> Result<Subnet, IpamError> {
    let ours = POOLS.map(|(address, prefix)| AddressPool {
        base: Subnet::containing(address, prefix),
        size: DEFAULT_PREFIX,
    });
    let pools = if pools.is_empty() { ours.as_slice() } else { pools };
    pools
        .iter()
        .flat_map(|pool| pool.base.split(pool.size))
        .find(|candidate| !taken.iter().any(|other| other.overlaps(*candidate)))
        .ok_or(IpamError::NoSubnet)
}

/// Checks a subnet that the user chose.
pub fn check_subnet(wanted: Subnet, taken: &[Subnet]) -> Result<(), IpamError> {
    if wanted.prefix() > 30 {
        return Err(IpamError::TooSmall(wanted));
    }
    match taken.iter().find(|other| other.overlaps(wanted)) {
        Some(&taken) => Err(IpamError::Overlap { wanted, taken }),
        None => Ok(()),
    }
}

/// Checks a gateway that the user chose.
pub fn check_gateway(gateway: Ipv4Addr, subnet: Subnet) -> Result<(), IpamError> {
    if is_host(gateway, subnet) { Ok(()) } else { Err(IpamError::Gateway { gateway, subnet }) }
}

/// Checks the part of a subnet that addresses are chosen from.
pub fn check_range(range: Subnet, subnet: Subnet) -> Result<(), IpamError> {
    if range.prefix() >= subnet.prefix() && subnet.contains(range.network()) {
        Ok(())
    } else {
        Err(IpamError::Range { range, subnet })
    }
}

/// As [`choose_address`], but what nobody asked for comes from `range`.
pub fn choose_address_in(
    range: Subnet,
    subnet: Subnet,
    gateway: Ipv4Addr,
    taken: &BTreeSet<Ipv4Addr>,
    last: Option<Ipv4Addr>,
) -> Result<Ipv4Addr, IpamError> {
    let (first, end) = (range.network().to_bits(), range.broadcast().to_bits());
    let count = u64::from(end - first) + 1;
    let start = match last {
        Some(last) if range.contains(last) => u64::from(last.to_bits() - first) + 1,
        Some(_) | None => 0,
    };
    // Those that are taken can be in the way, the gateway, and the subnet's first and last address.
    let tries = count.min(taken.len() as u64 + 4);
    (0..tries)
        .map(|step| Ipv4Addr::from_bits(first + ((start + step) % count) as u32))
        .find(|address| *address != gateway && is_host(*address, subnet) && !taken.contains(address))
        .ok_or(IpamError::Full(range))
}

/// Returns an address for a new endpoint: the `requested` one if it is free, else the first free one after `last`
/// (wrapping round), so that a freed address rests as long as possible before another container answers on it.
pub fn choose_address(
    subnet: Subnet,
    gateway: Ipv4Addr,
    taken: &BTreeSet<Ipv4Addr>,
    requested: Option<Ipv4Addr>,
    last: Option<Ipv4Addr>,
) -> Result<Ipv4Addr, IpamError> {
    if let Some(address) = requested {
        if !is_host(address, subnet) || address == gateway {
            return Err(IpamError::Unusable { address, subnet });
        }
        return if taken.contains(&address) { Err(IpamError::AddressTaken(address)) } else { Ok(address) };
    }
    let (first, end) = subnet.hosts();
    let (first, end) = (u64::from(first.to_bits()), u64::from(end.to_bits()));
    let count = end - first + 1;
    let start = match last {
        Some(last) if is_host(last, subnet) => u64::from(last.to_bits()) - first + 1,
        Some(_) | None => 0,
    };
    // At most `taken` + the gateway can be in the way, so this ends long before a /8 is walked.
    let tries = count.min(taken.len() as u64 + 2);
    (0..tries)
        .map(|step| Ipv4Addr::from_bits((first + (start + step) % count) as u32))
        .find(|address| *address != gateway && !taken.contains(address))
        .ok_or(IpamError::Full(subnet))
}

/// Returns a virtual address for a service: the last free one of `within` (the subnet, or the part of it that
/// addresses are chosen from), away from where containers get theirs. None while half of the addresses or more are
/// taken, since a container that gets none does not start, but a service can do without.
pub fn choose_service_address(
    within: Subnet,
    subnet: Subnet,
    gateway: Ipv4Addr,
    taken: &BTreeSet<Ipv4Addr>,
) -> Option<Ipv4Addr> {
    let (first, end) = (within.network().to_bits(), within.broadcast().to_bits());
    let count = u64::from(end - first) + 1;
    let used = taken.iter().filter(|address| within.contains(**address)).count() as u64;
    if (used + 1) * 2 >= count {
        return None;
    }
    (first..=end)
        .rev()
        .map(Ipv4Addr::from_bits)
        .find(|address| *address != gateway && is_host(*address, subnet) && !taken.contains(address))
}

fn is_host(address: Ipv4Addr, subnet: Subnet) -> bool {
    let (first, last) = subnet.hosts();
    (first..=last).contains(&address)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    fn address(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    #[test]
    fn a_subnet_avoids_all_that_is_taken() {
        assert_eq!(choose_subnet(&[], &[]), Ok(subnet("10.210.0.0/24")));
        let taken = [subnet("10.210.0.0/24"), subnet("10.210.1.128/25"), subnet("192.0.2.2/32")];
        assert_eq!(choose_subnet(&[], &taken), Ok(subnet("10.210.2.0/24")));
        assert_eq!(choose_subnet(&[], &[subnet("10.0.0.0/8")]), Ok(subnet("172.29.0.0/24")));
        let all = [subnet("10.0.0.0/8"), subnet("172.16.0.0/12"), subnet("192.168.0.0/16")];
        assert_eq!(choose_subnet(&[], &all), Err(IpamError::NoSubnet));
        let pools = [("10.99.0.0/30", 30), ("10.98.0.0/16", 20)]
            .map(|(base, size)| AddressPool { base: subnet(base), size });
        assert_eq!(choose_subnet(&pools, &[]), Ok(subnet("10.99.0.0/30")));
        assert_eq!(choose_subnet(&pools, &[subnet("10.99.0.0/24")]), Ok(subnet("10.98.0.0/20")));
    }

    #[test]
    fn a_chosen_subnet_is_checked() {
        let taken = [subnet("10.0.0.0/8")];
        assert_eq!(check_subnet(subnet("172.20.0.0/16"), &taken), Ok(()));
        assert_eq!(
            check_subnet(subnet("10.1.0.0/16"), &taken).unwrap_err().to_string(),
            "subnet 10.1.0.0/16 overlaps 10.0.0.0/8, which is in use"
        );
        assert_eq!(check_subnet(subnet("10.1.0.0/31"), &[]), Err(IpamError::TooSmall(subnet("10.1.0.0/31"))));
        assert!(check_gateway(address("10.1.0.9"), subnet("10.1.0.0/24")).is_ok());
        assert!(check_gateway(address("10.1.0.255"), subnet("10.1.0.0/24")).is_err());
    }

    #[test]
    fn addresses_go_round_and_end() {
        let net = subnet("10.1.0.0/29");
        let gateway = address("10.1.0.1");
        let mut taken = BTreeSet::new();
        let mut last = None;
        let mut given = Vec::new();
        while let Ok(next) = choose_address(net, gateway, &taken, None, last) {
            given.push(next.octets()[3]);
            taken.insert(next);
            last = Some(next);
        }
        assert_eq!(given, [2, 3, 4, 5, 6]);
        assert_eq!(choose_address(net, gateway, &taken, None, last), Err(IpamError::Full(net)));
        taken.remove(&address("10.1.0.4"));
        assert_eq!(choose_address(net, gateway, &taken, None, last), Ok(address("10.1.0.4")));
    }

    #[test]
    fn addresses_come_from_a_range() {
        let (net, range) = (subnet("10.1.0.0/24"), subnet("10.1.0.0/30"));
        assert_eq!(check_range(range, net), Ok(()));
        assert!(check_range(subnet("10.2.0.0/30"), net).is_err());
        assert!(check_range(subnet("10.1.0.0/16"), net).is_err());
        let gateway = address("10.1.0.1");
        let mut taken = BTreeSet::new();
        let mut given = Vec::new();
        let mut last = None;
        while let Ok(next) = choose_address_in(range, net, gateway, &taken, last) {
            given.push(next.octets()[3]);
            taken.insert(next);
            last = Some(next);
        }
        assert_eq!(given, [2, 3]);
    }

    #[test]
    fn services_get_the_last_addresses_and_leave_half() {
        let (net, gateway) = (subnet("10.1.0.0/28"), address("10.1.0.1"));
        let mut taken = BTreeSet::from([address("10.1.0.14"), address("10.1.0.2")]);
        let mut given = Vec::new();
        while let Some(next) = choose_service_address(net, net, gateway, &taken) {
            given.push(next.octets()[3]);
            taken.insert(next);
        }
        assert_eq!(given, [13, 12, 11, 10, 9]);
        assert_eq!(
            choose_service_address(subnet("10.1.0.0/30"), subnet("10.1.0.0/30"), gateway, &taken),
            None
        );
        let range = subnet("10.1.0.0/29");
        assert_eq!(choose_service_address(range, net, gateway, &BTreeSet::new()), Some(address("10.1.0.7")));
    }

    #[test]
    fn a_freed_address_rests() {
        let net = subnet("10.1.0.0/29");
        let taken = BTreeSet::new();
        let next = choose_address(net, address("10.1.0.1"), &taken, None, Some(address("10.1.0.3")));
        assert_eq!(next, Ok(address("10.1.0.4")));
    }

    #[test]
    fn requested_addresses_are_checked() {
        let net = subnet("10.1.0.0/24");
        let gateway = address("10.1.0.1");
        let taken = BTreeSet::from([address("10.1.0.7")]);
        let ask = |text: &str| choose_address(net, gateway, &taken, Some(address(text)), None);
        assert_eq!(ask("10.1.0.9"), Ok(address("10.1.0.9")));
        assert_eq!(ask("10.1.0.7"), Err(IpamError::AddressTaken(address("10.1.0.7"))));
        for unusable in ["10.1.0.0", "10.1.0.1", "10.1.0.255", "10.2.0.9"] {
            assert!(matches!(ask(unusable), Err(IpamError::Unusable { .. })), "{unusable}");
        }
    }

    proptest! {
        #[test]
        fn a_given_address_is_free_and_within(
            prefix in 20_u8..=30,
            taken in proptest::collection::btree_set(0_u32..64, 0..40),
            last in proptest::option::of(0_u32..5000),
        ) {
            let net = Subnet::containing(Ipv4Addr::new(10, 1, 0, 0), prefix);
            let gateway = net.default_gateway();
            let at = |offset: u32| Ipv4Addr::from_bits(net.network().to_bits() + offset);
            let taken: BTreeSet<_> = taken.into_iter().map(at).collect();
            match choose_address(net, gateway, &taken, None, last.map(at)) {
                Ok(address) => {
                    prop_assert!(is_host(address, net) && address != gateway && !taken.contains(&address));
                }
                Err(error) => {
                    prop_assert_eq!(error, IpamError::Full(net));
                    let (first, end) = net.hosts();
                    let free = (first.to_bits()..=end.to_bits()).map(Ipv4Addr::from_bits)
                        .filter(|a| *a != gateway && !taken.contains(a)).count();
                    prop_assert_eq!(free, 0);
                }
            }
        }
    }
}
