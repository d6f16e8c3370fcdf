//! The stage graph of a Dockerfile with what is known of its steps: which are cached, how long they take.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;

use coracle_build::{StepState, StepWhy};
use coracle_dockerfile::{BaseRef, Dockerfile, Instruction, StageLookup, Word};
use serde::Serialize;

use super::{BuildOptions, Builds};
use crate::Result;

/// The stages of a Dockerfile, each with its steps and what it builds upon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StageGraph {
    /// The Dockerfile as the user named it.
    pub file: String,
    /// The number of the stage that is built.
    pub target: usize,
    /// The stages, in order.
    pub stages: Vec<StageNode>,
    /// Why nothing is known of what is cached, when it is not.
    pub unknown: Option<String>,
}

/// One stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StageNode {
    /// Its name, or `stage-N`.
    pub name: String,
    /// Whether the target needs it.
    pub needed: bool,
    /// What it starts from; `None` is `scratch`.
    pub base: Option<StageOrigin>,
    /// Its steps, those that change the file system.
    pub steps: Vec<StageStep>,
}

/// Where a stage's files come from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StageOrigin {
    /// From the stage with this number.
    Stage(usize),
    /// From an image.
    Image(String),
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StageStep {
    /// The instruction in one line.
    pub text: String,
    /// Its line.
    pub line: u32,
    /// What would become of it now; `None` when that is not known.
    pub state: Option<StepState>,
    /// How long it took when it was made last, milliseconds.
    pub milliseconds: Option<u64>,
    /// What it takes files from, besides the context.
    pub from: Vec<StageOrigin>,
}

impl Builds<'_> {
    /// Returns the stage graph of a Dockerfile. Builds and fetches nothing.
    pub fn graph(&self, options: &BuildOptions, cancel: &AtomicBool) -> Result<StageGraph> {
        let opened = self.open(options, cancel)?;
        let file = &opened.dockerfile.0;
        let request = self.request(options, &opened)?;
        let dockerfile = &request.dockerfile;
        let target = dockerfile.target(options.target.as_deref())?;
        let (known, unknown) = match self.look_at(options, &opened, cancel) {
            Ok(explained) => {
                (explained.platforms.into_iter().next().map(|(_, steps)| steps).unwrap_or_default(), None)
            }
            Err(failure) => (Vec::new(), Some(failure.first().message.clone())),
        };
        let known: BTreeMap<u32, StepWhy> = known.into_iter().map(|step| (step.line, step)).collect();
        let needed = needed(dockerfile, target);
        let stages = (0..dockerfile.stages.len())
            .map(|index| stage(dockerfile, index, needed.contains(&index), &known))
            .collect();
        Ok(StageGraph { file: file.display().to_string(), target, stages, unknown })
    }
}

fn stage(file: &Dockerfile, index: usize, needed: bool, known: &BTreeMap<u32, StepWhy>) -> StageNode {
    let stage = &file.stages[index];
    let name = stage.name.as_ref().map_or_else(|| format!("stage-{index}"), |name| name.value.clone());
    let steps = stage.instructions.iter().filter(|statement| {
        use Instruction::{Add, Copy, Run, Workdir};
        matches!(statement.instruction, Add(_) | Copy(_) | Run(_) | Workdir(_))
    });
    let steps = steps.map(|statement| {
        let line = statement.span.start.line;
        let found = known.get(&line);
        StageStep {
            text: statement.text.split_whitespace().collect::<Vec<_>>().join(" "),
            line,
            state: found.map(|step| step.state),
            milliseconds: found.and_then(|step| step.milliseconds),
            from: origins(file, index, &statement.instruction),
        }
    });
    StageNode { name, needed, base: base(file, index), steps: steps.collect() }
}

fn base(file: &Dockerfile, index: usize) -> Option<StageOrigin> {
    match &file.stages[index].base {
        BaseRef::Scratch => None,
        BaseRef::Stage(earlier) => Some(StageOrigin::Stage(*earlier)),
        BaseRef::Image(word) => Some(StageOrigin::Image(global(file, word))),
    }
}

/// Returns a word with the defaults of global arguments, or as it is when that cannot be known.
fn global(file: &Dockerfile, word: &Word) -> String {
    let default = |name: &str| {
        let argument = file.global_args.iter().find(|argument| argument.name.value == name)?;
        argument.default.as_ref().map(|default| default.value.clone())
    };
    file.expand(word, &default).unwrap_or_else(|_| word.value.clone())
}

fn origins(file: &Dockerfile, index: usize, instruction: &Instruction) -> Vec<StageOrigin> {
    let words: Vec<&Word> = match instruction {
        Instruction::Copy(copy) => copy.from.iter().collect(),
        Instruction::Run(run) => run.mounts.iter().filter_map(|mount| mount.kind.from()).collect(),
        _ => Vec::new(),
    };
    let origins: BTreeSet<StageOrigin> = words
        .into_iter()
        .map(|word| global(file, word))
        .filter(|name| name != "scratch")
        .map(|name| match file.look_up_stage(&name, index) {
            StageLookup::Earlier(earlier) => StageOrigin::Stage(earlier),
            StageLookup::Later(_) | StageLookup::Near(_) | StageLookup::None => StageOrigin::Image(name),
        })
        .collect();
    origins.into_iter().collect()
}

fn needed(file: &Dockerfile, target: usize) -> BTreeSet<usize> {
    let (mut needed, mut open) = (BTreeSet::new(), vec![target]);
    while let Some(index) = open.pop() {
        if !needed.insert(index) {
            continue;
        }
        let statements = &file.stages[index].instructions;
        let from = statements.iter().flat_map(|statement| origins(file, index, &statement.instruction));
        open.extend(from.chain(base(file, index)).filter_map(|origin| match origin {
            StageOrigin::Stage(earlier) => Some(earlier),
            StageOrigin::Image(_) => None,
        }));
    }
    needed
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn stages_know_what_they_are_made_from() {
        let text = "ARG BASE=debian\nFROM $BASE AS one\nRUN a\nFROM one AS two\nRUN --mount=from=tools,target=/t b\n\
                    FROM other AS lost\nRUN c\nFROM scratch\nCOPY --from=two /x /\nCOPY --from=busybox /y /\n";
        let file = coracle_dockerfile::parse(Path::new("Dockerfile"), text).unwrap();
        assert_eq!(needed(&file, 3), BTreeSet::from([0, 1, 3]));
        let node = |index| stage(&file, index, true, &BTreeMap::new());
        assert_eq!(node(0).base, Some(StageOrigin::Image("debian".to_owned())));
        assert_eq!(node(1).base, Some(StageOrigin::Stage(0)));
        assert_eq!(node(1).steps[0].from, [StageOrigin::Image("tools".to_owned())]);
        let last = node(3);
        assert_eq!((last.name.as_str(), last.base), ("stage-3", None));
        assert_eq!(last.steps[0].from, [StageOrigin::Stage(1)]);
        assert_eq!(last.steps[1].from, [StageOrigin::Image("busybox".to_owned())]);
    }
}
