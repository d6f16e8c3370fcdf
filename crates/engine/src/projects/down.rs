//! Taking a project down: containers, networks and, when asked, volumes and images. Nothing of it stays behind.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use coracle_compose::{Orphans, Volumes, down, execute};
use coracle_composefile::Project;
use coracle_fault::Point;
use coracle_report::{Diagnostic, Event};

use super::{LoadedProject, OpenProject, Projects};
use crate::failure::pass;
use crate::ports::compose::ProjectHost;
use crate::{During, Failure, Result};

/// Which images of services go with a project.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RemoveImages {
    /// None.
    #[default]
    None,
    /// Those that are built and have no name of their own.
    Local,
    /// All.
    All,
}

/// What a user may say about a `down`.
#[derive(Clone, Debug, Default)]
pub struct DownOptions {
    /// Only containers of these services; none means the whole project.
    pub services: Vec<String>,
    /// Remove named volumes: their data is lost.
    pub volumes: bool,
    /// Remove images of services.
    pub images: RemoveImages,
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
        loaded.check_services(&options.services)?;
        self.down_by(loaded.name(), Some(loaded.project()), options, cancel)
    }

    /// As [`Self::down`], also for a project of which only the name is known.
    pub fn down_open(
        &self,
        project: &OpenProject,
        options: &DownOptions,
        cancel: &AtomicBool,
    ) -> Result<String> {
        self.check_services_of(project, &options.services)?;
        self.down_by(project.name(), project.loaded().map(LoadedProject::project), options, cancel)
    }

    fn down_by(
        &self,
        name: &str,
        project: Option<&Project>,
        options: &DownOptions,
        cancel: &AtomicBool,
    ) -> Result<String> {
        let lock = if options.dry_run { None } else { Some(self.lock(name)?) };
        pass(Point::DownLocked)?;
        let observed = self.observe(name)?;
        let known = project.map(|project| {
            project.services.keys().chain(project.inactive_services.keys()).cloned().collect()
        });
        let choices = coracle_compose::DownOptions {
            services: options.services.clone(),
            images: project
                .map_or_else(|| Ok(Vec::new()), |project| self.images_to_remove(project, options))?,
            volumes: if options.volumes { Volumes::Removed } else { Volumes::Kept },
            orphans: if options.remove_orphans { Orphans::Removed } else { Orphans::Kept },
            known_services: known,
        };
        let plan = down(name, &observed, &choices);
        if !plan.orphans.is_empty() && options.services.is_empty() {
            let message =
                format!("left alone, because no file names them any more: {}", plan.orphans.join(", "));
            self.engine.reporter.event(Event::Notice(
                Diagnostic::warning("orphans", message).with_hint("remove them with --remove-orphans"),
            ));
        }
        let text = plan.to_string();
        let Some(lock) = lock else { return Ok(text) };
        let host = ProjectHost::new(self.engine, name, Duration::from_mins(1)).stopping(options.timeout);
        execute(&plan, &host, &*self.engine.reporter, None, cancel).map_err(Failure::findings)?;
        self.engine.containers().drop_kept_logs(name, &options.services)?;
        if let Some(project) = project.filter(|_| options.services.is_empty()) {
            self.withdraw(project, cancel)?;
        }
        pass(Point::DownExecuted)?;
        if plan.orphans.is_empty() && options.services.is_empty() {
            // Holds generated files; the next `up` makes it again. The lock's file goes last.
            let directory = self.engine.layout.project(name);
            let _ = std::fs::remove_dir_all(directory.join("files"));
            lock.remove().during("removing the project's lock")?;
            let _ = std::fs::remove_dir(directory);
        }
        Ok(text)
    }

    /// Returns the names of images that go too, each once; what is not there is none of them.
    fn images_to_remove(&self, project: &Project, options: &DownOptions) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for service in project.services.values() {
            let goes = match options.images {
                RemoveImages::None => false,
                RemoveImages::Local => service.build.is_some() && service.image_span.is_none(),
                RemoveImages::All => true,
            };
            let named = options.services.is_empty() || options.services.contains(&service.name);
            let name = service.image.familiar();
            if goes
                && named
                && !names.contains(&name)
                && self.engine.images().stored(&service.image, &name)?.is_some()
            {
                names.push(name);
            }
        }
        Ok(names)
    }
}
