//! Reality: one snapshot of what a project has on the host.

use std::collections::BTreeMap;

use coracle_composefile::DependencyCondition;
use coracle_container::{ContainerId, ContainerRecord, ContainerState, HealthStatus, MountKind};

use crate::labels;

/// What a project has on the host. Networks and volumes are all that the host has: external ones count too.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObservedState {
    /// The project's containers.
    pub containers: Vec<ObservedContainer>,
    /// Networks.
    pub networks: Vec<ObservedNetwork>,
    /// Volumes.
    pub volumes: Vec<ObservedVolume>,
}

/// A container of the project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedContainer {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: String,
    /// The service it belongs to.
    pub service: String,
    /// Which replica it is, from 1.
    pub ordinal: u32,
    /// What it was made from.
    pub config_hash: String,
    /// Whether it is of a one-time `run`.
    pub one_off: bool,
    /// Services that came before its own when it was made.
    pub depends_on: Vec<ObservedDependency>,
    /// Names of the networks it is attached to.
    pub networks: Vec<String>,
    /// Names of the volumes it mounts.
    pub volumes: Vec<String>,
    /// What it is now.
    pub state: ObservedRun,
}

/// A service that came before a container's own when it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedDependency {
    /// The service.
    pub service: String,
    /// What had to hold of it.
    pub condition: DependencyCondition,
    /// Whether the dependent restarts with it.
    pub restart: bool,
}

impl ObservedDependency {
    /// Reads the label [`labels::DEPENDS_ON`]. What a stranger wrote into it and is unknown counts as the weakest.
    pub fn of_label(text: &str) -> Vec<Self> {
        let entry = |entry: &str| {
            let mut parts = entry.split(':');
            let service = parts.next().filter(|name| !name.is_empty())?.to_owned();
            let condition = match parts.next() {
                Some("service_healthy") => DependencyCondition::Healthy,
                Some("service_completed_successfully") => DependencyCondition::CompletedSuccessfully,
                _ => DependencyCondition::Started,
            };
            Some(Self { service, condition, restart: parts.next() == Some("true") })
        };
        text.split(',').filter_map(entry).collect()
    }
}

/// What an observed container is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObservedRun {
    /// Made, never started.
    Created,
    /// Running, with its health if it is probed.
    Running(Option<HealthStatus>),
    /// Frozen.
    Paused,
    /// Ended; the restart policy will start it again.
    Restarting,
    /// Ended for good.
    Exited {
        /// Exit code.
        code: i32,
        /// Whether a user stopped it.
        by_user: bool,
    },
}

impl ObservedRun {
    /// Returns whether it works, or will again by itself.
    pub(crate) fn is_up(self) -> bool {
        matches!(self, Self::Running(_) | Self::Paused | Self::Restarting)
    }
}

/// A network of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedNetwork {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A volume of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedVolume {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

impl ObservedContainer {
    /// Returns the container as one of `project`'s; `None` when its labels say otherwise.
    pub fn of(project: &str, record: &ContainerRecord, state: &ContainerState) -> Option<Self> {
        let labels = &record.spec.labels;
        if labels.get(labels::PROJECT).is_none_or(|name| name != project) {
            return None;
        }
        let text = |label: &str| labels.get(label).cloned().unwrap_or_default();
        let volume = |mount: &coracle_container::Mount| match &mount.kind {
            MountKind::Volume { name, .. } => Some(name.clone()),
            MountKind::Bind { .. } | MountKind::Tmpfs { .. } | MountKind::Image { .. } => None,
        };
        Some(Self {
            id: record.id.clone(),
            name: record.spec.name.clone(),
            service: labels.get(labels::SERVICE)?.clone(),
            ordinal: labels.get(labels::CONTAINER_NUMBER).and_then(|text| text.parse().ok()).unwrap_or(1),
            config_hash: text(labels::CONFIG_HASH),
            one_off: text(labels::ONE_OFF).eq_ignore_ascii_case("true"),
            depends_on: ObservedDependency::of_label(&text(labels::DEPENDS_ON)),
            networks: record.spec.networks.iter().map(|attachment| attachment.network.clone()).collect(),
            volumes: record.spec.mounts.iter().filter_map(volume).collect(),
            state: ObservedRun::of(state),
        })
    }

    /// Returns whether its service comes after another.
    pub fn comes_after(&self, service: &str) -> bool {
        self.depends_on.iter().any(|dependency| dependency.service == service)
    }

    /// Returns whether a process of it may be alive or come back by itself.
    pub fn is_up(&self) -> bool {
        match self.state {
            ObservedRun::Running(_) | ObservedRun::Paused | ObservedRun::Restarting => true,
            ObservedRun::Created | ObservedRun::Exited { .. } => false,
        }
    }
}

impl ObservedRun {
    /// Returns what matters of a container's state to a project.
    pub fn of(state: &ContainerState) -> Self {
        match state {
            ContainerState::Created => Self::Created,
            ContainerState::Running { health, .. } => {
                Self::Running(health.as_ref().map(|health| health.status))
            }
            ContainerState::Paused { .. } => Self::Paused,
            ContainerState::Restarting { .. } => Self::Restarting,
            ContainerState::Exited { code, by_user, .. } => Self::Exited { code: *code, by_user: *by_user },
        }
    }
}
