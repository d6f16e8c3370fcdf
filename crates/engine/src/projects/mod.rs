//! Projects: what the compose files of an environment describe, brought up and taken down.

mod attached;
mod build;
mod config;
mod control;
mod down;
mod environments;
mod files;
mod images;
mod listing;
mod opened;
mod ports;
mod providers;
mod run;
mod secrets;
mod transfer;
mod up;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use coracle_composefile::{Loaded, Project, discover};
use coracle_report::{Diagnostic, Event};
use coracle_store::FileLock;

pub use attached::{AbortWhen, AttachEvent, AttachOptions, Interrupts};
pub use build::ServiceBuild;
pub use config::{ComposeFiles, service_hash};
pub use control::{Control, ControlOptions};
pub use down::{DownOptions, RemoveImages};
pub use environments::{
    EnvironmentView, ProjectRequest, ResolvedEnvironment, list_environments, project_request,
    resolve_environment,
};
pub use listing::ProjectSummary;
pub use opened::OpenProject;
pub use run::RunRequest;
pub use transfer::TransferOptions;
pub(crate) use up::closure;
pub use up::{BuildPolicy, ServiceUrl, UpOptions, UpReport};

use crate::containers::ContainerView;
use crate::{During, Engine, Failure, Result, near};
pub(crate) use files::DiskLoader;

/// Which project, and which of its environments.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Where to look for it; `None` is the current directory.
    pub directory: Option<PathBuf>,
    /// The environment's name.
    pub environment: Option<String>,
    /// Compose files instead of those that are found by name.
    pub files: Vec<PathBuf>,
    /// The project's name instead of the one that the files give.
    pub project_name: Option<String>,
    /// Files of variables instead of `.env.ENV`.
    pub env_files: Vec<PathBuf>,
    /// Profiles to enable.
    pub profiles: Vec<String>,
}

/// A project that was read from its files.
pub struct LoadedProject {
    loaded: Loaded,
    environment: Option<String>,
    production: bool,
}

impl LoadedProject {
    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.loaded.project.name
    }

    /// Returns what the files describe.
    pub fn project(&self) -> &Project {
        &self.loaded.project
    }

    pub(crate) fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// Returns the environment it was loaded for.
    pub fn environment(&self) -> Option<&str> {
        self.environment.as_deref()
    }

    /// Says whether people depend on the environment: `coracle.toml` says so, or its name does.
    pub fn is_production(&self) -> bool {
        self.production
    }

    /// Returns the resolved project as JSON, as far as it is public: contents of secrets are not in it.
    pub fn to_json(&self) -> Result<serde_json::Value> {
        Ok(config::render(&self.loaded.project))
    }

    /// Returns the names of its services.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        self.loaded.project.services.keys().map(String::as_str)
    }

    /// Refuses service names that it does not have.
    pub fn check_services(&self, names: &[String]) -> Result<()> {
        for name in names {
            if self.loaded.project.services.contains_key(name) {
                continue;
            }
            let known: Vec<&str> = self.services().collect();
            let message = format!("project `{}` has no service `{name}`", self.name());
            let mut diagnostic = Diagnostic::error("unknown-service", message);
            if self.loaded.project.inactive_services.contains_key(name) {
                diagnostic =
                    diagnostic.with_hint(format!("`{name}` belongs to a profile: enable it with --profile"));
            } else if let Some(near) = near::nearest(name, known.iter().copied()) {
                diagnostic = diagnostic.with_hint(format!("did you mean `{near}`?"));
            }
            return Err(Failure::user(diagnostic.with_note(format!("services: {}", known.join(", ")))));
        }
        Ok(())
    }
}

/// The projects of an engine.
#[derive(Clone, Copy)]
pub struct Projects<'a> {
    pub(crate) engine: &'a Engine,
}

impl Projects<'_> {
    /// Returns the names of the environments that the project here has files for; none when there is no project.
    pub fn environments(&self, directory: Option<&Path>) -> Result<Vec<String>> {
        environments(directory)
    }

    /// Reads a project. Warnings are reported as notices.
    pub fn load(&self, selection: &Selection) -> Result<LoadedProject> {
        let project = read_project(selection, &self.engine.environment)?;
        for warning in &project.loaded.warnings {
            self.engine.reporter.event(Event::Notice(warning.clone()));
        }
        Ok(project)
    }

    /// Returns the containers of these services (of all when none is named), in the order of the files.
    pub fn containers(&self, project: &LoadedProject, services: &[String]) -> Result<Vec<ContainerView>> {
        project.check_services(services)?;
        let order: Vec<&str> = project.services().collect();
        let mut views = self.engine.containers().list()?;
        views.retain(|view| {
            view.project() == Some(project.name())
                && (services.is_empty() || services.iter().any(|name| view.service() == Some(name)))
        });
        let place = |view: &ContainerView| order.iter().position(|name| view.service() == Some(name));
        views.sort_by(|a, b| {
            (place(a).unwrap_or(usize::MAX), &a.record.spec.name)
                .cmp(&(place(b).unwrap_or(usize::MAX), &b.record.spec.name))
        });
        Ok(views)
    }

    /// Returns a running container of a service.
    pub fn container_of(&self, project: &LoadedProject, service: &str) -> Result<ContainerView> {
        let views = self.containers(project, &[service.to_owned()])?;
        views.into_iter().find(|view| view.state.is_running()).ok_or_else(|| {
            let message = format!("service `{service}` of project `{}` is not running", project.name());
            let words = project.environment().map_or_else(String::new, |name| format!(" {name}"));
            Failure::user(Diagnostic::error("not-running", message).with_hint(format!("coracle up{words}")))
        })
    }

    /// Takes the project's lock, so that two commands that change it follow one another.
    pub(crate) fn lock(&self, name: &str) -> Result<FileLock> {
        let path = self.engine.layout.project_lock(name);
        if let Some(lock) = FileLock::try_exclusive(&path).during("locking the project")? {
            return Ok(lock);
        }
        let holder = FileLock::holder(&path).map_or_else(String::new, |pid| format!(" (process {pid})"));
        let message = format!("another command{holder} is changing project `{name}`: waiting for it");
        self.engine.reporter.event(Event::Notice(Diagnostic::note("project-locked", message)));
        FileLock::exclusive(&path).during("locking the project")
    }
}

/// Returns the names of the environments that the project in a directory, or here, has files for.
pub fn environments(directory: Option<&Path>) -> Result<Vec<String>> {
    let directory = absolute(directory)?;
    Ok(discover(&directory, None, &DiskLoader).map(|found| found.environments).unwrap_or_default())
}

/// Reads a project; `environment` are the caller's variables.
pub(crate) fn read_project(
    selection: &Selection,
    environment: &BTreeMap<String, String>,
) -> Result<LoadedProject> {
    let ResolvedEnvironment { loaded, request } = resolve_environment(selection, environment)?;
    Ok(LoadedProject { loaded, environment: request.environment, production: request.production })
}

/// Returns a directory as an absolute path.
fn absolute(directory: Option<&Path>) -> Result<PathBuf> {
    let here = std::env::current_dir().during("looking for the current directory")?;
    let Some(directory) = directory else { return Ok(here) };
    let path = here.join(directory);
    if path.is_dir() {
        return path.canonicalize().during("looking for the project's directory");
    }
    let message = format!("project directory {} does not exist", directory.display());
    Err(Failure::user(Diagnostic::error("no-project-directory", message)))
}
