//! Rules that look across files: Dockerfile, merged compose files, sources, proxies, scripts and documents.

mod expansion;
mod nginx;
mod packages;
mod sources;
mod tools;

use crate::project::Check;

pub(crate) static CHECKS: &[Check] = &[sources::CHECK, tools::CHECK, expansion::CHECK, expansion::COMMANDS];
