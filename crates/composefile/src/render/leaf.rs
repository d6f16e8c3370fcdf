//! Values that hold no attributes: texts, numbers, sizes, times and lists of them.

use std::time::Duration;

use crate::kind::Kind;
use crate::scalar;
use crate::tree::{Node, Scalar, Value};

use super::Writer;
use super::shape::Shape;
use super::value::{Entry, Out, Within};

impl Writer<'_> {
    fn bad(&mut self, node: &Node, reason: impl Into<String>) -> Option<Out> {
        self.findings.error("bad-value", node.mark, reason);
        None
    }

    /// Writes a value that has no attributes of its own; `None` when it is left out.
    pub(super) fn leaf(&mut self, node: &Node, shape: Shape) -> Option<Out> {
        match shape {
            Shape::Text => Some(Out::Text(node.shown()?.into_owned())),
            Shape::Choice => Some(Out::Flag(self.flag(node)?)),
            Shape::Flag => self.flag(node)?.then_some(Out::Flag(true)),
            Shape::Count => Some(Out::Number(self.number(node)?)),
            Shape::Number => self.number(node).filter(|number| *number != 0).map(Out::Number),
            Shape::Fraction => {
                let Ok(number) = node.shown()?.trim().parse::<f32>() else {
                    return self.bad(node, format!("`{}` is not a number", node.shown()?));
                };
                (number != 0.0).then_some(Out::Fraction(number))
            }
            Shape::Bytes => {
                let size = match node.integer() {
                    Some(size) => size,
                    None => match scalar::bytes(&node.shown()?) {
                        Ok(size) => i64::try_from(size).unwrap_or(i64::MAX),
                        Err(reason) => return self.bad(node, reason),
                    },
                };
                (size != 0).then(|| Out::Text(size.to_string()))
            }
            Shape::Time | Shape::Duration => match scalar::duration(&node.shown()?) {
                Ok(time) if time.is_zero() && matches!(shape, Shape::Time) => None,
                Ok(time) => Some(Out::Text(written_time(time))),
                Err(reason) => self.bad(node, reason),
            },
            Shape::Command => self.command(node),
            Shape::Test => match node.text() {
                Some(text) => Some(texts(["CMD-SHELL".to_owned(), text.to_owned()])),
                None => Some(texts(node.items()?.iter().filter_map(shown))),
            },
            Shape::Texts => match shown(node) {
                Some(text) => Some(texts([text])),
                None => Some(texts(node.items()?.iter().filter_map(shown))),
            },
            Shape::Pairs | Shape::Variables => self.pairs(node, matches!(shape, Shape::Variables)),
            Shape::Several => {
                let each = node.mapping()?.iter().map(|(name, entry)| {
                    let values = match shown(&entry.node) {
                        Some(text) => vec![text],
                        None => entry.node.items().unwrap_or_default().iter().filter_map(shown).collect(),
                    };
                    (name.clone(), texts(values))
                });
                Some(Out::Map(each.collect()))
            }
            Shape::Hosts => self.hosts(node),
            Shape::Mode => {
                let mode = match (node.integer(), node.string()) {
                    (Some(mode), _) => mode,
                    (None, Some(text)) => match i64::from_str_radix(text, 8) {
                        Ok(mode) => mode,
                        Err(_) => return self.bad(node, format!("`{text}` is not a mode such as `0440`")),
                    },
                    (None, None) => return self.bad(node, "a mode is a number such as `0440`"),
                };
                Some(Out::Text(format!("0{mode:o}")))
            }
            Shape::Ulimit => self.ulimit(node),
            Shape::EnvFile => {
                let path = Out::Text(node.get("path").and_then(shown)?);
                if node.get("required").and_then(Node::truth) != Some(false) {
                    return Some(path);
                }
                let mut file = vec![both("path", path), both("required", Out::Flag(false))];
                if let Some(format) = node.get("format").and_then(shown) {
                    file.push(Entry { within: Within::Json, ..both("format", Out::Text(format)) });
                }
                Some(Out::Struct(file))
            }
            Shape::Keys => {
                let keys = node.mapping()?.iter().map(|(id, entry)| match shown(&entry.node) {
                    Some(path) => format!("{id}: {path}"),
                    None => id.clone(),
                });
                Some(texts(keys))
            }
            Shape::Devices => match node.shown()?.to_lowercase().as_str() {
                "all" => Some(Out::Number(-1)),
                _ => self.number(node).filter(|number| *number != 0).map(Out::Number),
            },
            Shape::List(_) | Shape::Map(_) | Shape::Struct(_) => None,
        }
    }

    fn flag(&mut self, node: &Node) -> Option<bool> {
        if let Some(truth) = node.truth() {
            return Some(truth);
        }
        match node.shown()?.to_lowercase().as_str() {
            "true" | "y" | "yes" | "on" => Some(true),
            "false" | "n" | "no" | "off" => Some(false),
            other => {
                self.bad(node, format!("`{other}` is neither `true` nor `false`"));
                None
            }
        }
    }

    fn number(&mut self, node: &Node) -> Option<i64> {
        if let Value::Scalar(Scalar { kind: Kind::Float(number), .. }) = node.value {
            return Some(number as i64);
        }
        let number = node.integer().or_else(|| node.shown()?.parse().ok());
        if number.is_none() {
            self.bad(node, format!("`{}` is not a whole number", node.shown().unwrap_or_default()));
        }
        number
    }

    fn command(&mut self, node: &Node) -> Option<Out> {
        match node.text() {
            Some(text) => match scalar::words(text) {
                Ok(words) => Some(texts(words)),
                Err(reason) => self.bad(node, reason),
            },
            None => Some(texts(node.items()?.iter().filter_map(shown))),
        }
    }

    /// `NAME=value` or a mapping; a name without value has none, or the empty one.
    fn pairs(&mut self, node: &Node, keep: bool) -> Option<Out> {
        let empty = || if keep { Out::Null } else { Out::Text(String::new()) };
        let mut pairs = indexmap::IndexMap::new();
        if let Some(mapping) = node.mapping() {
            for (name, entry) in mapping {
                pairs.insert(name.clone(), shown(&entry.node).map_or_else(empty, Out::Text));
            }
        } else {
            for item in node.items()? {
                let text = shown(item)?;
                let (name, value) = match text.split_once('=') {
                    Some((name, value)) => (name, Out::Text(value.to_owned())),
                    None => (text.as_str(), empty()),
                };
                if keep && name.ends_with(char::is_whitespace) {
                    return self.bad(item, format!("variable `{name}` ends with a blank"));
                }
                pairs.insert(name.to_owned(), value);
            }
        }
        Some(Out::Map(pairs.into_iter().collect()))
    }

    fn hosts(&mut self, node: &Node) -> Option<Out> {
        let mut lines = Vec::new();
        let mut add = |name: &str, address: &str| {
            let bare = address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
            lines.push(format!("{name}={}", bare.unwrap_or(address)));
        };
        let mut fault = None;
        if let Some(mapping) = node.mapping() {
            for (name, entry) in mapping {
                match entry.node.items() {
                    Some(items) => {
                        items.iter().filter_map(Node::shown).for_each(|address| add(name, &address));
                    }
                    None => add(name, &entry.node.shown().unwrap_or_default()),
                }
                if name.is_empty() || name.contains([':', '=']) {
                    fault = Some((node, format!("`{name}` is no host name")));
                }
            }
        } else {
            for item in node.items()? {
                let text = shown(item)?;
                match text.split_once('=').or_else(|| text.split_once(':')) {
                    Some((name, addresses)) => {
                        addresses.split(',').for_each(|address| add(name, address));
                        if name.is_empty() || name.contains([':', '=']) {
                            fault = Some((item, format!("`{name}` is no host name")));
                        }
                    }
                    None => fault = Some((item, format!("`{text}` has no address"))),
                }
            }
        }
        if let Some((node, reason)) = fault {
            return self.bad(node, reason);
        }
        lines.sort();
        Some(texts(lines))
    }

    fn ulimit(&mut self, node: &Node) -> Option<Out> {
        let (mut soft, mut hard) = (0, 0);
        if node.mapping().is_some() {
            soft = node.get("soft").and_then(|node| self.number(node)).unwrap_or_default();
            hard = node.get("hard").and_then(|node| self.number(node)).unwrap_or_default();
        } else {
            let number = self.number(node)?;
            if number != 0 {
                return Some(Out::Number(number));
            }
        }
        let within = |number: i64| if number == 0 { Within::Yaml } else { Within::Both };
        Some(Out::Struct(vec![
            Entry { within: within(soft), ..both("soft", Out::Number(soft)) },
            Entry { within: within(hard), ..both("hard", Out::Number(hard)) },
        ]))
    }
}

fn both(name: &'static str, value: Out) -> Entry {
    Entry { name: name.to_owned(), json: name, value, within: Within::Both }
}

fn shown(node: &Node) -> Option<String> {
    node.shown().map(std::borrow::Cow::into_owned)
}

fn texts(items: impl IntoIterator<Item = String>) -> Out {
    Out::List(items.into_iter().map(Out::Text).collect())
}

/// Returns a time as Go writes it: `1m30s`, `1.5s`, `100ms`, `0s`.
fn written_time(time: Duration) -> String {
    let nanos = time.as_nanos();
    let fraction = |whole: u128, unit: u128| {
        let rest = format!("{:0width$}", whole % unit, width = unit.ilog10() as usize);
        let rest = rest.trim_end_matches('0');
        let dot = if rest.is_empty() { "" } else { "." };
        format!("{}{dot}{rest}", whole / unit)
    };
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}µs", fraction(nanos, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", fraction(nanos, 1_000_000)),
        _ => {
            let minutes = nanos / 60_000_000_000;
            let seconds = fraction(nanos % 60_000_000_000, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_go_writes_them() {
        let table = [(0, "0s"), (90_000, "1m30s"), (1_500, "1.5s"), (100, "100ms"), (3_600_000, "1h0m0s")];
        for (millis, text) in table {
            assert_eq!(written_time(Duration::from_millis(millis)), text);
        }
    }
}
