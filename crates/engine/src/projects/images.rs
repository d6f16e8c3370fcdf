//! The images of a project's services: built or fetched, each once, all at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use coracle_compose::ResolvedImage;
use coracle_composefile::{Build, MountSource, Project, PullPolicy, Service};
use coracle_oci::{Digest, ImageId};
use coracle_report::{Diagnostic, Event, Outcome, Task};
use indexmap::IndexMap;

use super::{BuildPolicy, Projects};
use crate::contexts::{ContextSource, NamedSource};
use crate::{BuildOptions, Failure, Images, Pull, Result, near};

/// The images of a project, and the optional services that go without.
#[derive(Debug, Default)]
pub(super) struct ProjectImages {
    /// By service.
    pub images: IndexMap<String, ResolvedImage>,
    /// Optional services whose image cannot be had, and why.
    pub skipped: Vec<(String, String)>,
}

/// What one image takes; services that want the same share it.
#[derive(Clone, Debug, PartialEq)]
struct Want {
    name: String,
    build: Option<Build>,
    pull: PullPolicy,
    /// Services whose images are contexts of the build (`additional_contexts: NAME: service:OTHER`).
    needs: Vec<(String, Want)>,
}

impl Want {
    /// Returns what a service's image takes. `users` are those that lead here.
    fn of(project: &Project, service: &Service, users: &[&str]) -> Result<Self> {
        let mut needs = Vec::new();
        for (_, source) in service.build.iter().flat_map(|build| &build.additional_contexts) {
            let Some(other) = source.strip_prefix("service:") else { continue };
            let users = [users, &[service.name.as_str()]].concat();
            if users.contains(&other) {
                let message =
                    format!("services are built from each other: {} -> {other}", users.join(" -> "));
                return Err(refused(message, service));
            }
            let Some(found) = project.services.get(other) else {
                let message =
                    format!("`{}` is built from service `{other}`, which there is none", service.name);
                let failure = refused(message, service);
                return Err(match near::nearest(other, project.services.keys().map(String::as_str)) {
                    Some(near) => failure.with_hint(format!("did you mean `service:{near}`?")),
                    None => failure,
                });
            };
            needs.push((other.to_owned(), Self::of(project, found, &users)?));
        }
        Ok(Self {
            name: service.image.familiar(),
            // Where a definition stands in the files makes no other image.
            build: service.build.clone().map(without_places),
            pull: service.pull_policy,
            needs,
        })
    }
}

fn refused(message: String, service: &Service) -> Failure {
    let span = service.build.as_ref().map_or(&service.span, |build| &build.span);
    Failure::user(Diagnostic::error("service-context", message).with_span(span.clone()))
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
            let want = Want::of(project, service, &[])?;
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

    /// Returns the images that services mount (`type: image`); fetches those that are not there, unless it is only
    /// planned.
    pub(super) fn mounted_images(
        &self,
        project: &Project,
        only_stored: bool,
    ) -> Result<BTreeMap<String, ImageId>> {
        let mut found = BTreeMap::new();
        for service in project.services.values() {
            for mount in &service.mounts {
                let MountSource::Image { reference, .. } = &mount.source else { continue };
                let name = reference.familiar();
                if found.contains_key(&name) {
                    continue;
                }
                let stored = self.engine.images().stored(reference, &name)?;
                let image = match stored {
                    None if only_stored => continue,
                    None => {
                        self.engine.images().ensure(&name, Pull::Missing, None).map_err(|mut failure| {
                            if let Some(first) = failure.diagnostics.first_mut() {
                                first.span.get_or_insert_with(|| mount.span.clone());
                            }
                            failure
                        })?
                    }
                    Some(image) => image,
                };
                found.insert(name, image.id);
            }
        }
        Ok(found)
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
                for (_, need) in &want.needs {
                    self.image(need, policy, no_cache, cancel)?;
                }
                let options = build_options(want, build, no_cache)?;
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

    /// Returns the image that a build would give; `None` when something would have to be done.
    fn probe(&self, want: &Want, build: &Build) -> Result<Option<ImageId>> {
        for (_, need) in &want.needs {
            if let Some(build) = &need.build
                && self.probe(need, build)?.is_none()
            {
                return Ok(None);
            }
        }
        self.engine.builds().probe(&build_options(want, build, false)?)
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
                let want = Want::of(project, service, &[])?;
                let id = self.probe(&want, build).map_err(|failure| placed(failure, &[service]))?;
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

fn build_options(want: &Want, build: &Build, no_cache: bool) -> Result<BuildOptions> {
    let context = context(build)?;
    let dockerfile = match &context {
        ContextSource::Path(_) | ContextSource::Stdin => build.dockerfile.clone(),
        // Within what is fetched.
        ContextSource::Url(_) | ContextSource::Git(_) => {
            build.dockerfile.strip_prefix(&build.context).unwrap_or(&build.dockerfile).to_owned()
        }
    };
    let named = build.additional_contexts.iter().map(|(name, source)| {
        let need = source.strip_prefix("service:");
        let need = need.and_then(|other| want.needs.iter().find(|(service, _)| service == other));
        let source = match need {
            Some((_, need)) => NamedSource::Image(Images::parse(&need.name)?),
            None => NamedSource::parse_value(source)?,
        };
        Ok((name.clone(), source))
    });
    let mut tags = vec![want.name.clone()];
    tags.extend(build.tags.iter().cloned());
    Ok(BuildOptions {
        context,
        named: named.collect::<Result<_>>()?,
        dockerfile: Some(dockerfile),
        dockerfile_inline: build.dockerfile_inline.clone(),
        target: build.target.clone(),
        build_args: build.args.clone(),
        labels: build.labels.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        tags,
        no_cache: no_cache || build.no_cache,
        pull: build.pull,
        ..BuildOptions::default()
    })
}

/// Returns where a build's files come from: a directory, or something that is fetched.
fn context(build: &Build) -> Result<ContextSource> {
    match build.context.to_str() {
        Some(text) if !build.context.is_absolute() => ContextSource::parse(text),
        _ => Ok(build.context.clone().into()),
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

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use coracle_composefile::{LoadRequest, Loader};

    use super::*;

    struct Text(String);

    impl Loader for Text {
        fn read(&self, _path: &Path) -> io::Result<String> {
            Ok(self.0.clone())
        }

        fn exists(&self, _path: &Path) -> bool {
            true
        }

        fn list(&self, _path: &Path) -> io::Result<Vec<String>> {
            Ok(Vec::new())
        }
    }

    fn project(contexts_of_a: &str, contexts_of_b: &str) -> Project {
        let service = |name: &str, contexts: &str| {
            format!(
                "  {name}:\n    image: {name}:1\n    build:\n      context: {name}\n      additional_contexts: {contexts}\n"
            )
        };
        let text = format!("services:\n{}{}", service("a", contexts_of_a), service("b", contexts_of_b));
        let request = LoadRequest {
            files: vec!["/p/compose.yaml".into()],
            project_directory: "/p".into(),
            ..LoadRequest::default()
        };
        coracle_composefile::load(&request, &Text(text)).unwrap().project
    }

    #[test]
    fn contexts_of_services_are_their_images_and_come_first() {
        let project = project("{base: 'service:b', files: ./x, img: 'docker-image://busybox'}", "{}");
        let want = Want::of(&project, &project.services["a"], &[]).unwrap();
        assert_eq!(want.needs.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["b"]);
        let options = build_options(&want, want.build.as_ref().unwrap(), false).unwrap();
        assert_eq!(options.context, ContextSource::Path("/p/a".into()));
        let expected = [
            ("base", NamedSource::Image("b:1".parse().unwrap())),
            ("files", NamedSource::Files(ContextSource::Path("/p/x".into()))),
            ("img", NamedSource::Image("busybox".parse().unwrap())),
        ];
        assert_eq!(options.named, expected.map(|(name, source)| (name.to_owned(), source)));
    }

    #[test]
    fn circles_and_services_that_are_not_there_are_refused() {
        let project_of = |a: &str, b: &str| {
            let project = project(a, b);
            let failure = Want::of(&project, &project.services["a"], &[]).unwrap_err();
            let first = failure.first().clone();
            assert!(first.span.is_some());
            format!("{} {:?}", first.message, first.hints)
        };
        let circle = project_of("{x: 'service:b'}", "{y: 'service:a'}");
        assert!(circle.contains("a -> b -> a"), "{circle}");
        let none = project_of("{x: 'service:bb'}", "{}");
        assert!(none.contains("service `bb`"), "{none}");
    }

    #[test]
    fn what_is_fetched_has_its_dockerfile_inside() {
        let project = project("{}", "{}");
        let want = Want::of(&project, &project.services["a"], &[]).unwrap();
        let mut build = want.build.clone().unwrap();
        build.context = "https://h/r.git#v1:d".into();
        build.dockerfile = "https://h/r.git#v1:d/sub/Dockerfile".into();
        let options = build_options(&want, &build, false).unwrap();
        assert!(matches!(&options.context, ContextSource::Git(source) if source.subdir == "d"));
        assert_eq!(options.dockerfile.as_deref(), Some(Path::new("sub/Dockerfile")));
    }
}
