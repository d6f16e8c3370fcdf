//! Virtual addresses of services: what one container's own packet filter must do to reach them.
//!
//! A service's virtual address lies in its network's subnet and belongs to no link: no packet to it ever leaves a
//! container. Each container translates it itself, in its own network namespace, before its kernel looks for a neighbour:
//!
//! ```text
//!  client's namespace                              bridge                 replica's namespace
//!  connect 10.1.0.254:80 -> output: dnat to 10.1.0.3 --- 10.1.0.2 > 10.1.0.3 --> accept from 10.1.0.2
//! ```
//!
//! So the replica sees the client's own address and answers it directly; no filter of the host, no `br_netfilter`, no masquerade
//! and no process is involved, a replica reaches itself, and the rules end with the container. Translating on the
//! host instead would not do: a reply between two ports of one bridge passes no hook of the host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::port::Protocol;
use crate::subnet::Subnet;
use crate::table::{Chain, Hook, Match, Refusal, Rule, Sense, Statement, Table};

/// A service as the containers of one network reach it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceAddress {
    /// Its virtual address.
    pub address: Ipv4Addr,
    /// Its virtual IPv6 address, if the network has some.
    pub address6: Option<Ipv6Addr>,
    /// The replicas that receive new connections.
    pub endpoints: Vec<(Ipv4Addr, Option<Ipv6Addr>)>,
}

/// Returns the table of a container that reaches `services`, or none if there is nothing to translate. New connections go to
/// replicas in turn; `first` says with which a container begins, so that not all begin with the same.
///
/// A service without any replica refuses connections at once, as a host does on which nobody listens.
pub fn client_table(services: &[ServiceAddress], first: usize) -> Option<Table> {
    let mut services: Vec<&ServiceAddress> = services.iter().collect();
    services.sort();
    services.dedup();
    let mut translated = Vec::new();
    let mut refused = Vec::new();
    for service in services {
        let reached: Vec<IpAddr> = service.endpoints.iter().map(|(address, _)| (*address).into()).collect();
        spread(service.address.into(), reached, first, &mut translated, &mut refused);
        if let Some(address) = service.address6 {
            let reached = service.endpoints.iter().filter_map(|(_, address)| address.map(IpAddr::from));
            spread(address.into(), reached.collect(), first, &mut translated, &mut refused);
        }
    }
    if translated.is_empty() && refused.is_empty() {
        return None;
    }
    let jump = || vec![Rule::new([], Statement::Jump("services".to_owned()))];
    // These stay without a replica too: the kernel translates what was begun only while there is a chain for it.
    let mut chains = vec![
        Chain::regular("services", translated),
        // What a container routes for others, which it may do for containers of its own, is translated as well.
        Chain::base("prerouting", Hook::Prerouting, jump()),
        Chain::base("output", Hook::Output, jump()),
    ];
    if !refused.is_empty() {
        // Without a rule that asks for it, or translates, the kernel no longer knows what was begun.
        refused.insert(0, Rule::new([Match::StateEstablished], Statement::Accept));
        chains.push(Chain::base("refuse", Hook::OutputFilter, refused));
    }
    Some(Table { chains, ..Table::default() })
}

fn spread(
    service: IpAddr,
    mut endpoints: Vec<IpAddr>,
    first: usize,
    translated: &mut Vec<Rule>,
    refused: &mut Vec<Rule>,
) {
    let destination = match service {
        IpAddr::V4(address) => Match::Destination(Sense::Is, Subnet::containing(address, 32)),
        IpAddr::V6(address) => Match::Destination6(address),
    };
    endpoints.sort();
    endpoints.dedup();
    if endpoints.is_empty() {
        let tcp = Match::Transport(Protocol::Tcp);
        refused.push(Rule::new([destination.clone(), tcp], Statement::Refuse(Refusal::Reset)));
        refused.push(Rule::new([destination], Statement::Refuse(Refusal::Unreachable)));
        return;
    }
    let first = first % endpoints.len();
    endpoints.rotate_left(first);
    let count = endpoints.len();
    for (position, endpoint) in endpoints.into_iter().enumerate() {
        // Of n, the first rule takes each n-th connection, the next each (n-1)-th of what is left, and so on.
        let left = u32::try_from(count - position).unwrap_or(u32::MAX);
        let turn = (left > 1).then_some(Match::Turn(left));
        let matches = std::iter::once(destination.clone()).chain(turn);
        translated.push(Rule::new(matches, Statement::Dnat(endpoint, None)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(last: u8, endpoints: &[u8]) -> ServiceAddress {
        let at = |last| Ipv4Addr::new(10, 1, 0, last);
        ServiceAddress {
            address: at(last),
            address6: None,
            endpoints: endpoints.iter().map(|last| (at(*last), None)).collect(),
        }
    }

    #[test]
    fn nothing_needs_nothing() {
        assert_eq!(client_table(&[], 0), None);
    }

    #[test]
    fn replicas_take_turns_and_an_empty_set_refuses() {
        let mut both = service(252, &[7]);
        both.address6 = Some("fd00::fc".parse().unwrap());
        both.endpoints[0].1 = Some("fd00::7".parse().unwrap());
        let table = client_table(&[service(254, &[2, 3, 4]), service(253, &[]), both], 4).unwrap();
        insta::assert_snapshot!(table, @r#"
        table inet coracle {
        	chain services {
        		ip daddr 10.1.0.252 dnat ip to 10.1.0.7
        		ip6 daddr fd00::fc dnat ip6 to fd00::7
        		ip daddr 10.1.0.254 numgen inc mod 3 0 dnat ip to 10.1.0.3
        		ip daddr 10.1.0.254 numgen inc mod 2 0 dnat ip to 10.1.0.4
        		ip daddr 10.1.0.254 dnat ip to 10.1.0.2
        	}

        	chain prerouting {
        		type nat hook prerouting priority dstnat; policy accept;
        		jump services
        	}

        	chain output {
        		type nat hook output priority -100; policy accept;
        		jump services
        	}

        	chain refuse {
        		type filter hook output priority filter; policy accept;
        		ct state established,related accept
        		ip daddr 10.1.0.253 meta l4proto tcp reject with tcp reset
        		ip daddr 10.1.0.253 reject
        	}
        }
        "#);
    }

    #[test]
    fn the_order_of_records_changes_nothing() {
        let (a, b) = (service(254, &[2, 3]), service(253, &[4]));
        let mut turned = a.clone();
        turned.endpoints.reverse();
        assert_eq!(client_table(&[a, b.clone()], 0), client_table(&[b, turned], 0));
    }
}
