//! What is written: a value with its keys in order, before it is JSON or YAML.

use crate::kind::Kind;
use crate::tree::{Node, Value};

/// A value that is written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Out {
    Null,
    Flag(bool),
    Number(i64),
    Fraction(f32),
    Double(f64),
    Text(String),
    List(Vec<Out>),
    /// Names of the user, sorted when they are written.
    Map(Vec<(String, Out)>),
    /// Attributes in their own order.
    Struct(Vec<Entry>),
}

/// An attribute with its names in both formats.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) json: &'static str,
    pub(super) value: Out,
    /// Which formats it is in.
    pub(super) within: Within,
}

/// The formats that an attribute is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Within {
    Both,
    Json,
    Yaml,
}

impl Out {
    /// Returns a value as it stands in the tree.
    pub(super) fn plain(node: &Node) -> Self {
        match &node.value {
            Value::Null => Self::Null,
            Value::Sequence(items) => Self::List(items.iter().map(Self::plain).collect()),
            Value::Mapping(mapping) => {
                let entries = mapping.iter().map(|(key, entry)| (key.clone(), Self::plain(&entry.node)));
                Self::Map(entries.collect())
            }
            Value::Scalar(scalar) => match scalar.kind {
                Kind::Text => Self::Text(scalar.text.clone()),
                Kind::Integer(number) => Self::Number(number),
                Kind::Boolean(truth) => Self::Flag(truth),
                Kind::Float(number) => Self::Double(number),
                Kind::Single(number) => Self::Fraction(number),
            },
        }
    }
}
