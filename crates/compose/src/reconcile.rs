//! From what is wanted and what is so to a [`Plan`]. Pure: the same input gives the same plan.
//!
//! Order of a replaced container: what it depends on is ready, the old one is stopped and removed, the new one is
//! made and started. So a dependency that fails leaves the old container running.

use std::collections::{BTreeMap, BTreeSet};

use coracle_composefile::DependencyCondition;
use coracle_container::HealthStatus;
use coracle_report::Diagnostic;

use crate::choices::{AnonymousVolumes, Dependencies, Finished, Goal, Options, Orphans, Recreate};
use crate::desired::{DesiredNetwork, DesiredProject, DesiredService};
use crate::labels;
use crate::observed::{ObservedContainer, ObservedRun, ObservedState};
use crate::plan::{After, Cause, Condition, Operation, Plan, StepId, after};

/// Plans how to get from `observed` to `desired`.
pub fn reconcile(
    desired: &DesiredProject,
    observed: &ObservedState,
    options: &Options,
) -> Result<Plan, Vec<Diagnostic>> {
    let scope = scope(desired, options)?;
    let mut planner = Planner {
        desired,
        observed,
        options,
        scope,
        plan: Plan::default(),
        networks: BTreeMap::new(),
        volumes: BTreeMap::new(),
        replaced_networks: BTreeSet::new(),
        services: BTreeMap::new(),
        waits: BTreeMap::new(),
    };
    planner.check_externals()?;
    planner.widen_scope();
    planner.remove_orphans();
    planner.networks();
    planner.volumes();
    for service in desired.services.values() {
        if planner.scope.contains(service.name.as_str()) {
            planner.service(service);
        }
    }
    planner.goals();
    Ok(planner.plan)
}

/// Returns the services that the options speak of.
fn scope<'a>(desired: &'a DesiredProject, options: &Options) -> Result<BTreeSet<&'a str>, Vec<Diagnostic>> {
    let mut scope = BTreeSet::new();
    let mut errors = Vec::new();
    let mut open: Vec<&str> = Vec::new();
    for name in &options.services {
        match desired.services.get_key_value(name) {
            Some((name, _)) => open.push(name),
            None if desired.skipped.contains(name) => {}
            None => errors.push(unknown_service(name, desired.services.keys().map(String::as_str))),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    if options.services.is_empty() {
        open.extend(desired.services.keys().map(String::as_str));
    }
    while let Some(name) = open.pop() {
        if scope.insert(name) && options.dependencies == Dependencies::Included {
            open.extend(
                desired.services[name].depends_on.iter().map(|dependency| dependency.service.as_str()),
            );
        }
    }
    Ok(scope)
}

/// Returns the finding about a service that the project does not have.
pub fn unknown_service<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Diagnostic {
    let known: Vec<&str> = known.collect();
    let near = known
        .iter()
        .filter(|candidate| candidate.len().abs_diff(name.len()) <= 64)
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count().max(3) / 3).min(3))
        .min();
    let diagnostic = Diagnostic::error("unknown-service", format!("no such service: `{name}`"))
        .with_note(format!("services of the project: {}", known.join(", ")));
    match near {
        Some((_, near)) => diagnostic.with_hint(format!("did you mean `{near}`?")),
        None => diagnostic,
    }
}

/// What was planned for one service.
#[derive(Debug, Default)]
struct Planned {
    /// By container name, in the order of the ordinals.
    containers: Vec<PlannedContainer>,
    /// Whether a container of it was replaced.
    replaced: bool,
}

#[derive(Debug)]
struct PlannedContainer {
    name: String,
    /// The step that starts it; `None` when it is left as it is.
    start: Option<StepId>,
    /// What it is, when it is left as it is.
    run: Option<ObservedRun>,
}

/// What happens to one wanted container.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Decision {
    Keep(ObservedRun),
    Create,
    Start,
    Restart(Cause),
    Replace(Cause),
}

struct Planner<'a> {
    desired: &'a DesiredProject,
    observed: &'a ObservedState,
    options: &'a Options,
    scope: BTreeSet<&'a str>,
    plan: Plan,
    /// Steps that make networks, by name.
    networks: BTreeMap<&'a str, StepId>,
    /// Steps that make volumes, by name.
    volumes: BTreeMap<&'a str, StepId>,
    /// Names of networks that are removed and made anew.
    replaced_networks: BTreeSet<&'a str>,
    services: BTreeMap<&'a str, Planned>,
    /// Waits by container and condition, so that each is there once.
    waits: BTreeMap<(String, Condition), StepId>,
}

impl<'a> Planner<'a> {
    fn check_externals(&self) -> Result<(), Vec<Diagnostic>> {
        let mut errors = Vec::new();
        for network in self.desired.networks.values().filter(|network| network.external) {
            if self.observed.networks.iter().all(|there| there.name != network.name) {
                let name = &network.name;
                let mut error =
                    Diagnostic::error("missing-external", format!("external network `{name}` is not there"))
                        .with_hint(format!("make it: coracle network create {name}"));
                error.span.clone_from(&network.span);
                errors.push(error);
            }
        }
        for volume in self.desired.volumes.values().filter(|volume| volume.external) {
            if self.observed.volumes.iter().all(|there| there.name != volume.name) {
                let name = &volume.name;
                let mut error =
                    Diagnostic::error("missing-external", format!("external volume `{name}` is not there"))
                        .with_hint(format!("make it: coracle volume create {name}"));
                error.span.clone_from(&volume.span);
                errors.push(error);
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    fn remove_orphans(&mut self) {
        for container in &self.observed.containers {
            if container.one_off || self.desired.known_services.contains(&container.service) {
                continue;
            }
            match self.options.orphans {
                Orphans::Removed => {
                    self.remove(container, &Cause::Orphan, Vec::new());
                }
                Orphans::Kept if !self.plan.orphans.contains(&container.service) => {
                    self.plan.orphans.push(container.service.clone());
                }
                Orphans::Kept => {}
            }
        }
    }

    /// Stops (if it runs) and removes a container; returns the last step.
    fn remove(&mut self, container: &ObservedContainer, cause: &Cause, mut before: Vec<After>) -> StepId {
        let service = Some(container.service.as_str());
        let (id, name) = (container.id.clone(), container.name.clone());
        if container.is_up() {
            let stop = Operation::StopContainer { id: id.clone(), name: name.clone() };
            before = vec![after(self.plan.add(stop, cause.clone(), service, before))];
        }
        self.plan.add(Operation::RemoveContainer { id, name }, cause.clone(), service, before)
    }

    /// Returns the networks that services in scope use.
    fn used_networks(&self) -> BTreeSet<&'a str> {
        let in_scope =
            self.desired.services.values().filter(|service| self.scope.contains(service.name.as_str()));
        in_scope
            .flat_map(|service| &service.containers)
            .flat_map(|spec| &spec.networks)
            .map(|attachment| attachment.network.as_str())
            .collect()
    }

    /// Says whether a network is ours and was made from another configuration; somebody else's is used as it is.
    fn is_changed(&self, network: &DesiredNetwork) -> bool {
        let there = self.observed.networks.iter().find(|there| there.name == network.name);
        there.is_some_and(|there| {
            let ours = there.labels.get(labels::PROJECT) == Some(&self.desired.name);
            let hash = there.labels.get(labels::CONFIG_HASH);
            ours && !network.external && hash != network.labels.get(labels::CONFIG_HASH)
        })
    }

    /// A network that is replaced takes all containers on it along, also those nobody asked for: they come back too.
    fn widen_scope(&mut self) {
        let used = self.used_networks();
        let changed: Vec<&DesiredNetwork> = self
            .desired
            .networks
            .values()
            .filter(|network| used.contains(network.name.as_str()) && self.is_changed(network))
            .collect();
        for container in &self.observed.containers {
            let attached = changed.iter().any(|network| container.networks.contains(&network.name));
            if attached && let Some((name, _)) = self.desired.services.get_key_value(&container.service) {
                self.scope.insert(name);
            }
        }
        self.replaced_networks.extend(changed.iter().map(|network| network.name.as_str()));
    }

    fn networks(&mut self) {
        let used = self.used_networks();
        for network in self.desired.networks.values() {
            let name = network.name.as_str();
            if network.external || !used.contains(name) {
                continue;
            }
            let there = self.observed.networks.iter().any(|there| there.name == name);
            let mut before = Vec::new();
            let cause = match there {
                false => Cause::Missing,
                true if !self.replaced_networks.contains(name) => continue,
                true => {
                    let cause = Cause::NetworkChanged { network: name.to_owned() };
                    let attached: Vec<&ObservedContainer> = self
                        .observed
                        .containers
                        .iter()
                        .filter(|container| container.networks.iter().any(|attached| attached == name))
                        .collect();
                    for container in attached {
                        let gone = self.remove_once(container, &cause);
                        before.push(after(gone));
                    }
                    let remove = Operation::RemoveNetwork { name: name.to_owned() };
                    before = vec![after(self.plan.add(remove, Cause::Changed, None, before))];
                    Cause::Changed
                }
            };
            let step = self.plan.add(Operation::CreateNetwork(network.clone()), cause, None, before);
            self.networks.insert(name, step);
        }
    }

    /// As [`Self::remove`], but a container that the plan removes already is not removed twice.
    fn remove_once(&mut self, container: &ObservedContainer, cause: &Cause) -> StepId {
        self.removal_of(container).unwrap_or_else(|| self.remove(container, cause, Vec::new()))
    }

    fn removal_of(&self, container: &ObservedContainer) -> Option<StepId> {
        self.plan.steps.iter().position(
            |step| matches!(&step.operation, Operation::RemoveContainer { id, .. } if *id == container.id),
        )
    }

    fn volumes(&mut self) {
        for volume in self.desired.volumes.values() {
            let there = self.observed.volumes.iter().any(|there| there.name == volume.name);
            let used = self
                .desired
                .services
                .values()
                .filter(|service| self.scope.contains(service.name.as_str()))
                .flat_map(|service| &service.containers)
                .flat_map(|spec| &spec.mounts)
                .any(|mount| {
                    matches!(&mount.kind, coracle_container::MountKind::Volume { name, .. } if *name == volume.name)
                });
            if !there && !volume.external && used {
                let step =
                    self.plan.add(Operation::CreateVolume(volume.clone()), Cause::Missing, None, Vec::new());
                self.volumes.insert(&volume.name, step);
            }
        }
    }

    /// Decides what happens to the container `ordinal` of a service.
    fn decide(&self, service: &DesiredService, there: Option<&ObservedContainer>) -> Decision {
        let Some(there) = there else { return Decision::Create };
        if let Some(network) =
            there.networks.iter().find(|network| self.replaced_networks.contains(network.as_str()))
        {
            return Decision::Replace(Cause::NetworkChanged { network: network.clone() });
        }
        let named = self.options.services.is_empty() || self.options.services.contains(&service.name);
        let recreate = if named { self.options.recreate } else { self.options.recreate_dependencies };
        match recreate {
            Recreate::Always => return Decision::Replace(Cause::Forced),
            Recreate::Changed if there.config_hash != service.config_hash => {
                return Decision::Replace(Cause::Changed);
            }
            Recreate::Changed | Recreate::Never => {}
        }
        match there.state {
            _ if self.options.goal == Goal::Created => Decision::Keep(there.state),
            ObservedRun::Exited { .. }
                if self.options.finished == Finished::Kept && is_done(service, there.state) =>
            {
                Decision::Keep(there.state)
            }
            ObservedRun::Created | ObservedRun::Exited { .. } => Decision::Start,
            ObservedRun::Running(_) | ObservedRun::Paused | ObservedRun::Restarting => {
                let replaced = service.depends_on.iter().find(|dependency| {
                    self.services.get(dependency.service.as_str()).is_some_and(|planned| {
                        // Namespaces end with the container that made them, also when it is only started again.
                        let starts = planned.containers.iter().any(|container| container.start.is_some());
                        (dependency.restart && planned.replaced) || (dependency.shares && starts)
                    })
                });
                match replaced {
                    Some(dependency) => {
                        let service = dependency.service.clone();
                        Decision::Restart(Cause::DependencyReplaced { service })
                    }
                    None => Decision::Keep(there.state),
                }
            }
        }
    }

    fn service(&mut self, service: &'a DesiredService) {
        let name = service.name.as_str();
        let observed: Vec<&ObservedContainer> = self
            .observed
            .containers
            .iter()
            .filter(|container| container.service == name && !container.one_off)
            .collect();
        let mut planned = Planned::default();
        let mut gates: Option<Vec<After>> = None;
        let mut renewed: Vec<(String, StepId)> = Vec::new();
        for (index, spec) in service.containers.iter().enumerate() {
            let ordinal = index as u32 + 1;
            let there = observed.iter().copied().find(|container| container.ordinal == ordinal);
            let decision = self.decide(service, there);
            if let Decision::Keep(run) = decision {
                let name = there.map_or_else(|| spec.name.clone(), |there| there.name.clone());
                planned.containers.push(PlannedContainer { name, start: None, run: Some(run) });
                continue;
            }
            if self.options.goal == Goal::Created {
                planned.containers.push(self.only_create(service, spec, decision, there));
                continue;
            }
            // Made only when something is to start: an unchanged service asks nobody to wait.
            let gates = gates.get_or_insert_with(|| self.gates(service)).clone();
            let mut stop_gates = gates.clone();
            if there.is_some_and(|there| there.state.is_up()) {
                stop_gates.extend(self.turn(service, &renewed));
            }
            let start = match (decision, there) {
                (Decision::Keep(_), _) => continue,
                (Decision::Start, Some(there)) => self.start(&there.name, Cause::NotRunning, name, gates),
                (Decision::Restart(cause), Some(there)) => {
                    let stop = Operation::StopContainer { id: there.id.clone(), name: there.name.clone() };
                    let stop = self.plan.add(stop, cause.clone(), Some(name), stop_gates);
                    self.start(&there.name, cause, name, vec![after(stop)])
                }
                (Decision::Replace(cause), Some(there)) => {
                    planned.replaced = true;
                    let gone = match self.removal_of(there) {
                        Some(gone) => gone,
                        None => self.remove(there, &cause, stop_gates),
                    };
                    let gone = self.renew_volumes(spec, gone);
                    let create = self.create(spec, cause.clone(), name, vec![after(gone)]);
                    let mut before = vec![after(create)];
                    before.extend(gates);
                    self.start(&spec.name, cause, name, before)
                }
                (Decision::Create, _)
                | (Decision::Start | Decision::Restart(_) | Decision::Replace(_), None) => {
                    let create = self.create(spec, Cause::Missing, name, Vec::new());
                    let mut before = vec![after(create)];
                    before.extend(gates);
                    self.start(&spec.name, Cause::Missing, name, before)
                }
            };
            let name = match self.plan.steps[start].operation {
                Operation::StartContainer { ref name } => name.clone(),
                _ => spec.name.clone(),
            };
            if there.is_some_and(|there| there.state.is_up()) {
                renewed.push((name.clone(), start));
            }
            planned.containers.push(PlannedContainer { name, start: Some(start), run: None });
        }
        for (index, container) in observed.iter().enumerate() {
            // Two of one ordinal are left by an `up` that was killed.
            let doubled = observed[..index].iter().any(|earlier| earlier.ordinal == container.ordinal);
            let beyond = container.ordinal == 0 || container.ordinal as usize > service.containers.len();
            if doubled || beyond {
                self.remove_once(container, &Cause::Surplus);
            }
        }
        self.services.insert(name, planned);
    }

    /// Returns what must have happened before another running replica may be stopped: half of them (at least one) are
    /// renewed at a time, and an earlier one must be as good as it was first.
    fn turn(&mut self, service: &DesiredService, renewed: &[(String, StepId)]) -> Option<After> {
        let at_once = (service.containers.len() / 2).max(1);
        let (earlier, start) = renewed.len().checked_sub(at_once).and_then(|index| renewed.get(index))?;
        let condition = match (service.has_health, service.is_one_shot) {
            (_, true) => return None,
            (true, false) => Condition::Healthy,
            (false, false) => Condition::Started,
        };
        let (earlier, start) = (earlier.clone(), Some(*start));
        Some(after(self.wait_for(&service.name, earlier, start, condition, Some(&service.name))))
    }

    /// Plans a container that is not to be started.
    fn only_create(
        &mut self,
        service: &DesiredService,
        spec: &coracle_container::ContainerSpec,
        decision: Decision,
        there: Option<&ObservedContainer>,
    ) -> PlannedContainer {
        let (cause, before) = match (decision, there) {
            (Decision::Replace(cause), Some(there)) => {
                let gone = match self.removal_of(there) {
                    Some(gone) => gone,
                    None => self.remove(there, &cause, Vec::new()),
                };
                (cause, vec![after(self.renew_volumes(spec, gone))])
            }
            _ => (Cause::Missing, Vec::new()),
        };
        self.create(spec, cause, &service.name, before);
        PlannedContainer { name: spec.name.clone(), start: None, run: Some(ObservedRun::Created) }
    }

    /// Plans new anonymous volumes for a container that is replaced, if they are wanted; returns the step after which
    /// the container can be made.
    fn renew_volumes(&mut self, spec: &coracle_container::ContainerSpec, gone: StepId) -> StepId {
        let mut last = gone;
        if self.options.anonymous_volumes == AnonymousVolumes::Kept {
            return last;
        }
        for mount in &spec.mounts {
            let coracle_container::MountKind::Volume { name, .. } = &mount.kind else { continue };
            let Some(volume) = self.desired.volumes.get(name) else { continue };
            let there = self.observed.volumes.iter().any(|there| there.name == *name);
            if !there || !volume.labels.contains_key(labels::ANONYMOUS_VOLUME) {
                continue;
            }
            let remove = Operation::RemoveVolume { name: name.clone() };
            let removed = self.plan.add(remove, Cause::Asked, None, vec![after(last)]);
            let create = Operation::CreateVolume(volume.clone());
            last = self.plan.add(create, Cause::Asked, None, vec![after(removed)]);
        }
        last
    }

    fn create(
        &mut self,
        spec: &coracle_container::ContainerSpec,
        cause: Cause,
        service: &str,
        mut before: Vec<After>,
    ) -> StepId {
        for attachment in &spec.networks {
            before.extend(self.networks.get(attachment.network.as_str()).copied().map(after));
        }
        for mount in &spec.mounts {
            if let coracle_container::MountKind::Volume { name, .. } = &mount.kind {
                before.extend(self.volumes.get(name.as_str()).copied().map(after));
            }
        }
        // A container of that name that is none of the service's replicas is in the way.
        let in_the_way = self
            .observed
            .containers
            .iter()
            .find(|container| container.name == spec.name && self.removal_of(container).is_none());
        if let Some(container) = in_the_way {
            let gone = self.remove(container, &Cause::Surplus, Vec::new());
            before.push(after(gone));
        }
        let removals: Vec<StepId> = self
            .observed
            .containers
            .iter()
            .filter(|container| container.name == spec.name)
            .filter_map(|container| self.removal_of(container))
            .collect();
        before.extend(removals.into_iter().map(after));
        before.sort();
        before.dedup();
        self.plan.add(Operation::CreateContainer(Box::new(spec.clone())), cause, Some(service), before)
    }

    fn start(&mut self, container: &str, cause: Cause, service: &str, mut before: Vec<After>) -> StepId {
        before.sort();
        before.dedup();
        let operation = Operation::StartContainer { name: container.to_owned() };
        self.plan.add(operation, cause, Some(service), before)
    }

    /// Returns what must have happened before a container of `service` starts.
    fn gates(&mut self, service: &DesiredService) -> Vec<After> {
        let mut gates: Vec<After> = Vec::new();
        for dependency in &service.depends_on {
            let required = dependency.required;
            let condition = match dependency.condition {
                DependencyCondition::Started => {
                    let planned = self.services.get(dependency.service.as_str());
                    let starts = planned.into_iter().flat_map(|planned| &planned.containers);
                    gates.extend(
                        starts.filter_map(|container| container.start).map(|step| After { step, required }),
                    );
                    continue;
                }
                DependencyCondition::Healthy => Condition::Healthy,
                DependencyCondition::CompletedSuccessfully => Condition::Completed,
            };
            for step in self.waits_for(&dependency.service, condition, Some(&service.name)) {
                gates.push(After { step, required });
            }
        }
        gates.sort();
        gates.dedup();
        gates
    }

    /// Returns waits for every container of a planned service that is not known to be as wanted.
    fn waits_for(&mut self, service: &str, condition: Condition, by: Option<&str>) -> Vec<StepId> {
        let Some(planned) = self.services.get(service) else { return Vec::new() };
        let open: Vec<(String, Option<StepId>)> = planned
            .containers
            .iter()
            .filter(|container| !container.run.is_some_and(|run| holds(condition, run)))
            .map(|container| (container.name.clone(), container.start))
            .collect();
        let mut steps = Vec::new();
        for (name, start) in open {
            steps.push(self.wait_for(service, name, start, condition, by));
        }
        steps
    }

    /// Returns the wait for one container, which is planned once.
    fn wait_for(
        &mut self,
        service: &str,
        name: String,
        start: Option<StepId>,
        condition: Condition,
        by: Option<&str>,
    ) -> StepId {
        let key = (name.clone(), condition);
        let step = if let Some(step) = self.waits.get(&key) {
            *step
        } else {
            let cause = if by.is_some() { Cause::Needed { by: Vec::new() } } else { Cause::Goal };
            let before = start.map(after).into_iter().collect();
            let step = self.plan.add(Operation::WaitFor { name, condition }, cause, Some(service), before);
            self.waits.insert(key, step);
            step
        };
        if let (Some(dependent), Cause::Needed { by }) = (by, &mut self.plan.steps[step].cause)
            && !by.iter().any(|known| known == dependent)
        {
            by.push(dependent.to_owned());
        }
        step
    }

    /// Adds the waits that end an `up`: every service in scope is as it should be.
    fn goals(&mut self) {
        if self.options.goal != Goal::Ready {
            return;
        }
        let in_scope: Vec<&DesiredService> = self
            .desired
            .services
            .values()
            .filter(|service| self.scope.contains(service.name.as_str()))
            .collect();
        for service in in_scope {
            let condition = match (service.has_health, service.is_one_shot) {
                (_, true) => Condition::Completed,
                (true, false) => Condition::Healthy,
                (false, false) => Condition::Started,
            };
            self.waits_for(&service.name, condition, None);
        }
    }
}

/// Returns whether an ended container has done its work and is not started again: a job that ended with 0, and was
/// not stopped by a user.
fn is_done(service: &DesiredService, run: ObservedRun) -> bool {
    let restarts =
        service.containers.first().is_some_and(|spec| spec.restart != coracle_container::RestartPolicy::No);
    let is_job = service.is_one_shot || (!restarts && !service.has_health);
    run == ObservedRun::Exited { code: 0, by_user: false } && is_job
}

/// Returns whether a container that is left as it is meets a condition.
pub(crate) fn holds(condition: Condition, run: ObservedRun) -> bool {
    match (condition, run) {
        (Condition::Started, ObservedRun::Running(_) | ObservedRun::Paused)
        | (Condition::Started | Condition::Completed, ObservedRun::Exited { code: 0, .. })
        | (Condition::Healthy, ObservedRun::Running(Some(HealthStatus::Healthy))) => true,
        (
            Condition::Started | Condition::Healthy | Condition::Completed,
            ObservedRun::Created
            | ObservedRun::Running(_)
            | ObservedRun::Paused
            | ObservedRun::Restarting
            | ObservedRun::Exited { .. },
        ) => false,
    }
}
