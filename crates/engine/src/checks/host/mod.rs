//! Facts of the machine, for the rules that look at it. What cannot be learned is left unknown.

mod clock;
mod kernel;
mod listeners;

use std::collections::BTreeSet;
use std::path::Path;

use coracle_check::{Disk, HostFacts, Occupant, Route};
use coracle_composefile::{HostPorts, Project, Protocol};
use coracle_network::netlink;

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
    kernel::describe(&mut facts);
    let records = engine.and_then(|engine| engine.networks().list().ok());
    if let Ok(routes) = netlink::routes() {
        let route = |route: netlink::HostRoute| Route {
            address: route.subnet.network().into(),
            prefix: route.subnet.prefix(),
            network: records
                .iter()
                .flatten()
                .find(|record| record.bridge == route.link)
                .map(|record| record.name.clone()),
            device: route.link,
        };
        facts.routes = routes.into_iter().map(route).collect();
    }
    facts.networks = records.map(|records| records.into_iter().map(|record| record.name).collect());
    if let Some(engine) = engine {
        let volumes = engine.volumes().list().ok();
        facts.volumes = volumes.map(|volumes| volumes.into_iter().map(|record| record.name).collect());
        let containers = engine.containers().list().unwrap_or_default();
        facts.containers = containers
            .iter()
            .map(|view| Occupant {
                name: view.record.spec.name.clone(),
                project: view.project().map(str::to_owned),
                service: view.service().map(str::to_owned),
            })
            .collect();
    }
    if look == Look::Full {
        let state = engine.and_then(|engine| engine.networks().read_state().ok()).unwrap_or_default();
        facts.listeners = listeners::list(&wanted_ports(project), &state);
    }
    facts.clock_skew = clock.and_then(clock::Asked::answer);
    Some(facts)
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

fn disk(path: &Path) -> Option<Disk> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some(Disk {
        path: path.to_owned(),
        total: stat.f_blocks.saturating_mul(stat.f_frsize),
        available: stat.f_bavail.saturating_mul(stat.f_frsize),
        // btrfs and others make inodes as they are wanted and say 0.
        inodes_available: (stat.f_files > 0).then_some(stat.f_favail),
    })
}
