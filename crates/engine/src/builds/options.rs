//! What a build is asked to do.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use coracle_report::TaskId;
use indexmap::IndexMap;

use crate::{CacheFrom, CacheTo, OutputOptions};

use super::{RunOptions, Together};
use crate::contexts::{ContextSource, NamedSource};

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

/// How steps are solved.
#[derive(Clone, Debug, Default)]
pub struct SolveOptions {
    /// Stages whose steps are done again (`--no-cache-filter`).
    pub no_cache_stages: Vec<String>,
    /// How many steps may run at once; `None` is one a processor, but at least two.
    pub jobs: Option<NonZeroUsize>,
    /// Whether the result says what the context holds and what of it is used (`--why`).
    pub report_context: bool,
}

impl SolveOptions {
    /// Returns how many steps may run at once.
    pub(crate) fn jobs(&self) -> NonZeroUsize {
        let processors = || std::thread::available_parallelism().map_or(2, NonZeroUsize::get).max(2);
        self.jobs.or_else(|| NonZeroUsize::new(processors())).unwrap_or(NonZeroUsize::MIN)
    }
}

/// What is to be built.
#[derive(Clone, Debug, Default)]
pub struct BuildOptions {
    /// Where the files come from.
    pub context: ContextSource,
    /// `--build-context`: what stands in place of stages and images of these names.
    pub named: Vec<(String, NamedSource)>,
    /// The Dockerfile: a file, `-` for standard input, or a URL; `None` is `Dockerfile` in the context.
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
    /// How steps are solved.
    pub solve: SolveOptions,
    /// Where results of other machines' builds are looked for, in this order.
    pub cache_from: Vec<CacheFrom>,
    /// Where this build's results go.
    pub cache_to: Vec<CacheTo>,
    /// What becomes of the result.
    pub output: OutputOptions,
    /// What it shares with builds that run as one with it.
    pub together: Option<Together>,
    /// The task that the build is a part of.
    pub parent: Option<TaskId>,
}
