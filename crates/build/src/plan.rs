//! Planning: a Dockerfile, arguments and resolved bases to a [`BuildGraph`]. Pure.
//!
//! Only the target and the stages it needs are planned. What an instruction means may depend on the base's
//! configuration (environment, shell, `ONBUILD`), so planning ends with a list of needs until all bases that can
//! be known are resolved.

use std::collections::BTreeSet;

use coracle_dockerfile::{BaseRef, Dockerfile, Instruction, StageLookup, Word, expand};
use coracle_oci::{ImageConfig, Platform, Reference};
use coracle_report::{Diagnostic, Span};

use crate::graph::{Brought, BuildGraph, ImagePlan, Op, OpSource, PlannedHistory, Vertex, VertexId};
use crate::scope::{Arguments, DEFAULT_PATH, PROXIES, platform_arguments};
use crate::stage::StageState;
use crate::{BaseNeed, Bases, BuildRequest};

/// What planning came to.
#[derive(Clone, Debug)]
pub enum Planned {
    /// The whole graph.
    Graph(Box<BuildGraph>),
    /// These bases must be resolved first; then plan again. Never empty.
    Needs(Vec<BaseNeed>),
}

/// Plans a build with the bases resolved so far.
pub fn plan(request: &BuildRequest, bases: &Bases) -> Result<Planned, Diagnostic> {
    let file = &request.dockerfile;
    let target = file.target(request.target.as_deref())?;
    let target_name = file.stages[target].name.as_ref().map_or("default", |name| name.value.as_str());
    let mut planner = Planner {
        request,
        bases,
        globals: platform_arguments(request, target_name),
        vertices: Vec::new(),
        stages: vec![Progress::Unplanned; file.stages.len()],
        needs: BTreeSet::new(),
        warnings: Vec::new(),
        brought: None,
        used_contexts: BTreeSet::new(),
    };
    planner.declare_globals()?;
    for index in planner.needed_stages(target)? {
        planner.stage(index)?;
    }
    let Progress::Planned(state) = planner.stages[target].clone() else {
        return Ok(Planned::Needs(planner.needs.into_iter().collect()));
    };
    planner.warn_unused_arguments();
    planner.warn_unused_contexts();
    let mut config = state.config;
    config.config.labels.extend(request.labels.clone());
    let image = ImagePlan { config, history: state.history, layers: state.layers, top: state.top };
    let graph = BuildGraph { vertices: planner.vertices, image, warnings: planner.warnings };
    Ok(Planned::Graph(Box::new(graph)))
}

#[derive(Clone)]
enum Progress {
    Unplanned,
    /// Being planned: whoever asks now asks for itself.
    Running,
    /// A base is missing.
    Waiting,
    Planned(Box<StageState>),
}

/// What a `--from` or `from=` gives.
pub(crate) enum Origin {
    /// A file system.
    Source(OpSource),
    /// It cannot be known yet.
    Waiting,
}

pub(crate) struct Planner<'r> {
    pub request: &'r BuildRequest,
    bases: &'r Bases,
    /// Global arguments, platform arguments among them.
    pub globals: Arguments,
    vertices: Vec<Vertex>,
    stages: Vec<Progress>,
    needs: BTreeSet<BaseNeed>,
    pub warnings: Vec<Diagnostic>,
    /// The trigger of a base image that is planned now.
    pub brought: Option<Brought>,
    /// Named contexts that something asked for.
    pub used_contexts: BTreeSet<usize>,
}

impl<'r> Planner<'r> {
    pub(crate) fn file(&self) -> &'r Dockerfile {
        &self.request.dockerfile
    }

    /// Returns an error at `span`, with the source line when the span lies in the Dockerfile.
    pub(crate) fn error(&self, code: &str, message: impl Into<String>, span: &Span) -> Diagnostic {
        let source = &self.request.dockerfile.source;
        if span.file() == source.file() {
            source.error(code, message, span)
        } else {
            Diagnostic::error(code, message).with_span(span.clone())
        }
    }

    /// Returns `word` with quotes removed and variables replaced.
    pub(crate) fn expand(
        &self,
        word: &Word,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<String, Diagnostic> {
        expand(word, self.file().directives.escape, lookup)
            .map_err(|error| self.error(error.code(), error.to_string(), &word.span))
    }

    fn expand_global(&self, word: &Word) -> Result<String, Diagnostic> {
        self.expand(word, &|name| self.globals.get(name).cloned().flatten())
    }

    fn declare_globals(&mut self) -> Result<(), Diagnostic> {
        for argument in &self.file().global_args {
            let name = argument.name.value.clone();
            let value = match (self.request.build_args.get(&name), &argument.default) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => Some(self.expand_global(default)?),
                (None, None) => self.globals.get(&name).cloned().flatten(),
            };
            self.globals.insert(name, value);
        }
        Ok(())
    }

    /// Returns the stages that the target surely needs, in order, the target last. Others may turn up while
    /// planning, when a name comes out of a variable or a trigger.
    fn needed_stages(&self, target: usize) -> Result<Vec<usize>, Diagnostic> {
        let mut needed = BTreeSet::new();
        let mut open = vec![target];
        while let Some(index) = open.pop() {
            if needed.insert(index) {
                open.extend(self.literal_origins(index)?.into_iter().filter_map(|(name, _)| {
                    match self.file().look_up_stage(&name, index) {
                        StageLookup::Earlier(earlier) => Some(earlier),
                        StageLookup::Later(_) | StageLookup::Near(_) | StageLookup::None => None,
                    }
                }));
                if let Base::Stage(earlier) = self.base(index)? {
                    open.push(earlier);
                }
            }
        }
        Ok(needed.into_iter().collect())
    }

    /// Returns the names after `--from` and `from=` in a stage that hold no variable.
    fn literal_origins(&self, index: usize) -> Result<Vec<(String, &'r Word)>, Diagnostic> {
        let mut names = Vec::new();
        if self.replaced(index).is_some() {
            return Ok(names);
        }
        for statement in &self.file().stages[index].instructions {
            let words: Vec<&Word> = match &statement.instruction {
                Instruction::Copy(copy) => copy.from.iter().collect(),
                Instruction::Run(run) => run.mounts.iter().filter_map(|mount| mount.kind.from()).collect(),
                _ => Vec::new(),
            };
            for word in words.into_iter().filter(|word| !word.contains('$')) {
                names.push((self.expand_global(word)?, word));
            }
        }
        Ok(names)
    }

    fn platform(&self, index: usize) -> Result<Platform, Diagnostic> {
        let Some(word) = &self.file().stages[index].platform else {
            return Ok(self.request.platform.clone());
        };
        let text = self.expand_global(word)?;
        Platform::written(&text).map_err(|reason| {
            self.error("bad-platform", reason, &word.span)
                .with_hint("write for example `--platform=linux/amd64`")
        })
    }

    fn base(&self, index: usize) -> Result<Base, Diagnostic> {
        if let Some(number) = self.replaced(index) {
            return Ok(Base::Named(number));
        }
        match &self.file().stages[index].base {
            BaseRef::Scratch => Ok(Base::Scratch),
            BaseRef::Stage(earlier) => Ok(Base::Stage(*earlier)),
            BaseRef::Image(word) => {
                let text = self.expand_global(word)?;
                if text.is_empty() {
                    let error = self.error("empty-base", format!("`{}` is empty", word.value), &word.span);
                    return Err(error.with_hint(
                        "an ARG before the first FROM must have a default, or give it with `--build-arg NAME=value`",
                    ));
                }
                if text == "scratch" {
                    return Ok(Base::Scratch);
                }
                let earlier = self.file().stages[..index].iter().rposition(|stage| stage.is_called(&text));
                if let Some(earlier) = earlier {
                    return Ok(Base::Stage(earlier));
                }
                match self.named(&text) {
                    Some(number) => Ok(Base::Named(number)),
                    None => Ok(Base::Image(self.reference(&text, &word.span)?)),
                }
            }
        }
    }

    fn reference(&self, text: &str, span: &Span) -> Result<Reference, Diagnostic> {
        text.parse().map_err(|error: coracle_oci::ReferenceError| {
            self.error("bad-reference", error.to_string(), span)
        })
    }

    fn need(&mut self, reference: Reference, platform: Platform) -> BaseNeed {
        let need = BaseNeed { reference, platform };
        if self.bases.get(&need).is_none() {
            self.needs.insert(need.clone());
        }
        need
    }

    /// Plans stage `index` unless that is done.
    fn stage(&mut self, index: usize) -> Result<(), Diagnostic> {
        if !matches!(self.stages[index], Progress::Unplanned) {
            return Ok(());
        }
        self.stages[index] = Progress::Running;
        // So that all bases are resolved at once, those of `--from` are named before the stage can be planned.
        for (name, word) in self.literal_origins(index)? {
            if name != "scratch"
                && self.named(&name).is_none()
                && matches!(self.file().look_up_stage(&name, index), StageLookup::None)
            {
                let reference = self.reference(&name, &word.span)?;
                self.need(reference, self.request.platform.clone());
            }
        }
        self.stages[index] = match self.begin(index)? {
            None => Progress::Waiting,
            Some(mut state) => {
                if self.replaced(index).is_some() || state.run(self)? {
                    Progress::Planned(Box::new(state))
                } else {
                    Progress::Waiting
                }
            }
        };
        Ok(())
    }

    /// Returns the state that a stage's first instruction meets; `None` when its base is missing.
    fn begin(&mut self, index: usize) -> Result<Option<StageState>, Diagnostic> {
        let stage = &self.file().stages[index];
        let platform = self.platform(index)?;
        Ok(match self.base(index)? {
            Base::Scratch => Some(StageState::new(index, stage, scratch(&platform))),
            Base::Named(number) => {
                if let Some(reference) = self.context_image(number) {
                    self.upon_image(index, reference, platform)?
                } else {
                    let mut state = StageState::new(index, stage, scratch(&platform));
                    state.begin_with_files(self, number, &stage.span);
                    Some(state)
                }
            }
            Base::Stage(earlier) => {
                self.stage(earlier)?;
                match &self.stages[earlier] {
                    Progress::Planned(base) => Some(StageState::upon(index, stage, base)),
                    Progress::Waiting | Progress::Unplanned | Progress::Running => None,
                }
            }
            Base::Image(reference) => self.upon_image(index, reference, platform)?,
        })
    }

    fn upon_image(
        &mut self,
        index: usize,
        reference: Reference,
        platform: Platform,
    ) -> Result<Option<StageState>, Diagnostic> {
        let stage = &self.file().stages[index];
        let need = self.need(reference, platform);
        let Some(base) = self.bases.get(&need) else {
            return Ok(None);
        };
        let mut config = base.config.clone();
        let history = std::mem::take(&mut config.history);
        let mut state = StageState::new(index, stage, config);
        state.history = history.into_iter().map(|entry| PlannedHistory { entry, vertex: None }).collect();
        let name = state.label(self, &format!("FROM {}", need.reference.familiar()));
        state.top = Some(self.base_vertex(&need, name, &stage.span));
        state.origin = need.reference.familiar();
        Ok(Some(state))
    }

    fn base_vertex(&mut self, need: &BaseNeed, name: String, span: &Span) -> VertexId {
        let base = self.bases.get(need).expect("asked for only after the need was met");
        let op =
            Op::Base { reference: need.reference.clone(), key: base.key, snapshot: base.snapshot.clone() };
        self.vertex(op, None, name, span)
    }

    /// Adds a vertex, or returns the one that does just the same.
    pub(crate) fn vertex(&mut self, op: Op, parent: Option<VertexId>, name: String, span: &Span) -> VertexId {
        self.vertex_of_words(op, parent, name, span, Vec::new())
    }

    /// Adds a vertex that knows where the words of its instruction stand.
    pub(crate) fn vertex_of_words(
        &mut self,
        op: Op,
        parent: Option<VertexId>,
        name: String,
        span: &Span,
        words: Vec<(String, Span)>,
    ) -> VertexId {
        if let Some(index) = self.vertices.iter().position(|old| old.parent == parent && old.op == op) {
            return VertexId(index);
        }
        let source = &self.file().source;
        let source_line = if span.file() == source.file() { source.line(span.start.line) } else { None };
        let source_line = source_line.map(str::to_owned);
        let brought = self.brought.clone();
        self.vertices.push(Vertex { op, parent, name, span: span.clone(), source_line, words, brought });
        VertexId(self.vertices.len() - 1)
    }

    /// Returns what `--from=name` or `from=name` of stage `at` gives; `word` is its place.
    pub(crate) fn origin(&mut self, name: &str, at: usize, word: &Word) -> Result<Origin, Diagnostic> {
        let found = self.file().look_up_stage(name, at);
        let named = match found {
            StageLookup::Earlier(index) => self.replaced(index),
            StageLookup::Later(_) | StageLookup::Near(_) | StageLookup::None => self.named(name),
        };
        if let Some(number) = named {
            return self.context_origin(number, word);
        }
        match found {
            StageLookup::Earlier(index) => {
                self.stage(index)?;
                Ok(match &self.stages[index] {
                    Progress::Planned(state) => {
                        Origin::Source(state.top.map_or(OpSource::Empty, OpSource::Vertex))
                    }
                    Progress::Waiting | Progress::Unplanned | Progress::Running => Origin::Waiting,
                })
            }
            StageLookup::Later(_) | StageLookup::Near(_) => {
                let fault = self.file().reference_fault(name, at, word);
                Err(fault.unwrap_or_else(|| {
                    self.error("unknown-stage", format!("`{name}` is no stage before this one"), &word.span)
                }))
            }
            StageLookup::None if name == "scratch" => Ok(Origin::Source(OpSource::Empty)),
            StageLookup::None => {
                let reference = self.reference(name, &word.span)?;
                Ok(self.image_origin(reference, word))
            }
        }
    }

    /// Returns the file system of an image.
    pub(crate) fn image_origin(&mut self, reference: Reference, word: &Word) -> Origin {
        let need = self.need(reference, self.request.platform.clone());
        if self.bases.get(&need).is_none() {
            return Origin::Waiting;
        }
        let label = format!("FROM {}", need.reference.familiar());
        Origin::Source(OpSource::Vertex(self.base_vertex(&need, label, &word.span)))
    }

    fn warn_unused_arguments(&mut self) {
        let file = self.file();
        let in_stages = file.stages.iter().flat_map(|stage| &stage.instructions);
        let declared = in_stages.filter_map(|statement| match &statement.instruction {
            Instruction::Arg(arguments) => Some(arguments),
            _ => None,
        });
        let declared: BTreeSet<&str> = declared
            .flatten()
            .chain(&file.global_args)
            .map(|argument| argument.name.value.as_str())
            .chain(self.globals.keys().map(String::as_str))
            .chain(PROXIES)
            .collect();
        for name in self.request.build_args.keys() {
            let known = declared.contains(name.as_str())
                || name.starts_with("BUILDKIT_")
                || name == "SOURCE_DATE_EPOCH";
            if known {
                continue;
            }
            let message = format!("build argument `{name}` is declared nowhere in the Dockerfile");
            let warning = Diagnostic::warning("unused-build-arg", message);
            self.warnings.push(match coracle_dockerfile::nearest(name, declared.iter().copied()) {
                Some(near) => warning.with_hint(format!("did you mean `{near}`?")),
                None => warning.with_hint(format!("declare it with `ARG {name}` in the stage that uses it")),
            });
        }
    }
}

/// Returns the configuration of an empty image.
fn scratch(platform: &Platform) -> ImageConfig {
    let mut config = ImageConfig {
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        variant: platform.variant.clone(),
        ..ImageConfig::scratch()
    };
    config.config.env.push(format!("PATH={DEFAULT_PATH}"));
    "/".clone_into(&mut config.config.working_dir);
    config
}

enum Base {
    Scratch,
    Named(usize),
    Stage(usize),
    Image(Reference),
}
