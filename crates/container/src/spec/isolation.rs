//! Which kernel namespaces a container has of its own, and which it shares with the host or another container.

use serde::{Deserialize, Serialize};

/// The namespaces beside network and mounts. The default is Docker's: all its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Isolation {
    /// Shared memory, semaphores and message queues.
    pub ipc: IpcMode,
    /// Processes.
    pub pid: PidMode,
    /// Host name.
    pub uts: UtsMode,
    /// View of the control groups.
    pub cgroup: CgroupMode,
}

impl Isolation {
    /// Returns the containers, by name or id, whose namespaces are shared, each with the attribute that says so.
    pub fn partners(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let ipc = match &self.ipc {
            IpcMode::Container(name) => Some(("ipc", name.as_str())),
            IpcMode::Private | IpcMode::Shareable | IpcMode::None | IpcMode::Host => None,
        };
        let pid = match &self.pid {
            PidMode::Container(name) => Some(("pid", name.as_str())),
            PidMode::Private | PidMode::Host => None,
        };
        ipc.into_iter().chain(pid)
    }
}

/// Docker's `--ipc`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IpcMode {
    /// Its own, which no other container may join.
    #[default]
    Private,
    /// Its own, which others may join.
    Shareable,
    /// Its own, without `/dev/shm`.
    None,
    /// The host's, with its `/dev/shm`.
    Host,
    /// That of another container, by name or id, with its `/dev/shm`.
    Container(String),
}

/// Docker's `--pid`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PidMode {
    /// Its own.
    #[default]
    Private,
    /// The host's.
    Host,
    /// That of another container, by name or id.
    Container(String),
}

/// Docker's `--uts`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UtsMode {
    /// Its own.
    #[default]
    Private,
    /// The host's.
    Host,
}

/// Docker's `--cgroupns`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CgroupMode {
    /// Its own control group is the root that it sees.
    #[default]
    Private,
    /// It sees the host's.
    Host,
}
