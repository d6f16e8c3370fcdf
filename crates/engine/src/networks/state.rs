//! Which container has which address on which network, and which ports it publishes: the state of now.
//!
//! It lies under the run root (`network/state.json`), because nothing of it outlives a reboot. Whoever changes it
//! holds `network/lock`, the one lock of all network changes of the host: of two processes that read it and then
//! apply rules, the one that read first could otherwise apply last.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use coracle_container::{ContainerId, ProcessIdentity};
use coracle_network::{NetworkRecord, PublishedPort, RuleSet};
use serde::{Deserialize, Serialize};

/// All endpoints of the host.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct NetworkState {
    /// Containers that are attached.
    pub containers: BTreeMap<ContainerId, Attached>,
    /// The address last given out on each network, by its name.
    pub last: BTreeMap<String, Ipv4Addr>,
    /// Counts attachments, so that no two links of a container share a name.
    pub generation: u32,
}

/// One attached container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Attached {
    /// Its name.
    pub name: String,
    /// Which keeper serves it.
    pub scope: String,
    /// The process whose network namespace it is: while it lives, the endpoints do.
    pub holder: ProcessIdentity,
    /// Where it is attached, in the order of its interfaces.
    pub endpoints: Vec<Endpoint>,
    /// Names that it alone knows others by: name, then the other container's name.
    #[serde(default)]
    pub links: Vec<(String, String)>,
    /// What it publishes.
    pub ports: Vec<PublishedPort>,
    /// The service that it is a replica of: project and service, `shop/backend`.
    #[serde(default)]
    pub service: Option<String>,
    /// Whether it is about to stop, and gets no new connections by its service's address.
    #[serde(default)]
    pub draining: bool,
}

/// One attachment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Endpoint {
    /// The network's name.
    pub network: String,
    /// Names that resolve to it there, beside the container's.
    pub aliases: Vec<String>,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its IPv6 address, if the network has some.
    #[serde(default)]
    pub address6: Option<Ipv6Addr>,
    /// The host's end of its link.
    pub link: String,
}

impl NetworkState {
    /// Returns the addresses in use on a network.
    pub fn addresses(&self, network: &str) -> BTreeSet<Ipv4Addr> {
        let endpoints = self.containers.values().flat_map(|attached| &attached.endpoints);
        endpoints.filter(|endpoint| endpoint.network == network).map(|endpoint| endpoint.address).collect()
    }

    /// Returns the IPv6 addresses in use on a network.
    pub fn addresses6(&self, network: &str) -> BTreeSet<Ipv6Addr> {
        let endpoints = self.containers.values().flat_map(|attached| &attached.endpoints);
        endpoints
            .filter(|endpoint| endpoint.network == network)
            .filter_map(|endpoint| endpoint.address6)
            .collect()
    }

    /// Returns the names of containers on a network.
    pub fn users(&self, network: &str) -> Vec<&str> {
        let on = |attached: &&Attached| attached.endpoints.iter().any(|endpoint| endpoint.network == network);
        self.containers.values().filter(on).map(|attached| attached.name.as_str()).collect()
    }

    /// Drops containers whose holder is gone. Returns the scopes that lost one.
    pub fn prune(&mut self, lives: impl Fn(&ProcessIdentity) -> bool) -> BTreeSet<String> {
        let dead: Vec<_> = self.containers.iter().filter(|(_, attached)| !lives(&attached.holder)).collect();
        let dead: Vec<_> =
            dead.into_iter().map(|(id, attached)| (id.clone(), attached.scope.clone())).collect();
        for (id, _) in &dead {
            self.containers.remove(id);
        }
        dead.into_iter().map(|(_, scope)| scope).collect()
    }

    /// Returns what the packet filter must know.
    pub fn rules(&self, networks: &[NetworkRecord]) -> RuleSet {
        RuleSet {
            networks: networks.iter().map(NetworkRecord::rules).collect(),
            ports: self.containers.values().flat_map(|attached| attached.ports.iter().cloned()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attached(name: &str, pid: i32, network: &str, last: u8) -> Attached {
        Attached {
            name: name.to_owned(),
            scope: "shop".to_owned(),
            holder: ProcessIdentity { pid, start_time: 1, boot_id: "b".to_owned() },
            endpoints: vec![Endpoint {
                network: network.to_owned(),
                aliases: Vec::new(),
                address: Ipv4Addr::new(10, 0, 0, last),
                address6: None,
                link: format!("crv{last}"),
            }],
            links: Vec::new(),
            ports: Vec::new(),
            service: None,
            draining: false,
        }
    }

    #[test]
    fn the_dead_give_their_addresses_back() {
        let mut state = NetworkState::default();
        state.containers.insert(ContainerId::from_random([1; 32]), attached("a", 10, "n", 2));
        state.containers.insert(ContainerId::from_random([2; 32]), attached("b", 11, "n", 3));
        assert_eq!(state.addresses("n").len(), 2);
        assert_eq!(state.users("n"), ["a", "b"]);
        let scopes = state.prune(|holder| holder.pid == 11);
        assert_eq!(scopes.into_iter().collect::<Vec<_>>(), ["shop"]);
        assert_eq!(state.addresses("n"), BTreeSet::from([Ipv4Addr::new(10, 0, 0, 3)]));
        assert!(state.addresses("other").is_empty());
    }

    #[test]
    fn what_the_first_version_wrote_is_read() {
        let text = include_str!("../../../../tests/records/v1/network-state.json");
        let mut stored: serde_json::Value = serde_json::from_str(text).unwrap();
        let mut body = stored["body"].take();
        body["of-a-later-version"] = serde_json::Value::from(1);
        let state: NetworkState = serde_json::from_value(body).unwrap();
        assert_eq!((state.addresses("nn").len(), state.generation), (1, 1));
    }
}
