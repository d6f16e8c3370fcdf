//! How a service's image is built, and when it is fetched.

use std::path::PathBuf;
use std::time::Duration;

use coracle_oci::Platform;
use coracle_report::Span;
use indexmap::IndexMap;

use super::Ulimit;

/// How an image is built.
#[derive(Clone, Debug, PartialEq)]
pub struct Build {
    /// Where `build` is given.
    pub span: Span,
    /// The context: a directory, absolute; or as written what is fetched, see [`Build::is_remote`].
    pub context: PathBuf,
    /// The Dockerfile: absolute, or below a context that is fetched.
    pub dockerfile: PathBuf,
    /// Text of a Dockerfile instead of a file.
    pub dockerfile_inline: Option<String>,
    /// Where `dockerfile` or `target` is given, for messages about them.
    pub dockerfile_span: Option<Span>,
    /// The stage; `None` is the last.
    pub target: Option<String>,
    /// Where `target` is given.
    pub target_span: Option<Span>,
    /// Build arguments.
    pub args: IndexMap<String, String>,
    /// Named contexts: a directory (absolute), `docker-image://`, `service:` and so on as written.
    pub additional_contexts: IndexMap<String, String>,
    /// Labels of the image.
    pub labels: IndexMap<String, String>,
    /// Further names of the image.
    pub tags: Vec<String>,
    /// Whether the cache is not used.
    pub no_cache: bool,
    /// Whether base images are looked up anew.
    pub pull: bool,
    /// Where results of other builds are looked for: `NAME` or `type=...,key=value`.
    pub cache_from: Vec<String>,
    /// Where its results go: `NAME` or `type=...,key=value`.
    pub cache_to: Vec<String>,
    /// What its steps may have: `network.host`, `security.insecure`.
    pub entitlements: Vec<String>,
    /// Whether its steps may have all privileges.
    pub privileged: bool,
    /// Hosts of its steps: name, address or `host-gateway`.
    pub extra_hosts: Vec<(String, String)>,
    /// Network of its steps: `default`, `none` or `host`.
    pub network: Option<String>,
    /// Platforms it is built for.
    pub platforms: Vec<Platform>,
    /// `true`, `false` or options of the attestation where it came from.
    pub provenance: Option<String>,
    /// `true`, `false` or options of the attestation what is in it.
    pub sbom: Option<String>,
    /// Secrets its steps may read.
    pub secrets: Vec<BuildSecret>,
    /// Size of `/dev/shm` of its steps, bytes.
    pub shm_size: Option<u64>,
    /// SSH agents by id: a socket or a key, absolute; `None` is the caller's agent.
    pub ssh: IndexMap<String, Option<String>>,
    /// Limits of its steps.
    pub ulimits: Vec<Ulimit>,
    /// Where attributes are given.
    pub places: IndexMap<String, Span>,
    /// `x-` attributes.
    pub extensions: IndexMap<String, serde_json::Value>,
}

impl Build {
    /// Returns whether the context is fetched: a Git repository or an address.
    pub fn is_remote(&self) -> bool {
        !self.context.is_absolute()
    }
}

/// A secret that the steps of a build may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildSecret {
    /// The key under the top-level `secrets`.
    pub source: String,
    /// The id that `RUN --mount=type=secret` knows it by.
    pub id: String,
}

/// When an image is pulled or built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// When it is not stored (the default; `missing`, `if_not_present`).
    #[default]
    Missing,
    /// Every time.
    Always,
    /// Never: it must be stored.
    Never,
    /// It is built every time.
    Build,
    /// When it was fetched longer ago than this (`daily`, `weekly`, `every_...`, `refresh`).
    Refresh(Duration),
}
