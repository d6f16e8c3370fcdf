//! Containers whose namespaces another one shares: found, and held against what Docker allows.

use coracle_container::runtime_spec::NetworkNamespace;
use coracle_container::{ContainerId, ContainerSpec, IpcMode, NetworkMode};
use coracle_report::Diagnostic;
use coracle_runtime::{Shared, SharedWith};

use super::request::DEFAULT_NETWORK;
use super::{ContainerView, Containers};
use crate::{Failure, Result};

/// How long a chain of containers that share one network may be.
const LONGEST_CHAIN: usize = 8;

/// Whose network a container uses.
#[derive(Clone, Debug)]
pub(super) struct NetworkOwner {
    pub namespace: NetworkNamespace,
    /// The container that owns it, when it is another's: its files in `/etc` and its name are shared as well.
    pub owner: Option<ContainerView>,
}

impl Containers<'_> {
    /// Returns the containers whose process and communication namespaces are shared. They must run.
    pub(super) fn partners(&self, spec: &ContainerSpec) -> Result<Vec<SharedWith>> {
        let mut partners = Vec::new();
        for (namespace, name) in spec.isolation.partners() {
            let view = self.partner(spec, namespace, name)?;
            let theirs = &view.record.spec;
            let shared = if namespace == "ipc" {
                if theirs.isolation.ipc != IpcMode::Shareable {
                    let message = format!("container `{}` does not share its ipc namespace", theirs.name);
                    let hint = "give it `ipc: shareable` (--ipc shareable)";
                    return Err(Failure::user(Diagnostic::error("not-shareable", message).with_hint(hint)));
                }
                Shared::Ipc
            } else {
                Shared::Pid
            };
            partners.push(SharedWith { shared, id: view.record.id, name: theirs.name.clone() });
        }
        Ok(partners)
    }

    /// Returns whose network a container uses; one that shares another's leads to the one that has it.
    pub(super) fn network_owner(&self, spec: &ContainerSpec) -> Result<NetworkOwner> {
        let mut mode = spec.network_mode.clone();
        let mut owner = None;
        for _ in 0..LONGEST_CHAIN {
            let name = match mode {
                NetworkMode::Container(name) => name,
                NetworkMode::Host => return Ok(NetworkOwner { namespace: NetworkNamespace::Host, owner }),
                NetworkMode::Bridge | NetworkMode::None => {
                    let namespace =
                        if owner.is_some() { NetworkNamespace::Joined } else { NetworkNamespace::Own };
                    return Ok(NetworkOwner { namespace, owner });
                }
            };
            let view = self.partner(spec, "network", &name)?;
            mode = view.record.spec.network_mode.clone();
            owner = Some(view);
        }
        let message = format!("container `{}` shares a network in a circle", spec.name);
        Err(Failure::user(Diagnostic::error("network-circle", message)))
    }

    fn partner(&self, spec: &ContainerSpec, what: &str, name: &str) -> Result<ContainerView> {
        let view = self.find(name)?;
        if view.record.spec.name == spec.name {
            let message = format!("container `{}` cannot share its own {what}", spec.name);
            return Err(Failure::user(Diagnostic::error("shares-itself", message)));
        }
        if !view.state.has_shim() {
            let message = format!(
                "container `{}`, whose {what} `{}` shares, does not run",
                view.record.spec.name, spec.name
            );
            return Err(Failure::user(
                Diagnostic::error("partner-stopped", message)
                    .with_hint(format!("start it: coracle start {}", view.record.spec.name)),
            ));
        }
        Ok(view)
    }

    /// Returns lines of `/etc/hosts` for links on the default bridge, where nobody answers for names.
    pub(super) fn link_lines(&self, spec: &ContainerSpec) -> Result<Vec<(String, String)>> {
        let mut lines = Vec::new();
        if !spec.networks.iter().any(|attachment| attachment.network == DEFAULT_NETWORK) {
            return Ok(lines);
        }
        for link in &spec.links {
            let view = self.partner(spec, "network", &link.container)?;
            let on_bridge = view.endpoints.iter().find(|endpoint| endpoint.network == DEFAULT_NETWORK);
            if let Some(endpoint) = on_bridge {
                let names = [&link.alias, &view.record.spec.name];
                lines.extend(names.map(|name| (name.clone(), endpoint.address.to_string())));
            }
        }
        lines.dedup();
        Ok(lines)
    }

    /// Refuses to make a container that shares what is not there.
    pub(super) fn check_partners(&self, spec: &ContainerSpec) -> Result<()> {
        if let NetworkMode::Container(name) = &spec.network_mode {
            self.find(name)?;
        }
        let links = spec.links.iter().map(|link| link.container.as_str());
        for name in spec.isolation.partners().map(|(_, name)| name).chain(links) {
            self.find(name)?;
        }
        Ok(())
    }
}

impl NetworkOwner {
    /// Returns the container whose network is joined.
    pub fn joined(&self) -> Option<SharedWith> {
        let view = self.owner.as_ref().filter(|_| self.namespace == NetworkNamespace::Joined)?;
        let name = view.record.spec.name.clone();
        Some(SharedWith { shared: Shared::Network, id: view.record.id.clone(), name })
    }

    /// Returns the container whose files in `/etc` are used: its owner's, or its own.
    pub fn files_of<'a>(&'a self, own: &'a ContainerId) -> &'a ContainerId {
        self.owner.as_ref().map_or(own, |view| &view.record.id)
    }
}

/// Refuses what excludes another container's network, in Docker's words and with what to do.
pub(super) fn check_conflicts(spec: &ContainerSpec) -> Result<()> {
    let shared = match &spec.network_mode {
        NetworkMode::Container(name) => format!("the network of container `{name}`"),
        NetworkMode::Host => "the host’s network".to_owned(),
        NetworkMode::Bridge | NetworkMode::None => return check_names(spec),
    };
    let joined = matches!(spec.network_mode, NetworkMode::Container(_));
    let conflicts = [
        (
            joined && !spec.ports.is_empty(),
            "published ports",
            "publish them at the container that has the network",
        ),
        (joined && spec.hostname.is_some(), "a host name", "leave `hostname` out: the name is shared too"),
        (joined && !spec.dns.is_empty(), "name servers", "set `dns` at the container that has the network"),
        (
            joined && !spec.dns_search.is_empty(),
            "search domains",
            "set `dns_search` at the container that has the network",
        ),
        (
            joined && !spec.dns_options.is_empty(),
            "options of the resolver",
            "set `dns_opt` at the container that has the network",
        ),
        (
            joined && !spec.extra_hosts.is_empty(),
            "lines of /etc/hosts",
            "set `extra_hosts` at the container that has the network",
        ),
        (
            !spec.links.is_empty(),
            "links",
            "leave `links` out: names are resolved as the network’s owner does",
        ),
    ];
    match conflicts.into_iter().find(|(conflicting, ..)| *conflicting) {
        Some((_, what, hint)) => {
            let message = format!("container `{}` uses {shared}, which excludes {what}", spec.name);
            Err(Failure::user(Diagnostic::error("network-conflict", message).with_hint(hint)))
        }
        None => check_names(spec),
    }
}

/// Refuses a name of its own where the host's is used.
fn check_names(spec: &ContainerSpec) -> Result<()> {
    let shared = spec.isolation.uts == coracle_container::UtsMode::Host;
    if shared && (spec.hostname.is_some() || spec.domainname.is_some()) {
        let message =
            format!("container `{}` uses the host’s name and cannot have one of its own", spec.name);
        return Err(Failure::user(
            Diagnostic::error("name-conflict", message).with_hint("leave out `hostname` or `uts: host`"),
        ));
    }
    Ok(())
}
