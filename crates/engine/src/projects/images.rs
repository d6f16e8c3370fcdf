//! The images of a project's services: built or fetched, each once, all at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use coracle_compose::ResolvedImage;
use coracle_composefile::{Build, MountSource, Project, PullPolicy, Service};
use coracle_oci::{Digest, ImageId, Platform};
use coracle_report::{Diagnostic, Event, Outcome, Task};
use indexmap::IndexMap;

use super::{BuildPolicy, Projects};
use crate::bakes::{self, BakeRequest, compose};
use crate::builds::SecretSource;
use crate::contexts::NamedSource;
use crate::{BuildOptions, Entitlements, Failure, Images, Pull, Result, near};

/// The images of a project, and the optional services that go without.
#[derive(Debug, Default)]
pub(super) struct ProjectImages {
    /// By service.
    pub images: IndexMap<String, ResolvedImage>,
    /// Optional services whose image cannot be had, and why.
    pub skipped: Vec<(String, String)>,
    /// What would have to be done for them first, a line each; only known in a dry run.
    pub before: Vec<String>,
}

/// Which platforms an image that says several is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Platforms {
    /// The one that can run here, as Docker Compose does for `up`.
    Runnable,
    /// All of them.
    All,
}

/// What one image takes; services that want the same share it.
#[derive(Clone, Debug)]
pub(super) struct Want {
    name: String,
    build: Option<Build>,
    /// The service that is named when something is wrong with the build.
    service: String,
    /// The project's directory.
    directory: PathBuf,
    /// What the build's steps may read.
    secrets: Vec<SecretSource>,
    platform: Option<Platform>,
    platforms: Platforms,
    pull: PullPolicy,
    /// Services whose images are contexts of the build (`additional_contexts: NAME: service:OTHER`).
    needs: Vec<(String, Want)>,
}

impl PartialEq for Want {
    /// Says whether both are the same image: where a definition stands in the files makes no other one.
    fn eq(&self, other: &Self) -> bool {
        let bare = |build: &Option<Build>| build.clone().map(without_places);
        self.name == other.name
            && bare(&self.build) == bare(&other.build)
            && self.directory == other.directory
            && self.secrets == other.secrets
            && self.platform == other.platform
            && self.platforms == other.platforms
            && self.pull == other.pull
            && self.needs == other.needs
    }
}

impl Want {
    /// Returns what a service's image takes. `users` are those that lead here.
    pub(super) fn of(
        project: &Project,
        service: &Service,
        platforms: Platforms,
        users: &[&str],
    ) -> Result<Self> {
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
            needs.push((other.to_owned(), Self::of(project, found, platforms, &users)?));
        }
        let secrets = service.build.iter().flat_map(|build| {
            build.secrets.iter().map(|secret| compose::secret_source(secret, build, project))
        });
        let secrets = secrets.collect::<std::result::Result<_, _>>().map_err(Failure::user)?;
        Ok(Self {
            name: service.image.familiar(),
            build: service.build.clone(),
            service: service.name.clone(),
            directory: project.directory.clone(),
            secrets,
            platform: service.platform.clone(),
            platforms,
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
    /// Makes the images of `services` ready to run here.
    pub(super) fn images(
        &self,
        project: &Project,
        services: &BTreeSet<String>,
        policy: BuildPolicy,
        no_cache: bool,
        cancel: &AtomicBool,
    ) -> Result<ProjectImages> {
        self.images_for(project, services, policy, Platforms::Runnable, no_cache, cancel)
    }

    /// As [`Self::images`], for the platforms that are said.
    pub(super) fn images_for(
        &self,
        project: &Project,
        services: &BTreeSet<String>,
        policy: BuildPolicy,
        platforms: Platforms,
        no_cache: bool,
        cancel: &AtomicBool,
    ) -> Result<ProjectImages> {
        let chosen: Vec<&Service> =
            project.services.values().filter(|service| services.contains(&service.name)).collect();
        let mut wants: Vec<Want> = Vec::new();
        let mut of_service: Vec<usize> = Vec::new();
        for service in &chosen {
            let want = Want::of(project, service, platforms, &[])?;
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
        let reference = Images::parse(&want.name)?;
        let platform = want.platform.clone().unwrap_or_else(Platform::host);
        let pull = match want.pull {
            PullPolicy::Always => Pull::Always,
            PullPolicy::Never => Pull::Never,
            PullPolicy::Refresh(after) if engine.images().is_older(&reference, after)? => Pull::Always,
            PullPolicy::Missing | PullPolicy::Build | PullPolicy::Refresh(_) => Pull::Missing,
        };
        let image = match &want.build {
            Some(build) if policy != BuildPolicy::Never => {
                if policy == BuildPolicy::WhenMissing
                    && want.pull != PullPolicy::Build
                    && let Some(image) = engine.images().stored(&Images::parse(&want.name)?, &want.name)?
                {
                    return Ok(ResolvedImage { id: image.id, config: image.config.config });
                }
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
                let image = engine.images().ensure_for(&reference, &platform, pull, None)?;
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
            let as_stored = policy == BuildPolicy::WhenMissing
                && stored.is_some()
                && service.pull_policy != PullPolicy::Build;
            if let Some(build) = service.build.as_ref().filter(|_| policy != BuildPolicy::Never && !as_stored)
            {
                let want = Want::of(project, service, Platforms::Runnable, &[])?;
                let id = self.probe(&want, build).map_err(|failure| placed(failure, &[service]))?;
                if id.is_none() {
                    let why = if stored.is_some() {
                        "something that it is made of changed"
                    } else {
                        "not there yet"
                    };
                    found.before.push(format!("build image {name} ({why})"));
                }
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
                None if service.build.is_none() && service.pull_policy != PullPolicy::Never => {
                    found.before.push(format!("pull image {name} (not there yet)"));
                    let id = ImageId::new(Digest::of(format!("to be pulled: {name}")));
                    let cmd = Some(vec!["to-be-pulled".to_owned()]);
                    let config = coracle_oci::RunConfig { cmd, ..coracle_oci::RunConfig::default() };
                    found.images.insert(service.name.clone(), ResolvedImage { id, config });
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

/// Returns what a service's build takes, exactly as a target of `bake` would.
pub(super) fn build_options(want: &Want, build: &Build, no_cache: bool) -> Result<BuildOptions> {
    // Whoever brings a project up trusts its files; `bake` asks, for it may be given a stranger's.
    let allow = Entitlements { network_host: true, security_insecure: true };
    let request = BakeRequest { directory: want.directory.clone(), allow, ..BakeRequest::default() };
    let target = compose::target(&want.service, build, &want.directory).map_err(Failure::user)?;
    let mut options = bakes::options::options(&target, &request).map_err(Failure::user)?;
    for (name, source) in &mut options.named {
        let service = build.additional_contexts.get(name).and_then(|source| source.strip_prefix("service:"));
        let need = service.and_then(|other| want.needs.iter().find(|(service, _)| service == other));
        if let Some((_, need)) = need {
            *source = NamedSource::Image(Images::parse(&need.name)?);
        }
    }
    options.run.secrets.clone_from(&want.secrets);
    options.run.platforms = platforms(want, build)?;
    options.tags.insert(0, want.name.clone());
    options.no_cache |= no_cache;
    Ok(options)
}

/// Returns the platforms that an image is built for: the service's own, else this machine's when it is among those of
/// the build.
fn platforms(want: &Want, build: &Build) -> Result<Vec<Platform>> {
    if let Some(own) = &want.platform {
        if !build.platforms.is_empty() && !build.platforms.contains(own) {
            let message = format!("`{}` runs on {own}, which `platforms` of its build lacks", want.service);
            let place = build.places.get("platforms").unwrap_or(&build.span).clone();
            return Err(Failure::user(Diagnostic::error("build-platforms", message).with_span(place)));
        }
        return Ok(vec![own.clone()]);
    }
    let host = Platform::host();
    Ok(match want.platforms {
        Platforms::Runnable if build.platforms.contains(&host) => vec![host],
        Platforms::Runnable | Platforms::All => build.platforms.clone(),
    })
}

/// Drops the places in files, so that equal builds compare equal.
fn without_places(mut build: Build) -> Build {
    build.span = coracle_report::Span::at(PathBuf::new(), 0, 0);
    build.dockerfile_span = None;
    build.target_span = None;
    build.places.clear();
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
    use crate::contexts::ContextSource;

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
        let want = Want::of(&project, &project.services["a"], Platforms::All, &[]).unwrap();
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
            let failure = Want::of(&project, &project.services["a"], Platforms::All, &[]).unwrap_err();
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
        let want = Want::of(&project, &project.services["a"], Platforms::All, &[]).unwrap();
        let mut build = want.build.clone().unwrap();
        build.context = "https://h/r.git#v1:d".into();
        build.dockerfile = "https://h/r.git#v1:d/sub/Dockerfile".into();
        let options = build_options(&want, &build, false).unwrap();
        assert!(matches!(&options.context, ContextSource::Git(source) if source.subdir == "d"));
        assert_eq!(options.dockerfile.as_deref(), Some(Path::new("sub/Dockerfile")));
    }
}
