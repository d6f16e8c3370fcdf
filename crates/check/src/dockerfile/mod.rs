//! Rules about Dockerfiles: those of hadolint that matter, under their numbers, and our own.

use crate::project::Check;

pub(crate) static CHECKS: &[Check] = &[];
