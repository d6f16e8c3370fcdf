//! Building images: a Dockerfile and a context in, an image in the store out.

mod graph;
mod options;
mod proxies;
mod run_options;
mod together;
mod why;

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use coracle_build::{BuildRequest, CachePolicy, StepOrigin, StepReport, StepWhy};
use coracle_fault::Point;
use coracle_oci::{ImageId, Reference};
use coracle_report::{Diagnostic, Outcome, Quiet, Task, TaskId};
use coracle_snapshot::SnapshotId;

use crate::cache::{CachePlace, Exported, is_broken, warn_of};
use crate::contexts::{self, Opened};
use crate::failure::pass;
use crate::ports::build::{ContextReport, EngineHost, WOULD_WORK, Work, cached};
pub use graph::{StageGraph, StageNode, StageOrigin, StageStep};
pub use options::{BuildOptions, HostCa, SolveOptions};
pub use run_options::{AgentSource, RunOptions, SecretPlace, SecretSource, SecretValue, allow};
pub use together::Together;
pub(crate) use together::{Slot, TargetResult};
pub use why::Explained;

use crate::outputs::{self, BuildFacts, Facts, Finished, Flatten};
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
    /// What the context holds, when that was asked for.
    pub context: Option<ContextReport>,
    /// What the outputs say of it, under the names of BuildKit's metadata file.
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// What other builds of the same run start from.
    pub(crate) result: TargetResult,
}

/// The builder of an engine.
#[derive(Clone, Copy)]
pub struct Builds<'a> {
    pub(crate) engine: &'a Engine,
}

impl Builds<'_> {
    /// Builds an image, gives it its names, and returns it.
    pub fn build(&self, options: &BuildOptions, cancel: &AtomicBool) -> Result<BuiltImage> {
        let built = self.build_image(options, cancel).map_err(|mut failure| {
            // Paths in messages are those inside; which disk is meant is ours to say.
            if let Some(first) =
                failure.diagnostics.first_mut().filter(|first| first.message.contains("no space left"))
            {
                first.notes.push(format!("images and builds lie in {}", self.engine.layout.data().display()));
            }
            failure
        })?;
        // A build that did nothing took no space.
        if !built.cached {
            self.tidy();
        }
        Ok(built)
    }

    fn build_image(&self, options: &BuildOptions, cancel: &AtomicBool) -> Result<BuiltImage> {
        let tags: Vec<Reference> =
            options.tags.iter().map(|tag| Images::parse(tag)).collect::<Result<_>>()?;
        let targets = options.run.targets();
        let epoch = self.epoch(options)?;
        let started = jiff::Timestamp::now();
        self.engine.reclaim()?;
        let opened = self.open(options, cancel)?;
        let file = opened.dockerfile.0.clone();
        let mut request = self.request(options, &opened)?;
        // Held meanwhile: nothing that the build has begun to use may be collected.
        let _adding = self.engine.store.adding().during("adding an image to the store")?;
        let host = EngineHost::new(self.engine, options, &opened, Work::Done)?;
        self.refuse_findings(&request, options, &opened)?;
        pass(Point::BuildBegun)?;
        let mut images = Vec::new();
        for platform in &targets {
            request.platform.clone_from(platform);
            let reporter = &*self.engine.reporter;
            let task =
                (targets.len() > 1).then(|| Task::start(reporter, options.parent, platform.to_string()));
            let parent = task.as_ref().map_or(options.parent, |task| Some(task.id()));
            let built = self.build_for(&request, &host, options.output.flatten, parent, cancel);
            if let Some(task) = task {
                task.finish(match &built {
                    Ok(_) => Outcome::Done,
                    Err(failure) => Outcome::Failed(failure.first().message.clone()),
                });
            }
            // What was found may be why it failed, and is told after the step's output.
            if built.is_err() {
                self.say_findings(&request, options, &opened);
            }
            images.push(built?);
        }
        let found = self.say_findings(&request, options, &opened);
        let (mut images, solved): (Vec<Finished>, Vec<coracle_build::BuiltImage>) =
            images.into_iter().unzip();
        let all_steps: Vec<Vec<StepReport>> = solved.iter().map(|built| built.steps.clone()).collect();
        self.export_cache(options, &host, &mut images, solved, cancel)?;
        let files = images.iter().map(|image| (image.config.clone(), image.top().cloned()));
        let result = TargetResult { images: files.collect(), materials: host.materials() };
        let images: Vec<_> = images.into_iter().zip(all_steps).collect();
        let cached = images.iter().flat_map(|(_, steps)| steps).all(|step| step.origin != StepOrigin::Made);
        let secrets: Vec<String> = options.run.secrets.iter().map(|secret| secret.id.clone()).collect();
        let build_args =
            options.build_args.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let times = (started, jiff::Timestamp::now());
        let mut told = None;
        let attested = |(image, steps): (Finished, Vec<StepReport>)| {
            let facts = BuildFacts {
                dockerfile: &file,
                lines: request.dockerfile.source.lines(),
                target: request.target.as_deref(),
                build_args: &build_args,
                labels: &options.labels,
                secrets: &secrets,
                materials: host.materials(),
                steps: &steps,
                times,
                epoch,
                context: opened.source.as_ref(),
                name: tags.first(),
            };
            told.get_or_insert_with(|| outputs::smallest(&facts, &image.platform()));
            let attestations = outputs::attest(self.engine, &options.output.attest, &image, &facts)?;
            Ok((image, attestations))
        };
        let images = images.into_iter().map(attested).collect::<Result<Vec<_>>>()?;
        let facts = Facts { cancel: Some(cancel), tags, epoch, cached, parent: options.parent };
        let steps = host.take_examined();
        pass(Point::BuildSolved)?;
        let mut delivered = outputs::deliver(self.engine, images, &options.output.outputs, &facts)?;
        let metadata = &mut delivered.metadata;
        if let Some(told) = told {
            metadata.entry("buildx.build.provenance").or_insert(told);
        }
        if !found.findings.is_empty() {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let lines = request.dockerfile.source.lines();
            metadata.insert("buildx.build.warnings".to_owned(), outputs::warnings(&found, &name, lines));
        }
        // Now, for what came from elsewhere goes with the build.
        let report = || host.context_report(why::taken(&request.dockerfile).as_deref(), &file);
        let context = options.solve.report_context.then(report).transpose()?;
        Ok(BuiltImage { id: delivered.id, cached, steps, context, metadata: delivered.metadata, result })
    }

    /// Writes the build's results to where they are to go; inline ones into the images' manifests.
    fn export_cache(
        &self,
        options: &BuildOptions,
        host: &EngineHost<'_>,
        images: &mut [Finished],
        solved: Vec<coracle_build::BuiltImage>,
        cancel: &AtomicBool,
    ) -> Result<()> {
        if options.cache_to.is_empty() {
            return Ok(());
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
            for (image, built) in images.iter_mut().zip(&exported.images) {
                let (name, text) = exported.inline(built)?;
                image.annotations.insert(name, text);
            }
        }
        exported.write(&options.cache_to, options.parent, cancel)?;
        Ok(())
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

    /// Builds the image of one platform; says also whether every step was cached.
    fn build_for(
        &self,
        request: &BuildRequest,
        host: &EngineHost<'_>,
        flatten: Option<Flatten>,
        parent: Option<TaskId>,
        cancel: &AtomicBool,
    ) -> Result<(Finished, coracle_build::BuiltImage)> {
        let mut built = self.solve(request, host, parent, cancel)?;
        host.note_examined(request.platform.to_string(), std::mem::take(&mut built.examined.steps));
        if let Some(top) = &mut built.snapshot {
            *top = host.real(top)?;
        }
        host.keep_imported();
        let top: Option<SnapshotId> = built.snapshot.as_ref().map(crate::ports::build::parse).transpose()?;
        let finished = Finished::new(self.engine, built.config.clone(), top.as_ref(), built.layers.len())?;
        let finished = match flatten {
            None => finished,
            Some(flatten) => finished.flattened(self.engine, flatten)?,
        };
        Ok((finished, built))
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
            // A repository that cannot be asked now is no reason to show no plan.
            Err(diagnostic) if [WOULD_WORK, "git-failed", "no-git"].contains(&&*diagnostic.code) => Ok(None),
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
        if let Some(epoch) = self.epoch(options)? {
            request.created = jiff::Timestamp::from_second(epoch).ok().map(|time| time.to_string());
            // As buildx does: a Dockerfile that declares it sees the caller's.
            request.build_args.entry("SOURCE_DATE_EPOCH".to_owned()).or_insert_with(|| epoch.to_string());
        }
        request.contexts = opened.contexts();
        Ok(request)
    }

    /// Opens the contexts and finds the Dockerfile.
    pub(crate) fn open(&self, options: &BuildOptions, cancel: &AtomicBool) -> Result<Opened> {
        contexts::open(self.engine, options, cancel)
    }

    /// Returns `SOURCE_DATE_EPOCH` in seconds, of the build's arguments or else the caller's variables. The image then has
    /// that time; else it has none, so that equal input gives an equal image.
    fn epoch(&self, options: &BuildOptions) -> Result<Option<i64>> {
        const NAME: &str = "SOURCE_DATE_EPOCH";
        let given = options.build_args.get(NAME).or_else(|| self.engine.environment.get(NAME));
        let Some(text) = given.filter(|text| !text.is_empty()) else { return Ok(None) };
        let seconds = text.parse().ok().filter(|seconds| jiff::Timestamp::from_second(*seconds).is_ok());
        match seconds {
            Some(seconds) => Ok(Some(seconds)),
            None => Err(Failure::user(
                Diagnostic::error("bad-epoch", format!("{NAME} is seconds since 1970, not `{text}`"))
                    .with_hint(format!("{NAME}=$(git log -1 --pretty=%ct) coracle build ...")),
            )),
        }
    }

    /// Returns the snapshots that the build cache names.
    pub(crate) fn cached_snapshots(&self) -> Result<BTreeSet<SnapshotId>> {
        cached(self.engine)
    }
}
