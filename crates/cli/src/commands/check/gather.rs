//! What is asked, and everything that was found.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use coracle_engine::{
    CheckOptions, CheckedProject, Checks, Failure, Fault, Finding, Look, ProjectReport, Result,
    RuleSelection, environments,
};
use coracle_report::Diagnostic;

use super::files;
use super::{is_compose, no_such};
use crate::commands::target::ProjectArgs;
use crate::context::Context;
use crate::findings::{Counts, Shown};

/// What is asked.
pub(super) struct Question {
    pub what: Vec<String>,
    pub project: ProjectArgs,
    pub all: bool,
    pub rules: RuleSelection,
    pub host: bool,
    pub here: PathBuf,
    pub environment: BTreeMap<String, String>,
}

/// Everything that was found, in the order in which it is shown.
#[derive(Default)]
pub(super) struct Gathered {
    /// Findings with absolute places, and the environments they were found in.
    pub findings: Vec<(Finding, Vec<String>)>,
    /// What keeps files from being checked.
    faults: Vec<(Diagnostic, Vec<String>)>,
    allowed: usize,
    /// What was checked: `dev`, `12 files`.
    pub place: String,
    here: PathBuf,
}

/// What the words of the command line mean.
enum Meaning {
    Environments(Vec<Option<String>>),
    Files(Vec<PathBuf>),
}

impl Question {
    /// Looks at everything that is asked for.
    pub(super) fn answer(&self, context: &Context) -> Result<Gathered> {
        let mut gathered = Gathered { here: self.here.clone(), ..Gathered::default() };
        match self.meaning()? {
            Meaning::Files(paths) => self.files(&paths, &mut gathered)?,
            Meaning::Environments(wanted) => {
                let engine = context.engine_if_there();
                let checks = Checks::new(engine.as_ref(), &self.environment);
                let options = CheckOptions {
                    rules: self.rules.clone(),
                    look: if self.host { Look::Full } else { Look::Away },
                    contents: true,
                };
                let several = wanted.len() > 1;
                for name in &wanted {
                    let checked = checks.project(&self.project.selection(name.clone()), &options);
                    gathered.take(checked, if several { name.as_deref() } else { None })?;
                }
                let names: Vec<String> = wanted.into_iter().flatten().collect();
                gathered.place = names.join(", ");
            }
        }
        Ok(gathered)
    }

    /// Decides what the words mean: an environment of the project is meant before a file of the same name.
    fn meaning(&self) -> Result<Meaning> {
        let known = environments(self.project.directory()).unwrap_or_default();
        if self.all {
            let all = if known.is_empty() { vec![None] } else { known.into_iter().map(Some).collect() };
            return Ok(Meaning::Environments(all));
        }
        let mut chosen = Vec::new();
        let mut paths = Vec::new();
        for word in &self.what {
            let path = Path::new(word.strip_prefix("./").filter(|rest| !rest.is_empty()).unwrap_or(word));
            if known.contains(word) {
                chosen.push(Some(word.clone()));
            } else if word == "-" || path.is_file() {
                paths.push(path.to_owned());
            } else if path.is_dir() {
                let found = files::dockerfiles(path);
                if found.is_empty() {
                    let message = format!("there is no Dockerfile in {word} or below it");
                    let hint = format!("coracle check --project-directory {word} checks the project there");
                    return Err(Failure::user(Diagnostic::error("no-dockerfile", message).with_hint(hint)));
                }
                let plain = |path: PathBuf| path.strip_prefix(".").map(Path::to_owned).unwrap_or(path);
                paths.extend(found.into_iter().map(plain));
            } else if self.project.names_files() {
                // With files of its own a project may have any environment.
                chosen.push(Some(word.clone()));
            } else {
                return Err(no_such(word, &known));
            }
        }
        match (chosen.is_empty(), paths.is_empty()) {
            (true, true) => Ok(Meaning::Environments(vec![None])),
            (false, true) => Ok(Meaning::Environments(chosen)),
            (true, false) => Ok(Meaning::Files(paths)),
            (false, false) => {
                let message = "environments and files cannot be checked in one go";
                Err(Failure::user(Diagnostic::error("usage", message).with_hint("run coracle check twice")))
            }
        }
    }

    fn files(&self, paths: &[PathBuf], gathered: &mut Gathered) -> Result<()> {
        let (composed, dockerfiles): (Vec<PathBuf>, Vec<PathBuf>) =
            paths.iter().cloned().partition(|path| is_compose(path));
        for checked in files::check(&dockerfiles, &self.rules)? {
            gathered.add(checked.report, None);
        }
        let checks = Checks::new(None, &self.environment);
        let options = CheckOptions { rules: self.rules.clone(), ..CheckOptions::default() };
        for path in composed {
            let mut selection = self.project.selection(None);
            selection.files = vec![path];
            gathered.take(checks.project(&selection, &options), None)?;
        }
        gathered.place = match paths {
            [one] => one.display().to_string(),
            many => format!("{} files", many.len()),
        };
        Ok(())
    }
}

impl Gathered {
    /// Adds a project; one that cannot be read adds what is wrong with its files.
    fn take(&mut self, checked: Result<CheckedProject>, environment: Option<&str>) -> Result<()> {
        match checked {
            Ok(checked) => self.add(checked.report, environment),
            Err(failure) if failure.fault == Fault::User => {
                let faults = failure.diagnostics;
                self.add(ProjectReport { faults, ..ProjectReport::default() }, environment);
            }
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    fn add(&mut self, report: ProjectReport, environment: Option<&str>) {
        self.allowed += report.allowed;
        for finding in report.findings {
            let same = |(own, _): &&mut (Finding, Vec<String>)| {
                own.rule == finding.rule
                    && own.diagnostic.span == finding.diagnostic.span
                    && own.diagnostic.message == finding.diagnostic.message
            };
            // Only other environments find the same again.
            let known = environment.and_then(|_| self.findings.iter_mut().find(same));
            match known {
                Some((own, environments)) => {
                    own.diagnostic.severity = own.diagnostic.severity.max(finding.diagnostic.severity);
                    environments.extend(environment.map(str::to_owned));
                }
                None => self.findings.push((finding, environment.map(str::to_owned).into_iter().collect())),
            }
        }
        for fault in report.faults {
            match self.faults.iter_mut().find(|(own, _)| *own == fault).filter(|_| environment.is_some()) {
                Some((_, environments)) => environments.extend(environment.map(str::to_owned)),
                None => self.faults.push((fault, environment.map(str::to_owned).into_iter().collect())),
            }
        }
    }

    /// Returns a path from the current directory on when it is below it.
    pub(super) fn shorten<'p>(&self, path: &'p Path) -> &'p Path {
        path.strip_prefix(&self.here).unwrap_or(path)
    }

    /// Counts.
    pub(super) fn counts(&self) -> Counts {
        Counts::of(&self.all(), self.allowed)
    }

    fn all(&self) -> Vec<Shown> {
        let faults = self.faults.iter().map(|(fault, environments)| Shown {
            environments: environments.clone(),
            ..Shown::fault(fault.clone())
        });
        let findings = self.findings.iter().map(|(finding, environments)| Shown {
            environments: environments.clone(),
            ..Shown::of(finding)
        });
        faults.chain(findings).collect()
    }

    /// Returns everything with places from the current directory on.
    pub(super) fn shown(self) -> Vec<Shown> {
        let mut all = self.all();
        for one in &mut all {
            let related = one.diagnostic.related.iter_mut().map(|related| &mut related.span);
            let edits = one.fix.iter_mut().flat_map(|fix| &mut fix.edits).map(|edit| &mut edit.span);
            for span in one.diagnostic.span.iter_mut().chain(related).chain(edits) {
                span.file = self.shorten(&span.file).to_owned();
            }
        }
        all
    }
}
