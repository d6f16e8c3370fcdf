//! Rules about Compose files, alone and merged.

mod version;

use crate::project::Check;

pub(crate) static CHECKS: &[Check] = &[version::CHECK];
