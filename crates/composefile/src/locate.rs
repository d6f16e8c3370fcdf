//! Which files `docker compose` reads for a command line, and with which variables.
//!
//! The order of precedence is Docker Compose's: the process's environment, then `--env-file` or `.env`; `-f`, then
//! `COMPOSE_FILE`, then the files that are found by name in the project's directory or the nearest above it.

use std::path::{Path, PathBuf};

use coracle_report::Diagnostic;
use indexmap::IndexMap;

use crate::Loader;
use crate::canonical::clean;
use crate::load::{LoadRequest, combine_environment};

/// Names of a project's file, in order of preference.
const NAMES: &[&str] = &["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
/// Names of the file that is laid over it.
const OVERRIDES: &[&str] = &[
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

/// What the user wrote before the command's name, and where.
#[derive(Clone, Debug, Default)]
pub struct CommandLine {
    /// `-f`; `-` is standard input.
    pub files: Vec<PathBuf>,
    /// `-p`.
    pub project_name: Option<String>,
    /// `--profile`.
    pub profiles: Vec<String>,
    /// `--env-file`.
    pub env_files: Vec<PathBuf>,
    /// `--project-directory`.
    pub project_directory: Option<PathBuf>,
    /// The current directory.
    pub here: PathBuf,
    /// The process's environment.
    pub process: IndexMap<String, String>,
}

/// Returns what is to be loaded.
pub fn locate(line: &CommandLine, loader: &dyn Loader) -> Result<LoadRequest, Diagnostic> {
    let mut environment = line.process.clone();
    let here = line.here.to_string_lossy().into_owned();
    environment.entry("PWD".to_owned()).or_insert(here);
    let absolute =
        |path: &Path| if path == Path::new("-") { path.to_owned() } else { clean(&line.here.join(path)) };
    let mut files: Vec<PathBuf> = line.files.iter().map(|file| absolute(file)).collect();
    let directory_of = |files: &[PathBuf]| match (
        &line.project_directory,
        files.iter().find(|file| *file != Path::new("-")),
    ) {
        (Some(directory), _) => absolute(directory),
        (None, Some(file)) => file.parent().unwrap_or(file).to_owned(),
        (None, None) => line.here.clone(),
    };
    add_env_files(line, &directory_of(&files), &mut environment, loader)?;
    if files.is_empty()
        && let Some(named) = environment.get("COMPOSE_FILE")
    {
        let separator = environment.get("COMPOSE_PATH_SEPARATOR").filter(|separator| !separator.is_empty());
        let names = named.split(separator.map_or(":", String::as_str));
        files = names.map(|name| absolute(Path::new(name))).collect();
        if let Some(missing) = files.iter().find(|file| *file != Path::new("-") && !loader.exists(file)) {
            let message = format!("COMPOSE_FILE names {}, which does not exist", missing.display());
            return Err(Diagnostic::error("compose-file", message));
        }
    }
    if files.is_empty() {
        files = default_files(&directory_of(&files), loader)?;
    }
    let directory = directory_of(&files);
    add_env_files(line, &directory, &mut environment, loader)?;
    Ok(LoadRequest {
        files,
        project_directory: directory,
        environment,
        profiles: line.profiles.clone(),
        project_name: line.project_name.clone().filter(|name| !name.is_empty()),
        environment_name: None,
    })
}

/// Adds the variables of the env files that are asked for, or of the directory's `.env`, below those there are.
fn add_env_files(
    line: &CommandLine,
    directory: &Path,
    environment: &mut IndexMap<String, String>,
    loader: &dyn Loader,
) -> Result<(), Diagnostic> {
    let files: Vec<PathBuf> = if line.env_files.is_empty() {
        let disabled = line.process.get("COMPOSE_DISABLE_ENV_FILE").map(String::as_str);
        let disabled = matches!(disabled, Some("1" | "t" | "T" | "true" | "TRUE" | "True"));
        let file = directory.join(".env");
        if !disabled && loader.exists(&file) { vec![file] } else { Vec::new() }
    } else {
        line.env_files.iter().map(|file| clean(&line.here.join(file))).collect()
    };
    *environment = combine_environment(environment, &files, loader)?;
    Ok(())
}

fn default_files(start: &Path, loader: &dyn Loader) -> Result<Vec<PathBuf>, Diagnostic> {
    for directory in start.ancestors() {
        let first =
            |names: &[&str]| names.iter().map(|name| directory.join(name)).find(|file| loader.exists(file));
        if let Some(file) = first(NAMES) {
            return Ok([file].into_iter().chain(first(OVERRIDES)).collect());
        }
    }
    let message = format!("no compose file in {} or above it", start.display());
    Err(Diagnostic::error("no-compose-file", message)
        .with_note(format!("looked for {}", NAMES.join(", ")))
        .with_hint("go to the project's directory, or name the file with `-f FILE`"))
}
