//! What is asked, and the order in which it is answered.

use std::collections::{BTreeMap, BTreeSet};

use coracle_dockerfile::{Dockerfile, IgnoreFile};
use coracle_oci::{Platform, Reference};
use coracle_report::Diagnostic;

use crate::buildkit::{Bottoms, Walk, check_syntax};
use crate::finding::Collector;
use crate::{Options, Report};

/// What a base image brings with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BaseFacts {
    /// Its variables, `NAME=value`.
    pub env: Vec<String>,
    /// Whether it sets `SHELL`.
    pub shell: bool,
    /// Its `ONBUILD` triggers.
    pub on_build: Vec<String>,
    /// Its operating system and architecture.
    pub platform: (String, String),
    /// The user that its processes have; empty is root.
    pub user: String,
    /// Its working directory; empty is `/`.
    pub working_dir: String,
    /// Its command.
    pub cmd: Vec<String>,
    /// Its entry point.
    pub entrypoint: Vec<String>,
    /// Ports it says it serves, `80/tcp`.
    pub exposed: Vec<String>,
    /// Paths it declares as volumes.
    pub volumes: Vec<String>,
    /// Whether it has a health check.
    pub healthcheck: bool,
}

/// Knows base images.
pub trait Bases {
    /// Returns what `image` brings; `None` when that is not known here. `platform` is that of its `FROM`.
    fn base(&self, image: &str, platform: Option<&str>) -> Option<BaseFacts>;
}

/// Knows no image.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoBases;

impl Bases for NoBases {
    fn base(&self, _image: &str, _platform: Option<&str>) -> Option<BaseFacts> {
        None
    }
}

/// What is to be checked, and under which circumstances.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The file.
    pub dockerfile: &'a Dockerfile,
    /// The arguments that the build is given.
    pub build_args: &'a BTreeMap<String, String>,
    /// The platform that is built for.
    pub platform: &'a Platform,
    /// The stage that is built, so that others which it does not need are left alone; `None` checks all.
    pub target: Option<usize>,
    /// The context's ignore file.
    pub ignore: Option<&'a IgnoreFile>,
    /// Names of contexts beside the build's own.
    pub contexts: &'a BTreeSet<String>,
    /// What is known of base images.
    pub bases: &'a dyn Bases,
}

impl Request<'_> {
    /// Returns whether a name means a context beside the build's own: the same word in any case, or the same image
    /// written otherwise, as the builder takes it.
    pub(crate) fn is_context(&self, name: &str) -> bool {
        self.contexts.iter().any(|own| own.eq_ignore_ascii_case(name))
            || name.parse::<Reference>().is_ok_and(|wanted| {
                self.contexts.iter().any(|own| own.parse().is_ok_and(|own: Reference| own == wanted))
            })
    }
}

/// Checks a Dockerfile. The error is a fault of the options in `# check=`.
pub fn check(request: &Request<'_>) -> Result<Report, Diagnostic> {
    let file = request.dockerfile;
    let argument = request.build_args.get("BUILDKIT_DOCKERFILE_CHECK").map(String::as_str);
    let options = Options::of(file, argument)?;
    let mut collector = Collector::new(&file.source);
    check_syntax(file, &options, &mut collector);
    let bottoms = Bottoms::resolve(request, &options, &mut collector);
    let mut walk = Walk::new(request, &options, &bottoms, &mut collector);
    walk.stages();
    let (fault, unknown_bases) = walk.finish();
    let fault = bottoms.fault.or(fault);
    Ok(Report { findings: collector.sorted(), fault, options, unknown_bases })
}
