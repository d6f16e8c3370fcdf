//! Which files make up a project and its environments: by the names that they have, or as `coracle.toml` says.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use coracle_report::Diagnostic;

use crate::Loader;
use crate::canonical::clean;
use crate::load::directory_of;
use crate::scalar;
use crate::settings::{self, Named, Settings};

/// Names of a project's base file, in order of preference.
const STEMS: &[&str] = &["docker-compose", "compose"];
const EXTENSIONS: &[&str] = &["yml", "yaml"];
/// A directory whose `ENV.env` are files of variables too.
const ENV_DIRECTORY: &str = "env";

/// The files of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovered {
    /// Where relative paths of values start: beside the first file, unless `coracle.toml` says otherwise.
    pub directory: PathBuf,
    /// Compose files, lowest precedence first.
    pub files: Vec<PathBuf>,
    /// Env files for interpolation, the last is strongest. By names it is one at most: `.env.ENV`, else
    /// `env/ENV.env`, else `.env`.
    pub env_files: Vec<PathBuf>,
    /// Profiles that `coracle.toml` turns on.
    pub profiles: Vec<String>,
    /// Whether people depend on the environment: as `coracle.toml` says, else by its name: see
    /// [`is_production_name`].
    pub production: bool,
    /// Names of the environments that the project has, sorted.
    pub environments: Vec<String>,
    /// The `coracle.toml` that was read.
    pub settings: Option<PathBuf>,
}

/// Finds the project of `start` or the nearest directory above it that has one.
///
/// With an environment (`dev`), `docker-compose.dev.yml` (or its kin) is laid over the base file and `.env.dev` is
/// preferred to `.env`; without one, `docker-compose.override.yml` is, as Compose does. What `coracle.toml` says wins
/// over names.
pub fn discover(
    start: &Path,
    environment: Option<&str>,
    loader: &dyn Loader,
) -> Result<Discovered, Vec<Diagnostic>> {
    let home = find_home(start, loader).map_err(|fault| vec![fault])?;
    let found = match &home.settings {
        None => Settings::default(),
        Some(path) => {
            let text = loader.read(path).map_err(|error| {
                let message = format!("cannot read {}: {error}", path.display());
                vec![Diagnostic::error("settings", message)]
            })?;
            settings::parse(path, &text)?
        }
    };
    Project { home, settings: found, loader }.resolve(environment).map_err(|fault| vec![fault])
}

/// Where a project is.
struct Home {
    directory: PathBuf,
    settings: Option<PathBuf>,
    /// The base file by its name.
    base: Option<PathBuf>,
}

struct Project<'p> {
    home: Home,
    settings: Settings,
    loader: &'p dyn Loader,
}

impl Project<'_> {
    fn resolve(&self, environment: Option<&str>) -> Result<Discovered, Diagnostic> {
        let mut files = self.existing(&self.settings.files)?;
        if files.is_empty() {
            files.push(self.home.base.clone().ok_or_else(|| self.no_files())?);
        }
        let beside = directory_of(&files[0]);
        let names = self.loader.list(&beside).unwrap_or_default();
        let home_names = if beside == self.home.directory {
            names.clone()
        } else {
            self.loader.list(&self.home.directory).unwrap_or_default()
        };
        let of_directory = self.loader.list(&self.home.directory.join(ENV_DIRECTORY)).unwrap_or_default();
        let environments = self.environments(&names, &home_names, &of_directory);
        let said = environment.and_then(|name| self.settings.environments.get(name));
        let overlay = overlay(&files[0], environment.unwrap_or("override"), &names);
        let own_env = environment.and_then(|name| {
            let plain = format!(".env.{name}");
            let below = format!("{name}.env");
            let directory = &self.home.directory;
            if names.contains(&plain) {
                Some(beside.join(plain))
            } else if home_names.contains(&plain) {
                Some(directory.join(plain))
            } else {
                of_directory.contains(&below).then(|| directory.join(ENV_DIRECTORY).join(below))
            }
        });
        if let Some(name) = environment
            && said.is_none()
            && overlay.is_none()
            && own_env.is_none()
        {
            return Err(self.unknown(name, &environments, &beside));
        }
        match said.and_then(|said| said.files.as_ref()) {
            Some(named) => files.extend(self.existing(named)?),
            // Without an environment, the files that `coracle.toml` names are all there are.
            None if environment.is_some() || self.settings.files.is_empty() => files.extend(overlay),
            None => {}
        }
        let env_files = if let Some(named) = said.and_then(|said| said.env_files.as_ref()) {
            self.existing(named)?
        } else {
            let shared = [&beside, &self.home.directory].map(|directory| directory.join(".env"));
            let shared = || shared.into_iter().find(|file| self.loader.exists(file));
            own_env.or_else(shared).into_iter().collect()
        };
        let directory = match &self.settings.directory {
            None => beside,
            Some(named) => clean(&self.home.directory.join(&named.path)),
        };
        let by_name = || environment.is_some_and(is_production_name);
        Ok(Discovered {
            directory,
            files,
            env_files,
            profiles: said.map(|said| said.profiles.clone()).unwrap_or_default(),
            production: said.and_then(|said| said.production).unwrap_or_else(by_name),
            environments,
            settings: self.home.settings.clone(),
        })
    }

    /// Returns the paths of files that must be there.
    fn existing(&self, named: &[Named]) -> Result<Vec<PathBuf>, Diagnostic> {
        let path = |named: &Named| {
            let path = clean(&self.home.directory.join(&named.path));
            if self.loader.exists(&path) {
                return Ok(path);
            }
            let message = format!("{} does not exist", named.path.display());
            Err(Diagnostic::error("no-such-file", message)
                .with_span(named.at.clone())
                .with_source_line(named.line.clone())
                .with_hint(format!("paths start at {}", self.home.directory.display())))
        };
        named.iter().map(path).collect()
    }

    fn no_files(&self) -> Diagnostic {
        let directory = self.home.directory.display();
        Diagnostic::error("no-compose-file", format!("no compose file in {directory}"))
            .with_note(format!("{} names none, and {}", settings::NAME, looked_for()))
            .with_hint("name the files: `[project]` and `files = [\"deploy/compose.yml\"]`")
    }

    /// Returns the environments that names speak of: `docker-compose.ENV.yml`, `.env.ENV`, `env/ENV.env`.
    fn environments(&self, names: &[String], home: &[String], of_directory: &[String]) -> Vec<String> {
        let of_compose = |name: &String| {
            let (rest, extension) = name.rsplit_once('.')?;
            let (stem, environment) = rest.split_once('.')?;
            let stems = STEMS.contains(&stem) && EXTENSIONS.contains(&extension);
            stems.then(|| environment.to_owned())
        };
        let of_env = |name: &String| name.strip_prefix(".env.").map(str::to_owned);
        let mut found: Vec<String> = names.iter().chain(home).filter_map(of_env).collect();
        found.extend(names.iter().filter_map(of_compose));
        found.extend(of_directory.iter().filter_map(|name| name.strip_suffix(".env").map(str::to_owned)));
        found.retain(|name| {
            let last = name.rsplit('.').next().unwrap_or(name);
            !name.is_empty()
                && !matches!(last, "override" | "example" | "sample" | "template" | "dist" | "local")
        });
        found.extend(self.settings.environments.keys().cloned());
        found.sort();
        found.dedup();
        found
    }

    fn unknown(&self, name: &str, known: &[String], beside: &Path) -> Diagnostic {
        let mut note = format!(
            "neither docker-compose.{name}.yml nor .env.{name} nor {ENV_DIRECTORY}/{name}.env is in {}",
            beside.display()
        );
        if self.home.settings.is_some() {
            let _ = write!(note, ", and {} has no `[environments.{name}]`", settings::NAME);
        }
        let diagnostic =
            Diagnostic::error("unknown-environment", format!("unknown environment `{name}`")).with_note(note);
        if known.is_empty() {
            return diagnostic.with_hint("leave the name out: this project has no environments");
        }
        let diagnostic = diagnostic.with_note(format!("environments here: {}", known.join(", ")));
        match scalar::nearest(name, known.iter().map(String::as_str)) {
            Some(near) => diagnostic.with_hint(format!("did you mean `{near}`?")),
            None => diagnostic,
        }
    }
}

/// Says whether an environment of this name is one that people depend on.
pub fn is_production_name(name: &str) -> bool {
    matches!(name, "prod" | "production" | "live") || name.starts_with("prod-") || name.ends_with("-prod")
}

/// Returns the file that is laid over `base`; the base's own spelling first: `compose.yaml` goes with
/// `compose.dev.yaml`.
fn overlay(base: &Path, chosen: &str, names: &[String]) -> Option<PathBuf> {
    let own = base.file_stem().and_then(|stem| stem.to_str()).unwrap_or(STEMS[0]);
    let stems = std::iter::once(own).chain(STEMS.iter().copied());
    stems
        .flat_map(|stem| EXTENSIONS.iter().map(move |extension| format!("{stem}.{chosen}.{extension}")))
        .find(|name| names.contains(name))
        .map(|name| directory_of(base).join(name))
}

fn find_home(start: &Path, loader: &dyn Loader) -> Result<Home, Diagnostic> {
    let mut looked = Vec::new();
    for directory in start.ancestors() {
        let names = STEMS
            .iter()
            .flat_map(|stem| EXTENSIONS.iter().map(move |extension| format!("{stem}.{extension}")));
        let base = names.map(|name| directory.join(name)).find(|path| loader.exists(path));
        let settings = Some(directory.join(settings::NAME)).filter(|path| loader.exists(path));
        if let (Some(base), None) = (&base, &settings)
            && let Some(home) = home_above(directory, base, loader)
        {
            return Ok(home);
        }
        if base.is_some() || settings.is_some() {
            return Ok(Home { directory: directory.to_owned(), settings, base });
        }
        looked.push(directory.display().to_string());
    }
    Err(Diagnostic::error("no-compose-file", format!("no compose file in {} or above it", start.display()))
        .with_note(format!("{} in {}", looked_for(), looked.join(", ")))
        .with_hint("go to the project's directory, or name the file with `-f FILE`"))
}

/// Returns the project above `directory` whose `coracle.toml` names `base` as one of its files.
fn home_above(directory: &Path, base: &Path, loader: &dyn Loader) -> Option<Home> {
    directory.ancestors().skip(1).find_map(|above| {
        let path = above.join(settings::NAME);
        // One that cannot be read may be another project's; only who works in that one must hear of it.
        let settings = settings::parse(&path, &loader.read(&path).ok()?).ok()?;
        let names = settings.files.iter().any(|named| clean(&above.join(&named.path)) == base);
        names.then(|| Home { directory: above.to_owned(), settings: Some(path), base: None })
    })
}

fn looked_for() -> &'static str {
    "looked for docker-compose.yml, docker-compose.yaml, compose.yml or compose.yaml"
}
