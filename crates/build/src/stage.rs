//! One stage while it is planned: what each instruction adds to the graph and to the configuration.

mod exec;
mod files;

use std::collections::BTreeSet;

use coracle_dockerfile::{EnvPair, Instruction, Stage, Statement, Word, expand_words, parse_trigger};
use coracle_oci::{Empty, History, ImageConfig};
use coracle_report::{Diagnostic, Span};

use crate::configuration::{
    arguments, expose, health_check, health_check_text, is_signal, one_line, ports, quoted,
};
use crate::graph::{Brought, Op, PlannedHistory, VertexId};
use crate::paths::absolute;
use crate::plan::Planner;
use crate::scope::{Arguments, look_up, set_variable};

/// How wide a step's name may be, in characters.
const NAME_WIDTH: usize = 200;

/// The comment of every history entry, as BuildKit writes it, so that tools which look for it keep working.
const COMMENT: &str = "buildkit.dockerfile.v0";

#[derive(Clone)]
pub(crate) struct StageState {
    index: usize,
    /// The base as messages name it.
    pub origin: String,
    statements: Vec<Statement>,
    /// The file system so far.
    pub top: Option<VertexId>,
    /// The configuration so far; its history is kept apart.
    pub config: ImageConfig,
    pub history: Vec<PlannedHistory>,
    pub layers: Vec<VertexId>,
    arguments: Arguments,
    /// Arguments that stand, with a value, after the `ENV` of their name.
    later: BTreeSet<String>,
    cmd_is_set: bool,
    /// Where the last `USER` names whom.
    user: Option<Span>,
    step: usize,
    /// How many steps there are; known once triggers are read.
    steps: usize,
}

/// How planning an instruction ended.
enum Flow {
    Done,
    /// It needs a base that is not resolved: the stage will be planned anew.
    Waiting,
}

impl StageState {
    pub(crate) fn new(index: usize, stage: &Stage, mut config: ImageConfig) -> Self {
        config.history.clear();
        config.created = None;
        let mut state = Self {
            index,
            origin: "scratch".to_owned(),
            statements: stage.instructions.clone(),
            top: None,
            config,
            history: Vec::new(),
            layers: Vec::new(),
            arguments: Arguments::new(),
            later: BTreeSet::new(),
            cmd_is_set: false,
            user: None,
            step: 0,
            steps: 0,
        };
        state.count();
        state
    }

    /// Returns the state at the beginning of a stage whose base is another stage.
    pub(crate) fn upon(index: usize, stage: &Stage, base: &Self) -> Self {
        let mut state = Self::new(index, stage, base.config.clone());
        state.origin = format!("stage {}", base.index);
        state.top = base.top;
        state.history.clone_from(&base.history);
        state.layers.clone_from(&base.layers);
        // As in BuildKit, a stage sees the arguments of the stage that it builds upon.
        state.arguments.clone_from(&base.arguments);
        state.later.clone_from(&base.later);
        state.user.clone_from(&base.user);
        state
    }

    fn count(&mut self) {
        let triggers =
            self.config.config.on_build.iter().map(|text| text.split_whitespace().next().unwrap_or(""));
        let own = self.statements.iter().map(|statement| statement.instruction.keyword());
        let makes_step = |keyword: &str| {
            ["RUN", "COPY", "ADD", "WORKDIR"].iter().any(|step| step.eq_ignore_ascii_case(keyword))
        };
        self.steps = triggers.chain(own).filter(|keyword| makes_step(keyword)).count();
    }

    /// Returns a step's name: stage, number and text. Counts the step.
    pub(crate) fn label(&mut self, planner: &Planner<'_>, text: &str) -> String {
        // A base image is the first step; a base stage is none.
        if text.starts_with("FROM ") {
            self.steps += 1;
        }
        self.step += 1;
        let stages = &planner.file().stages;
        let stage = match &stages[self.index].name {
            Some(name) => format!("{} ", name.value),
            None if stages.len() > 1 => format!("stage-{} ", self.index),
            None => String::new(),
        };
        format!("[{stage}{}/{}] {}", self.step, self.steps, one_line(text, NAME_WIDTH))
    }

    /// Plans all instructions; `false` when one waits for a base.
    pub(crate) fn run(&mut self, planner: &mut Planner<'_>) -> Result<bool, Diagnostic> {
        let triggers = std::mem::take(&mut self.config.config.on_build);
        let mut statements = Vec::new();
        for text in &triggers {
            let origin = format!("ONBUILD of {}", self.origin);
            let note = || format!("the base brings the trigger `ONBUILD {text}`");
            statements.push(parse_trigger(&origin, text).map_err(|error| error.with_note(note()))?);
        }
        statements.extend(std::mem::take(&mut self.statements));
        for (number, statement) in statements.iter().enumerate() {
            let brought = triggers.get(number).map(|text| Brought {
                text: text.lines().next().unwrap_or_default().to_owned(),
                note: format!(
                    "this trigger (`ONBUILD`) comes with the base image of {}",
                    planner.file().stages[self.index].span
                ),
            });
            planner.brought.clone_from(&brought);
            let flow = self.statement(planner, statement);
            planner.brought = None;
            let flow = flow.map_err(|error| match brought {
                Some(brought) => brought.tell(error),
                None => error,
            })?;
            if matches!(flow, Flow::Waiting) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn look_up(&self, name: &str) -> Option<String> {
        look_up(&self.config.config.env, &self.arguments, &self.later, name)
    }

    fn expand(&self, planner: &Planner<'_>, word: &Word) -> Result<String, Diagnostic> {
        planner.expand(word, &|name| self.look_up(name))
    }

    fn expand_option(
        &self,
        planner: &Planner<'_>,
        word: Option<&Word>,
    ) -> Result<Option<String>, Diagnostic> {
        let text = word.map(|word| self.expand(planner, word)).transpose()?;
        Ok(text.filter(|text| !text.is_empty()))
    }

    pub(crate) fn record(&mut self, planner: &Planner<'_>, created_by: String, vertex: Option<VertexId>) {
        let entry = History {
            created: planner.request.created.clone(),
            created_by: Some(created_by),
            author: self.config.author.clone(),
            comment: Some(COMMENT.to_owned()),
            empty_layer: vertex.is_none(),
        };
        self.history.push(PlannedHistory { entry, vertex });
    }

    pub(crate) fn layer(&mut self, vertex: VertexId) {
        self.top = Some(vertex);
        self.layers.push(vertex);
    }

    fn statement(&mut self, planner: &mut Planner<'_>, statement: &Statement) -> Result<Flow, Diagnostic> {
        match &statement.instruction {
            Instruction::Run(run) => return self.exec(planner, statement, run),
            Instruction::Copy(copy) => return self.copy(planner, statement, copy),
            Instruction::Add(add) => self.add(planner, statement, add)?,
            Instruction::Workdir(word) => self.workdir(planner, statement, word)?,
            Instruction::Arg(list) => {
                let mut texts = Vec::new();
                for argument in list {
                    let name = argument.name.value.clone();
                    let given = planner.request.build_args.get(&name).cloned();
                    let value = match (given, &argument.default) {
                        (Some(given), _) => Some(given),
                        (None, Some(default)) => Some(self.expand(planner, default)?),
                        (None, None) => planner.globals.get(&name).cloned().flatten(),
                    };
                    texts.push(value.as_ref().map_or(name.clone(), |value| format!("{name}={value}")));
                    if value.is_some() {
                        self.later.insert(name.clone());
                    }
                    self.arguments.insert(name, value);
                }
                self.record(planner, format!("ARG {}", texts.join(" ")), None);
            }
            Instruction::Env(pairs) => {
                let pairs = self.pairs(planner, pairs)?;
                for (name, value) in &pairs {
                    set_variable(&mut self.config.config.env, name, value);
                    self.later.remove(name);
                }
                self.record(planner, format!("ENV {}", assignments(&pairs)), None);
            }
            Instruction::Label(pairs) => {
                let pairs = self.pairs(planner, pairs)?;
                let text = format!("LABEL {}", assignments(&pairs));
                self.config.config.labels.extend(pairs);
                self.record(planner, text, None);
            }
            Instruction::User(word) => {
                let user = self.expand(planner, word)?;
                self.record(planner, format!("USER {user}"), None);
                self.config.config.user = user;
                self.user = Some(word.span.clone());
            }
            Instruction::Expose(words) => self.expose(planner, words)?,
            Instruction::Volume(words) => {
                let mut paths = Vec::new();
                for word in words {
                    let path = self.expand(planner, word)?;
                    if path.is_empty() {
                        return Err(planner.error("bad-volume", "a volume's path is empty", &word.span));
                    }
                    paths.push(path);
                }
                self.config.config.volumes.extend(paths.iter().map(|path| (path.clone(), Empty {})));
                self.record(planner, format!("VOLUME [{}]", paths.join(" ")), None);
            }
            Instruction::Cmd(form) => {
                let list = arguments(&self.config.config, form);
                self.record(planner, format!("CMD {}", quoted(&list)), None);
                self.cmd_is_set = !list.is_empty();
                self.config.config.cmd = Some(list);
                self.config.config.args_escaped = true;
            }
            Instruction::Entrypoint(form) => {
                let list = arguments(&self.config.config, form);
                self.record(planner, format!("ENTRYPOINT {}", quoted(&list)), None);
                self.config.config.entrypoint = Some(list);
                // The base's CMD were arguments of another program.
                if !self.cmd_is_set {
                    self.config.config.cmd = None;
                }
            }
            Instruction::Healthcheck(check) => {
                let check = health_check(check);
                self.record(planner, health_check_text(&check), None);
                self.config.config.healthcheck = Some(check);
            }
            Instruction::Shell(list) => {
                self.record(planner, format!("SHELL [{}]", list.join(" ")), None);
                self.config.config.shell = Some(list.clone());
            }
            Instruction::StopSignal(word) => {
                let signal = self.expand(planner, word)?;
                if !is_signal(&signal) {
                    let error =
                        planner.error("bad-signal", format!("there is no signal `{signal}`"), &word.span);
                    return Err(error.with_hint("write a name such as SIGTERM or SIGQUIT, or a number"));
                }
                self.record(planner, format!("STOPSIGNAL {signal}"), None);
                self.config.config.stop_signal = Some(signal);
            }
            Instruction::OnBuild(trigger) => {
                // As BuildKit has it, the history does not say so.
                self.config.config.on_build.push(trigger.text.value.clone());
            }
            Instruction::Maintainer(word) => {
                self.config.author = Some(word.value.clone());
                self.record(planner, format!("MAINTAINER {}", word.value), None);
            }
        }
        Ok(Flow::Done)
    }

    fn pairs(&self, planner: &Planner<'_>, pairs: &[EnvPair]) -> Result<Vec<(String, String)>, Diagnostic> {
        pairs
            .iter()
            .map(|pair| Ok((self.expand(planner, &pair.name)?, self.expand(planner, &pair.value)?)))
            .collect()
    }

    fn expose(&mut self, planner: &Planner<'_>, words: &[Word]) -> Result<(), Diagnostic> {
        let mut all = Vec::new();
        for word in words {
            let expanded = expand_words(word, planner.file().directives.escape, &|name| self.look_up(name))
                .map_err(|error| planner.error(error.code(), error.to_string(), &word.span))?;
            for text in expanded {
                let ports = ports(&text).map_err(|reason| planner.error("bad-port", reason, &word.span))?;
                all.extend(ports);
            }
        }
        expose(&mut self.config.config, &all);
        all.sort();
        self.record(planner, format!("EXPOSE [{}]", all.join(" ")), None);
        Ok(())
    }

    fn workdir(
        &mut self,
        planner: &mut Planner<'_>,
        statement: &Statement,
        word: &Word,
    ) -> Result<(), Diagnostic> {
        let text = self.expand(planner, word)?;
        if text.is_empty() {
            return Err(planner.error("empty-path", "the working directory is empty", &word.span));
        }
        let path = absolute(&self.config.config.working_dir, &text);
        self.config.config.working_dir.clone_from(&path);
        let slash = if path != "/" && text.ends_with('/') { "/" } else { "" };
        let created_by = format!("WORKDIR {path}{slash}");
        let name = self.label(planner, &created_by);
        if path == "/" {
            self.record(planner, created_by, None);
            return Ok(());
        }
        let owner = Some(self.config.config.user.clone()).filter(|user| !user.is_empty());
        let vertex = planner.vertex(Op::Directory { path, owner }, self.top, name, &statement.span);
        self.layer(vertex);
        self.record(planner, created_by, Some(vertex));
        Ok(())
    }
}

fn assignments(pairs: &[(String, String)]) -> String {
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}
