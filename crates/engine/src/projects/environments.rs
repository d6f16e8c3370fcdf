//! The environments of a project: which files each is made of, where its values come from, and what runs of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use coracle_composefile::{
    LoadRequest, Loaded, VariableSources, combine_environment_with_origins, discover, is_production_name,
    load_with_provenance,
};
use coracle_report::Diagnostic;
use indexmap::IndexMap;

use super::{DiskLoader, Selection, absolute};
use crate::{During, Engine, Failure, Result};

/// What an environment is read from, before it is read.
#[derive(Clone, Debug)]
pub struct ProjectRequest {
    /// The files, the variables and all else that decides what the project is.
    pub load: LoadRequest,
    /// Where the variables come from.
    pub variables: VariableSources,
    /// Files of variables that were read, the last is strongest.
    pub env_files: Vec<PathBuf>,
    /// The environment's name.
    pub environment: Option<String>,
    /// Whether people depend on it: `coracle.toml` says so, or its name does.
    pub production: bool,
    /// The `coracle.toml` that was read.
    pub settings: Option<PathBuf>,
}

/// An environment whose every value knows where it comes from.
#[derive(Debug)]
pub struct ResolvedEnvironment {
    /// The project, its tree and its files.
    pub loaded: Loaded,
    /// What it was read from. Its variables' sources are in `loaded`.
    pub request: ProjectRequest,
}

/// One environment in a listing.
#[derive(Debug)]
pub struct EnvironmentView {
    /// Its name; `None` is what commands use when none is given.
    pub name: Option<String>,
    /// Compose files, lowest precedence first; none when they cannot be told.
    pub files: Vec<PathBuf>,
    /// Files of variables.
    pub env_files: Vec<PathBuf>,
    /// Whether people depend on it.
    pub production: bool,
    /// The project's name and the number of its services, or why it cannot be read.
    pub project: std::result::Result<(String, usize), Vec<Diagnostic>>,
    /// Containers that run.
    pub running: usize,
}

/// Finds what an environment is read from; `environment` are the caller's variables.
pub fn project_request(
    selection: &Selection,
    environment: &BTreeMap<String, String>,
) -> Result<ProjectRequest> {
    let start = absolute(selection.directory.as_deref())?;
    let here = std::env::current_dir().during("looking for the current directory")?;
    let chosen = selection.environment.clone();
    let mut request = ProjectRequest {
        load: LoadRequest::default(),
        variables: VariableSources::default(),
        env_files: Vec::new(),
        production: chosen.as_deref().is_some_and(is_production_name),
        environment: chosen,
        settings: None,
    };
    let mut profiles = Vec::new();
    if selection.files.is_empty() {
        let found =
            discover(&start, request.environment.as_deref(), &DiskLoader).map_err(Failure::findings)?;
        request.load.files = found.files;
        request.load.project_directory = found.directory;
        request.env_files = found.env_files;
        request.production = found.production;
        request.settings = found.settings;
        profiles = found.profiles;
    } else {
        let files: Vec<PathBuf> = selection.files.iter().map(|file| here.join(file)).collect();
        let directory = match &selection.directory {
            Some(_) => start,
            None => files[0].parent().unwrap_or(&start).to_owned(),
        };
        let name = request.environment.as_ref();
        let name = name.map_or_else(|| ".env".to_owned(), |name| format!(".env.{name}"));
        let env_file = directory.join(name);
        request.env_files = if env_file.is_file() { vec![env_file] } else { Vec::new() };
        request.load.files = files;
        request.load.project_directory = directory;
    }
    if !selection.env_files.is_empty() {
        request.env_files = selection.env_files.iter().map(|file| here.join(file)).collect();
    }
    let process: IndexMap<String, String> =
        environment.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let (variables, sources) = combine_environment_with_origins(&process, &request.env_files, &DiskLoader)?;
    if !profiles.is_empty() {
        // Named profiles would hide those of the variable, which are added to these.
        let asked = variables.get("COMPOSE_PROFILES").filter(|_| selection.profiles.is_empty());
        let asked = asked.into_iter().flat_map(|names| names.split(',')).map(str::trim);
        profiles.extend(asked.filter(|name| !name.is_empty()).map(str::to_owned));
    }
    profiles.extend(selection.profiles.iter().cloned());
    request.variables = sources;
    request.load.environment = variables;
    request.load.profiles = profiles;
    request.load.project_name.clone_from(&selection.project_name);
    request.load.environment_name.clone_from(&selection.environment);
    Ok(request)
}

/// Reads an environment with the origin of every value; `environment` are the caller's variables.
pub fn resolve_environment(
    selection: &Selection,
    environment: &BTreeMap<String, String>,
) -> Result<ResolvedEnvironment> {
    let mut request = project_request(selection, environment)?;
    let sources = std::mem::take(&mut request.variables);
    let loaded = load_with_provenance(&request.load, sources, &DiskLoader)
        .map_err(|refused| Failure::findings(refused.diagnostics))?;
    Ok(ResolvedEnvironment { loaded, request })
}

/// Returns the environments of the project in a directory, or the project itself when it has none. Without an
/// engine, nothing runs.
pub fn list_environments(
    selection: &Selection,
    environment: &BTreeMap<String, String>,
    engine: Option<&Engine>,
) -> Result<Vec<EnvironmentView>> {
    let start = absolute(selection.directory.as_deref())?;
    let found = discover(&start, None, &DiskLoader).map_err(Failure::findings)?;
    let containers = engine.map(|engine| engine.containers().list()).transpose()?.unwrap_or_default();
    let names: Vec<Option<String>> = match found.environments {
        names if names.is_empty() => vec![None],
        names => names.into_iter().map(Some).collect(),
    };
    let view = |name: Option<String>| {
        let selection = Selection { environment: name.clone(), ..selection.clone() };
        let request = match project_request(&selection, environment) {
            Ok(request) => request,
            Err(failure) => {
                let project = Err(failure.diagnostics);
                let (files, env_files) = (Vec::new(), Vec::new());
                return EnvironmentView { name, files, env_files, production: false, project, running: 0 };
            }
        };
        let project = coracle_composefile::load(&request.load, &DiskLoader)
            .map(|loaded| (loaded.project.name, loaded.project.services.len()));
        let running = containers.iter().filter(|container| {
            let ours = project.as_ref().is_ok_and(|(name, _)| container.project() == Some(name));
            ours && container.state.is_running()
        });
        EnvironmentView {
            name,
            running: running.count(),
            files: request.load.files,
            env_files: request.env_files,
            production: request.production,
            project,
        }
    };
    Ok(names.into_iter().map(view).collect())
}
