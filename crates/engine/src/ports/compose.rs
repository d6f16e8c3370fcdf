//! The host as projects are brought up on it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use coracle_compose::{Condition, DesiredNetwork, DesiredVolume, Evidence, Host, RESTART_LIMIT, WaitOutcome};
use coracle_container::{ContainerId, ContainerSpec, ContainerState, HealthStatus};
use coracle_fault::Point;
use coracle_report::Diagnostic;

use crate::failure::pass;
use crate::networks::{Ipv6Request, NetworkRequest};
use crate::{ContainerView, Engine, Pull, Result};

/// Lines of a log that show why a container failed.
const EVIDENCE_LINES: usize = 20;
/// How often a state is looked at while waiting.
const PATIENCE: Duration = Duration::from_millis(50);

/// An engine with a project's scope.
pub struct ProjectHost<'a> {
    engine: &'a Engine,
    project: &'a str,
    /// How long one wait may take.
    timeout: Duration,
    /// Seconds until a stopping container is killed; `None` is each one's own.
    grace: Option<u64>,
    /// Whether logs of containers that go stay readable.
    keeps_logs: bool,
    /// Whether the machine goes down, so that what is stopped was not stopped by a user.
    leaving: bool,
    /// Who is told of each container that starts, before it does.
    starting: Option<&'a (dyn Fn(&ContainerView) + Sync)>,
}

impl<'a> ProjectHost<'a> {
    /// Returns the host for `project`.
    pub fn new(engine: &'a Engine, project: &'a str, timeout: Duration) -> Self {
        Self { engine, project, timeout, grace: None, keeps_logs: false, leaving: false, starting: None }
    }

    /// Sets how long a stopping container is waited for.
    pub fn stopping(mut self, seconds: Option<u64>) -> Self {
        self.grace = seconds;
        self
    }

    /// Says that containers go because others take their place: their logs stay readable.
    pub fn keeping_logs(mut self) -> Self {
        self.keeps_logs = true;
        self
    }

    /// Says that the machine goes down: what is stopped may come back with it.
    pub fn leaving(mut self) -> Self {
        self.leaving = true;
        self
    }

    /// Sets who is told of each container that starts, before it does.
    pub fn telling(mut self, starting: &'a (dyn Fn(&ContainerView) + Sync)) -> Self {
        self.starting = Some(starting);
        self
    }

    fn find(&self, name: &str) -> Result<ContainerView> {
        self.engine.containers().find(name)
    }
}

/// Returns a failure as the one diagnostic that a port speaks in.
pub(crate) fn told<T>(result: Result<T>) -> std::result::Result<T, Diagnostic> {
    result.map_err(|failure| {
        let mut all = failure.diagnostics.into_iter();
        let mut first =
            all.next().unwrap_or_else(|| Diagnostic::error("internal", "a failure without a reason"));
        for other in all {
            first.notes.push(other.to_string());
            first.hints.extend(other.hints);
        }
        first
    })
}

fn unless_gone(result: Result<()>, code: &str) -> Result<()> {
    match result {
        Err(failure) if failure.first().code == code => Ok(()),
        result => result,
    }
}

impl Host for ProjectHost<'_> {
    fn create_network(&self, network: &DesiredNetwork) -> std::result::Result<(), Diagnostic> {
        let request = NetworkRequest {
            name: network.name.clone(),
            subnet: network.subnet.clone(),
            gateway: network.gateway,
            range: network.range.clone(),
            reserved: network.reserved.clone(),
            ipv6: network
                .ipv6
                .as_ref()
                .map(|wanted| Ipv6Request { subnet: wanted.subnet.clone(), gateway: wanted.gateway }),
            internal: network.internal,
            driver_options: network.driver_options.clone(),
            labels: network.labels.clone(),
        };
        told(self.engine.networks().create_in(request, self.project).map(drop))
    }

    fn remove_network(&self, name: &str) -> std::result::Result<(), Diagnostic> {
        told(unless_gone(self.engine.networks().remove(name), "no-such-network"))
    }

    fn create_volume(&self, volume: &DesiredVolume) -> std::result::Result<(), Diagnostic> {
        let (name, labels, options) = (volume.name.clone(), volume.labels.clone(), volume.options.clone());
        let made = self.engine.volumes().create_with(Some(name), labels, options).map(drop);
        told(made).map_err(|mut diagnostic| {
            diagnostic.span = diagnostic.span.or_else(|| volume.span.clone());
            diagnostic
        })
    }

    fn remove_volume(&self, name: &str) -> std::result::Result<(), Diagnostic> {
        told(unless_gone(self.engine.volumes().remove(name), "no-such-volume"))
    }

    fn create_container(&self, spec: &ContainerSpec) -> std::result::Result<(), Diagnostic> {
        let mut spec = spec.clone();
        self.project.clone_into(&mut spec.scope);
        // By id: the image's name may have moved on since the plan was made.
        let image = told(self.engine.images().ensure(&spec.image_id.to_string(), Pull::Never, None))?;
        told(self.engine.containers().create_from(spec, &image).and_then(|_| pass(Point::UpCreated)))
    }

    fn start_container(&self, name: &str) -> std::result::Result<(), Diagnostic> {
        let view = told(self.find(name))?;
        if let Some(starting) = self.starting {
            starting(&view);
        }
        let (id, containers) = (&view.record.id, self.engine.containers());
        let started = containers.start(id).and_then(|()| pass(Point::UpStarted));
        told(started.and_then(|()| containers.after_start(id)))
    }

    fn stop_container(&self, id: &ContainerId) -> std::result::Result<(), Diagnostic> {
        let containers = self.engine.containers();
        let stopped = containers
            .before_stop(id)
            .and_then(|()| if self.leaving { containers.leave(id) } else { containers.stop(id, self.grace) });
        told(unless_gone(stopped, "no-such-container").and_then(|()| pass(Point::DownStopped)))
    }

    fn kill_container(&self, id: &ContainerId, signal: &str) -> std::result::Result<(), Diagnostic> {
        let killed = self.engine.containers().kill(id, signal);
        told(unless_gone(unless_gone(killed, "not-running"), "no-such-container"))
    }

    fn remove_image(&self, name: &str) -> std::result::Result<(), Diagnostic> {
        let removed = self.engine.images().remove(name, false).map(drop);
        told(match removed {
            Err(failure) if failure.first().code == "image-in-use" => {
                let mut notice = failure.first().clone();
                notice.severity = coracle_report::Severity::Warning;
                self.engine.reporter.event(coracle_report::Event::Notice(notice));
                Ok(())
            }
            result => unless_gone(result, "no-such-image"),
        })
    }

    fn remove_container(&self, id: &ContainerId) -> std::result::Result<(), Diagnostic> {
        let containers = self.engine.containers();
        let removed =
            if self.keeps_logs { containers.replace(id) } else { containers.remove(id, true, true) };
        told(unless_gone(removed, "no-such-container").and_then(|()| pass(Point::DownRemoved)))
    }

    fn wait(
        &self,
        name: &str,
        condition: Condition,
        cancel: &AtomicBool,
    ) -> std::result::Result<WaitOutcome, Diagnostic> {
        let deadline = Instant::now() + self.timeout;
        let id = told(self.find(name))?.record.id;
        loop {
            if cancel.load(Ordering::Relaxed) {
                return Ok(WaitOutcome::Cancelled);
            }
            let state = told(self.engine.containers().state(&id))?;
            if let Some(outcome) = verdict(&state, condition) {
                return Ok(outcome);
            }
            if Instant::now() > deadline {
                let seconds = self.timeout.as_secs();
                let message = format!("`{name}` was not {condition} within {seconds} s");
                let mut diagnostic = Diagnostic::error("wait-timeout", message);
                let evidence = self.evidence(name);
                if let Some(probe) = evidence.probe {
                    diagnostic = diagnostic.with_note(format!("last probe: {probe}"));
                }
                for line in evidence.log {
                    diagnostic = diagnostic.with_note(line);
                }
                return Err(diagnostic.with_hint("give it more time: --wait-timeout 10m"));
            }
            std::thread::sleep(PATIENCE);
        }
    }

    fn evidence(&self, name: &str) -> Evidence {
        let Ok(view) = self.find(name) else { return Evidence::default() };
        let probe = view.state.health().and_then(|health| health.log.back()).map(|probe| {
            let how = if probe.exit_code == -1 {
                "took too long or could not be run".to_owned()
            } else {
                format!("exit code {}", probe.exit_code)
            };
            format!("{how}: {}", probe.output.trim_end())
        });
        Evidence { log: self.engine.containers().last_lines(&view.record.id, EVIDENCE_LINES), probe }
    }
}

/// Decides whether a wait is over.
fn verdict(state: &ContainerState, condition: Condition) -> Option<WaitOutcome> {
    match state {
        ContainerState::Created => None,
        ContainerState::Running { health, restarts, .. } => match condition {
            Condition::Started => Some(WaitOutcome::Met),
            Condition::Healthy => match health.as_ref().map(|health| health.status) {
                // Without a health check there is nothing to wait for but its running.
                None | Some(HealthStatus::Healthy) => Some(WaitOutcome::Met),
                Some(HealthStatus::Unhealthy) => Some(WaitOutcome::Unhealthy),
                Some(HealthStatus::Starting) if *restarts >= RESTART_LIMIT => {
                    Some(WaitOutcome::Restarting { code: 1 })
                }
                Some(HealthStatus::Starting) => None,
            },
            Condition::Completed if *restarts >= RESTART_LIMIT => Some(WaitOutcome::Restarting { code: 1 }),
            Condition::Completed => None,
        },
        ContainerState::Paused { .. } => Some(WaitOutcome::Paused),
        ContainerState::Restarting { code, restarts, .. } => {
            (*restarts >= RESTART_LIMIT).then_some(WaitOutcome::Restarting { code: *code })
        }
        ContainerState::Exited { code: 0, .. } if condition != Condition::Healthy => Some(WaitOutcome::Met),
        ContainerState::Exited { code, out_of_memory, .. } => {
            Some(WaitOutcome::Exited { code: *code, out_of_memory: *out_of_memory })
        }
    }
}
