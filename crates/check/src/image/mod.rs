//! What an image will be once it is built, and what a service will run of it: followed instruction by instruction, nothing
//! is run. What cannot be known (an unknown base, a variable without value) is `None`.

mod accounts;
mod made;
mod service;
mod words;

pub(crate) use made::{Made, Origin, Owner, Step};
pub(crate) use service::{Running, running};
pub(crate) use words::{commands, option};
