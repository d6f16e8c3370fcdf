//! Findings in the Static Analysis Results Interchange Format, version 2.1.0.

use std::path::Path;

use coracle_engine::{Fix, Rule};
use coracle_report::{Severity, Span};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::Shown;

/// What stays in a path that is written as a URI.
const KEPT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_').remove(b'~').remove(b'@');

/// Returns findings as a log of one run.
pub fn sarif(shown: &[Shown]) -> String {
    let mut rules: Vec<&'static Rule> = shown.iter().filter_map(|one| one.rule).collect();
    rules.sort_by_key(|rule| rule.id);
    rules.dedup();
    let index_of = |rule: &'static Rule| rules.iter().position(|own| *own == rule);
    let results: Vec<Value> = shown.iter().map(|one| result(one, one.rule.and_then(index_of))).collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "coracle",
                "version": env!("CARGO_PKG_VERSION"),
                "informationUri": env!("CARGO_PKG_REPOSITORY"),
                "rules": rules.iter().map(|rule| descriptor(rule)).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    format!("{log:#}\n")
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}

fn descriptor(rule: &Rule) -> Value {
    let mut help = rule.explanation.to_owned();
    if let Some((bad, good)) = rule.example {
        help = format!("{help}\n\nInstead of\n\n```\n{bad}\n```\n\nwrite\n\n```\n{good}\n```\n");
    }
    let mut value = json!({
        "id": rule.id,
        "shortDescription": { "text": rule.title },
        "fullDescription": { "text": rule.explanation },
        "help": { "text": rule.explanation, "markdown": help },
        "defaultConfiguration": { "level": level(rule.severity) },
        "properties": { "tags": [rule.family.name()] },
    });
    if let Some(url) = rule.url {
        value["helpUri"] = json!(url);
    }
    value
}

fn result(one: &Shown, index: Option<usize>) -> Value {
    let diagnostic = &one.diagnostic;
    let mut message = diagnostic.message.clone();
    for note in &diagnostic.notes {
        message = format!("{message}\n{note}");
    }
    for hint in &diagnostic.hints {
        message = format!("{message}\nhint: {hint}");
    }
    let mut value = json!({
        "ruleId": one.id(),
        "level": level(diagnostic.severity),
        "message": { "text": message },
        "locations": diagnostic.span.iter().map(location).collect::<Vec<_>>(),
    });
    if let Some(index) = index {
        value["ruleIndex"] = json!(index);
    }
    if !diagnostic.related.is_empty() {
        let related = diagnostic.related.iter().enumerate().map(|(number, related)| {
            let mut place = location(&related.span);
            place["id"] = json!(number + 1);
            place["message"] = json!({ "text": related.label });
            place
        });
        value["relatedLocations"] = related.collect();
    }
    if let Some(fix) = &one.fix {
        value["fixes"] = json!([changes(fix)]);
    }
    if !one.environments.is_empty() {
        value["properties"] = json!({ "environments": one.environments });
    }
    value
}

fn region(span: &Span) -> Value {
    json!({
        "startLine": span.start.line.max(1),
        "startColumn": span.start.column.max(1),
        "endLine": span.end.line.max(1),
        "endColumn": span.end.column.max(1),
    })
}

fn artifact(path: &Path) -> Value {
    let uri = utf8_percent_encode(&path.to_string_lossy(), KEPT).to_string();
    // Relative names start where the check did, which is the root of the sources as a rule.
    if path.is_absolute() { json!({ "uri": format!("file://{uri}") }) } else { json!({ "uri": uri }) }
}

fn location(span: &Span) -> Value {
    json!({ "physicalLocation": { "artifactLocation": artifact(&span.file), "region": region(span) } })
}

fn changes(fix: &Fix) -> Value {
    let mut files: Map<String, Value> = Map::new();
    for edit in &fix.edits {
        let change = files
            .entry(edit.span.file.to_string_lossy())
            .or_insert_with(|| json!({ "artifactLocation": artifact(&edit.span.file), "replacements": [] }));
        if let Some(replacements) = change["replacements"].as_array_mut() {
            replacements.push(
                json!({ "deletedRegion": region(&edit.span), "insertedContent": { "text": edit.text } }),
            );
        }
    }
    json!({
        "description": { "text": fix.title },
        "artifactChanges": files.into_iter().map(|(_, change)| change).collect::<Vec<_>>(),
    })
}
