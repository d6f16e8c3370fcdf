//! Rules as values: faults of Dockerfiles, projects, environments and hosts that can be known before anything runs.
//!
//! Owns the rules, their conditions and explanations, and the outline of a Dockerfile (its targets, arguments, secrets).
//! Refuses to read files, to look at the machine, to resolve images (it asks [`Files`], [`HostFacts`], [`Images`]) and to
//! print. The rules of BuildKit's `--check` bear BuildKit's names and hold under BuildKit's conditions; those of hadolint
//! bear hadolint's numbers.

mod across;
mod buildkit;
mod compose;
mod dockerfile;
mod environment;
mod finding;
mod fix;
mod host;
mod image;
mod knowledge;
mod options;
mod outline;
mod project;
mod registry;
mod request;
mod rule;
mod shell;

pub use buildkit::BUILDKIT;
pub use finding::{Finding, Report};
pub use fix::{Edit, Fix, apply};
pub use options::{BadOptions, Choice, Options};
pub use outline::{Outline, OutlineArgument, OutlineAttachment, Target, outline, targets};
pub use project::{
    Build, Cgroups, Check, Disk, Faulty, FileKind, Files, Findings, HostFacts, Images, Listener, NoImages,
    Occupant, Ownership, ProjectReport, Route, Run, Selection, Subject, UnknownRule, check_project, gather,
};
pub(crate) use registry::CHECKS;
pub use registry::{all, find, find_any};
pub use request::{BaseFacts, Bases, NoBases, Request, check};
pub use rule::{Family, Rule};
