//! A build followed instruction by instruction.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use coracle_dockerfile::{
    CommandForm, CopySource, HealthcheckProbe, Heredoc, Instruction, StageLookup, Statement, Word, expand,
};
use coracle_report::Span;

use super::accounts::{self, Account};
use super::words::commands;
use crate::BaseFacts;
use crate::knowledge::official;
use crate::project::{Build, Images};

/// An image as a build makes it.
pub(crate) struct Made<'b> {
    /// The build.
    pub build: &'b Build,
    /// The image at the bottom; `None` is `scratch`.
    pub base: Option<String>,
    /// What is known of it, when it is here.
    pub facts: Option<BaseFacts>,
    /// The instructions in order, each with what held before it.
    pub steps: Vec<Step<'b>>,
    /// What holds in the end.
    pub last: State,
    /// Where the user was last chosen.
    pub user_at: Option<&'b Word>,
    /// Ports that `EXPOSE` of this file names, TCP.
    pub exposed: Vec<(u16, Span)>,
    /// `CMD`, if it stands in this file.
    pub cmd: Option<(&'b Statement, &'b CommandForm)>,
    /// `ENTRYPOINT`, if it stands in this file.
    pub entrypoint: Option<(&'b Statement, &'b CommandForm)>,
    /// `HEALTHCHECK`, if it stands in this file.
    pub healthcheck: Option<(&'b Statement, &'b HealthcheckProbe)>,
    /// What is copied, in order.
    pub copied: Vec<Copied<'b>>,
    /// Users that are made.
    pub accounts: Vec<Account>,
}

/// One instruction.
pub(crate) struct Step<'b> {
    /// Its stage.
    pub stage: usize,
    /// The instruction.
    pub statement: &'b Statement,
    /// What holds before it.
    pub before: State,
}

/// What holds at a place of a build.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// The user, without group; empty is root. `None` is unknown.
    pub user: Option<String>,
    /// The working directory, absolute. `None` is unknown.
    pub workdir: Option<String>,
    /// Variables of the image and arguments of the stage.
    pub variables: Rc<BTreeMap<String, String>>,
    /// Names among them that are variables of the image.
    pub env: Rc<BTreeMap<String, Span>>,
}

/// Where a copied file comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The context.
    Context,
    /// Another stage.
    Stage(usize),
    /// A heredoc, an image, a named context, a URL.
    Elsewhere,
}

/// One source of `COPY` or `ADD`.
pub(crate) struct Copied<'b> {
    /// The instruction, by its number among the steps.
    pub step: usize,
    /// The instruction.
    pub statement: &'b Statement,
    /// The source as written.
    pub word: &'b Word,
    /// The source, variables replaced; `None` when one is not known.
    pub source: Option<String>,
    /// Where it is taken from.
    pub origin: Origin,
    /// The destination, absolute; ends with `/` when it is a directory.
    pub dest: Option<String>,
    /// The owner; `None` is root.
    pub owner: Option<String>,
}

/// Who owns a path in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The user that was named so.
    User(String),
    /// Root, since this instruction.
    Root(usize),
    /// Everybody may write.
    Anybody,
}

impl State {
    /// Says whether the user is root; `None` is unknown.
    pub(crate) fn is_root(&self) -> Option<bool> {
        self.user.as_deref().map(|user| matches!(user, "" | "root" | "0"))
    }

    /// Returns a word with its variables replaced; `None` when one has no value that is known.
    pub(crate) fn expand(&self, word: &str, build: &Build) -> Option<String> {
        let missed = Cell::new(false);
        let lookup = |name: &str| {
            let value = self.variables.get(name).cloned();
            // `${X:-default}` asks too, and is content; then `missed` errs towards silence.
            missed.set(missed.get() || value.is_none());
            value
        };
        let text = expand(word, build.dockerfile.directives.escape, &lookup).ok()?;
        (!missed.get()).then_some(text)
    }

    /// Returns a path as absolute, by the working directory.
    pub(crate) fn absolute(&self, path: &str) -> Option<String> {
        let joined = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("{}/{path}", self.workdir.as_deref()?)
        };
        let directory = path.ends_with('/') || path == "." || path.ends_with("/.") || path == "..";
        let mut parts: Vec<&str> = Vec::new();
        for part in joined.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop();
                }
                _ => parts.push(part),
            }
        }
        let slash = if directory && !parts.is_empty() { "/" } else { "" };
        Some(format!("/{}{slash}", parts.join("/")))
    }
}

impl<'b> Made<'b> {
    /// Follows a build.
    pub(crate) fn of(build: &'b Build, images: &dyn Images) -> Self {
        Self::stage(build, build.target, images)
    }

    /// Follows a build up to a stage of it.
    pub(crate) fn stage(build: &'b Build, stage: usize, images: &dyn Images) -> Self {
        let chain = build.chain_of(stage);
        let base = build.base_image(stage);
        let facts = base.as_deref().and_then(|base| images.base(base, None));
        let mut state = State { workdir: Some("/".to_owned()), ..State::default() };
        let mut variables = BTreeMap::new();
        match (&base, &facts) {
            (None, _) => state.user = Some(String::new()),
            (Some(_), Some(facts)) => {
                state.user = Some(without_group(&facts.user));
                if !facts.working_dir.is_empty() {
                    state.workdir = Some(facts.working_dir.clone());
                }
                let pairs = facts.env.iter().filter_map(|pair| pair.split_once('='));
                variables.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
            }
            (Some(base), None) => {
                let official = official::of(base);
                state.user = official.map(|official| official.user.to_owned());
                // Images of databases and the like have working directories of their own.
                let plain = official
                    .is_some_and(|official| official.ports.is_empty() || official.names[0] == "nginx");
                state.workdir = plain.then(|| "/".to_owned());
            }
        }
        state.variables = Rc::new(variables);
        let mut made = Self {
            build,
            base,
            facts,
            steps: Vec::new(),
            last: State::default(),
            user_at: None,
            exposed: Vec::new(),
            cmd: None,
            entrypoint: None,
            healthcheck: None,
            copied: Vec::new(),
            accounts: Vec::new(),
        };
        for index in chain {
            // Arguments end with their stage.
            let env = Rc::clone(&state.env);
            if !made.steps.is_empty() {
                let known = Rc::make_mut(&mut state.variables);
                known.retain(|name, _| env.contains_key(name));
            }
            for statement in &build.dockerfile.stages[index].instructions {
                made.step(index, statement, &mut state);
            }
        }
        made.last = state;
        made
    }

    fn step(&mut self, stage: usize, statement: &'b Statement, state: &mut State) {
        let number = self.steps.len();
        self.steps.push(Step { stage, statement, before: state.clone() });
        match &statement.instruction {
            Instruction::Arg(arguments) => {
                for argument in arguments {
                    let given = self.build.args.get(&argument.name.value).cloned();
                    let value = given
                        .or_else(|| argument.default.as_ref().and_then(|word| state.expand(word, self.build)))
                        .or_else(|| {
                            let globals = &self.build.dockerfile.global_args;
                            let global =
                                globals.iter().rev().find(|own| own.name.value == argument.name.value)?;
                            global.default.as_ref().map(|word| self.build.expand_global(&word.value))
                        });
                    if let Some(value) = value {
                        Rc::make_mut(&mut state.variables).insert(argument.name.value.clone(), value);
                    }
                }
            }
            Instruction::Env(pairs) => {
                let values: Vec<_> = pairs
                    .iter()
                    .map(|pair| {
                        (pair.name.value.clone(), state.expand(&pair.value, self.build), &pair.name.span)
                    })
                    .collect();
                for (name, value, span) in values {
                    Rc::make_mut(&mut state.env).insert(name.clone(), span.clone());
                    match value {
                        Some(value) => Rc::make_mut(&mut state.variables).insert(name, value),
                        None => Rc::make_mut(&mut state.variables).remove(&name),
                    };
                }
            }
            Instruction::User(word) => {
                self.user_at = Some(word);
                state.user = state.expand(word, self.build).map(|user| without_group(&user));
            }
            Instruction::Workdir(word) => {
                let path = state.expand(word, self.build);
                state.workdir = path.and_then(|path| state.absolute(&path));
            }
            Instruction::Expose(words) => {
                for word in words {
                    let Some(text) = state.expand(word, self.build) else { continue };
                    for port in text.split_whitespace() {
                        let (port, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
                        let (first, last) = port.split_once('-').unwrap_or((port, port));
                        if let (Ok(first), Ok(last), "tcp") = (first.parse::<u16>(), last.parse(), protocol) {
                            self.exposed.extend((first..=last).map(|port| (port, word.span.clone())));
                        }
                    }
                }
            }
            Instruction::Cmd(form) => self.cmd = Some((statement, form)),
            Instruction::Entrypoint(form) => {
                // A base's command is gone with a new entry point.
                self.entrypoint = Some((statement, form));
            }
            Instruction::Healthcheck(check) => self.healthcheck = Some((statement, &check.probe)),
            Instruction::Run(_) => {
                for words in self.steps[number].commands() {
                    self.accounts.extend(accounts::read(&words));
                }
            }
            Instruction::Copy(copy) => {
                let origin = match &copy.from {
                    None => Origin::Context,
                    Some(from) => match self.build.dockerfile.look_up_stage(from, stage) {
                        StageLookup::Earlier(index) => Origin::Stage(index),
                        _ => Origin::Elsewhere,
                    },
                };
                let chown = copy.options.chown.as_ref();
                self.copy(number, statement, (&copy.sources, &copy.dest, chown, origin), state);
            }
            Instruction::Add(add) => {
                let chown = add.options.chown.as_ref();
                self.copy(number, statement, (&add.sources, &add.dest, chown, Origin::Context), state);
            }
            _ => {}
        }
    }

    fn copy(
        &mut self,
        step: usize,
        statement: &'b Statement,
        (sources, dest, chown, origin): (&'b [CopySource], &'b Word, Option<&Word>, Origin),
        state: &State,
    ) {
        let owner = chown
            .map(|word| without_group(&state.expand(word, self.build).unwrap_or_else(|| word.value.clone())));
        let dest = state.expand(dest, self.build).and_then(|dest| state.absolute(&dest));
        for source in sources {
            let (word, heredoc) = match source {
                CopySource::Path(word) => (word, false),
                CopySource::Heredoc(Heredoc { word, .. }) => (word, true),
            };
            let text = state.expand(word, self.build);
            let remote = text.as_deref().is_some_and(|text| text.contains("://") || text.starts_with("git@"));
            let origin = if heredoc || remote { Origin::Elsewhere } else { origin.clone() };
            let (dest, owner) = (dest.clone(), owner.clone());
            self.copied.push(Copied { step, statement, word, source: text, origin, dest, owner });
        }
    }

    /// Returns who owns a path in the end, by what this file does; `None` when it does nothing to it.
    pub(crate) fn owner(&self, path: &str) -> Option<Owner> {
        let mut owner = None;
        for (number, step) in self.steps.iter().enumerate() {
            let copies = self.copied.iter().filter(|copied| copied.step == number);
            for copied in copies {
                // Files that come into a directory leave it to whom it belongs.
                let into = |dest: &str| owner.is_some() && dest.trim_end_matches('/') == path;
                if copied.dest.as_deref().is_some_and(|dest| covers(dest, path) && !into(dest)) {
                    owner = Some(copied.owner.clone().map_or(Owner::Root(number), Owner::User));
                }
            }
            for words in step.commands() {
                if let Some(change) = change(&words, path, (number, step)) {
                    owner = Some(change);
                }
            }
        }
        owner
    }

    /// Says whether any command of this file says `needle`.
    pub(crate) fn says(&self, needle: &str) -> bool {
        self.steps.iter().any(|step| match &step.statement.instruction {
            Instruction::Run(run) => {
                step.statement.text.contains(needle)
                    || run.heredocs.iter().any(|heredoc| heredoc.content.contains(needle))
            }
            _ => false,
        })
    }

    /// Says whether a command of this file installs a package of the system that is called so.
    pub(crate) fn installs(&self, package: &str) -> bool {
        self.steps.iter().flat_map(Step::commands).any(|words| {
            let manager = words.first().is_some_and(|program| {
                matches!(
                    program.as_str(),
                    "apt-get" | "apt" | "apk" | "dnf" | "microdnf" | "yum" | "zypper" | "pacman" | "aptitude"
                )
            });
            manager && words.iter().any(|word| word.split(['=', '~', '<', '>']).next() == Some(package))
        })
    }

    /// Says whether anything is done of which it cannot be seen what it brings: a script that is run, a file of the
    /// context put where programs are, an archive that is fetched.
    pub(crate) fn brings(&self, program: &str) -> bool {
        self.installs(program)
            || self.says(&format!("/{program}"))
            || self.copied.iter().any(|copied| {
                copied.word.contains(program)
                    || copied
                        .dest
                        .as_deref()
                        .is_some_and(|dest| dest.contains("/bin/") || dest.ends_with(program))
            })
    }

    /// Says whether a user, by name or number, is this one.
    pub(crate) fn same_user(&self, one: &str, other: &str) -> bool {
        let number = |user: &str| -> Option<String> {
            self.accounts.iter().find(|account| account.name == user).and_then(|account| account.uid.clone())
        };
        one == other
            || number(one).is_some_and(|uid| uid == other)
            || number(other).is_some_and(|uid| uid == one)
    }
}

impl Step<'_> {
    /// Returns the simple commands that `RUN` runs; none of other instructions.
    pub(crate) fn commands(&self) -> Vec<Vec<String>> {
        let Instruction::Run(run) = &self.statement.instruction else { return Vec::new() };
        let mut found = match &run.command {
            CommandForm::Shell(text) => commands(text),
            CommandForm::Exec(words) => vec![words.clone()],
        };
        found.extend(run.heredocs.iter().flat_map(|heredoc| commands(&heredoc.content)));
        found
    }
}

/// Says whether something that is put at `dest` lies at `path` or above it.
fn covers(dest: &str, path: &str) -> bool {
    let dest = dest.trim_end_matches('/');
    path == dest || path.strip_prefix(dest).is_some_and(|rest| rest.starts_with('/'))
}

/// Returns whom a command gives a path to.
fn change(words: &[String], path: &str, (number, step): (usize, &Step<'_>)) -> Option<Owner> {
    let program = words.first()?.as_str();
    let rest = &words[1..];
    let recursive = rest.iter().any(|word| {
        word == "--recursive" || (word.starts_with('-') && !word.starts_with("--") && word.contains('R'))
    });
    let mut plain = rest.iter().filter(|word| !word.starts_with('-'));
    let covered = |target: &String| {
        step.before.absolute(target).is_some_and(|target| {
            let target = target.trim_end_matches('/').trim_end_matches("/*");
            path == target || (recursive && covers(target, path))
        })
    };
    match program {
        "chown" => {
            // A variable may be anybody: taken for the one who is meant.
            let user = without_group(plain.next()?);
            let owner = match user.as_str() {
                "" | "root" | "0" => Owner::Root(number),
                _ => Owner::User(user),
            };
            plain.any(covered).then_some(owner)
        }
        "chgrp" => plain.skip(1).any(covered).then_some(Owner::Anybody),
        "chmod" => {
            let mode = plain.next()?;
            let open = mode.ends_with('7')
                || mode.ends_with('6')
                || mode.contains("a+")
                || mode.contains("o+")
                || mode.starts_with('+');
            (open && plain.any(covered)).then_some(Owner::Anybody)
        }
        "install" => {
            let user = super::option(rest, &["-o", "--owner"])?;
            plain.any(covered).then(|| Owner::User(user.to_owned()))
        }
        _ => None,
    }
}

fn without_group(user: &str) -> String {
    user.split(':').next().unwrap_or_default().to_owned()
}
