//! What names mean on one network.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::subnet::Subnet;

/// One network as its name server sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zone {
    /// The network's name, also a domain: `backend.stack_default` is `backend`.
    pub network: String,
    /// Where the name server listens.
    pub gateway: Ipv4Addr,
    /// The network's addresses; unknown ones are not asked upstream.
    pub subnet: Subnet,
    /// Whether names that are not ours stay unanswered, because the network reaches nothing outside.
    #[serde(default)]
    pub internal: bool,
    /// Whether the name server listens at this network's gateway; else another does, and its names are only answered to
    /// containers that are on both networks.
    #[serde(default = "listens")]
    pub listens: bool,
    /// The network's containers.
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
}

fn listens() -> bool {
    true
}

/// One container on one network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The container's id; ties its endpoints on several networks together.
    pub container: String,
    /// The container's name.
    pub name: String,
    /// Its service's name, aliases and short id; compared without case.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Names that it alone knows others by: name, then the other container's name.
    #[serde(default)]
    pub links: Vec<(String, String)>,
    /// Its address; none while it does not run: then its names are known, but mean nothing.
    pub address: Option<Ipv4Addr>,
    /// Its IPv6 address, if it has one.
    #[serde(default)]
    pub address6: Option<Ipv6Addr>,
    /// Whether it should get traffic: running, and healthy if it can say so. Where a name has ready endpoints only
    /// those are answered, else all that run.
    pub ready: bool,
}

impl Endpoint {
    fn is_called(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
            || self.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(name))
    }
}

impl Zone {
    /// Returns the endpoints that `name` (lower case, no final dot) means here.
    pub(super) fn called<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Endpoint> {
        let within =
            name.strip_suffix(&self.network.to_ascii_lowercase()).and_then(|head| head.strip_suffix('.'));
        self.endpoints.iter().filter(move |endpoint| {
            endpoint.is_called(name) || within.is_some_and(|head| endpoint.is_called(head))
        })
    }
}

/// Returns the links of the client that asks `gateway` from the address `client`.
pub fn links(zones: &[Zone], gateway: Ipv4Addr, client: Option<Ipv4Addr>) -> &[(String, String)] {
    let asked = zones.iter().filter(|zone| zone.gateway == gateway).flat_map(|zone| &zone.endpoints);
    let own = asked.filter(|endpoint| endpoint.address.is_some() && endpoint.address == client);
    own.map(|endpoint| endpoint.links.as_slice()).next().unwrap_or_default()
}

/// Returns the zones that a client sees which asks `gateway` from the address `client`: the network of the gateway, and
/// the others that the client's container is on.
pub fn visible(zones: &[Zone], gateway: Ipv4Addr, client: Option<Ipv4Addr>) -> Vec<&Zone> {
    let asked = |zone: &&Zone| zone.gateway == gateway;
    let container = zones.iter().filter(asked).flat_map(|zone| &zone.endpoints).find_map(|endpoint| {
        (endpoint.address.is_some() && endpoint.address == client).then_some(&endpoint.container)
    });
    let shared = |zone: &&Zone| {
        container.is_some_and(|id| zone.endpoints.iter().any(|e| e.address.is_some() && &e.container == id))
    };
    zones.iter().filter(|zone| asked(zone) || shared(zone)).collect()
}
