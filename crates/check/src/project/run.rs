//! The order of things: every rule looks at the subject, comments and options take findings away, the rest is sorted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use coracle_dockerfile::Dockerfile;
use coracle_oci::Platform;
use coracle_report::{Diagnostic, Severity, Span};

use super::allow::Allowances;
use super::{Build, Faulty, Files, Findings, Selection, Subject};
use crate::{CHECKS, Finding, Request, Rule, check};

/// How a rule looks.
#[derive(Clone, Copy)]
pub enum Run {
    /// Once, at everything.
    Subject(fn(&Subject<'_>, &mut Findings)),
    /// At each build: a Dockerfile with its target, context and services.
    Build(fn(&Subject<'_>, &Build, &mut Findings)),
    /// At each Dockerfile once, however many targets of it are built.
    Dockerfile(fn(&Dockerfile, &mut Findings)),
}

/// Rules that are tested together, and their test.
#[derive(Clone, Copy)]
pub struct Check {
    /// The rules that it may find.
    pub rules: &'static [&'static Rule],
    /// The test.
    pub run: Run,
}

/// What a check of a project came to.
#[derive(Clone, Debug, Default)]
pub struct ProjectReport {
    /// The findings, by file and line; those without a place come last.
    pub findings: Vec<Finding>,
    /// Builds that cannot be read.
    pub faults: Vec<Diagnostic>,
    /// Findings that comments allow.
    pub allowed: usize,
}

impl ProjectReport {
    /// Returns how many findings and faults are errors.
    pub fn errors(&self) -> usize {
        let bad = |diagnostic: &&Diagnostic| diagnostic.severity == Severity::Error;
        let findings = self.findings.iter().map(|finding| &finding.diagnostic);
        findings.chain(&self.faults).filter(bad).count()
    }

    /// Returns how many findings are warnings.
    pub fn warnings(&self) -> usize {
        self.findings.iter().filter(|finding| finding.diagnostic.severity == Severity::Warning).count()
    }

    /// Shows names of files from `directory` on where they are below it.
    pub fn relative_to(&mut self, directory: &Path) {
        let shorten = |span: &mut Span| {
            if let Ok(rest) = span.file.strip_prefix(directory) {
                span.file = rest.to_owned();
            }
        };
        for finding in &mut self.findings {
            shorten(&mut finding.lines);
            finding.diagnostic.span.iter_mut().for_each(shorten);
            finding.diagnostic.related.iter_mut().for_each(|related| shorten(&mut related.span));
        }
        for fault in &mut self.faults {
            fault.span.iter_mut().for_each(shorten);
        }
    }
}

/// Checks a project, or Dockerfiles alone. `faulty` are builds that could not be read.
pub fn check_project(subject: &Subject<'_>, faulty: Vec<Faulty>, selection: &Selection) -> ProjectReport {
    let mut findings = Findings::default();
    let mut faults: Vec<Diagnostic> = faulty.into_iter().map(|faulty| faulty.fault).collect();
    for build in subject.builds {
        match buildkit(subject, build) {
            Ok(found) => found.into_iter().for_each(|finding| {
                findings.push(finding);
            }),
            Err(fault) => faults.push(fault),
        }
    }
    let mut seen: Vec<&Dockerfile> = Vec::new();
    for build in subject.builds {
        let known = |own: &&Dockerfile| own.source == build.dockerfile.source;
        let first = !seen.iter().any(known);
        if first {
            seen.push(&build.dockerfile);
        }
        for check in CHECKS.iter().copied().flatten() {
            match check.run {
                Run::Build(run) => run(subject, build, &mut findings),
                Run::Dockerfile(run) if first => run(&build.dockerfile, &mut findings),
                Run::Dockerfile(_) | Run::Subject(_) => {}
            }
        }
    }
    for check in CHECKS.iter().copied().flatten() {
        if let Run::Subject(run) = check.run {
            run(subject, &mut findings);
        }
    }
    let (mut allowances, mut allowed, mut kept) = (Allowances::default(), 0, Vec::<Finding>::new());
    for finding in findings.take() {
        if allowances.allow(&finding, subject.files) {
            allowed += 1;
        } else if let Some(finding) = selection.judge(finding) {
            kept.push(finding);
        }
    }
    let place = |finding: &Finding| {
        let span = finding.diagnostic.span.as_ref();
        (span.is_none(), span.map(|span| (span.file.clone(), span.start)))
    };
    kept.sort_by(|a, b| {
        (place(a), a.rule.id, &a.diagnostic.message).cmp(&(place(b), b.rule.id, &b.diagnostic.message))
    });
    // The same Dockerfile may be built by several services.
    kept.dedup_by(|a, b| {
        a.rule == b.rule
            && a.diagnostic.span == b.diagnostic.span
            && a.diagnostic.message == b.diagnostic.message
    });
    let mut lines = Lines { files: subject.files, read: BTreeMap::new() };
    for finding in &mut kept {
        lines.show(&mut finding.diagnostic);
    }
    faults.iter_mut().for_each(|fault| lines.show(fault));
    faults.dedup();
    ProjectReport { findings: kept, faults, allowed }
}

/// Asks BuildKit's rules of the stages that a build needs; of a Dockerfile alone, of all.
fn buildkit(subject: &Subject<'_>, build: &Build) -> Result<Vec<Finding>, Diagnostic> {
    let host = Platform::host();
    let platform = build.platform.as_deref().and_then(|text| text.parse().ok()).unwrap_or(host);
    let report = check(&Request {
        dockerfile: &build.dockerfile,
        build_args: &build.args,
        platform: &platform,
        target: (!build.services.is_empty()).then_some(build.target),
        ignore: build.ignore.as_ref(),
        contexts: &build.contexts,
        bases: subject.images,
    })?;
    match report.fault {
        Some(fault) => Err(fault),
        None => Ok(report.findings),
    }
}

/// The lines that places point into.
struct Lines<'a> {
    files: &'a dyn Files,
    read: BTreeMap<PathBuf, Option<String>>,
}

impl Lines<'_> {
    fn line(&mut self, span: &Span) -> Option<String> {
        let text = self.read.entry(span.file.clone()).or_insert_with(|| self.files.text(&span.file));
        let text = text.as_deref()?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let line = text.lines().nth((span.start.line as usize).checked_sub(1)?)?;
        Some(line.trim_end_matches('\r').to_owned())
    }

    fn show(&mut self, diagnostic: &mut Diagnostic) {
        if let (Some(span), None) = (&diagnostic.span, &diagnostic.source_line) {
            diagnostic.source_line = self.line(span);
        }
        for related in &mut diagnostic.related {
            if related.source_line.is_none() {
                related.source_line = self.line(&related.span);
            }
        }
    }
}
