//! The shape of a project by the specification's own schema (`schema/compose-spec.json`, without its descriptions):
//! which attributes there are, of what type, and which words they take.

use std::sync::LazyLock;

use coracle_report::{Diagnostic, Hint};
use serde_json::Value as Schema;

use crate::kind::Kind;
use crate::scalar;
use crate::source::{Findings, Mark};
use crate::tree::{Node, Value};

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../schema/compose-spec.json")).expect("the schema is JSON")
});

/// What is wrong with a value, and how deep it lies.
struct Fault {
    depth: usize,
    mark: Mark,
    code: &'static str,
    message: String,
    hint: Option<String>,
    /// The types that would be right, when the type is what is wrong.
    wanted: Vec<&'static str>,
    /// Whether it is about a single value where one belongs: whoever reads the tree next may say it better.
    single: bool,
}

/// The path to a value, as a list on the stack.
#[derive(Clone, Copy)]
struct Path<'p> {
    parent: Option<&'p Path<'p>>,
    step: Step<'p>,
    depth: usize,
}

#[derive(Clone, Copy)]
enum Step<'p> {
    Root,
    Key(&'p str),
    Index(usize),
}

impl Path<'_> {
    fn text(&self) -> String {
        let before = self.parent.map(Path::text).unwrap_or_default();
        match self.step {
            Step::Root => before,
            Step::Index(index) => format!("{before}[{index}]"),
            Step::Key(key) if before.is_empty() => key.to_owned(),
            Step::Key(key) => format!("{before}.{key}"),
        }
    }

    fn then<'p>(&'p self, step: Step<'p>) -> Path<'p> {
        Path { parent: Some(self), step, depth: self.depth + 1 }
    }
}

/// Holds a project's tree against the schema; single values that are not what they should be go to `unreadable`.
pub(super) fn check(root: &Node, findings: &mut Findings, unreadable: &mut Vec<Diagnostic>) {
    let mut faults = Vec::new();
    let path = Path { parent: None, step: Step::Root, depth: 0 };
    faults_of(&SCHEMA, root, root.mark, path, &mut faults);
    for fault in faults {
        if fault.single {
            let mut diagnostic = findings.fault(fault.code, fault.mark, fault.message);
            diagnostic.hints.extend(fault.hint.map(Hint));
            unreadable.push(diagnostic);
            continue;
        }
        let diagnostic = findings.error(fault.code, fault.mark, fault.message);
        diagnostic.hints.extend(fault.hint.map(Hint));
    }
}

fn faults_of(schema: &'static Schema, node: &Node, key: Mark, path: Path<'_>, faults: &mut Vec<Fault>) {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap_or_default();
        return faults_of(&SCHEMA["definitions"][name], node, key, path, faults);
    }
    if let Some(branches) = schema["oneOf"].as_array() {
        return faults_of_best(branches, node, key, path, faults);
    }
    let wanted = types(&schema["type"]);
    if !wanted.is_empty() && !wanted.iter().any(|wanted| is_a(node, wanted)) {
        faults.push(wrong_type(node, path, wanted));
        return;
    }
    let mut bad = |message: String| {
        let fault = Fault {
            depth: path.depth,
            mark: node.mark,
            code: "bad-value",
            message: format!("{}: {message}", path.text()),
            hint: None,
            wanted: Vec::new(),
            single: true,
        };
        faults.push(fault);
    };
    if let Some(words) = schema["enum"].as_array()
        && !words.iter().any(|word| word.as_str().is_some() && word.as_str() == node.text())
    {
        let words: Vec<_> = words.iter().filter_map(Schema::as_str).map(|word| format!("`{word}`")).collect();
        bad(format!("`{}` is none of {}", node.text().unwrap_or_default(), words.join(", ")));
    }
    if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), node.text())
        && !matches(pattern, text)
    {
        bad(format!("`{text}` is not what is expected: {pattern}"));
    }
    if let (Some(least), Some(number)) = (schema["minimum"].as_f64(), number(node))
        && number < least
    {
        bad(format!("{number} must be at least {least}"));
    }
    if let (Some(most), Some(number)) = (schema["maximum"].as_f64(), number(node))
        && number > most
    {
        bad(format!("{number} must be at most {most}"));
    }
    match &node.value {
        Value::Mapping(_) => faults_of_mapping(schema, node, key, path, faults),
        Value::Sequence(items) => {
            if schema["uniqueItems"] == true
                && let Some(twice) = repeated(items)
            {
                let message = format!("{} holds an item twice", path.text());
                let (depth, mark) = (path.depth, twice);
                faults.push(Fault {
                    depth,
                    mark,
                    code: "bad-value",
                    message,
                    hint: None,
                    wanted: Vec::new(),
                    single: false,
                });
            }
            if schema["items"].is_object() {
                for (index, item) in items.iter().enumerate() {
                    faults_of(&schema["items"], item, item.mark, path.then(Step::Index(index)), faults);
                }
            }
        }
        Value::Null | Value::Scalar(_) => {}
    }
}

/// Returns the place of the first item that equals one before it.
fn repeated(items: &[Node]) -> Option<Mark> {
    let mut seen = std::collections::HashSet::new();
    let texts = items.iter().filter_map(|item| Some((item.mark, item.text()?)));
    for (mark, text) in texts {
        if !seen.insert(text) {
            return Some(mark);
        }
    }
    None
}

fn faults_of_mapping(
    schema: &'static Schema,
    node: &Node,
    key: Mark,
    path: Path<'_>,
    faults: &mut Vec<Fault>,
) {
    let Value::Mapping(mapping) = &node.value else { return };
    let properties = &schema["properties"];
    let patterns = schema["patternProperties"].as_object();
    for (name, entry) in mapping {
        let below = path.then(Step::Key(name));
        if let Some(property) = properties.get(name) {
            faults_of(property, &entry.node, entry.key, below, faults);
            continue;
        }
        let fitting = patterns.and_then(|patterns| patterns.iter().find(|(known, _)| matches(known, name)));
        if let Some((_, property)) = fitting {
            faults_of(property, &entry.node, entry.key, below, faults);
        } else if schema["additionalProperties"] == false {
            faults.push(unknown_key(name, entry.key, properties, path));
        } else if schema["additionalProperties"].is_object() {
            faults_of(&schema["additionalProperties"], &entry.node, entry.key, below, faults);
        }
    }
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Schema::as_str);
    for name in required.filter(|name| !mapping.contains_key(*name)) {
        let message = format!("{} has no `{name}`", path.text());
        let depth = path.depth;
        faults.push(Fault {
            depth,
            mark: key,
            code: "missing-key",
            message,
            hint: None,
            wanted: Vec::new(),
            single: false,
        });
    }
}

fn unknown_key(name: &str, mark: Mark, properties: &Schema, path: Path<'_>) -> Fault {
    let place = path.text();
    let place = if place.is_empty() { place } else { format!(" in {place}") };
    let known = properties.as_object().into_iter().flat_map(|known| known.keys().map(String::as_str));
    let hint = scalar::nearest(name, known).map(|near| format!("did you mean `{near}`?"));
    let message = if properties.is_null() {
        format!("`{name}` is not a name that is allowed{place}")
    } else {
        format!("unknown key `{name}`{place}")
    };
    Fault {
        depth: path.depth + 1,
        mark,
        code: "unknown-key",
        message,
        hint,
        wanted: Vec::new(),
        single: false,
    }
}

/// Adds the faults of the form that the value comes nearest to; none when it is one of them.
fn faults_of_best(
    branches: &'static [Schema],
    node: &Node,
    key: Mark,
    path: Path<'_>,
    faults: &mut Vec<Fault>,
) {
    let mut best: Vec<Fault> = Vec::new();
    let mut wanted = Vec::new();
    for branch in branches {
        let mut found = Vec::new();
        faults_of(branch, node, key, path, &mut found);
        if found.is_empty() {
            return;
        }
        wanted.extend(found.iter().filter(|fault| fault.depth == path.depth).flat_map(|f| f.wanted.clone()));
        let deepest = |faults: &[Fault]| faults.iter().map(|fault| fault.depth).max();
        if best.is_empty() || deepest(&found) > deepest(&best) {
            best = found;
        }
    }
    let all_types = best.iter().all(|fault| fault.depth == path.depth && !fault.wanted.is_empty());
    if all_types {
        faults.push(wrong_type(node, path, wanted));
    } else {
        faults.extend(best);
    }
}

fn wrong_type(node: &Node, path: Path<'_>, mut wanted: Vec<&'static str>) -> Fault {
    wanted.dedup();
    let words: Vec<_> = wanted.iter().map(|name| word(name)).collect();
    let expected = match words.as_slice() {
        [before @ .., last] if !before.is_empty() => format!("{} or {last}", before.join(", ")),
        words => words.concat(),
    };
    let place = path.text();
    let place = if place.is_empty() { "a compose file" } else { &place };
    let mut message = format!("{place} must be {expected}, not {}", node.kind());
    let mut hint = None;
    let scalars = ["string", "number", "integer", "boolean"];
    let single = node.text().is_some() && wanted.iter().any(|name| scalars.contains(name));
    if let Some(shown) = node.text().filter(|_| single) {
        message = format!("{place} must be {expected}, not `{shown}`");
        if node.string().is_none() && wanted.contains(&"string") {
            hint = Some(format!("quote it: \"{shown}\""));
        }
    }
    Fault { depth: path.depth, mark: node.mark, code: "wrong-type", message, hint, wanted, single }
}

fn word(name: &str) -> &'static str {
    match name {
        "string" => "a text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "`true` or `false`",
        "array" => "a list",
        "object" => "a mapping",
        _ => "empty",
    }
}

fn types(schema: &'static Schema) -> Vec<&'static str> {
    match schema {
        Schema::String(name) => vec![name],
        Schema::Array(names) => names.iter().filter_map(Schema::as_str).collect(),
        _ => Vec::new(),
    }
}

fn is_a(node: &Node, wanted: &str) -> bool {
    let kind = match &node.value {
        Value::Null => return wanted == "null",
        Value::Sequence(_) => return wanted == "array",
        Value::Mapping(_) => return wanted == "object",
        Value::Scalar(scalar) => scalar.kind,
    };
    match wanted {
        "string" => kind == Kind::Text,
        "boolean" => matches!(kind, Kind::Boolean(_)),
        "number" => matches!(kind, Kind::Integer(_) | Kind::Float(_) | Kind::Single(_)),
        "integer" => match kind {
            Kind::Integer(_) => true,
            Kind::Float(number) => number.fract() == 0.0,
            Kind::Single(number) => number.fract() == 0.0,
            Kind::Text | Kind::Boolean(_) => false,
        },
        _ => false,
    }
}

fn number(node: &Node) -> Option<f64> {
    let Value::Scalar(scalar) = &node.value else { return None };
    match scalar.kind {
        Kind::Integer(number) => Some(number as f64),
        Kind::Float(number) => Some(number),
        Kind::Single(number) => Some(f64::from(number)),
        Kind::Text | Kind::Boolean(_) => None,
    }
}

/// Matches a text against one of the few patterns that the schema holds (a test knows them all).
fn matches(pattern: &str, text: &str) -> bool {
    let all = |legal: fn(u8) -> bool| !text.is_empty() && text.bytes().all(legal);
    match pattern {
        ".+" | "^.+$" => !text.is_empty(),
        "^x-" => text.starts_with("x-"),
        "^[a-z]+$" => all(|byte| byte.is_ascii_lowercase()),
        "^[a-zA-Z0-9._-]+$" => all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)),
        PULL_POLICY => is_pull_policy(text),
        "[a-zA-Z0-9][a-zA-Z0-9_.-]+" => text.as_bytes().windows(2).any(|pair| {
            pair[0].is_ascii_alphanumeric() && (pair[1].is_ascii_alphanumeric() || b"_.-".contains(&pair[1]))
        }),
        _ => true,
    }
}

const PULL_POLICY: &str =
    "always|never|build|if_not_present|missing|refresh|daily|weekly|every_([0-9]+[wdhms])+";

fn is_pull_policy(text: &str) -> bool {
    let words = ["always", "never", "build", "if_not_present", "missing", "refresh", "daily", "weekly"];
    let after = text.split_once("every_").map_or("", |(_, rest)| rest);
    let digits = after.bytes().take_while(u8::is_ascii_digit).count();
    let every = digits > 0 && after[digits..].starts_with(['w', 'd', 'h', 'm', 's']);
    every || words.iter().any(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Collects the value of every `keyword`, and the keys of every `patternProperties`.
    fn patterns(schema: &Schema, found: &mut Vec<String>) {
        match schema {
            Schema::Object(map) => {
                for (key, value) in map {
                    match (key.as_str(), value) {
                        ("pattern", Schema::String(pattern)) => found.push(pattern.clone()),
                        ("patternProperties", Schema::Object(map)) => found.extend(map.keys().cloned()),
                        _ => {}
                    }
                    patterns(value, found);
                }
            }
            Schema::Array(items) => items.iter().for_each(|item| patterns(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_pattern_of_the_schema_is_known() {
        let mut found = Vec::new();
        patterns(&SCHEMA, &mut found);
        found.sort();
        found.dedup();
        assert!(found.len() > 4);
        for pattern in found {
            assert!(!matches(&pattern, ""), "{pattern}");
        }
    }
}
