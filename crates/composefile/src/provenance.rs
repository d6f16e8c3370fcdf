//! Where a value of the merged tree comes from: its place, the way it took, and what it beat.

use coracle_report::Span;

use crate::load::Loaded;
use crate::references::Operator;
use crate::source::Mark;
use crate::trace::{Became, Because, Trace, Use, What};
use crate::tree::Node;
use crate::view::{View, shown};
use crate::written::{EnvFileRole, EnvVariable, VariableOrigin, Written};

/// Where a value comes from.
#[derive(Clone, Debug)]
pub struct Provenance<'w> {
    /// The value.
    pub value: View<'w>,
    /// Where it is written; what is implied is where that stands which implies it.
    pub span: Span,
    /// The value on one line.
    pub shown: String,
    /// Its text before variables were replaced, when it had any.
    pub written: Option<&'w str>,
    /// The way it took, beginning with where it is written.
    pub how: Vec<Way>,
    /// The variables that went into it, in the order of the text.
    pub uses: Vec<VariableUse>,
    /// The values that it is in the place of, the strongest first.
    pub beaten: Vec<Beaten<'w>>,
}

/// One part of the way that a value took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// It is written in a compose file.
    File {
        /// Where.
        at: Span,
    },
    /// It is written in an env file.
    EnvFile {
        /// Where.
        at: Span,
        /// The entry of `env_file` that names the file.
        named: Span,
    },
    /// It is the caller's variable, which the file only names; or which is the project's name.
    Caller {
        /// Where it is named; for the project's name, where the variable is set, if anywhere.
        at: Span,
    },
    /// Nobody wrote it: its attribute implies it.
    Implied {
        /// Where that stands which implies it.
        by: Span,
    },
    /// It came with a service that is extended.
    Extends {
        /// That service.
        service: String,
        /// The attribute `extends`.
        at: Span,
    },
    /// It came by `include`.
    Include {
        /// The entry.
        at: Span,
    },
}

/// A value that gave way.
#[derive(Clone, Debug)]
pub struct Beaten<'w> {
    /// The value, in the form that it had then: a list of variables has `NAME=value`.
    pub value: View<'w>,
    /// Where it is written.
    pub span: Span,
    /// The value on one line.
    pub shown: String,
    /// Its text before variables were replaced, when it had any.
    pub written: Option<&'w str>,
    /// Why it gave way.
    pub reason: Reason,
    /// The way it took.
    pub how: Vec<Way>,
}

/// Why a value gave way to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It stands in an earlier file.
    EarlierFile,
    /// It stands further up in the same file.
    EarlierItem,
    /// It is of the service that is extended.
    ExtendedService,
    /// The later value is tagged `!override`.
    Override,
    /// It is of `env_file`, and `environment` sets it.
    EnvFile,
    /// It came by `<<`, and the mapping sets it itself.
    MergeKey,
    /// It is the name in the file, and the caller sets `COMPOSE_PROJECT_NAME`.
    ProjectName,
}

/// A value that `!reset` took away.
#[derive(Clone, Debug)]
pub struct Removal<'w> {
    /// The value.
    pub value: View<'w>,
    /// Where it was in the tree.
    pub path: Vec<String>,
    /// The value that is tagged `!reset`.
    pub at: Span,
    /// Where it is written.
    pub span: Span,
    /// The value on one line.
    pub shown: String,
}

/// A variable that went into a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VariableUse {
    /// The variable.
    pub name: String,
    /// What stands behind its name.
    pub operator: Operator,
    /// The text behind the operator.
    pub word: String,
    /// Where it is referred to.
    pub span: Span,
    /// What it became.
    pub outcome: Outcome,
    /// Values for it in env files that gave way, the strongest first.
    pub shadowed: Vec<EnvVariable>,
}

/// What became of a variable in a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its own value was taken.
    Value {
        /// The value.
        value: String,
        /// Where it is from.
        origin: VariableOrigin,
    },
    /// It has no value that counts; the word behind `-` or `:-` was taken.
    Default,
    /// It has a value; the word behind `+` or `:+` was taken.
    Alternative {
        /// Where the value is from.
        origin: VariableOrigin,
    },
    /// It has no value, and nothing stands for it.
    Nothing,
}

impl Loaded {
    /// Returns where the value at `path` comes from, e.g. `["services", "api", "environment", "DEBUG"]`; items of
    /// lists are numbers. `None` when there is no such value.
    ///
    /// Without [`load_with_provenance`](crate::load_with_provenance) only the place is known.
    pub fn provenance(&self, path: &[&str]) -> Option<Provenance<'_>> {
        Some(self.root().get(path)?.provenance())
    }

    /// Returns what `!reset` took away, in the order in which it did.
    pub fn removed(&self) -> Vec<Removal<'_>> {
        let written = self.written();
        let removed = written.trace.iter().flat_map(|trace| &trace.removed);
        removed
            .map(|removed| Removal {
                value: View::new(&removed.lost, written),
                path: removed.path.clone(),
                at: written.sources.span(removed.at),
                span: written.sources.span(removed.lost.mark),
                shown: shown(&removed.lost),
            })
            .collect()
    }
}

impl<'w> View<'w> {
    /// Returns where the value comes from; see [`Loaded::provenance`].
    pub fn provenance(self) -> Provenance<'w> {
        let written = self.files();
        let mark = self.node().mark;
        let story = Story { written, trace: written.trace.as_ref() };
        Provenance {
            value: self,
            span: self.span(),
            shown: self.shown(),
            written: self.written(),
            how: story.way(mark),
            uses: story.uses(mark),
            beaten: story.beaten(mark),
        }
    }
}

/// What is known of the values of a project.
#[derive(Clone, Copy)]
struct Story<'w> {
    written: &'w Written,
    trace: Option<&'w Trace>,
}

impl<'w> Story<'w> {
    fn steps(self, mark: Mark) -> impl Iterator<Item = &'w What> {
        self.trace.into_iter().flat_map(move |trace| trace.steps(mark))
    }

    fn span(self, mark: Mark) -> Span {
        self.written.sources.span(mark)
    }

    fn way(self, mark: Mark) -> Vec<Way> {
        let at = self.span(mark);
        let implied = self.trace.is_some_and(|trace| trace.is_implied(mark));
        let named = self.steps(mark).find_map(|what| match what {
            What::EnvFile { at } => Some(self.span(*at)),
            _ => None,
        });
        let passed = self.replaced(mark).is_some_and(
            |(written, uses)| matches!(uses, [one] if one.name == written && one.operator == Operator::None),
        );
        let mut way = vec![match named {
            Some(named) => Way::EnvFile { at, named },
            None if passed => Way::Caller { at },
            None if implied => Way::Implied { by: at },
            None => Way::File { at },
        }];
        let mut came: Vec<Way> = self
            .steps(mark)
            .filter_map(|what| match what {
                What::Extended { service, at } => {
                    Some(Way::Extends { service: service.clone(), at: self.span(*at) })
                }
                What::Included { at } => Some(Way::Include { at: self.span(*at) }),
                What::Beat { .. } | What::Replaced { .. } | What::EnvFile { .. } => None,
            })
            .collect();
        came.reverse();
        way.extend(came);
        way
    }

    fn replaced(self, mark: Mark) -> Option<(&'w str, &'w [Use])> {
        self.steps(mark).find_map(|what| match what {
            What::Replaced { written, uses } => Some((written.as_str(), uses.as_slice())),
            _ => None,
        })
    }

    fn uses(self, mark: Mark) -> Vec<VariableUse> {
        let uses = self.replaced(mark).map_or(&[][..], |(_, uses)| uses);
        uses.iter().map(|used| self.used(used)).collect()
    }

    fn used(self, used: &Use) -> VariableUse {
        let operator = used.operator;
        let won = used.origin.as_ref();
        let origin = won.cloned().unwrap_or(VariableOrigin::Process);
        let outcome = match &used.became {
            Became::Value(value) => Outcome::Value { value: value.clone(), origin },
            Became::Default => Outcome::Default,
            Became::Alternative => Outcome::Alternative { origin },
            Became::Nothing => Outcome::Nothing,
        };
        let interpolation = |file: &&crate::EnvFile| file.role == EnvFileRole::Interpolation;
        let files = self.written.env_files().iter().filter(interpolation);
        let mut shadowed: Vec<EnvVariable> = files
            .flat_map(|file| &file.variables)
            .filter(|variable| {
                let here = VariableOrigin::File(variable.span.clone());
                variable.name == used.name && variable.value.is_some() && won != Some(&here)
            })
            .cloned()
            .collect();
        shadowed.reverse();
        VariableUse {
            name: used.name.clone(),
            operator,
            word: used.word.clone(),
            span: self.span(used.mark),
            outcome,
            shadowed,
        }
    }

    fn beaten(self, winner: Mark) -> Vec<Beaten<'w>> {
        let mut out = Vec::new();
        // The strongest lies on top.
        let mut left: Vec<(&'w Node, Because, Mark)> = self.lost(winner);
        while let Some((lost, because, winner)) = left.pop() {
            out.push(Beaten {
                value: View::new(lost, self.written),
                span: self.span(lost.mark),
                shown: shown(lost),
                written: self.replaced(lost.mark).map(|(written, _)| written),
                reason: self.reason(lost.mark, because, winner),
                how: self.way(lost.mark),
            });
            left.extend(self.lost(lost.mark));
        }
        out
    }

    /// Returns what gave way to the value at a place, the weakest first.
    fn lost(self, winner: Mark) -> Vec<(&'w Node, Because, Mark)> {
        let mut lost: Vec<_> = self
            .steps(winner)
            .filter_map(|what| match what {
                What::Beat { lost, because } => Some((lost, *because, winner)),
                _ => None,
            })
            .collect();
        lost.reverse();
        lost
    }

    fn reason(self, lost: Mark, because: Because, winner: Mark) -> Reason {
        let extends = |mark: Mark| {
            self.steps(mark).filter_map(|what| match what {
                What::Extended { at, .. } => Some(*at),
                _ => None,
            })
        };
        // The winner stands in the service that extends the loser's.
        let extended = extends(lost)
            .next()
            .is_some_and(|at| at.file == winner.file && !extends(winner).any(|other| other == at));
        match because {
            Because::Override => Reason::Override,
            Because::Environment => Reason::EnvFile,
            Because::MergeKey => Reason::MergeKey,
            Because::Caller => Reason::ProjectName,
            Because::Place if extended => Reason::ExtendedService,
            Because::Place if lost.file != winner.file => Reason::EarlierFile,
            Because::Place => Reason::EarlierItem,
        }
    }
}
