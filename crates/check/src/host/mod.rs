//! Rules about the machine that a project is to run on.

use crate::project::Check;

pub(crate) static CHECKS: &[Check] = &[];
