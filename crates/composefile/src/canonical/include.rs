//! `include`: other projects' files, each with a directory and an environment of its own.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use coracle_report::Hint;
use indexmap::IndexMap;

use crate::dotenv;
use crate::source::Mark;
use crate::trace::What;
use crate::tree::{Entry, Mapping, Node, Value};
use crate::written::{EnvFile, EnvFileRole, Role, VariableOrigin};

use super::{Composer, Scope, paths};

/// How deep files may include one another.
const DEPTH_LIMIT: usize = 50;

/// One entry of `include`.
struct Include {
    mark: Mark,
    paths: Vec<(String, Mark)>,
    directory: Option<String>,
    env_files: Vec<(String, Mark)>,
}

impl Composer<'_> {
    /// Takes `include` out of a document and adds what it brings.
    pub(super) fn apply_include(
        &mut self,
        document: &mut Node,
        scope: &Scope,
        included: &[PathBuf],
    ) -> Option<()> {
        let root = document.mapping_mut()?;
        let Some(include) = root.shift_remove("include") else { return Some(()) };
        let items = match include.node.value {
            Value::Null => return Some(()),
            Value::Sequence(items) => items,
            Value::Scalar(_) | Value::Mapping(_) => {
                self.findings.error("wrong-type", include.node.mark, "include must be a list");
                return None;
            }
        };
        for item in items {
            let include = self.include_of(&item)?;
            let mut imported = self.included(&include, scope, included)?;
            self.findings.came(&mut imported, || What::Included { at: include.mark });
            self.import(imported, document, include.mark)?;
        }
        Some(())
    }

    fn include_of(&mut self, item: &Node) -> Option<Include> {
        let texts = |node: &Node| -> Option<Vec<(String, Mark)>> {
            match node.text() {
                Some(text) => Some(vec![(text.to_owned(), node.mark)]),
                None => node.items()?.iter().map(|item| Some((item.text()?.to_owned(), item.mark))).collect(),
            }
        };
        let mut include =
            Include { mark: item.mark, paths: Vec::new(), directory: None, env_files: Vec::new() };
        if item.text().is_some() {
            include.paths = texts(item)?;
            return Some(include);
        }
        let Some(mapping) = item.mapping() else {
            self.findings.error("wrong-type", item.mark, "an entry of `include` is a path or a mapping");
            return None;
        };
        for (key, entry) in mapping {
            let good = match key.as_str() {
                "path" => texts(&entry.node).map(|paths| include.paths = paths),
                "env_file" => texts(&entry.node).map(|files| include.env_files = files),
                "project_directory" => {
                    entry.node.text().map(|text| include.directory = Some(text.to_owned()))
                }
                _ => {
                    let error = self.findings.error(
                        "unknown-key",
                        entry.key,
                        format!("unknown key `{key}` in include"),
                    );
                    error.hints.push(Hint("it has `path`, `env_file` and `project_directory`".to_owned()));
                    return None;
                }
            };
            if good.is_none() {
                let message = format!("include.{key} must be a text or a list of texts");
                self.findings.error("wrong-type", entry.node.mark, message);
                return None;
            }
        }
        if include.paths.is_empty() {
            self.findings.error("missing-key", item.mark, "an entry of `include` has no `path`");
            return None;
        }
        Some(include)
    }

    /// Reads what one entry names.
    fn included(&mut self, include: &Include, scope: &Scope, included: &[PathBuf]) -> Option<Node> {
        let absolute = |text: &str| paths::clean(&scope.base.join(text));
        let (first, first_mark) = include.paths.first()?;
        let main = absolute(first);
        if included.contains(&main) {
            let chain: Vec<_> = included.iter().map(|path| path.display().to_string()).collect();
            let message = format!(
                "files include one another in a circle: {} -> {}",
                chain.join(" -> "),
                main.display()
            );
            self.findings.error("include-cycle", *first_mark, message);
            return None;
        }
        if included.len() > DEPTH_LIMIT {
            let message = format!("files include one another more than {DEPTH_LIMIT} deep");
            self.findings.error("include-cycle", *first_mark, message);
            return None;
        }
        let base = match &include.directory {
            None => main.parent().unwrap_or(&main).to_owned(),
            Some(directory) => absolute(directory),
        };
        // Paths stay relative to the includer's directory, which makes them absolute with its own, or not.
        let directory = match &include.directory {
            Some(directory) if directory.starts_with('/') => base.clone(),
            _ => paths::relative(&base, &scope.base),
        };
        let (environment, origins) = self.environment_of(include, &base, scope)?;
        let scope = Scope { directory, base, environment: Rc::new(environment), origins: Rc::new(origins) };
        let mut files = Vec::new();
        for (path, mark) in &include.paths {
            let path = absolute(path);
            let Some(documents) = self.read(&path, Role::Included(*mark)) else {
                if !self.loader.exists(&path) {
                    let message = format!("`include` names {}, which cannot be read", path.display());
                    self.findings.error("compose-file", *mark, message);
                }
                return None;
            };
            files.push((path, documents));
        }
        self.model(files, &scope, included)
    }

    /// Returns the caller's variables over those of the entry's env files, or of the `.env` beside its first file.
    fn environment_of(
        &mut self,
        include: &Include,
        base: &Path,
        scope: &Scope,
    ) -> Option<(IndexMap<String, String>, IndexMap<String, VariableOrigin>)> {
        let mut files: Vec<(PathBuf, Mark)> = include
            .env_files
            .iter()
            .map(|(path, mark)| (paths::clean(&scope.base.join(path)), *mark))
            .collect();
        if files.is_empty() && self.loader.exists(&base.join(".env")) {
            files.push((base.join(".env"), include.mark));
        }
        let mut environment = (*scope.environment).clone();
        let mut own: IndexMap<String, String> = IndexMap::new();
        let mut own_origins = IndexMap::new();
        for (file, mark) in files {
            let text = match self.loader.read(&file) {
                Ok(text) => text,
                Err(error) => {
                    let message = format!("cannot read env file {}: {error}", file.display());
                    self.findings.error("env-file", mark, message);
                    return None;
                }
            };
            let lookup = |name: &str| scope.environment.get(name).or_else(|| own.get(name)).cloned();
            match dotenv::parse(&text, &lookup) {
                Ok(variables) => {
                    if self.findings.trace.is_some()
                        && let Ok(assignments) = dotenv::assignments(&text, &lookup, &|_| None)
                    {
                        let at = self.findings.sources.span(mark);
                        let file = EnvFile::of(&file, EnvFileRole::Include { at }, assignments);
                        own_origins.extend(file.origins());
                        if let Some(trace) = &mut self.findings.trace {
                            trace.env_files.push(file);
                        }
                    }
                    own.extend(variables.into_iter().filter_map(|(name, value)| Some((name, value?))));
                }
                Err(error) => {
                    let diagnostic = crate::decode::environment::env_file_diagnostic(&file, &text, &error);
                    self.findings.push(diagnostic);
                    return None;
                }
            }
        }
        let mut origins = (*scope.origins).clone();
        for (name, value) in own {
            if environment.contains_key(&name) {
                continue;
            }
            if let Some(origin) = own_origins.shift_remove(&name) {
                origins.insert(name.clone(), origin);
            }
            environment.insert(name, value);
        }
        Some((environment, origins))
    }

    /// Adds what was included to the document; what both define must be the same.
    fn import(&mut self, imported: Node, document: &mut Node, mark: Mark) -> Option<()> {
        let Value::Mapping(imported) = imported.value else { return Some(()) };
        for (section, entry) in imported {
            let known = ["services", "volumes", "networks", "secrets", "configs", "models"];
            let Value::Mapping(objects) = entry.node.value else { continue };
            if !known.contains(&section.as_str()) {
                continue;
            }
            let root = document.mapping_mut()?;
            let slot = root.entry(section.clone()).or_insert_with(|| Entry {
                key: mark,
                node: Node { mark, value: Value::Mapping(Mapping::new()), tag: None },
            });
            if matches!(slot.node.value, Value::Null) {
                slot.node.value = Value::Mapping(Mapping::new());
            }
            let Some(ours) = slot.node.mapping_mut() else { continue };
            for (name, object) in objects {
                match ours.get(&name) {
                    None => {
                        ours.insert(name, object);
                    }
                    Some(own) if own.node.same(&object.node) => {}
                    Some(own) => {
                        let other = self.findings.sources.span(object.key);
                        let message = format!("{section}.{name} is also in a file that is included");
                        let error = self.findings.error("include-conflict", own.key, message);
                        error.notes.push(format!("the other is at {other}"));
                        error
                            .hints
                            .push(Hint("change it in a further file of the include’s `path`".to_owned()));
                        return None;
                    }
                }
            }
        }
        Some(())
    }
}
