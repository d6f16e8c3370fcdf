//! Reading typed values out of the tree: shapes are checked, unknown keys are errors with the near name as a hint.

use std::collections::HashSet;

use coracle_report::Hint;
use indexmap::IndexMap;

use crate::scalar;
use crate::source::{Findings, Mark};
use crate::tree::{Mapping, Node, Value};

/// A value and the path that leads to it, for messages.
#[derive(Clone, Debug)]
pub(crate) struct Field<'n> {
    pub(crate) node: &'n Node,
    pub(crate) path: String,
    /// The place of the key, or of the value when it is an item of a list.
    pub(crate) key: Mark,
}

impl<'n> Field<'n> {
    fn wrong(&self, expected: &str, findings: &mut Findings) {
        let message = format!("{} must be {expected}, not {}", self.path, self.node.kind());
        findings.error("wrong-type", self.node.mark, message);
    }

    /// Adds an error about the value.
    pub(crate) fn bad<'f>(
        &self,
        findings: &'f mut Findings,
        reason: &str,
    ) -> &'f mut coracle_report::Diagnostic {
        findings.error("bad-value", self.node.mark, format!("{}: {reason}", self.path))
    }

    /// Reads a single value as text.
    pub(crate) fn text(&self, findings: &mut Findings) -> Option<&'n str> {
        let text = self.node.text();
        if text.is_none() {
            self.wrong("a single value", findings);
        }
        text
    }

    /// Reads a single value by `read`, whose error becomes the message.
    pub(crate) fn parse<T>(
        &self,
        findings: &mut Findings,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        match read(self.text(findings)?) {
            Ok(value) => Some(value),
            Err(reason) => {
                self.bad(findings, &reason);
                None
            }
        }
    }

    /// Reads a boolean.
    pub(crate) fn boolean(&self, findings: &mut Findings) -> bool {
        self.parse(findings, scalar::boolean).unwrap_or_default()
    }

    /// Reads a whole number.
    pub(crate) fn number<T: std::str::FromStr>(&self, findings: &mut Findings) -> Option<T> {
        self.parse(findings, |text| text.parse().map_err(|_| format!("`{text}` is not a number in range")))
    }

    /// Reads a list.
    pub(crate) fn list(&self, findings: &mut Findings) -> Vec<Field<'n>> {
        let Value::Sequence(items) = &self.node.value else {
            self.wrong("a list", findings);
            return Vec::new();
        };
        let item = |(index, node): (usize, &'n Node)| Field {
            node,
            path: format!("{}[{index}]", self.path),
            key: node.mark,
        };
        items.iter().enumerate().map(item).collect()
    }

    /// Reads a list of texts; a single text is a list of one.
    pub(crate) fn texts(&self, findings: &mut Findings) -> Vec<String> {
        match self.node.text() {
            Some(text) => vec![text.to_owned()],
            None => {
                self.list(findings).iter().filter_map(|item| item.text(findings).map(str::to_owned)).collect()
            }
        }
    }

    /// Reads a mapping.
    pub(crate) fn mapping(&self, findings: &mut Findings) -> Option<Fields<'n>> {
        match &self.node.value {
            Value::Mapping(mapping) => Some(Fields::new(mapping, self.path.clone())),
            Value::Null | Value::Scalar(_) | Value::Sequence(_) => {
                self.wrong("a mapping", findings);
                None
            }
        }
    }

    /// Reads a mapping whose keys are the user's names; nothing there is an empty one.
    pub(crate) fn entries(&self, findings: &mut Findings) -> Vec<(&'n str, Field<'n>)> {
        let mapping = match &self.node.value {
            Value::Mapping(mapping) => mapping,
            Value::Null => return Vec::new(),
            Value::Scalar(_) | Value::Sequence(_) => {
                self.wrong("a mapping", findings);
                return Vec::new();
            }
        };
        let entry = |(name, entry): (&'n String, &'n crate::tree::Entry)| {
            let path = format!("{}.{name}", self.path);
            (name.as_str(), Field { node: &entry.node, path, key: entry.key })
        };
        mapping.iter().map(entry).collect()
    }

    /// Reads `NAME: value` pairs, which the merge has brought into a mapping; `None` is a name without value.
    pub(crate) fn pairs(&self, findings: &mut Findings) -> IndexMap<String, Option<String>> {
        if matches!(self.node.value, Value::Scalar(_) | Value::Sequence(_)) {
            let message = format!(
                "{} must be a mapping or a list of `NAME=value`, not {}",
                self.path,
                self.node.kind()
            );
            findings.error("wrong-type", self.node.mark, message);
            return IndexMap::new();
        }
        let mut pairs = IndexMap::new();
        for (name, field) in self.entries(findings) {
            let value = match field.node.value {
                Value::Null => None,
                Value::Scalar(_) | Value::Sequence(_) | Value::Mapping(_) => match field.text(findings) {
                    Some(text) => Some(text.to_owned()),
                    None => continue,
                },
            };
            pairs.insert(name.to_owned(), value);
        }
        pairs
    }

    /// Reads pairs where a name without value has the empty one.
    pub(crate) fn filled_pairs(&self, findings: &mut Findings) -> IndexMap<String, String> {
        self.pairs(findings).into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect()
    }
}

/// The keys of one mapping, taken one by one; what is left at the end is unknown.
#[derive(Debug)]
pub(crate) struct Fields<'n> {
    mapping: &'n Mapping,
    path: String,
    known: Vec<&'static str>,
    taken: HashSet<&'static str>,
}

impl<'n> Fields<'n> {
    pub(crate) fn new(mapping: &'n Mapping, path: String) -> Self {
        Self { mapping, path, known: Vec::new(), taken: HashSet::new() }
    }

    /// Takes the value of `key`; `None` when it is absent or empty.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<Field<'n>> {
        self.take_even_empty(key).filter(|field| !matches!(field.node.value, Value::Null))
    }

    /// Takes the value of `key`, also when nothing stands behind it.
    pub(crate) fn take_even_empty(&mut self, key: &'static str) -> Option<Field<'n>> {
        self.known.push(key);
        self.taken.insert(key);
        let entry = self.mapping.get(key)?;
        Some(Field { node: &entry.node, path: self.path_of(key), key: entry.key })
    }

    /// Looks at the value of `key` without taking it.
    pub(crate) fn peek(&self, key: &str) -> Option<Field<'n>> {
        let entry = self.mapping.get(key)?;
        Some(Field { node: &entry.node, path: self.path_of(key), key: entry.key })
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Reads a text.
    pub(crate) fn text(&mut self, key: &'static str, findings: &mut Findings) -> Option<String> {
        self.take(key)?.text(findings).map(str::to_owned)
    }

    /// Reads a boolean, false when absent.
    pub(crate) fn boolean(&mut self, key: &'static str, findings: &mut Findings) -> bool {
        self.take(key).is_some_and(|field| field.boolean(findings))
    }

    /// Reads texts, none when absent.
    pub(crate) fn texts(&mut self, key: &'static str, findings: &mut Findings) -> Vec<String> {
        self.take(key).map(|field| field.texts(findings)).unwrap_or_default()
    }

    /// Ends the reading: `x-` keys are returned, those that nobody took become warnings, within our own extension
    /// errors.
    pub(crate) fn finish(
        self,
        later: &[&str],
        findings: &mut Findings,
    ) -> IndexMap<String, serde_json::Value> {
        let mut extensions = IndexMap::new();
        for (name, entry) in self.mapping {
            if self.taken.contains(name.as_str()) {
                continue;
            }
            if name.starts_with("x-") {
                extensions.insert(name.clone(), json(&entry.node));
            } else if later.contains(&name.as_str()) || !self.path.contains(".x-") {
                // The schema holds already: what is not taken is known to the specification.
                let message = format!("{} is not honoured yet; it is ignored", self.path_of(name));
                findings.warning("not-honoured", entry.key, message);
            } else {
                let place = if self.path.is_empty() { String::new() } else { format!(" in {}", self.path) };
                let error = findings.error("unknown-key", entry.key, format!("unknown key `{name}`{place}"));
                let candidates = self.known.iter().chain(later).copied();
                if let Some(near) = scalar::nearest(name, candidates) {
                    error.hints.push(Hint(format!("did you mean `{near}`?")));
                }
            }
        }
        extensions
    }
}

/// Returns the plain data of a node; scalars written plain become numbers and booleans where they look so.
fn json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Sequence(items) => items.iter().map(json).collect(),
        Value::Mapping(mapping) => {
            mapping.iter().map(|(name, entry)| (name.clone(), json(&entry.node))).collect()
        }
        Value::Scalar(scalar) => match (scalar.style, scalar.text.as_str()) {
            (crate::tree::Style::Plain, "true" | "True" | "TRUE") => true.into(),
            (crate::tree::Style::Plain, "false" | "False" | "FALSE") => false.into(),
            (crate::tree::Style::Plain, text) => {
                text.parse::<serde_json::Number>().map_or_else(|_| text.into(), serde_json::Value::Number)
            }
            (crate::tree::Style::Quoted | crate::tree::Style::Block, text) => text.into(),
        },
    }
}
