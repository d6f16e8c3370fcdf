//! What a caller asks for, and the bases that the world answered with.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use coracle_dockerfile::{Dockerfile, NetworkMode};
use coracle_oci::{Platform, Reference};

use crate::{Entitlements, ResolvedBase, Sandbox};

/// Whether earlier results may serve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CachePolicy {
    /// They do.
    #[default]
    Use,
    /// Every step is done again (`--no-cache`); its result is kept for later builds.
    Ignore,
}

/// What a name of `--build-context` stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedContext {
    /// An image.
    Image(Reference),
    /// Files that the host has ready, known by their place in [`BuildRequest::contexts`].
    Files,
}

/// One build.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    /// The Dockerfile.
    pub dockerfile: Dockerfile,
    /// The stage to build, by name or number; `None` is the last.
    pub target: Option<String>,
    /// `--build-arg`. Proxy variables need no `ARG`.
    pub build_args: BTreeMap<String, String>,
    /// Labels of the image, over those of the Dockerfile.
    pub labels: BTreeMap<String, String>,
    /// Whether the cache is used.
    pub cache: CachePolicy,
    /// Stages whose steps are done again though they may be cached (`--no-cache-filter`), by name.
    pub no_cache_stages: Vec<String>,
    /// `--build-context`: names that mean something else than a stage or an image, each once.
    pub contexts: Vec<(String, NamedContext)>,
    /// The platform that is built for.
    pub platform: Platform,
    /// The network of `RUN` steps that ask for none in particular.
    pub network: NetworkMode,
    /// What all `RUN` steps are surrounded by.
    pub sandbox: Sandbox,
    /// What `RUN` steps may ask for.
    pub allow: Entitlements,
    /// The time that stands in the image, RFC 3339; `None` leaves it out. Equal input and time give an equal image.
    pub created: Option<String>,
    /// How many steps may run at once.
    pub jobs: NonZeroUsize,
}

impl BuildRequest {
    /// Returns a request for the last stage on the host's platform, with two jobs and the cache.
    pub fn new(dockerfile: Dockerfile) -> Self {
        Self {
            dockerfile,
            target: None,
            build_args: BTreeMap::new(),
            labels: BTreeMap::new(),
            cache: CachePolicy::Use,
            no_cache_stages: Vec::new(),
            contexts: Vec::new(),
            platform: Platform::host(),
            network: NetworkMode::Default,
            sandbox: Sandbox::default(),
            allow: Entitlements::default(),
            created: None,
            jobs: NonZeroUsize::MIN.saturating_add(1),
        }
    }
}

/// An image that must be resolved before planning can go on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BaseNeed {
    /// The image.
    pub reference: Reference,
    /// For this platform.
    pub platform: Platform,
}

/// The bases that are resolved so far.
#[derive(Clone, Debug, Default)]
pub struct Bases(BTreeMap<BaseNeed, ResolvedBase>);

impl Bases {
    /// Adds an answer.
    pub fn insert(&mut self, need: BaseNeed, base: ResolvedBase) {
        self.0.insert(need, base);
    }

    /// Returns the answer to a need.
    pub fn get(&self, need: &BaseNeed) -> Option<&ResolvedBase> {
        self.0.get(need)
    }
}
