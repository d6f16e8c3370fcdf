//! Collects what became of each step, explains those that were not cached, and keeps the memory for the next build.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use coracle_dockerfile::Instruction;
use serde::Serialize;

use super::cause::{Cause, short};
use super::facts::{Facts, facts};
use super::ledger::{FilesMemory, Ledger, LedgerStep, StepMemory, matches};
use super::manifest;
use crate::graph::{BuildGraph, Op, OpSource, Vertex, VertexId, sources};
use crate::step::Fetched;
use crate::{BuildHost, BuildRequest, CacheKey, Memory, Selection, SourcePlace};

/// Changes of files that are told of one step, at most.
const CHANGES: usize = 1000;

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StepState {
    /// A base image.
    Base,
    /// Its result was there.
    Cached,
    /// It was done.
    Made,
    /// It would be done (of a build that only looks).
    Would,
    /// It would be done unless files of a stage that would be made come out as before.
    Maybe,
    /// The build ended before it.
    Open,
}

/// One step and why it is as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepWhy {
    /// Its whole name, e.g. `[builder 3/5] RUN make`.
    pub name: String,
    /// The line of its instruction.
    pub line: u32,
    /// What became of it.
    pub state: StepState,
    /// Why it was not cached. Empty for those that were.
    pub causes: Vec<Cause>,
    /// Its key, when it is known.
    #[serde(serialize_with = "key_text")]
    pub key: Option<CacheKey>,
    /// How long it takes: now, or when it was made last. Milliseconds.
    pub milliseconds: Option<u64>,
}

#[expect(clippy::ref_option, reason = "serde asks for it")]
fn key_text<S: serde::Serializer>(key: &Option<CacheKey>, to: S) -> Result<S::Ok, S::Error> {
    key.map(|key| key.to_string()).serialize(to)
}

#[derive(Clone, Default)]
struct Entry {
    state: Option<StepState>,
    causes: Vec<Cause>,
    key: Option<CacheKey>,
    took: Option<u64>,
    /// The first step on the way here that is not as it was in the last build.
    root: Option<String>,
}

/// A step that was looked up in vain.
pub(crate) struct Miss {
    pub causes: Vec<Cause>,
    facts: Facts,
    /// For each source; `None` when it was not needed for the causes.
    manifests: Option<Vec<FilesMemory>>,
}

/// Explains one build.
pub(crate) struct Explainer<'b> {
    host: &'b dyn BuildHost,
    graph: &'b BuildGraph,
    /// Names that some `ARG` declares.
    arguments: BTreeSet<String>,
    /// Under which name the host keeps the last build.
    name: String,
    last: OnceLock<(Ledger, Vec<Option<usize>>)>,
    entries: Mutex<Vec<Entry>>,
}

impl<'b> Explainer<'b> {
    /// Returns an explainer that has read nothing yet.
    pub(crate) fn new(host: &'b dyn BuildHost, request: &BuildRequest, graph: &'b BuildGraph) -> Self {
        let file = &request.dockerfile;
        let statements = file.stages.iter().flat_map(|stage| &stage.instructions);
        let in_stages = statements.filter_map(|statement| match &statement.instruction {
            Instruction::Arg(arguments) => Some(arguments),
            _ => None,
        });
        let arguments = in_stages.flatten().chain(&file.global_args);
        Self {
            host,
            graph,
            arguments: arguments.map(|argument| argument.name.value.clone()).collect(),
            name: request.platform.to_string(),
            last: OnceLock::new(),
            entries: Mutex::new(vec![Entry::default(); graph.vertices.len()]),
        }
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the last build and which of its steps each of ours was.
    fn last(&self) -> &(Ledger, Vec<Option<usize>>) {
        self.last.get_or_init(|| {
            let kept = self.host.recall(Memory::Build(&self.name));
            let ledger: Ledger = kept.and_then(|kept| serde_json::from_slice(&kept).ok()).unwrap_or_default();
            let old: Vec<&str> = ledger.steps.iter().map(|step| step.name.as_str()).collect();
            let new: Vec<&str> = self.graph.vertices.iter().map(|vertex| vertex.name.as_str()).collect();
            let found = matches(&old, &new);
            (ledger, found)
        })
    }

    fn was(&self, index: usize) -> Option<&LedgerStep> {
        let (ledger, found) = self.last();
        found[index].map(|at| &ledger.steps[at])
    }

    fn vertex(&self, index: usize) -> &Vertex {
        &self.graph.vertices[index]
    }

    fn root(&self, id: VertexId) -> Option<String> {
        self.entries()[id.index()].root.clone()
    }

    /// Takes note of a base image, or of a step whose result was there.
    pub(crate) fn found(&self, index: usize, key: CacheKey) {
        let vertex = self.vertex(index);
        let state = if matches!(vertex.op, Op::Base { .. }) { StepState::Base } else { StepState::Cached };
        let before = vertex.parent.and_then(|parent| self.root(parent));
        let was = self.was(index).filter(|was| was.key == key);
        let root = before.or_else(|| {
            let other = state == StepState::Cached && was.is_none() && !self.last().0.steps.is_empty();
            other.then(|| vertex.name.clone())
        });
        let took = was.and_then(|was| was.took);
        self.entries()[index] = Entry { state: Some(state), causes: Vec::new(), key: Some(key), took, root };
    }

    /// Says why a step is not cached.
    ///
    /// `asked` is the option by which the caller wanted it; `place` returns where a source's files are.
    pub(crate) fn miss(
        &self,
        index: usize,
        key: CacheKey,
        downloads: &[Fetched],
        asked: Option<&str>,
    ) -> Miss {
        let vertex = self.vertex(index);
        let facts = facts(vertex, downloads, &self.arguments);
        let (causes, manifests) = match (asked, self.was(index)) {
            (Some(option), _) => (vec![Cause::Asked { option: option.to_owned() }], None),
            (None, None) => (vec![Cause::NeverBuilt], None),
            (None, Some(was)) => self.compare(index, key, &facts, was),
        };
        Miss { causes, facts, manifests }
    }

    fn compare(
        &self,
        index: usize,
        key: CacheKey,
        facts: &Facts,
        was: &LedgerStep,
    ) -> (Vec<Cause>, Option<Vec<FilesMemory>>) {
        let vertex = self.vertex(index);
        let kept = self.host.recall(Memory::Step(&was.key));
        let memory: Option<StepMemory> = kept.and_then(|kept| serde_json::from_slice(&kept).ok());
        let mut causes = self.base_cause(vertex);
        let mut manifests = None;
        if let Some(memory) = &memory {
            causes.extend(facts.compare(&memory.facts));
            if was.key != key && memory.files.iter().any(|files| files.manifest.is_some()) {
                let now = self.manifests(index);
                for (old, new) in memory.files.iter().zip(&now) {
                    match (&old.manifest, &new.manifest) {
                        (Some(old), Some(new)) => causes.extend(manifest::compare(old, new, CHANGES)),
                        (None, Some(_)) | (Some(_), None) => {
                            causes.push(Cause::Files { place: new.place.clone() });
                        }
                        (None, None) => {}
                    }
                }
                manifests = Some(now);
            }
        }
        if let Some(step) = vertex.parent.and_then(|parent| self.root(parent)) {
            causes.push(Cause::Earlier { step });
        }
        for (source, _) in sources(&vertex.op) {
            let OpSource::Vertex(id) = source else { continue };
            if let Some(step) = self.root(id) {
                causes.push(Cause::Stage { step });
            }
        }
        if causes.is_empty() {
            causes.push(match (was.key == key, memory) {
                (true, _) => Cause::Collected,
                (false, None) => Cause::Forgotten,
                (false, Some(_)) => Cause::Files { place: self.places(vertex) },
            });
        }
        (causes, manifests)
    }

    fn base_cause(&self, vertex: &Vertex) -> Vec<Cause> {
        let origins = sources(&vertex.op).into_iter().filter_map(|(source, _)| match source {
            OpSource::Vertex(id) => Some(id),
            OpSource::Context | OpSource::Named(_) | OpSource::Empty => None,
        });
        let mut causes = Vec::new();
        for id in vertex.parent.into_iter().chain(origins) {
            if let Op::Base { reference, key, .. } = &self.vertex(id.index()).op
                && let Some(old) = self.was(id.index()).and_then(|was| was.image.as_deref())
                && old != key.hex()
            {
                let (old, new) = (short(old), short(&key.hex()));
                let cause = Cause::Base { image: reference.familiar(), old, new };
                if !causes.contains(&cause) {
                    causes.push(cause);
                }
            }
        }
        causes
    }

    fn places(&self, vertex: &Vertex) -> String {
        let places: BTreeSet<String> =
            sources(&vertex.op).iter().map(|(source, _)| self.place_name(*source)).collect();
        if places.is_empty() {
            return "an earlier step".to_owned();
        }
        places.into_iter().collect::<Vec<_>>().join(", ")
    }

    fn place_name(&self, source: OpSource) -> String {
        match source {
            OpSource::Context => "the context".to_owned(),
            OpSource::Named(number) => format!("named context {}", number + 1),
            OpSource::Empty => "nothing".to_owned(),
            OpSource::Vertex(id) => self.vertex(id.index()).name.clone(),
        }
    }

    /// Lists the files that a step takes from the context. Files of stages are known by what made them.
    pub(crate) fn manifests(&self, index: usize) -> Vec<FilesMemory> {
        let list = |(source, selection): (OpSource, Selection)| {
            let listed = match source {
                OpSource::Context => self.host.list_sources(&SourcePlace::Context, &selection).ok(),
                OpSource::Named(number) => {
                    self.host.list_sources(&SourcePlace::Named(number), &selection).ok()
                }
                OpSource::Vertex(_) | OpSource::Empty => None,
            };
            let manifest = listed.and_then(manifest::write);
            FilesMemory { place: self.place_name(source), manifest }
        };
        sources(&self.vertex(index).op).into_iter().map(list).collect()
    }

    /// Returns whether the step's files must still be listed when it is made.
    pub(crate) fn wants_manifests(&self, index: usize, miss: &Miss) -> bool {
        let from_context =
            |(source, _): &(OpSource, Selection)| matches!(source, OpSource::Context | OpSource::Named(_));
        miss.manifests.is_none() && sources(&self.vertex(index).op).iter().any(from_context)
    }

    /// Takes note of a step that was done, and keeps what it was made of.
    pub(crate) fn made(
        &self,
        index: usize,
        key: CacheKey,
        miss: Miss,
        listed: Option<Vec<FilesMemory>>,
        took: Duration,
    ) {
        let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let files = miss.manifests.or(listed).unwrap_or_default();
        let memory = StepMemory { facts: miss.facts, files, took };
        if let Ok(bytes) = serde_json::to_vec(&memory) {
            self.host.remember(Memory::Step(&key), &bytes);
        }
        self.note(index, Some(key), StepState::Made, miss.causes, Some(took));
    }

    /// Takes note of a step that would be done. `maybe`: unless files come out as before.
    pub(crate) fn would(&self, index: usize, miss: Miss, maybe: bool) {
        let state = if maybe { StepState::Maybe } else { StepState::Would };
        let took = self.was(index).and_then(|was| was.took);
        self.note(index, None, state, miss.causes, took);
    }

    /// Takes note of a step that failed.
    pub(crate) fn failed(&self, index: usize, causes: Vec<Cause>) {
        self.note(index, None, StepState::Open, causes, None);
    }

    fn note(
        &self,
        index: usize,
        key: Option<CacheKey>,
        state: StepState,
        causes: Vec<Cause>,
        took: Option<u64>,
    ) {
        let vertex = self.vertex(index);
        let before = vertex.parent.and_then(|parent| self.root(parent));
        let root = Some(before.unwrap_or_else(|| vertex.name.clone()));
        self.entries()[index] = Entry { state: Some(state), causes, key, took, root };
    }

    /// Returns what is known of every step.
    pub(crate) fn steps(&self) -> Vec<StepWhy> {
        let entries = self.entries();
        let pairs = self.graph.vertices.iter().zip(entries.iter());
        pairs
            .map(|(vertex, entry)| StepWhy {
                name: vertex.name.clone(),
                line: vertex.span.start.line,
                state: entry.state.unwrap_or(StepState::Open),
                causes: entry.causes.clone(),
                key: entry.key,
                milliseconds: entry.took,
            })
            .collect()
    }

    /// Keeps this build as the last one, if it was another than the last one. Of a build that failed, the steps that
    /// were not reached stay as they were.
    pub(crate) fn keep(&self) {
        let entries = self.entries().clone();
        let pairs = self.graph.vertices.iter().zip(&entries).enumerate();
        let steps = pairs.filter_map(|(index, (vertex, entry))| {
            let Some(key) = entry.key else { return self.was(index).cloned() };
            let image = match &vertex.op {
                Op::Base { key, .. } => Some(key.hex()),
                Op::Exec(_) | Op::Copy(_) | Op::Directory { .. } => None,
            };
            Some(LedgerStep { name: vertex.name.clone(), key, image, took: entry.took })
        });
        let mut ledger = Ledger { steps: steps.collect() };
        let last = &self.last().0;
        // Another target of the same Dockerfile may have been built before: its stages are still worth comparing.
        let ours: BTreeSet<&str> =
            self.graph.vertices.iter().map(|vertex| super::split_name(&vertex.name).0).collect();
        let others = last.steps.iter().filter(|step| !ours.contains(super::split_name(&step.name).0));
        ledger.steps.extend(others.cloned());
        if ledger != *last
            && let Ok(bytes) = serde_json::to_vec(&ledger)
        {
            self.host.remember(Memory::Build(&self.name), &bytes);
        }
    }
}
