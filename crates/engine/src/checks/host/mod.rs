//! Facts of the machine, for the rules that look at it. What cannot be learned is left unknown.

mod clock;
mod kernel;
mod listeners;

use std::collections::BTreeSet;
use std::path::Path;

use coracle_check::{Disk, HostFacts, Occupant, Route};
use coracle_composefile::{HostPorts, Project, Protocol};
use coracle_network::{NetworkRecord, netlink};

use crate::Engine;

/// How closely the machine is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Look {
    /// Not at all.
    #[default]
    Away,
    /// What is known at once; neither who listens on ports nor what time others have.
    Quick,
    /// Closely.
    Full,
}

pub(crate) use clock::Asked as AskedClock;

/// Asks the usual registry what time it is.
pub(crate) fn ask_clock() -> Option<AskedClock> {
    clock::ask_registry("registry-1.docker.io")
}

/// Returns what the kernel says of itself.
pub(crate) fn kernel_facts() -> HostFacts {
    let mut facts = HostFacts::default();
    kernel::describe(&mut facts, true);
    facts
}

/// The most ports of one published range that are looked at.
const RANGE: u16 = 256;

/// Gathers what can be known of the machine that `project` is to run on.
pub(super) fn gather(engine: Option<&Engine>, project: &Project, look: Look) -> Option<HostFacts> {
    if look == Look::Away {
        return None;
    }
    let mut facts = HostFacts::default();
    // The answer comes while the rest is looked at.
    let clock = (look == Look::Full).then(|| clock::ask(project)).flatten();
    facts.disks = disks(engine, project);
    kernel::describe(&mut facts, look == Look::Full);
    let uses = Uses::of(project);
    let records = if uses.networks { engine.and_then(|engine| engine.networks().list().ok()) } else { None };
    if uses.addresses {
        facts.routes = routes(records.as_deref().unwrap_or_default());
    }
    facts.networks = records.map(|records| records.into_iter().map(|record| record.name).collect());
    if let Some(engine) = engine {
        let volumes = if uses.volumes { engine.volumes().list().ok() } else { None };
        facts.volumes = volumes.map(|volumes| volumes.into_iter().map(|record| record.name).collect());
        let containers = if uses.names { engine.containers().list().ok() } else { None };
        let occupants = containers.iter().flatten().map(|view| Occupant {
            name: view.record.spec.name.clone(),
            project: view.project().map(str::to_owned),
            service: view.service().map(str::to_owned),
        });
        facts.containers = occupants.collect();
    }
    if look == Look::Full {
        let state = engine.and_then(|engine| engine.networks().read_state().ok()).unwrap_or_default();
        facts.listeners = listeners::list(&wanted_ports(project), &state);
    }
    facts.clock_skew = clock.and_then(clock::Asked::answer);
    Some(facts)
}

/// What of the machine's a project leans on; the rest need not be looked at.
struct Uses {
    networks: bool,
    addresses: bool,
    volumes: bool,
    names: bool,
}

impl Uses {
    fn of(project: &Project) -> Self {
        let addresses = project.networks.values().any(|network| network.subnet.is_some());
        Self {
            networks: addresses || project.networks.values().any(|network| network.external),
            addresses,
            volumes: project.volumes.values().any(|volume| volume.external),
            names: project.services.values().any(|service| service.container_name.is_some()),
        }
    }
}

/// Returns the machine's routes, those of our own networks with their names.
fn routes(records: &[NetworkRecord]) -> Vec<Route> {
    let route = |route: netlink::HostRoute| Route {
        address: route.subnet.network().into(),
        prefix: route.subnet.prefix(),
        network: records.iter().find(|record| record.bridge == route.link).map(|record| record.name.clone()),
        device: route.link,
    };
    netlink::routes().map(|routes| routes.into_iter().map(route).collect()).unwrap_or_default()
}

/// Returns the host's ports that the project publishes.
fn wanted_ports(project: &Project) -> BTreeSet<(u16, Protocol)> {
    let mut wanted = BTreeSet::new();
    for port in project.services.values().flat_map(|service| &service.ports) {
        match port.published {
            HostPorts::Any => {}
            HostPorts::One(number) => {
                wanted.insert((number, port.protocol));
            }
            HostPorts::Range(first, last) => {
                let last = last.min(first.saturating_add(RANGE));
                wanted.extend((first..=last).map(|number| (number, port.protocol)));
            }
        }
    }
    wanted
}

/// Looks at the file systems of the data root and of the project.
fn disks(engine: Option<&Engine>, project: &Project) -> Vec<Disk> {
    let data = engine.map(|engine| engine.layout.data().to_owned());
    let mut devices = BTreeSet::new();
    let mut disks = Vec::new();
    for path in data.into_iter().chain([project.directory.clone()]) {
        let Ok(stat) = rustix::fs::stat(&path) else { continue };
        if devices.insert(stat.st_dev) {
            disks.extend(disk(&path));
        }
    }
    disks
}

/// Returns how full the file system of `path` is.
pub(crate) fn disk(path: &Path) -> Option<Disk> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some(Disk {
        path: path.to_owned(),
        total: stat.f_blocks.saturating_mul(stat.f_frsize),
        available: stat.f_bavail.saturating_mul(stat.f_frsize),
        // btrfs and others make inodes as they are wanted and say 0.
        inodes_available: (stat.f_files > 0).then_some(stat.f_favail),
    })
}
