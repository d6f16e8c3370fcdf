//! Keepers: what the process of each scope serves follows from who is attached where.

mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use coracle_container::{ContainerId, ContainerSpec};
use coracle_network::NetworkRecord;
use coracle_network::dns;
use coracle_network::keeper::{Home, HomeError, KeeperState};
use coracle_network::ports::HostSockets;

use crate::containers::request::DEFAULT_NETWORK;
use crate::etc::HostResolver;
use crate::networks::Readiness;
use crate::{During, Engine, Failure, Result};

/// The keepers of an engine.
#[derive(Clone, Copy)]
pub struct Keepers<'a> {
    pub(crate) engine: &'a Engine,
}

impl Keepers<'_> {
    /// Makes the keeper of `scope` serve what is so now; it is started and ended as needed.
    pub fn refresh(&self, scope: &str) -> Result<()> {
        let home = self.home(scope);
        // Nothing to serve and nothing served: the usual case of `run` without ports.
        if !home.directory().exists() && self.wanted(scope)?.is_empty() {
            return Ok(());
        }
        let mut failure = None;
        let changed = home.change(
            || self.launch(scope),
            // Read under the keeper's lock, so that of two commands the later one's view stays.
            |state| match self.wanted(scope) {
                Ok(wanted) => *state = wanted,
                Err(error) => failure = Some(error),
            },
        );
        if let Some(failure) = failure {
            return Err(failure);
        }
        match changed {
            Ok(()) => Ok(()),
            Err(HomeError::Busy(failures)) => Err(Failure::findings(
                failures.iter().map(coracle_network::ports::BindError::diagnostic).collect(),
            )),
            Err(error) => Err(Failure::ours(format_args!("serving names and ports of {scope}"), &error)),
        }
    }

    /// Starts the keepers of `scopes` again that were killed. What prevents that is told by whoever needs them.
    pub(crate) fn revive<'s>(&self, scopes: impl IntoIterator<Item = &'s str>) {
        let mut scopes: Vec<&str> = scopes.into_iter().collect();
        scopes.sort_unstable();
        scopes.dedup();
        for scope in scopes.into_iter().filter(|scope| self.home(scope).is_deserted()) {
            let _ = self.refresh(scope);
        }
    }

    /// Returns whether there is anything to serve for `scope`.
    pub(crate) fn is_needed(&self, scope: &str) -> Result<bool> {
        self.wanted(scope).map(|wanted| !wanted.is_empty())
    }

    /// Is the keeper of `scope` until nothing is left to serve.
    pub fn serve(&self, scope: &str) -> Result<()> {
        let sockets = HostSockets::of(self.engine.layout.run());
        let (over, serving) = std::io::pipe().during("making a pipe")?;
        std::thread::scope(|threads| {
            let watcher = std::thread::Builder::new().name("watch".to_owned());
            // A keeper that cannot watch still serves.
            let _ = watcher.spawn_scoped(threads, || watch::watch(self.engine, scope, over));
            let served =
                coracle_network::keeper::run(self.home(scope).directory(), std::io::stdout(), sockets);
            drop(serving);
            served.during(format_args!("serving names and ports of {scope}"))
        })
    }

    fn home(&self, scope: &str) -> Home {
        Home::new(self.engine.layout.keeper(scope))
    }

    fn launch(&self, scope: &str) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command
            .arg("--data-root")
            .arg(absolute(self.engine.layout.data()))
            .arg("--run-root")
            .arg(absolute(self.engine.layout.run()))
            .args(["keeper", scope])
            .env_clear();
        coracle_fault::pass_on(&mut command);
        command
    }

    /// Makes the keepers of everything that a container has serve what is so now.
    pub fn refresh_for(&self, spec: &ContainerSpec) -> Result<()> {
        let mut outcome = Ok(());
        for scope in self.engine.networks().scopes_of(spec)? {
            outcome = outcome.and(self.refresh(&scope));
        }
        outcome
    }

    /// Returns what the keeper of `scope` should serve: names of the scope's networks, whoever is on them, and the ports
    /// of the scope's containers.
    fn wanted(&self, scope: &str) -> Result<KeeperState> {
        let attached = self.engine.networks().attached()?;
        let mut records: BTreeMap<&str, NetworkRecord> = BTreeMap::new();
        let mut ports = Vec::new();
        for (_, attached) in &attached {
            if attached.scope == scope {
                ports.extend(attached.ports.iter().cloned());
            }
            for endpoint in &attached.endpoints {
                // Docker: no names on the default bridge.
                if endpoint.network != DEFAULT_NETWORK && !records.contains_key(endpoint.network.as_str()) {
                    let record = self.engine.networks().record(&endpoint.network)?;
                    records.extend(record.map(|record| (endpoint.network.as_str(), record)));
                }
            }
        }
        // A service's name means something while it has a container.
        let attached_services: BTreeSet<String> =
            attached.iter().filter_map(|(_, attached)| attached.service.clone()).collect();
        let readiness: BTreeMap<&ContainerId, Readiness> = attached
            .iter()
            .map(|(id, attached)| (id, self.engine.networks().readiness(id, attached)))
            .collect();
        let is_own = |network: &str| records.get(network).is_some_and(|record| record.scope == scope);
        let mut zones: BTreeMap<&str, dns::Zone> = BTreeMap::new();
        for (_, attached) in &attached {
            // Who is on one of our networks asks us for names of the others too.
            if !attached.endpoints.iter().any(|endpoint| is_own(&endpoint.network)) {
                continue;
            }
            for record in
                attached.endpoints.iter().filter_map(|endpoint| records.get(endpoint.network.as_str()))
            {
                let zone = dns::Zone {
                    network: record.name.clone(),
                    gateway: record.gateway,
                    subnet: record.subnet,
                    subnet6: record.ipv6.map(|plan| plan.subnet),
                    internal: record.internal,
                    listens: record.scope == scope,
                    endpoints: Vec::new(),
                    services: services(record, &attached_services),
                };
                zones.entry(record.name.as_str()).or_insert(zone);
            }
        }
        for (id, attached) in &attached {
            for endpoint in &attached.endpoints {
                let Some(zone) = zones.get_mut(endpoint.network.as_str()) else { continue };
                let mut aliases = endpoint.aliases.clone();
                aliases.push(id.short().to_owned());
                zone.endpoints.push(dns::Endpoint {
                    container: id.to_string(),
                    name: attached.name.clone(),
                    aliases,
                    links: attached.links.clone(),
                    service: attached.service.clone(),
                    address: Some(endpoint.address),
                    address6: endpoint.address6,
                    ready: readiness.get(id) == Some(&Readiness::Ready),
                });
            }
        }
        let upstreams = HostResolver::read().own().servers;
        let nothing = zones.is_empty() && ports.is_empty();
        Ok(if nothing {
            KeeperState::default()
        } else {
            KeeperState { zones: zones.into_values().collect(), ports, upstreams }
        })
    }
}

/// Returns the services of a network that have a virtual address and a container.
fn services(record: &NetworkRecord, attached: &BTreeSet<String>) -> Vec<dns::Service> {
    let present = record.services.iter().filter(|(key, _)| attached.contains(*key));
    let service = |(key, address): (&String, &std::net::Ipv4Addr)| dns::Service {
        key: key.clone(),
        name: key.rsplit('/').next().unwrap_or(key).to_owned(),
        address: *address,
        address6: record.beside(*address),
    };
    present.map(service).collect()
}

/// Keepers leave their working directory: relative roots must not follow them.
fn absolute(path: &Path) -> std::path::PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
