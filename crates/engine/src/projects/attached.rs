//! `up` in the foreground: the logs of what was brought up, until it ends or the user wants it to.
//!
//! The project is locked while it is brought up and while it is stopped, not in between: `compose stop` and its kin work
//! meanwhile from elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, Scope};
use std::time::Duration;

use coracle_compose::{Plan, execute, stop};
use coracle_container::{ContainerId, ContainerState};
use coracle_report::Diagnostic;
use jiff::Timestamp;

use super::up::{Prepared, closure};
use super::{LoadedProject, Projects, UpOptions};
use crate::ports::compose::ProjectHost;
use crate::{ContainerView, Failure, LogLine, LogRequest, Result};

/// How often the user's wishes are looked at.
const PATIENCE: Duration = Duration::from_millis(50);
/// The exit code of a command that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// When everything is stopped because one container ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AbortWhen {
    /// Never.
    #[default]
    Never,
    /// When any ends.
    Exit,
    /// When any ends with another code than 0.
    Failure,
}

/// What a user may say about being attached.
#[derive(Clone, Debug, Default)]
pub struct AttachOptions {
    /// Services whose logs are shown; none means those that the `up` names, or all.
    pub services: Vec<String>,
    /// Services whose logs are not shown.
    pub excluded: Vec<String>,
    /// Show the logs of what the named services depend on, too.
    pub dependencies: bool,
    /// When the end of one ends all.
    pub abort: AbortWhen,
    /// The service whose exit code is returned; its end ends all.
    pub exit_code_from: Option<String>,
}

/// The user's wishes, from signals.
#[derive(Clone, Copy, Debug)]
pub struct Interrupts<'a> {
    /// Everything is to stop.
    pub stop: &'a AtomicBool,
    /// At once.
    pub kill: &'a AtomicBool,
}

/// What happens while one is attached.
#[derive(Clone, Debug)]
pub enum AttachEvent<'a> {
    /// The logs of these containers will be shown.
    Attaching(&'a [String]),
    /// A line of one.
    Line(&'a str, LogLine),
    /// It ended.
    Ended(&'a str, i32),
    /// One ended, so all are stopped.
    Aborting,
    /// The user wants all to stop.
    Stopping,
    /// The user wants all killed.
    Killing,
}

/// What the threads tell.
enum Message {
    Started(ContainerId, String, Timestamp),
    Ended(String, Option<i32>),
    /// The plan is done, or has failed.
    UpDone(Result<()>),
}

/// Why being attached ended.
enum End {
    All,
    Interrupted,
    Aborted { code: i32 },
    Failed(Failure),
}

/// What is known while one is attached.
struct Attached<'a> {
    /// The containers to be shown, by name.
    shown: BTreeSet<String>,
    /// Containers, and their services.
    services: BTreeMap<String, String>,
    /// Services that others wait for to complete: their success ends nothing.
    jobs: BTreeSet<String>,
    /// Containers that are followed now.
    running: BTreeSet<String>,
    options: &'a AttachOptions,
}

impl Projects<'_> {
    /// Brings a project up and gives what its containers print to `sink`, until all of them ended, one ended that ends
    /// all, or the user interrupts; then all are stopped. Returns the exit code.
    pub fn up_attached(
        &self,
        loaded: &LoadedProject,
        options: &UpOptions,
        attach: &AttachOptions,
        interrupts: Interrupts<'_>,
        sink: &(dyn Fn(AttachEvent<'_>) + Sync),
    ) -> Result<i32> {
        for names in [&attach.services, &attach.excluded] {
            loaded.check_services(names)?;
        }
        loaded.check_services(attach.exit_code_from.as_slice())?;
        let lock = self.lock(loaded.name())?;
        let prepared = self.prepare(loaded, options, interrupts.stop)?;
        let mut attached = Attached::of(&prepared, options, attach);
        let names: Vec<String> = attached.shown.iter().cloned().collect();
        let (cancel, let_go) = (AtomicBool::new(false), AtomicBool::new(false));
        let codes: Mutex<BTreeMap<String, i32>> = Mutex::default();
        let end = thread::scope(|scope| {
            let (sender, messages) = mpsc::channel();
            sink(AttachEvent::Attaching(&names));
            for (id, name) in kept(&prepared) {
                let _ = sender.send(Message::Started(id, name, Timestamp::now()));
            }
            let (prepared, cancel) = (&prepared, &cancel);
            let up = sender.clone();
            let executor = scope.spawn(move || {
                let told = Mutex::new(up.clone());
                let starting = |view: &ContainerView| {
                    let (id, name) = (view.record.id.clone(), view.record.spec.name.clone());
                    let told = told.lock().unwrap_or_else(PoisonError::into_inner);
                    // The receiver outlives every thread of the scope.
                    let _ = told.send(Message::Started(id, name, Timestamp::now()));
                };
                let host = self.host(loaded.name(), options).telling(&starting);
                let done = self.perform(prepared, &host, cancel);
                // Other commands may change the project from here on.
                drop(lock);
                let _ = up.send(Message::UpDone(done));
            });
            let follow = Follow { projects: *self, sink, let_go: &let_go, codes: &codes };
            let end = follow.until_the_end(scope, &sender, &messages, interrupts, &mut attached);
            if !matches!(end, End::All) {
                cancel.store(true, Ordering::Relaxed);
            }
            let _ = executor.join();
            let mut stopped = Ok(());
            if let End::Interrupted | End::Aborted { .. } = end {
                sink(if matches!(end, End::Interrupted) {
                    AttachEvent::Stopping
                } else {
                    AttachEvent::Aborting
                });
                stopped = self.stop_all(loaded, options, interrupts, sink, matches!(end, End::Interrupted));
            }
            // What was stopped has said its last; the others go on without us.
            if !matches!(end, End::Interrupted | End::Aborted { .. }) || stopped.is_err() {
                let_go.store(true, Ordering::Relaxed);
            }
            stopped.map(|()| end)
        })?;
        match end {
            End::All => Ok(0),
            End::Interrupted => Ok(INTERRUPTED),
            End::Failed(failure) => Err(failure),
            End::Aborted { code } => {
                let codes = codes.into_inner().unwrap_or_else(PoisonError::into_inner);
                let of = |service: &String| {
                    let mut codes =
                        codes.iter().filter(|(name, _)| attached.services.get(*name) == Some(service));
                    codes.find(|(_, code)| **code != 0).map(|(_, code)| *code)
                };
                Ok(attach.exit_code_from.as_ref().map_or(code, |service| of(service).unwrap_or(0)))
            }
        }
    }

    /// Stops what an attached `up` spoke of; kills it when the user interrupts again.
    fn stop_all(
        &self,
        loaded: &LoadedProject,
        options: &UpOptions,
        interrupts: Interrupts<'_>,
        sink: &(dyn Fn(AttachEvent<'_>) + Sync),
        interrupted: bool,
    ) -> Result<()> {
        let _lock = self.lock(loaded.name())?;
        let services: Vec<String> = closure(loaded.project(), options).into_iter().collect();
        let plan = stop(&self.observe(loaded.name())?, &services);
        let never = AtomicBool::new(false);
        thread::scope(|scope| {
            let host = ProjectHost::new(self.engine, loaded.name(), Duration::from_mins(1))
                .stopping(options.stop_timeout);
            let plan = &plan;
            let never = &never;
            let stopping = scope.spawn(move || execute(plan, &host, &*self.engine.reporter, None, never));
            // When all are stopped because one ended, the first Ctrl-C is the user's last word.
            let wants_kill = || {
                interrupts.kill.load(Ordering::Relaxed)
                    || !interrupted && interrupts.stop.load(Ordering::Relaxed)
            };
            let mut killed = false;
            while !stopping.is_finished() {
                if !killed && wants_kill() {
                    killed = true;
                    sink(AttachEvent::Killing);
                }
                if killed {
                    self.kill_again(plan);
                }
                thread::sleep(PATIENCE);
            }
            let stopped = stopping.join().unwrap_or_else(|_| {
                Err(vec![Diagnostic::error("internal", "stopping the project: a thread failed")])
            });
            stopped.map_err(Failure::findings)
        })
    }

    /// Kills what a plan stops and has not stopped yet.
    fn kill_again(&self, plan: &Plan) {
        for step in &plan.steps {
            if let coracle_compose::Operation::StopContainer { id, .. } = &step.operation {
                // One that has ended cannot be killed, and need not.
                let _ = self.engine.containers().kill(id, "SIGKILL");
            }
        }
    }
}

/// Returns the containers that run and that the plan leaves alone.
fn kept(prepared: &Prepared) -> Vec<(ContainerId, String)> {
    let touched = |id: &ContainerId| {
        prepared.plan.steps.iter().any(|step| {
            use coracle_compose::Operation;
            matches!(&step.operation,
                Operation::StopContainer { id: other, .. } | Operation::RemoveContainer { id: other, .. } if other == id)
        })
    };
    let wanted = prepared.wanted.services.values().flat_map(|service| &service.containers);
    let names: BTreeSet<&str> = wanted.map(|spec| spec.name.as_str()).collect();
    let containers = prepared.observed.containers.iter();
    containers
        .filter(|it| it.is_up() && names.contains(it.name.as_str()) && !touched(&it.id))
        .map(|it| (it.id.clone(), it.name.clone()))
        .collect()
}

impl<'a> Attached<'a> {
    fn of(prepared: &Prepared, options: &UpOptions, attach: &'a AttachOptions) -> Self {
        let is_shown = |service: &str, attach_by_itself: bool| {
            let named = |names: &[String]| names.iter().any(|name| name == service);
            let chosen = if attach.services.is_empty() {
                attach_by_itself
                    && (options.services.is_empty() || attach.dependencies || named(&options.services))
            } else {
                named(&attach.services)
            };
            chosen && !named(&attach.excluded)
        };
        let (mut shown, mut services, mut jobs) = (BTreeSet::new(), BTreeMap::new(), BTreeSet::new());
        for service in prepared.wanted.services.values() {
            if service.is_one_shot {
                jobs.insert(service.name.clone());
            }
            for spec in &service.containers {
                services.insert(spec.name.clone(), service.name.clone());
                if is_shown(&service.name, service.attach) {
                    shown.insert(spec.name.clone());
                }
            }
        }
        Self { shown, services, jobs, running: BTreeSet::new(), options: attach }
    }

    /// Returns the code with which all end, because a container did.
    fn ends_all(&self, name: &str, code: i32) -> Option<i32> {
        let service = self.services.get(name)?;
        if let Some(wanted) = &self.options.exit_code_from
            && wanted == service
        {
            return Some(code);
        }
        // A job that others wait for is a part of the beginning.
        let ends = match self.options.abort {
            AbortWhen::Never => false,
            AbortWhen::Exit => code != 0 || !self.jobs.contains(service),
            AbortWhen::Failure => code != 0,
        };
        (ends || self.options.exit_code_from.is_some() && !(code == 0 && self.jobs.contains(service)))
            .then_some(code)
    }
}

/// Follows logs in threads of their own.
#[derive(Clone, Copy)]
struct Follow<'a> {
    projects: Projects<'a>,
    sink: &'a (dyn Fn(AttachEvent<'_>) + Sync),
    /// Lets go of the logs.
    let_go: &'a AtomicBool,
    codes: &'a Mutex<BTreeMap<String, i32>>,
}

impl<'a> Follow<'a> {
    fn until_the_end<'s>(
        self,
        scope: &'s Scope<'s, '_>,
        sender: &Sender<Message>,
        messages: &mpsc::Receiver<Message>,
        interrupts: Interrupts<'_>,
        attached: &mut Attached<'_>,
    ) -> End
    where
        'a: 's,
    {
        let mut is_up = false;
        loop {
            match messages.recv_timeout(PATIENCE) {
                Ok(Message::Started(id, name, since)) => {
                    attached.running.insert(name.clone());
                    let shown = attached.shown.contains(&name);
                    let sender = sender.clone();
                    scope.spawn(move || self.follow(&id, &name, since, shown, &sender));
                }
                Ok(Message::Ended(name, code)) => {
                    attached.running.remove(&name);
                    if let Some(code) = code.and_then(|code| attached.ends_all(&name, code)) {
                        return End::Aborted { code };
                    }
                }
                Ok(Message::UpDone(Ok(()))) => is_up = true,
                Ok(Message::UpDone(Err(failure))) => {
                    let interrupted = interrupts.stop.load(Ordering::Relaxed);
                    return if interrupted { End::Interrupted } else { End::Failed(failure) };
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            if interrupts.stop.load(Ordering::Relaxed) {
                return End::Interrupted;
            }
            if is_up && attached.running.is_disjoint(&attached.shown) {
                return End::All;
            }
        }
    }

    /// Gives the lines of one container until it ends, then tells its end.
    fn follow(self, id: &ContainerId, name: &str, since: Timestamp, shown: bool, sender: &Sender<Message>) {
        let containers = self.projects.engine.containers();
        // Told of before it starts: until then there is nothing to follow.
        for _ in 0..600 {
            let begun = containers.state(id).map_or(true, |state| match state {
                ContainerState::Created => false,
                ContainerState::Exited { at, .. } => at >= since,
                _ => true,
            });
            if begun || self.let_go.load(Ordering::Relaxed) {
                break;
            }
            thread::sleep(PATIENCE / 5);
        }
        let request = LogRequest { follow: true, since: Some(since), ..LogRequest::default() };
        let mut give = |line| {
            if shown {
                (self.sink)(AttachEvent::Line(name, line));
            }
        };
        // A container that is removed meanwhile has no log and no end to tell.
        let _ = containers.logs(id, &request, self.let_go, &mut give);
        let code = match containers.state(id) {
            Ok(ContainerState::Exited { code, .. }) => Some(code),
            _ => None,
        };
        if let Some(code) = code {
            let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
            codes.insert(name.to_owned(), code);
            drop(codes);
            if shown {
                (self.sink)(AttachEvent::Ended(name, code));
            }
        }
        // The receiver outlives every thread of the scope.
        let _ = sender.send(Message::Ended(name.to_owned(), code));
    }
}
