//! YAML to a tree whose every value knows its place.
//!
//! Owns anchors, aliases, merge keys (`<<`), the tags `!reset` and `!override`, duplicate keys and the bounds on
//! hostile input. Scalars stay text: their type is decided by the attribute that reads them, after interpolation.

use std::collections::HashMap;

use indexmap::IndexMap;
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Tag};

use crate::flow::{self, Moved};
use crate::kind::Kind;
use crate::source::{Findings, Mark};
use crate::trace::Because;

/// Nodes that one file may expand to; aliases of aliases grow without bound otherwise.
const NODE_LIMIT: usize = 200_000;
/// Depth of nesting that one file may have.
const DEPTH_LIMIT: usize = 64;

/// Keys given twice after which reading stops.
const TWICE_LIMIT: usize = 100;

/// A value with its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) mark: Mark,
    pub(crate) value: Value,
    pub(crate) tag: Option<MergeTag>,
}

/// What a [`Node`] holds.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Scalar(Scalar),
    Sequence(Vec<Node>),
    Mapping(Mapping),
}

/// A scalar's text and how it was written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    pub(crate) style: Style,
    /// What YAML takes it for.
    pub(crate) kind: Kind,
}

impl Scalar {
    /// Returns text that is text, whatever it looks like.
    pub(crate) fn quoted(text: impl Into<String>) -> Self {
        Self { text: text.into(), style: Style::Quoted, kind: Kind::Text }
    }
}

/// How a scalar was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Quoted,
    Block,
}

/// A mapping in the order of the file.
pub(crate) type Mapping = IndexMap<String, Entry>;

/// A value under a key, with the key's own place.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Mark,
    pub(crate) node: Node,
}

/// How a value of a later file meets the earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MergeTag {
    /// `!reset`: the attribute is removed.
    Reset,
    /// `!override`: the earlier value is dropped.
    Override,
}

/// A collection that is still being read.
struct Open {
    node: Node,
    anchor: usize,
    key: Option<(String, Mark)>,
    /// Values of `<<` keys, first is strongest.
    merges: Vec<Node>,
}

struct Builder<'a> {
    findings: &'a mut Findings,
    anchors: HashMap<usize, Node>,
    stack: Vec<Open>,
    documents: Vec<Node>,
    nodes: usize,
    /// Keys that were given twice.
    twice: usize,
    /// Set once the input broke a bound; reading stops.
    refused: bool,
}

/// Reads all documents of `text`, which is file number `file` of the findings' sources.
///
/// Faults are added to `findings`; what could be read is returned.
pub(crate) fn parse(text: &str, file: u32, findings: &mut Findings) -> Vec<Node> {
    let before = findings.count();
    match build(text, &Moved::default(), file, findings) {
        Ok(documents) => documents,
        Err(error) => {
            let again = if flow::is_outdented(&error) { flow::moved(text, &error) } else { None };
            let Some((text, moved)) = again else {
                syntax_error(&error, &Moved::default(), file, findings);
                return Vec::new();
            };
            findings.forget_from(before);
            build(&text, &moved, file, findings).unwrap_or_else(|error| {
                syntax_error(&error, &moved, file, findings);
                Vec::new()
            })
        }
    }
}

/// Builds the documents of a text, some of whose lines were moved.
fn build(text: &str, moved: &Moved, file: u32, findings: &mut Findings) -> Result<Vec<Node>, ScanError> {
    let mut builder = Builder {
        findings,
        anchors: HashMap::new(),
        stack: Vec::new(),
        documents: Vec::new(),
        nodes: 0,
        twice: 0,
        refused: false,
    };
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        match event {
            Ok((Event::StreamEnd, _)) => break,
            Ok((event, span)) => builder.event(event, mark(file, span, moved)),
            Err(error) => return Err(error),
        }
        if builder.refused {
            break;
        }
    }
    Ok(builder.documents)
}

fn mark(file: u32, span: saphyr_parser::Span, moved: &Moved) -> Mark {
    let position = |marker: saphyr_parser::Marker| moved.written(marker.line(), marker.col());
    Mark { file, start: position(span.start), end: position(span.end), step: 0 }
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, mark: Mark) {
        match event {
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => {}
            Event::Alias(anchor) => {
                // An alias inside its own anchor is not in the map yet: the tree would be infinite.
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    self.findings.error("yaml-syntax", mark, "an alias refers to the value that contains it");
                    self.refused = true;
                    return;
                };
                self.nodes += node.count();
                self.value(node, mark);
            }
            Event::Scalar(text, style, anchor, tag) => {
                let (merge, forced_text) = self.tag(tag.as_deref(), mark);
                let style = match style {
                    ScalarStyle::Plain if !forced_text => Style::Plain,
                    ScalarStyle::Plain | ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => {
                        Style::Quoted
                    }
                    ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
                };
                let null = style == Style::Plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let kind = if style == Style::Plain { Kind::of_plain(&text) } else { Kind::Text };
                let value = if null {
                    Value::Null
                } else {
                    Value::Scalar(Scalar { text: text.into_owned(), style, kind })
                };
                let node = Node { mark, value, tag: merge };
                self.closed(node, anchor, mark);
            }
            Event::SequenceStart(anchor, tag) => {
                self.open(Value::Sequence(Vec::new()), anchor, tag.as_deref(), mark);
            }
            Event::MappingStart(anchor, tag) => {
                self.open(Value::Mapping(Mapping::new()), anchor, tag.as_deref(), mark);
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(mut open) = self.stack.pop() else { return };
                if let Value::Mapping(mapping) = &mut open.node.value {
                    merge_keys(mapping, open.merges, self.findings);
                }
                self.closed(open.node, open.anchor, mark);
            }
        }
    }

    fn open(&mut self, value: Value, anchor: usize, tag: Option<&Tag>, mark: Mark) {
        let (tag, _) = self.tag(tag, mark);
        // A block collection begins at its first item; the caret belongs there and nowhere further.
        let mark = Mark { end: mark.start, ..mark };
        self.stack.push(Open { node: Node { mark, value, tag }, anchor, key: None, merges: Vec::new() });
        if self.stack.len() > DEPTH_LIMIT {
            let message = format!("values are nested more than {DEPTH_LIMIT} deep");
            self.findings.error("yaml-syntax", mark, message);
            self.refused = true;
        }
    }

    /// Takes a complete value, and remembers it when it has an anchor.
    fn closed(&mut self, node: Node, anchor: usize, mark: Mark) {
        if anchor > 0 {
            // The copy counts: anchors within anchors would hold the same values many times over.
            self.nodes += node.count();
            if self.nodes <= NODE_LIMIT {
                self.anchors.insert(anchor, node.clone());
            }
        }
        self.nodes += 1;
        self.value(node, mark);
    }

    /// Puts a value where it belongs: a document, an item, a key or the value of a key.
    fn value(&mut self, node: Node, mark: Mark) {
        if self.nodes > NODE_LIMIT || self.stack.len() + node.depth() > DEPTH_LIMIT + 1 {
            let message = format!("aliases expand to more than {NODE_LIMIT} values or {DEPTH_LIMIT} levels");
            self.findings.error("yaml-syntax", mark, message);
            self.refused = true;
            return;
        }
        let Some(open) = self.stack.last_mut() else {
            self.documents.push(node);
            return;
        };
        match &mut open.node.value {
            Value::Sequence(items) => items.push(node),
            Value::Mapping(mapping) => match open.key.take() {
                None => {
                    let key = match node.value {
                        Value::Scalar(scalar) => scalar.text,
                        Value::Null => "null".to_owned(),
                        Value::Sequence(_) | Value::Mapping(_) => {
                            self.findings.error("yaml-syntax", mark, "a key must be a single value");
                            String::new()
                        }
                    };
                    open.key = Some((key, mark));
                }
                Some((key, key_mark)) if key == "<<" => match node.value {
                    Value::Mapping(_) => open.merges.push(node),
                    Value::Sequence(items) if items.iter().all(|item| item.mapping().is_some()) => {
                        open.merges.extend(items);
                    }
                    Value::Null | Value::Scalar(_) | Value::Sequence(_) => {
                        let message = "`<<` must be a mapping or a list of mappings, usually by alias";
                        self.findings.error("yaml-syntax", key_mark, message);
                    }
                },
                Some((key, key_mark)) => {
                    if let Some(first) = mapping.get(&key) {
                        let first = self.findings.sources.span(first.key);
                        let message = format!("key `{key}` is given twice");
                        self.findings
                            .error("duplicate-key", key_mark, message)
                            .notes
                            .push(format!("first given at {first}"));
                        self.twice += 1;
                        self.refused |= self.twice >= TWICE_LIMIT;
                    } else {
                        mapping.insert(key, Entry { key: key_mark, node });
                    }
                }
            },
            Value::Null | Value::Scalar(_) => {}
        }
    }

    /// Returns what a tag means: how to merge, and whether the value is text whatever it looks like.
    fn tag(&mut self, tag: Option<&Tag>, mark: Mark) -> (Option<MergeTag>, bool) {
        let Some(tag) = tag else { return (None, false) };
        if tag.is_yaml_core_schema() {
            return (None, tag.suffix == "str");
        }
        match (tag.handle.as_str(), tag.suffix.as_str()) {
            ("!", "reset") => (Some(MergeTag::Reset), false),
            ("!", "override") => (Some(MergeTag::Override), false),
            ("!" | "", "" | "!") => (None, true),
            (handle, suffix) => {
                self.findings
                    .error("unknown-tag", mark, format!("unknown tag `{handle}{suffix}`"))
                    .hints
                    .push(coracle_report::Hint(
                        "the tags of a compose file are `!reset` and `!override`".into(),
                    ));
                (None, false)
            }
        }
    }
}

fn syntax_error(error: &ScanError, moved: &Moved, file: u32, findings: &mut Findings) {
    let marker = error.marker();
    let position = moved.written(marker.line().max(1), marker.col());
    let mark = Mark { file, start: position, end: position, step: 0 };
    let line = findings.sources.line(mark).unwrap_or_default();
    let hint = if line.contains('\t') && line.trim_start_matches(' ').starts_with('\t') {
        Some("indent with spaces: YAML allows no tabs there")
    } else {
        None
    };
    let diagnostic = findings.error("yaml-syntax", mark, format!("not valid YAML: {}", error.info()));
    diagnostic.hints.extend(hint.map(|hint| coracle_report::Hint(hint.to_owned())));
}

/// Adds what `<<` brought for keys that the mapping does not set itself (YAML merge key, type `!!merge`).
fn merge_keys(mapping: &mut Mapping, merges: Vec<Node>, findings: &mut Findings) {
    for node in merges {
        if let Value::Mapping(merged) = node.value {
            for (key, entry) in merged {
                match mapping.get_mut(&key) {
                    Some(own) => findings.beat(&mut own.node.mark, entry.node, Because::MergeKey),
                    None => {
                        mapping.insert(key, entry);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::Path;

    use super::*;

    fn read(text: &str) -> (Vec<Node>, Vec<String>) {
        let mut findings = Findings::default();
        let file = findings.sources.add(Path::new("f.yml"), text);
        let documents = parse(text, file, &mut findings);
        let found = findings.take().iter().map(ToString::to_string).collect();
        (documents, found)
    }

    fn show(node: &Node) -> String {
        match &node.value {
            Value::Null => "null".to_owned(),
            Value::Scalar(scalar) => format!("{:?}", scalar.text),
            Value::Sequence(items) => {
                format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(", "))
            }
            Value::Mapping(mapping) => {
                let entries: Vec<_> =
                    mapping.iter().map(|(key, entry)| format!("{key}: {}", show(&entry.node))).collect();
                format!("{{{}}}", entries.join(", "))
            }
        }
    }

    #[test]
    fn merge_keys_fill_what_is_missing() {
        let text = "x-a: &a {k: 1, l: 2}\nx-b: &b {l: 3, m: 4}\nc:\n  <<: [*a, *b]\n  k: own\n";
        let (documents, found) = read(text);
        assert_eq!(found, Vec::<String>::new());
        assert_eq!(show(documents[0].get("c").unwrap()), r#"{k: "own", l: "2", m: "4"}"#);
    }

    #[test]
    fn places_are_those_of_the_text() {
        let (documents, _) = read("services:\n  backend:\n    ports:\n      - \"80:80\"\n");
        let ports = documents[0].get("services").unwrap().get("backend").unwrap().get("ports").unwrap();
        let Value::Sequence(items) = &ports.value else { panic!("{ports:?}") };
        assert_eq!(items[0].mark.start, coracle_report::Position::new(4, 9));
    }

    #[test]
    fn faults_have_places() {
        let table = [
            ("a: 1\nb: 2\na: 3\n", "f.yml:3:1: key `a` is given twice"),
            ("a: !what 1\n", "f.yml:1:4: unknown tag `!what`"),
            ("a: &a [*a]\n", "f.yml:1:8: an alias refers to the value that contains it"),
            ("a:\n  <<: 5\n", "f.yml:2:3: `<<` must be a mapping or a list of mappings, usually by alias"),
        ];
        for (text, expected) in table {
            assert_eq!(read(text).1, [expected], "{text}");
        }
        assert!(read("a: [1, 2\nb: 3\n").1[0].starts_with("f.yml:"), "{:?}", read("a: [1, 2\nb: 3\n").1);
    }

    #[test]
    fn aliases_of_aliases_are_bounded() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let below = format!("*a{}", level - 1);
            let items = vec![below; 10].join(", ");
            writeln!(text, "a{level}: &a{level} [{items}]").unwrap();
        }
        let (_, found) = read(&text);
        assert!(found[0].contains("aliases expand to more than"), "{found:?}");
    }

    #[test]
    fn nesting_is_bounded() {
        let (_, found) = read(&format!("{}{}", "[".repeat(100), "]".repeat(100)));
        assert!(found[0].contains("nested more than"), "{found:?}");
    }
}
