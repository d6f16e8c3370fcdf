//! Rules about variables, `.env` files and secrets.

use crate::project::Check;

pub(crate) static CHECKS: &[Check] = &[];
