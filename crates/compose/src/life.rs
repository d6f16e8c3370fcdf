//! Plans that start, kill and remove containers that are there. They need only what is observed, no files.

use std::collections::BTreeMap;

use coracle_composefile::DependencyCondition;
use coracle_container::{ContainerSpec, MountKind};

use crate::desired::{DesiredProject, DesiredService};
use crate::labels;
use crate::observed::{ObservedContainer, ObservedRun, ObservedState};
use crate::plan::{After, Cause, Condition, Operation, Plan, StepId, after};
use crate::reconcile::holds;
use crate::teardown::{chosen, in_order, stop_all};

/// Plans to start the containers of `services` (none means all) that do not run, each when what it depends on is as it
/// needs it.
pub fn start(observed: &ObservedState, services: &[String]) -> Plan {
    start_chosen(observed, &chosen(observed, services))
}

/// Plans to bring back after a reboot the containers that `returns` picks, and of what they depend on whatever nobody had
/// stopped, each when what it depends on is as it needs it.
pub fn boot(observed: &ObservedState, returns: impl Fn(&ObservedContainer) -> bool) -> Plan {
    let down = |container: &&ObservedContainer| !container.one_off && !container.is_up();
    let mut chosen: Vec<&ObservedContainer> =
        observed.containers.iter().filter(down).filter(|container| returns(container)).collect();
    let mut next = 0;
    while let Some(container) = chosen.get(next).copied() {
        for dependency in &container.depends_on {
            let others = observed.containers.iter().filter(down);
            for other in others.filter(|other| other.service == dependency.service) {
                let wanted = match other.state {
                    ObservedRun::Exited { by_user, code } => {
                        let done =
                            dependency.condition == DependencyCondition::CompletedSuccessfully && code == 0;
                        !by_user && !done
                    }
                    _ => false,
                };
                if wanted && chosen.iter().all(|known| known.name != other.name) {
                    chosen.push(other);
                }
            }
        }
        next += 1;
    }
    start_chosen(observed, &chosen)
}

fn start_chosen(observed: &ObservedState, chosen: &[&ObservedContainer]) -> Plan {
    let mut plan = Plan::default();
    let mut starts: BTreeMap<&str, StepId> = BTreeMap::new();
    for container in in_order(chosen).into_iter().filter(|container| !container.is_up()) {
        let before = gates(&mut plan, observed, &starts, container);
        let operation = Operation::StartContainer { name: container.name.clone() };
        let step = plan.add(operation, Cause::Asked, Some(&container.service), before);
        starts.insert(&container.name, step);
    }
    plan
}

/// Returns what must have happened before a container starts.
fn gates(
    plan: &mut Plan,
    observed: &ObservedState,
    starts: &BTreeMap<&str, StepId>,
    container: &ObservedContainer,
) -> Vec<After> {
    let mut before = Vec::new();
    for dependency in &container.depends_on {
        let condition = match dependency.condition {
            DependencyCondition::Started => Condition::Started,
            DependencyCondition::Healthy => Condition::Healthy,
            DependencyCondition::CompletedSuccessfully => Condition::Completed,
        };
        let others = observed.containers.iter();
        for other in others.filter(|other| other.service == dependency.service && !other.one_off) {
            let start = starts.get(other.name.as_str()).copied();
            if condition == Condition::Started || start.is_none() && holds(condition, other.state) {
                before.extend(start.map(after));
                continue;
            }
            let wait = Operation::WaitFor { name: other.name.clone(), condition };
            let known = plan.steps.iter().position(|step| step.operation == wait);
            let step = known.unwrap_or_else(|| {
                let cause = Cause::Needed { by: vec![container.service.clone()] };
                plan.add(wait, cause, Some(&other.service), start.into_iter().map(after).collect())
            });
            before.push(after(step));
        }
    }
    before.sort();
    before.dedup();
    before
}

/// Plans to send `signal` to the running containers of `services` (none means all), those of one-time runs too.
pub fn kill(observed: &ObservedState, services: &[String], signal: &str) -> Plan {
    let mut plan = Plan::default();
    let wanted = |container: &&ObservedContainer| {
        matches!(container.state, ObservedRun::Running(_) | ObservedRun::Paused)
            && (services.is_empty() || services.contains(&container.service))
    };
    for container in observed.containers.iter().filter(wanted) {
        let (id, name) = (container.id.clone(), container.name.clone());
        let operation = Operation::KillContainer { id, name, signal: signal.to_owned() };
        plan.add(operation, Cause::Asked, Some(&container.service), Vec::new());
    }
    plan
}

/// What a user may say about removing containers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoveOptions {
    /// Whether those that run are stopped first; else they are left alone.
    pub stop: bool,
    /// Whether their anonymous volumes go too.
    pub volumes: bool,
}

/// Plans to remove the containers of `services` (none means all).
pub fn remove(observed: &ObservedState, services: &[String], options: RemoveOptions) -> Plan {
    let mut plan = Plan::default();
    let mut going = chosen(observed, services);
    if !options.stop {
        going.retain(|container| !container.is_up());
    }
    let stops = stop_all(&mut plan, &going, &Cause::Asked);
    let mut removals = Vec::new();
    for container in &going {
        let operation = Operation::RemoveContainer { id: container.id.clone(), name: container.name.clone() };
        let before = stops.get(container.name.as_str()).copied().map(after).into_iter().collect();
        removals.push(after(plan.add(operation, Cause::Asked, Some(&container.service), before)));
    }
    if options.volumes {
        for volume in &observed.volumes {
            let of = |container: &&ObservedContainer| container.volumes.contains(&volume.name);
            let stays =
                observed.containers.iter().any(|container| of(&container) && !going.contains(&container));
            if volume.labels.contains_key(labels::ANONYMOUS_VOLUME) && going.iter().any(of) && !stays {
                let operation = Operation::RemoveVolume { name: volume.name.clone() };
                plan.add(operation, Cause::Asked, None, removals.clone());
            }
        }
    }
    plan
}

/// Plans to wait until other services are as one that depends on them needs them.
pub fn await_dependencies(observed: &ObservedState, service: &DesiredService) -> Plan {
    let mut plan = Plan::default();
    for dependency in &service.depends_on {
        let condition = match dependency.condition {
            DependencyCondition::Started => continue,
            DependencyCondition::Healthy => Condition::Healthy,
            DependencyCondition::CompletedSuccessfully => Condition::Completed,
        };
        let others = observed.containers.iter();
        for other in others.filter(|other| other.service == dependency.service && !other.one_off) {
            if !holds(condition, other.state) {
                let cause = Cause::Needed { by: vec![service.name.clone()] };
                let wait = Operation::WaitFor { name: other.name.clone(), condition };
                plan.add(wait, cause, Some(&other.service), Vec::new());
            }
        }
    }
    plan
}

/// Plans a container of one time, with the networks and volumes that it needs and that are not there yet.
pub fn one_off(desired: &DesiredProject, observed: &ObservedState, spec: &ContainerSpec) -> Plan {
    let mut plan = Plan::default();
    let mut before = Vec::new();
    for network in desired.networks.values().filter(|network| !network.external) {
        let used = spec.networks.iter().any(|attachment| attachment.network == network.name);
        if used && observed.networks.iter().all(|there| there.name != network.name) {
            let create = Operation::CreateNetwork(network.clone());
            before.push(after(plan.add(create, Cause::Missing, None, Vec::new())));
        }
    }
    for volume in desired.volumes.values().filter(|volume| !volume.external) {
        let used = spec
            .mounts
            .iter()
            .any(|mount| matches!(&mount.kind, MountKind::Volume { name, .. } if *name == volume.name));
        if used && observed.volumes.iter().all(|there| there.name != volume.name) {
            let create = Operation::CreateVolume(volume.clone());
            before.push(after(plan.add(create, Cause::Missing, None, Vec::new())));
        }
    }
    let service = spec.labels.get(labels::SERVICE).map(String::as_str);
    plan.add(Operation::CreateContainer(Box::new(spec.clone())), Cause::Asked, service, before);
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::ObservedDependency;

    fn container(number: u8, service: &str, depends_on: &str, state: ObservedRun) -> ObservedContainer {
        ObservedContainer {
            id: coracle_container::ContainerId::from_random([number; 32]),
            name: format!("p-{service}-1"),
            service: service.to_owned(),
            ordinal: 1,
            config_hash: String::new(),
            one_off: false,
            depends_on: ObservedDependency::of_label(depends_on),
            networks: Vec::new(),
            volumes: Vec::new(),
            state,
        }
    }

    #[test]
    fn a_boot_starts_what_returns_with_what_it_needs() {
        let exited = |code, by_user| ObservedRun::Exited { code, by_user };
        let needs =
            "db:service_healthy:false,job:service_completed_successfully:false,off:service_started:false";
        let observed = ObservedState {
            containers: vec![
                container(1, "app", needs, exited(137, false)),
                container(2, "db", "", exited(137, false)),
                container(3, "job", "", exited(0, false)),
                container(4, "off", "", exited(143, true)),
                container(5, "other", "", exited(137, false)),
                container(6, "up", "", ObservedRun::Running(None)),
            ],
            ..ObservedState::default()
        };
        let plan = boot(&observed, |container| matches!(container.service.as_str(), "app" | "up"));
        let steps: Vec<String> = plan.steps.iter().map(|step| step.operation.to_string()).collect();
        let starts: Vec<&String> = steps.iter().filter(|step| step.starts_with("start")).collect();
        assert_eq!(starts.len(), 2, "{plan}");
        assert!(starts[0].contains("p-db-1") && starts[1].contains("p-app-1"), "{plan}");
        // The job that ended well is not run again, nor waited for.
        assert!(!plan.to_string().contains("p-job-1"), "{plan}");
        assert!(plan.to_string().contains("healthy"), "{plan}");
        assert!(boot(&observed, |_| false).is_empty());
    }
}
