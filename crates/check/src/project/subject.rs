//! What is checked.

use std::path::Path;

use coracle_composefile::{Loaded, Project, Service};

use super::{Build, Files, HostFacts, Images};

/// Everything that rules may look at. Rules are silent about what is not known.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The project's directory, absolute: where its files, scripts and documents are looked for.
    pub directory: &'a Path,
    /// The environment it was loaded for (`dev`).
    pub environment: Option<&'a str>,
    /// Whether the environment serves users: rules of production hold.
    pub production: bool,
    /// The project; `None` when Dockerfiles are checked alone.
    pub loaded: Option<&'a Loaded>,
    /// Its builds.
    pub builds: &'a [Build],
    /// Its files.
    pub files: &'a dyn Files,
    /// Images that are here.
    pub images: &'a dyn Images,
    /// The machine; `None` when it is not to be looked at.
    pub host: Option<&'a HostFacts>,
    /// Today, days since 1970-01-01: for what has an end of life.
    pub today: i64,
}

impl<'a> Subject<'a> {
    /// Returns the project.
    pub fn project(&self) -> Option<&'a Project> {
        self.loaded.map(|loaded| &loaded.project)
    }

    /// Returns the active services.
    pub fn services(&self) -> impl Iterator<Item = &'a Service> {
        self.project().into_iter().flat_map(|project| project.services.values())
    }

    /// Returns how a service is built, if it is.
    pub fn build_of(&self, service: &str) -> Option<&'a Build> {
        self.builds.iter().find(|build| build.services.iter().any(|own| own == service))
    }

    /// Says whether an environment of this name serves users.
    pub fn is_production(name: &str) -> bool {
        matches!(name, "prod" | "production" | "live") || name.starts_with("prod-") || name.ends_with("-prod")
    }
}
