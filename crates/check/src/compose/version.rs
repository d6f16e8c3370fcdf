//! `version:` of Compose files.

use coracle_report::{Position, Severity, Span};

use crate::project::{Check, Findings, Run, Subject};
use crate::{Family, Fix, Rule};

pub(super) static CHECK: Check = Check { rules: &[&OBSOLETE_VERSION], run: Run::Subject(run) };

static OBSOLETE_VERSION: Rule = Rule {
    id: "ObsoleteVersion",
    family: Family::Compose,
    severity: Severity::Warning,
    title: "`version` is obsolete and should be left out",
    explanation: "The Compose specification has one version: `version:` is read by nothing, and Docker Compose warns of it at every command. Take the line out.",
    example: Some(("version: '3.8'\nservices: ...", "services: ...")),
    fixable: true,
    ..Rule::PLAIN
};

fn run(subject: &Subject<'_>, findings: &mut Findings) {
    let Some(project) = subject.project() else { return };
    for file in &project.files {
        let Some(text) = subject.files.text(file) else { continue };
        // At the margin it can only be the top level's.
        let line = text.lines().enumerate().find(|(_, line)| line.starts_with("version:"));
        let Some((index, line)) = line else { continue };
        let number = index as u32 + 1;
        let end = Position::new(number, line.chars().count() as u32 + 1);
        let span = Span::new(file, Position::new(number, 1), end);
        findings
            .add(&OBSOLETE_VERSION, &span, "`version` is obsolete: nothing reads it")
            .hint("take the line out")
            .fix(Fix::remove_lines("take `version` out", &span));
    }
}
