//! Bringing a project up: images, observe, reconcile, execute, wait for health.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use coracle_compose::{
    AnonymousVolumes, Dependencies, DesiredProject, Finished, GeneratedFile, Goal, Inputs, ObservedContainer,
    ObservedNetwork, ObservedState, ObservedVolume, Options, Orphans, Plan, Recreate, desired, execute,
    labels, reconcile, source_files,
};
use coracle_composefile::{Project, Provider, PullPolicy};
use coracle_container::{Protocol, PublishedPort};
use coracle_fault::Point;
use coracle_oci::Digest;
use coracle_report::{Diagnostic, Event};
use coracle_store::records;

use super::images::Platforms;
use super::{LoadedProject, Projects};
use crate::failure::pass;
use crate::ports::compose::ProjectHost;
use crate::{ContainerView, During, Failure, Result};

/// When a service's image is built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BuildPolicy {
    /// When something that it is made of changed.
    #[default]
    WhenNeeded,
    /// In any case (steps that are cached stay cached).
    Always,
    /// When there is none of its name.
    WhenMissing,
    /// Not at all.
    Never,
}

/// What a user may say about an `up`.
#[derive(Clone, Debug, Default)]
pub struct UpOptions {
    /// Only these services and what they depend on.
    pub services: Vec<String>,
    /// When images are built.
    pub build: BuildPolicy,
    /// Replace containers that did not change.
    pub force_recreate: bool,
    /// Leave dependencies alone.
    pub no_dependencies: bool,
    /// Remove containers of services that are no more.
    pub remove_orphans: bool,
    /// Only plan.
    pub dry_run: bool,
    /// Longest wait for one service, ms.
    pub wait_timeout: u64,
    /// Replace unchanged containers of dependencies too.
    pub recreate_dependencies: bool,
    /// Replace nothing, even when it changed.
    pub no_recreate: bool,
    /// How far to go.
    pub goal: Goal,
    /// Run jobs again that ended with 0.
    pub jobs_again: bool,
    /// Give replaced containers new anonymous volumes.
    pub renew_volumes: bool,
    /// Numbers of containers instead of those of the files.
    pub scale: Vec<(String, u32)>,
    /// When images are pulled, instead of what the files say.
    pub pull: Option<PullPolicy>,
    /// Seconds until a container that is replaced is killed; `None` is each one's own.
    pub stop_timeout: Option<u64>,
    /// Do not speak of orphans.
    pub quiet_orphans: bool,
}

/// Where a service can be reached from the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceUrl {
    /// The service.
    pub service: String,
    /// Its address, a URL where the port speaks HTTP.
    pub url: String,
}

/// What an `up` did.
#[derive(Clone, Debug, Default)]
pub struct UpReport {
    /// Whether anything was done.
    pub changed: bool,
    /// The plan, a line a step.
    pub plan: String,
    /// Where services can be reached.
    pub urls: Vec<ServiceUrl>,
}

/// An `up` that was decided.
pub(super) struct Prepared {
    /// The project as far as the command speaks of it.
    pub project: Project,
    /// What it wants.
    pub wanted: DesiredProject,
    /// What there was.
    pub observed: ObservedState,
    /// What is to be done.
    pub plan: Plan,
    /// What would have to be done for images first: lines of a dry run.
    pub before: Vec<String>,
}

impl Prepared {
    /// Returns the plan, a line a step.
    pub fn text(&self) -> String {
        let before = self.before.iter().map(|line| format!("  -. {line}\n"));
        before.chain([self.plan.to_string()]).collect()
    }
}

impl Projects<'_> {
    /// Brings a project up and returns when everything is as far as `options` say.
    pub fn up(&self, loaded: &LoadedProject, options: &UpOptions, cancel: &AtomicBool) -> Result<UpReport> {
        let _lock = self.lock(loaded.name())?;
        pass(Point::UpLocked)?;
        let prepared = self.prepare(loaded, options, cancel)?;
        let plan = prepared.text();
        if options.dry_run {
            return Ok(UpReport { changed: !plan.is_empty(), plan, urls: Vec::new() });
        }
        let host = self.host(loaded.name(), options);
        self.perform(&prepared, &host, cancel)?;
        Ok(UpReport { changed: !prepared.plan.is_empty(), plan, urls: self.urls(loaded)? })
    }

    /// Returns the host of an `up`.
    pub(super) fn host<'h>(&'h self, name: &'h str, options: &UpOptions) -> ProjectHost<'h> {
        let timeout = Duration::from_millis(options.wait_timeout.max(1));
        ProjectHost::new(self.engine, name, timeout).stopping(options.stop_timeout).keeping_logs()
    }

    /// Makes images ready, looks at what there is and decides. The project must be locked.
    pub(super) fn prepare(
        &self,
        loaded: &LoadedProject,
        options: &UpOptions,
        cancel: &AtomicBool,
    ) -> Result<Prepared> {
        loaded.check_services(&options.services)?;
        let mut project = adapted(loaded, options)?;
        self.engine.reclaim()?;
        let services = closure(&project, options);
        let images = if options.dry_run {
            let mut images = self.stored_images(&project, &services, options.build)?;
            let run =
                |(name, provider): (&String, &Provider)| format!("run provider {} for {name}", provider.kind);
            images.before.extend(project.providers.iter().map(run));
            images
        } else {
            self.ensure_secrets(&project, &services)?;
            self.provide(&mut project, options.services.is_empty(), cancel)?;
            self.images(&project, &services, options.build, false, cancel)?
        };
        pass(Point::UpImages)?;
        let files = digests(&project)?;
        // Services outside the closure take no part; they are neither wanted nor orphans.
        let mut narrowed = project;
        let outside: Vec<String> =
            narrowed.services.keys().filter(|name| !services.contains(*name)).cloned().collect();
        for name in outside {
            if let Some(service) = narrowed.services.shift_remove(&name) {
                narrowed.inactive_services.insert(name, service);
            }
        }
        for (name, _) in &images.skipped {
            if let Some(service) = narrowed.services.get_mut(name) {
                service.optional = true;
            }
        }
        let mounted = self.mounted_images(&narrowed, options.dry_run)?;
        let generated_directory = self.engine.layout.project(&narrowed.name).join("files");
        let inputs = Inputs {
            project: &narrowed,
            images: &images.images,
            mounted: &mounted,
            files: &files,
            generated_directory: &generated_directory,
        };
        let wanted = desired(inputs).map_err(Failure::findings)?;
        let observed = self.observe(&narrowed.name)?;
        self.say_changed_volumes(&wanted, &observed);
        let plan = reconcile(&wanted, &observed, &choices(options)).map_err(Failure::findings)?;
        if !plan.orphans.is_empty() && !options.quiet_orphans {
            let message =
                format!("containers of services that no file names any more: {}", plan.orphans.join(", "));
            self.engine.reporter.event(Event::Notice(
                Diagnostic::warning("orphans", message).with_hint("remove them with --remove-orphans"),
            ));
        }
        Ok(Prepared { project: narrowed, wanted, observed, plan, before: images.before })
    }

    /// Does what was decided. The project must be locked.
    pub(super) fn perform(
        &self,
        prepared: &Prepared,
        host: &ProjectHost<'_>,
        cancel: &AtomicBool,
    ) -> Result<()> {
        if prepared.plan.is_empty() {
            return Ok(());
        }
        self.check_ports(&prepared.project, &prepared.plan, &prepared.observed)?;
        pass(Point::UpPlanned)?;
        write_generated(&prepared.wanted.generated)?;
        pass(Point::UpGenerated)?;
        execute(&prepared.plan, host, &*self.engine.reporter, None, cancel).map_err(Failure::findings)
    }

    /// Says of volumes that were made with other options: what they hold is never thrown away unasked.
    fn say_changed_volumes(&self, wanted: &DesiredProject, observed: &ObservedState) {
        for volume in wanted.volumes.values().filter(|volume| !volume.external) {
            let there = observed.volumes.iter().find(|there| there.name == volume.name);
            let hash = |labels: &BTreeMap<String, String>| labels.get(labels::CONFIG_HASH).cloned();
            let before = there.and_then(|there| hash(&there.labels));
            if before.is_some() && before != hash(&volume.labels) {
                let name = &volume.name;
                let message = format!("volume `{name}` was made with other options, and stays as it is");
                let mut notice = Diagnostic::warning("volume-changed", message).with_hint(format!(
                    "to make it anew, which loses what it holds: coracle volume rm {name}"
                ));
                notice.span.clone_from(&volume.span);
                self.engine.reporter.event(Event::Notice(notice));
            }
        }
    }

    /// Returns what a project has on the host.
    pub(crate) fn observe(&self, project: &str) -> Result<ObservedState> {
        let views = self.engine.containers().list()?;
        let containers = views
            .iter()
            .filter_map(|view| ObservedContainer::of(project, &view.record, &view.state))
            .collect();
        let networks = self.engine.networks().list()?;
        let networks =
            networks.into_iter().map(|record| ObservedNetwork { name: record.name, labels: record.labels });
        let volumes = self.engine.volumes().list()?;
        let volumes =
            volumes.into_iter().map(|record| ObservedVolume { name: record.name, labels: record.labels });
        Ok(ObservedState { containers, networks: networks.collect(), volumes: volumes.collect() })
    }

    /// Builds the images of services without starting anything.
    pub fn build(
        &self,
        loaded: &LoadedProject,
        services: &[String],
        no_cache: bool,
        cancel: &AtomicBool,
    ) -> Result<()> {
        loaded.check_services(services)?;
        let project = loaded.project();
        let chosen = project
            .services
            .values()
            .filter(|service| service.build.is_some())
            .filter(|service| services.is_empty() || services.contains(&service.name))
            .map(|service| service.name.clone())
            .collect();
        self.engine.reclaim()?;
        let all = Platforms::All;
        self.images_for(project, &chosen, BuildPolicy::Always, all, no_cache, cancel).map(drop)
    }

    fn urls(&self, loaded: &LoadedProject) -> Result<Vec<ServiceUrl>> {
        let mut urls = Vec::new();
        for view in self.containers(loaded, &[])? {
            let service = view.service().unwrap_or_default().to_owned();
            for url in addresses(&view) {
                let entry = ServiceUrl { service: service.clone(), url };
                if !urls.contains(&entry) {
                    urls.push(entry);
                }
            }
        }
        Ok(urls)
    }
}

/// Returns the project with what the command line says instead of the files.
fn adapted(loaded: &LoadedProject, options: &UpOptions) -> Result<Project> {
    let mut project = loaded.project().clone();
    for (name, count) in &options.scale {
        loaded.check_services(std::slice::from_ref(name))?;
        let Some(service) = project.services.get_mut(name) else { continue };
        if let Some(fixed) = service.container_name.as_ref().filter(|_| *count > 1) {
            let message =
                format!("service `{name}` cannot have {count} containers: its `container_name` is `{fixed}`");
            return Err(Failure::user(
                Diagnostic::error("scale", message)
                    .with_span(service.span.clone())
                    .with_hint("leave out `container_name`"),
            ));
        }
        service.replicas = *count;
    }
    if let Some(pull) = options.pull {
        project.services.values_mut().for_each(|service| service.pull_policy = pull);
    }
    Ok(project)
}

fn choices(options: &UpOptions) -> Options {
    let recreate = |force: bool| match (force, options.no_recreate) {
        (true, _) => Recreate::Always,
        (false, true) => Recreate::Never,
        (false, false) => Recreate::Changed,
    };
    Options {
        services: options.services.clone(),
        recreate: recreate(options.force_recreate),
        recreate_dependencies: recreate(options.recreate_dependencies),
        goal: options.goal,
        finished: if options.jobs_again { Finished::Again } else { Finished::Kept },
        anonymous_volumes: if options.renew_volumes {
            AnonymousVolumes::Renewed
        } else {
            AnonymousVolumes::Kept
        },
        dependencies: if options.no_dependencies { Dependencies::LeftAlone } else { Dependencies::Included },
        orphans: if options.remove_orphans { Orphans::Removed } else { Orphans::Kept },
    }
}

/// Returns the services that an `up` speaks of: those named, or all, with what they depend on.
pub(crate) fn closure(project: &Project, options: &UpOptions) -> BTreeSet<String> {
    let mut open: Vec<&String> = if options.services.is_empty() {
        project.services.keys().collect()
    } else {
        options.services.iter().collect()
    };
    let mut found = BTreeSet::new();
    while let Some(name) = open.pop() {
        let Some(service) = project.services.get(name) else { continue };
        if found.insert(name.clone()) && !options.no_dependencies {
            open.extend(service.depends_on.keys());
        }
    }
    found
}

/// Digests the files that services are given, so that a changed secret replaces its users.
fn digests(project: &Project) -> Result<BTreeMap<PathBuf, Digest>> {
    let mut digests = BTreeMap::new();
    for path in source_files(project) {
        match std::fs::read(&path) {
            Ok(bytes) => {
                digests.insert(path, Digest::of(bytes));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Failure::ours(format_args!("reading {}", path.display()), &error)),
        }
    }
    Ok(digests)
}

pub(super) fn write_generated(files: &[GeneratedFile]) -> Result<()> {
    for file in files {
        // Created with mode 0600: configurations may hold passwords.
        records::write_atomic(&file.path, file.content.as_bytes())
            .during(format_args!("writing {}", file.path.display()))?;
    }
    Ok(())
}

/// Returns the addresses under which a container's published ports are reached from the host.
fn addresses(view: &ContainerView) -> Vec<String> {
    view.ports.iter().filter(|port| port.protocol == Protocol::Tcp).filter_map(address).collect()
}

fn address(port: &PublishedPort) -> Option<String> {
    let number = port.host_port?;
    let host = match port.host_ip {
        Some(ip) if !ip.is_unspecified() && !ip.is_loopback() => {
            std::net::SocketAddr::new(ip, number).to_string()
        }
        _ => format!("localhost:{number}"),
    };
    Some(match port.container_port {
        443 | 8443 => format!("https://{}", host.trim_end_matches(":443")),
        // What is known to speak something else than HTTP.
        21 | 22 | 25 | 53 | 465 | 587 | 1433 | 1521 | 1883 | 2181 | 3306 | 5432 | 5672 | 6379 | 9092
        | 11211 | 27017 => host,
        _ => format!("http://{}", host.trim_end_matches(":80")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_as_one_types_them() {
        let port = |host_ip: Option<&str>, host_port, container_port| PublishedPort {
            host_ip: host_ip.map(|ip| ip.parse().unwrap()),
            host_port: Some(host_port),
            container_port,
            protocol: Protocol::Tcp,
        };
        assert_eq!(address(&port(None, 5173, 80)).unwrap(), "http://localhost:5173");
        assert_eq!(address(&port(None, 80, 80)).unwrap(), "http://localhost");
        assert_eq!(address(&port(None, 443, 443)).unwrap(), "https://localhost");
        assert_eq!(address(&port(Some("127.0.0.1"), 15432, 5432)).unwrap(), "localhost:15432");
        assert_eq!(address(&port(Some("10.0.0.1"), 8080, 80)).unwrap(), "http://10.0.0.1:8080");
    }
}
