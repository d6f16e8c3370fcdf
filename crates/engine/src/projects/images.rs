//! The images of a project's services: built or fetched, each once, all at the same time.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use coracle_compose::ResolvedImage;
use coracle_composefile::{Build, Project, PullPolicy, Service};
use coracle_oci::{Digest, ImageId};
use coracle_report::{Diagnostic, Event, Outcome, Task};
use indexmap::IndexMap;

use super::{BuildPolicy, Projects};
use crate::{BuildOptions, Failure, Pull, Result};

/// The images of a project, and the optional services that go without.
#[derive(Debug, Default)]
pub(super) struct ProjectImages {
    /// By service.
    pub images: IndexMap<String, ResolvedImage>,
    /// Optional services whose image cannot be had, and why.
    pub skipped: Vec<(String, String)>,
}

/// What one image takes; services that want the same share it.
#[derive(Clone, PartialEq)]
struct Want {
    name: String,
    build: Option<Build>,
    pull: PullPolicy,
}

impl Projects<'_> {
    /// Makes the images of `services` ready.
    pub(super) fn images(
        &self,
        project: &Project,
        services: &BTreeSet<String>,
        policy: BuildPolicy,
        no_cache: bool,
        cancel: &AtomicBool,
    ) -> Result<ProjectImages> {
        let chosen: Vec<&Service> =
            project.services.values().filter(|service| services.contains(&service.name)).collect();
        let mut wants: Vec<Want> = Vec::new();
        let mut of_service: Vec<usize> = Vec::new();
        for service in &chosen {
            let want = Want {
                name: service.image.familiar(),
                // Where a definition stands in the files makes no other image.
                build: service.build.clone().map(without_places),
                pull: service.pull_policy,
            };
            let place = wants.iter().position(|other| *other == want).unwrap_or_else(|| {
                wants.push(want);
                wants.len() - 1
            });
            of_service.push(place);
        }
        let results: Vec<Result<ResolvedImage>> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                wants.iter().map(|want| scope.spawn(|| self.image(want, policy, no_cache, cancel))).collect();
            threads.into_iter().map(|thread| thread.join().expect("a builder does not panic")).collect()
        });
        let mut found = ProjectImages::default();
        let mut failures = Vec::new();
        for (place, result) in results.into_iter().enumerate() {
            let users =
                chosen.iter().zip(&of_service).filter(|(_, at)| **at == place).map(|(service, _)| *service);
            match result {
                Ok(image) => {
                    found.images.extend(users.map(|service| (service.name.clone(), image.clone())));
                }
                Err(failure) => {
                    let users: Vec<&Service> = users.collect();
                    if users.iter().all(|service| service.optional)
                        && failure.first().code == "registry-unreachable"
                    {
                        for service in users {
                            let task = Task::start(&*self.engine.reporter, None, service.name.clone());
                            let why = failure.first().message.clone();
                            task.finish(Outcome::Skipped(why.clone()));
                            found.skipped.push((service.name.clone(), why));
                        }
                    } else {
                        failures.push(placed(failure, &users));
                    }
                }
            }
        }
        if failures.is_empty() {
            return Ok(found);
        }
        let fault = failures[0].fault;
        Err(Failure {
            fault,
            diagnostics: failures.into_iter().flat_map(|failure| failure.diagnostics).collect(),
        })
    }

    fn image(
        &self,
        want: &Want,
        policy: BuildPolicy,
        no_cache: bool,
        cancel: &AtomicBool,
    ) -> Result<ResolvedImage> {
        let engine = self.engine;
        let pull = match want.pull {
            PullPolicy::Missing | PullPolicy::Build => Pull::Missing,
            PullPolicy::Always => Pull::Always,
            PullPolicy::Never => Pull::Never,
        };
        let image = match &want.build {
            Some(build) if policy != BuildPolicy::Never => {
                let options = build_options(want, build, no_cache);
                let built = engine.builds().build(&options, cancel)?;
                engine.images().ensure(&built.id.to_string(), Pull::Never, None)?
            }
            Some(_) => engine
                .images()
                .ensure(&want.name, Pull::Never, None)
                .map_err(|failure| failure.with_hint("build it: leave out --no-build"))?,
            None => {
                let image = engine.images().ensure(&want.name, pull, None)?;
                if image.stand_in && policy == BuildPolicy::Always {
                    let message = format!("{} is a stand-in baked from Debian packages", want.name);
                    engine.reporter.event(Event::Notice(Diagnostic::note("stand-in", message)));
                }
                image
            }
        };
        Ok(ResolvedImage { id: image.id, config: image.config.config })
    }

    /// Returns images without building or fetching: what a dry run can know.
    pub(super) fn stored_images(
        &self,
        project: &Project,
        services: &BTreeSet<String>,
        policy: BuildPolicy,
    ) -> Result<ProjectImages> {
        let mut found = ProjectImages::default();
        for service in project.services.values().filter(|service| services.contains(&service.name)) {
            let name = service.image.familiar();
            let stored = self.engine.images().stored(&service.image, &name)?;
            if let Some(build) = service.build.as_ref().filter(|_| policy != BuildPolicy::Never) {
                let want = Want { name, build: None, pull: service.pull_policy };
                let id = self.engine.builds().probe(&build_options(&want, build, false))?;
                // Not known before it is built; that it changes is what the plan must show.
                let id =
                    id.unwrap_or_else(|| ImageId::new(Digest::of(format!("to be built: {}", service.name))));
                let mut config = stored.map(|image| image.config.config).unwrap_or_default();
                if config.cmd.is_none() && config.entrypoint.is_none() {
                    config.cmd = Some(vec!["to-be-built".to_owned()]);
                }
                found.images.insert(service.name.clone(), ResolvedImage { id, config });
                continue;
            }
            match stored {
                Some(image) => {
                    let image = ResolvedImage { id: image.id, config: image.config.config };
                    found.images.insert(service.name.clone(), image);
                }
                None if service.optional => {
                    found.skipped.push((service.name.clone(), format!("{name} is not stored")));
                }
                None => {
                    let message = format!("image `{name}` of service `{}` is not there yet", service.name);
                    let hint = if service.build.is_some() {
                        "build it first: coracle build ENV"
                    } else {
                        "fetch it first: coracle up"
                    };
                    return Err(Failure::user(
                        Diagnostic::error("no-image", message)
                            .with_span(service.span.clone())
                            .with_hint(hint),
                    ));
                }
            }
        }
        Ok(found)
    }
}

fn build_options(want: &Want, build: &Build, no_cache: bool) -> BuildOptions {
    let mut tags = vec![want.name.clone()];
    tags.extend(build.tags.iter().cloned());
    BuildOptions {
        context: build.context.clone().into(),
        dockerfile: Some(build.dockerfile.clone()),
        dockerfile_inline: build.dockerfile_inline.clone(),
        target: build.target.clone(),
        build_args: build.args.clone(),
        labels: build.labels.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        tags,
        no_cache: no_cache || build.no_cache,
        pull: build.pull,
        ..BuildOptions::default()
    }
}

/// Drops the places in files, so that equal builds compare equal.
fn without_places(mut build: Build) -> Build {
    build.span = coracle_report::Span::at(PathBuf::new(), 0, 0);
    build.dockerfile_span = None;
    build.target_span = None;
    build
}

/// Puts a failure that has no place at the service's definition.
fn placed(mut failure: Failure, users: &[&Service]) -> Failure {
    if let (Some(service), Some(first)) = (users.first(), failure.diagnostics.first_mut())
        && first.span.is_none()
    {
        let span = match (&service.build, &service.image_span) {
            (Some(build), _) => build.span.clone(),
            (None, Some(span)) => span.clone(),
            (None, None) => service.span.clone(),
        };
        first.span = Some(span);
    }
    failure
}
