//! A whole build: resolve bases, plan, solve, and put the image together.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use coracle_oci::{DiffId, ImageConfig};
use coracle_report::{Diagnostic, Event, Outcome, Reporter, Span, Task, TaskId};

use crate::failure::cancelled;
use crate::graph::{BuildGraph, Op, OpSource, VertexId, sources};
use crate::plan::{Planned, plan};
use crate::solver::{Surroundings, solve};
use crate::step::{Hit, Solved};
use crate::why::{Explainer, StepWhy};
use crate::{BaseNeed, Bases, BuildHost, BuildRequest, CacheKey, ResolvedBase, Selection, SnapshotRef};

/// A built image, ready to be given a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltImage {
    /// The configuration, complete: its bytes' digest is the image's id.
    pub config: ImageConfig,
    /// The layers above the base's, lowest first. The base's are the first of `config.rootfs.diff_ids`.
    pub layers: Vec<BuiltLayer>,
    /// The snapshot of the whole file system; `None` for an image without any layer.
    pub snapshot: Option<SnapshotRef>,
    /// What was done, in the graph's order.
    pub steps: Vec<StepReport>,
    /// Why.
    pub examined: Examined,
}

/// What is known of a build's steps, and of what they take from the context.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examined {
    /// The steps, in the graph's order.
    pub steps: Vec<StepWhy>,
    /// What the steps take from the context.
    pub selections: Vec<Selection>,
}

/// One layer that the build made or found in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltLayer {
    /// The snapshot whose difference from its parent is the layer.
    pub snapshot: SnapshotRef,
    /// The layer's id.
    pub diff_id: DiffId,
}

/// What became of one vertex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepReport {
    /// Its name.
    pub name: String,
    /// Its instruction.
    pub span: Span,
    /// Its key.
    pub key: CacheKey,
    /// Where the result came from.
    pub origin: StepOrigin,
    /// The steps whose results it needed, by their places in the list.
    pub inputs: Vec<usize>,
}

/// Where a step's result came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepOrigin {
    /// A base image.
    Base,
    /// The cache.
    Cached,
    /// This build.
    Made,
}

/// Builds an image.
///
/// Events go to `reporter` below the task `parent`: one task a base image that is resolved and one a step.
/// Warnings are events too. When `cancel` becomes set, running commands are killed and the build ends with a
/// diagnostic of code `cancelled`.
pub fn build(
    request: &BuildRequest,
    host: &dyn BuildHost,
    reporter: &dyn Reporter,
    parent: Option<TaskId>,
    cancel: &AtomicBool,
) -> Result<BuiltImage, Diagnostic> {
    let graph = resolve_and_plan(request, host, reporter, parent, cancel)?;
    for warning in &graph.warnings {
        reporter.event(Event::Notice(warning.clone()));
    }
    let explainer = Explainer::new(host, request, &graph);
    let surroundings = Surroundings { host, reporter, parent, cancel, explainer: &explainer, look: false };
    let solved = solve(&graph, request, surroundings);
    // Also of a build that failed: the next one is compared with what it got done.
    explainer.keep();
    let mut image = assemble(&graph, request, host, &solved?)?;
    image.examined = examined(&graph, &explainer);
    Ok(image)
}

/// Says what a build would do and why, and does nothing: bases must be there.
pub fn examine(
    request: &BuildRequest,
    host: &dyn BuildHost,
    reporter: &dyn Reporter,
    parent: Option<TaskId>,
    cancel: &AtomicBool,
) -> Result<Examined, Diagnostic> {
    let graph = resolve_and_plan(request, host, reporter, parent, cancel)?;
    let explainer = Explainer::new(host, request, &graph);
    let surroundings = Surroundings { host, reporter, parent, cancel, explainer: &explainer, look: true };
    solve(&graph, request, surroundings)?;
    Ok(examined(&graph, &explainer))
}

fn examined(graph: &BuildGraph, explainer: &Explainer<'_>) -> Examined {
    let from_context = |(source, selection)| match source {
        OpSource::Context => Some(selection),
        OpSource::Named(_) | OpSource::Vertex(_) | OpSource::Empty => None,
    };
    let selections = graph.vertices.iter().flat_map(|vertex| sources(&vertex.op)).filter_map(from_context);
    Examined { steps: explainer.steps(), selections: selections.collect() }
}

fn resolve_and_plan(
    request: &BuildRequest,
    host: &dyn BuildHost,
    reporter: &dyn Reporter,
    parent: Option<TaskId>,
    cancel: &AtomicBool,
) -> Result<BuildGraph, Diagnostic> {
    for name in &request.no_cache_stages {
        if !request.dockerfile.stages.iter().any(|stage| stage.is_called(name)) {
            let error = Diagnostic::error("unknown-stage", format!("there is no stage `{name}` to filter"));
            return Err(match coracle_dockerfile::nearest(name, request.dockerfile.stage_names()) {
                Some(near) => error.with_hint(format!("did you mean `--no-cache-filter {near}`?")),
                None => error,
            });
        }
    }
    let mut bases = Bases::default();
    loop {
        match plan(request, &bases)? {
            Planned::Graph(graph) => return Ok(*graph),
            Planned::Needs(needs) => {
                let resolve = |need: &BaseNeed| -> Result<ResolvedBase, Diagnostic> {
                    if cancel.load(Ordering::Relaxed) {
                        return Err(cancelled());
                    }
                    let task = Task::start(reporter, parent, format!("FROM {}", need.reference.familiar()));
                    let base = host.resolve_base(&need.reference, &need.platform, task.id());
                    task.finish(match &base {
                        Ok(_) => Outcome::Done,
                        Err(error) => Outcome::Failed(error.message.clone()),
                    });
                    base
                };
                let results = in_parallel(&needs, request.jobs.get(), resolve);
                for (need, result) in needs.into_iter().zip(results) {
                    let base = result.map_err(|error| place_base(request, &need, error))?;
                    bases.insert(need, base);
                }
            }
        }
    }
}

/// Puts a base's failure at the first `FROM` that literally names it.
fn place_base(request: &BuildRequest, need: &BaseNeed, error: Diagnostic) -> Diagnostic {
    if error.span.is_some() {
        return error;
    }
    let source = &request.dockerfile.source;
    let stage = request.dockerfile.stages.iter().find(|stage| match &stage.base {
        coracle_dockerfile::BaseRef::Image(word) => {
            word.value.parse().is_ok_and(|reference: coracle_oci::Reference| reference == need.reference)
        }
        coracle_dockerfile::BaseRef::Scratch | coracle_dockerfile::BaseRef::Stage(_) => false,
    });
    let Some(stage) = stage else {
        return error;
    };
    let span = match &stage.base {
        coracle_dockerfile::BaseRef::Image(word) => &word.span,
        coracle_dockerfile::BaseRef::Scratch | coracle_dockerfile::BaseRef::Stage(_) => &stage.span,
    };
    let error = source.place(error, span);
    let named = need.reference.repository().rsplit('/').next().unwrap_or_default();
    let others = request
        .dockerfile
        .stage_names()
        .filter(|name| stage.name.as_ref().is_none_or(|own| own.value != *name));
    match coracle_dockerfile::nearest(named, others) {
        Some(near) => error.with_hint(format!("if a stage is meant: did you mean `{near}`?")),
        None => error,
    }
}

/// Puts the image together: only now are the layers' ids asked for.
fn assemble(
    graph: &BuildGraph,
    request: &BuildRequest,
    host: &dyn BuildHost,
    solved: &[Solved],
) -> Result<BuiltImage, Diagnostic> {
    let snapshot_of = |index: usize| solved[index].snapshot.as_ref();
    // A step whose result is its parent's snapshot made no layer.
    let layer_of = |index: usize| {
        let parent = graph.vertices[index].parent.and_then(|parent| snapshot_of(parent.index()));
        snapshot_of(index).filter(|snapshot| Some(*snapshot) != parent)
    };
    let snapshots: Vec<&SnapshotRef> =
        graph.image.layers.iter().filter_map(|vertex| layer_of(vertex.index())).collect();
    let diff_ids = in_parallel(&snapshots, request.jobs.get(), |snapshot| host.diff_id(snapshot));
    let mut layers = Vec::new();
    for (snapshot, diff_id) in snapshots.into_iter().zip(diff_ids) {
        layers.push(BuiltLayer { snapshot: snapshot.clone(), diff_id: diff_id? });
    }
    let mut config = graph.image.config.clone();
    config.created.clone_from(&request.created);
    config.rootfs.diff_ids.extend(layers.iter().map(|layer| layer.diff_id));
    config.history = graph
        .image
        .history
        .iter()
        .map(|planned| {
            let mut entry = planned.entry.clone();
            // The base's entries keep their times.
            if entry.created.is_none() {
                entry.created.clone_from(&request.created);
            }
            if let Some(vertex) = planned.vertex {
                entry.empty_layer = layer_of(vertex.index()).is_none();
            }
            entry
        })
        .collect();
    let steps = graph.vertices.iter().zip(solved).map(|(vertex, solved)| StepReport {
        name: vertex.name.clone(),
        span: vertex.span.clone(),
        key: solved.key,
        origin: match (&vertex.op, solved.hit) {
            (Op::Base { .. }, _) => StepOrigin::Base,
            (_, Hit::Cached) => StepOrigin::Cached,
            (_, Hit::Made | Hit::Would | Hit::Maybe) => StepOrigin::Made,
        },
        inputs: vertex.dependencies().into_iter().map(VertexId::index).collect(),
    });
    let snapshot = graph.image.top.and_then(|top| snapshot_of(top.index())).cloned();
    let examined = Examined::default();
    Ok(BuiltImage { config, layers, snapshot, steps: steps.collect(), examined })
}

/// Returns the results of `work` on each item, in order, done by up to `jobs` threads.
fn in_parallel<T: Sync, R: Send>(items: &[T], jobs: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    if items.len() < 2 || jobs < 2 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<R>>> = items.iter().map(|_| Mutex::new(None)).collect();
    thread::scope(|scope| {
        for _ in 0..jobs.min(items.len()) {
            scope.spawn(|| {
                while let Some(index) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).filter(|i| *i < items.len())
                {
                    let result = work(&items[index]);
                    *results[index].lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
                }
            });
        }
    });
    results
        .into_iter()
        .map(|slot| {
            slot.into_inner().unwrap_or_else(PoisonError::into_inner).expect("every item is worked on")
        })
        .collect()
}
