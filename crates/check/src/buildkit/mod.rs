//! BuildKit's build checks under their names and conditions, and three of our own that are asked for with them.

mod expose;
mod from;
mod platform;
mod rules;
mod stage;
mod suggest;
mod syntax;
mod variables;

pub(crate) use from::{Bottoms, predefined};
pub use rules::BUILDKIT;
pub(crate) use stage::Walk;
pub(crate) use syntax::check as check_syntax;
