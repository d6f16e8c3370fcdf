//! Namespaces of the kernel that a service's containers have of their own or share.

/// The namespaces beside network and mounts; by default all are a container's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Isolation {
    /// `ipc`.
    pub ipc: IpcMode,
    /// `pid`.
    pub pid: PidMode,
    /// `uts`.
    pub uts: UtsMode,
    /// `cgroup`.
    pub cgroup: CgroupMode,
}

/// `ipc`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum IpcMode {
    /// Its own, which nobody may join.
    #[default]
    Private,
    /// Its own, which others may join.
    Shareable,
    /// Its own, without `/dev/shm`.
    None,
    /// The host's.
    Host,
    /// That of a service's first container.
    Service(String),
    /// That of a container, by name or id.
    Container(String),
}

/// `pid`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PidMode {
    /// Its own.
    #[default]
    Private,
    /// The host's.
    Host,
    /// That of a service's first container.
    Service(String),
    /// That of a container, by name or id.
    Container(String),
}

/// `uts`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UtsMode {
    /// Its own.
    #[default]
    Private,
    /// The host's.
    Host,
}

/// `cgroup`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CgroupMode {
    /// Its own control group is the root that it sees.
    #[default]
    Private,
    /// It sees the host's.
    Host,
}

impl Isolation {
    /// Returns the services whose namespaces are shared.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        let ipc = match &self.ipc {
            IpcMode::Service(name) => Some(name.as_str()),
            IpcMode::Private | IpcMode::Shareable | IpcMode::None | IpcMode::Host | IpcMode::Container(_) => {
                None
            }
        };
        let pid = match &self.pid {
            PidMode::Service(name) => Some(name.as_str()),
            PidMode::Private | PidMode::Host | PidMode::Container(_) => None,
        };
        ipc.into_iter().chain(pid)
    }
}
