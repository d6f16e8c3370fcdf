//! A step as a container: the command, its environment, its network and its limits.

use std::collections::BTreeMap;

use coracle_build::{ExecRequest, HostAddress};
use coracle_container::{
    ContainerId, ContainerSpec, Isolation, LogOptions, NetworkAttachment, NetworkMode, Resources,
    RestartPolicy, Ulimit,
};
use coracle_dockerfile::Security;
use coracle_oci::{Digest, ImageId};
use indexmap::IndexMap;

use super::super::EngineHost;
use super::mounts::Mounts;
use super::{CA_PLACE, CA_VARIABLES, HOST_NAME};
use crate::containers::request::{DEFAULT_NETWORK, STANDALONE};

impl EngineHost<'_> {
    pub(super) fn spec(
        &self,
        request: &ExecRequest<'_>,
        id: &ContainerId,
        mounts: &Mounts<'_>,
    ) -> ContainerSpec {
        let network_mode = match request.network {
            coracle_dockerfile::NetworkMode::Default => NetworkMode::Bridge,
            coracle_dockerfile::NetworkMode::None => NetworkMode::None,
            coracle_dockerfile::NetworkMode::Host => NetworkMode::Host,
        };
        let networks = match network_mode {
            NetworkMode::Bridge => {
                vec![NetworkAttachment {
                    network: DEFAULT_NETWORK.to_owned(),
                    ..NetworkAttachment::default()
                }]
            }
            NetworkMode::None | NetworkMode::Host | NetworkMode::Container(_) => Vec::new(),
        };
        let sandbox = request.sandbox;
        let insecure = request.security == Security::Insecure;
        ContainerSpec {
            name: format!("build-{}", id.short()),
            image: "build".to_owned(),
            image_id: ImageId::new(Digest::of("build")),
            entrypoint: Vec::new(),
            command: request.args.clone(),
            environment: self.environment(request, mounts),
            working_directory: request.cwd.clone(),
            user: request.user.clone(),
            group_add: Vec::new(),
            hostname: Some(HOST_NAME.to_owned()),
            domainname: None,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            tty: false,
            open_stdin: false,
            init: false,
            auto_remove: false,
            read_only: false,
            privileged: insecure,
            no_new_privileges: false,
            seccomp_unconfined: insecure,
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            security: coracle_container::Security::default(),
            isolation: Isolation::default(),
            mounts: Vec::new(),
            volumes_from: Vec::new(),
            on_unhealthy: coracle_oci::OnUnhealthy::None,
            restart_pace: coracle_container::RestartPace::default(),
            hooks: coracle_container::Hooks::default(),
            secrets: mounts.secrets.clone(),
            network_mode,
            networks,
            ports: Vec::new(),
            exposed: Vec::new(),
            extra_hosts: sandbox
                .extra_hosts
                .iter()
                .map(|(name, address)| match address {
                    HostAddress::Ip(address) => (name.clone(), address.to_string()),
                    HostAddress::HostGateway => (name.clone(), "host-gateway".to_owned()),
                })
                .collect(),
            dns: Vec::new(),
            dns_search: Vec::new(),
            dns_options: Vec::new(),
            links: Vec::new(),
            resources: Resources { memory: sandbox.memory, ..Resources::default() },
            ulimits: sandbox
                .ulimits
                .iter()
                .map(|limit| Ulimit { name: limit.name.clone(), soft: limit.soft, hard: limit.hard })
                .collect(),
            sysctls: BTreeMap::new(),
            devices: Vec::new(),
            device_rules: Vec::new(),
            cgroup_parent: None,
            oom_score_adj: None,
            shm_size: sandbox.shm_size,
            restart: RestartPolicy::No,
            healthcheck: None,
            stop_signal: "SIGKILL".to_owned(),
            stop_grace_seconds: 0,
            log: LogOptions { disabled: true, ..LogOptions::default() },
            scope: STANDALONE.to_owned(),
        }
    }

    fn environment(&self, request: &ExecRequest<'_>, mounts: &Mounts<'_>) -> IndexMap<String, String> {
        let mut environment: IndexMap<String, String> = IndexMap::new();
        for line in &request.env {
            let (name, value) = line.split_once('=').unwrap_or((line, ""));
            environment.insert(name.to_owned(), value.to_owned());
        }
        if self.host_ca.is_some() {
            for name in CA_VARIABLES {
                environment.entry(name.to_owned()).or_insert_with(|| CA_PLACE.to_owned());
            }
        }
        if let Some(socket) = &mounts.agent {
            environment.entry("SSH_AUTH_SOCK".to_owned()).or_insert_with(|| socket.clone());
        }
        environment
    }
}
