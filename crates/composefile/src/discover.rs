//! Which files make up a project, by the names that they have.

use std::path::{Path, PathBuf};

use coracle_report::Diagnostic;

use crate::Loader;
use crate::load::directory_of;
use crate::scalar;

/// Names of a project's base file, in order of preference.
const STEMS: &[&str] = &["docker-compose", "compose"];
const EXTENSIONS: &[&str] = &["yml", "yaml"];

/// The files of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovered {
    /// Where the base file is.
    pub directory: PathBuf,
    /// Compose files, lowest precedence first.
    pub files: Vec<PathBuf>,
    /// Env files for interpolation, at most one: `.env.ENV`, else `.env`.
    pub env_files: Vec<PathBuf>,
    /// Names of the environments that the directory has files for, sorted.
    pub environments: Vec<String>,
}

/// Finds the project of `start` or the nearest directory above it that has one.
///
/// With an environment (`dev`), `docker-compose.dev.yml` (or its kin) is laid over the base file and `.env.dev` is
/// preferred to `.env`; without one, `docker-compose.override.yml` is, as Compose does.
pub fn discover(
    start: &Path,
    environment: Option<&str>,
    loader: &dyn Loader,
) -> Result<Discovered, Diagnostic> {
    let base = find_base(start, loader)?;
    let directory = directory_of(&base);
    let names = loader.list(&directory).unwrap_or_default();
    let environments = environments(&names);
    let stem = base.file_stem().and_then(|stem| stem.to_str()).unwrap_or(STEMS[0]).to_owned();
    let mut files = vec![base];
    let chosen = environment.unwrap_or("override");
    // The base's own spelling first: `compose.yaml` goes with `compose.dev.yaml`.
    let stems = std::iter::once(stem.as_str()).chain(STEMS.iter().copied());
    let overlay = stems
        .flat_map(|stem| EXTENSIONS.iter().map(move |extension| format!("{stem}.{chosen}.{extension}")))
        .find(|name| names.contains(name));
    files.extend(overlay.as_ref().map(|name| directory.join(name)));
    let env_name = environment.map(|environment| format!(".env.{environment}"));
    let own_env = env_name.filter(|name| names.contains(name));
    if let Some(environment) = environment
        && overlay.is_none()
        && own_env.is_none()
    {
        return Err(unknown_environment(environment, &environments, &directory));
    }
    let env_file = own_env.or_else(|| names.contains(&".env".to_owned()).then(|| ".env".to_owned()));
    let env_files = env_file.map(|name| directory.join(name)).into_iter().collect();
    Ok(Discovered { directory, files, env_files, environments })
}

fn find_base(start: &Path, loader: &dyn Loader) -> Result<PathBuf, Diagnostic> {
    let mut looked = Vec::new();
    for directory in start.ancestors() {
        for stem in STEMS {
            for extension in EXTENSIONS {
                let path = directory.join(format!("{stem}.{extension}"));
                if loader.exists(&path) {
                    return Ok(path);
                }
            }
        }
        looked.push(directory.display().to_string());
    }
    let names = "docker-compose.yml, docker-compose.yaml, compose.yml or compose.yaml";
    Err(Diagnostic::error("no-compose-file", format!("no compose file in {} or above it", start.display()))
        .with_note(format!("looked for {names} in {}", looked.join(", ")))
        .with_hint("go to the project's directory, or name the file with `-f FILE`"))
}

/// Returns the environments that `names` speak of: `docker-compose.ENV.yml`, `.env.ENV`.
fn environments(names: &[String]) -> Vec<String> {
    let mut found: Vec<String> = names
        .iter()
        .filter_map(|name| {
            let of_compose = || {
                let (rest, extension) = name.rsplit_once('.')?;
                let (stem, environment) = rest.split_once('.')?;
                (STEMS.contains(&stem) && EXTENSIONS.contains(&extension)).then_some(environment)
            };
            name.strip_prefix(".env.").or_else(of_compose)
        })
        .filter(|name| {
            let last = name.rsplit('.').next().unwrap_or(name);
            !matches!(last, "override" | "example" | "sample" | "template" | "dist" | "local")
        })
        .map(str::to_owned)
        .collect();
    found.sort();
    found.dedup();
    found
}

fn unknown_environment(name: &str, known: &[String], directory: &Path) -> Diagnostic {
    let diagnostic = Diagnostic::error("unknown-environment", format!("unknown environment `{name}`"))
        .with_note(format!(
            "neither docker-compose.{name}.yml nor .env.{name} is in {}",
            directory.display()
        ));
    if known.is_empty() {
        return diagnostic.with_hint("leave the name out: this project has no environments");
    }
    let diagnostic = diagnostic.with_note(format!("environments here: {}", known.join(", ")));
    match scalar::nearest(name, known.iter().map(String::as_str)) {
        Some(near) => diagnostic.with_hint(format!("did you mean `{near}`?")),
        None => diagnostic,
    }
}
