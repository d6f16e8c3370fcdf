//! Rules about variables, `.env` files and secrets.
//!
//! No finding shows a secret: lines that hold one are shown up to its value.

mod corpus;
mod development;
mod envfile;
mod lines;
mod passwords;
mod secret;
mod secrets;
mod unused;

use crate::project::Check;

pub(crate) static CHECKS: &[Check] =
    &[unused::CHECK, passwords::CHECK, secrets::CHECK, development::CHECK, envfile::CHECK];
