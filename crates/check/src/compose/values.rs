//! Values that YAML or the merge turns into others than those that are written.

use coracle_composefile::{ScalarStyle, ValueKind, View};
use coracle_report::Severity;

use crate::project::{Check, Findings, Run, Subject};
use crate::{Family, Fix, Rule};

pub(super) static CHECK: Check =
    Check { rules: &[&YAML_CHANGES_VALUE, &UNQUOTED_PORT, &VARIABLE_SET_TWICE], run: Run::Subject(run) };

static YAML_CHANGES_VALUE: Rule = Rule {
    id: "YamlChangesValue",
    family: Family::Compose,
    severity: Severity::Warning,
    title: "A value that YAML takes for a number or nothing stands in quotes",
    explanation: "Environment, build arguments and labels are text, but a value without quotes is read by YAML first: `1.10` becomes `1.1`, `0755` becomes `493`, `1e3` becomes `1000`, `1_000` becomes `1000`, and `null` or `~` means that the caller's variable of that name is passed on. In quotes it stays what it is.",
    example: Some(("args:\n  GO_VERSION: 1.20", "args:\n  GO_VERSION: \"1.20\"")),
    fixable: true,
    ..Rule::PLAIN
};

static UNQUOTED_PORT: Rule = Rule {
    id: "UnquotedPort",
    family: Family::Compose,
    severity: Severity::Note,
    title: "A port mapping stands in quotes",
    explanation: "Readers of YAML 1.1, among them docker-compose 1 and PyYAML, take two numbers with a colon between for one to the base of 60 when the last is below 60: `22:22` is 1342 to them. Readers of YAML 1.2 take it for text. In quotes it is the same to all.",
    example: Some(("ports:\n  - 2222:22", "ports:\n  - \"2222:22\"")),
    fixable: true,
    ..Rule::PLAIN
};

static VARIABLE_SET_TWICE: Rule = Rule {
    id: "VariableSetTwice",
    family: Family::Compose,
    severity: Severity::Warning,
    title: "A list sets each variable once",
    explanation: "In a list of `NAME=value` the last one counts, without a word: whoever edits the first one changes nothing. Take one of them out.",
    example: Some(("environment:\n  - LOG=info\n  - LOG=debug", "environment:\n  - LOG=debug")),
    ..Rule::PLAIN
};

fn run(subject: &Subject<'_>, findings: &mut Findings) {
    let Some(loaded) = subject.loaded else { return };
    for layer in loaded.layers() {
        for document in layer.documents() {
            let Some(services) = document.get(&["services"]) else { continue };
            for (name, service) in services.entries() {
                for path in [&["environment"][..], &["build", "args"], &["labels"], &["build", "labels"]] {
                    let Some(values) = service.get(path) else { continue };
                    let what = path.join(".");
                    for (key, value) in values.entries() {
                        changed(name, &what, key, value, findings);
                    }
                    if path == ["environment"] || path == ["build", "args"] {
                        twice(name, values, findings);
                    }
                }
                let ports = service.get(&["ports"]);
                for port in ports.into_iter().flat_map(View::items) {
                    unquoted(name, port, findings);
                }
            }
        }
    }
}

fn changed(service: &str, what: &str, key: &str, value: View<'_>, findings: &mut Findings) {
    if key == "<<" || value.style() == Some(ScalarStyle::Quoted) || value.style() == Some(ScalarStyle::Block)
    {
        return;
    }
    let span = value.span();
    let (message, written) = match value.kind() {
        ValueKind::Integer | ValueKind::Float => {
            let Some(text) = value.text() else { return };
            let shown = value.shown();
            if shown == text {
                return;
            }
            (format!("{what}.{key} of `{service}` becomes `{shown}`"), text.to_owned())
        }
        ValueKind::Null if span.end.line == span.start.line && span.end.column > span.start.column => {
            let width = span.end.column - span.start.column;
            if width != 1 && width != 4 {
                return;
            }
            let written = if width == 1 { "~" } else { "null" };
            (
                format!("{what}.{key} of `{service}` is no text: the caller's `{key}` is passed on"),
                written.to_owned(),
            )
        }
        _ => return,
    };
    let finding = findings.add(&YAML_CHANGES_VALUE, &span, message).of(service);
    if value.kind() == ValueKind::Null {
        finding.hint(format!("write `{key}: \"\"` for nothing, or `{key}:` to pass it on"));
    } else {
        finding.hint(format!("write `{key}: \"{written}\"`")).fix(Fix::replace(
            "put the value in quotes",
            &span,
            format!("\"{written}\""),
        ));
    }
}

fn twice(service: &str, values: View<'_>, findings: &mut Findings) {
    let items: Vec<(View<'_>, &str, Option<&str>)> = values
        .items()
        .filter_map(|item| {
            let text = item.text()?;
            let (name, value) =
                text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
            Some((item, name, value))
        })
        .collect();
    for (index, (item, name, value)) in items.iter().enumerate() {
        let Some((earlier, ..)) =
            items[..index].iter().find(|(_, own, before)| own == name && before != value)
        else {
            continue;
        };
        findings
            .add(
                &VARIABLE_SET_TWICE,
                &item.span(),
                format!("`{name}` of `{service}` is set twice; this one counts"),
            )
            .also(&earlier.span(), "this one does not")
            .hint("take one of them out")
            .of(service);
    }
}

fn unquoted(service: &str, port: View<'_>, findings: &mut Findings) {
    if port.style() != Some(ScalarStyle::Plain) {
        return;
    }
    let Some(text) = port.text() else { return };
    let numbers: Vec<&str> = text.split(':').collect();
    let digits = |number: &&str| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let sixty = numbers.len() == 2
        && numbers.iter().all(digits)
        && numbers[1].parse::<u32>().is_ok_and(|last| last < 60);
    if !sixty {
        return;
    }
    findings
        .add(
            &UNQUOTED_PORT,
            &port.span(),
            format!("`{text}` of `{service}` is a number to readers of YAML 1.1"),
        )
        .hint(format!("write \"{text}\""))
        .fix(Fix::replace("put the port in quotes", &port.span(), format!("\"{text}\"")))
        .of(service);
}
