//! Explanations: what a build would do and why, and what its context holds.

use std::sync::atomic::AtomicBool;

use coracle_build::{Selection, SourcePath, StepWhy};
use coracle_dockerfile::{CopySource, Dockerfile, Instruction, MountKind, Word};
use coracle_report::{Diagnostic, Quiet};

use super::{BuildOptions, Builds, BuiltImage};
use crate::contexts::Opened;
use crate::ports::build::{ContextReport, EngineHost, WOULD_WORK, Work};
use crate::{During, Result};

/// What a build did or would do, and why.
#[derive(Clone, Debug)]
pub struct Explained {
    /// For each platform that is built for: its name and the steps, in the graph's order.
    pub platforms: Vec<(String, Vec<StepWhy>)>,
    /// The context.
    pub context: ContextReport,
}

impl Builds<'_> {
    /// Says what a build would do and why. Builds, fetches and changes nothing; bases must be there.
    pub fn look(&self, options: &BuildOptions, cancel: &AtomicBool) -> Result<Explained> {
        self.look_at(options, &self.open(options, cancel)?, cancel)
    }

    /// Does so with contexts that are open: standard input can be read once only.
    pub(super) fn look_at(
        &self,
        options: &BuildOptions,
        opened: &Opened,
        cancel: &AtomicBool,
    ) -> Result<Explained> {
        let file = opened.dockerfile.0.clone();
        let mut request = self.request(options, opened)?;
        let _adding = self.engine.store.adding().during("looking into the store")?;
        let host = EngineHost::new(self.engine, options, opened, Work::Refused)?;
        let mut platforms = Vec::new();
        for platform in options.run.targets() {
            request.platform.clone_from(&platform);
            let examined = coracle_build::examine(&request, &host, &Quiet, None, cancel);
            let examined =
                examined.map_err(|error| if error.code == WOULD_WORK { not_here() } else { error });
            platforms.push((platform.to_string(), examined?.steps));
        }
        let context = host.context_report(taken(&request.dockerfile).as_deref(), &file)?;
        Ok(Explained { platforms, context })
    }
}

impl BuiltImage {
    /// Says what the build did and why.
    pub fn explained(self) -> Explained {
        Explained { platforms: self.steps, context: self.context.unwrap_or_default() }
    }
}

fn not_here() -> Diagnostic {
    Diagnostic::error("base-missing", "a base image is not on this machine, so its steps cannot be looked up")
        .with_hint("build once, or fetch it: `coracle build ...`")
}

/// Returns what any stage takes from the context, as far as it can be read off the Dockerfile; `None` when a variable
/// or a trigger decides it.
pub(super) fn taken(file: &Dockerfile) -> Option<Vec<Selection>> {
    let mut all = Vec::new();
    for statement in file.stages.iter().flat_map(|stage| &stage.instructions) {
        match &statement.instruction {
            Instruction::Copy(copy) if copy.from.is_none() => all.push(selection(&copy.sources)?),
            Instruction::Add(add) => all.push(selection(&add.sources)?),
            Instruction::Run(run) => {
                for mount in &run.mounts {
                    if let MountKind::Bind { from: None, source, .. } = &mount.kind {
                        let source = source.as_ref().map_or("", |word| word.value.as_str());
                        let mut path = path(source)?;
                        path.literal = true;
                        all.push(Selection { paths: vec![path], exclude: Vec::new() });
                    }
                }
            }
            // What a trigger will take is not known here.
            Instruction::OnBuild(_) => return None,
            _ => {}
        }
    }
    Some(all)
}

fn selection(sources: &[CopySource]) -> Option<Selection> {
    let mut paths = Vec::new();
    for source in sources {
        if let CopySource::Path(Word { value, .. }) = source
            && !value.contains("://")
            && !value.starts_with("git@")
        {
            paths.push(path(value)?);
        }
    }
    Some(Selection { paths, exclude: Vec::new() })
}

fn path(text: &str) -> Option<SourcePath> {
    if text.contains(['$', '"', '\'']) {
        return None;
    }
    let parts: Vec<&str> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let (literal, trailing_slash) = (false, text.ends_with('/'));
    Some(SourcePath { path: parts.join("/"), literal, trailing_slash, pivot: None })
}

impl From<Explained> for serde_json::Value {
    fn from(explained: Explained) -> Self {
        let platforms: Vec<Self> = explained
            .platforms
            .iter()
            .map(|(platform, steps)| serde_json::json!({"platform": platform, "steps": steps}))
            .collect();
        serde_json::json!({"platforms": platforms, "context": explained.context})
    }
}
