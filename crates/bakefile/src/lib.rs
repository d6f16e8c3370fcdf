//! Bake files to targets: HCL and JSON, variables, functions, matrices, inheritance, groups and overrides.
//!
//! Owns the language of `docker-bake.hcl` and what it comes down to, a [`Selected`] set of [`Target`]s. Refuses to
//! touch files, to read the environment (the caller gives a [`World`]) and to know how a target is built.
//!
//! ```text
//!   text --document--> blocks --resolve, eval--> Definition --select, overrides--> Selected
//! ```
//!
//! Hostile input ends with an error: the parser bounds nesting, evaluation has a budget and a depth.

mod attribute;
mod definition;
mod document;
mod entry;
mod eval;
mod functions;
mod overrides;
mod resolve;
mod source;
mod target;
mod template;
mod types;
mod value;

pub use attribute::{Attribute, Shape};
pub use definition::{Definition, Group, Input, Variable, World, load};
pub use entry::Entry;
pub use target::{Selected, Setting, Target};
pub use value::Value;

/// Returns the names of the functions that every bake file has, sorted.
pub fn function_names() -> &'static [&'static str] {
    functions::NAMES
}

/// The files that are looked for when none is named, a later one over an earlier.
pub const DEFAULT_FILES: [&str; 8] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
    "docker-bake.json",
    "docker-bake.hcl",
    "docker-bake.override.json",
    "docker-bake.override.hcl",
];
