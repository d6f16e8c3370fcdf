//! Values of the language, their conversions and their text.

use std::collections::BTreeMap;

/// A value: what an expression gives.
///
/// Numbers are 64-bit floating point: whole numbers are exact up to 2^53. Maps are in the order of their keys, as the
/// language demands.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A number.
    Number(f64),
    /// A text.
    String(String),
    /// Values in order (lists and tuples).
    List(Vec<Value>),
    /// Values in their order, each once.
    Set(Vec<Value>),
    /// Values by name (maps and objects).
    Map(BTreeMap<String, Value>),
}

impl Value {
    /// Returns a text value.
    pub fn text(text: impl Into<String>) -> Self {
        Self::String(text.into())
    }

    /// Returns a set of `values`: sorted, each once.
    pub fn set(values: Vec<Value>) -> Self {
        let mut values = values;
        values.sort_by_key(Self::order);
        values.dedup();
        Self::Set(values)
    }

    fn order(&self) -> (u8, OrderedNumber, String) {
        let text = |value: &Self| value.to_json().to_string();
        match self {
            Self::Number(number) => (1, OrderedNumber(*number), String::new()),
            Self::String(value) => (2, OrderedNumber(0.0), value.clone()),
            Self::Null | Self::Bool(_) => (0, OrderedNumber(0.0), text(self)),
            Self::List(_) | Self::Set(_) | Self::Map(_) => (3, OrderedNumber(0.0), text(self)),
        }
    }

    /// Returns the name of the value's type.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Number(_) => "number",
            Self::String(_) => "string",
            Self::List(_) => "list",
            Self::Set(_) => "set",
            Self::Map(_) => "map",
        }
    }

    /// Returns the value as text; `None` for what has none (null and collections).
    pub fn as_text(&self) -> Option<String> {
        match self {
            Self::Bool(value) => Some(value.to_string()),
            Self::Number(value) => Some(number_text(*value)),
            Self::String(value) => Some(value.clone()),
            Self::Null | Self::List(_) | Self::Set(_) | Self::Map(_) => None,
        }
    }

    /// Returns the value as a number; texts that are numbers count.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(value) => Some(*value),
            Self::String(text) => text.parse().ok().filter(|number: &f64| number.is_finite()),
            _ => None,
        }
    }

    /// Returns the value as a truth value; the texts `true`, `false`, `1` and `0` count.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            Self::String(text) => match text.as_str() {
                "true" | "1" => Some(true),
                "false" | "0" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns the elements of a list or set.
    pub fn as_items(&self) -> Option<&[Value]> {
        match self {
            Self::List(items) | Self::Set(items) => Some(items),
            _ => None,
        }
    }

    /// Returns how much the value weighs: its elements and its bytes of text, so that work can be bounded.
    pub fn weight(&self) -> u64 {
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) => 1,
            Self::String(text) => 1 + text.len() as u64,
            Self::List(items) | Self::Set(items) => 1 + items.iter().map(Self::weight).sum::<u64>(),
            Self::Map(map) => {
                1 + map.iter().map(|(name, value)| name.len() as u64 + value.weight()).sum::<u64>()
            }
        }
    }

    /// Returns the value as JSON.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(value) => (*value).into(),
            Self::Number(value) if is_whole(*value) => (*value as i64).into(),
            Self::Number(value) => (*value).into(),
            Self::String(text) => text.clone().into(),
            Self::List(items) | Self::Set(items) => items.iter().map(Self::to_json).collect(),
            Self::Map(map) => {
                let pairs = map.iter().map(|(name, value)| (name.clone(), value.to_json()));
                serde_json::Value::Object(pairs.collect())
            }
        }
    }

    /// Returns the value of JSON.
    pub fn from_json(json: &serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(*value),
            serde_json::Value::Number(number) => Self::Number(number.as_f64().unwrap_or(0.0)),
            serde_json::Value::String(text) => Self::text(text),
            serde_json::Value::Array(items) => Self::List(items.iter().map(Self::from_json).collect()),
            serde_json::Value::Object(map) => {
                Self::Map(map.iter().map(|(name, value)| (name.clone(), Self::from_json(value))).collect())
            }
        }
    }
}

/// Whether a number is whole and exact.
pub(crate) fn is_whole(number: f64) -> bool {
    number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0
}

/// Writes a number without exponent.
pub(crate) fn number_text(number: f64) -> String {
    if is_whole(number) { (number as i64).to_string() } else { number.to_string() }
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct OrderedNumber(f64);

impl Eq for OrderedNumber {}

impl PartialOrd for OrderedNumber {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for OrderedNumber {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}
