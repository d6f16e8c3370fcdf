//! How a service's image is built, and when it is fetched.

use std::path::PathBuf;

use coracle_report::Span;
use indexmap::IndexMap;

/// How an image is built.
#[derive(Clone, Debug, PartialEq)]
pub struct Build {
    /// Where `build` is given.
    pub span: Span,
    /// The context directory, absolute.
    pub context: PathBuf,
    /// The Dockerfile, absolute.
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
    /// `x-` attributes.
    pub extensions: IndexMap<String, serde_json::Value>,
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
}
