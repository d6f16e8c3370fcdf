//! Commands on what a project has on the host: stop, start, restart, kill, remove. They need no files.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use coracle_compose::{Plan, RemoveOptions, execute, kill, remove, restart, start, stop};

use super::{OpenProject, Projects};
use crate::ports::compose::ProjectHost;
use crate::{Failure, Result};

/// The longest wait for a dependency of a container that is started.
const WAIT: Duration = Duration::from_mins(5);

/// What is done with containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// They are asked to end.
    Stop,
    /// They are started, each when what it depends on is as it needs it.
    Start,
    /// They are stopped and started; `alone` leaves out those that asked to be restarted with them.
    Restart {
        /// Whether those are left out.
        alone: bool,
    },
    /// They get a signal.
    Kill {
        /// It, by name or number.
        signal: String,
    },
    /// They are removed.
    Remove(RemoveOptions),
}

/// How it is done.
#[derive(Clone, Copy, Debug, Default)]
pub struct ControlOptions {
    /// Seconds until SIGKILL; `None` is each container's own.
    pub timeout: Option<u64>,
    /// Only plan.
    pub dry_run: bool,
}

impl Projects<'_> {
    /// Returns what [`Self::control`] would do, a step a line.
    pub fn plan_control(
        &self,
        project: &OpenProject,
        services: &[String],
        control: &Control,
    ) -> Result<Plan> {
        self.check_services_of(project, services)?;
        let observed = self.observe(project.name())?;
        Ok(match control {
            Control::Stop => stop(&observed, services),
            Control::Start => start(&observed, services),
            Control::Restart { alone } => restart(&observed, services, *alone),
            Control::Kill { signal } => kill(&observed, services, signal),
            Control::Remove(options) => remove(&observed, services, *options),
        })
    }

    /// Does something with the containers of these services (none means all); returns what was to be done.
    pub fn control(
        &self,
        project: &OpenProject,
        services: &[String],
        control: &Control,
        options: ControlOptions,
        cancel: &AtomicBool,
    ) -> Result<Plan> {
        // Whoever kills does not wait for a command that waits.
        let lock = match control {
            Control::Kill { .. } => None,
            _ if options.dry_run => None,
            _ if self.containers_of(project)?.is_empty() => None,
            _ => Some(self.lock(project.name())?),
        };
        let plan = self.plan_control(project, services, control)?;
        if !options.dry_run && !plan.is_empty() {
            let host = ProjectHost::new(self.engine, project.name(), WAIT).stopping(options.timeout);
            execute(&plan, &host, &*self.engine.reporter, None, cancel).map_err(Failure::findings)?;
        }
        drop(lock);
        Ok(plan)
    }

    /// Removes the containers of services that no file names any more; returns the plan.
    pub fn remove_orphans(
        &self,
        project: &OpenProject,
        dry_run: bool,
        cancel: &AtomicBool,
    ) -> Result<String> {
        let mut observed = self.observe(project.name())?;
        observed.containers.retain(|container| !container.one_off && !project.names(&container.service));
        let plan = remove(&observed, &[], RemoveOptions { stop: true, volumes: false });
        if !dry_run && !plan.is_empty() {
            let _lock = self.lock(project.name())?;
            let host = ProjectHost::new(self.engine, project.name(), WAIT);
            execute(&plan, &host, &*self.engine.reporter, None, cancel).map_err(Failure::findings)?;
        }
        Ok(plan.to_string())
    }
}
