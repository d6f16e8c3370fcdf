//! Why a step was done again: what it was made of the last time, compared with what it is made of now.
//!
//! Owns the memory of a Dockerfile's last build and the causes that come of comparing. Refuses to decide what is
//! cached (that are keys alone): a memory that is lost or wrong costs an explanation, never a result.
//!
//! ```text
//! last build --recall--> Ledger --match by stage and text--> earlier step --its key--> StepMemory
//! this step  ----------> Facts, Manifests ------------------compare-----------------> [Cause]
//! ```

mod cause;
mod explainer;
mod facts;
mod ledger;
mod manifest;

pub(crate) use cause::one_line;
pub use cause::{Cause, FileChange};
pub(crate) use explainer::{Explainer, Miss};
pub use explainer::{StepState, StepWhy};
pub(crate) use ledger::{FilesMemory, split_name};
pub use manifest::SourceEntry;
