//! What the packet filter must do, derived from networks and published ports alone.
//!
//! [`RuleSet::table`] decides every chain and rule; `nftables` only encodes what it returns. The text form is what
//! `nft list table inet coracle` prints.
//!
//! | chain | hook | does |
//! |---|---|---|
//! | `guard` | filter | nothing comes from a network for this host's loopback |
//! | `prerouting`, `output` | nat | send what is for an address of this host to `publish` |
//! | `publish`, `loopback` | - | one `dnat` a published port |
//! | `postrouting` | nat | masquerade what leaves a network; give keepers' connections their clients' addresses |
//! | `forward` | filter | nothing enters a network but replies, published ports and its own; nothing leaves an internal one |
//! | `input` | filter | containers of an internal network reach only the name server of this host |
//!
//! Every chain's policy is `accept`, and `accept` in one table does not overrule a `drop` in another: the host's own
//! rules stay in force. See [`crate::nftables`] for hosts whose rules drop what they do not know.
//!
//! # Hosts that filter what comes in
//!
//! A packet that is translated before routing never meets the `input` chains of the host, so that `ufw deny 8080` would
//! close nothing. Where the host has such a chain with rules ([`Surroundings::filters_input`]), clients of other machines
//! are therefore not translated: their packets go the way of any service of the host, and the keeper, which holds the port,
//! carries what the host's rules let through. It says in a map whose connection it makes, and `postrouting` gives that
//! connection its client's address: a container sees the same client as without a firewall.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::port::{Protocol, PublishedPort};
use crate::subnet::Subnet;
use crate::table::{Chain, Hook, Match, Rule, Sense, Statement, Table};

/// The map of clients of one protocol.
pub fn client_map(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "clients-tcp",
        Protocol::Udp => "clients-udp",
    }
}

/// What the rules must know of the host beside what is ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Whether rules of others judge what comes in for this host.
    pub filters_input: bool,
    /// Bridges by which this host may send from its loopback addresses (`route_localnet`).
    pub loopback: BTreeSet<String>,
}

/// One network as the packet filter sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NetworkRules {
    /// The bridge link's name.
    pub bridge: String,
    /// Its addresses.
    pub subnet: Subnet,
    /// The bridge's own address.
    pub gateway: Ipv4Addr,
    /// Whether it has IPv6 addresses.
    #[serde(default)]
    pub ipv6: bool,
    /// Whether it reaches nothing outside.
    pub internal: bool,
    /// Whether what leaves it takes the host's address.
    pub masquerade: bool,
}

/// Everything the packet filter must know. The same set in another order is the same table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleSet {
    /// All networks of this data root.
    pub networks: Vec<NetworkRules>,
    /// All published ports of running containers.
    pub ports: Vec<PublishedPort>,
}

impl RuleSet {
    /// Returns whether nothing needs a rule, so that the table can go.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && self.ports.is_empty()
    }

    /// Returns the chains and rules that do what this set says on a host with these surroundings.
    pub fn table(&self, host: &Surroundings) -> Table {
        // Sorted and without doubles, so that the order in which records are read never rewrites the table.
        let networks: BTreeMap<&str, &NetworkRules> =
            self.networks.iter().map(|n| (n.bridge.as_str(), n)).collect();
        let networks: Vec<&NetworkRules> = networks.into_values().collect();
        let (publish, own) = self.publish(&networks, host);
        let mut chains = vec![Chain::base("guard", Hook::Raw, guard(&networks))];
        let mut clients = Vec::new();
        if !publish.rules.is_empty() || !own.rules.is_empty() {
            let jump = |to: &str| Rule::new([Match::DestinationLocal], Statement::Jump(to.to_owned()));
            let mut from_host = Vec::new();
            if !own.rules.is_empty() {
                from_host.push(jump("loopback"));
                chains.push(own);
            }
            if !publish.rules.is_empty() {
                from_host.push(jump("publish"));
                chains.push(publish);
                if host.filters_input {
                    clients = [Protocol::Tcp, Protocol::Udp].map(|it| client_map(it).to_owned()).to_vec();
                } else {
                    chains.push(Chain::base("prerouting", Hook::Prerouting, vec![jump("publish")]));
                }
            }
            chains.push(Chain::base("output", Hook::Output, from_host));
        }
        chains.push(Chain::base("postrouting", Hook::Postrouting, postrouting(&networks, host, &clients)));
        chains.push(Chain::base("forward", Hook::Forward, forward(&networks)));
        chains.push(Chain::base("input", Hook::Input, input(&networks)));
        chains.retain(|chain| !chain.rules.is_empty());
        Table { clients, chains }
    }

    /// Returns the rules of published ports: those for every client, and those for this host's own alone.
    fn publish(&self, networks: &[&NetworkRules], host: &Surroundings) -> (Chain, Chain) {
        let mut ports: Vec<&PublishedPort> = self.ports.iter().collect();
        ports.sort();
        ports.dedup();
        let (mut rules, mut own) = (Vec::new(), Vec::new());
        let all_loopback = Subnet::containing(Ipv4Addr::LOCALHOST, 8);
        for port in ports {
            let network = networks.iter().find(|network| network.subnet.contains(port.container_ip));
            if network.is_some_and(|network| network.internal) {
                continue;
            }
            let by_loopback = network.is_some_and(|network| host.loopback.contains(&network.bridge));
            let port_match = Match::DestinationPort(port.protocol, port.host_port);
            // A neighbour, or the container itself, comes through the keeper's proxy: the reply to a translated packet
            // would go straight back by the bridge, from an address that the neighbour never spoke to.
            let source = network.map(|network| Match::Source(Sense::IsNot, network.subnet));
            let to = Statement::Dnat(port.container_ip.into(), Some(port.container_port));
            let rule = |first: Option<Match>| {
                Rule::new(source.clone().into_iter().chain(first).chain([port_match.clone()]), to.clone())
            };
            match port.host_ip {
                // IPv6 clients come through the keeper's proxy.
                Some(IpAddr::V6(address)) if !address.is_unspecified() => {}
                Some(IpAddr::V4(address)) if !address.is_unspecified() => {
                    let destination = Match::Destination(Sense::Is, Subnet::containing(address, 32));
                    let rule = rule(Some(destination));
                    if !address.is_loopback() {
                        rules.push(rule);
                    } else if by_loopback {
                        // Never for what comes in: a neighbour may send to whatever address it likes.
                        own.push(rule);
                    }
                }
                Some(IpAddr::V6(_)) => {}
                Some(IpAddr::V4(_)) | None if by_loopback => rules.push(rule(None)),
                Some(IpAddr::V4(_)) | None => {
                    // The keeper's proxy serves loopback: its addresses may not leave by this bridge.
                    let elsewhere = Match::Destination(Sense::IsNot, all_loopback);
                    rules.push(rule(Some(elsewhere)));
                }
            }
        }
        (Chain::regular("publish", rules), Chain::regular("loopback", own))
    }
}

/// The settings that let the host send from its loopback addresses also let a container send to them.
fn guard(networks: &[&NetworkRules]) -> Vec<Rule> {
    let loopback = Subnet::containing(Ipv4Addr::LOCALHOST, 8);
    let rule = |network: &&NetworkRules| {
        let inside = Match::Input(Sense::Is, network.bridge.clone());
        Rule::new([inside, Match::Destination(Sense::Is, loopback)], Statement::Drop)
    };
    networks.iter().map(rule).collect()
}

fn postrouting(networks: &[&NetworkRules], host: &Surroundings, clients: &[String]) -> Vec<Rule> {
    let mut rules = Vec::new();
    for network in networks.iter().filter(|network| !network.internal) {
        let out = || Match::Output(Sense::Is, network.bridge.clone());
        if !clients.is_empty() {
            let own = Match::Source(Sense::Is, Subnet::containing(network.gateway, 32));
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                let to = Statement::SnatClient(protocol, client_map(protocol).to_owned());
                rules.push(Rule::new([own.clone(), out()], to));
            }
        }
        if host.loopback.contains(&network.bridge) {
            let loopback = Match::Source(Sense::Is, Subnet::containing(Ipv4Addr::LOCALHOST, 8));
            rules.push(Rule::new([loopback, out()], Statement::Masquerade));
        }
    }
    for network in networks.iter().filter(|network| network.masquerade && !network.internal) {
        rules.push(Rule::new(
            [Match::Source(Sense::Is, network.subnet), Match::Output(Sense::IsNot, network.bridge.clone())],
            Statement::Masquerade,
        ));
        if network.ipv6 {
            let (inside, outside) = (network.bridge.clone(), network.bridge.clone());
            rules.push(Rule::new(
                [Match::Ipv6, Match::Input(Sense::Is, inside), Match::Output(Sense::IsNot, outside)],
                Statement::Masquerade,
            ));
        }
    }
    rules
}

fn forward(networks: &[&NetworkRules]) -> Vec<Rule> {
    let mut rules = Vec::new();
    // Before everything else: not even by another network's published port does an internal network get out.
    for network in networks.iter().filter(|network| network.internal) {
        let (inside, outside) = (network.bridge.clone(), network.bridge.clone());
        rules.push(Rule::new(
            [Match::Input(Sense::Is, inside), Match::Output(Sense::IsNot, outside)],
            Statement::Drop,
        ));
    }
    rules.push(Rule::new([Match::StateEstablished], Statement::Accept));
    rules.push(Rule::new([Match::StatusDnat], Statement::Accept));
    for network in networks {
        let (outside, inside) = (network.bridge.clone(), network.bridge.clone());
        rules.push(Rule::new(
            [Match::Input(Sense::IsNot, outside), Match::Output(Sense::Is, inside)],
            Statement::Drop,
        ));
    }
    if networks.is_empty() { Vec::new() } else { rules }
}

fn input(networks: &[&NetworkRules]) -> Vec<Rule> {
    let mut rules = Vec::new();
    for network in networks.iter().filter(|network| network.internal) {
        let inside = Match::Input(Sense::Is, network.bridge.clone());
        // Replies to what the host itself asked, the keeper's proxy among them.
        rules.push(Rule::new([inside.clone(), Match::StateEstablished], Statement::Accept));
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            rules.push(Rule::new([inside.clone(), Match::DestinationPort(protocol, 53)], Statement::Accept));
        }
        rules.push(Rule::new([inside], Statement::Drop));
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(bridge: &str, subnet: &str, internal: bool) -> NetworkRules {
        let subnet: Subnet = subnet.parse().unwrap();
        NetworkRules {
            bridge: bridge.to_owned(),
            subnet,
            gateway: subnet.default_gateway(),
            ipv6: false,
            internal,
            masquerade: !internal,
        }
    }

    fn port(
        protocol: Protocol,
        host_ip: Option<&str>,
        host_port: u16,
        to: &str,
        container_port: u16,
    ) -> PublishedPort {
        PublishedPort {
            protocol,
            host_ip: host_ip.map(|ip| ip.parse().unwrap()),
            host_port,
            container_ip: to.parse().unwrap(),
            container_port,
        }
    }

    #[test]
    fn nothing_needs_nothing() {
        assert!(RuleSet::default().is_empty());
        assert_eq!(
            RuleSet::default().table(&Surroundings::default()).to_string(),
            "table inet coracle {\n}\n"
        );
    }

    #[test]
    fn one_network() {
        let set = RuleSet { networks: vec![network("coracle0", "10.210.0.0/24", false)], ports: vec![] };
        insta::assert_snapshot!(set.table(&Surroundings::default()), @r#"
        table inet coracle {
        	chain guard {
        		type filter hook prerouting priority raw; policy accept;
        		iifname "coracle0" ip daddr 127.0.0.0/8 drop
        	}

        	chain postrouting {
        		type nat hook postrouting priority srcnat; policy accept;
        		ip saddr 10.210.0.0/24 oifname != "coracle0" masquerade
        	}

        	chain forward {
        		type filter hook forward priority filter; policy accept;
        		ct state established,related accept
        		ct status dnat accept
        		iifname != "coracle0" oifname "coracle0" drop
        	}
        }
        "#);
    }

    #[test]
    fn networks_ports_and_an_internal_one() {
        let set = RuleSet {
            networks: vec![
                network("cr-bbbbbbbb", "10.210.2.0/24", true),
                network("cr-aaaaaaaa", "10.210.1.0/24", false),
            ],
            ports: vec![
                port(Protocol::Udp, None, 5353, "10.210.1.2", 53),
                port(Protocol::Tcp, None, 8080, "10.210.1.2", 80),
                port(Protocol::Tcp, Some("0.0.0.0"), 8081, "10.210.1.2", 80),
                port(Protocol::Tcp, Some("192.0.2.2"), 8082, "10.210.1.3", 80),
                port(Protocol::Tcp, Some("127.0.0.1"), 8083, "10.210.1.3", 80),
                port(Protocol::Tcp, Some("::"), 8084, "10.210.1.3", 80),
                port(Protocol::Tcp, None, 8085, "10.210.2.3", 80),
            ],
        };
        let filtered =
            Surroundings { filters_input: true, loopback: BTreeSet::from(["cr-aaaaaaaa".to_owned()]) };
        insta::assert_snapshot!(set.table(&Surroundings::default()));
        insta::assert_snapshot!("a_host_that_filters", set.table(&filtered));
        let reversed = RuleSet {
            networks: set.networks.iter().rev().cloned().collect(),
            ports: set.ports.iter().rev().chain(&set.ports).cloned().collect(),
        };
        assert_eq!(set.table(&filtered), reversed.table(&filtered));
    }
}
