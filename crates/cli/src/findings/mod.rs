//! Findings in the formats that people and programs read: text, JSON, SARIF, annotations of GitHub Actions.

mod github;
mod json;
mod sarif;
mod text;

use coracle_engine::{Finding, Fix, Rule};
use coracle_report::{Diagnostic, Severity};

pub use github::github;
pub use json::{json, rules};
pub use sarif::sarif;
pub use text::text;

/// How findings are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
    /// For code scanners.
    Sarif,
    /// Annotations of GitHub Actions.
    Github,
}

/// A finding, or a fault that keeps files from being checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// The rule; `None` for a fault.
    pub rule: Option<&'static Rule>,
    /// What is to be said.
    pub diagnostic: Diagnostic,
    /// The service it is about.
    pub service: Option<String>,
    /// What would mend it.
    pub fix: Option<Fix>,
    /// The environments that it was found in; none where that is no question.
    pub environments: Vec<String>,
}

impl Shown {
    /// Shows a finding.
    pub fn of(finding: &Finding) -> Self {
        Self {
            rule: Some(finding.rule),
            diagnostic: finding.diagnostic.clone(),
            service: finding.service.clone(),
            fix: finding.fix.clone(),
            environments: Vec::new(),
        }
    }

    /// Shows a fault.
    pub fn fault(diagnostic: Diagnostic) -> Self {
        Self { rule: None, diagnostic, service: None, fix: None, environments: Vec::new() }
    }

    /// Returns the rule's name, or the fault's.
    pub fn id(&self) -> &str {
        self.rule.map_or(&self.diagnostic.code, |rule| rule.id)
    }
}

/// How many findings of each kind there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Errors.
    pub errors: usize,
    /// Warnings.
    pub warnings: usize,
    /// Notes.
    pub notes: usize,
    /// Findings that comments allow.
    pub allowed: usize,
    /// Findings that `--fix` can mend.
    pub fixable: usize,
}

impl Counts {
    /// Counts what is shown; `allowed` was not.
    pub fn of(shown: &[Shown], allowed: usize) -> Self {
        let mut counts = Self { allowed, ..Self::default() };
        for one in shown {
            *match one.diagnostic.severity {
                Severity::Error => &mut counts.errors,
                Severity::Warning => &mut counts.warnings,
                Severity::Note => &mut counts.notes,
            } += 1;
            counts.fixable += usize::from(one.fix.is_some());
        }
        counts
    }

    /// Returns the line that ends a check: `3 errors, 5 warnings, 2 notes in dev (1 allowed by comments)`.
    pub fn line(self, place: &str) -> String {
        let kinds = [(self.errors, "error"), (self.warnings, "warning"), (self.notes, "note")];
        let found: Vec<String> = kinds
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| plural(count, word))
            .collect();
        let mut line = if found.is_empty() { "nothing found".to_owned() } else { found.join(", ") };
        if !place.is_empty() {
            line = format!("{line} in {place}");
        }
        let mut more = Vec::new();
        if self.allowed > 0 {
            more.push(format!("{} allowed by comments", self.allowed));
        }
        if self.fixable > 0 {
            more.push(format!("{} can be fixed with --fix", self.fixable));
        }
        if more.is_empty() { line } else { format!("{line} ({})", more.join("; ")) }
    }
}

/// Returns a count of things: `1 error`, `2 errors`.
pub fn plural(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line() {
        let counts = Counts { errors: 3, warnings: 1, notes: 2, allowed: 1, fixable: 4 };
        assert_eq!(
            counts.line("dev"),
            "3 errors, 1 warning, 2 notes in dev (1 allowed by comments; 4 can be fixed with --fix)"
        );
        assert_eq!(Counts::default().line(""), "nothing found");
        assert_eq!(Counts { warnings: 2, ..Counts::default() }.line("prod"), "2 warnings in prod");
    }
}
