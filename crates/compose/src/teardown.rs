//! Plans that end things: `down`, `stop`, `restart`. They need only what is observed, no files.

use std::collections::{BTreeMap, BTreeSet};

use crate::choices::Orphans;
use crate::labels;
use crate::observed::{ObservedContainer, ObservedDependency, ObservedState};
use crate::plan::{After, Cause, Operation, Plan, StepId, after};

/// What happens to a project's volumes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Volumes {
    /// They stay, with their data.
    #[default]
    Kept,
    /// They are removed.
    Removed,
}

/// What a user may say about a `down`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DownOptions {
    /// Whether volumes go too.
    pub volumes: Volumes,
    /// What happens to containers of services that `known_services` does not name.
    pub orphans: Orphans,
    /// Only containers of these services, and what nothing else uses then; none means the whole project.
    pub services: Vec<String>,
    /// Names of images that go too.
    pub images: Vec<String>,
    /// Services that the project's files name; `None` when there are no files: then nothing is an orphan.
    pub known_services: Option<BTreeSet<String>>,
}

/// Plans the removal of all that `project` has. Dependents are stopped before what they depend on.
pub fn down(project: &str, observed: &ObservedState, options: &DownOptions) -> Plan {
    let mut plan = Plan::default();
    let is_orphan = |container: &&ObservedContainer| {
        options.known_services.as_ref().is_some_and(|known| !known.contains(&container.service))
    };
    let (orphans, own): (Vec<_>, Vec<_>) = observed.containers.iter().partition(is_orphan);
    let named = |container: &&ObservedContainer| {
        options.services.is_empty() || options.services.contains(&container.service)
    };
    let (mut going, mut staying): (Vec<_>, Vec<_>) = own.into_iter().partition(named);
    match options.orphans {
        Orphans::Removed => going.extend(&orphans),
        Orphans::Kept => {
            for container in orphans {
                if container.one_off && options.services.is_empty() {
                    going.push(container);
                    continue;
                }
                staying.push(container);
                if !plan.orphans.contains(&container.service) {
                    plan.orphans.push(container.service.clone());
                }
            }
        }
    }
    let stops = stop_all(&mut plan, &going, &Cause::Asked);
    let mut removals = Vec::new();
    for container in &going {
        let cause = if is_orphan(container) { Cause::Orphan } else { Cause::Asked };
        let operation = Operation::RemoveContainer { id: container.id.clone(), name: container.name.clone() };
        let before = stops.get(container.name.as_str()).copied().map(after).into_iter().collect();
        removals.push(after(plan.add(operation, cause, Some(&container.service), before)));
    }
    let ours =
        |labels: &BTreeMap<String, String>| labels.get(labels::PROJECT).is_some_and(|owner| owner == project);
    for network in observed.networks.iter().filter(|network| ours(&network.labels)) {
        // A network that a remaining orphan is attached to cannot go.
        if staying.iter().any(|container| container.networks.contains(&network.name)) {
            continue;
        }
        let operation = Operation::RemoveNetwork { name: network.name.clone() };
        plan.add(operation, Cause::Asked, None, removals.clone());
    }
    if options.volumes == Volumes::Removed {
        for volume in observed.volumes.iter().filter(|volume| ours(&volume.labels)) {
            if staying.iter().any(|container| container.volumes.contains(&volume.name)) {
                continue;
            }
            // Of the services that are named, what is theirs alone; what only stopped ones used is not known any more.
            let theirs = going.iter().any(|container| container.volumes.contains(&volume.name));
            if !options.services.is_empty() && !theirs {
                continue;
            }
            let operation = Operation::RemoveVolume { name: volume.name.clone() };
            plan.add(operation, Cause::Asked, None, removals.clone());
        }
    }
    for name in &options.images {
        let operation = Operation::RemoveImage { name: name.clone() };
        plan.add(operation, Cause::Asked, None, removals.clone());
    }
    plan
}

/// Plans to stop the containers of `services` (none means all).
pub fn stop(observed: &ObservedState, services: &[String]) -> Plan {
    let mut plan = Plan::default();
    let chosen: Vec<&ObservedContainer> = chosen(observed, services);
    stop_all(&mut plan, &chosen, &Cause::Asked);
    plan
}

/// Plans to stop and start the containers of `services` (none means all), what they depend on first; with those that
/// asked to be restarted with them, unless they are `alone`.
pub fn restart(observed: &ObservedState, services: &[String], alone: bool) -> Plan {
    let mut plan = Plan::default();
    let mut widened = services.to_vec();
    let mut next = 0;
    while let (false, Some(service)) = (alone, widened.get(next).cloned()) {
        for container in observed.containers.iter().filter(|container| container.is_up()) {
            let with = |dependency: &ObservedDependency| dependency.restart && dependency.service == service;
            if container.depends_on.iter().any(with) && !widened.contains(&container.service) {
                widened.push(container.service.clone());
            }
        }
        next += 1;
    }
    let mut chosen: Vec<&ObservedContainer> = chosen(observed, &widened);
    // Jobs that ended stay ended; one asks for them by name.
    chosen.retain(|container| !services.is_empty() || container.is_up());
    let stops = stop_all(&mut plan, &chosen, &Cause::Asked);
    let mut starts: BTreeMap<&str, Vec<StepId>> = BTreeMap::new();
    for container in in_order(&chosen) {
        let mut before: Vec<After> =
            stops.get(container.name.as_str()).copied().map(after).into_iter().collect();
        for dependency in &container.depends_on {
            before.extend(starts.get(dependency.service.as_str()).into_iter().flatten().copied().map(after));
        }
        let operation = Operation::StartContainer { name: container.name.clone() };
        let step = plan.add(operation, Cause::Asked, Some(&container.service), before);
        starts.entry(&container.service).or_default().push(step);
    }
    plan
}

pub(crate) fn chosen<'a>(observed: &'a ObservedState, services: &[String]) -> Vec<&'a ObservedContainer> {
    let wanted = |container: &&ObservedContainer| {
        !container.one_off && (services.is_empty() || services.contains(&container.service))
    };
    observed.containers.iter().filter(wanted).collect()
}

/// Adds stops, dependents first; returns the steps by container.
pub(crate) fn stop_all<'a>(
    plan: &mut Plan,
    containers: &[&'a ObservedContainer],
    cause: &Cause,
) -> BTreeMap<&'a str, StepId> {
    let mut stops: BTreeMap<&str, StepId> = BTreeMap::new();
    for container in in_order(containers).into_iter().rev().filter(|container| container.is_up()) {
        let before = containers
            .iter()
            .filter(|other| other.comes_after(&container.service))
            .filter_map(|other| stops.get(other.name.as_str()))
            // That a dependent could not be stopped is no reason to let this one run.
            .map(|step| After { step: *step, required: false })
            .collect();
        let operation = Operation::StopContainer { id: container.id.clone(), name: container.name.clone() };
        let step = plan.add(operation, cause.clone(), Some(&container.service), before);
        stops.insert(&container.name, step);
    }
    stops
}

/// Returns the containers so that each comes after those its service depends on. Labels may lie: circles are cut.
pub(crate) fn in_order<'a>(containers: &[&'a ObservedContainer]) -> Vec<&'a ObservedContainer> {
    fn visit<'a>(
        containers: &[&'a ObservedContainer],
        container: &'a ObservedContainer,
        seen: &mut BTreeSet<&'a str>,
        out: &mut Vec<&'a ObservedContainer>,
    ) {
        if !seen.insert(&container.name) {
            return;
        }
        for dependency in containers.iter().filter(|other| container.comes_after(&other.service)) {
            visit(containers, dependency, seen, out);
        }
        out.push(container);
    }
    let (mut seen, mut out) = (BTreeSet::new(), Vec::new());
    for container in containers {
        visit(containers, container, &mut seen, &mut out);
    }
    out
}
