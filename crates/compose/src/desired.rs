//! What a project wants: its services as complete container specifications, its networks and volumes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use coracle_composefile::{DependencyCondition, FileContent, Ipv6Pool, NetworkDriver, Project, Service};
use coracle_container::ContainerSpec;
use coracle_oci::{Digest, ImageId, RunConfig};
use coracle_report::{Diagnostic, Span};
use indexmap::IndexMap;

use crate::labels;
use crate::{attributes, convert, hash, mounts, ports};

/// An image that a service runs, resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedImage {
    /// Its id.
    pub id: ImageId,
    /// Its defaults.
    pub config: RunConfig,
}

/// What turns a project into what it wants; all that lies outside the project's files.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The project.
    pub project: &'a Project,
    /// Images by service. An optional service without one is left out.
    pub images: &'a IndexMap<String, ResolvedImage>,
    /// Images that services mount, by the name as `type: image` has it; one that is not there is an error.
    pub mounted: &'a BTreeMap<String, ImageId>,
    /// Digests of the files that [`source_files`] lists; a missing entry is a missing file.
    pub files: &'a BTreeMap<PathBuf, Digest>,
    /// The directory where contents that stand in the project's files are to be written, absolute.
    pub generated_directory: &'a Path,
}

/// What a project wants.
#[derive(Clone, Debug, PartialEq)]
pub struct DesiredProject {
    /// The project's name.
    pub name: String,
    /// Networks, by key.
    pub networks: IndexMap<String, DesiredNetwork>,
    /// Volumes, by name in the engine.
    pub volumes: IndexMap<String, DesiredVolume>,
    /// Services, dependencies before dependents.
    pub services: IndexMap<String, DesiredService>,
    /// Optional services that are left out because their image cannot be had.
    pub skipped: Vec<String>,
    /// All names of services that the project's files know, active or not: containers of others are orphans.
    pub known_services: BTreeSet<String>,
    /// Files to write (mode 0600) before anything starts.
    pub generated: Vec<GeneratedFile>,
}

/// A file whose content stands in the project's files or in a variable.
#[derive(Clone, PartialEq, Eq)]
pub struct GeneratedFile {
    /// Where.
    pub path: PathBuf,
    /// What; not shown by `Debug`.
    pub content: String,
}

impl std::fmt::Debug for GeneratedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GeneratedFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A network that a project wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredNetwork {
    /// Its name in the engine.
    pub name: String,
    /// Whether it must be there already.
    pub external: bool,
    /// Whether nothing outside is reachable.
    pub internal: bool,
    /// Subnet in CIDR form; `None` lets the engine choose.
    pub subnet: Option<String>,
    /// Gateway; `None` is the subnet's first address.
    pub gateway: Option<std::net::Ipv4Addr>,
    /// The part of the subnet that addresses are chosen from, in CIDR form; `None` is all of it.
    pub range: Option<String>,
    /// Addresses that no container gets unless it asks, by what they are for.
    pub reserved: BTreeMap<String, std::net::Ipv4Addr>,
    /// Its IPv6 addresses; `None` is none.
    pub ipv6: Option<Ipv6Pool>,
    /// Options of the driver.
    pub driver_options: BTreeMap<String, String>,
    /// Labels, [`labels::CONFIG_HASH`] among them.
    pub labels: BTreeMap<String, String>,
    /// Where it is defined.
    pub span: Option<Span>,
}

/// A volume that a project wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredVolume {
    /// Its name in the engine.
    pub name: String,
    /// Whether it must be there already.
    pub external: bool,
    /// Options of the `local` driver: what it shows instead of a directory of its own.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Where it is defined; `None` for one that no file names.
    pub span: Option<Span>,
}

/// A service that a project wants.
#[derive(Clone, Debug, PartialEq)]
pub struct DesiredService {
    /// Its name.
    pub name: String,
    /// What all its containers are made from, as one digest.
    pub config_hash: String,
    /// Its containers, in the order of their ordinals, the first is 1.
    pub containers: Vec<ContainerSpec>,
    /// Services that come before it.
    pub depends_on: Vec<DesiredDependency>,
    /// Whether its health is probed.
    pub has_health: bool,
    /// Whether its output is shown when one stays with it.
    pub attach: bool,
    /// Whether another service waits for its end.
    pub is_one_shot: bool,
    /// Where it is defined.
    pub span: Span,
}

/// A dependency between services that are both wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredDependency {
    /// The other service.
    pub service: String,
    /// What must hold of it.
    pub condition: DependencyCondition,
    /// Whether the dependent restarts when it is replaced.
    pub restart: bool,
    /// Whether the dependent cannot do without.
    pub required: bool,
    /// Whether the dependent lives in namespaces of it, and so restarts whenever it does.
    pub shares: bool,
}

/// Lists the host files whose contents services are given: the caller digests those that exist.
pub fn source_files(project: &Project) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = Vec::new();
    for service in project.services.values() {
        let secrets = service.secrets.iter().filter_map(|grant| project.secrets.get(&grant.source));
        let configs = service.configs.iter().filter_map(|grant| project.configs.get(&grant.source));
        for object in secrets.chain(configs) {
            if let FileContent::File(path) = &object.content
                && !files.contains(path)
            {
                files.push(path.clone());
            }
        }
    }
    files
}

/// Decides what a project wants. All errors that can be found in one go are returned together.
pub fn desired(inputs: Inputs<'_>) -> Result<DesiredProject, Vec<Diagnostic>> {
    let project = inputs.project;
    let mut errors = ports::published_ports(project).err().unwrap_or_default();
    let mut wanted = DesiredProject {
        name: project.name.clone(),
        networks: project
            .networks
            .iter()
            .filter(|(_, network)| network.driver == NetworkDriver::Bridge)
            .map(|(key, _)| (key.clone(), network(project, key)))
            .collect(),
        volumes: IndexMap::new(),
        services: IndexMap::new(),
        skipped: Vec::new(),
        known_services: project.services.keys().chain(project.inactive_services.keys()).cloned().collect(),
        generated: Vec::new(),
    };
    errors.extend(project.networks.values().flat_map(|network| network.refusals.iter().cloned()));
    for name in in_order(project) {
        let service = &project.services[name];
        let Some(image) = inputs.images.get(name) else {
            if service.optional {
                wanted.skipped.push(name.to_owned());
            } else {
                let message = format!("service `{name}` has no image `{}`", service.image.familiar());
                errors.push(Diagnostic::error("image", message).with_span(service.span.clone()));
            }
            continue;
        };
        match desired_service(inputs, service, image, &mut wanted) {
            Ok(service) => {
                wanted.services.insert(name.to_owned(), service);
            }
            // A conflict among ports was found above already.
            Err(found) => errors.extend(found.into_iter().filter(|error| error.code != "port-conflict")),
        }
    }
    check_names(&wanted, &mut errors);
    if errors.is_empty() {
        check_dependencies(project, &wanted, &mut errors);
    }
    if errors.is_empty() { Ok(wanted) } else { Err(errors) }
}

/// Returns the services so that each comes after those it depends on; the order of the files decides otherwise.
fn in_order(project: &Project) -> Vec<&str> {
    fn visit<'p>(project: &'p Project, name: &'p str, out: &mut Vec<&'p str>) {
        if out.contains(&name) {
            return;
        }
        // Circles were refused when the project was loaded.
        if let Some(service) = project.services.get(name) {
            service.depends_on.keys().for_each(|dependency| visit(project, dependency, out));
            out.push(name);
        }
    }
    let mut out = Vec::new();
    project.services.keys().for_each(|name| visit(project, name, &mut out));
    out
}

fn desired_service(
    inputs: Inputs<'_>,
    service: &Service,
    image: &ResolvedImage,
    wanted: &mut DesiredProject,
) -> Result<DesiredService, Vec<Diagnostic>> {
    let project = inputs.project;
    let files = convert::granted_files(inputs, service)?;
    for file in &files {
        if let Some(generated) = &file.generated
            && !wanted.generated.contains(generated)
        {
            wanted.generated.push(generated.clone());
        }
    }
    let mut containers = Vec::new();
    for ordinal in 1..=service.replicas {
        containers.push(convert::container_spec(inputs, wanted, service, image, &files, ordinal)?);
    }
    let contents = files.iter().map(|file| (file.file.target.as_str(), file.content));
    let config_hash = hash::of_spec(containers.first(), contents);
    for (index, spec) in containers.iter_mut().enumerate() {
        for (name, volume) in mounts::volumes(project, service, spec) {
            wanted.volumes.entry(name).or_insert(volume);
        }
        convert::label(project, service, spec, index as u32 + 1, &config_hash);
    }
    let depends_on = service
        .depends_on
        .iter()
        .filter(|(name, _)| wanted.services.contains_key(*name))
        .map(|(name, dependency)| DesiredDependency {
            service: name.clone(),
            condition: dependency.condition,
            restart: dependency.restart,
            required: dependency.required,
            shares: attributes::shares_with(service, name),
        })
        .collect();
    let is_one_shot = project.services.values().any(|other| {
        let dependency = other.depends_on.get(&service.name);
        dependency.is_some_and(|d| d.condition == DependencyCondition::CompletedSuccessfully)
    });
    Ok(DesiredService {
        name: service.name.clone(),
        config_hash,
        has_health: convert::has_health(service, image),
        containers,
        depends_on,
        attach: service.attach,
        is_one_shot,
        span: service.span.clone(),
    })
}

fn network(project: &Project, key: &str) -> DesiredNetwork {
    let network = &project.networks[key];
    let mut desired = DesiredNetwork {
        name: network.name.clone(),
        external: network.external,
        internal: network.internal,
        subnet: network.subnet.clone(),
        gateway: network.gateway,
        range: network.range.clone(),
        reserved: network.reserved.clone().into_iter().collect(),
        ipv6: network.ipv6.clone(),
        driver_options: network.driver_options.clone().into_iter().collect(),
        labels: network.labels.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        span: network.span.clone(),
    };
    let config_hash = hash::of_network(&desired);
    desired.labels.insert(labels::PROJECT.to_owned(), project.name.clone());
    desired.labels.insert(labels::NETWORK.to_owned(), key.to_owned());
    desired.labels.insert(labels::VERSION.to_owned(), labels::COMPOSE_VERSION.to_owned());
    desired.labels.insert(labels::CONFIG_HASH.to_owned(), config_hash);
    desired
}

/// Refuses two containers of one name.
fn check_names(wanted: &DesiredProject, errors: &mut Vec<Diagnostic>) {
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for service in wanted.services.values() {
        for spec in &service.containers {
            if let Some(owner) = owners.insert(&spec.name, &service.name) {
                let message = format!(
                    "services `{owner}` and `{}` both want the container name `{}`",
                    service.name, spec.name
                );
                errors.push(
                    Diagnostic::error("name-conflict", message)
                        .with_span(service.span.clone())
                        .with_hint("give one of them another `container_name`"),
                );
            }
        }
    }
}

/// Refuses conditions that can never hold.
fn check_dependencies(project: &Project, wanted: &DesiredProject, errors: &mut Vec<Diagnostic>) {
    for service in project.services.values() {
        for (name, dependency) in &service.depends_on {
            let Some(other) = wanted.services.get(name) else { continue };
            if dependency.condition == DependencyCondition::Healthy && !other.has_health {
                let message = format!(
                    "service `{}` waits until `{name}` is healthy, but `{name}` has no health check",
                    service.name
                );
                errors.push(
                    Diagnostic::error("no-health-check", message)
                        .with_span(dependency.span.clone())
                        .with_hint(format!("give `{name}` a `healthcheck`, or wait for `service_started`")),
                );
            }
            let restarts = other.containers.first().is_some_and(|spec| {
                use coracle_container::RestartPolicy as Policy;
                matches!(spec.restart, Policy::Always | Policy::UnlessStopped)
            });
            if dependency.condition == DependencyCondition::CompletedSuccessfully && restarts {
                let message = format!(
                    "service `{}` waits until `{name}` has completed, but `{name}` is restarted whenever it ends",
                    service.name
                );
                errors.push(
                    Diagnostic::error("never-completes", message)
                        .with_span(dependency.span.clone())
                        .with_hint(format!("give `{name}` `restart: \"no\"` or `restart: on-failure`")),
                );
            }
        }
    }
}
