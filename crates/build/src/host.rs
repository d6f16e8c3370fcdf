//! The port of the builder: what it asks of the world. `engine` implements it over store, snapshot, registry and
//! runtime; tests implement it in memory.
//!
//! All methods are called from several threads at once. Every [`Diagnostic`] that a method returns ends the
//! build and is shown as it is; the solver adds the instruction's place when the diagnostic has none.

use std::any::Any;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use coracle_dockerfile::{MountOwner, NetworkMode, Security, Sharing};
use coracle_oci::{DiffId, Digest, ImageConfig, Platform, Reference};
use coracle_report::{Diagnostic, Span, Stream, TaskId};
use serde::{Deserialize, Serialize};

use crate::{CacheKey, GitSource, HashAlgorithm, Sandbox, SourceEntry};

/// Names a committed, immutable snapshot of the host. The builder never looks into it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SnapshotRef(String);

impl SnapshotRef {
    /// Wraps the host's id of a snapshot.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// Returns the host's id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SnapshotRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A base image that is ready to be built upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedBase {
    /// The image's configuration.
    pub config: ImageConfig,
    /// What its content is known by: the manifest's digest, or for a local build the image id. Never a tag's
    /// name: this goes into the cache keys of everything built upon it.
    pub key: Digest,
    /// The snapshot of its top layer; `None` for an image without layers.
    pub snapshot: Option<SnapshotRef>,
}

/// What the build cache keeps under a [`CacheKey`]. JSON by serde, so that the host can store it as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheRecord {
    /// The step's result. Equal to `parent` when the step changed nothing.
    pub snapshot: Option<SnapshotRef>,
    /// What the step was done on. A record serves only upon the same snapshot: a step under an equal key may have
    /// been done again since (`--no-cache`, garbage collection) with other bytes, and the layers of an image must
    /// lie upon one another as they were made.
    pub parent: Option<SnapshotRef>,
    /// The key that dependents build upon. Another than the one the record lies under when that one was found
    /// without looking at the content of another stage.
    pub key: CacheKey,
    /// The name of the step that made it, for people; empty where it is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub step: String,
}

/// Holds a lock of [`BuildHost::lock`]; dropping it unlocks.
pub struct KeyLock(#[expect(dead_code, reason = "kept only to be dropped")] Box<dyn Any + Send>);

impl KeyLock {
    /// Wraps whatever unlocks when dropped, such as a locked file.
    pub fn new(guard: impl Any + Send) -> Self {
        Self(Box::new(guard))
    }
}

/// Where files are taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourcePlace {
    /// The build context. What `.dockerignore` hides does not exist there.
    Context,
    /// The files of a named context, by its place in [`BuildRequest::contexts`](crate::BuildRequest::contexts), with
    /// its own `.dockerignore`.
    Named(usize),
    /// A snapshot, seen as the merged file system. Symbolic links are resolved within it and never lead out.
    Snapshot(SnapshotRef),
    /// An empty file system (a stage from scratch).
    Empty,
}

/// One source path of `COPY`, `ADD` or a bind mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourcePath {
    /// Relative to the place's root, parts joined by `/`, no `.`, `..` or empty part; empty is the root itself.
    /// Unless `literal`, may be a pattern (see [`coracle_dockerfile::Glob::source`]) that is matched part by
    /// part. Symbolic links on the way and at the end are followed within the place (as in BuildKit: what a link names is
    /// copied); links below a directory are copied as links.
    pub path: String,
    /// Whether characters such as `*` stand for themselves.
    pub literal: bool,
    /// Whether it was written with `/` at its end.
    pub trailing_slash: bool,
    /// With `--parents`: the leading part of `path` that is not repeated below the destination (what stood
    /// before `/./`; empty to repeat all), and `**` in `path` crosses directories. `None` without.
    pub pivot: Option<String>,
}

/// Which files of a place are meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Selection {
    /// The sources.
    pub paths: Vec<SourcePath>,
    /// `--exclude` patterns in `.dockerignore` syntax, relative to each source.
    pub exclude: Vec<String>,
}

/// Why files could not be selected.
#[derive(Clone, Debug)]
pub enum SourceFault {
    /// A source does not exist (or a pattern matches nothing).
    Missing {
        /// The source as in [`SourcePath::path`].
        path: String,
        /// Why.
        cause: MissingCause,
    },
    /// Anything else: it could not be read, was no readable kind of file, ...
    Other(Diagnostic),
}

/// Why a source does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MissingCause {
    /// It is in the context's directory, but this line of the ignore file hides it.
    Hidden {
        /// The line as written.
        line: String,
        /// Its place in the ignore file.
        span: Span,
    },
    /// It is not there.
    Absent {
        /// Names that do exist in the deepest directory of the path that exists, relative to the place's root;
        /// the solver picks the nearest. At most some hundred.
        siblings: Vec<String>,
        /// For the context: a file of the same path below one of the context's parent directories, when there
        /// is one (at most three levels up).
        elsewhere: Option<PathBuf>,
    },
}

/// A file that the builder itself provides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InlineFile {
    /// Its name, a single path part.
    pub name: String,
    /// Its content.
    pub content: String,
}

/// A finished download of `ADD`, which the host keeps at least until the build ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Downloaded {
    /// The host's name for it, passed back in [`CopyItem::Download`].
    pub file: String,
    /// The file name it gets below a directory destination.
    pub name: String,
    /// The digest of its bytes.
    pub digest: Digest,
}

/// A git repository at a commit, whose files are fetched when they are copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkout {
    /// Where it is.
    pub source: GitSource,
    /// The commit's whole id.
    pub commit: String,
}

/// One thing that [`BuildHost::copy`] puts into place, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyItem {
    /// A path or pattern of the request's [`SourcePlace`].
    Path(SourcePath),
    /// A file given in the Dockerfile; mode 0644 unless `chmod` is given.
    Inline(InlineFile),
    /// A downloaded file; mode 0600 unless `chmod` is given.
    Download(Downloaded),
    /// The content of a directory of a git repository.
    Git(Checkout),
}

/// Whether archives among the sources are unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unpack {
    /// Nothing is (`COPY`).
    Never,
    /// Archives (tar, also compressed by gzip, bzip2, xz or zstd) among [`CopyItem::Path`] are (`ADD`).
    Local,
    /// Downloads are too (`ADD --unpack`).
    All,
}

/// Files to put on top of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyRequest {
    /// What is copied onto; `None` is an empty file system.
    pub parent: Option<SnapshotRef>,
    /// Where [`CopyItem::Path`]s are found.
    pub place: SourcePlace,
    /// What is copied, in order. The content of a directory is copied, not the directory itself
    /// (unless `parents`).
    pub items: Vec<CopyItem>,
    /// Patterns of paths that are left out.
    pub exclude: Vec<String>,
    /// Absolute destination. With `/` at its end, or when a source is a directory, or when several files match,
    /// it is a directory (made when it is missing, 0755, owned by `chown` or root); else the file's new name.
    /// Symbolic links in it are followed within the root file system.
    pub dest: String,
    /// `user[:group]` by name (looked up in the parent's `/etc/passwd` and `/etc/group`) or number. `None` is 0:0 for
    /// files of the context and keeps the owners of a stage's files.
    pub chown: Option<String>,
    /// `chmod` as written: octal, or symbolic (`u+x`); `None` keeps the sources' modes.
    pub chmod: Option<String>,
    /// Whether the sources' directories are kept below the destination.
    pub parents: bool,
    /// Whether archives are unpacked.
    pub unpack: Unpack,
}

/// A directory to make (`WORKDIR`), with its parents, mode 0755.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryRequest {
    /// What it is made in; `None` is an empty file system.
    pub parent: Option<SnapshotRef>,
    /// Absolute path.
    pub path: String,
    /// `user[:group]` that owns what is made; `None` is 0:0.
    pub owner: Option<String>,
}

/// What a `RUN` step sees besides its root file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecMount<P = SourcePlace> {
    /// Absolute path in the container. Missing mount points are made, and are no part of the result unless the
    /// command itself put something there.
    pub target: String,
    /// What is mounted.
    pub kind: ExecMountKind<P>,
}

/// The kinds of [`ExecMount`]. `P` is the place that files come from: in a plan it names a vertex, in a request
/// a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecMountKind<P = SourcePlace> {
    /// Files of the context, of a stage or of an image.
    Bind {
        /// From where.
        place: P,
        /// The path in it (no pattern); empty is the root.
        path: String,
        /// Whether writes are allowed; they go to a throw-away layer, never to the place.
        writable: bool,
    },
    /// A directory that outlives the build, by id.
    Cache {
        /// The id: any text; the host makes a safe name of it.
        id: String,
        /// How concurrent users share it.
        sharing: Sharing,
        /// What fills it when it is first made, and the path in it.
        seed: Option<(P, String)>,
        /// Whether it is mounted read-only.
        read_only: bool,
        /// Owner (default 0:0) and mode (default 0755) of its root when it is made.
        owner: MountOwner,
    },
    /// An empty file system in memory; the size limit is in bytes.
    Tmpfs {
        /// The limit in bytes.
        size: Option<u64>,
    },
    /// A secret of the build's caller, as a file at the target (default mode 0400, owner 0:0).
    Secret {
        /// Its id.
        id: String,
        /// Owner and mode.
        owner: MountOwner,
        /// Whether a missing one fails the step; else it is left out.
        required: bool,
    },
    /// A socket that answers as an SSH agent for the caller's keys (default mode 0600, owner 0:0).
    Ssh {
        /// Which of the caller's agents.
        id: String,
        /// Owner and mode.
        owner: MountOwner,
        /// Whether a missing one fails the step; else it is left out.
        required: bool,
    },
    /// A read-only, executable file given in the Dockerfile (a heredoc that begins with `#!`).
    Script {
        /// Its content.
        content: String,
    },
}

/// A secret that a step sees as a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretVariable {
    /// The variable.
    pub name: String,
    /// The secret's id.
    pub id: String,
    /// Whether a missing one fails the step; else the variable is not set.
    pub required: bool,
}

/// A command to run on top of a snapshot.
pub struct ExecRequest<'a> {
    /// The root file system it starts with; `None` is empty.
    pub parent: Option<SnapshotRef>,
    /// Program and arguments; the program is looked for in the environment's `PATH`.
    pub args: Vec<String>,
    /// The whole environment as `NAME=value`, except `HOME` (the host adds the user's unless it is given) and
    /// what the host lends every step, such as its CA bundle.
    pub env: Vec<String>,
    /// Variables whose values are secrets.
    pub secret_env: Vec<SecretVariable>,
    /// Absolute working directory, made when it is missing.
    pub cwd: String,
    /// `user[:group]` by name or number; empty is root.
    pub user: String,
    /// What is mounted, in order.
    pub mounts: Vec<ExecMount>,
    /// The network.
    pub network: NetworkMode,
    /// How far it is confined.
    pub security: Security,
    /// What surrounds it.
    pub sandbox: &'a Sandbox,
    /// Set when the command must be killed; poll it.
    pub cancel: &'a AtomicBool,
    /// The running task, for states such as `waiting for cache mount`.
    pub task: TaskId,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecOutcome {
    /// With exit code 0; its changes are committed as this snapshot. The parent itself when it changed nothing.
    Succeeded(SnapshotRef),
    /// With another exit code (128 + signal when a signal ended it); nothing is kept.
    Failed(i32),
    /// The same, and the host knows why: each is a hint for the user.
    Explained(i32, Vec<String>),
    /// It was killed because of [`ExecRequest::cancel`].
    Cancelled,
}

/// What a host keeps to explain later builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory<'n> {
    /// The steps of the last build of this context and Dockerfile, under a name (any text).
    Build(&'n str),
    /// What the step with this key was made of, whoever made it.
    Step(&'n CacheKey),
}

/// Takes output lines without their line ends, from any thread. Lines are bounded by the host (64 KiB).
pub type OutputSink<'a> = &'a (dyn Fn(Stream, &str) + Sync);

/// What the builder needs of the world.
pub trait BuildHost: Sync {
    /// Makes a base image ready: pulls and unpacks what is missing. Progress goes to `task`. As long as its
    /// snapshot exists, the same image is answered with the same snapshot: cache records depend on it.
    fn resolve_base(
        &self,
        reference: &Reference,
        platform: &Platform,
        task: TaskId,
    ) -> Result<ResolvedBase, Diagnostic>;

    /// Returns what the cache holds under `key`; `None` also when the record's snapshot is gone. Marks the
    /// record as used. A record that cannot be read counts as missing.
    fn cache_get(&self, key: &CacheKey) -> Option<CacheRecord>;

    /// Keeps a record under `key`, in place of an older one.
    fn cache_put(&self, key: &CacheKey, record: &CacheRecord) -> Result<(), Diagnostic>;

    /// Locks `key` between all builds of the machine, so that two of them do a step once. Blocks; gives up with
    /// a diagnostic of code `cancelled` when `cancel` becomes set. The solver holds at most one lock a thread, only while it works on
    /// that step, and asks the cache again once it has it.
    fn lock(&self, key: &CacheKey, cancel: &AtomicBool) -> Result<KeyLock, Diagnostic>;

    /// Returns the digest of the selected files' names, kinds, modes, link targets and contents; not of their times, and
    /// of their owners only in a snapshot. Names are relative to each source: what a directory is called, and where a
    /// source lies, does not count; a source that is no directory has its own name. Snapshots are immutable: their
    /// answers may be kept.
    fn digest_sources(&self, place: &SourcePlace, selection: &Selection) -> Result<Digest, SourceFault>;

    /// Returns what a selection takes, in the order of names, for people who ask which file changed. Paths are relative
    /// to the place. Only asked when a step is not cached.
    fn list_sources(
        &self,
        place: &SourcePlace,
        selection: &Selection,
    ) -> Result<Vec<SourceEntry>, SourceFault> {
        let _ = (place, selection);
        Ok(Vec::new())
    }

    /// Returns what [`remember`](Self::remember) kept; `None` when it is gone. A host may forget at will.
    fn recall(&self, memory: Memory<'_>) -> Option<Vec<u8>> {
        let _ = memory;
        None
    }

    /// Keeps bytes that explain later builds, in place of older ones. That they cannot be kept is no failure.
    fn remember(&self, memory: Memory<'_>, content: &[u8]) {
        let _ = (memory, content);
    }

    /// Downloads a URL of `ADD`, or takes it from the host's cache when the server says it is unchanged.
    fn download(&self, url: &str, task: TaskId, cancel: &AtomicBool) -> Result<Downloaded, Diagnostic>;

    /// Returns the hash of a download in hexadecimal digits.
    fn hash_download(&self, download: &Downloaded, algorithm: HashAlgorithm) -> Result<String, Diagnostic>;

    /// Returns the whole id of the commit that a repository's reference names now.
    fn resolve_git(
        &self,
        source: &GitSource,
        task: TaskId,
        cancel: &AtomicBool,
    ) -> Result<String, Diagnostic>;

    /// Puts files on top of a snapshot and commits the result. Returns the parent itself when nothing changed. Fetches
    /// repositories first, and gives up with a diagnostic of code `cancelled` when `cancel` becomes set meanwhile.
    fn copy(&self, request: &CopyRequest, cancel: &AtomicBool) -> Result<Option<SnapshotRef>, SourceFault>;

    /// Puts the layer of `layer`, a snapshot that is based on nothing, on top of `parent` without copying it
    /// (`COPY --link`).
    fn stack(&self, layer: &SnapshotRef, parent: &SnapshotRef) -> Result<SnapshotRef, Diagnostic>;

    /// Makes a directory and commits the result. Returns the parent itself when it is there already.
    fn make_directory(&self, request: &DirectoryRequest) -> Result<Option<SnapshotRef>, Diagnostic>;

    /// Runs a command and commits its changes when it succeeds. Every output line goes to `output` before this
    /// returns.
    fn exec(&self, request: &ExecRequest<'_>, output: OutputSink<'_>) -> Result<ExecOutcome, Diagnostic>;

    /// Returns the id of the layer between `snapshot` and its parent, waiting for the hash if it is still being
    /// made. Asked only when the image is put together.
    fn diff_id(&self, snapshot: &SnapshotRef) -> Result<DiffId, Diagnostic>;
}
