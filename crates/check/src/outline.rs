//! What a Dockerfile offers: its targets, and the arguments, secrets and agents that a target takes.
//!
//! A comment before an `ARG` or a `FROM ... AS` that begins with the name describes it.

use std::collections::{BTreeMap, BTreeSet};

use coracle_dockerfile::{
    Argument, BaseRef, Dockerfile, Instruction, Lookup, MountKind, Run, StageLookup, Word, expand,
};

use crate::Request;
use crate::buildkit::predefined;

/// A stage that can be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Whether it is built when no target is named.
    pub default: bool,
    /// What the comment before it says.
    pub description: Option<String>,
    /// Its base, as written.
    pub base: String,
    /// Its platform, as written.
    pub platform: Option<String>,
    /// The lines of its `FROM`.
    pub lines: (u32, u32),
}

/// A build argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlineArgument {
    /// Its name.
    pub name: String,
    /// What the comment before it says.
    pub description: Option<String>,
    /// The value it would have.
    pub value: Option<String>,
    /// The lines of its `ARG`.
    pub lines: (u32, u32),
}

/// A secret or an SSH agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlineAttachment {
    /// Its id.
    pub name: String,
    /// Whether the build fails without it.
    pub required: bool,
    /// The lines of its `RUN`.
    pub lines: (u32, u32),
}

/// What a target takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// The target's name, if it has one.
    pub name: Option<String>,
    /// What the comment before it says.
    pub description: Option<String>,
    /// Its arguments, in the order of the file.
    pub arguments: Vec<OutlineArgument>,
    /// Its secrets.
    pub secrets: Vec<OutlineAttachment>,
    /// Its SSH agents.
    pub ssh: Vec<OutlineAttachment>,
}

/// Returns the stages of a file.
pub fn targets(file: &Dockerfile) -> Vec<Target> {
    let last = file.stages.len() - 1;
    let stages = file.stages.iter().enumerate();
    stages
        .map(|(index, stage)| {
            let name = stage.name.as_ref().map(|name| name.value.clone());
            Target {
                description: name.as_deref().and_then(|name| description(&stage.comments, name)),
                name,
                default: index == last,
                base: stage.image.value.clone(),
                platform: stage.platform.as_ref().map(|platform| platform.value.clone()),
                lines: (stage.span.start.line, stage.span.end.line),
            }
        })
        .collect()
}

/// Returns what the target of a request (else the last stage) takes, with all that it needs.
pub fn outline(request: &Request<'_>) -> Outline {
    let file = request.dockerfile;
    let target = request.target.unwrap_or(file.stages.len() - 1);
    let mut reader = Reader::new(request);
    reader.stage(target);
    let stage = &file.stages[target];
    let name = stage.name.as_ref().map(|name| name.value.clone());
    let mut arguments: Vec<OutlineArgument> = reader.arguments.into_values().collect();
    arguments.sort_by_key(|argument| argument.lines);
    let by_line = |attachments: BTreeMap<String, OutlineAttachment>| {
        let mut list: Vec<OutlineAttachment> = attachments.into_values().collect();
        list.sort_by_key(|attachment| attachment.lines);
        list
    };
    Outline {
        description: name.as_deref().and_then(|name| description(&stage.comments, name)),
        name,
        arguments,
        secrets: by_line(reader.secrets),
        ssh: by_line(reader.ssh),
    }
}

fn description(comments: &[Word], name: &str) -> Option<String> {
    comments.iter().find_map(|comment| comment.strip_prefix(name)?.strip_prefix(' ')).map(str::to_owned)
}

struct Reader<'a> {
    request: &'a Request<'a>,
    /// Predefined and global arguments.
    values: BTreeMap<String, String>,
    globals: BTreeMap<String, OutlineArgument>,
    /// Which arguments the default of a global one asks for.
    needs: BTreeMap<String, BTreeSet<String>>,
    arguments: BTreeMap<String, OutlineArgument>,
    secrets: BTreeMap<String, OutlineAttachment>,
    ssh: BTreeMap<String, OutlineAttachment>,
    seen: BTreeSet<usize>,
}

impl<'a> Reader<'a> {
    fn new(request: &'a Request<'a>) -> Self {
        let file = request.dockerfile;
        let predefined = predefined(request);
        let values =
            predefined.names().filter_map(|name| Some((name.to_owned(), predefined.get(name)?.to_owned())));
        let mut reader = Self {
            request,
            values: values.collect(),
            globals: BTreeMap::new(),
            needs: BTreeMap::new(),
            arguments: BTreeMap::new(),
            secrets: BTreeMap::new(),
            ssh: BTreeMap::new(),
            seen: BTreeSet::new(),
        };
        for statement in &file.globals {
            let Instruction::Arg(arguments) = &statement.instruction else {
                continue;
            };
            for argument in arguments {
                let name = argument.name.value.clone();
                let values = reader.values.clone();
                let (value, asked) = reader.value(argument, &values);
                if let Some(value) = &value {
                    reader.values.insert(name.clone(), value.clone());
                }
                let lines = (statement.span.start.line, statement.span.end.line);
                let description = description(&statement.comments, &name);
                reader.needs.insert(name.clone(), asked);
                reader.globals.insert(name.clone(), OutlineArgument { name, description, value, lines });
            }
        }
        reader
    }

    fn expand(&self, word: &Word, values: &BTreeMap<String, String>) -> (Option<String>, BTreeSet<String>) {
        let asked = std::cell::RefCell::new(BTreeSet::new());
        let lookup: Lookup<'_> = &|name| {
            asked.borrow_mut().insert(name.to_owned());
            values.get(name).cloned()
        };
        let text = expand(word, self.request.dockerfile.directives.escape, lookup).ok();
        (text, asked.into_inner())
    }

    fn value(
        &self,
        argument: &Argument,
        values: &BTreeMap<String, String>,
    ) -> (Option<String>, BTreeSet<String>) {
        match (self.request.build_args.get(&argument.name.value), &argument.default) {
            (Some(given), _) => (Some(given.clone()), BTreeSet::new()),
            (None, Some(default)) => self.expand(default, values),
            (None, None) => (None, BTreeSet::new()),
        }
    }

    /// Takes a global argument, and those that its default asks for.
    fn take_global(&mut self, name: &str) {
        let Some(argument) = self.globals.get(name).cloned() else {
            return;
        };
        if self.arguments.contains_key(name) {
            return;
        }
        self.arguments.insert(name.to_owned(), argument);
        for needed in self.needs.get(name).cloned().unwrap_or_default() {
            self.take_global(&needed);
        }
    }

    fn stage(&mut self, index: usize) {
        if !self.seen.insert(index) {
            return;
        }
        let file = self.request.dockerfile;
        let stage = &file.stages[index];
        let values = self.values.clone();
        let (base, mut asked) = self.expand(&stage.image, &values);
        if let Some(platform) = &stage.platform {
            asked.extend(self.expand(platform, &values).1);
        }
        for name in &asked {
            self.take_global(name);
        }
        let below = match &stage.base {
            BaseRef::Stage(below) => Some(*below),
            BaseRef::Scratch => None,
            BaseRef::Image(_) => {
                let base = base.unwrap_or_default();
                file.stages[..index].iter().rposition(|stage| stage.is_called(&base))
            }
        };
        let mut values: BTreeMap<String, String> = BTreeMap::new();
        for statement in &stage.instructions {
            let lines = (statement.span.start.line, statement.span.end.line);
            match &statement.instruction {
                Instruction::Arg(arguments) => {
                    for argument in arguments {
                        let name = argument.name.value.clone();
                        let (value, _) = self.value(argument, &values);
                        let inherited = value.is_none() && argument.default.is_none();
                        let value = value.or_else(|| self.values.get(&name).cloned());
                        if inherited && self.values.contains_key(&name) {
                            self.take_global(&name);
                        } else if !self.arguments.contains_key(&name) {
                            let description = description(&statement.comments, &name);
                            let entry = OutlineArgument {
                                name: name.clone(),
                                description,
                                value: value.clone(),
                                lines,
                            };
                            self.arguments.insert(name.clone(), entry);
                        }
                        values.extend(value.map(|value| (name, value)));
                    }
                }
                Instruction::Env(pairs) => {
                    for pair in pairs {
                        let (value, _) = self.expand(&pair.value, &values);
                        values.insert(pair.name.value.clone(), value.unwrap_or_default());
                    }
                }
                Instruction::Run(run) => self.attachments(run, lines, &values),
                _ => {}
            }
        }
        if let Some(below) = below {
            self.stage(below);
        }
        for word in file.references(index) {
            if let StageLookup::Earlier(earlier) = file.look_up_stage(word, index) {
                self.stage(earlier);
            }
        }
    }

    fn attachments(&mut self, run: &Run, lines: (u32, u32), values: &BTreeMap<String, String>) {
        for mount in &run.mounts {
            match &mount.kind {
                MountKind::Secret { id, target, required, .. } => {
                    let named = id.as_ref().or(target.as_ref()).and_then(|word| self.expand(word, values).0);
                    let named = named.unwrap_or_default();
                    let name = match id {
                        Some(_) => named,
                        None => named.rsplit('/').next().unwrap_or_default().to_owned(),
                    };
                    let required = *required;
                    self.secrets.entry(name.clone()).or_insert(OutlineAttachment { name, required, lines });
                }
                MountKind::Ssh { id, required, .. } => {
                    let name = id.as_ref().and_then(|word| self.expand(word, values).0);
                    let name = name.unwrap_or_else(|| "default".to_owned());
                    let required = *required;
                    self.ssh.entry(name.clone()).or_insert(OutlineAttachment { name, required, lines });
                }
                MountKind::Bind { .. } | MountKind::Cache { .. } | MountKind::Tmpfs { .. } => {}
            }
        }
    }
}
