//! Rules that follow a build through its stages: variables, working directories, commands, ports, copied files.

use std::collections::BTreeSet;

use coracle_dockerfile::{
    AddFiles, CommandForm, CopyFiles, CopySource, EnvPair, Instruction, MountKind, PairForm, Run, Statement,
    Word, parse_trigger,
};
use coracle_report::{Diagnostic, Span};

use super::from::{Bottom, Bottoms};
use super::suggest::suggest;
use super::variables::Variables;
use super::{expose, platform, rules};
use crate::finding::Collector;
use crate::{Options, Request};

/// The directories of programs, which a stage has even when its base says nothing.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A stage after the instructions read so far.
#[derive(Clone, Default)]
struct State {
    variables: Variables,
    /// Whether all variables are known, those of the base image too.
    complete: bool,
    /// Names that `ARG` declared.
    arguments: BTreeSet<String>,
    /// Whether `SHELL` was set, here or below.
    shell: bool,
    /// Whether `WORKDIR` was used, here or in a stage below.
    workdir: bool,
    /// Triggers for stages that start from this one.
    on_build: Vec<String>,
}

/// The place of the last `CMD`, `ENTRYPOINT` and `HEALTHCHECK` of a stage.
#[derive(Default)]
struct Last {
    cmd: Option<Span>,
    entrypoint: Option<Span>,
    healthcheck: Option<Span>,
}

/// Goes through the stages in order.
pub(crate) struct Walk<'a, 'c, 's> {
    request: &'a Request<'a>,
    options: &'a Options,
    bottoms: &'a Bottoms,
    collector: &'c mut Collector<'s>,
    states: Vec<State>,
    fault: Option<Diagnostic>,
    unknown: BTreeSet<String>,
}

impl<'a, 'c, 's> Walk<'a, 'c, 's> {
    pub(crate) fn new(
        request: &'a Request<'a>,
        options: &'a Options,
        bottoms: &'a Bottoms,
        collector: &'c mut Collector<'s>,
    ) -> Self {
        let (states, fault, unknown) = (Vec::new(), None, BTreeSet::new());
        Self { request, options, bottoms, collector, states, fault, unknown }
    }

    /// Checks the stages that are needed.
    pub(crate) fn stages(&mut self) {
        let needed = self.needed();
        for (index, needed) in needed.into_iter().enumerate() {
            let state = if needed { self.stage(index) } else { State::default() };
            self.states.push(state);
        }
    }

    /// Returns what keeps the build from working, and the bases of which nothing is known.
    pub(crate) fn finish(self) -> (Option<Diagnostic>, Vec<String>) {
        (self.fault, self.unknown.into_iter().collect())
    }

    /// Says of each stage whether the target needs it.
    fn needed(&self) -> Vec<bool> {
        let file = self.request.dockerfile;
        let Some(target) = self.request.target else {
            return vec![true; file.stages.len()];
        };
        let mut needed = vec![false; file.stages.len()];
        needed[target] = true;
        // What a stage needs comes before it.
        for index in (0..=target).rev().filter(|index| *index < file.stages.len()) {
            if !needed[index] {
                continue;
            }
            if let Bottom::Stage(below) = self.bottoms.list[index] {
                needed[below] = true;
            }
            for word in file.references(index) {
                if let coracle_dockerfile::StageLookup::Earlier(earlier) = file.look_up_stage(word, index) {
                    needed[earlier] = true;
                }
            }
        }
        needed
    }

    fn stage(&mut self, index: usize) -> State {
        let file = self.request.dockerfile;
        let stage = &file.stages[index];
        let (mut state, triggers) = self.start(index);
        if state.variables.get("PATH").is_none() {
            state.variables.set("PATH", PATH);
        }
        let mut last = Last::default();
        for text in &triggers {
            // A trigger that cannot be read is the build's business to refuse.
            if let Ok(statement) = parse_trigger("base image", text) {
                let moved = Statement { span: stage.span.clone(), ..statement };
                self.statement(&moved, Some(&stage.span), &mut state, &mut last);
            }
        }
        for statement in &stage.instructions {
            self.statement(statement, None, &mut state, &mut last);
        }
        self.references(index);
        state
    }

    fn start(&mut self, index: usize) -> (State, Vec<String>) {
        let stage = &self.request.dockerfile.stages[index];
        match &self.bottoms.list[index] {
            Bottom::Scratch => (State { complete: true, ..State::default() }, Vec::new()),
            Bottom::Stage(below) => {
                let mut state = self.states[*below].clone();
                let triggers = std::mem::take(&mut state.on_build);
                (state, triggers)
            }
            Bottom::Unknown => (State::default(), Vec::new()),
            Bottom::Image { name, .. } if self.request.is_context(name) => (State::default(), Vec::new()),
            Bottom::Image { name, platform: wanted } => {
                let Some(facts) = self.request.bases.base(name, wanted.as_deref()) else {
                    self.unknown.insert(name.clone());
                    return (State::default(), Vec::new());
                };
                let target = self.request.platform;
                let target = (target.os.as_str(), target.architecture.as_str());
                let expected = wanted.as_deref().and_then(|wanted| platform::parse(wanted, target));
                let expected = expected.unwrap_or_else(|| (target.0.to_owned(), target.1.to_owned()));
                if facts.platform != expected {
                    let message = format!(
                        "Base image {name} was pulled with platform \"{}/{}\", expected \"{}/{}\" for current build",
                        facts.platform.0, facts.platform.1, expected.0, expected.1
                    );
                    let options = self.options.before(&stage.comments);
                    let place = (&stage.image.span, &stage.span);
                    self.collector.add(&options, &rules::INVALID_BASE_IMAGE_PLATFORM, place, message, []);
                }
                let mut state = State { complete: true, shell: facts.shell, ..State::default() };
                for entry in &facts.env {
                    let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
                    state.variables.set(name, value);
                }
                (state, facts.on_build)
            }
        }
    }

    /// Reads one instruction. `place` is where findings go instead of its own words.
    fn statement(&mut self, statement: &Statement, place: Option<&Span>, state: &mut State, last: &mut Last) {
        let options = self.options.before(&statement.comments);
        let mut step = Step { walk: self, statement, place, options, state, told: BTreeSet::new() };
        step.check(last);
    }

    /// Reports `--from` and `from=` that can mean no stage.
    fn references(&mut self, index: usize) {
        let file = self.request.dockerfile;
        for statement in &file.stages[index].instructions {
            let words: Vec<&Word> = match &statement.instruction {
                Instruction::Copy(copy) => copy.from.iter().collect(),
                Instruction::Run(run) => run.mounts.iter().filter_map(|mount| mount.kind.from()).collect(),
                _ => continue,
            };
            let options = self.options.before(&statement.comments);
            for word in words {
                let named = word.contains('$') || self.request.is_context(&word.value);
                let Some(fault) = (!named).then(|| file.reference_fault(word, index, word)).flatten() else {
                    continue;
                };
                let hints = fault.hints.into_iter().map(|hint| hint.0);
                let place = (&word.span, &statement.span);
                self.collector.add(&options, &rules::UNKNOWN_STAGE, place, fault.message, hints);
            }
        }
    }
}

/// One instruction under way.
struct Step<'w, 'a, 'c, 's> {
    walk: &'w mut Walk<'a, 'c, 's>,
    statement: &'w Statement,
    place: Option<&'w Span>,
    options: Options,
    state: &'w mut State,
    /// Undefined variables that were reported of this instruction.
    told: BTreeSet<String>,
}

impl Step<'_, '_, '_, '_> {
    fn add(&mut self, rule: &'static crate::Rule, at: &Span, message: String, hint: Option<String>) {
        let place = (self.place.unwrap_or(at), &self.statement.span);
        self.walk.collector.add(&self.options, rule, place, message, hint);
    }

    /// Returns a word with its variables replaced; those that nothing defines are reported.
    fn expand(&mut self, word: &Word) -> String {
        let escape = self.walk.request.dockerfile.directives.escape;
        let (expansion, error) = self.state.variables.expand(word, escape);
        self.undefined(&expansion.unmatched, &word.span);
        if let Some(error) = error {
            // Without the base's variables nothing can be said of what is required.
            if self.state.complete && self.walk.fault.is_none() {
                let source = &self.walk.request.dockerfile.source;
                self.walk.fault = Some(source.error(error.code(), error.to_string(), &word.span));
            }
        }
        expansion.text
    }

    fn undefined(&mut self, unmatched: &BTreeSet<String>, at: &Span) {
        if !self.state.complete {
            return;
        }
        for name in unmatched {
            let known = self.state.arguments.contains(name)
                || matches!(name.as_str(), "BUILDKIT_SBOM_SCAN_CONTEXT" | "BUILDKIT_SBOM_SCAN_STAGE");
            if known || !self.told.insert(name.clone()) {
                continue;
            }
            let near = suggest(name, self.state.variables.names()).map(str::to_owned);
            let meant = near.as_ref().map(|near| format!(" (did you mean ${near}?)")).unwrap_or_default();
            let message = format!("Usage of undefined variable '${name}'{meant}");
            let global = self.walk.bottoms.globals.get(name).is_some();
            let hint = match near {
                Some(near) => format!("write `${near}`"),
                None if global => {
                    format!("write `ARG {name}` in this stage: global arguments are not seen in stages")
                }
                None => format!("define it before, with `ARG {name}` or `ENV {name}=...`"),
            };
            self.add(&rules::UNDEFINED_VAR, at, message, Some(hint));
        }
    }

    fn check(&mut self, last: &mut Last) {
        let statement = self.statement;
        match &statement.instruction {
            Instruction::Arg(arguments) => {
                for argument in arguments {
                    self.secret("ARG", &argument.name.value, &argument.name.span);
                    self.argument(&argument.name, argument.default.as_ref());
                }
            }
            Instruction::Env(pairs) => {
                // All values are those before the instruction.
                let pairs = self.pairs(pairs);
                for (name, value, at) in pairs {
                    self.secret("ENV", &name, &at);
                    self.state.variables.set(&name, &value);
                }
            }
            Instruction::Label(pairs) => {
                self.pairs(pairs);
            }
            Instruction::Run(run) => self.run(run),
            Instruction::Copy(copy) => self.copy(copy),
            Instruction::Add(add) => self.add_files(add),
            Instruction::Workdir(path) => {
                let text = self.expand(path);
                if !self.state.workdir && !text.starts_with('/') {
                    let message = format!(
                        "Relative workdir {text:?} can have unexpected results if the base image changes"
                    );
                    let hint = format!("write `WORKDIR /{}`", text.trim_start_matches("./"));
                    self.add(&rules::WORKDIR_RELATIVE_PATH, &path.span, message, Some(hint));
                }
                self.state.workdir = true;
            }
            Instruction::User(word) | Instruction::StopSignal(word) => {
                self.expand(word);
            }
            Instruction::Volume(words) => {
                for word in words {
                    self.expand(word);
                }
            }
            Instruction::Expose(words) => self.expose(words),
            Instruction::Cmd(form) => {
                self.once(&mut last.cmd);
                self.json_recommended(form);
            }
            Instruction::Entrypoint(form) => {
                self.once(&mut last.entrypoint);
                self.json_recommended(form);
            }
            Instruction::Healthcheck(_) => self.once(&mut last.healthcheck),
            Instruction::Shell(_) => self.state.shell = true,
            Instruction::OnBuild(trigger) => self.state.on_build.push(trigger.text.value.clone()),
            Instruction::Maintainer(_) => {}
        }
    }

    fn argument(&mut self, name: &Word, default: Option<&Word>) {
        let given = self.walk.request.build_args.get(&name.value).cloned();
        let value = match (given, default) {
            (Some(given), _) => Some(given),
            (None, Some(default)) => Some(self.expand(default)),
            (None, None) => self.walk.bottoms.globals.get(name).map(str::to_owned),
        };
        if let Some(value) = value {
            self.state.variables.set(name, &value);
        }
        self.state.arguments.insert(name.value.clone());
    }

    fn pairs(&mut self, pairs: &[EnvPair]) -> Vec<(String, String, Span)> {
        let keyword = self.statement.keyword.value.clone();
        let mut expanded = Vec::new();
        for pair in pairs {
            let name = self.expand(&pair.name);
            let value = self.expand(&pair.value);
            if pair.form == PairForm::Space {
                let message = format!(
                    "\"{keyword} key=value\" should be used instead of legacy \"{keyword} key value\" format"
                );
                let quoted = if pair.value.contains(char::is_whitespace) && !pair.value.starts_with('"') {
                    format!("\"{}\"", pair.value.value)
                } else {
                    pair.value.value.clone()
                };
                let hint = format!("write `{keyword} {}={quoted}`", pair.name.value);
                self.add(&rules::LEGACY_KEY_VALUE_FORMAT, &pair.name.span, message, Some(hint));
            }
            expanded.push((name, value, pair.name.span.clone()));
        }
        expanded
    }

    fn secret(&mut self, instruction: &str, name: &str, at: &Span) {
        const SECRET: [&str; 10] = [
            "apikey",
            "auth",
            "credential",
            "credentials",
            "key",
            "password",
            "pword",
            "passwd",
            "secret",
            "token",
        ];
        const FINE: [&str; 3] = ["public", "file", "version"];
        let lower = name.to_lowercase();
        let has = |words: &[&str]| lower.split('_').any(|part| words.contains(&part));
        if has(&SECRET) && !has(&FINE) {
            let message =
                format!("Do not use ARG or ENV instructions for sensitive data ({instruction} {name:?})");
            let hint = "give it to the step that needs it: `RUN --mount=type=secret,id=...`".to_owned();
            self.add(&rules::SECRETS_USED_IN_ARG_OR_ENV, at, message, Some(hint));
        }
    }

    fn once(&mut self, last: &mut Option<Span>) {
        let statement = self.statement;
        if let Some(before) = last.take() {
            let keyword = &statement.keyword.value;
            let message = format!(
                "Multiple {keyword} instructions should not be used in the same stage because only the last one will be used"
            );
            let hint = format!("the one that counts is at {}", statement.span);
            let rule = &rules::MULTIPLE_INSTRUCTIONS_DISALLOWED;
            self.walk.collector.add(&self.options, rule, (&before, &before), message, [hint]);
        }
        *last = Some(statement.span.clone());
    }

    fn json_recommended(&mut self, form: &CommandForm) {
        if self.state.shell || matches!(form, CommandForm::Exec(_)) {
            return;
        }
        let statement = self.statement;
        let keyword = &statement.keyword.value;
        let message = format!(
            "JSON arguments recommended for {keyword} to prevent unintended behavior related to OS signals"
        );
        self.add(&rules::JSON_ARGS_RECOMMENDED, &statement.span, message, json_hint(keyword, form));
    }

    fn run(&mut self, run: &Run) {
        for mount in &run.mounts {
            let words: Vec<&Word> = match &mount.kind {
                MountKind::Bind { source, target, .. } => source.iter().chain([target]).collect(),
                MountKind::Cache { id, target, source, .. } => {
                    id.iter().chain(source).chain([target]).collect()
                }
                MountKind::Tmpfs { target, .. } => vec![target],
                MountKind::Secret { id, target, env, .. } => id.iter().chain(target).chain(env).collect(),
                MountKind::Ssh { id, target, .. } => id.iter().chain(target).collect(),
            };
            for word in words {
                self.expand(word);
            }
        }
    }

    fn copy(&mut self, copy: &CopyFiles) {
        for word in copy.options.chown.iter().chain(&copy.options.chmod) {
            self.expand(word);
        }
        self.sources(&copy.sources, if copy.from.is_none() { Some("Copy") } else { None });
        self.expand(&copy.dest);
    }

    fn add_files(&mut self, add: &AddFiles) {
        for word in add.options.chown.iter().chain(&add.options.chmod).chain(&add.checksum) {
            self.expand(word);
        }
        self.sources(&add.sources, Some("Add"));
        self.expand(&add.dest);
    }

    /// Checks sources; `verb` is given when they come from the build context.
    fn sources(&mut self, sources: &[CopySource], verb: Option<&str>) {
        for source in sources {
            match source {
                CopySource::Path(word) => {
                    let path = self.expand(word);
                    if let Some(verb) = verb {
                        self.hidden(&path, verb, &word.span);
                    }
                }
                CopySource::Heredoc(heredoc) if heredoc.expand => {
                    let (expansion, _) = self.state.variables.expand_body(&heredoc.content);
                    self.undefined(&expansion.unmatched, &heredoc.word.span);
                }
                CopySource::Heredoc(_) => {}
            }
        }
    }

    fn hidden(&mut self, path: &str, verb: &str, at: &Span) {
        let Some(ignore) = self.walk.request.ignore else {
            return;
        };
        // With `!` lines nothing is certain: a hidden directory may hold files that are shown.
        let remote =
            ["http://", "https://", "git://", "git@", "ssh://"].iter().any(|prefix| path.starts_with(prefix));
        if remote || ignore.rules().iter().any(|rule| rule.shows) {
            return;
        }
        let clean = clean(path);
        let rule = if clean.is_empty() {
            ignore.rules().iter().find(|rule| matches!(rule.pattern.as_str(), "*" | "**" | "**/*"))
        } else {
            match ignore.verdict(&clean) {
                coracle_dockerfile::Verdict::Hidden(rule) => Some(rule),
                coracle_dockerfile::Verdict::Shown => None,
            }
        };
        if let Some(rule) = rule {
            let shown = if clean.is_empty() { "." } else { &clean };
            let message = format!("Attempting to {verb} file {shown:?} that is excluded by .dockerignore");
            let hint = format!("{} hides it: `{}`", rule.span, rule.line);
            self.add(&rules::COPY_IGNORED_FILE, at, message, Some(hint));
        }
    }

    fn expose(&mut self, words: &[Word]) {
        let escape = self.walk.request.dockerfile.directives.escape;
        for word in words {
            for port in self.state.variables.words(word, escape) {
                let Some(remarks) = expose::remarks(&port) else {
                    continue;
                };
                if remarks.protocol_case {
                    let message =
                        format!("Defined protocol '{port}' in EXPOSE instruction should be lowercase");
                    let hint = format!("write `{}`", port.to_lowercase());
                    self.add(&rules::EXPOSE_PROTO_CASING, &word.span, message, Some(hint));
                }
                if remarks.mapping {
                    let message = format!(
                        "EXPOSE instruction should not define an IP address or host-port mapping, found '{port}'"
                    );
                    let inner = port.rsplit(':').next().unwrap_or(&port).to_owned();
                    let hint = format!("write `EXPOSE {inner}`, and publish it with `-p` when it runs");
                    self.add(&rules::EXPOSE_INVALID_FORMAT, &word.span, message, Some(hint));
                }
            }
        }
    }
}

/// Returns the JSON form of a simple command; nothing for one that needs a shell.
fn json_hint(keyword: &str, form: &CommandForm) -> Option<String> {
    let CommandForm::Shell(text) = form else {
        return None;
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || " ./:@%+,=_-".contains(c);
    if !text.chars().all(plain) || text.split(' ').next().is_some_and(|first| first.contains('=')) {
        return None;
    }
    let words: Vec<String> =
        text.split(' ').filter(|word| !word.is_empty()).map(|word| format!("\"{word}\"")).collect();
    Some(format!("write `{keyword} [{}]`", words.join(", ")))
}

/// Returns a path without empty and `.` parts, and with `..` resolved.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts.join("/")
}
