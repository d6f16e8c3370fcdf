//! The collection of findings about a project.

use coracle_report::{Diagnostic, Span};

use crate::{Finding, Fix, Rule};

/// Collects findings; each rule adds its own.
#[derive(Debug, Default)]
pub struct Findings {
    found: Vec<Finding>,
}

impl Findings {
    /// Adds a finding at a place and returns it, for notes, hints, further places and a fix.
    pub fn add(&mut self, rule: &'static Rule, span: &Span, message: impl Into<String>) -> &mut Finding {
        let diagnostic = Diagnostic::new(rule.severity, rule.id, message).with_span(span.clone());
        self.push(Finding { rule, diagnostic, lines: span.clone(), service: None, fix: None })
    }

    /// Adds a finding that has no place in a file: the machine's.
    pub fn add_unplaced(&mut self, rule: &'static Rule, message: impl Into<String>) -> &mut Finding {
        let diagnostic = Diagnostic::new(rule.severity, rule.id, message);
        let lines = Span::at("", 0, 0);
        self.push(Finding { rule, diagnostic, lines, service: None, fix: None })
    }

    /// Adds a finding as it is.
    pub fn push(&mut self, finding: Finding) -> &mut Finding {
        self.found.push(finding);
        self.found.last_mut().expect("one was pushed just now")
    }

    /// Returns the findings.
    pub fn take(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.found)
    }
}

impl Finding {
    /// Adds one line of evidence.
    pub fn note(&mut self, note: impl Into<String>) -> &mut Self {
        self.diagnostic.notes.push(note.into());
        self
    }

    /// Adds what to do about it.
    pub fn hint(&mut self, hint: impl Into<String>) -> &mut Self {
        self.diagnostic.hints.push(coracle_report::Hint(hint.into()));
        self
    }

    /// Adds a further place, with a few words about it.
    pub fn also(&mut self, span: &Span, label: impl Into<String>) -> &mut Self {
        self.diagnostic.related.push(coracle_report::Related {
            span: span.clone(),
            source_line: None,
            label: label.into(),
        });
        self
    }

    /// Says which service it is about.
    pub fn of(&mut self, service: impl Into<String>) -> &mut Self {
        self.service = Some(service.into());
        self
    }

    /// Says what would mend it.
    pub fn fix(&mut self, fix: Fix) -> &mut Self {
        self.fix = Some(fix);
        self
    }

    /// Makes it as bad as this, whatever its rule says.
    pub fn severity(&mut self, severity: coracle_report::Severity) -> &mut Self {
        self.diagnostic.severity = severity;
        self
    }
}
