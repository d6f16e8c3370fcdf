//! What the packet filter must do, derived from networks and published ports alone.
//!
//! [`RuleSet::table`] decides every chain and rule; `nftables` only encodes what it returns. The text form is what
//! `nft list table inet coracle` prints.
//!
//! | chain | hook | does |
//! |---|---|---|
//! | `prerouting`, `output` | nat | send what is for an address of this host to `publish` |
//! | `publish` | - | one `dnat` a published port |
//! | `postrouting` | nat | masquerade what leaves a network |
//! | `forward` | filter | nothing enters a network but replies, published ports and its own; nothing leaves an internal one |
//! | `input` | filter | containers of an internal network reach only the name server of this host |
//!
//! Every chain's policy is `accept`, and `accept` in one table does not overrule a `drop` in another: the host's own
//! rules stay in force. See [`crate::nftables`] for hosts whose rules drop what they do not know.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::port::{Protocol, PublishedPort};
use crate::subnet::Subnet;
use crate::table::{Chain, Hook, Match, Rule, Sense, Statement, Table};

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

    /// Returns the chains and rules that do what this set says.
    pub fn table(&self) -> Table {
        // Sorted and without doubles, so that the order in which records are read never rewrites the table.
        let networks: BTreeMap<&str, &NetworkRules> =
            self.networks.iter().map(|n| (n.bridge.as_str(), n)).collect();
        let networks: Vec<&NetworkRules> = networks.into_values().collect();
        let publish = self.publish(&networks);
        let mut chains = Vec::new();
        if !publish.rules.is_empty() {
            chains.push(publish);
            chains.push(Chain::base(
                "prerouting",
                Hook::Prerouting,
                vec![Rule::new([Match::DestinationLocal], Statement::Jump("publish".to_owned()))],
            ));
            // Loopback is left to the keeper's proxy: an address of 127/8 may not leave by a bridge.
            let loopback = Subnet::containing(Ipv4Addr::LOCALHOST, 8);
            chains.push(Chain::base(
                "output",
                Hook::Output,
                vec![Rule::new(
                    [Match::Destination(Sense::IsNot, loopback), Match::DestinationLocal],
                    Statement::Jump("publish".to_owned()),
                )],
            ));
        }
        chains.push(Chain::base("postrouting", Hook::Postrouting, postrouting(&networks)));
        chains.push(Chain::base("forward", Hook::Forward, forward(&networks)));
        let input = input(&networks);
        if !input.is_empty() {
            chains.push(Chain::base("input", Hook::Input, input));
        }
        chains.retain(|chain| !chain.rules.is_empty());
        Table { chains }
    }

    fn publish(&self, networks: &[&NetworkRules]) -> Chain {
        let mut ports: Vec<&PublishedPort> = self.ports.iter().collect();
        ports.sort();
        ports.dedup();
        let mut rules = Vec::new();
        for port in ports {
            let network = networks.iter().find(|network| network.subnet.contains(port.container_ip));
            let destination = match port.host_ip {
                // IPv6 and loopback clients come through the keeper's proxy.
                Some(IpAddr::V6(_)) => continue,
                Some(IpAddr::V4(address)) if address.is_loopback() => continue,
                Some(IpAddr::V4(address)) if !address.is_unspecified() => Some(address),
                Some(IpAddr::V4(_)) | None => None,
            };
            if network.is_some_and(|network| network.internal) {
                continue;
            }
            // A neighbour, or the container itself, comes through the keeper's proxy: the reply to a translated packet
            // would go straight back by the bridge, from an address that the neighbour never spoke to.
            let source = network.map(|network| Match::Source(Sense::IsNot, network.subnet));
            let destination =
                destination.map(|address| Match::Destination(Sense::Is, Subnet::containing(address, 32)));
            let port_match = Match::DestinationPort(port.protocol, port.host_port);
            let matches = source.into_iter().chain(destination).chain([port_match]);
            rules.push(Rule::new(
                matches,
                Statement::Dnat(port.container_ip.into(), Some(port.container_port)),
            ));
        }
        Chain::regular("publish", rules)
    }
}

fn postrouting(networks: &[&NetworkRules]) -> Vec<Rule> {
    let mut rules = Vec::new();
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
        assert_eq!(RuleSet::default().table().to_string(), "table inet coracle {\n}\n");
    }

    #[test]
    fn one_network() {
        let set = RuleSet { networks: vec![network("coracle0", "10.210.0.0/24", false)], ports: vec![] };
        insta::assert_snapshot!(set.table(), @r#"
        table inet coracle {
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
        insta::assert_snapshot!(set.table());
        let reversed = RuleSet {
            networks: set.networks.iter().rev().cloned().collect(),
            ports: set.ports.iter().rev().chain(&set.ports).cloned().collect(),
        };
        assert_eq!(set.table(), reversed.table());
    }
}
