//! How the values of a later file meet those of an earlier one (Compose specification, "Merge and override").
//!
//! Mappings merge by key, lists append, single values are replaced; the attributes with rules of their own are in
//! [`rule`]. Which items of a list are the same, is decided by [`super::unique`].

use crate::source::Findings;
use crate::trace::Because;
use crate::tree::{Entry, Mapping, Node, Scalar, Value};

/// How the values at a path meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Plain,
    /// The later value replaces the earlier, whatever it is.
    Replace,
    /// Both become lists of `NAME=value`, which append.
    List,
    /// As `List`; an entry that is there already is not added again.
    Hosts,
    /// A single text is a mapping with `context`.
    Build,
    /// Lists of names are mappings from name to nothing.
    Names,
    /// Lists of names are mappings from name to the condition that a list means.
    Dependencies,
    /// Options of another driver replace, those of the same merge.
    Logging,
    /// Pools of one subnet merge.
    Pools,
}

fn rule(path: &[String]) -> Rule {
    let mut steps = [""; 6];
    if path.len() > steps.len() {
        return Rule::Plain;
    }
    for (step, name) in steps.iter_mut().zip(path) {
        *step = name;
    }
    match &steps[..path.len()] {
        ["networks", _, "ipam", "config"] => Rule::Pools,
        ["networks" | "volumes", _, "labels"] => Rule::List,
        ["services", _, rest @ ..] => match rest {
            ["build"] => Rule::Build,
            ["build", "args" | "additional_contexts" | "labels"]
            | ["deploy", "labels"]
            | [
                "annotations" | "dns" | "dns_opt" | "dns_search" | "env_file" | "label_file" | "environment"
                | "labels" | "sysctls" | "tmpfs",
            ] => Rule::List,
            ["extra_hosts"] | ["build", "extra_hosts"] => Rule::Hosts,
            ["command" | "entrypoint"] | ["healthcheck", "test"] | ["ulimits", _] => Rule::Replace,
            ["depends_on"] => Rule::Dependencies,
            ["networks" | "models"] => Rule::Names,
            ["logging"] => Rule::Logging,
            _ => Rule::Plain,
        },
        _ => Rule::Plain,
    }
}

/// Merges `later` into `earlier`, both whole projects.
pub(super) fn projects(earlier: Node, later: Node, findings: &mut Findings) -> Node {
    merge(earlier, later, &mut Vec::new(), findings)
}

/// Merges a service into the one that it extends.
pub(super) fn services(base: Node, own: Node, findings: &mut Findings) -> Node {
    merge(base, own, &mut vec!["services".to_owned(), "x".to_owned()], findings)
}

fn merge(earlier: Node, later: Node, path: &mut Vec<String>, findings: &mut Findings) -> Node {
    match rule(path) {
        Rule::Plain => plain(earlier, later, path, findings),
        Rule::Replace => replaced(earlier, later, findings),
        Rule::List => {
            let mark = later.mark;
            let mut items = list(earlier);
            items.extend(list(later));
            Node { mark, value: Value::Sequence(items), tag: None }
        }
        Rule::Hosts => {
            let mark = later.mark;
            let mut items = list(earlier);
            for item in list(later) {
                if !items.iter().any(|known| known.same(&item)) {
                    items.push(item);
                }
            }
            Node { mark, value: Value::Sequence(items), tag: None }
        }
        Rule::Build => mappings(context(earlier), context(later), path, findings),
        Rule::Names => mappings(names(earlier, None), names(later, None), path, findings),
        Rule::Dependencies => {
            let (earlier, later) = (names(earlier, Some(())), names(later, Some(())));
            mappings(earlier, later, path, findings)
        }
        Rule::Logging => {
            let driver = |node: &Node| node.get("driver").and_then(Node::text).map(str::to_owned);
            match (driver(&earlier), driver(&later)) {
                (Some(before), Some(later_driver)) if before != later_driver => {
                    replaced(earlier, later, findings)
                }
                _ => mappings(earlier, later, path, findings),
            }
        }
        Rule::Pools => pools(earlier, later, path, findings),
    }
}

fn plain(earlier: Node, later: Node, path: &mut Vec<String>, findings: &mut Findings) -> Node {
    match (earlier.value, later.value) {
        // An empty value in the later file (`backend:` with nothing below) changes nothing.
        (value, Value::Null) => Node { mark: earlier.mark, value, tag: None },
        (Value::Mapping(into), Value::Mapping(from)) => {
            let earlier = Node { mark: earlier.mark, value: Value::Mapping(into), tag: None };
            let later = Node { mark: later.mark, value: Value::Mapping(from), tag: None };
            mappings(earlier, later, path, findings)
        }
        (Value::Sequence(mut items), Value::Sequence(more)) => {
            items.extend(more);
            Node { mark: later.mark, value: Value::Sequence(items), tag: None }
        }
        (value @ (Value::Mapping(_) | Value::Sequence(_)), over) => {
            let earlier = Node { mark: earlier.mark, value, tag: None };
            let over = Node { mark: later.mark, value: over, tag: None };
            let message = format!("{} is {} here and {} before", path.join("."), over.kind(), earlier.kind());
            let before = findings.sources.span(earlier.mark);
            findings.error("merge", over.mark, message).notes.push(format!("before: {before}"));
            earlier
        }
        (before @ (Value::Null | Value::Scalar(_)), value) => {
            let earlier = Node { mark: earlier.mark, value: before, tag: None };
            replaced(earlier, Node { mark: later.mark, value, tag: None }, findings)
        }
    }
}

/// Returns `later`, which `earlier` gives way to.
fn replaced(earlier: Node, mut later: Node, findings: &mut Findings) -> Node {
    findings.beat(&mut later.mark, earlier, Because::Place);
    later
}

fn mappings(earlier: Node, later: Node, path: &mut Vec<String>, findings: &mut Findings) -> Node {
    let (Value::Mapping(mut into), mark) = (earlier.value, later.mark) else { return later };
    let from = match later.value {
        Value::Mapping(from) => from,
        Value::Null => Mapping::new(),
        // What else it is, the schema refuses.
        value => return Node { mark, value, tag: None },
    };
    for (key, entry) in from {
        let Some(slot) = into.get_mut(&key) else {
            into.insert(key, entry);
            continue;
        };
        path.push(key);
        let old = std::mem::replace(&mut slot.node, Node { mark, value: Value::Null, tag: None });
        slot.node = merge(old, entry.node, path, findings);
        slot.key = entry.key;
        path.pop();
    }
    Node { mark, value: Value::Mapping(into), tag: None }
}

/// Returns a value as a list: a mapping is `NAME=value` by name, a single value a list of one.
fn list(node: Node) -> Vec<Node> {
    let mark = node.mark;
    let item = |key: &str, entry: &Entry, value: Option<&str>| {
        let text = value.map_or_else(|| key.to_owned(), |value| format!("{key}={value}"));
        let mark = if value.is_some() { entry.node.mark } else { entry.key };
        Node { mark, value: Value::Scalar(Scalar::quoted(text)), tag: None }
    };
    match node.value {
        Value::Sequence(items) => items,
        Value::Null => Vec::new(),
        Value::Scalar(scalar) => vec![Node { mark, value: Value::Scalar(scalar), tag: None }],
        Value::Mapping(mapping) => {
            let mut items = Vec::new();
            for (key, entry) in &mapping {
                match &entry.node.value {
                    Value::Sequence(several) => {
                        let several = several.iter().filter_map(Node::shown);
                        items.extend(several.map(|value| item(key, entry, Some(&value))));
                    }
                    _ => items.push(item(key, entry, entry.node.shown().as_deref())),
                }
            }
            items.sort_by(|a, b| a.text().cmp(&b.text()));
            items
        }
    }
}

/// Returns `build` in its long form.
fn context(node: Node) -> Node {
    let mark = node.mark;
    match node.value {
        value @ Value::Scalar(_) => {
            let node = Node { mark, value, tag: None };
            let mapping = Mapping::from([("context".to_owned(), Entry { key: mark, node })]);
            Node { mark, value: Value::Mapping(mapping), tag: None }
        }
        Value::Null => Node { mark, value: Value::Mapping(Mapping::new()), tag: None },
        value => Node { mark, value, tag: None },
    }
}

/// Returns a list of names as a mapping.
fn names(node: Node, dependencies: Option<()>) -> Node {
    let mark = node.mark;
    match node.value {
        Value::Sequence(items) if items.iter().all(|item| item.text().is_some()) => {
            let entry = |item: Node| {
                let name = item.text().unwrap_or_default().to_owned();
                let node = match dependencies {
                    None => item.beside(Value::Null),
                    Some(()) => super::forms::started(item.mark),
                };
                (name, Entry { key: item.mark, node })
            };
            Node { mark, value: Value::Mapping(items.into_iter().map(entry).collect()), tag: None }
        }
        Value::Null => Node { mark, value: Value::Mapping(Mapping::new()), tag: None },
        value => Node { mark, value, tag: None },
    }
}

fn pools(earlier: Node, later: Node, path: &mut Vec<String>, findings: &mut Findings) -> Node {
    let mark = later.mark;
    let (Value::Sequence(before), Value::Sequence(after)) = (earlier.value, later.value) else {
        findings.error("wrong-type", mark, format!("{} must be a list", path.join(".")));
        return Node { mark, value: Value::Null, tag: None };
    };
    let subnet = |node: &Node| node.get("subnet").and_then(Node::text).map(str::to_owned);
    let mut pools: Vec<Node> = Vec::new();
    for original in before {
        for over in &after {
            if subnet(over) != subnet(&original) && !pools.iter().any(|pool| subnet(pool) == subnet(over)) {
                pools.push(over.clone());
                continue;
            }
            let merged = mappings(original.clone(), over.clone(), path, findings);
            match pools.iter_mut().find(|pool| subnet(pool) == subnet(&merged)) {
                Some(pool) => *pool = merged,
                None => pools.push(merged),
            }
        }
    }
    Node { mark, value: Value::Sequence(pools), tag: None }
}
