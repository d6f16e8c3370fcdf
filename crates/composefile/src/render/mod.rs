//! A project as text: the canonical form that Docker Compose prints, in YAML or JSON.

mod json;
mod leaf;
mod shape;
mod value;
mod yaml;

use crate::source::Findings;
use crate::tree::{Mapping, Node, Value};

use shape::{Attribute, Kept, Shape};
use value::{Entry, Out, Within};

/// The format of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// YAML.
    Yaml,
    /// JSON, indented.
    Json,
}

/// The sections of a project behind its services, in their order in YAML.
const SECTIONS: &[(&str, &[Attribute])] = &[
    ("networks", shape::NETWORK),
    ("volumes", shape::VOLUME),
    ("secrets", shape::FILE_OBJECT),
    ("configs", shape::FILE_OBJECT),
    ("models", shape::MODEL),
];

/// Returns a project as its attributes' types have it; values that are not of their type are findings.
pub(crate) fn project(root: &Node, format: Format, findings: &mut Findings) -> String {
    let mut writer = Writer { findings };
    let mut out = Vec::new();
    if let Some(name) =
        root.get("name").and_then(Node::text).filter(|name| !name.is_empty() || format == Format::Json)
    {
        out.push(entry("name", Out::Text(name.to_owned())));
    }
    let services = root.get("services").and_then(Node::mapping);
    let services = services
        .into_iter()
        .flatten()
        .map(|(name, entry)| (name.clone(), writer.structure(&entry.node, shape::SERVICE)));
    let services: Vec<_> = services.collect();
    out.push(entry("services", Out::Map(services)));
    for (section, attributes) in SECTIONS {
        let Some(objects) = root.get(section).and_then(Node::mapping).filter(|objects| !objects.is_empty())
        else {
            continue;
        };
        let each = objects.iter().map(|(name, entry)| {
            (name.clone(), writer.structure(&without_content(section, &entry.node), attributes))
        });
        let value = Out::Map(each.collect());
        // Docker Compose writes no models into JSON.
        let within = if *section == "models" { Within::Yaml } else { Within::Both };
        out.push(Entry { within, ..entry(section, value) });
    }
    let extensions = root.mapping().into_iter().flatten().filter(|(key, _)| key.starts_with("x-"));
    let mut extensions: Vec<_> =
        extensions.map(|(key, entry)| (key.clone(), Out::plain(&entry.node))).collect();
    extensions.sort_by(|a, b| a.0.cmp(&b.0));
    match format {
        Format::Yaml => {
            out.extend(extensions.into_iter().map(|(key, value)| named(key, value, Within::Yaml)));
            yaml::write(&Out::Struct(out))
        }
        Format::Json => {
            let shown = out.into_iter().filter(|entry| entry.within != Within::Yaml);
            let all = shown.map(|entry| (entry.name, entry.value)).chain(extensions);
            json::write(&Out::Map(all.collect()), true)
        }
    }
}

/// Returns a tree as it is.
pub(crate) fn tree(root: &Node, format: Format) -> String {
    match format {
        Format::Yaml => yaml::write(&Out::plain(root)),
        Format::Json => json::write(&Out::plain(root), true),
    }
}

/// Returns what a service's hash is made of: all but what does not concern its containers.
pub(crate) fn hashed(service: &Node, findings: &mut Findings) -> String {
    let mut service = service.clone();
    if let Some(mapping) = service.mapping_mut() {
        for key in ["build", "pull_policy", "scale", "depends_on", "profiles"] {
            mapping.shift_remove(key);
        }
        if let Some(deploy) = mapping.get_mut("deploy").and_then(|entry| entry.node.mapping_mut()) {
            deploy.shift_remove("replicas");
        }
    }
    json::write(&Writer { findings }.structure(&service, shape::SERVICE), false)
}

/// A secret's content is not shown, nor that of a configuration that a variable holds.
fn without_content(section: &str, node: &Node) -> Node {
    let mut node = node.clone();
    let from_variable = node.get("environment").and_then(Node::text).is_some_and(|name| !name.is_empty());
    if (section == "secrets" || (section == "configs" && from_variable))
        && let Some(object) = node.mapping_mut()
    {
        object.shift_remove("content");
    }
    node
}

fn entry(name: &'static str, value: Out) -> Entry {
    Entry { name: name.to_owned(), json: name, value, within: Within::Both }
}

fn named(name: String, value: Out, within: Within) -> Entry {
    Entry { name, json: "", value, within }
}

struct Writer<'w> {
    findings: &'w mut Findings,
}

impl Writer<'_> {
    /// Writes a mapping by its attributes.
    fn structure(&mut self, node: &Node, attributes: &[Attribute]) -> Out {
        let nothing = Mapping::new();
        let mapping = node.mapping().unwrap_or(&nothing);
        let mut out = Vec::new();
        for attribute in attributes {
            let given = mapping.get(attribute.name).map(|entry| &entry.node);
            let given = given.filter(|node| !matches!(node.value, Value::Null));
            let value = given.and_then(|node| self.value(node, attribute.shape));
            let (value, within) = match (value, attribute.kept) {
                (Some(value), Kept::Json) => {
                    let empty = matches!(&value, Out::Struct(entries)
                        if entries.iter().all(|entry| entry.within == Within::Json));
                    (value, if empty { Within::Json } else { Within::Both })
                }
                (Some(value), Kept::Never) if is_empty(&value) => continue,
                (Some(value), Kept::Given | Kept::Always | Kept::Never) => (value, Within::Both),
                (None, Kept::Json) => (self.nothing(node, attribute.shape), Within::Json),
                (None, Kept::Always) => (self.nothing(node, attribute.shape), Within::Both),
                (None, Kept::Never | Kept::Given) => continue,
            };
            out.push(Entry { name: attribute.name.to_owned(), json: attribute.json, value, within });
        }
        let mut extensions: Vec<_> = mapping.iter().filter(|(key, _)| key.starts_with("x-")).collect();
        extensions.sort_by(|a, b| a.0.cmp(b.0));
        out.extend(
            extensions
                .into_iter()
                .map(|(key, entry)| named(key.clone(), Out::plain(&entry.node), Within::Yaml)),
        );
        Out::Struct(out)
    }

    /// Returns what stands for an attribute that is not given.
    fn nothing(&mut self, place: &Node, shape: Shape) -> Out {
        match shape {
            Shape::Struct(attributes) => {
                self.structure(&place.beside(Value::Mapping(Mapping::new())), attributes)
            }
            Shape::Text => Out::Text(String::new()),
            Shape::Bytes => Out::Text("0".to_owned()),
            Shape::Count | Shape::Number => Out::Number(0),
            Shape::Choice | Shape::Flag => Out::Flag(false),
            _ => Out::Null,
        }
    }

    /// Writes a value; `None` when it is left out.
    fn value(&mut self, node: &Node, shape: Shape) -> Option<Out> {
        Some(match shape {
            Shape::Struct(attributes) => self.structure(node, attributes),
            Shape::List(inner) => {
                let items = node.items()?;
                Out::List(items.iter().filter_map(|item| self.value(item, *inner)).collect())
            }
            Shape::Map(inner) => {
                let entries = node.mapping()?.iter().map(|(name, entry)| {
                    let value = match entry.node.value {
                        Value::Null => Out::Null,
                        _ => self.value(&entry.node, *inner).unwrap_or(Out::Null),
                    };
                    (name.clone(), value)
                });
                Out::Map(entries.collect())
            }
            _ => return self.leaf(node, shape),
        })
    }
}

fn is_empty(value: &Out) -> bool {
    match value {
        Out::Null => true,
        Out::Flag(_) | Out::Number(_) | Out::Fraction(_) | Out::Double(_) | Out::Struct(_) => false,
        Out::Text(text) => text.is_empty(),
        Out::List(items) => items.is_empty(),
        Out::Map(entries) => entries.is_empty(),
    }
}
