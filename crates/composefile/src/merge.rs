//! Several files to one tree (Compose specification, "Merge and override").
//!
//! Mappings merge by key, lists append, single values are replaced. Attributes that can be written in a short and
//! a long form are normalised first, so that both forms meet; lists whose items have an identity (a mount's target,
//! a port) keep the last item of each identity. `!reset` removes what came before, `!override` replaces it whole.

use indexmap::map::Entry as Slot;

use crate::ports;
use crate::tree::{Entry, Mapping, MergeTag, Node, Scalar, Style, Value};

/// How the values at a path meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// Mappings merge, lists append, single values are replaced.
    Plain,
    /// The later value replaces the earlier, whatever it is.
    Replace,
    /// `NAME=value` lists and mappings are both mappings.
    Pairs,
    /// As `Pairs`, with `=` or `:` between name and value; a name may have several.
    Hosts,
    /// Lists of names are mappings from name to nothing.
    Names,
    /// A single value is a list of one; equal items are kept once.
    Set,
    /// A single text is a mapping with this key.
    Under(&'static str),
    /// A list whose items are told apart by [`identity`].
    Identified(Identity),
    /// A mapping, unless one side is a single value: then the later replaces the earlier.
    MappingOrReplace,
}

/// What tells the items of a list apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Identity {
    Port,
    Mount,
    Grant,
    EnvFile,
}

/// Returns how the values at `path` meet; `*` in the table is any name.
fn rule(path: &[&str]) -> Rule {
    match path {
        ["services", _, rest @ ..] => service_rule(rest),
        ["networks" | "volumes" | "secrets" | "configs", _, "labels" | "driver_opts"] => Rule::Pairs,
        ["networks", _, "ipam", "config"] => Rule::Replace,
        _ => Rule::Plain,
    }
}

fn service_rule(path: &[&str]) -> Rule {
    match path {
        ["build"] => Rule::Under("context"),
        ["build", "args" | "labels" | "additional_contexts" | "ssh"]
        | ["environment" | "labels" | "annotations" | "sysctls"]
        | ["deploy", "labels"] => Rule::Pairs,
        ["extra_hosts"] | ["build", "extra_hosts"] => Rule::Hosts,
        ["command" | "entrypoint"] | ["healthcheck", "test"] => Rule::Replace,
        ["depends_on" | "networks" | "models"] => Rule::Names,
        ["ports"] => Rule::Identified(Identity::Port),
        ["volumes" | "devices"] => Rule::Identified(Identity::Mount),
        ["secrets" | "configs"] => Rule::Identified(Identity::Grant),
        ["env_file"] => Rule::Identified(Identity::EnvFile),
        [
            "label_file" | "dns" | "dns_opt" | "dns_search" | "tmpfs" | "expose" | "cap_add" | "cap_drop"
            | "security_opt" | "profiles" | "links" | "group_add",
        ]
        | ["build", "tags" | "platforms"]
        | ["networks", _, "aliases" | "link_local_ips"] => Rule::Set,
        ["ulimits", _] | ["build", "ulimits", _] => Rule::MappingOrReplace,
        _ => Rule::Plain,
    }
}

/// Merges `later` into `earlier`, both whole documents.
pub(crate) fn merge(earlier: Node, later: Node) -> Node {
    merge_at(earlier, later, &mut Vec::new())
}

/// Brings one document into the normal form that [`merge`] works on, and applies its `!reset` tags.
pub(crate) fn normalise(mut document: Node) -> Node {
    normalise_at(&mut document, &mut Vec::new());
    document
}

fn normalise_at<'a>(node: &'a mut Node, path: &mut Vec<&'a str>) {
    let rule = rule(path);
    apply_form(node, rule);
    if rule == Rule::Replace {
        return;
    }
    match &mut node.value {
        Value::Mapping(mapping) => {
            for (key, entry) in mapping.iter_mut() {
                path.push(key);
                normalise_at(&mut entry.node, path);
                path.pop();
            }
        }
        Value::Sequence(items) => deduplicate(items, rule),
        Value::Null | Value::Scalar(_) => {}
    }
}

/// Removes every attribute that is still tagged `!reset` once all files are merged.
pub(crate) fn drop_resets(node: &mut Node) {
    match &mut node.value {
        Value::Mapping(mapping) => {
            mapping.retain(|_, entry| entry.node.tag != Some(MergeTag::Reset));
            mapping.values_mut().for_each(|entry| drop_resets(&mut entry.node));
        }
        Value::Sequence(items) => {
            items.retain(|item| item.tag != Some(MergeTag::Reset));
            items.iter_mut().for_each(drop_resets);
        }
        Value::Null | Value::Scalar(_) => {}
    }
}

fn merge_at(earlier: Node, later: Node, path: &mut Vec<String>) -> Node {
    if later.tag.is_some() {
        return later;
    }
    let rule = rule(&path.iter().map(String::as_str).collect::<Vec<_>>());
    if rule == Rule::Replace {
        return later;
    }
    match (earlier.value, later.value) {
        (Value::Mapping(mut mapping), Value::Mapping(over)) => {
            for (key, entry) in over {
                match mapping.entry(key) {
                    Slot::Vacant(slot) => {
                        slot.insert(entry);
                    }
                    Slot::Occupied(mut slot) => {
                        path.push(slot.key().clone());
                        let old = std::mem::replace(&mut slot.get_mut().node, entry.node.clone());
                        // An earlier `!reset` has nothing to merge with.
                        let merged = if old.tag == Some(MergeTag::Reset) {
                            entry.node
                        } else {
                            merge_at(old, entry.node, path)
                        };
                        path.pop();
                        *slot.get_mut() = Entry { key: entry.key, node: merged };
                    }
                }
            }
            Node { mark: later.mark, value: Value::Mapping(mapping), tag: None }
        }
        (Value::Sequence(mut items), Value::Sequence(more)) => {
            items.extend(more);
            deduplicate(&mut items, rule);
            Node { mark: later.mark, value: Value::Sequence(items), tag: None }
        }
        // An empty mapping or list in the later file (`backend:` with nothing below) changes nothing.
        (value @ (Value::Mapping(_) | Value::Sequence(_)), Value::Null) => {
            Node { mark: earlier.mark, value, tag: None }
        }
        (_, value) => Node { mark: later.mark, value, tag: None },
    }
}

/// Rewrites a short form to the long one of its rule; what has another shape is left for the reader to refuse.
fn apply_form(node: &mut Node, rule: Rule) {
    let mark = node.mark;
    let value = std::mem::replace(&mut node.value, Value::Null);
    node.value = match (rule, value) {
        (Rule::Pairs, Value::Sequence(items)) if items.iter().all(|item| item.text().is_some()) => {
            let mut mapping = Mapping::new();
            for item in items {
                let text = item.text().unwrap_or_default();
                let (name, value) = match text.split_once('=') {
                    Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                    None => (text.to_owned(), None),
                };
                let value = match value {
                    None => Value::Null,
                    Some(text) => Value::Scalar(Scalar { text, style: Style::Quoted }),
                };
                let entry = Entry { key: item.mark, node: Node { mark: item.mark, value, tag: None } };
                mapping.insert(name, entry);
            }
            Value::Mapping(mapping)
        }
        (Rule::Hosts, Value::Sequence(items)) if items.iter().all(|item| item.text().is_some()) => {
            let mut mapping = Mapping::new();
            for item in items {
                let text = item.text().unwrap_or_default();
                let (name, address) =
                    text.split_once('=').or_else(|| text.split_once(':')).unwrap_or((text, ""));
                let node = Node::scalar(item.mark, address);
                let list = Node { mark: item.mark, value: Value::Sequence(Vec::new()), tag: None };
                let slot = mapping.entry(name.to_owned()).or_insert(Entry { key: item.mark, node: list });
                if let Value::Sequence(addresses) = &mut slot.node.value {
                    addresses.push(node);
                }
            }
            Value::Mapping(mapping)
        }
        (Rule::Names, Value::Sequence(items)) if items.iter().all(|item| item.text().is_some()) => {
            let entry = |item: Node| {
                let name = item.text().unwrap_or_default().to_owned();
                let node = Node { mark: item.mark, value: Value::Null, tag: None };
                (name, Entry { key: item.mark, node })
            };
            Value::Mapping(items.into_iter().map(entry).collect())
        }
        (Rule::Set | Rule::Identified(Identity::EnvFile), value @ Value::Scalar(_)) => {
            Value::Sequence(vec![Node { mark, value, tag: None }])
        }
        (Rule::Under(key), value @ Value::Scalar(_)) => {
            let entry = Entry { key: mark, node: Node { mark, value, tag: None } };
            Value::Mapping(Mapping::from([(key.to_owned(), entry)]))
        }
        (_, value) => value,
    };
}

/// Keeps one item of each identity: the last, at the place of the first.
fn deduplicate(items: &mut Vec<Node>, rule: Rule) {
    if !matches!(rule, Rule::Set | Rule::Identified(_)) {
        return;
    }
    let mut kept: indexmap::IndexMap<String, Node> = indexmap::IndexMap::new();
    for (index, item) in std::mem::take(items).into_iter().enumerate() {
        let key = identity(&item, rule).unwrap_or_else(|| format!("\0{index}"));
        kept.insert(key, item);
    }
    items.extend(kept.into_values());
}

/// Returns what tells an item of a list from the others; `None` when it is unlike any other.
fn identity(item: &Node, rule: Rule) -> Option<String> {
    let field = |key: &str| item.get(key).and_then(Node::text);
    match rule {
        Rule::Set => item.text().map(str::to_owned),
        Rule::Identified(Identity::Port) => match item.text() {
            Some(text) => ports::identity(text),
            None => Some(format!(
                "{}:{}:{}/{}",
                field("host_ip").unwrap_or_default(),
                field("published").unwrap_or_default(),
                field("target")?,
                field("protocol").unwrap_or("tcp")
            )),
        },
        Rule::Identified(Identity::Mount) => match item.text() {
            Some(text) => {
                let mut parts = text.split(':');
                let first = parts.next()?;
                Some(parts.next().unwrap_or(first).trim_end_matches('/').to_owned())
            }
            None => field("target").map(|target| target.trim_end_matches('/').to_owned()),
        },
        Rule::Identified(Identity::Grant) => {
            let target = item.text().or_else(|| field("target")).or_else(|| field("source"))?;
            Some(target.rsplit('/').next().unwrap_or(target).to_owned())
        }
        Rule::Identified(Identity::EnvFile) => item.text().or_else(|| field("path")).map(str::to_owned),
        Rule::Plain
        | Rule::Replace
        | Rule::Pairs
        | Rule::Hosts
        | Rule::Names
        | Rule::Under(_)
        | Rule::MappingOrReplace => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::source::Findings;
    use crate::tree;

    fn show(node: &Node) -> String {
        match &node.value {
            Value::Null => "~".to_owned(),
            Value::Scalar(scalar) => scalar.text.clone(),
            Value::Sequence(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(", ")),
            Value::Mapping(mapping) => {
                let entries: Vec<_> =
                    mapping.iter().map(|(key, entry)| format!("{key}: {}", show(&entry.node))).collect();
                format!("{{{}}}", entries.join(", "))
            }
        }
    }

    /// Merges service bodies and shows the result.
    fn services(bodies: &[&str]) -> String {
        let mut findings = Findings::default();
        let documents = bodies.iter().map(|body| {
            let text = format!("services: {{s: {{{body}}}}}");
            let file = findings.sources.add(Path::new("f"), &text);
            let mut documents = tree::parse(&text, file, &mut findings);
            normalise(documents.remove(0))
        });
        let documents: Vec<_> = documents.collect();
        assert!(!findings.failed(), "{:?}", findings.take());
        let mut merged = documents.into_iter().reduce(merge).unwrap();
        drop_resets(&mut merged);
        show(merged.get("services").unwrap().get("s").unwrap())
    }

    #[test]
    fn merges() {
        let table: &[(&[&str], &str)] = &[
            (&["image: a, user: x", "image: b"], "{image: b, user: x}"),
            (&["environment: [A=1, B=2]", "environment: {B: 3, C: 4}"], "{environment: {A: 1, B: 3, C: 4}}"),
            (&["environment: [A]", "environment: [A=1]"], "{environment: {A: 1}}"),
            (&["ports: ['80:80']", "ports: ['443:443', '80:80/tcp']"], "{ports: [80:80/tcp, 443:443]}"),
            (
                &["ports: ['80:80']", "ports: [{published: '80', target: 80, mode: host}]"],
                "{ports: [{published: 80, target: 80, mode: host}]}",
            ),
            (&["ports: ['127.0.0.1:80:80']", "ports: ['80:80']"], "{ports: [127.0.0.1:80:80, 80:80]}"),
            (&["ports: ['80:80']", "ports: !override ['81:80']"], "{ports: [81:80]}"),
            (&["ports: ['80:80'], image: a", "ports: !reset []"], "{image: a}"),
            (&["image: a", "ports: !reset null"], "{image: a}"),
            (&["ports: ['80:80']", "ports: !reset []", "ports: ['81:81']"], "{ports: [81:81]}"),
            (&["volumes: ['a:/x', 'b:/y']", "volumes: ['c:/x/:ro']"], "{volumes: [c:/x/:ro, b:/y]}"),
            (
                &["volumes: ['a:/x']", "volumes: [{type: bind, source: ./c, target: /x}]"],
                "{volumes: [{type: bind, source: ./c, target: /x}]}",
            ),
            (&["command: [a, b]", "command: [c]"], "{command: [c]}"),
            (
                &["healthcheck: {test: [CMD, a], retries: 3}", "healthcheck: {test: b}"],
                "{healthcheck: {test: b, retries: 3}}",
            ),
            (&["build: ./a", "build: {target: t}"], "{build: {context: ./a, target: t}}"),
            (
                &["build: {context: a, args: [X=1]}", "build: {args: {Y: 2}}"],
                "{build: {context: a, args: {X: 1, Y: 2}}}",
            ),
            (
                &["depends_on: [a]", "depends_on: {b: {condition: service_healthy}}"],
                "{depends_on: {a: ~, b: {condition: service_healthy}}}",
            ),
            (&["networks: [a]", "networks: {a: {aliases: [x]}}"], "{networks: {a: {aliases: [x]}}}"),
            (
                &["env_file: a", "env_file: [b, {path: a, required: false}]"],
                "{env_file: [{path: a, required: false}, b]}",
            ),
            (&["dns: 1.1.1.1", "dns: [1.1.1.1, 8.8.8.8]"], "{dns: [1.1.1.1, 8.8.8.8]}"),
            (
                &["secrets: [a]", "secrets: [{source: a, mode: 0400}, b]"],
                "{secrets: [{source: a, mode: 0400}, b]}",
            ),
            (
                &["ulimits: {nofile: 10}", "ulimits: {nofile: {soft: 1, hard: 2}}"],
                "{ulimits: {nofile: {soft: 1, hard: 2}}}",
            ),
            (
                &["deploy: {resources: {limits: {cpus: 1}}}", "deploy: {resources: {limits: {memory: 1g}}}"],
                "{deploy: {resources: {limits: {cpus: 1, memory: 1g}}}}",
            ),
            (
                &["extra_hosts: ['a:1.1.1.1', 'b=::1']", "extra_hosts: {a: 2.2.2.2}"],
                "{extra_hosts: {a: 2.2.2.2, b: [::1]}}",
            ),
            (&["labels: {a: 1}", "labels: !override {b: 2}"], "{labels: {b: 2}}"),
            (&["image: a, environment: {A: 1}", "environment:"], "{image: a, environment: {A: 1}}"),
        ];
        for (bodies, expected) in table {
            assert_eq!(services(bodies), *expected, "{bodies:?}");
        }
    }
}
