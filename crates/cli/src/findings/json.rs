//! Findings and rules as JSON; docs/checks.md describes it.

use coracle_engine::{Fix, Rule};
use coracle_report::Span;
use serde_json::{Value, json};

use super::{Counts, Shown};

/// The version of the shape, which changes when a program that reads it must.
const VERSION: u32 = 1;

/// Returns findings as one JSON object.
pub fn json(shown: &[Shown], counts: Counts) -> String {
    let findings: Vec<Value> = shown.iter().map(finding).collect();
    let all = json!({
        "version": VERSION,
        "findings": findings,
        "summary": {
            "errors": counts.errors,
            "warnings": counts.warnings,
            "notes": counts.notes,
            "allowed": counts.allowed,
            "fixable": counts.fixable,
        },
    });
    format!("{all:#}\n")
}

/// Returns rules as a JSON array.
pub fn rules<'r>(rules: impl IntoIterator<Item = &'r Rule>) -> String {
    let list: Vec<Value> = rules.into_iter().map(rule).collect();
    format!("{:#}\n", Value::from(list))
}

fn rule(rule: &Rule) -> Value {
    json!({
        "id": rule.id,
        "aliases": rule.aliases,
        "family": rule.family.name(),
        "severity": rule.severity,
        "title": rule.title,
        "explanation": rule.explanation,
        "example": rule.example.map(|(bad, good)| json!({ "bad": bad, "good": good })),
        "fixable": rule.fixable,
        "url": rule.url,
    })
}

fn finding(one: &Shown) -> Value {
    let diagnostic = &one.diagnostic;
    let related: Vec<Value> = diagnostic
        .related
        .iter()
        .map(|related| {
            let mut value = place(Some(&related.span));
            value["label"] = json!(related.label);
            value
        })
        .collect();
    let mut value = json!({
        "rule": one.id(),
        "family": one.rule.map(|rule| rule.family.name()),
        "severity": diagnostic.severity,
        "message": diagnostic.message,
    });
    if let (Some(into), Value::Object(from)) = (value.as_object_mut(), place(diagnostic.span.as_ref())) {
        into.extend(from);
    }
    value["service"] = json!(one.service);
    value["environments"] = json!(one.environments);
    value["related"] = json!(related);
    value["notes"] = json!(diagnostic.notes);
    value["hints"] = json!(diagnostic.hints);
    value["fix"] = one.fix.as_ref().map_or(Value::Null, fix);
    value["url"] = json!(one.rule.and_then(|rule| rule.url));
    value
}

fn place(span: Option<&Span>) -> Value {
    json!({
        "file": span.map(|span| &span.file),
        "line": span.map(|span| span.start.line),
        "column": span.map(|span| span.start.column),
        "endLine": span.map(|span| span.end.line),
        "endColumn": span.map(|span| span.end.column),
    })
}

fn fix(fix: &Fix) -> Value {
    let edits: Vec<Value> = fix
        .edits
        .iter()
        .map(|edit| {
            let mut value = place(Some(&edit.span));
            value["text"] = json!(edit.text);
            value
        })
        .collect();
    json!({ "title": fix.title, "edits": edits })
}
