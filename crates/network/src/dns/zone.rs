//! What names mean on one network.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::subnet::Subnet;
use crate::subnet6::Subnet6;

/// One network as its name server sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zone {
    /// The network's name, also a domain: `backend.stack_default` is `backend`.
    pub network: String,
    /// Where the name server listens.
    pub gateway: Ipv4Addr,
    /// The network's addresses; unknown ones are not asked upstream.
    pub subnet: Subnet,
    /// Its IPv6 addresses, if it has some.
    #[serde(default)]
    pub subnet6: Option<Subnet6>,
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
    /// Services that have a virtual address here.
    #[serde(default)]
    pub services: Vec<Service>,
}

/// A service with a virtual address, which is what its name means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// What its replicas are known by, see [`Endpoint::service`].
    pub key: String,
    /// Its name, compared without case.
    pub name: String,
    /// Its virtual address.
    pub address: Ipv4Addr,
    /// Its virtual IPv6 address, if the network has some.
    #[serde(default)]
    pub address6: Option<Ipv6Addr>,
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
    /// The service that it is a replica of: project and service, `shop/backend`.
    #[serde(default)]
    pub service: Option<String>,
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

    fn is_task_of(&self, name: &str) -> bool {
        let service = self.service.as_deref().and_then(|key| key.rsplit('/').next());
        service.is_some_and(|service| service.eq_ignore_ascii_case(name))
    }
}

impl Zone {
    /// Returns `name` (lower case, no final dot) without this network's domain, if it has it.
    fn within<'a>(&self, name: &'a str) -> Option<&'a str> {
        name.strip_suffix(&self.network.to_ascii_lowercase()).and_then(|head| head.strip_suffix('.'))
    }

    /// Returns the endpoints that `name` (lower case, no final dot) means here. `tasks.NAME` means a service's replicas.
    pub(super) fn called<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Endpoint> {
        let forms = [Some(name), self.within(name)];
        let task_of = |form: &'a str| form.strip_prefix("tasks.");
        self.endpoints.iter().filter(move |endpoint| {
            forms.into_iter().flatten().any(|form| {
                endpoint.is_called(form) || task_of(form).is_some_and(|service| endpoint.is_task_of(service))
            })
        })
    }

    /// Returns the services that `name` (lower case, no final dot) means here.
    pub(super) fn services_called<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Service> {
        let forms = [Some(name), self.within(name)];
        self.services.iter().filter(move |service| {
            forms.into_iter().flatten().any(|form| service.name.eq_ignore_ascii_case(form))
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
