//! Compose files to one tree in long forms, as the specification's reference implementation reads them.
//!
//! ```text
//!   a document --variables--> --extends--> --include--> merged into the project --schema--> --long forms-->
//!   the project --defaults--> --paths--> --normal form--> what is read further
//! ```
//!
//! Everything is bounded: files, values, depth, chains of `extends`, bytes that variables bring.

mod cast;
mod consistency;
mod defaults;
mod extends;
mod forms;
mod include;
mod merge;
mod mount;
mod normal;
mod paths;
mod port;
mod reset;
mod schema;
mod unique;
mod variables;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use coracle_report::{Diagnostic, Hint, Span};
use indexmap::IndexMap;

pub(crate) use consistency::check as check_consistency;
pub(crate) use normal::normalise;
pub(crate) use paths::clean;
pub(crate) use variables::place_in;

use crate::Loader;
use crate::source::Findings;
use crate::tree::{self, Mapping, Node, Value};
use crate::written::{LayerNodes, Role, VariableOrigin};

use reset::Resets;

/// Files that one project may be made of.
const FILE_LIMIT: usize = 500;
/// Values that all files of a project may hold, copies by `extends` and `include` counted.
const VALUE_LIMIT: usize = 400_000;

/// What is done to the files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steps {
    /// Whether variables are replaced and values get their attribute's type.
    pub(crate) interpolate: bool,
    /// Whether relative paths become absolute.
    pub(crate) resolve_paths: bool,
}

/// What the files of a project or of an `include` are read with.
#[derive(Clone)]
struct Scope {
    /// Where relative paths of values start; relative itself for what is included, so that the includer decides.
    directory: PathBuf,
    /// Where relative names of files to read start; absolute.
    base: PathBuf,
    environment: Rc<IndexMap<String, String>>,
    /// Where the variables come from, when it is asked for.
    origins: Rc<IndexMap<String, VariableOrigin>>,
}

/// Which steps a document takes.
#[derive(Clone, Copy)]
struct Depth<'d> {
    /// Whether it is a project's part: `extends` and `include` are followed and the schema holds.
    whole: bool,
    /// The files that included this one, outermost first.
    included: &'d [PathBuf],
}

/// Reads files to one tree.
pub(crate) struct Composer<'a> {
    pub(crate) loader: &'a dyn Loader,
    pub(crate) findings: &'a mut Findings,
    pub(crate) steps: Steps,
    /// Variables that were said to be unset.
    warned: Vec<String>,
    /// Values that are not what their attribute takes; whoever reads the tree next may say it better.
    pub(crate) unreadable: Vec<Diagnostic>,
    /// Bytes that variables brought.
    replaced: usize,
    /// Whether it was said that `version` is obsolete.
    said_obsolete: bool,
    files: usize,
    values: usize,
    /// Services of files that others extend from, as far as they are made.
    extended: HashMap<PathBuf, extends::Base>,
}

impl<'a> Composer<'a> {
    pub(crate) fn new(loader: &'a dyn Loader, findings: &'a mut Findings, steps: Steps) -> Self {
        Self {
            loader,
            findings,
            steps,
            warned: Vec::new(),
            unreadable: Vec::new(),
            replaced: 0,
            said_obsolete: false,
            files: 0,
            values: 0,
            extended: HashMap::new(),
        }
    }

    /// Returns the tree of a project; `documents` are those of the files that are read already.
    pub(crate) fn project(
        &mut self,
        files: Vec<(PathBuf, Vec<Node>)>,
        directory: &Path,
        environment: &IndexMap<String, String>,
    ) -> Option<Node> {
        let environment = Rc::new(environment.clone());
        let origins = self.findings.trace.as_ref().map(|trace| trace.origins.clone()).unwrap_or_default();
        let origins = Rc::new(origins);
        let scope =
            Scope { directory: directory.to_owned(), base: directory.to_owned(), environment, origins };
        let root = self.model(files, &scope, &[])?;
        (!self.findings.failed()).then_some(root)
    }

    fn model(
        &mut self,
        files: Vec<(PathBuf, Vec<Node>)>,
        scope: &Scope,
        included: &[PathBuf],
    ) -> Option<Node> {
        let mut root: Option<Node> = None;
        for (file, documents) in files {
            for document in documents {
                let included: Vec<PathBuf> = included.iter().cloned().chain([file.clone()]).collect();
                let depth = Depth { whole: true, included: &included };
                root = Some(self.document(root, document, &file, scope, depth)?);
            }
        }
        let mut root = root?;
        defaults::set(&mut root);
        defaults::check(&mut root, self.findings);
        if self.findings.failed() {
            return None;
        }
        if self.steps.resolve_paths || !included.is_empty() {
            let home = scope.environment.get("HOME").map(String::as_str);
            paths::Bases { directory: &scope.directory, home }.resolve(
                &mut root,
                self.findings,
                &mut self.unreadable,
            );
        }
        normal::resolve_environment(&mut root, &scope.environment, &scope.origins, self.findings);
        Some(root)
    }

    /// Merges a document into what came before it.
    fn document(
        &mut self,
        root: Option<Node>,
        mut document: Node,
        file: &Path,
        scope: &Scope,
        depth: Depth<'_>,
    ) -> Option<Node> {
        let resets = Resets::take(&mut document);
        if document.mapping().is_none() {
            let message = format!("a compose file must be a mapping, not {}", document.kind());
            self.findings.error("wrong-type", document.mark, message);
            return None;
        }
        if self.steps.interpolate {
            self.replace_variables(&mut document, scope);
        }
        if self.findings.failed() {
            return None;
        }
        if depth.whole {
            self.apply_extends(&mut document, file, scope, &resets)?;
        }
        let mut root = root.unwrap_or_else(|| document.beside(Value::Mapping(Mapping::new())));
        resets.apply(&mut root, &mut document, self.findings);
        if depth.whole {
            self.apply_include(&mut document, scope, depth.included)?;
        }
        let mut root = merge::projects(root, document, self.findings);
        unique::enforce(&mut root, self.findings);
        if depth.whole {
            schema::check(&root, self.findings, &mut self.unreadable);
            if let Some(version) = root.mapping_mut().and_then(|root| root.shift_remove("version"))
                && !std::mem::replace(&mut self.said_obsolete, true)
            {
                let message = "`version` is obsolete and has no effect";
                let warning = self.findings.warning("obsolete", version.key, message);
                warning.hints.push(Hint("remove the line".to_owned()));
            }
        }
        if self.findings.failed() {
            return None;
        }
        forms::expand(&mut root, !self.steps.interpolate, self.findings, &mut self.unreadable);
        omit_empty_servers(&mut root);
        unique::enforce(&mut root, self.findings);
        (!self.findings.failed()).then_some(root)
    }

    /// Reads a file's documents; the fault is a finding.
    pub(crate) fn read(&mut self, path: &Path, role: Role) -> Option<Vec<Node>> {
        self.files += 1;
        if self.files > FILE_LIMIT {
            let message = format!("the project is made of more than {FILE_LIMIT} files");
            self.findings.push(Diagnostic::error("too-large", message).with_span(Span::at(path, 1, 1)));
            return None;
        }
        let text = match self.loader.read(path) {
            Ok(text) => text,
            Err(error) => {
                let message = format!("cannot read compose file {}: {error}", path.display());
                self.findings.push(Diagnostic::error("compose-file", message));
                return None;
            }
        };
        let file = self.findings.sources.add(path, &text);
        let mut documents = tree::parse(&text, file, self.findings);
        documents.retain(|node| !matches!(node.value, Value::Null));
        if let Some(trace) = &mut self.findings.trace {
            trace.layers.push(LayerNodes { file, role, documents: documents.clone() });
        }
        let values = documents.iter().map(Node::count).sum();
        self.spend(values, &documents)?;
        (!self.findings.failed()).then_some(documents)
    }

    /// Counts values that come to the project.
    fn spend(&mut self, values: usize, at: &[Node]) -> Option<()> {
        self.values += values;
        if self.values <= VALUE_LIMIT {
            return Some(());
        }
        let message = format!("the project's files come to more than {VALUE_LIMIT} values");
        if let Some(node) = at.first() {
            self.findings.error("too-large", node.mark, message);
        }
        None
    }
}

/// Removes name servers that are empty, as a variable without value leaves them.
fn omit_empty_servers(root: &mut Node) {
    let Some(services) = root.get_mut("services").and_then(Node::mapping_mut) else { return };
    for service in services.values_mut() {
        if let Some(Value::Sequence(items)) = service.node.get_mut("dns").map(|dns| &mut dns.value) {
            items.retain(|item| item.text().is_some_and(|text| !text.is_empty()));
        }
    }
}
