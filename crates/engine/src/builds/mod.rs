//! Building images: a Dockerfile and a context in, an image in the store out.

mod graph;
mod options;
mod proxies;
mod run_options;
mod why;

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use coracle_build::{BuildRequest, CachePolicy, StepOrigin, StepWhy};
use coracle_oci::{DiffId, ImageId, Platform, Reference};
use coracle_report::{Outcome, Quiet, Task, TaskId};
use coracle_snapshot::SnapshotId;
use coracle_store::Image;

use crate::cache::{CachePlace, Exported, is_broken, warn_of};
use crate::contexts::{self, Opened};
use crate::ports::build::{EngineHost, WOULD_WORK, Work, cached};
pub use graph::{StageGraph, StageNode, StageOrigin, StageStep};
pub use options::{BuildOptions, HostCa, SolveOptions};
pub use run_options::{AgentSource, RunOptions, SecretPlace, SecretSource, allow};
pub use why::Explained;

use crate::{During, Engine, Failure, Images, Result};

/// A built image.
#[derive(Clone, Debug)]
pub struct BuiltImage {
    /// Its id.
    pub id: ImageId,
    /// Whether every step was cached.
    pub cached: bool,
    /// For each platform: its name and what became of the steps.
    pub steps: Vec<(String, Vec<StepWhy>)>,
}

/// The builder of an engine.
#[derive(Clone, Copy)]
pub struct Builds<'a> {
    pub(crate) engine: &'a Engine,
}

impl Builds<'_> {
    /// Builds an image, gives it its names, and returns it.
    pub fn build(&self, options: &BuildOptions, cancel: &AtomicBool) -> Result<BuiltImage> {
        self.build_image(options, cancel).map_err(|mut failure| {
            // Paths in messages are those inside; which disk is meant is ours to say.
            if let Some(first) =
                failure.diagnostics.first_mut().filter(|first| first.message.contains("no space left"))
            {
                first.notes.push(format!("images and builds lie in {}", self.engine.layout.data().display()));
            }
            failure
        })
    }

    fn build_image(&self, options: &BuildOptions, cancel: &AtomicBool) -> Result<BuiltImage> {
        let tags: Vec<Reference> =
            options.tags.iter().map(|tag| Images::parse(tag)).collect::<Result<_>>()?;
        let targets = options.run.targets();
        self.engine.reclaim()?;
        let opened = self.open(options, cancel)?;
        let file = opened.dockerfile.0.clone();
        let mut request = self.request(options, &opened)?;
        // Held meanwhile: nothing that the build has begun to use may be collected.
        let _adding = self.engine.store.adding().during("adding an image to the store")?;
        let host = EngineHost::new(self.engine, options, &opened, Work::Done)?;
        self.refuse_findings(&request, options, &file)?;
        let mut images = Vec::new();
        for platform in &targets {
            request.platform.clone_from(platform);
            let reporter = &*self.engine.reporter;
            let task =
                (targets.len() > 1).then(|| Task::start(reporter, options.parent, platform.to_string()));
            let parent = task.as_ref().map_or(options.parent, |task| Some(task.id()));
            let built = self.build_for(&request, &host, parent, cancel);
            if let Some(task) = task {
                task.finish(match &built {
                    Ok(_) => Outcome::Done,
                    Err(failure) => Outcome::Failed(failure.first().message.clone()),
                });
            }
            // What was found may be why it failed, and is told after the step's output.
            if built.is_err() {
                self.say_findings(&request, options, &file);
            }
            images.push(built?);
        }
        self.say_findings(&request, options, &file);
        let mut solved = Vec::new();
        let images: Vec<(Image, bool)> = images
            .into_iter()
            .map(|(image, cached, built)| {
                solved.push(built);
                (image, cached)
            })
            .collect();
        let images = self.export_cache(options, &host, images, solved, cancel)?;
        self.name(&tags, &images)?;
        let cached = images.iter().all(|(_, cached)| *cached);
        let steps = host.take_examined();
        let host = targets.iter().position(|platform| *platform == Platform::host()).unwrap_or(0);
        Ok(BuiltImage { id: images[host].0.id, cached, steps })
    }

    /// Writes the build's results to where they are to go; inline ones into the images' manifests.
    fn export_cache(
        &self,
        options: &BuildOptions,
        host: &EngineHost<'_>,
        mut images: Vec<(Image, bool)>,
        solved: Vec<coracle_build::BuiltImage>,
        cancel: &AtomicBool,
    ) -> Result<Vec<(Image, bool)>> {
        if options.cache_to.is_empty() {
            return Ok(images);
        }
        let (records, mounts) = host.used();
        let diff_id =
            |snapshot: &coracle_build::SnapshotRef| coracle_build::BuildHost::diff_id(host, snapshot);
        let exported = Exported {
            engine: self.engine,
            imports: &host.imports,
            records,
            diff_id: &diff_id,
            images: solved,
            mounts,
        };
        if options.cache_to.iter().any(|to| to.place == CachePlace::Inline) {
            for ((image, _), built) in images.iter_mut().zip(&exported.images) {
                let (name, text) = exported.inline(built)?;
                let store = &self.engine.store;
                let mut manifest = store.manifest(&image.manifest_digest).during("reading a manifest")?;
                manifest.annotations.insert(name, text);
                let config = store
                    .read_blob(&image.id.digest(), coracle_store::MAX_DOCUMENT)
                    .during("reading a configuration")?;
                *image = store.put_manifest(&manifest.to_bytes(), &config).during("recording an image")?;
            }
        }
        exported.write(&options.cache_to, options.parent, cancel)?;
        Ok(images)
    }

    /// Solves, and solves again without those caches that turn out not to hold what they said.
    fn solve(
        &self,
        request: &BuildRequest,
        host: &EngineHost<'_>,
        parent: Option<TaskId>,
        cancel: &AtomicBool,
    ) -> Result<coracle_build::BuiltImage> {
        loop {
            let solved = coracle_build::build(request, host, &*self.engine.reporter, parent, cancel);
            let solved = solved.map_err(Failure::from).and_then(|built| {
                if let Some(top) = &built.snapshot {
                    host.real(top)?;
                }
                Ok(built)
            });
            match solved {
                // Each time one cache fewer is asked, so that this ends.
                Err(failure) if is_broken(&failure) => {
                    warn_of(self.engine, failure.first());
                    host.restart();
                }
                other => return other,
            }
        }
    }

    /// Gives the images of all platforms their names.
    fn name(&self, tags: &[Reference], images: &[(Image, bool)]) -> Result<()> {
        let store = &self.engine.store;
        let during = "naming the image";
        if let [(image, _)] = images {
            for tag in tags {
                let named = store.reference(tag).during(during)?;
                if named.as_ref() != Some(&image.manifest_digest) {
                    store.set_reference(tag, &image.manifest_digest).during(during)?;
                }
            }
            return Ok(());
        }
        let images: Vec<Image> = images.iter().map(|(image, _)| image.clone()).collect();
        let index = store.put_index(&images).during("putting the platforms together")?;
        tags.iter().try_for_each(|tag| store.set_index_reference(tag, &index).during(during))
    }

    /// Builds the image of one platform; says also whether every step was cached.
    fn build_for(
        &self,
        request: &BuildRequest,
        host: &EngineHost<'_>,
        parent: Option<TaskId>,
        cancel: &AtomicBool,
    ) -> Result<(Image, bool, coracle_build::BuiltImage)> {
        let mut built = self.solve(request, host, parent, cancel)?;
        host.note_examined(request.platform.to_string(), std::mem::take(&mut built.examined.steps));
        if let Some(top) = &mut built.snapshot {
            *top = host.real(top)?;
        }
        host.keep_imported();
        let layers = self.layers(built.snapshot.as_ref().map(coracle_build::SnapshotRef::as_str))?;
        let cached = built.steps.iter().all(|step| step.origin != StepOrigin::Made);
        let store = &self.engine.store;
        // Nothing is written, and no disk waited for, when the image is there as it was.
        let known = store.image_by_id(&built.config.id()).during("looking for the image")?;
        let image = match known {
            Some(image) if cached => image,
            _ => self.engine.images().keep(&built.config, &layers, None)?,
        };
        Ok((image, cached, built))
    }

    /// Returns the image that a build would give, if every step is cached; `None` when something would have to be done.
    /// Changes nothing.
    pub(crate) fn probe(&self, options: &BuildOptions) -> Result<Option<ImageId>> {
        // What lies elsewhere cannot be known without fetching it.
        if options.context.directory().is_none() || !options.named.iter().all(|(_, source)| source.is_here())
        {
            return Ok(None);
        }
        let never = AtomicBool::new(false);
        let opened = self.open(options, &never)?;
        let request = self.request(options, &opened)?;
        let _adding = self.engine.store.adding().during("looking into the store")?;
        let host = EngineHost::new(self.engine, options, &opened, Work::Refused)?;
        match coracle_build::build(&request, &host, &Quiet, None, &never) {
            Ok(built) => Ok(Some(built.config.id())),
            Err(diagnostic) if diagnostic.code == WOULD_WORK => Ok(None),
            Err(diagnostic) => Err(Failure::user(diagnostic)),
        }
    }

    /// Reads the Dockerfile and says what is to be built.
    fn request(&self, options: &BuildOptions, opened: &Opened) -> Result<BuildRequest> {
        let (file, text) = &opened.dockerfile;
        let dockerfile = coracle_dockerfile::parse(file, text)?;
        let mut request = BuildRequest::new(dockerfile);
        request.target.clone_from(&options.target);
        request.build_args =
            options.build_args.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        proxies::add(&self.engine.docker_config(), &mut request.build_args);
        request.labels.clone_from(&options.labels);
        request.cache = if options.no_cache { CachePolicy::Ignore } else { CachePolicy::Use };
        request.no_cache_stages.clone_from(&options.solve.no_cache_stages);
        request.jobs = options.solve.jobs();
        request.network = options.run.network;
        if let Some(platform) = options.run.targets().into_iter().next() {
            request.platform = platform;
        }
        request.sandbox.clone_from(&options.run.sandbox);
        request.allow = options.run.allow;
        request.created = self.created();
        request.contexts = opened.contexts();
        Ok(request)
    }

    /// Opens the contexts and finds the Dockerfile.
    pub(crate) fn open(&self, options: &BuildOptions, cancel: &AtomicBool) -> Result<Opened> {
        contexts::open(self.engine, options, cancel)
    }

    /// Returns the time that stands in the image: fixed by `SOURCE_DATE_EPOCH`, else left out, so that equal input gives an
    /// equal image.
    fn created(&self) -> Option<String> {
        let seconds = self.engine.environment.get("SOURCE_DATE_EPOCH")?.parse().ok()?;
        jiff::Timestamp::from_second(seconds).ok().map(|time| time.to_string())
    }

    /// Returns the layers of a stack with their lengths, lowest first.
    fn layers(&self, top: Option<&str>) -> Result<Vec<(DiffId, u64)>> {
        let Some(top) = top else { return Ok(Vec::new()) };
        let id: SnapshotId = top.parse().during("reading a snapshot's id")?;
        let mut layers = Vec::new();
        for snapshot in self.engine.snapshots.stack(&id).during("listing an image's layers")? {
            let diff_id = snapshot.diff_id.ok_or_else(|| {
                let error = std::io::Error::other("a layer was not hashed");
                Failure::ours(format_args!("putting the image together at snapshot {}", snapshot.id), &error)
            })?;
            layers.push((diff_id, snapshot.size.unwrap_or(0)));
        }
        Ok(layers)
    }

    /// Returns the snapshots that the build cache names.
    pub(crate) fn cached_snapshots(&self) -> Result<BTreeSet<SnapshotId>> {
        cached(self.engine)
    }
}
