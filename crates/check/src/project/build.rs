//! The builds of a project: Dockerfiles with their contexts, and the services that use them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use coracle_composefile::Project;
use coracle_dockerfile::{Dockerfile, IgnoreFile, Statement, ignore_file_names, parse};
use coracle_report::{Diagnostic, Span};

use super::Files;

/// One Dockerfile with one target.
#[derive(Clone, Debug)]
pub struct Build {
    /// The services that are built so; none when a Dockerfile is checked alone.
    pub services: Vec<String>,
    /// Where the first of them says `build`.
    pub span: Option<Span>,
    /// The file, parsed.
    pub dockerfile: Dockerfile,
    /// Its text.
    pub text: String,
    /// The context's directory; `None` when it is not known or no directory.
    pub context: Option<PathBuf>,
    /// Its ignore file.
    pub ignore: Option<IgnoreFile>,
    /// The stage that is built, by its index.
    pub target: usize,
    /// Whether the target was named.
    pub target_named: bool,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// Names of contexts beside the build's own.
    pub contexts: BTreeSet<String>,
    /// Platform, as `FROM --platform` would have it.
    pub platform: Option<String>,
}

/// A build whose files cannot be read.
#[derive(Clone, Debug)]
pub struct Faulty {
    /// The service.
    pub service: Option<String>,
    /// Why.
    pub fault: Diagnostic,
}

impl Build {
    /// Reads a Dockerfile that belongs to no project; `context` is its directory unless the caller knows better.
    pub fn alone(path: &Path, context: Option<&Path>, files: &dyn Files) -> Result<Self, Diagnostic> {
        let text = files.text(path).ok_or_else(|| {
            Diagnostic::error("no-dockerfile", format!("{} cannot be read as a Dockerfile", path.display()))
        })?;
        let dockerfile = parse(path, &text)?;
        let target = dockerfile.stages.len() - 1;
        let ignore = context.map(|context| ignore_of(path, context, files)).transpose()?.flatten();
        Ok(Self {
            services: Vec::new(),
            span: None,
            dockerfile,
            text,
            context: context.map(Path::to_owned),
            ignore,
            target,
            target_named: false,
            args: BTreeMap::new(),
            contexts: BTreeSet::new(),
            platform: None,
        })
    }

    /// Returns the indices of the stages that the target is made on, from the lowest to the target itself.
    pub fn chain(&self) -> Vec<usize> {
        self.chain_of(self.target)
    }

    /// Returns the indices of the stages that a stage is made on, from the lowest to the stage itself.
    pub fn chain_of(&self, stage: usize) -> Vec<usize> {
        let mut chain = vec![stage];
        while let Some(below) = self.below(chain[chain.len() - 1]) {
            chain.push(below);
        }
        chain.reverse();
        chain
    }

    /// Returns the stage that a stage starts from, if it starts from one.
    fn below(&self, stage: usize) -> Option<usize> {
        use coracle_dockerfile::{BaseRef, StageLookup};
        match &self.dockerfile.stages[stage].base {
            BaseRef::Stage(index) => Some(*index),
            BaseRef::Image(word) => {
                match self.dockerfile.look_up_stage(&self.expand_global(&word.value), stage) {
                    StageLookup::Earlier(index) => Some(index),
                    _ => None,
                }
            }
            BaseRef::Scratch => None,
        }
    }

    /// Returns the image that a stage rests on in the end, with global arguments replaced; `None` is `scratch`.
    pub fn base_image(&self, stage: usize) -> Option<String> {
        use coracle_dockerfile::BaseRef;
        let mut stage = stage;
        while let Some(below) = self.below(stage) {
            stage = below;
        }
        match &self.dockerfile.stages[stage].base {
            BaseRef::Image(word) => Some(self.expand_global(&word.value)),
            BaseRef::Scratch | BaseRef::Stage(_) => None,
        }
    }

    /// Returns the instructions that make the target, from the lowest stage to the target's last.
    pub fn instructions(&self) -> impl Iterator<Item = (usize, &Statement)> {
        self.chain().into_iter().flat_map(|index| {
            self.dockerfile.stages[index].instructions.iter().map(move |statement| (index, statement))
        })
    }

    /// Returns the stages that the target needs: those it rests on, and those that files are copied from.
    pub fn needed(&self) -> BTreeSet<usize> {
        use coracle_dockerfile::StageLookup;
        let mut needed = BTreeSet::new();
        let mut open = vec![self.target];
        while let Some(stage) = open.pop() {
            if !needed.insert(stage) {
                continue;
            }
            open.extend(self.below(stage));
            for word in self.dockerfile.references(stage) {
                if let StageLookup::Earlier(index) = self.dockerfile.look_up_stage(word, stage) {
                    open.push(index);
                }
            }
        }
        needed
    }

    /// Replaces arguments before the first `FROM` in a text.
    pub fn expand_global(&self, text: &str) -> String {
        let lookup = |name: &str| -> Option<String> {
            let argument = self.dockerfile.global_args.iter().rev().find(|own| own.name.value == name)?;
            let given = self.args.get(name).cloned();
            given.or_else(|| argument.default.as_ref().map(|word| word.value.trim_matches('"').to_owned()))
        };
        coracle_dockerfile::expand(text, self.dockerfile.directives.escape, &lookup)
            .unwrap_or_else(|_| text.to_owned())
    }

    /// Returns where `needle` first stands within a statement, or the whole statement.
    pub fn place_of(&self, statement: &Statement, needle: &str) -> Span {
        place_in(&self.text, &statement.span, needle)
    }
}

/// Returns where `needle` first stands within a stretch of a text, or the whole stretch.
pub fn place_in(text: &str, within: &Span, needle: &str) -> Span {
    use coracle_report::Position;
    let first = within.start.line.max(1);
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().enumerate().skip(first as usize - 1);
    for (index, line) in lines.take((within.end.line.saturating_sub(first) + 1) as usize) {
        let number = index as u32 + 1;
        let skipped = if number == within.start.line { within.start.column.max(1) as usize - 1 } else { 0 };
        let from: usize = line.chars().take(skipped).map(char::len_utf8).sum();
        if let Some(at) = line[from..].find(needle) {
            let column = line[..from + at].chars().count() as u32 + 1;
            let start = Position::new(number, column);
            let end = Position::new(number, column + needle.chars().count() as u32);
            return Span::new(within.file.clone(), start, end);
        }
    }
    within.clone()
}

fn ignore_of(dockerfile: &Path, context: &Path, files: &dyn Files) -> Result<Option<IgnoreFile>, Diagnostic> {
    for path in ignore_file_names(dockerfile, context) {
        if let Some(text) = files.text(&path) {
            return IgnoreFile::parse(&path, &text).map(Some);
        }
    }
    Ok(None)
}

/// Reads the builds of a project's active services; those that are the same are one, with several services.
pub fn gather(project: &Project, files: &dyn Files) -> (Vec<Build>, Vec<Faulty>) {
    let mut builds: Vec<Build> = Vec::new();
    let mut faulty = Vec::new();
    for service in project.services.values() {
        let Some(build) = &service.build else { continue };
        // What is fetched is not here to be looked at.
        if build.is_remote() && build.dockerfile_inline.is_none() {
            continue;
        }
        match read(service, build, files) {
            Ok(build) => {
                let same = |own: &&mut Build| {
                    own.dockerfile.source.file() == build.dockerfile.source.file()
                        && own.text == build.text
                        && own.target == build.target
                        && own.context == build.context
                        && own.args == build.args
                };
                match builds.iter_mut().find(same) {
                    Some(own) => own.services.push(service.name.clone()),
                    None => builds.push(build),
                }
            }
            Err(fault) => faulty.push(Faulty { service: Some(service.name.clone()), fault }),
        }
    }
    (builds, faulty)
}

fn read(
    service: &coracle_composefile::Service,
    build: &coracle_composefile::Build,
    files: &dyn Files,
) -> Result<Build, Diagnostic> {
    let path = &build.dockerfile;
    let text = match &build.dockerfile_inline {
        Some(text) => text.clone(),
        None => files.text(path).ok_or_else(|| {
            let span = build.dockerfile_span.as_ref().unwrap_or(&build.span).clone();
            let shown = path.strip_prefix(&build.context).unwrap_or(path).display();
            let message = format!("service `{}` is built from {shown}, which is not there", service.name);
            let fault = Diagnostic::error("no-dockerfile", message).with_span(span);
            fault.with_note(format!("looked for {}", path.display()))
        })?,
    };
    let dockerfile = parse(path, &text)?;
    let target =
        dockerfile.target(build.target.as_deref()).map_err(|fault| match build.target_span.clone() {
            Some(span) => fault.with_span(span),
            None => fault,
        })?;
    let ignore = ignore_of(path, &build.context, files)?;
    Ok(Build {
        services: vec![service.name.clone()],
        span: Some(build.span.clone()),
        dockerfile,
        text,
        context: Some(build.context.clone()),
        ignore,
        target,
        target_named: build.target.is_some(),
        args: build.args.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        contexts: build.additional_contexts.keys().cloned().collect(),
        platform: service.platform.as_ref().map(ToString::to_string),
    })
}
