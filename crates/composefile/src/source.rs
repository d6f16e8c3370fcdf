//! The texts that were read, cheap places in them, and the collection of findings about them.

use std::path::{Path, PathBuf};

use coracle_report::{Diagnostic, Position, Severity, Span};
use indexmap::IndexMap;

use crate::trace::{Because, Trace, What};
use crate::tree::Node;

/// Bytes that env files may bring to all services of a project.
const BROUGHT_LIMIT: usize = 32 << 20;

/// Findings that are shown with their line.
const LINES_LIMIT: usize = 100;

/// A place in one of the [`Sources`]; cheap to copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) file: u32,
    pub(crate) start: Position,
    pub(crate) end: Position,
    /// What happened last to the value here: see [`Trace`]; 0 is nothing.
    pub(crate) step: u32,
}

impl Mark {
    /// Returns the beginning of the first file, for what stands nowhere.
    pub(crate) fn none() -> Self {
        let start = Position::new(1, 1);
        Self { file: 0, start, end: start, step: 0 }
    }
}

/// The files that were read, by number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    files: Vec<(PathBuf, String)>,
}

impl Sources {
    /// Adds a file and returns its number.
    pub(crate) fn add(&mut self, path: &Path, text: &str) -> u32 {
        self.files.push((path.to_owned(), text.to_owned()));
        (self.files.len() - 1) as u32
    }

    /// Adds a file whose lines are never shown, or finds it again, and returns its number.
    pub(crate) fn add_hidden(&mut self, path: &Path) -> u32 {
        let known = self.files.iter().rposition(|(known, text)| known == path && text.is_empty());
        known.unwrap_or_else(|| {
            self.files.push((path.to_owned(), String::new()));
            self.files.len() - 1
        }) as u32
    }

    /// Returns the name of a file.
    pub(crate) fn path(&self, file: u32) -> &Path {
        &self.files[file as usize].0
    }

    /// Returns the text of a file.
    pub(crate) fn text(&self, file: u32) -> &str {
        &self.files[file as usize].1
    }

    /// Returns the place as a span with the file's name.
    pub(crate) fn span(&self, mark: Mark) -> Span {
        Span::new(self.files[mark.file as usize].0.clone(), mark.start, mark.end)
    }

    /// Returns the line that a place begins in.
    pub(crate) fn line(&self, mark: Mark) -> Option<&str> {
        let text = &self.files[mark.file as usize].1;
        text.lines().nth((mark.start.line as usize).checked_sub(1)?)
    }

    /// Returns the line that a span begins in.
    pub(crate) fn line_at(&self, span: &Span) -> Option<&str> {
        let (_, text) = self.files.iter().find(|(path, _)| *path == span.file)?;
        text.lines().nth((span.start.line as usize).checked_sub(1)?)
    }
}

/// What was found so far, with the sources that places point into.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) sources: Sources,
    /// What happened to values, when it is asked for.
    pub(crate) trace: Option<Trace>,
    /// Bytes that the services' env files brought.
    brought: usize,
    found: Vec<Diagnostic>,
}

impl Findings {
    /// Returns no findings yet; with a trace, what happens to values is recorded.
    pub(crate) fn new(trace: Option<Trace>) -> Self {
        Self { trace, ..Self::default() }
    }

    /// Says whether env files brought more than a project can bear; no more of them are read then.
    pub(crate) fn is_full(&self) -> bool {
        self.brought > BROUGHT_LIMIT
    }

    /// Counts what an env file brings to a service; says whether the project can bear it.
    pub(crate) fn count_variables(&mut self, variables: &IndexMap<String, String>, mark: Mark) -> bool {
        // What a variable costs beside its text.
        const EACH: usize = 64;
        let bytes = variables.iter().map(|(name, value)| name.len() + value.len() + EACH);
        self.brought = self.brought.saturating_add(bytes.sum());
        let bearable = self.brought <= BROUGHT_LIMIT;
        if !bearable {
            let limit = BROUGHT_LIMIT >> 20;
            let message = format!("env files bring more than {limit} MiB to the services");
            self.error("too-large", mark, message);
        }
        bearable
    }

    /// Records that `winner` is in the place of `lost`.
    pub(crate) fn beat(&mut self, winner: &mut Mark, lost: Node, because: Because) {
        if let Some(trace) = &mut self.trace {
            trace.beat(winner, lost, because);
        }
    }

    /// Records how everything below `node` came here.
    pub(crate) fn came(&mut self, node: &mut Node, what: impl FnOnce() -> What) {
        if let Some(trace) = &mut self.trace {
            trace.came(node, &what());
        }
    }

    /// Adds an error at a place and returns it for notes and hints.
    pub(crate) fn error(&mut self, code: &str, mark: Mark, message: impl Into<String>) -> &mut Diagnostic {
        self.add(Diagnostic::error(code, message), mark)
    }

    /// Adds a warning at a place and returns it for notes and hints.
    pub(crate) fn warning(&mut self, code: &str, mark: Mark, message: impl Into<String>) -> &mut Diagnostic {
        self.add(Diagnostic::warning(code, message), mark)
    }

    fn add(&mut self, diagnostic: Diagnostic, mark: Mark) -> &mut Diagnostic {
        let mut diagnostic = diagnostic.with_span(self.sources.span(mark));
        // Looking for a line costs a walk through the file, which many findings cannot have.
        if self.found.len() < LINES_LIMIT {
            diagnostic.source_line = self.sources.line(mark).map(str::to_owned);
        }
        self.push(diagnostic)
    }

    /// Returns an error at a place without adding it.
    pub(crate) fn fault(&self, code: &str, mark: Mark, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(code, message).with_span(self.sources.span(mark))
    }

    /// Adds those of `faults` whose place has no error yet.
    pub(crate) fn add_missing(&mut self, faults: Vec<Diagnostic>) {
        for fault in faults {
            let same = |finding: &Diagnostic| {
                let start = |span: &Option<Span>| span.as_ref().map(|span| (span.file.clone(), span.start));
                finding.severity == Severity::Error && start(&finding.span) == start(&fault.span)
            };
            if !self.found.iter().any(same) {
                self.found.push(fault);
            }
        }
    }

    /// Adds a finding that has its place already, or none.
    pub(crate) fn push(&mut self, diagnostic: Diagnostic) -> &mut Diagnostic {
        self.found.push(diagnostic);
        self.found.last_mut().expect("one was pushed just now")
    }

    /// Returns how many findings there are.
    pub(crate) fn count(&self) -> usize {
        self.found.len()
    }

    /// Forgets all findings but the first `count`.
    pub(crate) fn forget_from(&mut self, count: usize) {
        self.found.truncate(count);
    }

    /// Says whether an error was found.
    pub(crate) fn failed(&self) -> bool {
        self.found.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// Returns the findings in the order of the sources and the lines in them, each once.
    pub(crate) fn take(&mut self) -> Vec<Diagnostic> {
        let mut found = std::mem::take(&mut self.found);
        for finding in found.iter_mut().take(LINES_LIMIT) {
            if let (Some(span), None) = (&finding.span, &finding.source_line) {
                finding.source_line = self.sources.line_at(span).map(str::to_owned);
            }
        }
        found.iter_mut().for_each(shorten);
        let files: Vec<&PathBuf> = self.sources.files.iter().map(|(path, _)| path).collect();
        found.sort_by_key(|finding| {
            finding.span.as_ref().map(|span| (files.iter().position(|file| **file == span.file), span.start))
        });
        found.dedup();
        found
    }
}

/// Cuts what no reader wants whole; a line that is too long is not shown, for its caret would stand nowhere.
pub(crate) fn shorten(diagnostic: &mut Diagnostic) {
    const LONGEST: usize = 1_000;
    let cut = |text: &mut String| {
        if text.len() > LONGEST {
            let end = text.char_indices().map(|(at, _)| at).take_while(|at| *at <= LONGEST).last();
            text.truncate(end.unwrap_or_default());
            text.push('…');
        }
    };
    cut(&mut diagnostic.message);
    diagnostic.notes.iter_mut().for_each(cut);
    diagnostic.hints.iter_mut().for_each(|hint| cut(&mut hint.0));
    diagnostic.source_line = diagnostic.source_line.take().filter(|line| line.len() <= LONGEST);
}
