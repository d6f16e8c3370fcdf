//! Whether a name on the command line is an environment of the project here, or a container.
//!
//! `coracle logs dev` speaks of an environment, `coracle logs web` of a container. An environment is meant when the
//! project in the current directory has one of that name; a container of the same name is reached by its id.

use std::path::{Path, PathBuf};

use coracle_engine::{Engine, Result, Selection};

/// Which project, for commands that speak of environments.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ProjectArgs {
    /// Compose file; may be given several times, later ones override earlier ones.
    #[arg(long = "file", value_name = "FILE", help_heading = "Project")]
    pub files: Vec<PathBuf>,
    /// Name of the project.
    #[arg(short, long, value_name = "NAME", help_heading = "Project")]
    pub project_name: Option<String>,
    /// File of variables instead of `.env.ENV`.
    #[arg(long, value_name = "FILE", help_heading = "Project")]
    pub env_file: Vec<PathBuf>,
    /// Directory of the project.
    #[arg(long, value_name = "DIR", help_heading = "Project")]
    pub project_directory: Option<PathBuf>,
    /// Profile to enable.
    #[arg(long, value_name = "NAME", help_heading = "Project")]
    pub profile: Vec<String>,
}

impl ProjectArgs {
    /// Returns the selection of `environment`.
    pub fn selection(&self, environment: Option<String>) -> Selection {
        Selection {
            directory: self.project_directory.clone(),
            environment,
            files: self.files.clone(),
            project_name: self.project_name.clone(),
            env_files: self.env_file.clone(),
            profiles: self.profile.clone(),
        }
    }

    /// Returns where the project is looked for, if that was said.
    pub fn directory(&self) -> Option<&Path> {
        self.project_directory.as_deref()
    }

    /// Says whether files were named instead of being found by their names.
    pub fn names_files(&self) -> bool {
        !self.files.is_empty()
    }

    fn names_a_project(&self) -> bool {
        !self.files.is_empty() || self.project_name.is_some() || self.project_directory.is_some()
    }
}

/// What the words after the command mean.
pub enum Target {
    /// An environment and words that follow it.
    Environment(Selection, Vec<String>),
    /// Containers and words that follow.
    Containers(Vec<String>),
}

/// Decides what `words` mean.
pub fn decide(engine: &Engine, project: &ProjectArgs, words: Vec<String>) -> Result<Target> {
    let known = match words.first() {
        None => false,
        Some(first) => engine.projects().environments(project.project_directory.as_deref())?.contains(first),
    };
    if known {
        let mut words = words.into_iter();
        let environment = words.next();
        return Ok(Target::Environment(project.selection(environment), words.collect()));
    }
    if project.names_a_project() {
        return Ok(Target::Environment(project.selection(None), words));
    }
    Ok(Target::Containers(words))
}
