//! Virtual addresses of services: which a network gives out, and which replicas receive new connections.
//!
//! Addresses are recorded with the network. Where each leads follows from who is attached and how each container is, as
//! its shim records it; [`Networks::settle`] makes every container's own packet filter agree. It is called by
//! whoever changes something (a start, a stop) and by keepers, which watch for what shims do by themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;

use coracle_container::{ContainerId, ContainerSpec, ContainerState, HealthStatus};
use coracle_network::nftables::{self, Client};
use coracle_network::{Lock, NetworkRecord, ServiceAddress, ipam};
use serde::{Deserialize, Serialize};

use super::{Attached, NetworkState, Networks};
use crate::containers::request::{DEFAULT_NETWORK, STANDALONE};
use crate::containers::{LABEL_PROJECT, LABEL_SERVICE};
use crate::{During, Result, process};

/// Label of what a one-time `run` of a service made.
const LABEL_ONE_OFF: &str = "com.docker.compose.oneoff";

/// How ready a container is for connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Readiness {
    /// It does not run, or is about to stop.
    Absent,
    /// It runs, but is not healthy (yet), or is frozen.
    Running,
    /// It runs, and is healthy if it can say so.
    Ready,
}

/// Returns which service of which project a container is a replica of.
pub(super) fn service_of(spec: &ContainerSpec) -> Option<String> {
    let label = |name: &str| spec.labels.get(name).map(String::as_str);
    let one_off = label(LABEL_ONE_OFF).is_some_and(|text| text.eq_ignore_ascii_case("true"));
    let (project, service) = (label(LABEL_PROJECT)?, label(LABEL_SERVICE)?);
    (!one_off && spec.scope != STANDALONE && !service.contains('/')).then(|| format!("{project}/{service}"))
}

impl Networks<'_> {
    /// Makes the networks of a container have an address for its service, and none that the container has itself. The
    /// caller holds the lock and has given the container its addresses. Returns the networks as they are then.
    pub(super) fn address_service(
        &self,
        spec: &ContainerSpec,
        state: &NetworkState,
        endpoints: &[super::Endpoint],
        networks: &[NetworkRecord],
    ) -> Result<Vec<NetworkRecord>> {
        let service = service_of(spec);
        let mut addressed = Vec::new();
        for ((network, endpoint), wanted) in networks.iter().zip(endpoints).zip(&spec.networks) {
            // As it is under the lock: another container's service may have got an address since.
            let mut record = self.record(&network.name)?.unwrap_or_else(|| network.clone());
            let before = record.services.clone();
            // An address that a user chose goes to who asks for it; the service gets another.
            record.services.retain(|_, address| {
                *address != endpoint.address
                    && record.ipv6.is_none_or(|plan| {
                        Some(plan.subnet.beside(*address, record.subnet)) != endpoint.address6
                    })
            });
            let lost = before.keys().filter(|key| !record.services.contains_key(*key));
            let own = service.as_ref().filter(|_| !wanted.round_robin && record.name != DEFAULT_NETWORK);
            let missing: Vec<String> = lost.chain(own).cloned().collect();
            for key in missing {
                if record.services.contains_key(&key) {
                    continue;
                }
                let mut taken = state.addresses(&record.name);
                taken.insert(endpoint.address);
                taken.extend(record.services.values());
                taken.extend(record.reserved.values());
                let within = record.range.unwrap_or(record.subnet);
                let chosen = ipam::choose_service_address(within, record.subnet, record.gateway, &taken);
                record.services.extend(chosen.map(|address| (key, address)));
            }
            if record.services != before {
                self.write(&record)?;
            }
            addressed.push(record);
        }
        Ok(addressed)
    }

    /// Makes every container's packet filter lead services' addresses to the replicas that are ready now.
    pub(crate) fn settle(&self) -> Result<()> {
        let lock = self.lock()?;
        let (state, _) = self.live_state()?;
        self.settle_under(&state, &lock, None)
    }

    /// Takes a container out of the sets of its services, before it is stopped: new connections go elsewhere, what was
    /// begun goes on. Returns whether another replica is ready in its place.
    pub(crate) fn drain(&self, id: &ContainerId) -> Result<bool> {
        let lock = self.lock()?;
        let (mut state, _) = self.live_state()?;
        let Some(attached) = state.containers.get_mut(id) else { return Ok(false) };
        let Some(service) = attached.service.clone() else { return Ok(false) };
        attached.draining = true;
        self.write_state(&state)?;
        self.settle_under(&state, &lock, None)?;
        let others = state.containers.iter().filter(|(_, other)| other.service.as_ref() == Some(&service));
        Ok(others
            .into_iter()
            .any(|(other, attached)| other != id && self.readiness(other, attached) == Readiness::Ready))
    }

    /// As [`Self::settle`], under the lock. A failure is told for `newcomer` alone: another container may end meanwhile.
    pub(super) fn settle_under(
        &self,
        state: &NetworkState,
        lock: &Lock,
        newcomer: Option<&ContainerId>,
    ) -> Result<()> {
        let mut sets: BTreeMap<&str, Vec<ServiceAddress>> = BTreeMap::new();
        let names: BTreeSet<&str> = state
            .containers
            .values()
            .flat_map(|attached| &attached.endpoints)
            .map(|endpoint| endpoint.network.as_str())
            .filter(|name| *name != DEFAULT_NETWORK)
            .collect();
        for name in names {
            let Some(record) = self.record(name)? else { continue };
            sets.insert(name, self.service_addresses(&record, state));
        }
        let (mut ids, mut clients) = (Vec::new(), Vec::new());
        for (number, (id, attached)) in state.containers.iter().enumerate() {
            let mut seen =
                attached.endpoints.iter().filter_map(|endpoint| sets.get(endpoint.network.as_str()));
            if !attached.endpoints.iter().any(|endpoint| sets.contains_key(endpoint.network.as_str())) {
                continue;
            }
            let Some(namespace) = namespace(attached) else { continue };
            let services: Vec<ServiceAddress> = seen.by_ref().flatten().cloned().collect();
            ids.push(id);
            clients.push(Client { namespace, services, first: number });
        }
        let outcomes = nftables::apply_clients(&clients, lock);
        for (id, outcome) in ids.into_iter().zip(outcomes) {
            if Some(id) == newcomer {
                outcome.during("leading the addresses of services to their replicas")?;
            }
        }
        Ok(())
    }

    /// Returns the services of a network and where each leads: to replicas that are ready, or else to all that run.
    fn service_addresses(&self, record: &NetworkRecord, state: &NetworkState) -> Vec<ServiceAddress> {
        let replicas = |key: &String| {
            let mut replicas = Vec::new();
            for (id, attached) in
                state.containers.iter().filter(|(_, other)| other.service.as_ref() == Some(key))
            {
                let readiness = self.readiness(id, attached);
                let endpoints = attached.endpoints.iter().filter(|endpoint| endpoint.network == record.name);
                replicas.extend(endpoints.map(|endpoint| (readiness, endpoint.address, endpoint.address6)));
            }
            replicas
        };
        let service = |(key, address): (&String, &Ipv4Addr)| {
            let replicas = replicas(key);
            let best = replicas.iter().map(|(readiness, ..)| *readiness).max().unwrap_or(Readiness::Absent);
            let chosen = replicas
                .into_iter()
                .filter(|(readiness, ..)| *readiness == best && best != Readiness::Absent);
            ServiceAddress {
                address: *address,
                address6: record.beside(*address),
                endpoints: chosen.map(|(_, address, address6)| (address, address6)).collect(),
            }
        };
        record.services.iter().map(service).collect()
    }

    /// Returns how ready a container is, by what its shim has recorded.
    pub(crate) fn readiness(&self, id: &ContainerId, attached: &Attached) -> Readiness {
        if attached.draining {
            return Readiness::Absent;
        }
        // Read as it lies there: this must neither wait for a shim nor clean up after one.
        let path = self.engine.layout.container_state(id.as_str());
        let state = std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        match state {
            Some(ContainerState::Running { health, .. }) => match health.map(|health| health.status) {
                None | Some(HealthStatus::Healthy) => Readiness::Ready,
                Some(HealthStatus::Starting | HealthStatus::Unhealthy) => Readiness::Running,
            },
            Some(ContainerState::Paused { .. }) => Readiness::Running,
            Some(
                ContainerState::Created | ContainerState::Restarting { .. } | ContainerState::Exited { .. },
            )
            | None => Readiness::Absent,
        }
    }
}

/// Opens a container's network namespace; `None` when its shim is gone.
fn namespace(attached: &Attached) -> Option<OwnedFd> {
    let file = File::open(format!("/proc/{}/ns/net", attached.holder.pid)).ok()?;
    // Asked afterwards: the number may have come to belong to another process before.
    process::lives(&attached.holder).then(|| file.into())
}
