//! What happens when the machine comes up, and before it goes down: containers come back by their restart policies, those
//! of a project in the order of their dependencies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use coracle_compose::{boot, execute, stop};
use coracle_container::{ContainerId, ContainerState, RestartPolicy};

use crate::ports::compose::ProjectHost;
use crate::{ContainerView, Engine, Failure, Result};

/// The longest wait for a dependency.
const WAIT: Duration = Duration::from_mins(5);

/// The engine of a machine that comes up or goes down.
#[derive(Clone, Copy)]
pub struct Boot<'a> {
    pub(crate) engine: &'a Engine,
}

/// What was done.
#[derive(Debug, Default)]
pub struct BootReport {
    /// Names of the containers that were started or ended.
    pub done: Vec<String>,
    /// What did not work, of each container or project by name.
    pub failures: Vec<(String, Failure)>,
}

impl BootReport {
    fn take(&mut self, name: &str, result: Result<()>) {
        if let Err(failure) = result {
            self.failures.push((name.to_owned(), failure));
        }
    }
}

/// Returns whether a container comes back by itself, as Docker decides it when its daemon starts.
fn returns(policy: RestartPolicy, state: &ContainerState) -> bool {
    let ContainerState::Exited { code, by_user, .. } = state else { return false };
    match policy {
        RestartPolicy::No => false,
        RestartPolicy::Always => true,
        RestartPolicy::UnlessStopped => !by_user,
        RestartPolicy::OnFailure { .. } => *code != 0 && !by_user,
    }
}

impl Boot<'_> {
    /// Starts everything that is to run. One thing that cannot start does not keep another from it.
    pub fn up(&self, cancel: &AtomicBool) -> Result<BootReport> {
        // Looking at them records the loss of those that ran when the machine went down.
        let views = self.engine.containers().list()?;
        self.engine.reclaim()?;
        let returning: BTreeSet<ContainerId> = views
            .iter()
            .filter(|view| returns(view.record.spec.restart, &view.state))
            .map(|view| view.record.id.clone())
            .collect();
        let (projects, mut alone) = sorted(views);
        let mut report = BootReport::default();
        // The oldest first: it may be one whose network another one shares.
        alone.reverse();
        for view in alone.iter().filter(|view| returning.contains(&view.record.id)) {
            let name = &view.record.spec.name;
            report.take(name, self.engine.containers().start(&view.record.id));
        }
        let reports: Vec<BootReport> = std::thread::scope(|scope| {
            let threads: Vec<_> = projects
                .keys()
                .map(|name| {
                    let returning = &returning;
                    scope.spawn(move || self.project_up(name, returning, cancel))
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("a start does not panic")).collect()
        });
        report.failures.extend(reports.into_iter().flat_map(|report| report.failures));
        let before: BTreeSet<ContainerId> =
            projects.into_values().flatten().chain(alone).filter(is_up).map(|view| view.record.id).collect();
        let now = self.engine.containers().list()?;
        let new = now.into_iter().filter(is_up).filter(|view| !before.contains(&view.record.id));
        report.done = new.map(|view| view.record.spec.name).collect();
        report.done.sort();
        Ok(report)
    }

    fn project_up(&self, name: &str, returning: &BTreeSet<ContainerId>, cancel: &AtomicBool) -> BootReport {
        let mut report = BootReport::default();
        let projects = self.engine.projects();
        let brought = projects.lock(name).and_then(|lock| {
            let observed = projects.observe(name)?;
            let plan = boot(&observed, |container| returning.contains(&container.id));
            let host = ProjectHost::new(self.engine, name, WAIT);
            let brought =
                execute(&plan, &host, &*self.engine.reporter, None, cancel).map_err(Failure::findings);
            // A service whose dependency does not get well is better late than never there.
            let observed = projects.observe(name)?;
            let late = observed
                .containers
                .iter()
                .filter(|container| !container.is_up() && returning.contains(&container.id))
                .filter(|_| brought.is_err());
            for container in late {
                report.take(&container.name, self.engine.containers().start(&container.id));
            }
            drop(lock);
            brought.map(drop)
        });
        report.take(name, brought);
        report
    }

    /// Ends everything that runs, dependents before what they depend on, without it counting as stopped by a user.
    pub fn down(&self, cancel: &AtomicBool) -> Result<BootReport> {
        let mut views = self.engine.containers().list()?;
        views.retain(is_up);
        let mut report = BootReport {
            done: views.iter().map(|view| view.record.spec.name.clone()).collect(),
            ..BootReport::default()
        };
        report.done.sort();
        let (projects, alone) = sorted(views);
        let failures: Vec<Vec<(String, Failure)>> = std::thread::scope(|scope| {
            let one_by_one = alone.iter().map(|view| {
                scope.spawn(move || {
                    let mut report = BootReport::default();
                    report.take(&view.record.spec.name, self.engine.containers().leave(&view.record.id));
                    report.failures
                })
            });
            let together = projects.iter().map(|(name, views)| {
                scope.spawn(move || {
                    let mut report = BootReport::default();
                    let host = ProjectHost::new(self.engine, name, WAIT).leaving();
                    let stopped = self.engine.projects().observe(name).and_then(|observed| {
                        let plan = stop(&observed, &[]);
                        execute(&plan, &host, &*self.engine.reporter, None, cancel)
                            .map(drop)
                            .map_err(Failure::findings)
                    });
                    report.take(name, stopped);
                    // Those of one-time runs, and those whose hook failed: the machine goes down all the same.
                    for view in views {
                        report.take(&view.record.spec.name, self.engine.containers().leave(&view.record.id));
                    }
                    report.failures
                })
            });
            let threads: Vec<_> = one_by_one.chain(together).collect();
            threads.into_iter().map(|thread| thread.join().expect("an end does not panic")).collect()
        });
        report.failures = failures.into_iter().flatten().collect();
        Ok(report)
    }
}

fn is_up(view: &ContainerView) -> bool {
    view.state.has_shim()
}

/// Sorts containers by project; second are those of none, newest first.
fn sorted(views: Vec<ContainerView>) -> (BTreeMap<String, Vec<ContainerView>>, Vec<ContainerView>) {
    let (mut projects, mut alone): (BTreeMap<String, Vec<ContainerView>>, _) = (BTreeMap::new(), Vec::new());
    for view in views {
        match view.project().filter(|_| !view.is_one_off()) {
            Some(project) => projects.entry(project.to_owned()).or_default().push(view),
            None => alone.push(view),
        }
    }
    (projects, alone)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn exited(code: i32, by_user: bool) -> ContainerState {
        ContainerState::Exited {
            code,
            at: Timestamp::UNIX_EPOCH,
            started: None,
            out_of_memory: false,
            by_user,
            error: None,
            restarts: 0,
            health: None,
        }
    }

    #[test]
    fn policies_at_boot() {
        let failing = RestartPolicy::OnFailure { max_retries: Some(3) };
        // Policy, and whether it comes back: after a loss, after a good end, after a stop by a user.
        for (policy, expected) in [
            (RestartPolicy::No, [false, false, false]),
            (RestartPolicy::Always, [true, true, true]),
            (RestartPolicy::UnlessStopped, [true, true, false]),
            (failing, [true, false, false]),
        ] {
            let states = [exited(137, false), exited(0, false), exited(143, true)];
            assert_eq!(states.map(|state| returns(policy, &state)), expected, "{policy:?}");
            assert!(!returns(policy, &ContainerState::Created));
        }
    }
}
