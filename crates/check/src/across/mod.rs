//! Rules that look across files: Dockerfile, merged compose files, sources, proxies, scripts and documents.

mod certificates;
mod database;
mod expansion;
mod mounts;
mod nginx;
mod packages;
mod privilege;
mod probe;
mod sources;
mod sources_of;
mod tools;
mod upstream;
mod variables;
mod vite;

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
];

/// Says whether an image is of an official line.
fn is_official(image: &str, name: &str) -> bool {
    crate::knowledge::official::of(image).is_some_and(|official| official.names[0] == name)
}
