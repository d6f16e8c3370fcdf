//! Rules that look across files: Dockerfile, merged compose files, sources, proxies, scripts and documents.

use crate::project::Check;

pub(crate) static CHECKS: &[Check] = &[];
