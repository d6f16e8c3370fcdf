//! What the loader has to say about a project that it takes.

use coracle_report::{Diagnostic, Severity};

use crate::project::{Check, Findings, Run, Subject};
use crate::{Family, Finding, Rule};

pub(super) static CHECK: Check =
    Check { rules: &[&NOT_HONOURED, &OBSOLETE_EXTERNAL, &PROJECT_NAME_CHANGED], run: Run::Subject(run) };

static NOT_HONOURED: Rule = Rule {
    id: "NotHonoured",
    family: Family::Compose,
    severity: Severity::Warning,
    title: "An attribute that has no effect here is left out",
    explanation: "The attribute is one of the Compose specification, and this engine cannot do what it asks for: the project runs, without it. What each attribute comes to is listed in `docs/compose.md`. Take it out, or allow this rule where the project is run by other engines as well.",
    example: Some((
        "services:\n  a:\n    image: a:1\n    credential_spec: {file: x.json}",
        "services:\n  a:\n    image: a:1",
    )),
    ..Rule::PLAIN
};

static OBSOLETE_EXTERNAL: Rule = Rule {
    id: "ObsoleteExternal",
    family: Family::Compose,
    severity: Severity::Warning,
    title: "`external.name` is written `external: true` and `name`",
    explanation: "The form with a name below `external` is of the files of version 2. The specification has `external: true` and `name` beside it, and other tools may not read the old form at all.",
    example: Some(("external:\n  name: shared", "external: true\nname: shared")),
    ..Rule::PLAIN
};

static PROJECT_NAME_CHANGED: Rule = Rule {
    id: "ProjectNameChanged",
    family: Family::Compose,
    severity: Severity::Warning,
    title: "A project's name is of lower-case letters, digits, `_` and `-`",
    explanation: "The name is the beginning of the names of containers, networks and volumes. What has other letters is changed into what is allowed, and `-p` with the name as it is written is then refused. Write the name as it will be used.",
    example: Some(("name: My Shop", "name: my-shop")),
    ..Rule::PLAIN
};

fn run(subject: &Subject<'_>, findings: &mut Findings) {
    let Some(loaded) = subject.loaded else { return };
    for warning in &loaded.warnings {
        let rule = match warning.code.as_str() {
            "not-honoured" => &NOT_HONOURED,
            "obsolete-external" => &OBSOLETE_EXTERNAL,
            "project-name" => &PROJECT_NAME_CHANGED,
            // `version` and unset variables have rules of their own.
            _ => continue,
        };
        findings.push(finding(rule, warning));
    }
}

/// Returns a warning of the loader as a rule's finding.
pub(crate) fn finding(rule: &'static Rule, warning: &Diagnostic) -> Finding {
    let mut diagnostic = warning.clone();
    rule.id.clone_into(&mut diagnostic.code);
    diagnostic.severity = rule.severity;
    let lines = diagnostic.span.clone().unwrap_or_else(|| coracle_report::Span::at("", 0, 0));
    Finding { rule, diagnostic, lines, service: None, fix: None }
}
