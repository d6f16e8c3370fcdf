//! The build graph, its cache keys and its solver, over ports it declares.
//!
//! Owns what a Dockerfile means: which stages are needed, what each instruction does to the file system and to
//! the image's configuration, and when an earlier result serves. Refuses to touch the world: everything outside
//! goes through [`BuildHost`].
//!
//! ```text
//! BuildRequest --plan--> needs of bases --host--> Bases --plan--> BuildGraph --solve--> BuiltImage
//! ```

mod build;
mod change;
mod checksum;
mod configuration;
mod failure;
mod graph;
mod host;
mod key;
mod named;
mod narrow;
mod paths;
mod plan;
mod remote;
mod request;
mod sandbox;
mod scope;
mod solver;
mod stage;
mod step;
mod why;

pub use build::{BuiltImage, BuiltLayer, Examined, StepOrigin, StepReport, build, examine};
pub use change::change;
pub use checksum::{Checksum, HashAlgorithm};
pub use graph::{
    BuildGraph, CopyOp, ExecOp, ImagePlan, Op, OpItem, OpSource, PlannedHistory, Vertex, VertexId,
};
pub use host::{
    BuildHost, CacheRecord, Checkout, CopyItem, CopyRequest, DirectoryRequest, Downloaded, ExecMount,
    ExecMountKind, ExecOutcome, ExecRequest, InlineFile, KeyLock, Memory, MissingCause, OutputSink,
    ResolvedBase, SecretVariable, Selection, SnapshotRef, SourceFault, SourcePath, SourcePlace, Unpack,
};
pub use key::CacheKey;
pub use plan::{Planned, plan};
pub use remote::{GitSource, RemoteSource, is_commit_prefix, is_full_commit};
pub use request::{BaseNeed, Bases, BuildRequest, CachePolicy, NamedContext};
pub use sandbox::{Entitlements, HostAddress, ProcessLimit, Sandbox};
pub use why::{Cause, FileChange, SourceEntry, StepState, StepWhy};
