//! The build graph, its cache keys and its solver, over ports it declares.
//!
//! Owns what a Dockerfile means: which stages are needed, what each instruction does to the file system and to
//! the image's configuration, and when an earlier result serves. Refuses to touch the world: everything outside
//! goes through [`BuildHost`].
//!
//! ```text
//! BuildRequest --plan--> needs of bases --host--> Bases --plan--> BuildGraph --solve--> BuiltImage
//! ```

mod host;
mod key;

pub use host::{
    BuildHost, CacheRecord, CopyItem, CopyRequest, DirectoryRequest, Downloaded, ExecMount, ExecMountKind,
    ExecOutcome, ExecRequest, InlineFile, KeyLock, MissingCause, OutputSink, ResolvedBase, SecretVariable,
    Selection, SnapshotRef, SourceFault, SourcePath, SourcePlace, Unpack,
};
pub use key::CacheKey;
