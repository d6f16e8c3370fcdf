//! What a value of the tree is asked for, and what it prints as.

use crate::kind::Kind;
use crate::source::Mark;
use crate::tree::{Mapping, Node, Scalar, Value};

impl Node {
    pub(crate) fn scalar(mark: Mark, text: impl Into<String>) -> Self {
        Self { mark, value: Value::Scalar(Scalar::quoted(text)), tag: None }
    }

    /// Returns the text of a scalar.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) => Some(&scalar.text),
            Value::Null | Value::Sequence(_) | Value::Mapping(_) => None,
        }
    }

    /// Returns the mapping.
    pub(crate) fn mapping(&self) -> Option<&Mapping> {
        match &self.value {
            Value::Mapping(mapping) => Some(mapping),
            Value::Null | Value::Scalar(_) | Value::Sequence(_) => None,
        }
    }

    /// Returns the value under `key` of a mapping.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.mapping()?.get(key).map(|entry| &entry.node)
    }

    /// Returns the mapping, to be changed.
    pub(crate) fn mapping_mut(&mut self) -> Option<&mut Mapping> {
        match &mut self.value {
            Value::Mapping(mapping) => Some(mapping),
            Value::Null | Value::Scalar(_) | Value::Sequence(_) => None,
        }
    }

    /// Returns the items of a list.
    pub(crate) fn items(&self) -> Option<&[Self]> {
        match &self.value {
            Value::Sequence(items) => Some(items),
            Value::Null | Value::Scalar(_) | Value::Mapping(_) => None,
        }
    }

    /// Returns the value under `key` of a mapping, to be changed.
    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        Some(&mut self.mapping_mut()?.get_mut(key)?.node)
    }

    /// Returns a value at the place of this one.
    pub(crate) fn beside(&self, value: Value) -> Self {
        Self { mark: self.mark, value, tag: None }
    }

    /// Returns a scalar as it prints: a number in decimal, a boolean as `true` or `false`.
    pub(crate) fn shown(&self) -> Option<std::borrow::Cow<'_, str>> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar.kind.shown(&scalar.text)),
            Value::Null | Value::Sequence(_) | Value::Mapping(_) => None,
        }
    }

    /// Returns the whole number.
    pub(crate) fn integer(&self) -> Option<i64> {
        match &self.value {
            Value::Scalar(Scalar { kind: Kind::Integer(number), .. }) => Some(*number),
            _ => None,
        }
    }

    /// Returns the boolean.
    pub(crate) fn truth(&self) -> Option<bool> {
        match &self.value {
            Value::Scalar(Scalar { kind: Kind::Boolean(truth), .. }) => Some(*truth),
            _ => None,
        }
    }

    /// Returns text that YAML takes for text.
    pub(crate) fn string(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(Scalar { kind: Kind::Text, text, .. }) => Some(text),
            _ => None,
        }
    }

    /// Says whether both hold the same, wherever they stand.
    pub(crate) fn same(&self, other: &Self) -> bool {
        match (&self.value, &other.value) {
            (Value::Null, Value::Null) => true,
            (Value::Scalar(_), Value::Scalar(_)) => {
                self.string().is_some() == other.string().is_some() && self.shown() == other.shown()
            }
            (Value::Sequence(a), Value::Sequence(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b))
            }
            (Value::Mapping(a), Value::Mapping(b)) => {
                a.len() == b.len()
                    && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| a.node.same(&b.node)))
            }
            _ => false,
        }
    }

    /// Returns what the value is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "empty",
            Value::Scalar(_) => "a single value",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }

    /// Returns the number of values.
    pub(crate) fn count(&self) -> usize {
        1 + match &self.value {
            Value::Null | Value::Scalar(_) => 0,
            Value::Sequence(items) => items.iter().map(Self::count).sum(),
            Value::Mapping(mapping) => mapping.values().map(|entry| entry.node.count()).sum(),
        }
    }

    /// Returns the levels of values, itself counted.
    pub(crate) fn depth(&self) -> usize {
        1 + match &self.value {
            Value::Null | Value::Scalar(_) => 0,
            Value::Sequence(items) => items.iter().map(Self::depth).max().unwrap_or(0),
            Value::Mapping(mapping) => mapping.values().map(|entry| entry.node.depth()).max().unwrap_or(0),
        }
    }
}
