//! Keepers: what the process of each scope serves follows from who is attached where.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use coracle_network::dns;
use coracle_network::keeper::{Home, HomeError, KeeperState};

use crate::containers::request::DEFAULT_NETWORK;
use crate::etc::HostResolver;
use crate::{During, Engine, Failure, Result};

/// The keepers of an engine.
#[derive(Clone, Copy)]
pub struct Keepers<'a> {
    pub(crate) engine: &'a Engine,
}

impl Keepers<'_> {
    /// Makes the keeper of `scope` serve what is so now; it is started and ended as needed.
    pub fn refresh(&self, scope: &str) -> Result<()> {
        let home = self.home(scope);
        // Nothing to serve and nothing served: the usual case of `run` without ports.
        if !home.directory().exists() && self.wanted(scope)?.is_empty() {
            return Ok(());
        }
        let mut failure = None;
        let changed = home.change(
            || self.launch(scope),
            // Read under the keeper's lock, so that of two commands the later one's view stays.
            |state| match self.wanted(scope) {
                Ok(wanted) => *state = wanted,
                Err(error) => failure = Some(error),
            },
        );
        if let Some(failure) = failure {
            return Err(failure);
        }
        match changed {
            Ok(()) => Ok(()),
            Err(HomeError::Busy(failures)) => Err(Failure::findings(
                failures.iter().map(coracle_network::ports::BindError::diagnostic).collect(),
            )),
            Err(error) => Err(Failure::ours(format_args!("serving names and ports of {scope}"), &error)),
        }
    }

    /// Is the keeper of `scope` until nothing is left to serve.
    pub fn serve(&self, scope: &str) -> Result<()> {
        coracle_network::keeper::run(self.home(scope).directory(), std::io::stdout())
            .during(format_args!("serving names and ports of {scope}"))
    }

    fn home(&self, scope: &str) -> Home {
        Home::new(self.engine.layout.keeper(scope))
    }

    fn launch(&self, scope: &str) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command
            .arg("--data-root")
            .arg(absolute(self.engine.layout.data()))
            .arg("--run-root")
            .arg(absolute(self.engine.layout.run()))
            .args(["keeper", scope])
            .env_clear();
        command
    }

    /// Returns what the keeper of `scope` should serve.
    fn wanted(&self, scope: &str) -> Result<KeeperState> {
        let attached = self.engine.networks().scope_state(scope)?;
        let mut zones: BTreeMap<String, dns::Zone> = BTreeMap::new();
        let mut ports = Vec::new();
        for (id, attached) in &attached {
            ports.extend(attached.ports.iter().cloned());
            for endpoint in &attached.endpoints {
                // Docker: no names on the default bridge.
                if endpoint.network == DEFAULT_NETWORK {
                    continue;
                }
                if !zones.contains_key(&endpoint.network) {
                    let Some(network) = self.engine.networks().record(&endpoint.network)? else { continue };
                    let zone = dns::Zone {
                        network: network.name.clone(),
                        gateway: network.gateway,
                        subnet: network.subnet,
                        internal: network.internal,
                        endpoints: Vec::new(),
                    };
                    zones.insert(network.name, zone);
                }
                let mut aliases = endpoint.aliases.clone();
                aliases.push(id.short().to_owned());
                if let Some(zone) = zones.get_mut(&endpoint.network) {
                    zone.endpoints.push(dns::Endpoint {
                        container: id.to_string(),
                        name: attached.name.clone(),
                        aliases,
                        links: attached.links.clone(),
                        address: Some(endpoint.address),
                        ready: true,
                    });
                }
            }
        }
        let upstreams = HostResolver::read().own().servers;
        let nothing = zones.is_empty() && ports.is_empty();
        Ok(if nothing {
            KeeperState::default()
        } else {
            KeeperState { zones: zones.into_values().collect(), ports, upstreams }
        })
    }
}

/// Keepers leave their working directory: relative roots must not follow them.
fn absolute(path: &Path) -> std::path::PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
