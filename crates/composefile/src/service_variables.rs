//! What a service's environment is made of besides `environment`, written into the tree with its places: `env_file`,
//! the caller's variables that are only named, and the project's name. Only for those who ask where values come from.

use std::path::Path;

use coracle_report::Span;
use indexmap::IndexMap;

use crate::Loader;
use crate::dotenv::{self, Assignment};
use crate::source::{Findings, Mark};
use crate::trace::{self, Because, Trace, What};
use crate::tree::{Entry, Mapping, Node, Value};
use crate::written::{EnvFile, EnvFileRole, VariableOrigin};

/// Completes a tree that is settled already and whose project was found good.
pub(crate) fn complete(
    root: &mut Node,
    name: &str,
    environment: &IndexMap<String, String>,
    loader: &dyn Loader,
    findings: &mut Findings,
) {
    let mut completing = Completing { environment, loader, findings };
    completing.name(root, name);
    let Some(services) = root.get_mut("services").and_then(Node::mapping_mut) else { return };
    for (service, entry) in services.iter_mut() {
        if let Some(mapping) = entry.node.mapping_mut() {
            completing.service(service, mapping);
        }
    }
}

struct Completing<'c> {
    environment: &'c IndexMap<String, String>,
    loader: &'c dyn Loader,
    findings: &'c mut Findings,
}

impl Completing<'_> {
    fn trace(&mut self) -> &mut Trace {
        self.findings.trace.get_or_insert_default()
    }

    /// Returns a place in an env file. Its text is not kept: it may hold secrets, and nobody shows lines of it.
    fn mark(
        &mut self,
        path: &Path,
        (start, end): (coracle_report::Position, coracle_report::Position),
    ) -> Mark {
        Mark { file: self.findings.sources.add_hidden(path), start, end, step: 0 }
    }

    fn name(&mut self, root: &mut Node, name: &str) {
        let Some(root) = root.mapping_mut() else { return };
        let given = root.shift_remove("name").filter(|given| given.node.text().is_some());
        let origin = self.trace().origins.get("COMPOSE_PROJECT_NAME").cloned();
        let origin = origin.unwrap_or(VariableOrigin::Process);
        let (key, mut mark) = match (&given, &origin) {
            (_, VariableOrigin::File(span)) => {
                let mark = self.mark(&span.file, (span.start, span.end));
                (mark, mark)
            }
            (Some(given), _) => (given.key, given.node.mark),
            (None, VariableOrigin::Process | VariableOrigin::ProjectName) => {
                let none = Mark::none().implied();
                (none, none)
            }
        };
        if origin != VariableOrigin::ProjectName {
            let environment = self.environment;
            let trace = self.trace();
            let origins = std::mem::take(&mut trace.origins);
            trace.passed(&mut mark, "COMPOSE_PROJECT_NAME", environment, &origins);
            trace.origins = origins;
            if let Some(given) = given {
                trace.beat(&mut mark, given.node, Because::Caller);
            }
        }
        root.shift_insert(0, "name".to_owned(), Entry { key, node: Node::scalar(mark, name) });
    }

    fn service(&mut self, name: &str, service: &mut Mapping) {
        let mut all = Mapping::new();
        let files = service.get("env_file").and_then(|entry| entry.node.items()).unwrap_or_default();
        for file in files {
            self.env_file(name, file, &mut all);
        }
        let key = match (service.get("environment"), service.get("env_file")) {
            (Some(entry), _) | (None, Some(entry)) if !all.is_empty() => entry.key,
            (Some(entry), _) => entry.key,
            (None, _) => return,
        };
        let own = service.get_mut("environment").map(|entry| &mut entry.node);
        let mark = own.as_ref().map_or(key, |own| own.mark);
        let own = match own.map(|own| std::mem::replace(&mut own.value, Value::Null)) {
            None | Some(Value::Null) => Mapping::new(),
            Some(Value::Mapping(own)) => own,
            // The reader of typed values refused it.
            Some(value @ (Value::Scalar(_) | Value::Sequence(_))) => {
                if let Some(entry) = service.get_mut("environment") {
                    entry.node.value = value;
                }
                return;
            }
        };
        for (variable, mut entry) in own {
            if matches!(entry.node.value, Value::Null)
                && let Some(value) = self.environment.get(&variable)
            {
                let mut mark = entry.node.mark;
                let environment = self.environment;
                let trace = self.trace();
                let origins = std::mem::take(&mut trace.origins);
                trace.passed(&mut mark, &variable, environment, &origins);
                trace.origins = origins;
                entry.node = Node::scalar(mark, value.as_str());
            }
            match all.get_mut(&variable) {
                None => {
                    all.insert(variable, entry);
                }
                Some(slot) => {
                    let lost = std::mem::replace(slot, entry);
                    self.findings.beat(&mut slot.node.mark, lost.node, Because::Environment);
                }
            }
        }
        let node = Node { mark, value: Value::Mapping(all), tag: None };
        service.insert("environment".to_owned(), Entry { key, node });
    }

    /// Adds what one entry of `env_file` brings. What cannot be read was reported when the project was.
    fn env_file(&mut self, service: &str, file: &Node, all: &mut Mapping) {
        let Some(path) = file.get("path").unwrap_or(file).text().map(Path::new) else { return };
        let Ok(text) = self.loader.read(path) else { return };
        let raw = file.get("format").and_then(Node::text) == Some("raw");
        let environment = self.environment;
        let before = |name: &str| Some(all.get(name)?.node.text()?.to_owned());
        let assignments = if raw {
            dotenv::assignments_raw(&text)
        } else {
            let lookup = |name: &str| environment.get(name).cloned();
            dotenv::assignments(&text, &lookup, &before).unwrap_or_default()
        };
        let number = self.findings.sources.add_hidden(path);
        let at = file.mark;
        for assignment in &assignments {
            let Some(value) = &assignment.value else {
                all.shift_remove(&assignment.name);
                continue;
            };
            let mut mark = Mark { file: number, start: assignment.start, end: assignment.end, step: 0 };
            let key = mark;
            self.trace().add(&mut mark, What::EnvFile { at });
            if assignment.raw.contains('$') {
                self.replaced(assignment, &mut mark, all);
            }
            let entry = Entry { key, node: Node::scalar(mark, value.as_str()) };
            match all.get_mut(&assignment.name) {
                None => {
                    all.insert(assignment.name.clone(), entry);
                }
                Some(slot) => {
                    let lost = std::mem::replace(slot, entry);
                    self.findings.beat(&mut slot.node.mark, lost.node, Because::Place);
                }
            }
        }
        let role = EnvFileRole::Service { name: service.to_owned(), at: self.findings.sources.span(at) };
        let file = EnvFile::of(path, role, assignments);
        self.trace().env_files.push(file);
    }

    fn replaced(&mut self, assignment: &Assignment, mark: &mut Mark, above: &Mapping) {
        let place = *mark;
        let Findings { sources, trace, .. } = &mut *self.findings;
        let Some(trace) = trace else { return };
        let lookup = |name: &str| {
            if let Some(value) = self.environment.get(name) {
                let origin = trace.origins.get(name).cloned().unwrap_or(VariableOrigin::Process);
                return Some((value.clone(), origin));
            }
            let above = &above.get(name)?.node;
            let span: Span = sources.span(above.mark);
            Some((above.text()?.to_owned(), VariableOrigin::File(span)))
        };
        let uses = trace::uses(&assignment.raw, &lookup, &|_| place);
        trace.add(mark, What::Replaced { written: assignment.raw.clone(), uses });
    }
}
