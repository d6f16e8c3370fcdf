//! Findings, outlines and targets as text and JSON, laid out as buildx does, with carets and hints beside.

use std::fmt::Write as _;

use coracle_engine::{Checked, Finding, Outline, OutlineAttachment, Target};
use coracle_report::{Severity, Span};
use serde_json::{Value, json};

use crate::findings::Shown;

/// Returns what the user should know of a check beside its findings.
pub fn remarks(checked: &Checked) -> Vec<String> {
    let unknown = checked.report.options.unknown().into_iter().map(|(name, near)| match near {
        Some(near) => format!("note: there is no check `{name}`; did you mean `{near}`?"),
        None => format!("note: there is no check `{name}`"),
    });
    let bases = checked.report.unknown_bases.iter().map(|image| {
        format!("note: {image} is not here, so what its variables are is not known; `coracle pull {image}` lets all be checked")
    });
    unknown.chain(bases).collect()
}

/// Returns findings for people.
pub fn text(checked: &Checked) -> String {
    let report = &checked.report;
    let mut out = match (report.findings.len(), &report.fault) {
        (0, None) => "Check complete, no warnings found.\n".to_owned(),
        (0, Some(_)) => String::new(),
        (1, _) => "Check complete, 1 warning has been found!\n".to_owned(),
        (count, _) => format!("Check complete, {count} warnings have been found!\n"),
    };
    for finding in &report.findings {
        let word = if finding.rule.severity == Severity::Error { "ERROR" } else { "WARNING" };
        let _ = write!(out, "\n{word}: {}", finding.rule.id);
        if let Some(url) = finding.rule.url {
            let _ = write!(out, " - {url}");
        }
        let _ = writeln!(out, "\n{}", finding.diagnostic.message);
        excerpt(&mut out, &checked.text, &finding.lines, finding.diagnostic.span.as_ref());
        for hint in &finding.diagnostic.hints {
            let _ = writeln!(out, "hint: {hint}");
        }
    }
    if let Some(fault) = &report.fault {
        let _ = writeln!(out, "\nERROR: {}", fault.message);
        if let Some(span) = &fault.span {
            excerpt(&mut out, &checked.text, span, Some(span));
        }
        for hint in &fault.hints {
            let _ = writeln!(out, "hint: {hint}");
        }
    }
    out
}

/// Writes the lines of a stretch with some around, marked, and carets below the exact place.
fn excerpt(out: &mut String, text: &str, marked: &Span, exact: Option<&Span>) {
    let lines: Vec<&str> = text.strip_prefix('\u{feff}').unwrap_or(text).split('\n').collect();
    let first = marked.start.line as usize;
    let last = (marked.end.line as usize).clamp(first, lines.len());
    if first == 0 || first > lines.len() {
        return;
    }
    let wanted = if first == last { 4 } else { 2 };
    let (mut start, mut end, mut padded) = (first, last, 0);
    while padded < wanted {
        if start > 1 {
            start -= 1;
            padded += 1;
        }
        if end < lines.len() {
            end += 1;
            padded += 1;
        }
        padded += 1;
    }
    let _ = writeln!(out, "{}:{first}\n--------------------", marked.file.display());
    for number in start..=end {
        let line = lines[number - 1].trim_end_matches('\r');
        let mark = if (first..=last).contains(&number) { ">>>" } else { "   " };
        let _ = writeln!(out, " {number:3} | {mark} {line}");
        let here = exact.filter(|span| {
            span.start.line as usize == number && span.end.line == span.start.line && span.start < span.end
        });
        if let Some(span) = here {
            let before = span.start.column as usize - 1;
            let lead: String =
                line.chars().take(before).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            let _ = writeln!(
                out,
                "     |     {lead}{}",
                "^".repeat((span.end.column - span.start.column) as usize)
            );
        }
    }
    out.push_str("--------------------\n");
}

fn range(span: &Span) -> Value {
    json!({
        "start": { "line": span.start.line, "character": span.start.column - 1 },
        "end": { "line": span.end.line, "character": span.end.column.max(1) - 1 },
    })
}

/// Returns findings as buildx's JSON, with places to the character.
pub fn json(checked: &Checked) -> String {
    let warning = |finding: &Finding| {
        let lines = &finding.lines;
        let mut warning = json!({
            "ruleName": finding.rule.id,
            "description": finding.rule.title,
            "url": finding.rule.url,
            "detail": finding.diagnostic.message,
            "location": {
                "ranges": [{ "start": { "line": lines.start.line }, "end": { "line": lines.end.line } }],
            },
            "severity": finding.rule.severity,
            "hints": finding.diagnostic.hints,
        });
        if let Some(span) = &finding.diagnostic.span {
            warning["location"]["exact"] = range(span);
        }
        warning
    };
    let report = &checked.report;
    let mut all = json!({
        "warnings": report.findings.iter().map(warning).collect::<Vec<_>>(),
        "sources": [{ "filename": checked.file, "language": "Dockerfile", "data": checked.text }],
    });
    if let Some(fault) = &report.fault {
        all["buildError"] = json!({
            "message": fault.message,
            "location": { "ranges": fault.span.iter().map(range).collect::<Vec<_>>() },
        });
    }
    pretty(&all)
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Returns a check's findings, and its fault, as the writers of other formats take them.
pub fn shown(checked: &Checked) -> Vec<Shown> {
    let report = &checked.report;
    let findings = report.findings.iter().map(Shown::of);
    findings.chain(report.fault.iter().cloned().map(Shown::fault)).collect()
}

/// Writes rows in columns, `gap` blanks apart; the last column is not padded.
fn columns(out: &mut String, gap: usize, rows: &[Vec<&str>]) {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count)
        .map(|column| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            line.push_str(cell);
            if column + 1 < row.len() {
                line.push_str(&" ".repeat(widths[column] - cell.chars().count() + gap));
            }
        }
        let _ = writeln!(out, "{line}");
    }
}

/// Returns a target's outline for people.
pub fn outline_text(outline: &Outline) -> String {
    let mut out = String::new();
    if outline.name.is_some() || outline.description.is_some() {
        let mut rows = vec![vec!["TARGET:", outline.name.as_deref().unwrap_or("(default)")]];
        rows.extend(outline.description.as_deref().map(|description| vec!["DESCRIPTION:", description]));
        columns(&mut out, 1, &rows);
        out.push('\n');
    }
    if !outline.arguments.is_empty() {
        let mut rows = vec![vec!["BUILD ARG", "VALUE", "DESCRIPTION"]];
        rows.extend(outline.arguments.iter().map(|argument| {
            let value = argument.value.as_deref().unwrap_or_default();
            vec![argument.name.as_str(), value, argument.description.as_deref().unwrap_or_default()]
        }));
        columns(&mut out, 3, &rows);
        out.push('\n');
    }
    for (title, list) in [("SECRET", &outline.secrets), ("SSH", &outline.ssh)] {
        if !list.is_empty() {
            let mut rows = vec![vec![title, "REQUIRED"]];
            rows.extend(
                list.iter().map(|item| vec![item.name.as_str(), if item.required { "true" } else { "" }]),
            );
            columns(&mut out, 3, &rows);
            out.push('\n');
        }
    }
    out
}

/// Returns a target's outline as buildx's JSON; what is empty is left out.
pub fn outline_json(outline: &Outline) -> String {
    let location = |(start, end): (u32, u32)| json!({ "ranges": [{ "start": { "line": start }, "end": { "line": end } }] });
    let attachments = |list: &[OutlineAttachment]| -> Value {
        list.iter()
            .map(|item| {
                let mut value = json!({ "name": item.name });
                if item.required {
                    value["required"] = json!(true);
                }
                value["location"] = location(item.lines);
                value
            })
            .collect()
    };
    let mut all = json!({});
    if let Some(name) = &outline.name {
        all["name"] = json!(name);
    }
    if let Some(description) = &outline.description {
        all["description"] = json!(description);
    }
    if !outline.arguments.is_empty() {
        all["args"] = outline
            .arguments
            .iter()
            .map(|argument| {
                let mut value = json!({ "name": argument.name });
                if let Some(description) = &argument.description {
                    value["description"] = json!(description);
                }
                if let Some(text) = argument.value.as_ref().filter(|text| !text.is_empty()) {
                    value["value"] = json!(text);
                }
                value["location"] = location(argument.lines);
                value
            })
            .collect();
    }
    if !outline.secrets.is_empty() {
        all["secrets"] = attachments(&outline.secrets);
    }
    if !outline.ssh.is_empty() {
        all["ssh"] = attachments(&outline.ssh);
    }
    pretty(&all)
}

/// Returns targets for people.
pub fn targets_text(targets: &[Target]) -> String {
    let names: Vec<String> = targets
        .iter()
        .map(|target| match (&target.name, target.default) {
            (None, true) => "(default)".to_owned(),
            (Some(name), true) => format!("{name} (default)"),
            (name, false) => name.clone().unwrap_or_default(),
        })
        .collect();
    let mut rows = vec![vec!["TARGET", "DESCRIPTION"]];
    for (name, target) in names.iter().zip(targets) {
        rows.push(vec![name.as_str(), target.description.as_deref().unwrap_or_default()]);
    }
    let mut out = String::new();
    columns(&mut out, 1, &rows);
    out
}

/// Returns targets as buildx's JSON.
pub fn targets_json(targets: &[Target]) -> String {
    let list: Vec<Value> = targets
        .iter()
        .map(|target| {
            let mut value = json!({});
            if let Some(name) = &target.name {
                value["name"] = json!(name);
            }
            if target.default {
                value["default"] = json!(true);
            }
            if let Some(description) = &target.description {
                value["description"] = json!(description);
            }
            value["base"] = json!(target.base);
            if let Some(platform) = &target.platform {
                value["platform"] = json!(platform);
            }
            let (start, end) = target.lines;
            value["location"] = json!({ "ranges": [{ "start": { "line": start }, "end": { "line": end } }] });
            value
        })
        .collect();
    pretty(&json!({ "targets": list }))
}
