//! Networks: their records, and which containers are attached.

mod attach;
mod services;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use coracle_container::{ContainerId, ContainerSpec};
use coracle_fault::Point;
use coracle_network::netlink::{self, Bridge, HostFacts};
use coracle_network::{
    AddressPool, Ipv6Plan, Lock, NetworkOptions, NetworkRecord, Subnet, Subnet6, ipam, names, nftables,
};
use coracle_report::{Diagnostic, Event};
use coracle_store::records;
use serde_json::{Value, json};

pub use attach::Attachments;
pub use services::Readiness;
pub use state::{Attached, Endpoint, NetworkState};

use crate::containers::request::{DEFAULT_NETWORK, STANDALONE};
use crate::failure::pass;
use crate::{During, Engine, Failure, Result};
use crate::{process, stored};

/// What a new network should be.
#[derive(Clone, Debug, Default)]
pub struct NetworkRequest {
    /// Its name.
    pub name: String,
    /// Its addresses, `a.b.c.d/n`; `None` picks some that are free.
    pub subnet: Option<String>,
    /// The bridge's address; `None` means the subnet's first.
    pub gateway: Option<Ipv4Addr>,
    /// The part of its addresses that containers get unless they ask, `a.b.c.d/n`; `None` is all.
    pub range: Option<String>,
    /// Addresses that no container gets unless it asks, by what they are for.
    pub reserved: BTreeMap<String, Ipv4Addr>,
    /// Its IPv6 addresses; `None` is none.
    pub ipv6: Option<Ipv6Request>,
    /// Whether it reaches nothing outside.
    pub internal: bool,
    /// Options of the driver, under Docker's names.
    pub driver_options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// Which IPv6 addresses a new network should have.
#[derive(Clone, Debug, Default)]
pub struct Ipv6Request {
    /// Where they come from, `a:b::/n`; `None` makes a local subnet.
    pub subnet: Option<String>,
    /// The bridge's address; `None` means the subnet's first.
    pub gateway: Option<Ipv6Addr>,
}

/// The networks of an engine.
#[derive(Clone, Copy)]
pub struct Networks<'a> {
    pub(crate) engine: &'a Engine,
}

impl Networks<'_> {
    /// Makes a network that belongs to no project.
    pub fn create(&self, request: NetworkRequest) -> Result<NetworkRecord> {
        self.create_in(request, STANDALONE)
    }

    /// Makes a network served by the keeper of `scope`.
    pub fn create_in(&self, request: NetworkRequest, scope: &str) -> Result<NetworkRecord> {
        let name = &request.name;
        if [DEFAULT_NETWORK, "host", "none", "default"].contains(&name.as_str()) {
            return Err(Failure::user(Diagnostic::error(
                "network-name",
                format!("network name `{name}` is reserved"),
            )));
        }
        if !is_name(name) {
            let message = format!("`{name}` is no network name; use letters, digits, `_`, `.` and `-`");
            return Err(Failure::user(Diagnostic::error("network-name", message)));
        }
        let _lock = self.lock()?;
        if self.record(name)?.is_some() {
            let message = format!("network `{name}` exists already");
            return Err(Failure::user(Diagnostic::error("network-exists", message)));
        }
        let record = self.plan(request, scope)?;
        self.write(&record)?;
        pass(Point::NetworkRecorded)?;
        self.raise(&record)?;
        pass(Point::NetworkRaised)?;
        self.engine.events().named("network", "create", &record.name, &[("type", "bridge".to_owned())]);
        Ok(record)
    }

    /// Decides a new network's addresses. The caller holds the lock.
    fn plan(&self, request: NetworkRequest, scope: &str) -> Result<NetworkRecord> {
        let user =
            |error: ipam::IpamError| Failure::user(Diagnostic::error("network-addresses", error.to_string()));
        let mut taken = host_facts()?.taken;
        taken.extend(self.list()?.into_iter().map(|record| record.subnet));
        let subnet = match &request.subnet {
            None => ipam::choose_subnet(&address_pools()?, &taken).map_err(user)?,
            Some(text) => {
                let subnet: Subnet =
                    text.parse().map_err(|error: coracle_network::subnet::SubnetError| {
                        Failure::user(Diagnostic::error("network-addresses", error.to_string()))
                    })?;
                ipam::check_subnet(subnet, &taken).map_err(user)?;
                subnet
            }
        };
        let gateway = request.gateway.unwrap_or_else(|| subnet.default_gateway());
        ipam::check_gateway(gateway, subnet).map_err(user)?;
        let range = match &request.range {
            None => None,
            Some(text) => {
                let range: Subnet = text.parse().map_err(|error: coracle_network::subnet::SubnetError| {
                    Failure::user(Diagnostic::error("network-addresses", error.to_string()))
                })?;
                ipam::check_range(range, subnet).map_err(user)?;
                Some(range)
            }
        };
        let (options, ignored) = NetworkOptions::read(&request.driver_options)
            .map_err(|error| Failure::user(Diagnostic::error("network-option", error.to_string())))?;
        for name in ignored {
            let message = format!("network `{}`: driver option `{name}` has no effect", request.name);
            self.engine.reporter.event(Event::Notice(Diagnostic::warning("not-honoured", message)));
        }
        let id = process::random_hex().during("drawing a network's id")?;
        let ipv6 = self.plan_ipv6(request.ipv6.as_ref(), &id)?;
        let bridge = match &options.bridge {
            _ if request.name == DEFAULT_NETWORK => names::DEFAULT_BRIDGE.to_owned(),
            None => names::bridge(&id),
            Some(bridge) => {
                // Removing the network takes its bridge away: one that is somebody's must not be ours.
                let ours = self.list()?.iter().any(|record| record.bridge == *bridge);
                if ours || std::path::Path::new("/sys/class/net").join(bridge).exists() {
                    let message = format!("a link called `{bridge}` exists already");
                    return Err(Failure::user(
                        Diagnostic::error("network-bridge", message).with_hint("choose another name"),
                    ));
                }
                bridge.clone()
            }
        };
        Ok(NetworkRecord {
            version: NetworkRecord::VERSION,
            id,
            name: request.name,
            subnet,
            gateway,
            bridge,
            internal: request.internal,
            ipv6,
            range,
            reserved: request.reserved,
            options,
            driver_options: request.driver_options,
            labels: request.labels,
            created: jiff::Timestamp::now().to_string(),
            services: BTreeMap::new(),
            scope: scope.to_owned(),
        })
    }

    /// Decides a new network's IPv6 addresses.
    fn plan_ipv6(&self, request: Option<&Ipv6Request>, id: &str) -> Result<Option<Ipv6Plan>> {
        let Some(request) = request else { return Ok(None) };
        let user = |message: String| Failure::user(Diagnostic::error("network-addresses", message));
        if !std::path::Path::new("/proc/net/if_inet6").exists() {
            return Err(user("this kernel has no IPv6".to_owned()));
        }
        let subnet: Subnet6 = match &request.subnet {
            Some(text) => text
                .parse()
                .map_err(|error: coracle_network::subnet6::Subnet6Error| user(error.to_string()))?,
            // The id is random; as many of its digits as RFC 4193 wants random bits.
            None => Subnet6::local(std::array::from_fn(|place| {
                u8::from_str_radix(&id[2 * place..2 * place + 2], 16).unwrap_or(0)
            })),
        };
        for other in self.list()? {
            if let Some(plan) = other.ipv6.filter(|plan| plan.subnet.overlaps(subnet)) {
                let message = format!("subnet {subnet} overlaps {} of network `{}`", plan.subnet, other.name);
                return Err(user(message));
            }
        }
        let gateway = request.gateway.unwrap_or_else(|| subnet.default_gateway());
        subnet.check(gateway).map_err(|error| user(error.to_string()))?;
        Ok(Some(Ipv6Plan { subnet, gateway }))
    }

    /// Returns the default bridge network, which is made on first use.
    pub fn default_network(&self) -> Result<NetworkRecord> {
        if let Some(record) = self.record(DEFAULT_NETWORK)? {
            return Ok(record);
        }
        let _lock = self.lock()?;
        if let Some(record) = self.record(DEFAULT_NETWORK)? {
            return Ok(record);
        }
        let request = NetworkRequest { name: DEFAULT_NETWORK.to_owned(), ..NetworkRequest::default() };
        let record = self.plan(request, STANDALONE)?;
        self.write(&record)?;
        Ok(record)
    }

    /// Returns all networks by name.
    pub fn list(&self) -> Result<Vec<NetworkRecord>> {
        let mut found = Vec::new();
        for path in records::list(&self.engine.layout.networks()).during("listing networks")? {
            match stored::read::<NetworkRecord>(&path).during("reading a network's record") {
                Ok(record) => found.extend(record),
                Err(failure) => self.engine.tell_damage(&failure),
            }
        }
        found.sort_by(|a: &NetworkRecord, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Returns a network by name or the beginning of its id.
    pub fn find(&self, name: &str) -> Result<NetworkRecord> {
        if name == DEFAULT_NETWORK {
            return self.default_network();
        }
        if is_name(name)
            && let Some(record) = self.record(name)?
        {
            return Ok(record);
        }
        let all = self.list()?;
        let matching: Vec<_> =
            all.iter().filter(|record| name.len() >= 4 && record.id.starts_with(name)).collect();
        if let [record] = matching.as_slice() {
            return Ok((*record).clone());
        }
        let diagnostic = Diagnostic::error("no-such-network", format!("no such network: {name}"));
        let names = all.iter().map(|record| record.name.as_str());
        Err(Failure::user(match crate::near::nearest(name, names) {
            Some(near) => diagnostic.with_hint(format!("did you mean `{near}`?")),
            None => diagnostic.with_hint(format!("make it: coracle network create {name}")),
        }))
    }

    /// Removes a network that no container is attached to.
    pub fn remove(&self, name: &str) -> Result<()> {
        let record = self.find(name)?;
        let lock = self.lock()?;
        let (state, _) = self.live_state()?;
        let users = state.users(&record.name);
        if !users.is_empty() {
            let message = format!("network `{}` is in use by {}", record.name, users.join(", "));
            return Err(Failure::user(
                Diagnostic::error("network-in-use", message)
                    .with_hint(format!("coracle rm -f {}", users.join(" "))),
            ));
        }
        // The record goes last: killed before, the network is still there to be removed, or makes its bridge again.
        let mut others = self.list()?;
        others.retain(|other| other.id != record.id);
        nftables::apply(&state.rules(&others), &lock).during("taking a network's rules away")?;
        pass(Point::NetworkUnfiltered)?;
        netlink::delete_link(&record.bridge).during("taking a network's bridge away")?;
        pass(Point::NetworkUnlinked)?;
        records::remove(&self.engine.layout.network_record(&record.name))
            .during("removing a network's record")?;
        self.engine.events().named("network", "destroy", &record.name, &[("type", "bridge".to_owned())]);
        Ok(())
    }

    /// Returns everything known about a network, in the shape of Docker's `network inspect`.
    pub fn inspect(&self, name: &str) -> Result<Value> {
        let record = self.find(name)?;
        let state = self.read_state()?;
        let mut containers = serde_json::Map::new();
        for (id, attached) in &state.containers {
            for endpoint in attached.endpoints.iter().filter(|endpoint| endpoint.network == record.name) {
                let address = format!("{}/{}", endpoint.address, record.subnet.prefix());
                let address6 =
                    endpoint.address6.zip(record.ipv6).map_or_else(String::new, |(address, plan)| {
                        format!("{address}/{}", plan.subnet.prefix())
                    });
                containers.insert(
                    id.to_string(),
                    json!({"Name": attached.name, "IPv4Address": address, "IPv6Address": address6}),
                );
            }
        }
        let mut options = json!(record.driver_options);
        options["com.docker.network.bridge.name"] = json!(record.bridge);
        let mut pool = json!({"Subnet": record.subnet.to_string(), "Gateway": record.gateway});
        if let Some(range) = record.range {
            pool["IPRange"] = json!(range.to_string());
        }
        if !record.reserved.is_empty() {
            pool["AuxiliaryAddresses"] = json!(record.reserved);
        }
        let mut pools = vec![pool];
        pools.extend(
            record.ipv6.map(|plan| json!({"Subnet": plan.subnet.to_string(), "Gateway": plan.gateway})),
        );
        Ok(json!({
            "Name": record.name, "Id": record.id, "Created": record.created, "Scope": "local", "Driver": "bridge",
            "EnableIPv6": record.ipv6.is_some(), "Internal": record.internal, "Attachable": false, "Ingress": false,
            "IPAM": {"Driver": "default", "Config": pools},
            "Containers": containers, "Options": options,
            "Labels": record.labels,
        }))
    }

    /// Returns the network called `name`, if there is one.
    pub fn record(&self, name: &str) -> Result<Option<NetworkRecord>> {
        stored::read(&self.engine.layout.network_record(name))
            .during(format_args!("reading the record of network {name}"))
    }

    /// Returns who is attached where, the dead included.
    pub fn read_state(&self) -> Result<NetworkState> {
        let state =
            stored::read(&self.engine.layout.network_state()).during("reading the state of the networks")?;
        Ok(state.unwrap_or_default())
    }

    fn live_state(&self) -> Result<(NetworkState, BTreeSet<String>)> {
        let mut state = self.read_state()?;
        let scopes = state.prune(process::lives);
        Ok((state, scopes))
    }

    /// Forgets the dead, and writes the rules of the packet filter as they are to be.
    pub(crate) fn refresh(&self) -> Result<()> {
        let lock = self.lock()?;
        let (state, pruned) = self.live_state()?;
        if !pruned.is_empty() {
            self.write_state(&state)?;
        }
        nftables::apply(&state.rules(&self.list()?), &lock)
            .map(drop)
            .during("applying the packet filter's rules")
    }

    fn write_state(&self, state: &NetworkState) -> Result<()> {
        stored::write_fast(&self.engine.layout.network_state(), state)
            .during("writing the state of the networks")
    }

    fn write(&self, record: &NetworkRecord) -> Result<()> {
        stored::write(&self.engine.layout.network_record(&record.name), record)
            .during(format_args!("writing the record of network {}", record.name))
    }

    /// Makes the bridge exist.
    fn raise(&self, record: &NetworkRecord) -> Result<()> {
        let bridge = Bridge {
            name: record.bridge.clone(),
            gateway: record.gateway,
            subnet: record.subnet,
            ipv6: record.ipv6.map(|plan| (plan.gateway, plan.subnet.prefix())),
            mtu: match record.options.mtu {
                Some(mtu) => mtu,
                None => host_facts()?.mtu,
            },
        };
        netlink::ensure_bridge(&bridge).during(format_args!("making the bridge of network {}", record.name))
    }

    /// Takes the lock of all network changes of the host.
    fn lock(&self) -> Result<Lock> {
        let path = self.engine.layout.network_lock();
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).during("making the networks' run directory")?;
        }
        Lock::acquire(&path).during("locking the networks")
    }

    /// Makes the packet filter be as it should be on the host as it is now.
    pub(crate) fn reapply(&self) -> Result<()> {
        let lock = self.lock()?;
        let (state, _) = self.live_state()?;
        nftables::apply(&state.rules(&self.list()?), &lock)
            .during("applying the packet filter's rules")
            .map(drop)
    }

    /// Returns all containers that are attached, for keepers.
    pub(crate) fn attached(&self) -> Result<Vec<(ContainerId, Attached)>> {
        let (state, _) = self.live_state()?;
        Ok(state.containers.into_iter().collect())
    }

    /// Returns the scopes whose keepers serve something of a container: its own, which holds its ports, those of its
    /// networks, and those of networks that share a container with one of them, whose name servers answer for both.
    pub(crate) fn scopes_of(&self, spec: &ContainerSpec) -> Result<BTreeSet<String>> {
        let mut names: BTreeSet<&str> =
            spec.networks.iter().map(|attachment| attachment.network.as_str()).collect();
        let attached = self.attached()?;
        let own = names.clone();
        for (_, other) in &attached {
            if other.endpoints.iter().any(|endpoint| own.contains(endpoint.network.as_str())) {
                names.extend(other.endpoints.iter().map(|endpoint| endpoint.network.as_str()));
            }
        }
        let mut scopes = BTreeSet::from([spec.scope.clone()]);
        for name in names.into_iter().filter(|name| *name != DEFAULT_NETWORK) {
            scopes.extend(self.record(name)?.map(|record| record.scope));
        }
        Ok(scopes)
    }
}

/// Where an administrator chooses the addresses of new networks, in the form of Docker's file of that name.
const CONFIGURATION: &str = "/etc/coracle/daemon.json";

/// Returns the address pools that the administrator chose; none means ours.
fn address_pools() -> Result<Vec<AddressPool>> {
    let text = match std::fs::read_to_string(CONFIGURATION) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Failure::ours(format_args!("reading {CONFIGURATION}"), &error)),
    };
    AddressPool::read(&text).map_err(|error| {
        let diagnostic = Diagnostic::error("bad-configuration", format!("{CONFIGURATION}: {error}"));
        Failure::user(
            diagnostic.with_hint(r#"{"default-address-pools": [{"base": "10.99.0.0/16", "size": 24}]}"#),
        )
    })
}

fn host_facts() -> Result<HostFacts> {
    netlink::host_facts().during("reading the host's addresses")
}

/// Returns whether `text` may name a network; it becomes a file's name.
fn is_name(text: &str) -> bool {
    let mut characters = text.chars();
    characters.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && text.len() <= 200
        && characters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}
