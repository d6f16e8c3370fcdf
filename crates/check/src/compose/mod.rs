//! Rules about Compose files, alone and merged.

mod addresses;
mod commands;
pub(crate) mod declared;
mod exclusive;
pub(crate) mod facts;
mod health;
mod images;
mod mounts;
mod networks;
pub(crate) mod notices;
mod ports;
mod production;
mod values;
mod version;

use crate::project::Check;

pub(crate) use mounts::is_meant_to_last;

pub(crate) static CHECKS: &[Check] = &[
    version::CHECK,
    images::OF_SERVICES,
    images::OF_STAGES,
    ports::TWICE,
    ports::APPENDED,
    ports::REACH,
    exclusive::CHECK,
    health::WAITING,
    health::PROBES,
    notices::CHECK,
    mounts::DATA,
    mounts::FILES,
    mounts::HOST,
    production::CHECK,
    networks::FLAT,
    networks::ADDRESSES,
    networks::NAMES,
    addresses::CHECK,
    commands::CHECK,
    values::CHECK,
    declared::CHECK,
];
