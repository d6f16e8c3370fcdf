//! Which rules are wanted, and how bad their findings are.

use coracle_report::{Diagnostic, Severity};

use crate::{Family, Finding, Rule, all, find_any};

/// A name that is no rule's and no family's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no rule `{name}`")]
pub struct UnknownRule {
    /// The name.
    pub name: String,
    /// The rule that was probably meant.
    pub near: Option<&'static str>,
}

impl UnknownRule {
    /// Returns it as an error for the user.
    pub fn diagnostic(&self) -> Diagnostic {
        let error = Diagnostic::error("unknown-rule", self.to_string());
        match self.near {
            Some(near) => error.with_hint(format!("did you mean `{near}`?")),
            None => error.with_hint("coracle explain --list"),
        }
    }
}

/// `--allow` and `--deny`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    allowed: Vec<Name>,
    denied: Vec<Name>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Rule(&'static str),
    Family(Family),
    /// Every warning.
    Warnings,
}

impl Name {
    fn read(text: &str) -> Result<Self, UnknownRule> {
        if let Some(rule) = find_any(text) {
            return Ok(Self::Rule(rule.id));
        }
        if let Some(family) = Family::ALL.into_iter().find(|family| family.name().eq_ignore_ascii_case(text))
        {
            return Ok(Self::Family(family));
        }
        if text.eq_ignore_ascii_case("warnings") {
            return Ok(Self::Warnings);
        }
        let near = coracle_dockerfile::nearest(text, all().map(|rule| rule.id)).and_then(find_any);
        Err(UnknownRule { name: text.to_owned(), near: near.map(|rule| rule.id) })
    }

    fn holds(&self, rule: &Rule, severity: Severity) -> bool {
        match self {
            Self::Rule(id) => rule.id == *id,
            Self::Family(family) => rule.family == *family,
            Self::Warnings => severity == Severity::Warning,
        }
    }
}

impl Selection {
    /// Reads names of rules, of families, or `warnings`.
    pub fn new(allow: &[String], deny: &[String]) -> Result<Self, UnknownRule> {
        let read = |names: &[String]| -> Result<Vec<Name>, UnknownRule> {
            names.iter().map(|name| Name::read(name)).collect()
        };
        Ok(Self { allowed: read(allow)?, denied: read(deny)? })
    }

    /// Returns what a finding comes to: denied ones are errors, allowed ones are gone. A rule by its own name counts more
    /// than its family.
    pub(crate) fn judge(&self, mut finding: Finding) -> Option<Finding> {
        let severity = finding.diagnostic.severity;
        let by_name = |names: &[Name]| {
            names.iter().any(|name| matches!(name, Name::Rule(id) if *id == finding.rule.id))
        };
        let any = |names: &[Name]| names.iter().any(|name| name.holds(finding.rule, severity));
        let allowed = any(&self.allowed) && (!by_name(&self.denied) || by_name(&self.allowed));
        if allowed {
            return None;
        }
        if any(&self.denied) {
            finding.diagnostic.severity = Severity::Error;
        }
        Some(finding)
    }
}
