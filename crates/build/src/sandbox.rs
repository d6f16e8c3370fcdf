//! What surrounds every `RUN` step of a build: hosts, limits, and what the caller allows beyond the usual.

use std::net::IpAddr;

use serde::Serialize;

/// Surroundings that all steps share. They are a part of every step's cache key when they are not the default,
/// except for the memory limit, which decides only whether a step succeeds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sandbox {
    /// Lines of `/etc/hosts`: name and address.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra_hosts: Vec<(String, HostAddress)>,
    /// Limits of processes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ulimits: Vec<ProcessLimit>,
    /// Size of `/dev/shm`, bytes; `None` is the host's default of 64 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<u64>,
    /// Most memory that a step may use, bytes.
    #[serde(skip)]
    pub memory: Option<u64>,
}

impl Sandbox {
    /// Returns itself when it decides a step's result.
    pub(crate) fn of_key(&self) -> Option<&Self> {
        let usual = self.extra_hosts.is_empty() && self.ulimits.is_empty() && self.shm_size.is_none();
        (!usual).then_some(self)
    }
}

/// Where a name of `--add-host` leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostAddress {
    /// There.
    Ip(IpAddr),
    /// To the host itself, as steps see it (`host-gateway`).
    HostGateway,
}

/// `--ulimit`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProcessLimit {
    /// Lower-case name without `RLIMIT_`.
    pub name: String,
    /// Soft limit; `u64::MAX` is none.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// What steps may ask for beyond the usual, by the caller's leave (`--allow`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entitlements {
    /// `RUN --network=host`
    pub network_host: bool,
    /// `RUN --security=insecure`
    pub security_insecure: bool,
}
