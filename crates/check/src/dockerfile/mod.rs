//! Rules about Dockerfiles: those of hadolint that matter, under their numbers, and our own.
//!
//! A file's shell text is read once; the rules of this family, and those of the shell's that look at Dockerfiles, are
//! asked together.

mod bases;
mod copying;
mod metadata;
mod packages;
mod steps;
mod users;
mod view;

pub(crate) use view::View;

use coracle_dockerfile::Dockerfile;

use crate::project::{Check, Findings, Run};
use crate::{Rule, shell};

pub(crate) static CHECKS: &[Check] = &[
    Check { rules: bases::RULES, run: Run::Dockerfile(run) },
    listed(packages::APT),
    listed(packages::APK),
    listed(packages::RPM),
    listed(packages::PIP),
    listed(packages::NODE),
    listed(packages::TOOLS),
    listed(users::RULES),
    listed(copying::RULES),
    listed(metadata::RULES),
    listed(steps::RULES),
    packages::GONE,
    packages::LOCK,
];

/// Returns rules whose findings `run` makes.
const fn listed(rules: &'static [&'static Rule]) -> Check {
    Check { rules, run: Run::Dockerfile(|_, _| ()) }
}

fn run(file: &Dockerfile, findings: &mut Findings) {
    let view = View::of(file);
    bases::run(&view, findings);
    packages::run(&view, findings);
    users::run(&view, findings);
    copying::run(&view, findings);
    metadata::run(&view, findings);
    steps::run(&view, findings);
    shell::of_dockerfile(&view, findings);
}
