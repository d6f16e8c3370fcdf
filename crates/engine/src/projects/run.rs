//! One command in a container of its own, made like a service's: `compose run`.

use std::sync::atomic::AtomicBool;

use coracle_compose::{DesiredProject, Goal, await_dependencies, execute, labels, one_off};
use coracle_container::{ContainerId, ContainerSpec, Mount, MountKind, PublishedPort, RestartPolicy};
use coracle_report::Diagnostic;
use indexmap::IndexMap;

use super::up::write_generated;
use super::{LoadedProject, Projects, UpOptions};
use crate::{During, Failure, Result, process};

/// What a one-time container has instead of what its service says; `None` and empty keep that.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of Docker Compose's")]
pub struct RunRequest {
    /// The service.
    pub service: String,
    /// Its command.
    pub command: Vec<String>,
    /// Its entry point, which drops the command of service and image.
    pub entrypoint: Option<Vec<String>>,
    /// The container's name; one is made up when it is `None`.
    pub name: Option<String>,
    /// Variables, over the service's.
    pub environment: IndexMap<String, String>,
    /// Labels, over the service's.
    pub labels: Vec<(String, String)>,
    /// User.
    pub user: Option<String>,
    /// Working directory.
    pub working_directory: Option<String>,
    /// Mounts, beside the service's.
    pub mounts: Vec<Mount>,
    /// Published ports.
    pub ports: Vec<PublishedPort>,
    /// The service's own published ports too.
    pub service_ports: bool,
    /// It answers to the service's names on its networks.
    pub use_aliases: bool,
    /// Added capabilities.
    pub cap_add: Vec<String>,
    /// Dropped capabilities.
    pub cap_drop: Vec<String>,
    /// It has a terminal.
    pub tty: bool,
    /// Standard input stays open.
    pub stdin: bool,
    /// It is removed when it ends.
    pub remove: bool,
}

impl Projects<'_> {
    /// Makes the container of a one-time run, which does not run yet; before, what its service depends on is brought up
    /// and waited for, unless `options` leave it alone. `None` in a dry run; the text is what was to be done.
    pub fn make_one_off(
        &self,
        loaded: &LoadedProject,
        request: &RunRequest,
        options: &UpOptions,
        cancel: &AtomicBool,
    ) -> Result<(Option<ContainerId>, String)> {
        loaded.check_services(std::slice::from_ref(&request.service))?;
        let _lock = self.lock(loaded.name())?;
        let mut text = String::new();
        let service = &loaded.project().services[&request.service];
        let dependencies: Vec<String> = service
            .depends_on
            .keys()
            .filter(|name| loaded.project().services.contains_key(*name))
            .cloned()
            .collect();
        if !options.no_dependencies && !dependencies.is_empty() {
            let options = UpOptions { services: dependencies, goal: Goal::Started, ..options.clone() };
            let prepared = self.prepare(loaded, &options, cancel)?;
            text += &prepared.text();
            if !options.dry_run {
                self.perform(&prepared, &self.host(loaded.name(), &options), cancel)?;
            }
        }
        // Planned as if it were one container of the service, of which the one-time container is made.
        let alone = UpOptions {
            services: vec![request.service.clone()],
            no_dependencies: true,
            remove_orphans: false,
            quiet_orphans: true,
            scale: vec![(request.service.clone(), 1)],
            ..options.clone()
        };
        let prepared = self.prepare(loaded, &alone, cancel)?;
        let observed = self.observe(loaded.name())?;
        let slug = process::random_hex().during("drawing a container's name")?;
        let spec = one_time(&prepared.wanted, request, loaded.name(), &slug)?;
        let name = spec.name.clone();
        if let Some(taken) = observed.containers.iter().find(|container| container.name == name) {
            let message = format!("the name `{name}` is taken by container {}", taken.id.short());
            return Err(Failure::user(
                Diagnostic::error("name-taken", message).with_hint("give another with --name"),
            ));
        }
        let host = self.host(loaded.name(), options);
        if !options.no_dependencies {
            // Planned with what it depends on in sight.
            let whole = UpOptions { no_dependencies: false, dry_run: true, ..alone };
            let wanted = self.prepare(loaded, &whole, cancel)?.wanted;
            if let Some(service) = wanted.services.get(&request.service) {
                let waits = await_dependencies(&observed, service);
                text += &waits.to_string();
                if !options.dry_run {
                    execute(&waits, &host, &*self.engine.reporter, None, cancel)
                        .map_err(Failure::findings)?;
                }
            }
        }
        self.engine.containers().check_ports(&spec.ports)?;
        let plan = one_off(&prepared.wanted, &observed, &spec);
        text.extend(prepared.before.iter().map(|line| format!("  -. {line}\n")));
        text += &plan.to_string();
        if options.dry_run {
            return Ok((None, text));
        }
        write_generated(&prepared.wanted.generated)?;
        execute(&plan, &host, &coracle_report::Quiet, None, cancel).map_err(Failure::findings)?;
        Ok((Some(self.engine.containers().find(&name)?.record.id), text))
    }
}

/// Returns the specification of a one-time container.
fn one_time(
    wanted: &DesiredProject,
    request: &RunRequest,
    project: &str,
    slug: &str,
) -> Result<ContainerSpec> {
    let found = wanted.services.get(&request.service).and_then(|service| service.containers.first());
    let Some(mut spec) = found.cloned() else {
        let message = format!("service `{}` has no container to run a command in", request.service);
        return Err(Failure::user(Diagnostic::error("no-container", message)));
    };
    spec.name =
        request.name.clone().unwrap_or_else(|| format!("{project}-{}-run-{}", request.service, &slug[..12]));
    if let Some(entrypoint) = &request.entrypoint {
        spec.entrypoint.clone_from(entrypoint);
        spec.command = Vec::new();
    }
    if !request.command.is_empty() {
        spec.command.clone_from(&request.command);
    }
    if spec.entrypoint.is_empty() && spec.command.is_empty() {
        let message = format!("service `{}` has nothing to run", request.service);
        return Err(Failure::user(
            Diagnostic::error("no-command", message).with_hint("put a command behind the service's name"),
        ));
    }
    spec.environment.extend(request.environment.clone());
    spec.user = request.user.clone().unwrap_or(spec.user);
    spec.working_directory = request.working_directory.clone().unwrap_or(spec.working_directory);
    if !request.service_ports {
        spec.ports.clear();
    }
    spec.ports.extend(request.ports.iter().cloned());
    for attachment in &mut spec.networks {
        // An address of the service's own stays with the service.
        attachment.ipv4_address = None;
        if !request.use_aliases {
            attachment.aliases.clear();
        }
    }
    for mount in &mut spec.mounts {
        if let MountKind::Volume { name, .. } = &mut mount.kind
            && wanted
                .volumes
                .get(name)
                .is_some_and(|volume| volume.labels.contains_key(labels::ANONYMOUS_VOLUME))
        {
            // The service's containers keep theirs; this one gets one that goes with it.
            name.clear();
        }
    }
    for mount in &request.mounts {
        spec.mounts.retain(|known| known.target != mount.target);
        spec.mounts.push(mount.clone());
    }
    spec.cap_add.extend(request.cap_add.iter().cloned());
    spec.cap_drop.extend(request.cap_drop.iter().cloned());
    (spec.tty, spec.open_stdin, spec.auto_remove) = (request.tty, request.stdin, request.remove);
    spec.restart = RestartPolicy::No;
    spec.labels.remove(labels::CONTAINER_NUMBER);
    spec.labels.insert(labels::ONE_OFF.to_owned(), "True".to_owned());
    spec.labels.insert(labels::SLUG.to_owned(), slug.to_owned());
    spec.labels.extend(request.labels.iter().cloned());
    Ok(spec)
}
