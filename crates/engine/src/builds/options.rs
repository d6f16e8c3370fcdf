//! What a build is asked to do.

use std::collections::BTreeMap;
use std::path::PathBuf;

use coracle_report::TaskId;
use indexmap::IndexMap;

use super::RunOptions;

/// Whether `RUN` steps see the host's certificate authorities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostCa {
    /// When the host trusts authorities of its own.
    #[default]
    Auto,
    /// In any case.
    Always,
    /// Not at all.
    Never,
}

/// What is to be built.
#[derive(Clone, Debug, Default)]
pub struct BuildOptions {
    /// The directory of the context.
    pub context: PathBuf,
    /// The Dockerfile; `None` is `Dockerfile` in the context.
    pub dockerfile: Option<PathBuf>,
    /// The text of a Dockerfile instead of a file.
    pub dockerfile_inline: Option<String>,
    /// The stage; `None` is the last.
    pub target: Option<String>,
    /// Build arguments.
    pub build_args: IndexMap<String, String>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Names of the image.
    pub tags: Vec<String>,
    /// Use no cached step.
    pub no_cache: bool,
    /// Fetch base images even when they are there.
    pub pull: bool,
    /// Whether `RUN` steps see the host's certificate authorities.
    pub host_ca: HostCa,
    /// What `RUN` steps are given.
    pub run: RunOptions,
    /// The task that the build is a part of.
    pub parent: Option<TaskId>,
}
