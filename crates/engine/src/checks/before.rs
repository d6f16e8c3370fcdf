//! The check that comes before something is started.

use coracle_check::Selection as RuleSelection;
use coracle_report::{Diagnostic, Severity};

use super::{CheckOptions, Checks, Look};
use crate::projects::{Projects, UpOptions, closure};
use crate::{Failure, LoadedProject, Result};

/// What a check before a start leaves to be said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remarks {
    /// Warnings, which keep nothing from starting.
    pub warnings: usize,
}

impl Projects<'_> {
    /// Checks what an `up` is about to start, and refuses it when there are errors. Only what is known at once is looked
    /// at: images are not looked into, and that a port is held is found out when it is bound.
    pub fn check_before(&self, loaded: &LoadedProject, options: &UpOptions) -> Result<Remarks> {
        loaded.check_services(&options.services)?;
        let checks = Checks::new(Some(self.engine), &self.engine.environment);
        let choice = CheckOptions { rules: RuleSelection::default(), look: Look::Quick, contents: false };
        let report = checks.loaded(loaded, &choice);
        let wanted = closure(loaded.project(), options);
        let concerns =
            |service: &Option<String>| service.as_ref().is_none_or(|service| wanted.contains(service));
        let mut errors: Vec<Diagnostic> = Vec::new();
        // Which service a build that cannot be read belongs to is found out by building it.
        if options.services.is_empty() {
            errors.extend(report.faults);
        }
        // The reader of the files has told its warnings already.
        let told = |finding: &Diagnostic| {
            let place = |diagnostic: &Diagnostic| {
                diagnostic.span.as_ref().map(|span| (span.file.clone(), span.start.line))
            };
            let warnings = &loaded.loaded().warnings;
            place(finding)
                .is_some_and(|own| warnings.iter().any(|warning| place(warning).as_ref() == Some(&own)))
        };
        let mut remarks = Remarks::default();
        for finding in report.findings.into_iter().filter(|finding| concerns(&finding.service)) {
            match finding.diagnostic.severity {
                Severity::Error => {
                    let note = format!("rule: coracle explain {}", finding.rule.id);
                    errors.push(finding.diagnostic.with_note(note));
                }
                Severity::Warning if told(&finding.diagnostic) => {}
                Severity::Warning => remarks.warnings += 1,
                Severity::Note => {}
            }
        }
        match errors.pop() {
            None => Ok(remarks),
            Some(last) => {
                errors.push(last.with_hint("mend it, or start in spite of it with --no-check"));
                Err(Failure::findings(errors))
            }
        }
    }
}
