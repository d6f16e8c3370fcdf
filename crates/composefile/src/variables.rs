//! The variables that a project's values refer to, with their defaults.

use std::collections::BTreeMap;

use crate::tree::{Node, Value};

/// How a variable is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variable {
    /// Whether it must have a value.
    pub required: bool,
    /// What stands for it when it has none.
    pub default: String,
    /// What stands for it when it has one.
    pub alternative: String,
}

/// Returns the variables below a node; the last use of each counts.
pub(crate) fn of(node: &Node) -> BTreeMap<String, Variable> {
    let mut found = BTreeMap::new();
    collect(node, &mut found);
    found
}

fn collect(node: &Node, found: &mut BTreeMap<String, Variable>) {
    match &node.value {
        Value::Null => {}
        Value::Scalar(scalar) => collect_text(&scalar.text, found, 0),
        Value::Sequence(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Mapping(mapping) => mapping.values().for_each(|entry| collect(&entry.node, found)),
    }
}

fn collect_text(text: &str, found: &mut BTreeMap<String, Variable>, depth: usize) {
    let mut rest = text;
    while let Some(at) = rest.find('$').filter(|_| depth < 32) {
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            rest = after;
            continue;
        }
        let braced = rest.strip_prefix('{');
        let start = braced.unwrap_or(rest);
        let length = start.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(start.len());
        let (name, behind) = start.split_at(length);
        if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
            continue;
        }
        if braced.is_none() {
            found.insert(name.to_owned(), Variable::default());
            rest = behind;
            continue;
        }
        let end = closing(behind);
        let (word, after) = (&behind[..end], &behind[(end + 1).min(behind.len())..]);
        let bare = word.strip_prefix(':').unwrap_or(word);
        let mut variable = Variable::default();
        match bare.chars().next() {
            Some('?') => variable.required = true,
            Some('-') => bare[1..].clone_into(&mut variable.default),
            Some('+') => bare[1..].clone_into(&mut variable.alternative),
            _ => {}
        }
        let inner = format!("{}{}", variable.default, variable.alternative);
        found.insert(name.to_owned(), variable);
        collect_text(&inner, found, depth + 1);
        rest = after;
    }
}

/// Returns where the brace stands that closes a word, or its end.
fn closing(text: &str) -> usize {
    let mut open = 0usize;
    for (at, character) in text.char_indices() {
        match character {
            '{' => open += 1,
            '}' if open == 0 => return at,
            '}' => open -= 1,
            _ => {}
        }
    }
    text.len()
}
