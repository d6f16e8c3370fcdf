//! Containers: made, started, watched, stopped, removed.
//!
//! ```text
//! containers/<id>/container.json   what is wanted (written once)
//! containers/<id>/state.json       what is so (written by the shim)
//! containers/<id>/log              output, rotated
//! containers/<id>/etc/             hosts, hostname, resolv.conf
//! container-names/<name>           holds the id: a name belongs to one container
//! ```

mod attached;
mod changes;
mod commit;
mod copy;
mod create;
mod exec;
mod hooks;
mod host_config;
mod inspect;
mod kept_logs;
mod launch;
mod logs;
mod mounts;
mod partners;
mod pause;
mod processes;
mod recover;
mod remove;
mod rename;
pub mod request;
mod run;
mod stats;
mod stop;
mod update;

use coracle_container::{ContainerId, ContainerRecord, ContainerState, MountKind, PublishedPort};
use coracle_oci::ImageId;
use coracle_report::Diagnostic;

pub use changes::Sizes;
pub use commit::CommitRequest;
pub use copy::CopyRequest;
pub use exec::ExecRequest;
pub use kept_logs::KeptLog;
pub(crate) use launch::{look_up_user, overlay_of};
pub use logs::{LogLine, LogRequest, LogStream};
pub use processes::ProcessTable;
pub(crate) use recover::holder;
pub use request::{ContainerRequest, HealthRequest};
pub use run::{AttachStreams, Attached};
pub use stats::{Sample, Stats};
pub use update::UpdateRequest;

use crate::networks::Endpoint;
use crate::{During, Engine, Failure, Result, near, stored};

/// Label of the service that a project's container runs.
pub const LABEL_SERVICE: &str = "com.docker.compose.service";
/// Label of the project that a container belongs to.
pub const LABEL_PROJECT: &str = "com.docker.compose.project";

/// Returns whether a container may be a replica of a project's service.
fn is_replica(spec: &coracle_container::ContainerSpec) -> bool {
    spec.network_mode == coracle_container::NetworkMode::Bridge && spec.labels.contains_key(LABEL_SERVICE)
}

/// A container as it is now.
#[derive(Clone, Debug)]
pub struct ContainerView {
    /// What is wanted.
    pub record: ContainerRecord,
    /// What is so.
    pub state: ContainerState,
    /// Where it is attached.
    pub endpoints: Vec<Endpoint>,
    /// What it publishes; host ports are decided while it runs.
    pub ports: Vec<PublishedPort>,
}

impl ContainerView {
    /// Returns the service that it runs, if it belongs to a project.
    pub fn service(&self) -> Option<&str> {
        self.record.spec.labels.get(LABEL_SERVICE).map(String::as_str)
    }

    /// Returns whether it was made by a one-time `run` of a service.
    pub fn is_one_off(&self) -> bool {
        let label = self.record.spec.labels.get("com.docker.compose.oneoff");
        label.is_some_and(|text| text.eq_ignore_ascii_case("true"))
    }

    /// Returns which replica of its service it is, from 1.
    pub fn number(&self) -> u32 {
        let label = self.record.spec.labels.get("com.docker.compose.container-number");
        label.and_then(|text| text.parse().ok()).unwrap_or(1)
    }

    /// Returns the project that it belongs to.
    pub fn project(&self) -> Option<&str> {
        self.record.spec.labels.get(LABEL_PROJECT).map(String::as_str)
    }
}

/// The containers of an engine.
#[derive(Clone, Copy)]
pub struct Containers<'a> {
    pub(crate) engine: &'a Engine,
}

impl Containers<'_> {
    /// Returns all containers, newest first.
    pub fn list(&self) -> Result<Vec<ContainerView>> {
        let mut views = Vec::new();
        for id in self.ids()? {
            // One that is removed while we look is not there; one whose record is damaged hides no other.
            match self.view(&id) {
                Ok(view) => views.extend(view),
                Err(failure) => self.engine.tell_damage(&failure),
            }
        }
        views.sort_by_key(|view| std::cmp::Reverse(view.record.created));
        let running = views.iter().filter(|view| !view.endpoints.is_empty());
        self.engine.keepers().revive(running.map(|view| view.record.spec.scope.as_str()));
        Ok(views)
    }

    /// Finds a container by name or the beginning of its id.
    pub fn find(&self, name: &str) -> Result<ContainerView> {
        if is_name(name)
            && let Some(id) = self.named(name)?
            && let Some(view) = self.view(&id)?
        {
            return Ok(view);
        }
        let ids = self.ids()?;
        let matching: Vec<_> =
            ids.iter().filter(|id| name.len() >= 2 && id.as_str().starts_with(name)).collect();
        match matching.as_slice() {
            [id] => {
                if let Some(view) = self.view(id)? {
                    return Ok(view);
                }
            }
            [] => {}
            _ => {
                let message = format!("`{name}` begins the ids of {} containers", matching.len());
                return Err(Failure::user(
                    Diagnostic::error("ambiguous-container", message)
                        .with_hint("give more digits: coracle ps -a"),
                ));
            }
        }
        let mut diagnostic = Diagnostic::error("no-such-container", format!("no such container: {name}"));
        let names = self.names()?;
        diagnostic = match near::nearest(name, names.iter().map(String::as_str)) {
            Some(near) => diagnostic.with_hint(format!("did you mean `{near}`?")),
            None => diagnostic.with_hint("coracle ps -a"),
        };
        Err(Failure::user(diagnostic))
    }

    /// Returns a container as it is now; `None` when there is none. A shim that was killed is found out here: its
    /// container's processes are ended and the exit is recorded.
    pub fn view(&self, id: &ContainerId) -> Result<Option<ContainerView>> {
        let Some(record) = self.record(id)? else { return Ok(None) };
        let state = self.state(id)?;
        let mut attached = self.engine.networks().read_state()?.containers.remove(id);
        let goes = record.spec.auto_remove && !self.is_owned(id);
        if (attached.is_some() || goes) && matches!(state, ContainerState::Exited { .. }) {
            // Nobody was left to clean up, or it is being started again right now: then its shim lives.
            if !self.engine.runtime.has_shim(id).during("looking for a shim")? {
                self.reap(id)?;
                if goes && self.record(id)?.is_none() {
                    return Ok(None);
                }
            }
            attached = None;
        }
        let (endpoints, ports) = match attached {
            Some(attached) => (attached.endpoints, attached.ports.iter().map(published).collect()),
            None => (Vec::new(), Vec::new()),
        };
        Ok(Some(ContainerView { record, state, endpoints, ports }))
    }

    /// Returns a container's record; `None` when there is none.
    pub fn record(&self, id: &ContainerId) -> Result<Option<ContainerRecord>> {
        let layout = &self.engine.layout;
        let read = stored::read(&layout.container_record(id.as_str()));
        if read.as_ref().is_err_and(coracle_store::StoreError::is_damage)
            && let Ok(Some(record)) = stored::read(&layout.running_container_record(id.as_str()))
        {
            // It runs, by a record that was whole when it started.
            return Ok(Some(record));
        }
        read.during(format_args!("reading the record of container {}", id.short()))
    }

    /// Returns what a container is now; the loss of its shim is found out and recorded here.
    pub(crate) fn state(&self, id: &ContainerId) -> Result<ContainerState> {
        self.engine.runtime.state(id).during(format_args!("reading the state of container {}", id.short()))
    }

    /// Returns the container that has a name.
    pub(crate) fn named(&self, name: &str) -> Result<Option<ContainerId>> {
        match std::fs::read_to_string(self.engine.layout.container_name(name)) {
            Ok(text) => Ok(text.trim().parse().ok()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::ours(format_args!("looking for container {name}"), &error)),
        }
    }

    pub(crate) fn ids(&self) -> Result<Vec<ContainerId>> {
        let names = directory_names(&self.engine.layout.containers())?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    pub(crate) fn names(&self) -> Result<Vec<String>> {
        directory_names(&self.engine.layout.container_names())
    }

    /// Returns the names of containers that use a volume.
    pub(crate) fn using_volume(&self, volume: &str) -> Result<Vec<String>> {
        let uses = |record: &ContainerRecord| {
            record
                .spec
                .mounts
                .iter()
                .any(|mount| matches!(&mount.kind, MountKind::Volume { name, .. } if name == volume))
        };
        let mut users = Vec::new();
        for id in self.ids()? {
            users.extend(self.record(&id)?.filter(uses).map(|record| record.spec.name));
        }
        Ok(users)
    }

    /// Returns whether another container than `except` that uses a volume runs or is being started.
    pub(crate) fn is_volume_alive(&self, volume: &str, except: &ContainerId) -> Result<bool> {
        for id in self.ids()?.iter().filter(|id| *id != except) {
            let uses = self.record(id)?.is_some_and(|record| {
                let mut mounts = record.spec.mounts.iter();
                mounts.any(|mount| matches!(&mount.kind, MountKind::Volume { name, .. } if name == volume))
            });
            if uses && (self.is_owned(id) || self.engine.runtime.has_shim(id).during("looking for a shim")?) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the names of containers of an image, and whether each runs.
    pub(crate) fn using_image(&self, image: &ImageId) -> Result<Vec<(String, bool)>> {
        let views = self.list()?;
        let mounts = |view: &ContainerView| {
            let mut mounts = view.record.spec.mounts.iter();
            mounts.any(|mount| matches!(&mount.kind, MountKind::Image { id, .. } if id == image))
        };
        let using = views.into_iter().filter(|view| view.record.spec.image_id == *image || mounts(view));
        Ok(using.map(|view| (view.record.spec.name, view.state.has_shim())).collect())
    }
}

/// Returns a published port in the words of `container`.
fn published(port: &coracle_network::PublishedPort) -> PublishedPort {
    PublishedPort {
        host_ip: port.host_ip,
        host_port: Some(port.host_port),
        container_port: port.container_port,
        protocol: match port.protocol {
            coracle_network::Protocol::Tcp => coracle_container::Protocol::Tcp,
            coracle_network::Protocol::Udp => coracle_container::Protocol::Udp,
        },
    }
}

pub(crate) fn directory_names(path: &std::path::Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Failure::ours(format_args!("listing {}", path.display()), &error)),
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.collect())
}

/// Returns whether `text` may name a container; it becomes a file's name.
pub fn is_name(text: &str) -> bool {
    let mut characters = text.chars();
    characters.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && text.len() <= 200
        && characters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}
