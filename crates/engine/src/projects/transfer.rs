//! Images of services from and to their registries.

use std::sync::atomic::AtomicBool;

use coracle_composefile::{Project, PullPolicy};
use coracle_report::{Event, Outcome, Severity, Task};

use super::up::closure;
use super::{LoadedProject, Projects, UpOptions};
use crate::{Failure, Pull, PushOptions, Result};

/// What a user may say about pulling or pushing the images of services.
#[derive(Clone, Debug, Default)]
pub struct TransferOptions {
    /// Services; none means all.
    pub services: Vec<String>,
    /// Those that they depend on too.
    pub dependencies: bool,
    /// Go on with the others when one fails, and succeed.
    pub ignore_failures: bool,
    /// Leave images alone that can be built.
    pub ignore_buildable: bool,
    /// Pull also what is there.
    pub always: Option<bool>,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// An image of services that is to be moved.
struct Transfer {
    image: String,
    pull: Pull,
}

impl Projects<'_> {
    /// Pulls the images of services; returns what was to be done, a line each.
    pub fn pull(&self, loaded: &LoadedProject, options: &TransferOptions) -> Result<Vec<String>> {
        loaded.check_services(&options.services)?;
        let project = loaded.project();
        let mut transfers: Vec<Transfer> = Vec::new();
        for service in chosen(project, options) {
            let image = service.image.familiar();
            let is_built =
                service.build.is_some() && (service.image_span.is_none() || options.ignore_buildable);
            let stays = matches!(service.pull_policy, PullPolicy::Never | PullPolicy::Build);
            if is_built || stays && options.always.is_none() {
                let task = Task::start(&*self.engine.reporter, None, format!("pull {image}"));
                let why = if is_built { "it is built" } else { "its pull policy says so" };
                task.finish(Outcome::Skipped(why.to_owned()));
                continue;
            }
            // Who asks for a pull wants what the registry has now, unless a policy says otherwise.
            let pull = if options.always == Some(false) { Pull::Missing } else { Pull::Always };
            if !transfers.iter().any(|known| known.image == image) {
                transfers.push(Transfer { image, pull });
            }
        }
        let lines =
            transfers.iter().map(|transfer| format!("pull image {} (asked for)", transfer.image)).collect();
        if options.dry_run {
            return Ok(lines);
        }
        self.engine.reclaim()?;
        self.each(&transfers, options, |transfer| {
            self.engine.images().ensure(&transfer.image, transfer.pull, None).map(drop)
        })?;
        Ok(lines)
    }

    /// Pushes the images of services that are built; returns what was to be done, a line each.
    pub fn push(
        &self,
        loaded: &LoadedProject,
        options: &TransferOptions,
        cancel: &AtomicBool,
    ) -> Result<Vec<String>> {
        loaded.check_services(&options.services)?;
        let mut transfers: Vec<Transfer> = Vec::new();
        for service in chosen(loaded.project(), options) {
            let image = service.image.familiar();
            // Docker Compose: what is not built here was not made here, and what has no name has no place to go.
            if service.build.is_none() || service.image_span.is_none() {
                let task = Task::start(&*self.engine.reporter, None, format!("push {image}"));
                let why =
                    if service.build.is_none() { "it is not built here" } else { "it has no `image` name" };
                task.finish(Outcome::Skipped(why.to_owned()));
                continue;
            }
            let names = service.build.iter().flat_map(|build| build.tags.iter().cloned());
            for image in [image].into_iter().chain(names) {
                if !transfers.iter().any(|known| known.image == image) {
                    transfers.push(Transfer { image, pull: Pull::Never });
                }
            }
        }
        let lines =
            transfers.iter().map(|transfer| format!("push image {} (asked for)", transfer.image)).collect();
        if options.dry_run {
            return Ok(lines);
        }
        self.each(&transfers, options, |transfer| {
            let reference = crate::Images::parse(&transfer.image)?;
            self.engine.images().push(&reference, &PushOptions::default(), cancel).map(drop)
        })?;
        Ok(lines)
    }

    /// Moves all at the same time; failures are told, and are an error unless they are ignored.
    fn each(
        &self,
        transfers: &[Transfer],
        options: &TransferOptions,
        work: impl Fn(&Transfer) -> Result<()> + Sync,
    ) -> Result<()> {
        let results: Vec<Result<()>> = std::thread::scope(|scope| {
            let threads: Vec<_> = transfers.iter().map(|transfer| scope.spawn(|| work(transfer))).collect();
            threads.into_iter().map(|thread| thread.join().expect("a transfer does not panic")).collect()
        });
        let mut failed: Option<Failure> = None;
        for failure in results.into_iter().filter_map(Result::err) {
            if options.ignore_failures {
                for mut notice in failure.diagnostics {
                    notice.severity = Severity::Warning;
                    self.engine.reporter.event(Event::Notice(notice));
                }
            } else if let Some(first) = &mut failed {
                first.diagnostics.extend(failure.diagnostics);
            } else {
                failed = Some(failure);
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

fn chosen<'p>(
    project: &'p Project,
    options: &TransferOptions,
) -> impl Iterator<Item = &'p coracle_composefile::Service> {
    let names = closure(
        project,
        &UpOptions {
            services: options.services.clone(),
            no_dependencies: !options.dependencies && !options.services.is_empty(),
            ..UpOptions::default()
        },
    );
    project.services.values().filter(move |service| names.contains(&service.name))
}
