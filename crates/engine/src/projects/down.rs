//! Taking a project down: containers, networks and, when asked, volumes. Nothing of it stays behind.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use coracle_compose::{Orphans, Volumes, down, execute};
use coracle_report::{Diagnostic, Event};

use super::{LoadedProject, Projects};
use crate::ports::compose::ProjectHost;
use crate::{During, Failure, Result};

/// What a user may say about a `down`.
#[derive(Clone, Debug, Default)]
pub struct DownOptions {
    /// Remove named volumes: their data is lost.
    pub volumes: bool,
    /// Remove containers of services that are no more.
    pub remove_orphans: bool,
    /// Seconds until SIGKILL.
    pub timeout: Option<u64>,
    /// Only plan.
    pub dry_run: bool,
}

impl Projects<'_> {
    /// Takes a project down; returns the plan, a line a step.
    pub fn down(&self, loaded: &LoadedProject, options: &DownOptions, cancel: &AtomicBool) -> Result<String> {
        let project = loaded.project();
        let lock = self.lock(&project.name)?;
        let observed = self.observe(&project.name)?;
        let known = project.services.keys().chain(project.inactive_services.keys()).cloned().collect();
        let choices = coracle_compose::DownOptions {
            volumes: if options.volumes { Volumes::Removed } else { Volumes::Kept },
            orphans: if options.remove_orphans { Orphans::Removed } else { Orphans::Kept },
            known_services: Some(known),
        };
        let plan = down(&project.name, &observed, &choices);
        if !plan.orphans.is_empty() {
            let message =
                format!("left alone, because no file names them any more: {}", plan.orphans.join(", "));
            self.engine.reporter.event(Event::Notice(
                Diagnostic::warning("orphans", message).with_hint("remove them with --remove-orphans"),
            ));
        }
        let text = plan.to_string();
        if options.dry_run {
            return Ok(text);
        }
        let host =
            ProjectHost::new(self.engine, &project.name, Duration::from_mins(1)).stopping(options.timeout);
        execute(&plan, &host, &*self.engine.reporter, None, cancel).map_err(Failure::findings)?;
        if plan.orphans.is_empty() {
            // Holds generated files; the next `up` makes it again. The lock's file goes last.
            let directory = self.engine.layout.project(&project.name);
            let _ = std::fs::remove_dir_all(directory.join("files"));
            lock.remove().during("removing the project's lock")?;
            let _ = std::fs::remove_dir(directory);
        }
        Ok(text)
    }
}
