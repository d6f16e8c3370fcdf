//! The normal form: what an attribute implies is written out, and every object has its name.

use indexmap::IndexMap;

use crate::source::{Findings, Mark};
use crate::tree::{Entry, Mapping, Node, Scalar, Value};
use crate::written::VariableOrigin;

use super::forms::{boolean, mapping, or_insert, text};
use super::paths::clean_unix;

type Environment = IndexMap<String, String>;

/// Gives variables that a list of `environment` only names the caller's value.
pub(super) fn resolve_environment(
    root: &mut Node,
    environment: &Environment,
    origins: &IndexMap<String, VariableOrigin>,
    findings: &mut Findings,
) {
    for_services(root, |service| {
        let Some(Value::Sequence(items)) = service.get_mut("environment").map(|entry| &mut entry.node.value)
        else {
            return;
        };
        for item in items {
            let name = item.text().unwrap_or_default().to_owned();
            if !resolve_item(item, environment) {
                continue;
            }
            if let Some(trace) = &mut findings.trace {
                trace.passed(&mut item.mark, &name, environment, origins);
            }
        }
    });
}

/// Says whether the caller has a value for what the item names.
fn resolve_item(item: &mut Node, environment: &Environment) -> bool {
    let Value::Scalar(Scalar { text, .. }) = &mut item.value else { return false };
    let Some(value) = environment.get(text.as_str()) else { return false };
    *text = format!("{text}={value}");
    true
}

fn for_services(root: &mut Node, work: impl FnMut(&mut Mapping)) {
    let Some(services) = root.get_mut("services").and_then(Node::mapping_mut) else { return };
    services.values_mut().filter_map(|entry| entry.node.mapping_mut()).for_each(work);
}

/// Brings a project into the normal form; `name` is the project's.
pub(crate) fn normalise(root: &mut Node, name: &str, environment: &Environment) {
    default_network(root);
    for_services(root, |service| of_service(service, environment));
    let Some(root) = root.mapping_mut() else { return };
    for section in ["networks", "volumes", "configs", "secrets"] {
        let Some(objects) = root.get_mut(section).and_then(|entry| entry.node.mapping_mut()) else {
            continue;
        };
        for (key, entry) in objects.iter_mut() {
            if matches!(entry.node.value, Value::Null) {
                entry.node.value = Value::Mapping(Mapping::new());
            }
            let mark = entry.key;
            let external = entry.node.get("external").and_then(Node::truth) == Some(true);
            let Some(object) = entry.node.mapping_mut() else { continue };
            if object.get("name").is_none_or(|entry| matches!(entry.node.value, Value::Null)) {
                let full = if external { key.clone() } else { format!("{name}_{key}") };
                object.insert("name".to_owned(), Entry { key: mark, node: text(mark, full) });
            }
        }
    }
    let mark = root.first().map_or_else(Mark::none, |(_, entry)| entry.key);
    root.insert("name".to_owned(), Entry { key: mark, node: text(mark, name) });
}

/// A service that names no network is on `default`, which is then there.
fn default_network(root: &mut Node) {
    let mut used = None;
    for_services(root, |service| {
        if service.contains_key("provider") || service.contains_key("network_mode") {
            return;
        }
        let mark = service.first().map_or_else(Mark::none, |(_, entry)| entry.key);
        let networks = service.entry("networks".to_owned()).or_insert_with(|| Entry {
            key: mark,
            node: Node { mark, value: Value::Mapping(Mapping::new()), tag: None },
        });
        if matches!(networks.node.value, Value::Null) {
            networks.node.value = Value::Mapping(Mapping::new());
        }
        let Some(networks) = networks.node.mapping_mut() else { return };
        if networks.is_empty() {
            let node = Node { mark, value: Value::Null, tag: None };
            networks.insert("default".to_owned(), Entry { key: mark, node });
        }
        if let Some(entry) = networks.get("default") {
            used = Some(entry.key);
        }
    });
    let (Some(mark), Some(root)) = (used, root.mapping_mut()) else { return };
    or_insert(root, "networks", Node { mark, value: Value::Mapping(Mapping::new()), tag: None });
    if let Some(networks) = root.get_mut("networks") {
        if matches!(networks.node.value, Value::Null) {
            networks.node.value = Value::Mapping(Mapping::new());
        }
        if let Some(networks) = networks.node.mapping_mut() {
            or_insert(networks, "default", Node { mark, value: Value::Null, tag: None });
        }
    }
}

fn of_service(service: &mut Mapping, environment: &Environment) {
    if let Some(policy) = service.get_mut("pull_policy")
        && policy.node.text() == Some("if_not_present")
    {
        policy.node = text(policy.node.mark, "missing");
    }
    if let Some(entry) = service.get_mut("build") {
        let mark = entry.node.mark;
        if let Some(build) = entry.node.mapping_mut() {
            or_insert(build, "context", text(mark, "."));
            if !build.contains_key("dockerfile_inline") {
                or_insert(build, "dockerfile", text(mark, "Dockerfile"));
            }
            if let Some(arguments) = build.get_mut("args") {
                resolve(&mut arguments.node, environment, false);
            }
        }
    }
    if let Some(variables) = service.get_mut("environment") {
        resolve(&mut variables.node, environment, true);
    }
    if let Some(Value::Sequence(mounts)) = service.get_mut("volumes").map(|entry| &mut entry.node.value) {
        for mount in mounts {
            if let Some(Value::Scalar(Scalar { text, .. })) =
                mount.get_mut("target").map(|target| &mut target.value)
            {
                *text = clean_unix(text);
            }
        }
    }
    imply_dependencies(service);
}

/// Gives names without a value the caller's; without one they go unless `keep`.
fn resolve(node: &mut Node, environment: &Environment, keep: bool) {
    match &mut node.value {
        Value::Sequence(items) => {
            for item in items.iter_mut() {
                resolve_item(item, environment);
            }
            items.retain(|item| keep || item.text().is_some_and(|text| text.contains('=')));
        }
        Value::Mapping(mapping) => {
            for (name, entry) in mapping.iter_mut() {
                if let (Value::Null, Some(value)) = (&entry.node.value, environment.get(name)) {
                    entry.node = text(entry.node.mark, value.as_str());
                }
            }
            mapping.retain(|_, entry| keep || !matches!(entry.node.value, Value::Null));
        }
        Value::Null | Value::Scalar(_) => {}
    }
}

/// Links, shared namespaces and mounts of another service make it a dependency.
fn imply_dependencies(service: &mut Mapping) {
    let mut implied: Vec<(String, Mark, bool)> = Vec::new();
    let texts = |key: &str| -> Vec<(String, Mark)> {
        let items = service.get(key).and_then(|entry| entry.node.items()).unwrap_or_default();
        items.iter().filter_map(|item| Some((item.text()?.to_owned(), item.mark))).collect()
    };
    for (link, mark) in texts("links") {
        let mut parts = link.split(':');
        let (name, rest) = (parts.next().unwrap_or_default(), parts.count());
        implied.push((if rest == 1 { name.to_owned() } else { link.clone() }, mark, true));
    }
    for key in ["network_mode", "ipc", "pid", "uts", "cgroup"] {
        let Some(entry) = service.get(key) else { continue };
        if let Some(name) = entry.node.text().and_then(|text| text.strip_prefix("service:")) {
            implied.push((name.to_owned(), entry.node.mark, true));
        }
    }
    for (from, mark) in texts("volumes_from") {
        if !from.starts_with("container:") {
            let name = from.split(':').next().unwrap_or_default();
            implied.push((name.to_owned(), mark, false));
        }
    }
    if implied.is_empty() {
        return;
    }
    let mark = implied[0].1;
    or_insert(service, "depends_on", Node { mark, value: Value::Mapping(Mapping::new()), tag: None });
    let Some(dependencies) = service.get_mut("depends_on").and_then(|entry| entry.node.mapping_mut()) else {
        return;
    };
    for (name, mark, restart) in implied {
        let dependency = mapping(
            mark,
            [
                ("condition", text(mark, "service_started")),
                ("restart", boolean(mark, restart)),
                ("required", boolean(mark, true)),
            ],
        );
        or_insert(dependencies, &name, dependency);
    }
}
