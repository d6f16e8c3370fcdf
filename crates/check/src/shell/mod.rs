//! Rules about shell text, through a parser of the shell language.

use crate::project::Check;

pub(crate) static CHECKS: &[Check] = &[];
