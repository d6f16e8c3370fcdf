//! Runs a plan: every step whose predecessors are done, in parallel. Makes no decisions of its own.
//!
//! A failed step keeps what depends on it from running; all else goes on, so that one `up` shows every fault.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

use coracle_report::{Diagnostic, Outcome, Reporter, Task, TaskId};

use crate::failure;
use crate::host::Host;
use crate::plan::{Condition, Operation, Plan, Step, StepId};

/// How a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Pending,
    Running,
    Done,
    Failed,
    /// Never ran, because an earlier step failed or the user ended the command.
    Skipped,
}

/// Executes `plan`. Events are sent for each service, network and volume, as tasks under `parent`.
///
/// Returns every failure; services that were not reached are told by their tasks' outcome only.
pub fn execute(
    plan: &Plan,
    host: &dyn Host,
    reporter: &dyn Reporter,
    parent: Option<TaskId>,
    cancel: &AtomicBool,
) -> Result<(), Vec<Diagnostic>> {
    let mut walk = Walk {
        plan,
        progress: vec![Progress::Pending; plan.steps.len()],
        tasks: BTreeMap::new(),
        reporter,
        parent,
        failures: Vec::new(),
        reasons: BTreeMap::new(),
    };
    let (sender, finished) = mpsc::channel::<(StepId, Result<(), Box<Diagnostic>>)>();
    thread::scope(|scope| {
        loop {
            walk.skip_unreachable(cancel.load(Ordering::Relaxed));
            for id in walk.ready() {
                walk.begin(id);
                let sender = sender.clone();
                let step = &plan.steps[id];
                scope.spawn(move || {
                    // A panic must arrive as a failure: the loop below waits for every step that it began.
                    let result = panic::catch_unwind(AssertUnwindSafe(|| run(step, host, cancel)))
                        .unwrap_or_else(|_| Err(panicked(step)))
                        .map_err(Box::new);
                    // The receiver outlives every thread of the scope.
                    let _ = sender.send((id, result));
                });
            }
            if !walk.progress.contains(&Progress::Running) {
                break;
            }
            let Ok((id, result)) = finished.recv() else { break };
            walk.end(id, result.map_err(|error| *error));
        }
    });
    if cancel.load(Ordering::Relaxed) && walk.failures.iter().all(|failure| failure.code != "cancelled") {
        let unfinished = walk.progress.contains(&Progress::Skipped);
        walk.failures.extend(unfinished.then(failure::cancelled));
    }
    walk.finish();
    if walk.failures.is_empty() { Ok(()) } else { Err(walk.failures) }
}

fn panicked(step: &Step) -> Diagnostic {
    Diagnostic::error("internal", format!("cannot {}: an internal assumption did not hold", step.operation))
        .with_hint("this is a fault of coracle: report it with the lines above")
}

/// Performs one step.
fn run(step: &Step, host: &dyn Host, cancel: &AtomicBool) -> Result<(), Diagnostic> {
    match &step.operation {
        Operation::CreateNetwork(network) => host.create_network(network),
        Operation::RemoveNetwork { name } => host.remove_network(name),
        Operation::CreateVolume(volume) => host.create_volume(volume),
        Operation::RemoveVolume { name } => host.remove_volume(name),
        Operation::CreateContainer(spec) => host.create_container(spec),
        Operation::StartContainer { name } => host.start_container(name),
        Operation::StopContainer { id, .. } => host.stop_container(id),
        Operation::KillContainer { id, signal, .. } => host.kill_container(id, signal),
        Operation::RemoveContainer { id, .. } => host.remove_container(id),
        Operation::RemoveImage { name } => host.remove_image(name),
        Operation::WaitFor { name, condition } => {
            let outcome = host.wait(name, *condition, cancel)?;
            let service = step.service.as_deref().unwrap_or(name);
            let evidence = || host.evidence(name);
            failure::of_wait(service, name, *condition, outcome, evidence).map_or(Ok(()), Err)
        }
    }
}

struct Walk<'a> {
    plan: &'a Plan,
    progress: Vec<Progress>,
    /// Tasks and their last states, by what they are about: a service, a network, a volume.
    tasks: BTreeMap<String, (Task<'a>, String)>,
    reporter: &'a dyn Reporter,
    parent: Option<TaskId>,
    failures: Vec<Diagnostic>,
    /// Messages of the failures, by step.
    reasons: BTreeMap<StepId, String>,
}

impl<'a> Walk<'a> {
    /// Returns the steps that can run now.
    fn ready(&self) -> Vec<StepId> {
        let ready = |id: &StepId| {
            self.progress[*id] == Progress::Pending
                && self.plan.steps[*id].after.iter().all(|after| match self.progress[after.step] {
                    Progress::Done => true,
                    Progress::Failed | Progress::Skipped => !after.required,
                    Progress::Pending | Progress::Running => false,
                })
        };
        (0..self.plan.steps.len()).filter(ready).collect()
    }

    /// Marks what can never run. Steps are in order, so one pass reaches all.
    fn skip_unreachable(&mut self, cancelled: bool) {
        for (id, step) in self.plan.steps.iter().enumerate() {
            let blocked = step.after.iter().any(|after| {
                after.required && matches!(self.progress[after.step], Progress::Failed | Progress::Skipped)
            });
            if self.progress[id] == Progress::Pending && (blocked || cancelled) {
                self.progress[id] = Progress::Skipped;
            }
        }
    }

    fn task(&mut self, step: &Step) -> &mut (Task<'a>, String) {
        let (reporter, parent) = (self.reporter, self.parent);
        let begin = |key: &String| (Task::start(reporter, parent, key.clone()), String::new());
        self.tasks.entry(key(step)).or_insert_with_key(begin)
    }

    /// Says the state of a step's task, unless it was said just before.
    fn state(&mut self, step: &Step, state: &str) {
        let (task, last) = self.task(step);
        if last != state {
            task.state(state);
            state.clone_into(last);
        }
    }

    fn begin(&mut self, id: StepId) {
        self.progress[id] = Progress::Running;
        let step = &self.plan.steps[id];
        let state = match &step.operation {
            Operation::CreateNetwork(_) | Operation::CreateVolume(_) | Operation::CreateContainer(_) => {
                "creating"
            }
            Operation::RemoveNetwork { .. }
            | Operation::RemoveVolume { .. }
            | Operation::RemoveImage { .. }
            | Operation::RemoveContainer { .. } => "removing",
            Operation::KillContainer { .. } => "killing",
            Operation::StartContainer { .. } => "starting",
            Operation::StopContainer { .. } => "stopping",
            Operation::WaitFor { condition: Condition::Healthy, .. } => "waiting until healthy",
            Operation::WaitFor { condition: Condition::Completed, .. } => "running",
            Operation::WaitFor { condition: Condition::Started, .. } => return,
        };
        self.state(step, state);
    }

    fn end(&mut self, id: StepId, result: Result<(), Diagnostic>) {
        let step = &self.plan.steps[id];
        match result {
            Ok(()) => {
                self.progress[id] = Progress::Done;
                let state = match &step.operation {
                    Operation::CreateNetwork(_)
                    | Operation::CreateVolume(_)
                    | Operation::CreateContainer(_) => "created",
                    Operation::RemoveNetwork { .. }
                    | Operation::RemoveVolume { .. }
                    | Operation::RemoveImage { .. }
                    | Operation::RemoveContainer { .. } => "removed",
                    Operation::KillContainer { .. } => "killed",
                    Operation::StartContainer { .. } => "started",
                    Operation::StopContainer { .. } => "stopped",
                    Operation::WaitFor { condition, .. } => match condition {
                        Condition::Started => "started",
                        Condition::Healthy => "healthy",
                        Condition::Completed => "completed",
                    },
                };
                self.state(step, state);
            }
            Err(diagnostic) => {
                self.progress[id] = Progress::Failed;
                let tolerated = self.is_tolerated(id);
                let message = diagnostic.message.clone();
                self.reasons.insert(id, message.clone());
                self.state(step, "failed");
                if tolerated {
                    let mut notice = diagnostic;
                    notice.severity = coracle_report::Severity::Warning;
                    self.reporter.event(coracle_report::Event::Notice(notice));
                } else if !self.failures.iter().any(|known| known.message == message) {
                    self.failures.push(diagnostic);
                }
            }
        }
        self.say_what_waits();
        self.finish_tasks();
    }

    /// Says whether a failed wait is only there for dependents that can do without.
    fn is_tolerated(&self, id: StepId) -> bool {
        let mut dependents =
            self.plan.steps.iter().flat_map(|step| &step.after).filter(|after| after.step == id).peekable();
        matches!(self.plan.steps[id].operation, Operation::WaitFor { .. })
            && dependents.peek().is_some()
            && dependents.all(|after| !after.required)
    }

    /// Tells of each service whose next step is held up by others which these are.
    fn say_what_waits(&mut self) {
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for (id, step) in self.plan.steps.iter().enumerate() {
            let Some(service) = step.service.as_deref() else { continue };
            let next = matches!(self.progress[id], Progress::Pending | Progress::Running);
            if !next || !seen.insert(service) || self.progress[id] == Progress::Running {
                continue;
            }
            let others: BTreeSet<&str> = step
                .after
                .iter()
                .filter(|after| matches!(self.progress[after.step], Progress::Pending | Progress::Running))
                .filter_map(|after| self.plan.steps[after.step].service.as_deref())
                .filter(|other| *other != service)
                .collect();
            if !others.is_empty() {
                let text = format!("waiting for {}", others.into_iter().collect::<Vec<_>>().join(", "));
                self.state(step, &text);
            }
        }
    }

    /// Ends the tasks of which no step is left to run.
    fn finish_tasks(&mut self) {
        let open: BTreeSet<String> = self
            .plan
            .steps
            .iter()
            .zip(&self.progress)
            .filter(|(_, progress)| matches!(progress, Progress::Pending | Progress::Running))
            .map(|(step, _)| key(step))
            .collect();
        let ended: Vec<String> = self.tasks.keys().filter(|key| !open.contains(*key)).cloned().collect();
        for name in ended {
            if let Some((task, _)) = self.tasks.remove(&name) {
                task.finish(self.outcome(&name));
            }
        }
    }

    /// Ends all tasks, and tells of those that never began.
    fn finish(&mut self) {
        for (id, step) in self.plan.steps.iter().enumerate() {
            if self.progress[id] == Progress::Skipped && step.service.is_some() {
                let others_done = self.plan.steps.iter().enumerate().any(|(other, candidate)| {
                    candidate.service == step.service && self.progress[other] != Progress::Skipped
                });
                if !others_done {
                    self.task(step);
                }
            }
        }
        for (name, (task, _)) in std::mem::take(&mut self.tasks) {
            task.finish(self.outcome(&name));
        }
    }

    /// Returns the failed step that a skipped one goes back to; none when the user ended the command.
    fn root_cause(&self, id: StepId) -> Option<StepId> {
        let before = &self.plan.steps[id].after;
        before.iter().filter(|after| after.required).find_map(|after| match self.progress[after.step] {
            Progress::Failed => Some(after.step),
            Progress::Skipped => self.root_cause(after.step),
            Progress::Pending | Progress::Running | Progress::Done => None,
        })
    }

    fn outcome(&self, name: &str) -> Outcome {
        let mut outcome = Outcome::Done;
        for (id, step) in self.plan.steps.iter().enumerate().filter(|(_, step)| key(step) == name) {
            match self.progress[id] {
                Progress::Done => {}
                Progress::Failed => {
                    let reason = self.reasons.get(&id).cloned();
                    return Outcome::Failed(reason.unwrap_or_else(|| step.operation.to_string()));
                }
                Progress::Pending | Progress::Running | Progress::Skipped => {
                    let culprit = self.root_cause(id).map(|id| key(&self.plan.steps[id]));
                    if outcome == Outcome::Done {
                        let text =
                            culprit.map_or_else(|| "interrupted".to_owned(), |it| format!("{it} failed"));
                        outcome = Outcome::Skipped(text);
                    }
                }
            }
        }
        outcome
    }
}

/// Returns what a step is about: the label of its task.
fn key(step: &Step) -> String {
    match (&step.service, &step.operation) {
        (Some(service), _) => service.clone(),
        (None, Operation::CreateNetwork(network)) => format!("network {}", network.name),
        (None, Operation::RemoveNetwork { name }) => format!("network {name}"),
        (None, Operation::CreateVolume(volume)) => format!("volume {}", volume.name),
        (None, Operation::RemoveVolume { name }) => format!("volume {name}"),
        (None, Operation::RemoveImage { name }) => format!("image {name}"),
        (None, operation) => operation.to_string(),
    }
}
