//! A template's tree with a value to text, by the rules of Go's `text/template`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::functions;
use super::parse::{Node, Operand, Pipe};

/// The largest text that is written: a template cannot fill the memory.
const LARGEST: usize = 64 << 20;

/// Writes a value by a template.
pub fn render(nodes: &[Node], value: &Value) -> Result<String, String> {
    let mut scope = Scope { root: value, variables: BTreeMap::new(), out: String::new() };
    scope.block(nodes, value)?;
    Ok(scope.out)
}

struct Scope<'v> {
    root: &'v Value,
    variables: BTreeMap<String, Value>,
    out: String,
}

impl Scope<'_> {
    fn block(&mut self, nodes: &[Node], dot: &Value) -> Result<(), String> {
        nodes.iter().try_for_each(|node| self.node(node, dot))
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<(), String> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Value(pipe) => {
                let value = self.pipe(pipe, dot)?;
                self.out.push_str(&shown(&value));
            }
            Node::Set(name, pipe) => {
                let value = self.pipe(pipe, dot)?;
                self.variables.insert(name.clone(), value);
            }
            Node::If(branches, otherwise) => {
                for (condition, body) in branches {
                    if truth(&self.lenient(condition, dot)?) {
                        return self.block(body, dot);
                    }
                }
                self.block(otherwise, dot)?;
            }
            Node::With(pipe, body, otherwise) => {
                let value = self.lenient(pipe, dot)?;
                if truth(&value) { self.block(body, &value)? } else { self.block(otherwise, dot)? }
            }
            Node::Range(names, pipe, body, otherwise) => {
                let members = members(self.lenient(pipe, dot)?)?;
                if members.is_empty() {
                    return self.block(otherwise, dot);
                }
                for (index, member) in members {
                    match names.as_slice() {
                        [] => {}
                        [one] => drop(self.variables.insert(one.clone(), member.clone())),
                        [first, second, ..] => {
                            self.variables.insert(first.clone(), index);
                            self.variables.insert(second.clone(), member.clone());
                        }
                    }
                    self.block(body, &member)?;
                }
            }
        }
        if self.out.len() > LARGEST { Err("the template writes too much".to_owned()) } else { Ok(()) }
    }

    /// Returns a condition's value, in which what is missing is nothing.
    fn lenient(&self, pipe: &Pipe, dot: &Value) -> Result<Value, String> {
        match self.pipe(pipe, dot) {
            Err(why) if why.starts_with(MISSING) => Ok(Value::Null),
            other => other,
        }
    }

    fn pipe(&self, pipe: &Pipe, dot: &Value) -> Result<Value, String> {
        let mut value = None;
        for command in &pipe.0 {
            value = Some(self.command(command, dot, value)?);
        }
        Ok(value.unwrap_or(Value::Null))
    }

    fn command(&self, words: &[Operand], dot: &Value, piped: Option<Value>) -> Result<Value, String> {
        let (first, rest) = words.split_first().expect("the reader lets no empty command pass");
        // What is looked at may be missing: `or .A .B`, `not .A`.
        let lenient =
            matches!(first, Operand::Function(name) if matches!(name.as_str(), "and" | "or" | "not"));
        let argument = |word: &Operand| match self.operand(word, dot) {
            Err(why) if lenient && why.starts_with(MISSING) => Ok(Value::Null),
            other => other,
        };
        match first {
            Operand::Function(name) => {
                let mut arguments = rest.iter().map(argument).collect::<Result<Vec<_>, _>>()?;
                arguments.extend(piped);
                functions::call(name, arguments)
            }
            // The listings' own: the value of a label.
            Operand::Field(path) if path.len() == 1 && path[0] == "Label" && rest.len() == 1 => {
                let name = shown(&argument(&rest[0])?);
                Ok(Value::String(label(dot, &name)))
            }
            operand if rest.is_empty() && piped.is_none() => self.operand(operand, dot),
            _ => Err("only functions take values: write {{json .Field}} or {{.Field}}".to_owned()),
        }
    }

    fn operand(&self, operand: &Operand, dot: &Value) -> Result<Value, String> {
        match operand {
            Operand::Field(path) => below(dot, path),
            Operand::Variable(name, path) if name.is_empty() => below(self.root, path),
            Operand::Variable(name, path) => {
                let value =
                    self.variables.get(name).ok_or_else(|| format!("there is no variable `${name}`"))?;
                below(value, path)
            }
            Operand::Function(name) => functions::call(name, Vec::new()),
            Operand::Text(text) => Ok(Value::String(text.clone())),
            Operand::Number(number) => Ok((*number).into()),
            Operand::Truth(truth) => Ok((*truth).into()),
            Operand::Nil => Ok(Value::Null),
            Operand::Inner(pipe, path) => below(&self.pipe(pipe, dot)?, path),
        }
    }
}

/// What every message of a missing field begins with.
const MISSING: &str = "there is no `";

fn below(value: &Value, path: &[String]) -> Result<Value, String> {
    let mut value = value;
    for name in path {
        value = match value {
            Value::Object(fields) => fields.get(name).ok_or_else(|| {
                let known: Vec<&str> = fields.keys().map(String::as_str).collect();
                format!("{MISSING}{name}` here; there are {}", known.join(", "))
            })?,
            _ => return Err(format!("{MISSING}{name}` here; what is before it has no fields")),
        };
    }
    Ok(value.clone())
}

fn label(row: &Value, name: &str) -> String {
    match row.get("Labels") {
        Some(Value::Object(labels)) => labels.get(name).map(shown).unwrap_or_default(),
        Some(Value::String(labels)) => {
            let found = labels.split(',').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            found.unwrap_or_default().to_owned()
        }
        _ => String::new(),
    }
}

fn members(value: Value) -> Result<Vec<(Value, Value)>, String> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(list) => {
            Ok(list.into_iter().enumerate().map(|(at, value)| (at.into(), value)).collect())
        }
        Value::Object(fields) => {
            let mut members: Vec<_> =
                fields.into_iter().map(|(name, value)| (Value::String(name), value)).collect();
            // Go goes through maps by their keys.
            members.sort_by(|a, b| a.0.as_str().cmp(&b.0.as_str()));
            Ok(members)
        }
        other => Err(format!("`{}` has no members for a range", shown(&other))),
    }
}

/// Returns whether a value counts as true: it is not nothing, zero or empty.
pub(super) fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(truth) => *truth,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

/// Returns a value as Go prints it: `[a b]`, `map[k:v]`.
pub(super) fn shown(value: &Value) -> String {
    match value {
        // As the zero of a text: what a missing label is in Go.
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(shown).collect::<Vec<_>>().join(" ")),
        Value::Object(fields) => {
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort();
            let mut text = String::from("map[");
            for (at, name) in names.into_iter().enumerate() {
                let _ = write!(text, "{}{name}:{}", if at > 0 { " " } else { "" }, shown(&fields[name]));
            }
            text.push(']');
            text
        }
        other => other.to_string(),
    }
}
