//! Rules about Compose files, alone and merged.

mod exclusive;
pub(crate) mod facts;
mod images;
mod ports;
mod version;

use crate::project::Check;

pub(crate) static CHECKS: &[Check] = &[
    version::CHECK,
    images::OF_SERVICES,
    images::OF_STAGES,
    ports::TWICE,
    ports::APPENDED,
    ports::REACH,
    exclusive::CHECK,
];
