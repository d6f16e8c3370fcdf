//! A plan: operations, why each is there, and which come before it. A value that can be printed and executed.

use std::fmt;

use coracle_container::{ContainerId, ContainerSpec};

use crate::desired::{DesiredNetwork, DesiredVolume};

/// What must hold of a container for a wait to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// It runs, or ended with 0.
    Started,
    /// It is healthy.
    Healthy,
    /// It ended with 0.
    Completed,
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Started => "started",
            Self::Healthy => "healthy",
            Self::Completed => "completed",
        })
    }
}

/// One change of the host, or a wait.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// Makes a network.
    CreateNetwork(DesiredNetwork),
    /// Removes a network.
    RemoveNetwork {
        /// Its name.
        name: String,
    },
    /// Makes a volume.
    CreateVolume(DesiredVolume),
    /// Removes a volume and its data.
    RemoveVolume {
        /// Its name.
        name: String,
    },
    /// Makes a container; it does not run yet.
    CreateContainer(Box<ContainerSpec>),
    /// Starts a container.
    StartContainer {
        /// Its name: its id is not known before it is made.
        name: String,
    },
    /// Asks a container to end, then ends it.
    StopContainer {
        /// Its id.
        id: ContainerId,
        /// Its name.
        name: String,
    },
    /// Sends a signal to a container.
    KillContainer {
        /// Its id.
        id: ContainerId,
        /// Its name.
        name: String,
        /// The signal, by name or number.
        signal: String,
    },
    /// Removes a container that does not run, with its writable layer.
    RemoveContainer {
        /// Its id.
        id: ContainerId,
        /// Its name.
        name: String,
    },
    /// Takes a name from an image, and removes it when it has no other.
    RemoveImage {
        /// Its name.
        name: String,
    },
    /// Waits until a container is as others need it.
    WaitFor {
        /// Its name.
        name: String,
        /// What must hold.
        condition: Condition,
    },
}

impl Operation {
    /// Returns whether data or a running process is lost by it.
    pub fn is_destructive(&self) -> bool {
        match self {
            Self::RemoveVolume { .. }
            | Self::StopContainer { .. }
            | Self::KillContainer { .. }
            | Self::RemoveContainer { .. }
            | Self::RemoveImage { .. } => true,
            Self::CreateNetwork(_)
            | Self::RemoveNetwork { .. }
            | Self::CreateVolume(_)
            | Self::CreateContainer(_)
            | Self::StartContainer { .. }
            | Self::WaitFor { .. } => false,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateNetwork(network) => write!(f, "create network {}", network.name),
            Self::RemoveNetwork { name } => write!(f, "remove network {name}"),
            Self::CreateVolume(volume) => write!(f, "create volume {}", volume.name),
            Self::RemoveVolume { name } => write!(f, "remove volume {name}"),
            Self::CreateContainer(spec) => write!(f, "create container {}", spec.name),
            Self::StartContainer { name } => write!(f, "start container {name}"),
            Self::StopContainer { name, .. } => write!(f, "stop container {name}"),
            Self::KillContainer { name, signal, .. } => write!(f, "send {signal} to container {name}"),
            Self::RemoveContainer { name, .. } => write!(f, "remove container {name}"),
            Self::RemoveImage { name } => write!(f, "remove image {name}"),
            Self::WaitFor { name, condition } => write!(f, "wait until {name} is {condition}"),
        }
    }
}

/// Why an operation is in a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It is not there yet.
    Missing,
    /// Its configuration or image changed.
    Changed,
    /// The user wants everything new.
    Forced,
    /// A network of it is replaced.
    NetworkChanged {
        /// The network.
        network: String,
    },
    /// It does not run.
    NotRunning,
    /// A service it depends on is replaced, and it asked to be restarted then.
    DependencyReplaced {
        /// The service.
        service: String,
    },
    /// No file names its service any more.
    Orphan,
    /// There are more replicas than wanted.
    Surplus,
    /// Services come after it.
    Needed {
        /// Them.
        by: Vec<String>,
    },
    /// The whole operation is done only then.
    Goal,
    /// The user asked for it.
    Asked,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("not there yet"),
            Self::Changed => f.write_str("configuration or image changed"),
            Self::Forced => f.write_str("recreation was asked for"),
            Self::NetworkChanged { network } => write!(f, "network {network} changed"),
            Self::NotRunning => f.write_str("not running"),
            Self::DependencyReplaced { service } => write!(f, "{service} is replaced"),
            Self::Orphan => f.write_str("no longer in the project"),
            Self::Surplus => f.write_str("more replicas than wanted"),
            Self::Needed { by } => write!(f, "needed by {}", by.join(", ")),
            Self::Goal => f.write_str("wanted state"),
            Self::Asked => f.write_str("asked for"),
        }
    }
}

/// Names a step within its plan.
pub type StepId = usize;

/// A step that comes before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct After {
    /// The earlier step.
    pub step: StepId,
    /// Whether its failure keeps the later one from running.
    pub required: bool,
}

/// An operation with its cause and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What is done.
    pub operation: Operation,
    /// Why.
    pub cause: Cause,
    /// The service it is for; none for networks and volumes.
    pub service: Option<String>,
    /// Steps that come before it.
    pub after: Vec<After>,
}

/// Steps in an order in which they could be run one by one; empty when nothing is to do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The steps; [`StepId`] is the index.
    pub steps: Vec<Step>,
    /// Services of containers that no file names any more and that the plan leaves alone.
    pub orphans: Vec<String>,
}

impl Plan {
    /// Returns whether nothing is to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Returns the names of the containers that it removes.
    pub fn removed(&self) -> Vec<&str> {
        let removed = self.steps.iter().filter_map(|step| match &step.operation {
            Operation::RemoveContainer { name, .. } => Some(name.as_str()),
            _ => None,
        });
        removed.collect()
    }

    /// Adds a step and returns its id.
    pub(crate) fn add(
        &mut self,
        operation: Operation,
        cause: Cause,
        service: Option<&str>,
        after: Vec<After>,
    ) -> StepId {
        debug_assert!(
            after.iter().all(|after| after.step < self.steps.len()),
            "steps come after earlier ones"
        );
        self.steps.push(Step { operation, cause, service: service.map(str::to_owned), after });
        self.steps.len() - 1
    }
}

impl fmt::Display for Plan {
    /// One line a step: number, operation, cause, and the numbers of the steps before it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.steps.iter().enumerate() {
            write!(f, "{:>3}. {} ({})", index + 1, step.operation, step.cause)?;
            if !step.after.is_empty() {
                let mut numbers: Vec<_> = step.after.iter().collect();
                numbers.sort();
                let number =
                    |after: &&After| format!("{}{}", after.step + 1, if after.required { "" } else { "?" });
                write!(f, " after {}", numbers.iter().map(number).collect::<Vec<_>>().join(", "))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Returns an edge whose failure counts.
pub(crate) fn after(step: StepId) -> After {
    After { step, required: true }
}
