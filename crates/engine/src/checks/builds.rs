//! Build checks: what `check` finds in a Dockerfile, with what this machine knows of its base images and context.
//!
//! Resolves nothing: an image that is not here is unknown, and rules that ask for its variables are silent then.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use coracle_build::BuildRequest;
use coracle_check::{Bases, Outline, Report, Request, Target};
use coracle_dockerfile::{Dockerfile, IgnoreFile};
use coracle_oci::Platform;
use coracle_report::{Diagnostic, Event};

use super::StoredImages;
use crate::builds::{BuildOptions, Builds};
use crate::contexts::Opened;
use crate::ports::build::ignore_of;
use crate::{Failure, Result};

/// What a check came to, with the file that was checked.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The file as the user named it.
    pub file: PathBuf,
    /// Its text.
    pub text: String,
    /// The findings.
    pub report: Report,
}

/// What a check asks for beside the Dockerfile.
struct Circumstances {
    build_args: BTreeMap<String, String>,
    platform: Platform,
    ignore: Option<IgnoreFile>,
    contexts: BTreeSet<String>,
}

impl Circumstances {
    fn new(options: &BuildOptions, opened: &Opened, platform: Platform) -> Result<Self> {
        let pairs = options.build_args.iter().map(|(name, value)| (name.clone(), value.clone()));
        Ok(Self {
            build_args: pairs.collect(),
            platform,
            ignore: ignore_of(&opened.main, &opened.dockerfile.0)?,
            contexts: options.named.iter().map(|(name, _)| name.clone()).collect(),
        })
    }

    fn request<'r>(
        &'r self,
        dockerfile: &'r Dockerfile,
        target: Option<usize>,
        bases: &'r dyn Bases,
    ) -> Request<'r> {
        Request {
            dockerfile,
            build_args: &self.build_args,
            platform: &self.platform,
            target,
            ignore: self.ignore.as_ref(),
            contexts: &self.contexts,
            bases,
        }
    }
}

/// Returns the first platform that is built for.
fn platform(options: &BuildOptions) -> Platform {
    options.run.platforms.first().cloned().unwrap_or_else(Platform::host)
}

impl Builds<'_> {
    /// Opens what is checked, with the Dockerfile's name as it is shown: without a leading `./`, and in what was unpacked
    /// by its place there.
    fn checked(&self, options: &BuildOptions) -> Result<(Opened, PathBuf)> {
        let opened = self.open(options, &AtomicBool::new(false))?;
        let file = &opened.dockerfile.0;
        let inside = file.strip_prefix(&opened.main.directory).ok().filter(|_| opened.main.is_foreign());
        let shown = inside.or_else(|| file.strip_prefix("./").ok()).unwrap_or(file).to_owned();
        Ok((opened, shown))
    }

    /// Checks a Dockerfile, all of its stages. A file that cannot be read as one is a fault of the report.
    pub fn check(&self, options: &BuildOptions) -> Result<Checked> {
        let (opened, file) = self.checked(options)?;
        let text = opened.dockerfile.1.clone();
        let report = match coracle_dockerfile::parse(&file, &text) {
            Err(fault) => Report { fault: Some(fault), ..Report::default() },
            Ok(dockerfile) => {
                let circumstances = Circumstances::new(options, &opened, platform(options))?;
                // A target that is no stage is a fault even when nothing is built.
                dockerfile.target(options.target.as_deref())?;
                coracle_check::check(&circumstances.request(
                    &dockerfile,
                    None,
                    &StoredImages::new(self.engine),
                ))?
            }
        };
        Ok(Checked { file, text, report })
    }

    /// Returns what the target takes: arguments, secrets, SSH agents.
    pub fn outline(&self, options: &BuildOptions) -> Result<Outline> {
        let (opened, file) = self.checked(options)?;
        let dockerfile = coracle_dockerfile::parse(&file, &opened.dockerfile.1)?;
        let target = dockerfile.target(options.target.as_deref())?;
        let circumstances = Circumstances::new(options, &opened, platform(options))?;
        Ok(coracle_check::outline(&circumstances.request(
            &dockerfile,
            Some(target),
            &StoredImages::new(self.engine),
        )))
    }

    /// Returns the stages that can be built.
    pub fn targets(&self, options: &BuildOptions) -> Result<Vec<Target>> {
        let (opened, file) = self.checked(options)?;
        Ok(coracle_check::targets(&coracle_dockerfile::parse(&file, &opened.dockerfile.1)?))
    }

    /// Checks what a build is about to use.
    fn findings(&self, build: &BuildRequest, options: &BuildOptions, opened: &Opened) -> Result<Report> {
        let target = build.dockerfile.target(build.target.as_deref())?;
        let circumstances = Circumstances::new(options, opened, build.platform.clone())?;
        let bases = StoredImages::new(self.engine);
        let request = circumstances.request(&build.dockerfile, Some(target), &bases);
        Ok(coracle_check::check(&request)?)
    }

    /// Refuses a build with findings when its file says so: `# check=error=true`.
    pub(crate) fn refuse_findings(
        &self,
        build: &BuildRequest,
        options: &BuildOptions,
        opened: &Opened,
    ) -> Result<()> {
        let asked = build.dockerfile.directives.check.is_some()
            || build.build_args.contains_key("BUILDKIT_DOCKERFILE_CHECK");
        if !asked {
            return Ok(());
        }
        let report = self.findings(build, options, opened)?;
        if !report.fails_the_build() {
            return Ok(());
        }
        let ids: BTreeSet<&str> = report.findings.iter().map(|finding| finding.rule.id).collect();
        let ids: Vec<&str> = ids.into_iter().collect();
        let message = format!("the file asks for a build without findings, and has some: {}", ids.join(", "));
        self.say(&report);
        let error = Diagnostic::error("check-failed", message);
        let error = match &build.dockerfile.directives.check {
            Some(word) => build.dockerfile.source.place(error, &word.span),
            None => error,
        };
        Err(Failure::user(error.with_hint("mend them, or skip a rule with `# check=skip=RULE;error=true`")))
    }

    /// Says what was found in a file that was built, and returns it. Nothing that goes wrong here is worth a build.
    pub(crate) fn say_findings(
        &self,
        build: &BuildRequest,
        options: &BuildOptions,
        opened: &Opened,
    ) -> Report {
        let report = self.findings(build, options, opened).unwrap_or_default();
        self.say(&report);
        report
    }

    fn say(&self, report: &Report) {
        for finding in &report.findings {
            let rule = finding.rule;
            let note = rule.url.map_or_else(|| rule.id.to_owned(), |url| format!("{}: {url}", rule.id));
            self.engine.reporter.event(Event::Notice(finding.diagnostic.clone().with_note(note)));
        }
    }
}
