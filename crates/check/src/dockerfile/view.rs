//! A Dockerfile with its shell text read, once for all rules.

use std::collections::BTreeSet;
use std::ops::Range;

use coracle_dockerfile::{BaseRef, Dockerfile, Instruction, MountKind, StageLookup, Statement};
use coracle_report::{Position, Span};

use crate::project::Findings;
use crate::shell::{Command, Piece, Role, Script, pieces};
use crate::{Finding, Rule};

/// A Dockerfile and what is known of it.
pub(crate) struct View<'f> {
    /// The file.
    pub file: &'f Dockerfile,
    /// Its shell texts, in order.
    pub pieces: Vec<Piece<'f>>,
    /// By stage, the stage it starts from.
    below: Vec<Option<usize>>,
    /// By stage, whether only files are taken from it: nothing of its layers is shipped.
    thrown_away: Vec<bool>,
}

impl<'f> View<'f> {
    /// Reads the shell text of a file.
    pub(crate) fn of(file: &'f Dockerfile) -> Self {
        let below: Vec<Option<usize>> = (0..file.stages.len()).map(|index| below(file, index)).collect();
        let mut copied = BTreeSet::new();
        for index in 0..file.stages.len() {
            for word in file.references(index) {
                if let StageLookup::Earlier(stage) = file.look_up_stage(word, index) {
                    copied.insert(stage);
                }
            }
        }
        // From the last on: what a shipped stage rests on is shipped, and what nothing uses is a target.
        let mut thrown_away = vec![false; file.stages.len()];
        let mut bases = BTreeSet::new();
        for index in (0..file.stages.len()).rev() {
            thrown_away[index] = index + 1 != file.stages.len()
                && !bases.contains(&index)
                && (copied.contains(&index) || below.contains(&Some(index)));
            if let (false, Some(base)) = (thrown_away[index], below[index]) {
                bases.insert(base);
            }
        }
        Self { file, pieces: pieces(file), below, thrown_away }
    }

    /// Says whether only files are taken from a stage, so that the size of its layers does not matter.
    pub(crate) fn is_thrown_away(&self, stage: usize) -> bool {
        self.thrown_away.get(stage).copied().unwrap_or_default()
    }

    /// Returns a stage and those it rests on, from the lowest.
    pub(crate) fn chain(&self, stage: usize) -> Vec<usize> {
        let mut chain = vec![stage];
        while let Some(below) = chain.last().and_then(|last| self.below.get(*last).copied().flatten()) {
            chain.push(below);
        }
        chain.reverse();
        chain
    }

    /// Returns the image that a stage rests on in the end, as written; `None` is `scratch`.
    pub(crate) fn base(&self, stage: usize) -> Option<&'f str> {
        let lowest = *self.chain(stage).first()?;
        match &self.file.stages[lowest].base {
            BaseRef::Image(word) => Some(word.value.as_str()),
            BaseRef::Scratch | BaseRef::Stage(_) => None,
        }
    }

    /// Returns the instructions of a stage before a place, those of the stages it rests on first.
    pub(crate) fn before(&self, stage: usize, place: Position) -> impl Iterator<Item = &'f Statement> {
        let file = self.file;
        let instructions = self.chain(stage).into_iter().flat_map(|index| &file.stages[index].instructions);
        instructions.take_while(move |statement| statement.span.start < place)
    }

    /// Returns the texts of `RUN` that could be read.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (&Piece<'f>, &Script)> {
        let runs = self.pieces.iter().filter(|piece| piece.role == Role::Run);
        runs.filter_map(|piece| Some((piece, piece.snippet.script()?)))
    }

    /// Returns all commands of `RUN` with their texts.
    pub(crate) fn commands(&self) -> impl Iterator<Item = (&Piece<'f>, &Command)> {
        self.runs().flat_map(|(piece, script)| script.commands.iter().map(move |command| (piece, command)))
    }

    /// Says whether the stage or one below sets a variable by `ENV` or `ARG` before a place.
    pub(crate) fn sets(&self, stage: usize, place: Position, names: &[&str]) -> bool {
        self.before(stage, place).any(|statement| match &statement.instruction {
            Instruction::Env(pairs) => pairs.iter().any(|pair| names.contains(&pair.name.value.as_str())),
            Instruction::Arg(list) => list.iter().any(|own| names.contains(&own.name.value.as_str())),
            _ => false,
        })
    }
}

fn below(file: &Dockerfile, stage: usize) -> Option<usize> {
    match &file.stages[stage].base {
        BaseRef::Stage(index) => Some(*index),
        BaseRef::Image(word) => match file.look_up_stage(word, stage) {
            StageLookup::Earlier(index) => Some(index),
            _ => None,
        },
        BaseRef::Scratch => None,
    }
}

/// Adds a finding at a stretch of an instruction's shell text.
pub(crate) fn found<'a>(
    findings: &'a mut Findings,
    rule: &'static Rule,
    piece: &Piece<'_>,
    range: &Range<usize>,
    message: impl Into<String>,
) -> &'a mut Finding {
    found_in(findings, rule, piece.statement, &piece.snippet.span(range), message)
}

/// Adds a finding at a place of an instruction.
pub(crate) fn found_in<'a>(
    findings: &'a mut Findings,
    rule: &'static Rule,
    statement: &Statement,
    span: &Span,
    message: impl Into<String>,
) -> &'a mut Finding {
    let finding = findings.add(rule, span, message);
    finding.lines = statement.span.clone();
    finding
}

/// Says whether a step has a cache or a tmpfs mounted at one of these directories, above or below it.
pub(crate) fn keeps_out_of_layer(piece: &Piece<'_>, directories: &[&str]) -> bool {
    let mounts = piece.run.iter().flat_map(|run| &run.mounts);
    mounts.into_iter().any(|mount| {
        let (MountKind::Cache { target, .. } | MountKind::Tmpfs { target, .. }) = &mount.kind else {
            return false;
        };
        let target = target.value.trim_end_matches('/');
        directories.iter().any(|own| {
            own.strip_prefix(target).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                || target.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    })
}

/// Says whether a step has a cache mounted whose place holds this word: `pip`, `npm`.
pub(crate) fn has_cache(piece: &Piece<'_>, words: &[&str]) -> bool {
    let mounts = piece.run.iter().flat_map(|run| &run.mounts);
    mounts.into_iter().any(|mount| match &mount.kind {
        MountKind::Cache { target, .. } | MountKind::Tmpfs { target, .. } => {
            words.iter().any(|word| target.value.contains(word))
        }
        _ => false,
    })
}

/// Says whether a path's extension is one of these.
pub(crate) fn ends_in(path: &str, extensions: &[&str]) -> bool {
    let extension = std::path::Path::new(path).extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|own| extensions.contains(&own))
}
