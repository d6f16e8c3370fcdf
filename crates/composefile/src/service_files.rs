//! `env_file` and `label_file` read into a service's `environment` and `labels`.

use std::path::Path;

use indexmap::{IndexMap, IndexSet};

use crate::Loader;
use crate::decode::environment::env_file_diagnostic;
use crate::dotenv;
use crate::interpolate::Lookup;
use crate::source::{Findings, Mark};
use crate::tree::{Entry, Mapping, Node, Value};

type Pairs = IndexMap<String, Option<String>>;

/// Reads the files of the active services; those of `env_file` only with `environments`.
pub(crate) fn resolve(
    root: &mut Node,
    active: &IndexSet<String>,
    environments: bool,
    environment: &IndexMap<String, String>,
    loader: &dyn Loader,
    findings: &mut Findings,
) {
    let Some(services) = root.get_mut("services").and_then(Node::mapping_mut) else { return };
    let mut files = Files { environment, loader, findings };
    for (_, entry) in services.iter_mut().filter(|(name, _)| active.contains(*name)) {
        let Some(service) = entry.node.mapping_mut() else { continue };
        if environments {
            files.environment(service);
        }
        files.labels(service);
    }
}

/// Reads the files of `label_file` for the services that the profiles include.
pub(crate) fn resolve_labels(
    root: &mut Node,
    profiles: &[String],
    environment: &IndexMap<String, String>,
    loader: &dyn Loader,
    findings: &mut Findings,
) {
    let services = root.get("services").and_then(Node::mapping).into_iter().flatten();
    let included = |(name, entry): (&String, &Entry)| {
        let own = entry.node.get("profiles").and_then(Node::items).unwrap_or_default();
        let active = own.is_empty()
            || profiles
                .iter()
                .any(|profile| profile == "*" || own.iter().any(|own| own.text() == Some(profile)));
        active.then(|| name.clone())
    };
    let active = services.filter_map(included).collect();
    resolve(root, &active, false, environment, loader, findings);
}

struct Files<'f> {
    environment: &'f IndexMap<String, String>,
    loader: &'f dyn Loader,
    findings: &'f mut Findings,
}

impl Files<'_> {
    fn environment(&mut self, service: &mut Mapping) {
        let mark = service.get("environment").or_else(|| service.get("env_file")).map(|entry| entry.key);
        let Some(mark) = mark else { return };
        let mut own = service.get("environment").map(|entry| pairs(&entry.node)).unwrap_or_default();
        for (name, value) in &mut own {
            if value.is_none() {
                *value = self.environment.get(name).cloned();
            }
        }
        let mut all: IndexMap<String, String> =
            own.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?))).collect();
        if let Some(files) = service.shift_remove("env_file") {
            for file in files.node.items().unwrap_or_default() {
                let (Some(path), mark) = (file.get("path").and_then(Node::text), file.mark) else { continue };
                let required = file.get("required").and_then(Node::truth) != Some(false);
                if !required && !self.loader.exists(Path::new(path)) {
                    continue;
                }
                let raw = match file.get("format").and_then(Node::text).unwrap_or_default() {
                    "" | ".env" => false,
                    "raw" => true,
                    other => {
                        let message = format!("env_file format `{other}` is not known");
                        let error = self.findings.error("bad-value", mark, message);
                        error.hints.push(coracle_report::Hint("leave it out, or write `raw`".to_owned()));
                        continue;
                    }
                };
                let lookup = |name: &str| {
                    self.environment.get(name).cloned().or_else(|| own.get(name).cloned().flatten())
                };
                let before = |name: &str| all.get(name).cloned();
                if let Some(more) = read(self.loader, self.findings, path, mark, raw, &lookup, &before) {
                    all.extend(more);
                }
            }
        }
        let mut merged: Pairs = all.into_iter().map(|(name, value)| (name, Some(value))).collect();
        merged.extend(own);
        set(service, "environment", mark, merged);
    }

    fn labels(&mut self, service: &mut Mapping) {
        let Some(files) = service.shift_remove("label_file") else { return };
        let mark = files.key;
        let mut all: IndexMap<String, String> = IndexMap::new();
        for file in files.node.items().unwrap_or_default() {
            let Some(path) = file.text() else { continue };
            let lookup = |name: &str| all.get(name).cloned();
            if let Some(more) = read(self.loader, self.findings, path, file.mark, false, &lookup, &|_| None) {
                all.extend(more);
            }
        }
        let mut merged: Pairs = all.into_iter().map(|(name, value)| (name, Some(value))).collect();
        let own = service.get("labels").map(|entry| pairs(&entry.node)).unwrap_or_default();
        merged.extend(own.into_iter().map(|(name, value)| (name, Some(value.unwrap_or_default()))));
        set(service, "labels", mark, merged);
    }
}

fn read(
    loader: &dyn Loader,
    findings: &mut Findings,
    path: &str,
    mark: Mark,
    raw: bool,
    lookup: &Lookup<'_>,
    before: &Lookup<'_>,
) -> Option<IndexMap<String, String>> {
    if findings.is_full() {
        return None;
    }
    let path = Path::new(path);
    let text = match loader.read(path) {
        Ok(text) => text,
        Err(error) => {
            let message = format!("cannot read env file {}: {error}", path.display());
            findings.error("env-file", mark, message);
            return None;
        }
    };
    let variables = if raw {
        dotenv::parse_raw(&text)
    } else {
        dotenv::parse_over(&text, lookup, before)
            .map(|variables| variables.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
    };
    match variables {
        Ok(variables) => findings.count_variables(&variables, mark).then_some(variables),
        Err(error) => {
            findings.push(env_file_diagnostic(path, &text, &error));
            None
        }
    }
}

/// Returns the names and values of a list or a mapping.
fn pairs(node: &Node) -> Pairs {
    if let Some(mapping) = node.mapping() {
        let value = |entry: &Entry| entry.node.shown().map(std::borrow::Cow::into_owned);
        return mapping.iter().map(|(name, entry)| (name.clone(), value(entry))).collect();
    }
    let pair = |item: &Node| {
        let text = item.shown()?;
        Some(match text.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (text.into_owned(), None),
        })
    };
    node.items().unwrap_or_default().iter().filter_map(pair).collect()
}

fn set(service: &mut Mapping, key: &str, mark: Mark, pairs: Pairs) {
    let entry = |(name, value): (String, Option<String>)| {
        let empty = Node { mark, value: Value::Null, tag: None };
        (name, Entry { key: mark, node: value.map_or(empty, |value| Node::scalar(mark, value)) })
    };
    let node = Node { mark, value: Value::Mapping(pairs.into_iter().map(entry).collect()), tag: None };
    service.insert(key.to_owned(), Entry { key: mark, node });
}
