//! Baking: many targets of bake files and Compose files, built together.

pub(crate) mod compose;
mod files;
pub(crate) mod options;
mod results;
mod solve;
mod sources;

use std::path::PathBuf;

use coracle_bakefile::{Definition, Selected, Target};
use coracle_oci::Platform;

use crate::builds::TargetResult;
use crate::{BuildOptions, Engine, Entitlements, Failure, Result, Stream, Together};

/// Which files define what is baked, and what the caller lays over them.
#[derive(Clone, Debug, Default)]
pub struct BakeRequest {
    /// The files as they were named; empty is those of the usual names that are there. `-` is `input`.
    pub files: Vec<String>,
    /// What was given on the standard input, when a file is `-`.
    pub input: Option<String>,
    /// The directory that relative paths start from.
    pub directory: PathBuf,
    /// Targets and groups by name or pattern; empty is `default`.
    pub targets: Vec<String>,
    /// `--set`: TARGET.KEY=VALUE.
    pub overrides: Vec<String>,
    /// `--var`: over the environment.
    pub variables: Vec<(String, String)>,
    /// `--allow`: what targets may ask for.
    pub allow: Entitlements,
    /// Opens standard output for a target whose output is `-`; `None` is that there is none.
    pub stdout: Option<fn() -> std::io::Result<Stream>>,
}

/// A target that was baked.
#[derive(Clone, Debug)]
pub struct Baked {
    /// Its name.
    pub target: String,
    /// Its image.
    pub image: crate::BuiltImage,
}

/// The baker of an engine.
#[derive(Clone, Copy)]
pub struct Bakes<'a> {
    pub(crate) engine: &'a Engine,
}

impl Engine {
    /// Returns the baker.
    pub fn bakes(&self) -> Bakes<'_> {
        Bakes { engine: self }
    }
}

impl Bakes<'_> {
    /// Reads the files and says what they define.
    pub fn definition(&self, request: &BakeRequest) -> Result<Definition> {
        let files = files::read(request)?;
        let environment = self.environment(request);
        let mut definition = Definition::default();
        if !files.compose.is_empty() {
            definition = compose::definition(&files.compose, request, &environment, &*self.engine.reporter)?;
        }
        let platform = Platform::host().to_string();
        let home = self.engine.environment.get("HOME").cloned().unwrap_or_else(|| "/root".to_owned());
        let now = jiff::Timestamp::now();
        let world = coracle_bakefile::World { environment, platform, home, now };
        definition.lay_over(coracle_bakefile::load(&files.bake, &world).map_err(Failure::user)?);
        Ok(definition)
    }

    /// Says which targets are asked for, with all that they inherit and that the caller overrides.
    pub fn select(&self, request: &BakeRequest) -> Result<Selected> {
        self.definition(request)?.select(&request.targets, &request.overrides).map_err(Failure::user)
    }

    /// Says what a target takes to build, for looking at it: other targets that are its contexts count as known.
    pub fn options(&self, target: &Target, request: &BakeRequest) -> Result<BuildOptions> {
        let mut options = options::options(target, request).map_err(Failure::user)?;
        let together = Together::new(options.solve.jobs().get());
        target.links().for_each(|(_, other)| together.finish(other, TargetResult::default()));
        options.together = Some(together);
        Ok(options)
    }

    fn environment(&self, request: &BakeRequest) -> std::collections::BTreeMap<String, String> {
        let lookup = self.engine.environment.get("BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP");
        let disabled = lookup.is_some_and(|value| value == "1" || value == "true");
        let mut environment =
            if disabled { std::collections::BTreeMap::new() } else { self.engine.environment.clone() };
        environment.extend(request.variables.iter().cloned());
        environment
    }
}
