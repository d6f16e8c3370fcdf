//! What `deploy` says beside replicas and resources.

use std::time::Duration;

use indexmap::IndexMap;

/// What `deploy` says beside replicas, resources and the restart policy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Deploy {
    /// Where containers run.
    pub mode: DeployMode,
    /// `vip` or `dnsrr`.
    pub endpoint_mode: Option<String>,
    /// Labels of the service, not of its containers.
    pub labels: IndexMap<String, String>,
    /// How containers are replaced.
    pub update_config: Option<Rollout>,
    /// How a replacement is taken back.
    pub rollback_config: Option<Rollout>,
    /// Which machines it may run on.
    pub placement: Option<Placement>,
    /// Time between restarts; `None` doubles it from 100 ms on.
    pub restart_delay: Option<Duration>,
    /// How long a run must last for a restart to count as a success; `None` is 10 s.
    pub restart_window: Option<Duration>,
}

/// Where containers run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeployMode {
    /// As many as there are replicas.
    #[default]
    Replicated,
    /// One a machine; there is one machine.
    Global,
}

/// How containers are replaced or put back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rollout {
    /// How many at a time; 0 is all.
    pub parallelism: Option<u32>,
    /// Time between groups.
    pub delay: Option<Duration>,
    /// `continue`, `pause` or `rollback`.
    pub failure_action: Option<String>,
    /// How long each is watched afterwards.
    pub monitor: Option<Duration>,
    /// Part of them that may fail, 0 to 1.
    pub max_failure_ratio: Option<f64>,
    /// `start-first` or `stop-first`.
    pub order: Option<String>,
}

/// Which machines a service may run on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// Conditions on machines, e.g. `node.role == manager`.
    pub constraints: Vec<String>,
    /// Labels over whose values containers are spread.
    pub spread: Vec<String>,
    /// Most containers on one machine.
    pub max_replicas_per_node: Option<u64>,
}
