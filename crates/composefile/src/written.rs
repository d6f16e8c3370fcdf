//! The files of a project as they are written: what a reader of the merged tree goes back to.

use std::path::{Path, PathBuf};

use coracle_report::Span;
use indexmap::IndexMap;

use crate::dotenv::Assignment;
use crate::references::{self, Reference};
use crate::source::{Findings, Mark, Sources};
use crate::trace::Trace;
use crate::tree::Node;
use crate::view::View;

/// References of one file that are told of.
const REFERENCE_LIMIT: usize = 100_000;

/// Where the value of a variable comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VariableOrigin {
    /// The caller's own environment.
    Process,
    /// A line of an env file.
    File(Span),
    /// The project's name, which is the variable `COMPOSE_PROJECT_NAME` unless the caller sets it.
    ProjectName,
}

/// Where variables come from, and the env files that were read for them; see
/// [`combine_environment_with_origins`](crate::combine_environment_with_origins).
#[derive(Clone, Debug, Default)]
pub struct VariableSources {
    /// The origin of each variable; what is not here is the caller's own.
    pub origins: IndexMap<String, VariableOrigin>,
    /// The files, lowest precedence first.
    pub files: Vec<EnvFile>,
}

/// An env file as it is written.
#[derive(Clone, Debug)]
pub struct EnvFile {
    /// The file.
    pub path: PathBuf,
    /// What it is read for.
    pub role: EnvFileRole,
    /// All its assignments in the order of the file, those that a later one replaces included.
    pub variables: Vec<EnvVariable>,
}

/// What an env file is read for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvFileRole {
    /// Variables in the values of compose files (`.env`, `--env-file`).
    Interpolation,
    /// Variables in the values of included files.
    Include {
        /// The entry of `include`.
        at: Span,
    },
    /// The environment of a service (`env_file`).
    Service {
        /// The service.
        name: String,
        /// The entry of `env_file`.
        at: Span,
    },
}

/// One assignment of an env file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvVariable {
    /// The variable.
    pub name: String,
    /// Its value; `None` when the file only names it and the caller does not know it.
    pub value: Option<String>,
    /// From the name to the end of the value.
    pub span: Span,
    /// The variables that its value refers to, each with the place of the assignment.
    pub references: Vec<Reference>,
}

impl EnvFile {
    pub(crate) fn of(path: &Path, role: EnvFileRole, assignments: Vec<Assignment>) -> Self {
        let variables = assignments
            .into_iter()
            .map(|assignment| {
                let span = Span::new(path, assignment.start, assignment.end);
                let reference = |found: references::Found| Reference {
                    name: found.name,
                    operator: found.operator,
                    word: found.word,
                    nested: found.nested,
                    span: span.clone(),
                };
                let references = references::find(&assignment.raw).into_iter().map(reference).collect();
                EnvVariable { name: assignment.name, value: assignment.value, span, references }
            })
            .collect();
        Self { path: path.to_owned(), role, variables }
    }

    /// Returns the assignments that hold, the last of each variable.
    fn last(&self) -> impl Iterator<Item = (&EnvVariable, &String)> {
        let last: IndexMap<&str, &EnvVariable> =
            self.variables.iter().map(|variable| (variable.name.as_str(), variable)).collect();
        last.into_values().filter_map(|variable| Some((variable, variable.value.as_ref()?)))
    }

    /// Returns the variables that the file sets.
    pub(crate) fn values(&self) -> impl Iterator<Item = (String, String)> {
        self.last().map(|(variable, value)| (variable.name.clone(), value.clone()))
    }

    /// Returns the places of the variables that the file sets.
    pub(crate) fn origins(&self) -> impl Iterator<Item = (String, VariableOrigin)> {
        self.last().map(|(variable, _)| (variable.name.clone(), VariableOrigin::File(variable.span.clone())))
    }
}

/// How a file came to the project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayerRole {
    /// The caller named it.
    Given,
    /// By an entry of `include`.
    Included {
        /// The entry.
        at: Span,
    },
    /// By `extends.file`.
    Extended {
        /// The path in it.
        at: Span,
    },
}

/// As [`LayerRole`], before places have the names of files.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Role {
    Given,
    Included(Mark),
    Extended(Mark),
}

/// A file's documents as they were read: nothing replaced, merged or brought to a long form.
#[derive(Debug)]
pub(crate) struct LayerNodes {
    pub(crate) file: u32,
    pub(crate) role: Role,
    pub(crate) documents: Vec<Node>,
}

/// The files that a project was read from, each by itself.
#[derive(Debug, Default)]
pub struct Written {
    pub(crate) sources: Sources,
    pub(crate) trace: Option<Trace>,
}

/// One file of a project, before the merge.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'w> {
    written: &'w Written,
    nodes: &'w LayerNodes,
}

impl Written {
    /// Keeps what the findings know of the files.
    pub(crate) fn of(findings: &mut Findings) -> Self {
        Self { sources: std::mem::take(&mut findings.sources), trace: findings.trace.take() }
    }

    /// Returns the compose files in the order in which they were read; none unless provenance was asked for.
    ///
    /// A file that is read twice, by two entries of `include`, is here twice.
    pub fn layers(&self) -> impl Iterator<Item = Layer<'_>> {
        let layers = self.trace.iter().flat_map(|trace| &trace.layers);
        layers.map(|nodes| Layer { written: self, nodes })
    }

    /// Returns the env files; none unless provenance was asked for.
    pub fn env_files(&self) -> &[EnvFile] {
        self.trace.as_ref().map_or(&[], |trace| &trace.env_files)
    }

    /// Returns where the value of a variable comes from that the project was loaded with.
    pub fn origin_of(&self, variable: &str) -> VariableOrigin {
        let origin = self.trace.as_ref().and_then(|trace| trace.origins.get(variable));
        origin.cloned().unwrap_or(VariableOrigin::Process)
    }

    /// Returns the line that a place begins in, for a diagnostic. Of an env file it shows no value.
    pub fn source_line(&self, span: &Span) -> Option<String> {
        let of_env_file = || {
            let variables = self.env_files().iter().flat_map(|file| &file.variables);
            let same = |variable: &&EnvVariable| {
                variable.span.file == span.file && variable.span.start.line == span.start.line
            };
            variables.filter(same).map(|variable| format!("{}=...", variable.name)).next()
        };
        of_env_file().or_else(|| self.sources.line_at(span).map(str::to_owned))
    }
}

impl<'w> Layer<'w> {
    /// Returns the file's name.
    pub fn path(self) -> &'w Path {
        self.written.sources.path(self.nodes.file)
    }

    /// Returns the file's text.
    pub fn text(self) -> &'w str {
        self.written.sources.text(self.nodes.file)
    }

    /// Returns how it came to the project.
    pub fn role(self) -> LayerRole {
        match self.nodes.role {
            Role::Given => LayerRole::Given,
            Role::Included(mark) => LayerRole::Included { at: self.written.sources.span(mark) },
            Role::Extended(mark) => LayerRole::Extended { at: self.written.sources.span(mark) },
        }
    }

    /// Returns its first document, which is the only one but in rare files.
    pub fn root(self) -> Option<View<'w>> {
        self.documents().next()
    }

    /// Returns its documents that hold something.
    pub fn documents(self) -> impl Iterator<Item = View<'w>> {
        self.nodes.documents.iter().map(move |node| View::new(node, self.written))
    }

    /// Returns every place where a value of the file refers to a variable, in the order of the file; the first
    /// hundred thousand.
    pub fn references(self) -> Vec<Reference> {
        let values = self.documents().flat_map(View::walk);
        values.flat_map(|(_, view)| view.references()).take(REFERENCE_LIMIT).collect()
    }
}
