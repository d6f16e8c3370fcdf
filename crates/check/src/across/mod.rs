//! Rules that look across files: Dockerfile, merged compose files, sources, proxies, scripts and documents.

mod built;
mod certificates;
mod context;
mod database;
mod expansion;
mod monitoring;
mod mounts;
mod named;
mod nginx;
mod packages;
mod printed;
mod privilege;
mod probe;
mod sources;
mod sources_of;
mod tools;
mod unlisted;
mod upstream;
pub(crate) mod variables;
mod vite;
mod workers;

use crate::project::Check;

pub(crate) static CHECKS: &[Check] = &[
    sources::CHECK,
    tools::CHECK,
    expansion::CHECK,
    expansion::COMMANDS,
    privilege::BUILDS,
    privilege::SERVICES,
    upstream::CHECK,
    probe::BUILDS,
    probe::SERVICES,
    vite::CHECK,
    mounts::CHECK,
    certificates::CHECK,
    database::CHECK,
    variables::CHECK,
    workers::CHECK,
    unlisted::CHECK,
    context::CHECK,
    monitoring::CHECK,
    named::CHECK,
    printed::CHECK,
    built::CHECK,
];

/// Says whether an image is of an official line.
fn is_official(image: &str, name: &str) -> bool {
    crate::knowledge::official::of(image).is_some_and(|official| official.names[0] == name)
}
