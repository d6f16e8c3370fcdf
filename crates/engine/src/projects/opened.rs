//! A project as `coracle compose` finds it: by its files as Docker Compose does, or by its name alone.
//!
//! Commands on what is there (`ps`, `logs`, `stop`, `down`, ...) need no files when the name is given; those that make
//! something do.

use std::cell::RefCell;
use std::io;
use std::path::Path;

use coracle_compose::unknown_service;
use coracle_composefile::{CommandLine, LoadRequest, Loader, locate};
use coracle_report::{Diagnostic, Event};

use super::{ComposeFiles, DiskLoader, LoadedProject, Projects};
use crate::{ContainerView, During, Failure, Result};

/// A project whose files may be missing.
pub struct OpenProject {
    name: String,
    loaded: Option<LoadedProject>,
}

impl OpenProject {
    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what the files describe; `None` when only the name is known.
    pub fn loaded(&self) -> Option<&LoadedProject> {
        self.loaded.as_ref()
    }

    /// Returns whether its files name a service; without files every service may be its own.
    pub fn names(&self, service: &str) -> bool {
        self.loaded.as_ref().is_none_or(|loaded| {
            let project = loaded.project();
            project.services.contains_key(service) || project.inactive_services.contains_key(service)
        })
    }
}

/// Reads the disk, and standard input once however often it is asked for.
#[derive(Default)]
struct Remembering(RefCell<Option<String>>);

impl Loader for Remembering {
    fn read(&self, path: &Path) -> io::Result<String> {
        if path != Path::new("-") {
            return DiskLoader.read(path);
        }
        if let Some(text) = &*self.0.borrow() {
            return Ok(text.clone());
        }
        let text = DiskLoader.read(path)?;
        *self.0.borrow_mut() = Some(text.clone());
        Ok(text)
    }

    fn exists(&self, path: &Path) -> bool {
        DiskLoader.exists(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        DiskLoader.list(path)
    }
}

impl Projects<'_> {
    /// Opens a project. `asked` are services that the command names: their profiles count as enabled.
    pub fn open(&self, files: &ComposeFiles, asked: &[String]) -> Result<OpenProject> {
        let loader = Remembering::default();
        let line = CommandLine {
            files: files.files.clone(),
            project_name: files.project_name.clone(),
            profiles: files.profiles.clone(),
            env_files: files.env_files.clone(),
            project_directory: files.project_directory.clone(),
            here: std::env::current_dir().during("looking for the current directory")?,
            process: files.environment.clone().into_iter().collect(),
        };
        let mut request = match locate(&line, &loader) {
            Ok(request) => request,
            Err(error) if error.code == "no-compose-file" => {
                let named = files.environment.get("COMPOSE_PROJECT_NAME");
                return match files.project_name.as_ref().or(named).filter(|name| !name.is_empty()) {
                    Some(name) => Ok(OpenProject { name: checked(name)?, loaded: None }),
                    None => Err(error.into()),
                };
            }
            Err(error) => return Err(error.into()),
        };
        let mut loaded = load(&request, &loader)?;
        let profiles: Vec<String> = asked
            .iter()
            .filter_map(|name| loaded.project().inactive_services.get(name))
            .flat_map(|service| service.profiles.clone())
            .collect();
        if !profiles.is_empty() {
            if request.profiles.is_empty() {
                let named = request.environment.get("COMPOSE_PROFILES").cloned().unwrap_or_default();
                request.profiles.extend(named.split(',').map(str::to_owned).filter(|name| !name.is_empty()));
            }
            request.profiles.extend(profiles);
            loaded = load(&request, &loader)?;
        }
        Ok(OpenProject { name: loaded.name().to_owned(), loaded: Some(loaded) })
    }

    /// Returns a project's files for a command that makes something of them, and says what its author should know.
    pub fn files<'p>(&self, project: &'p OpenProject) -> Result<&'p LoadedProject> {
        let Some(loaded) = &project.loaded else {
            let message = format!("project `{}` has no compose file here", project.name);
            return Err(Failure::user(
                Diagnostic::error("no-compose-file", message)
                    .with_hint("go to the project's directory, or name the file with `-f FILE`"),
            ));
        };
        for warning in &loaded.loaded.warnings {
            self.engine.reporter.event(Event::Notice(warning.clone()));
        }
        Ok(loaded)
    }

    /// Refuses names of services that the project has neither in its files nor on the host.
    pub fn check_services_of(&self, project: &OpenProject, names: &[String]) -> Result<()> {
        if let Some(loaded) = &project.loaded {
            return loaded.check_services(names);
        }
        let views = self.containers_of(project)?;
        let known: Vec<&str> = views.iter().filter_map(ContainerView::service).collect();
        match names.iter().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(unknown_service(name, known.into_iter()).into()),
            None => Ok(()),
        }
    }

    /// Returns all containers of a project by name, those of one-time runs and orphans too.
    pub fn containers_of(&self, project: &OpenProject) -> Result<Vec<ContainerView>> {
        let mut views = self.engine.containers().list()?;
        views.retain(|view| view.project() == Some(&project.name));
        views.sort_by(|a, b| a.record.spec.name.cmp(&b.record.spec.name));
        Ok(views)
    }

    /// Returns the containers of these services (all when none is named) by name, without those of one-time runs.
    pub fn service_containers(
        &self,
        project: &OpenProject,
        services: &[String],
    ) -> Result<Vec<ContainerView>> {
        self.check_services_of(project, services)?;
        let mut views = self.containers_of(project)?;
        let named = |view: &ContainerView| {
            services.is_empty() || services.iter().any(|name| view.service() == Some(name))
        };
        views.retain(|view| !view.is_one_off() && named(view));
        Ok(views)
    }

    /// Returns a service's container that runs: the one of this number, or the first.
    pub fn running_container(
        &self,
        project: &OpenProject,
        service: &str,
        index: Option<u32>,
    ) -> Result<ContainerView> {
        let mut views = self.service_containers(project, &[service.to_owned()])?;
        views.sort_by_key(ContainerView::number);
        if let Some(index) = index {
            views.retain(|view| view.number() == index);
        }
        views.into_iter().find(|view| view.state.is_running()).ok_or_else(|| {
            let message = match index {
                Some(index) => format!("service `{service}` has no running container of number {index}"),
                None => format!("service `{service}` is not running"),
            };
            let hint = format!("coracle compose up -d {service}");
            Failure::user(Diagnostic::error("not-running", message).with_hint(hint))
        })
    }
}

fn load(request: &LoadRequest, loader: &Remembering) -> Result<LoadedProject> {
    let loaded = coracle_composefile::load(request, loader).map_err(Failure::findings)?;
    Ok(LoadedProject { loaded, environment: None, production: false })
}

fn checked(name: &str) -> Result<String> {
    let mut characters = name.chars();
    let first = characters.next().is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    if first && characters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c)) {
        return Ok(name.to_owned());
    }
    let message = format!("`{name}` is no project name: lower-case letters, digits, `_` and `-`");
    Err(Failure::user(Diagnostic::error("project-name", message)))
}
