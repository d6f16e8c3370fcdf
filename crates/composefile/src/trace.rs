//! What happened to values on their way to the merged tree: a table that places point into.
//!
//! A [`Mark`] holds the number of the last [`Step`] that its value took, and each step the number of the one before
//! it. A mark is copied wherever its value goes, through long forms, copies by `extends` and moves in lists, so the
//! history follows without anybody's help. Nothing is recorded unless it was asked for.

use indexmap::IndexMap;

use crate::references::{self, Operator};
use crate::source::Mark;
use crate::tree::{Node, Value};
use crate::written::{EnvFile, LayerNodes, VariableOrigin, VariableSources};

/// The number of a value that stands nowhere: its attribute implies it.
const IMPLIED: u32 = 1;

/// Uses of variables that are told of, in all values of a project.
const USE_LIMIT: usize = 100_000;

impl Mark {
    /// Returns the place of what a value at this place implies.
    pub(crate) fn implied(self) -> Self {
        Self { step: IMPLIED, ..self }
    }
}

/// Why one value gave way to another, where the places alone do not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Because {
    /// It stands in an earlier file, in the service that is extended, or further up in the list.
    Place,
    /// The later value is tagged `!override`.
    Override,
    /// `environment` is stronger than `env_file`.
    Environment,
    /// A key of the mapping itself is stronger than one that `<<` brings.
    MergeKey,
    /// The caller's variable is stronger than the file.
    Caller,
}

/// What became of one variable in a value.
#[derive(Clone, Debug)]
pub(crate) struct Use {
    pub(crate) name: String,
    pub(crate) operator: Operator,
    pub(crate) word: String,
    pub(crate) mark: Mark,
    pub(crate) became: Became,
    /// Where its value is from, whether or not it counts.
    pub(crate) origin: Option<VariableOrigin>,
}

/// What stands in the place of a variable.
#[derive(Clone, Debug)]
pub(crate) enum Became {
    Value(String),
    Default,
    Alternative,
    Nothing,
}

/// One thing that happened to a value.
#[derive(Clone, Debug)]
pub(crate) enum What {
    Beat {
        lost: Node,
        because: Because,
    },
    Replaced {
        written: String,
        uses: Vec<Use>,
    },
    /// It came with the service `service` by `extends`.
    Extended {
        service: String,
        at: Mark,
    },
    /// It came by an entry of `include`.
    Included {
        at: Mark,
    },
    /// It came from an env file that an entry of `env_file` names.
    EnvFile {
        at: Mark,
    },
}

#[derive(Debug)]
struct Step {
    before: u32,
    what: What,
}

/// A value that `!reset` took away.
#[derive(Clone, Debug)]
pub(crate) struct Removed {
    pub(crate) path: Vec<String>,
    pub(crate) at: Mark,
    pub(crate) lost: Node,
}

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    steps: Vec<Step>,
    /// How many uses of variables the steps hold.
    uses: usize,
    pub(crate) removed: Vec<Removed>,
    pub(crate) layers: Vec<LayerNodes>,
    pub(crate) env_files: Vec<EnvFile>,
    /// Where the caller's variables come from.
    pub(crate) origins: IndexMap<String, VariableOrigin>,
}

impl Trace {
    /// Returns an empty table for a project with these variables.
    pub(crate) fn new(variables: VariableSources) -> Self {
        let VariableSources { origins, files } = variables;
        Self { origins, env_files: files, ..Self::default() }
    }

    /// Adds a step to the value at `mark`.
    pub(crate) fn add(&mut self, mark: &mut Mark, mut what: What) {
        if let What::Replaced { uses, .. } = &mut what {
            uses.truncate(USE_LIMIT.saturating_sub(self.uses));
            self.uses += uses.len();
        }
        self.steps.push(Step { before: mark.step, what });
        mark.step = self.steps.len() as u32 + IMPLIED;
    }

    /// Says that the value at `winner` is in the place of `lost`.
    pub(crate) fn beat(&mut self, winner: &mut Mark, lost: Node, because: Because) {
        let same_place = (lost.mark.file, lost.mark.start) == (winner.file, winner.start);
        if same_place || matches!(lost.value, Value::Null) {
            return;
        }
        self.add(winner, What::Beat { lost, because });
    }

    /// Says how the value below `node`, all of them, came here.
    pub(crate) fn came(&mut self, node: &mut Node, what: &What) {
        // Most values have no history, and all of those share the new step.
        let mut known: IndexMap<u32, u32> = IndexMap::new();
        self.came_below(node, what, &mut known);
    }

    fn came_below(&mut self, node: &mut Node, what: &What, known: &mut IndexMap<u32, u32>) {
        self.came_to(&mut node.mark, what, known);
        match &mut node.value {
            Value::Mapping(mapping) => {
                for entry in mapping.values_mut() {
                    self.came_to(&mut entry.key, what, known);
                    self.came_below(&mut entry.node, what, known);
                }
            }
            Value::Sequence(items) => {
                items.iter_mut().for_each(|item| self.came_below(item, what, known));
            }
            Value::Null | Value::Scalar(_) => {}
        }
    }

    fn came_to(&mut self, mark: &mut Mark, what: &What, known: &mut IndexMap<u32, u32>) {
        let before = mark.step;
        if let Some(step) = known.get(&before) {
            mark.step = *step;
            return;
        }
        self.add(mark, what.clone());
        known.insert(before, mark.step);
    }

    /// Says that the value at `mark` is the caller's variable of that name, which the file only names.
    pub(crate) fn passed(
        &mut self,
        mark: &mut Mark,
        name: &str,
        environment: &IndexMap<String, String>,
        origins: &IndexMap<String, VariableOrigin>,
    ) {
        let origin = origins.get(name).cloned().unwrap_or(VariableOrigin::Process);
        let passed = Use {
            name: name.to_owned(),
            operator: Operator::None,
            word: String::new(),
            mark: *mark,
            became: environment.get(name).map_or(Became::Nothing, |value| Became::Value(value.clone())),
            origin: environment.contains_key(name).then_some(origin),
        };
        self.add(mark, What::Replaced { written: name.to_owned(), uses: vec![passed] });
    }

    /// Returns what happened to the value at `mark`, the last first.
    pub(crate) fn steps(&self, mark: Mark) -> impl Iterator<Item = &What> {
        let step = |number: u32| self.steps.get((number.checked_sub(IMPLIED + 1)?) as usize);
        std::iter::successors(step(mark.step), move |last| step(last.before)).map(|step| &step.what)
    }

    /// Says whether the value stands nowhere: its attribute implies it.
    pub(crate) fn is_implied(&self, mark: Mark) -> bool {
        let mut number = mark.step;
        while let Some(step) =
            number.checked_sub(IMPLIED + 1).and_then(|index| self.steps.get(index as usize))
        {
            number = step.before;
        }
        number == IMPLIED
    }
}

/// Returns what becomes of the variables of `text`, those of words that are not used left out.
pub(crate) fn uses(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<(String, VariableOrigin)>,
    place: &dyn Fn(usize) -> Mark,
) -> Vec<Use> {
    let mut out = Vec::new();
    // Words that are not used end here.
    let mut unused_until = 0;
    for found in references::find(text) {
        if found.start < unused_until {
            continue;
        }
        let (value, origin) = lookup(&found.name).unzip();
        let counts = value.filter(|value| !found.operator.refuses_empty() || !value.is_empty());
        if counts.is_some() != found.operator.is_alternative() {
            unused_until = found.end;
        }
        let became = match counts {
            // The value itself is nowhere in the text; it may be large, and its use may stand there often.
            Some(_) if found.operator.is_alternative() => Became::Alternative,
            Some(value) => Became::Value(value),
            None if found.operator.is_default() => Became::Default,
            None => Became::Nothing,
        };
        out.push(Use {
            name: found.name,
            operator: found.operator,
            word: found.word,
            mark: place(found.start),
            became,
            origin,
        });
    }
    out
}
