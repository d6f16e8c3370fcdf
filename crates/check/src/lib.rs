//! Rules as values: what in a Dockerfile works but should be written otherwise, and where.
//!
//! Owns the rules, their conditions and explanations, and the outline of a Dockerfile (its targets, arguments, secrets).
//! Refuses to read files, to resolve images (it asks [`Bases`]) and to print. The rules of BuildKit's `--check` bear
//! BuildKit's names and hold under BuildKit's conditions; rules of our own stand beside them in a family of their own.

mod expose;
mod finding;
mod from;
mod options;
mod outline;
mod platform;
mod request;
mod rule;
mod rules;
mod stage;
mod suggest;
mod syntax;
mod variables;

pub use finding::{Finding, Report};
pub use options::{BadOptions, Choice, Options};
pub use outline::{Outline, OutlineArgument, OutlineAttachment, Target, outline, targets};
pub use request::{BaseFacts, Bases, NoBases, Request, check};
pub use rule::{Family, Rule};
pub use rules::{RULES, find};
