//! The form of a project that the reader of typed values knows: `NAME=value` lists are mappings, and scalars are
//! written as they print.

use crate::kind::Kind;
use crate::tree::{Entry, Mapping, Node, Scalar, Value};

/// What an attribute's list becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Plain,
    /// `NAME=value` becomes a mapping.
    Pairs,
    /// As `Pairs`, with `=` or `:` between name and value; a name may have several.
    Hosts,
    /// A single value is a list of one.
    List,
    /// A mode, written in octal.
    Mode,
}

fn form(path: &[&str]) -> Form {
    match path {
        ["services", _, rest @ ..] => match rest {
            ["build", "args" | "labels" | "additional_contexts"]
            | ["environment" | "labels" | "annotations" | "sysctls"]
            | ["deploy", "labels"]
            | ["volumes", "[]", "volume", "labels"]
            | ["post_start" | "pre_stop" | "pre_start", "[]", "environment"]
            | ["develop", "watch", "[]", "exec", "environment"] => Form::Pairs,
            ["extra_hosts"] | ["build", "extra_hosts"] => Form::Hosts,
            ["dns_search" | "tmpfs"] => Form::List,
            ["secrets" | "configs", "[]", "mode"] | ["volumes", "[]", "tmpfs", "mode"] => Form::Mode,
            _ => Form::Plain,
        },
        ["networks" | "volumes" | "secrets" | "configs", _, "labels" | "driver_opts"] => Form::Pairs,
        _ => Form::Plain,
    }
}

/// Brings a project into that form.
pub(crate) fn settle(mut root: Node) -> Node {
    settle_at(&mut root, &mut Vec::new());
    root
}

fn settle_at<'a>(node: &'a mut Node, path: &mut Vec<&'a str>) {
    let form = form(path);
    apply_form(node, form);
    match &mut node.value {
        Value::Mapping(mapping) => {
            for (key, entry) in mapping.iter_mut() {
                path.push(key);
                settle_at(&mut entry.node, path);
                path.pop();
            }
        }
        Value::Sequence(items) => {
            path.push("[]");
            items.iter_mut().for_each(|item| settle_at(item, path));
            path.pop();
        }
        Value::Scalar(scalar) => match (scalar.kind, form) {
            (Kind::Text, _) => {}
            (Kind::Integer(mode), Form::Mode) => scalar.text = format!("{mode:o}"),
            (kind, _) => scalar.text = kind.shown(&scalar.text).into_owned(),
        },
        Value::Null => {}
    }
}

/// Rewrites a short form to the long one of its attribute; what has another shape is left for the reader to refuse.
fn apply_form(node: &mut Node, form: Form) {
    let mark = node.mark;
    let value = std::mem::replace(&mut node.value, Value::Null);
    node.value = match (form, value) {
        (Form::Pairs, Value::Sequence(items)) if items.iter().all(|item| item.text().is_some()) => {
            let mut mapping = Mapping::new();
            for item in items {
                let text = item.text().unwrap_or_default();
                let (name, value) = match text.split_once('=') {
                    Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                    None => (text.to_owned(), None),
                };
                let value = match value {
                    None => Value::Null,
                    Some(text) => Value::Scalar(Scalar::quoted(text)),
                };
                let entry = Entry { key: item.mark, node: Node { mark: item.mark, value, tag: None } };
                mapping.insert(name, entry);
            }
            Value::Mapping(mapping)
        }
        (Form::Hosts, Value::Sequence(items)) if items.iter().all(|item| item.text().is_some()) => {
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
        (Form::List, value @ Value::Scalar(_)) => Value::Sequence(vec![Node { mark, value, tag: None }]),
        (_, value) => value,
    };
}
