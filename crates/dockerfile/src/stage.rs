//! A parsed Dockerfile: directives, global arguments and stages.

use coracle_report::{Diagnostic, Span};

use crate::instruction::{Argument, Statement};
use crate::{Escape, Lookup, Source, Spanned, Word, expand, expand_words};

/// The parser directives at a file's head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    /// `# syntax=`: the frontend the file asks for, which is one that is implemented here.
    pub syntax: Option<Word>,
    /// `# escape=`: the escape character.
    pub escape: Escape,
    /// `# check=`: settings of Docker's build checks; kept for `check`.
    pub check: Option<Word>,
}

/// A whole Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    /// The text, for source lines.
    pub source: Source,
    /// The directives.
    pub directives: Directives,
    /// `ARG`s before the first `FROM`, in order.
    pub global_args: Vec<Argument>,
    /// The instructions before the first `FROM`; all are `ARG`.
    pub globals: Vec<Statement>,
    /// The stages, in order; never empty.
    pub stages: Vec<Stage>,
    /// Instructions that hold an empty line, from that line to the instruction's last.
    pub blank_continuations: Vec<Span>,
}

/// What a stage starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BaseRef {
    /// `FROM scratch`: nothing.
    Scratch,
    /// An image, or after expansion possibly an earlier stage: the text still holds its variables.
    Image(Word),
    /// An earlier stage, by its index.
    Stage(usize),
}

/// One stage: a `FROM` and the instructions up to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// The name after `AS`, in lower case.
    pub name: Option<Word>,
    /// What it starts from.
    pub base: BaseRef,
    /// `--platform`, with its variables.
    pub platform: Option<Word>,
    /// The instructions in order.
    pub instructions: Vec<Statement>,
    /// The `FROM` instruction.
    pub span: Span,
    /// The `FROM` instruction's text.
    pub text: String,
    /// `FROM` as written.
    pub keyword: Word,
    /// What follows `FROM` and its flags, as written.
    pub image: Word,
    /// `AS` as written.
    pub as_word: Option<Word>,
    /// The name as written.
    pub written_name: Option<Word>,
    /// The comments before it; see [`Statement::comments`].
    pub comments: Vec<Word>,
}

/// What a stage name means at some place of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StageLookup {
    /// An earlier stage, by its index.
    Earlier(usize),
    /// A stage that comes later, or the very stage that asks.
    Later(usize),
    /// No stage, but the name of this earlier one is near.
    Near(String),
    /// No stage at all: presumably an image.
    None,
}

impl Dockerfile {
    /// Returns the index of the last stage called `name` (any case) or numbered so.
    pub fn stage_index(&self, name: &str) -> Option<usize> {
        self.stages
            .iter()
            .rposition(|stage| stage.is_called(name))
            .or_else(|| name.parse().ok().filter(|index| *index < self.stages.len()))
    }

    /// Returns what `name` in `--from` or `from=` of stage number `at` means.
    pub fn look_up_stage(&self, name: &str, at: usize) -> StageLookup {
        look_up(&self.stages, name, at)
    }

    /// Returns the names of the stages that have one, for lists in messages.
    pub fn stage_names(&self) -> impl Iterator<Item = &str> {
        self.stages.iter().filter_map(|stage| stage.name.as_ref()).map(|name| name.value.as_str())
    }

    /// Returns `word` with quotes removed and variables replaced; a failure is placed at the word.
    pub fn expand(&self, word: &Word, lookup: Lookup<'_>) -> Result<String, Diagnostic> {
        expand(word, self.directives.escape, lookup)
            .map_err(|error| self.source.error(error.code(), error.to_string(), &word.span))
    }

    /// Returns the words that `word` expands to, split at unquoted white space.
    pub fn expand_words(&self, word: &Word, lookup: Lookup<'_>) -> Result<Vec<String>, Diagnostic> {
        expand_words(word, self.directives.escape, lookup)
            .map_err(|error| self.source.error(error.code(), error.to_string(), &word.span))
    }
}

impl Stage {
    /// Says whether the stage bears this name, in any case.
    pub fn is_called(&self, name: &str) -> bool {
        self.name.as_ref().is_some_and(|own| own.value.eq_ignore_ascii_case(name))
    }
}

/// What `name` means for a stage number `at` among `stages` (which may end there, while parsing).
pub(crate) fn look_up(stages: &[Stage], name: &str, at: usize) -> StageLookup {
    let earlier = &stages[..at.min(stages.len())];
    if let Some(index) = earlier.iter().rposition(|stage| stage.is_called(name)) {
        return StageLookup::Earlier(index);
    }
    if let Some(index) = stages.iter().position(|stage| stage.is_called(name)) {
        return StageLookup::Later(index);
    }
    if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) {
        let index = name.parse().unwrap_or(usize::MAX);
        return if index < at { StageLookup::Earlier(index) } else { StageLookup::Later(index) };
    }
    if name.contains(['/', ':', '@', '.', '$']) {
        return StageLookup::None;
    }
    let names = earlier.iter().filter_map(|stage| stage.name.as_ref()).map(|own| own.value.as_str());
    match crate::nearest(name, names) {
        Some(near) => StageLookup::Near(near.to_owned()),
        None => StageLookup::None,
    }
}

/// Returns the span that covers both.
pub(crate) fn cover(first: &Span, last: &Span) -> Span {
    Span { file: first.file.clone(), start: first.start, end: last.end }
}

impl<T> Spanned<T> {
    /// Returns another value at the same place.
    pub fn with<U>(&self, value: U) -> Spanned<U> {
        Spanned::new(value, self.span.clone())
    }
}
