//! A tree of values, read-only: what rules look at.

use std::path::Path;

use coracle_report::Span;

use crate::canonical::place_in;
use crate::kind::Kind;
use crate::references::{self, Reference};
use crate::source::Mark;
use crate::trace::What;
use crate::tree::{MergeTag, Node, Scalar, Style, Value};
use crate::written::Written;

/// What a value is, as YAML takes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueKind {
    /// Nothing: `key:`, `~`, `null`.
    Null,
    /// Text: quoted, a block, or plain and nothing else.
    Text,
    /// A whole number.
    Integer,
    /// A number with a fraction or an exponent.
    Float,
    /// `true` or `false`.
    Boolean,
    /// A list.
    List,
    /// A mapping.
    Mapping,
}

/// How a single value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalarStyle {
    /// Without quotes.
    Plain,
    /// In single or double quotes.
    Quoted,
    /// A block of lines behind `|` or `>`.
    Block,
}

/// A tag that says how a value meets those of earlier files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// `!reset`.
    Reset,
    /// `!override`.
    Override,
}

/// A value of a tree with its place. Copying it costs nothing.
///
/// A view of the merged tree ([`Loaded::root`](crate::Loaded::root)) knows only long forms: ports, mounts and
/// dependencies are mappings, `environment` and `labels` are mappings from name to value. A view of one file
/// ([`Layer::root`](crate::Layer::root)) is what the file says.
#[derive(Clone, Copy, Debug)]
pub struct View<'w> {
    node: &'w Node,
    /// The place of the key; `None` for items of lists and roots.
    key: Option<Mark>,
    written: &'w Written,
}

impl<'w> View<'w> {
    pub(crate) fn new(node: &'w Node, written: &'w Written) -> Self {
        Self { node, key: None, written }
    }

    pub(crate) fn node(self) -> &'w Node {
        self.node
    }

    pub(crate) fn files(self) -> &'w Written {
        self.written
    }

    /// Returns what the value is.
    pub fn kind(self) -> ValueKind {
        match &self.node.value {
            Value::Null => ValueKind::Null,
            Value::Sequence(_) => ValueKind::List,
            Value::Mapping(_) => ValueKind::Mapping,
            Value::Scalar(scalar) => match scalar.kind {
                Kind::Text => ValueKind::Text,
                Kind::Integer(_) => ValueKind::Integer,
                Kind::Float(_) | Kind::Single(_) => ValueKind::Float,
                Kind::Boolean(_) => ValueKind::Boolean,
            },
        }
    }

    /// Returns a single value's text, whatever YAML takes it for.
    pub fn text(self) -> Option<&'w str> {
        self.node.text()
    }

    /// Returns a whole number; text in quotes that is one counts.
    pub fn integer(self) -> Option<i64> {
        self.node.integer().or_else(|| self.node.string()?.parse().ok())
    }

    /// Returns a boolean; text in quotes that is one counts.
    pub fn boolean(self) -> Option<bool> {
        self.node.truth().or_else(|| match self.node.string()? {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        })
    }

    /// Returns the value on one line, as YAML writes it in flow style.
    pub fn shown(self) -> String {
        shown(self.node)
    }

    /// Returns the items of a list; none of anything else.
    pub fn items(self) -> impl Iterator<Item = View<'w>> {
        let items = self.node.items().unwrap_or_default();
        items.iter().map(move |node| Self { node, key: None, written: self.written })
    }

    /// Returns the keys of a mapping with their values, in the order of the tree; none of anything else.
    /// [`View::key_span`] of a value is the place of its key.
    pub fn entries(self) -> impl Iterator<Item = (&'w str, View<'w>)> {
        self.node.mapping().into_iter().flatten().map(move |(key, entry)| {
            (key.as_str(), Self { node: &entry.node, key: Some(entry.key), written: self.written })
        })
    }

    /// Returns the value at `path` below this one; items of lists are numbers from 0.
    pub fn get(self, path: &[&str]) -> Option<View<'w>> {
        path.iter().try_fold(self, |view, step| view.child(step))
    }

    fn child(self, step: &str) -> Option<Self> {
        match &self.node.value {
            Value::Mapping(mapping) => {
                let entry = mapping.get(step)?;
                Some(Self { node: &entry.node, key: Some(entry.key), written: self.written })
            }
            Value::Sequence(items) => {
                let node = items.get(step.parse::<usize>().ok()?)?;
                Some(Self { node, key: None, written: self.written })
            }
            Value::Null | Value::Scalar(_) => None,
        }
    }

    /// Returns this value and all below it with the paths that lead to them, in the order of the tree.
    pub fn walk(self) -> Vec<(Vec<String>, View<'w>)> {
        let mut out = Vec::new();
        self.walk_into(&mut Vec::new(), &mut out);
        out
    }

    fn walk_into(self, path: &mut Vec<String>, out: &mut Vec<(Vec<String>, View<'w>)>) {
        out.push((path.clone(), self));
        for (key, value) in self.entries() {
            path.push(key.to_owned());
            value.walk_into(path, out);
            path.pop();
        }
        for (index, item) in self.items().enumerate() {
            path.push(index.to_string());
            item.walk_into(path, out);
            path.pop();
        }
    }

    /// Returns where the value is written.
    pub fn span(self) -> Span {
        self.written.sources.span(self.node.mark)
    }

    /// Returns where its key is written; for an item of a list, where the item is.
    pub fn key_span(self) -> Span {
        self.written.sources.span(self.key.unwrap_or(self.node.mark))
    }

    /// Returns the file that the value is written in.
    pub fn file(self) -> &'w Path {
        self.written.sources.path(self.node.mark.file)
    }

    /// Returns the line that the value begins in.
    pub fn source_line(self) -> Option<String> {
        self.written.source_line(&self.span())
    }

    /// Says whether nobody wrote the value: its attribute implies it.
    pub fn is_implied(self) -> bool {
        self.written.trace.as_ref().is_some_and(|trace| trace.is_implied(self.node.mark))
    }

    /// Returns how a single value is written.
    pub fn style(self) -> Option<ScalarStyle> {
        let Value::Scalar(scalar) = &self.node.value else { return None };
        Some(match scalar.style {
            Style::Plain => ScalarStyle::Plain,
            Style::Quoted => ScalarStyle::Quoted,
            Style::Block => ScalarStyle::Block,
        })
    }

    /// Returns the tag, in a view of one file.
    pub fn tag(self) -> Option<Tag> {
        self.node.tag.map(|tag| match tag {
            MergeTag::Reset => Tag::Reset,
            MergeTag::Override => Tag::Override,
        })
    }

    /// Returns the text of a single value before its variables were replaced; `None` when it had none.
    ///
    /// What a short form became has the whole short form: the `target` of `"${PORT}:80"` has `${PORT}:80`.
    pub fn written(self) -> Option<&'w str> {
        let trace = self.written.trace.as_ref()?;
        trace.steps(self.node.mark).find_map(|what| match what {
            What::Replaced { written, .. } => Some(written.as_str()),
            What::Beat { .. } | What::Extended { .. } | What::Included { .. } | What::EnvFile { .. } => None,
        })
    }

    /// Returns the variables that the text of a single value refers to; in a view of the merged tree they are
    /// replaced already, and [`Loaded::provenance`](crate::Loaded::provenance) tells of them.
    pub fn references(self) -> Vec<Reference> {
        let Value::Scalar(scalar) = &self.node.value else { return Vec::new() };
        if scalar.kind != Kind::Text || !scalar.text.contains('$') {
            return Vec::new();
        }
        references::find(&scalar.text)
            .into_iter()
            .map(|found| {
                let mark = self.place(scalar, found.start);
                let end = self.place(scalar, found.end);
                let mark = if end.start > mark.start { Mark { end: end.start, ..mark } } else { mark };
                Reference {
                    name: found.name,
                    operator: found.operator,
                    word: found.word,
                    nested: found.nested,
                    span: self.written.sources.span(mark),
                }
            })
            .collect()
    }

    fn place(self, scalar: &Scalar, offset: usize) -> Mark {
        place_in(self.node.mark, &scalar.text, scalar.style, offset)
    }
}

/// Returns a value on one line.
pub(crate) fn shown(node: &Node) -> String {
    match &node.value {
        Value::Null => "null".to_owned(),
        Value::Scalar(_) => node.shown().unwrap_or_default().into_owned(),
        Value::Sequence(items) => {
            let items: Vec<String> = items.iter().map(quoted).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Mapping(mapping) => {
            let entry =
                |(key, entry): (&String, &crate::tree::Entry)| format!("{key}: {}", quoted(&entry.node));
            let entries: Vec<String> = mapping.iter().map(entry).collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

/// As [`shown`], with quotes around text that would not be itself inside brackets.
pub(crate) fn quoted(node: &Node) -> String {
    let plain = |text: &str| {
        !text.is_empty() && !text.contains([',', '[', ']', '{', '}', '"', '\n']) && text.trim() == text
    };
    match node.string() {
        Some(text) if !plain(text) => format!("{text:?}"),
        _ => shown(node),
    }
}
