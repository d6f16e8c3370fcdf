//! Findings, and the list of them.

use coracle_dockerfile::Source;
use coracle_report::{Diagnostic, Position, Span};

use crate::{Options, Rule};

/// One thing found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub rule: &'static Rule,
    /// Message, exact place, hints; its code is the rule's name.
    pub diagnostic: Diagnostic,
    /// The lines that BuildKit would show: as a rule the whole instruction.
    pub lines: Span,
    /// The service it is about, when it is about one.
    pub service: Option<String>,
    /// What would mend it, when that takes no decision of the author's.
    pub fix: Option<crate::Fix>,
}

/// What a check came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The findings, by line.
    pub findings: Vec<Finding>,
    /// What keeps the file from being built, if anything.
    pub fault: Option<Diagnostic>,
    /// The options that were obeyed.
    pub options: Options,
    /// Base images of which nothing was known, so that rules which ask for their variables were silent.
    pub unknown_bases: Vec<String>,
}

impl Report {
    /// Says whether a build must fail because of findings: `# check=error=true`.
    pub fn fails_the_build(&self) -> bool {
        self.options.error && !self.findings.is_empty()
    }
}

/// Collects findings for one part of a file.
pub(crate) struct Collector<'s> {
    source: &'s Source,
    pub findings: Vec<Finding>,
}

impl<'s> Collector<'s> {
    pub(crate) fn new(source: &'s Source) -> Self {
        Self { source, findings: Vec::new() }
    }

    /// Adds a finding at `place`, which belongs to the instruction at `lines`, if the options want it.
    pub(crate) fn add(
        &mut self,
        options: &Options,
        rule: &'static Rule,
        (place, lines): (&Span, &Span),
        message: String,
        hints: impl IntoIterator<Item = String>,
    ) {
        if !options.wants(rule) {
            return;
        }
        let diagnostic = Diagnostic::new(rule.severity, rule.id, message);
        let diagnostic = self.source.place(diagnostic, place);
        let diagnostic = hints.into_iter().fold(diagnostic, Diagnostic::with_hint);
        self.findings.push(Finding { rule, diagnostic, lines: lines.clone(), service: None, fix: None });
    }

    /// Returns the span of the last line of a stretch.
    pub(crate) fn last_line(&self, span: &Span) -> Span {
        self.source.span(Position::new(span.end.line, 1), span.end)
    }

    /// Returns the findings by line and rule, each once.
    pub(crate) fn sorted(mut self) -> Vec<Finding> {
        self.findings.sort_by_key(|finding| (finding.lines.start.line, finding.diagnostic.message.clone()));
        self.findings.dedup();
        self.findings
    }
}
