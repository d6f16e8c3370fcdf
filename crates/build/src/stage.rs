//! One stage while it is planned: what each instruction adds to the graph and to the configuration.

use coracle_dockerfile::{
    AddFiles, CommandForm, CopyFiles, CopySource, EnvPair, Escape, Heredoc, Instruction, Mount, MountKind,
    NetworkMode, Run, Stage, Statement, Word, expand_body, expand_words, parse_trigger,
};
use coracle_oci::{Digest, Empty, History, ImageConfig};
use coracle_report::{Diagnostic, Span};

use crate::configuration::{arguments, expose, health_check, health_check_text, one_line, ports, quoted};
use crate::graph::{CopyOp, ExecOp, Op, OpItem, OpSource, PlannedHistory, VertexId};
use crate::paths::{Rooted, absolute, destination, source};
use crate::plan::{Origin, Planner};
use crate::scope::{Arguments, DEFAULT_PATH, PROXIES, look_up, set_variable, variable};
use crate::{ExecMount, ExecMountKind, InlineFile, SecretVariable, Unpack};

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
    cmd_is_set: bool,
    step: usize,
    /// How many steps there are; known once triggers are read.
    steps: usize,
}

/// The name of a stage's base, while an instruction waits for a base, is of no use: the stage is planned again.
enum Flow {
    Done,
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
            cmd_is_set: false,
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
        let count = statements.len();
        statements.extend(std::mem::take(&mut self.statements));
        for (number, statement) in statements.iter().enumerate() {
            let flow = self.statement(planner, statement).map_err(|error| {
                if number >= count {
                    return error;
                }
                let from = &planner.file().stages[self.index].span;
                error.with_note(format!("this trigger comes with the base image of {from}"))
            })?;
            if matches!(flow, Flow::Waiting) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn look_up(&self, name: &str) -> Option<String> {
        look_up(&self.config.config.env, &self.arguments, name)
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

    fn record(&mut self, planner: &Planner<'_>, created_by: String, vertex: Option<VertexId>) {
        let entry = History {
            created: planner.request.created.clone(),
            created_by: Some(created_by),
            author: self.config.author.clone(),
            comment: Some(COMMENT.to_owned()),
            empty_layer: vertex.is_none(),
        };
        self.history.push(PlannedHistory { entry, vertex });
    }

    fn layer(&mut self, vertex: VertexId) {
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
                    self.arguments.insert(name, value);
                }
                self.record(planner, format!("ARG {}", texts.join(" ")), None);
            }
            Instruction::Env(pairs) => {
                let pairs = self.pairs(planner, pairs)?;
                for (name, value) in &pairs {
                    set_variable(&mut self.config.config.env, name, value);
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
                self.record(planner, format!("STOPSIGNAL {signal}"), None);
                self.config.config.stop_signal = Some(signal);
            }
            Instruction::OnBuild(trigger) => {
                self.record(planner, format!("ONBUILD {}", trigger.text.value), None);
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
        let texts: Vec<String> = all.iter().map(|port| format!("{port}:{{}}")).collect();
        self.record(planner, format!("EXPOSE map[{}]", texts.join(" ")), None);
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
        let created_by = format!("WORKDIR {path}");
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

    fn exec(
        &mut self,
        planner: &mut Planner<'_>,
        statement: &Statement,
        run: &Run,
    ) -> Result<Flow, Diagnostic> {
        let mut mounts = Vec::new();
        let mut secret_env = Vec::new();
        for mount in &run.mounts {
            match self.mount(planner, mount, &mut secret_env)? {
                None => return Ok(Flow::Waiting),
                Some(list) => mounts.extend(list),
            }
        }
        let args = match (&run.command, run.heredocs.as_slice()) {
            (CommandForm::Shell(text), [heredoc]) if *text == heredoc.word.value => {
                if heredoc.content.starts_with("#!") {
                    let target = format!("/dev/pipes/{}", heredoc.name);
                    let kind = ExecMountKind::Script { content: heredoc.content.clone() };
                    mounts.push(ExecMount { target: target.clone(), kind });
                    vec![target]
                } else {
                    arguments(&self.config.config, &CommandForm::Shell(heredoc.content.clone()))
                }
            }
            (CommandForm::Shell(text), heredocs) if !heredocs.is_empty() => {
                let mut text = text.clone();
                for heredoc in heredocs {
                    text = format!("{text}\n{}{}", heredoc.content, heredoc.name);
                }
                arguments(&self.config.config, &CommandForm::Shell(text))
            }
            (form, _) => arguments(&self.config.config, form),
        };
        let (env, proxy_env) = self.environment(planner);
        let network = match run.network {
            NetworkMode::Default => planner.request.network,
            other => other,
        };
        let cwd = absolute(&self.config.config.working_dir, ".");
        let user = self.config.config.user.clone();
        let created_by = self.run_text(&args);
        let name = self.label(planner, &display_text(statement, &run.heredocs));
        let op = Op::Exec(ExecOp { args, env, proxy_env, secret_env, cwd, user, mounts, network });
        let vertex = planner.vertex(op, self.top, name, &statement.span);
        self.layer(vertex);
        self.record(planner, created_by, Some(vertex));
        Ok(Flow::Done)
    }

    /// Returns the arguments that a `RUN` sees as variables: declared, with a value, not hidden by `ENV`.
    fn visible_arguments(&self) -> Vec<String> {
        let visible =
            self.arguments.iter().filter(|(name, _)| variable(&self.config.config.env, name).is_none());
        visible.filter_map(|(name, value)| value.as_ref().map(|value| format!("{name}={value}"))).collect()
    }

    fn environment(&self, planner: &Planner<'_>) -> (Vec<String>, Vec<String>) {
        let mut env = self.config.config.env.clone();
        if variable(&env, "PATH").is_none() {
            env.push(format!("PATH={DEFAULT_PATH}"));
        }
        env.extend(self.visible_arguments());
        let proxies = PROXIES.iter().filter(|name| variable(&env, name).is_none());
        let proxies = proxies
            .filter_map(|name| planner.request.build_args.get(*name).map(|value| format!("{name}={value}")));
        let proxies = proxies.collect();
        (env, proxies)
    }

    /// Returns the history's text of a `RUN`, as BuildKit writes it: arguments first, with their number.
    fn run_text(&self, args: &[String]) -> String {
        let arguments = self.visible_arguments();
        let command = args.join(" ");
        if arguments.is_empty() {
            format!("RUN {command} # buildkit")
        } else {
            format!("RUN |{} {} {command} # buildkit", arguments.len(), arguments.join(" "))
        }
    }

    /// Returns what a `--mount` comes to; `None` when its origin must be resolved first.
    fn mount(
        &self,
        planner: &mut Planner<'_>,
        mount: &Mount,
        secret_env: &mut Vec<SecretVariable>,
    ) -> Result<Option<Vec<ExecMount<OpSource>>>, Diagnostic> {
        let at = |planner: &Planner<'_>, target: &Word| -> Result<String, Diagnostic> {
            let target = absolute(&self.config.config.working_dir, &self.expand(planner, target)?);
            if target == "/" {
                return Err(planner.error("bad-mount", "nothing can be mounted on `/`", &mount.span));
            }
            Ok(target)
        };
        let (target, kind) = match &mount.kind {
            MountKind::Bind { from, source, target, writable } => {
                let Some(place) = self.place(planner, from.as_ref())? else {
                    return Ok(None);
                };
                let path = self.mount_path(planner, source.as_ref(), place)?;
                (at(planner, target)?, ExecMountKind::Bind { place, path, writable: *writable })
            }
            MountKind::Cache { id, target, sharing, from, source, read_only, owner } => {
                let target = at(planner, target)?;
                let id = self.expand_option(planner, id.as_ref())?.unwrap_or_else(|| target.clone());
                let seed = if from.is_some() {
                    let Some(place) = self.place(planner, from.as_ref())? else {
                        return Ok(None);
                    };
                    Some((place, self.mount_path(planner, source.as_ref(), place)?))
                } else {
                    None
                };
                let (sharing, read_only, owner) = (*sharing, *read_only, *owner);
                (target, ExecMountKind::Cache { id, sharing, seed, read_only, owner })
            }
            MountKind::Tmpfs { target, size } => (at(planner, target)?, ExecMountKind::Tmpfs { size: *size }),
            MountKind::Secret { id, target, env, required, owner } => {
                let target = self.expand_option(planner, target.as_ref())?;
                let base = target.as_deref().and_then(|target| target.rsplit('/').next()).unwrap_or_default();
                let id = self.expand_option(planner, id.as_ref())?.unwrap_or_else(|| base.to_owned());
                if let Some(name) = self.expand_option(planner, env.as_ref())? {
                    secret_env.push(SecretVariable { name, id: id.clone(), required: *required });
                    if target.is_none() {
                        return Ok(Some(Vec::new()));
                    }
                }
                let target = target.unwrap_or_else(|| format!("/run/secrets/{id}"));
                let target = absolute(&self.config.config.working_dir, &target);
                (target, ExecMountKind::Secret { id, owner: *owner, required: *required })
            }
            MountKind::Ssh { required: true, .. } => {
                return Err(planner.error("unsupported-mount", "ssh mounts are not supported", &mount.span));
            }
            MountKind::Ssh { .. } => {
                let source = &planner.file().source;
                let message = "ssh mounts are not supported; this one is left out";
                planner.warnings.push(source.warning("unsupported-mount", message, &mount.span));
                return Ok(Some(Vec::new()));
            }
        };
        Ok(Some(vec![ExecMount { target, kind }]))
    }

    fn place(&self, planner: &mut Planner<'_>, from: Option<&Word>) -> Result<Option<OpSource>, Diagnostic> {
        let Some(word) = from else {
            return Ok(Some(OpSource::Context));
        };
        let name = self.expand(planner, word)?;
        if name.is_empty() {
            return Err(planner.error("unknown-stage", format!("`{}` is empty", word.value), &word.span));
        }
        Ok(match planner.origin(&name, self.index, word)? {
            Origin::Source(source) => Some(source),
            Origin::Waiting => None,
        })
    }

    fn mount_path(
        &self,
        planner: &Planner<'_>,
        word: Option<&Word>,
        place: OpSource,
    ) -> Result<String, Diagnostic> {
        let Some(word) = word else {
            return Ok(String::new());
        };
        let text = self.expand(planner, word)?;
        Ok(source(&text, rooted(place)).map_err(|()| outside(planner, &text, &word.span))?.path)
    }

    fn copy(
        &mut self,
        planner: &mut Planner<'_>,
        statement: &Statement,
        copy: &CopyFiles,
    ) -> Result<Flow, Diagnostic> {
        let Some(place) = self.place(planner, copy.from.as_ref())? else {
            return Ok(Flow::Waiting);
        };
        let mut items = Vec::new();
        let mut texts = Vec::new();
        for source in &copy.sources {
            let (item, text) = self.item(planner, source, place)?;
            items.push(item);
            texts.push(text);
        }
        let mut op = self.files(planner, &copy.dest, &copy.options, items)?;
        op.source = place;
        op.parents = copy.parents;
        self.finish_copy(planner, statement, "COPY", &texts, op);
        Ok(Flow::Done)
    }

    fn add(
        &mut self,
        planner: &mut Planner<'_>,
        statement: &Statement,
        add: &AddFiles,
    ) -> Result<(), Diagnostic> {
        let checksum = self.checksum(planner, add.checksum.as_ref())?;
        let mut items = Vec::new();
        let mut texts = Vec::new();
        for source in &add.sources {
            let text = match source {
                CopySource::Path(word) => self.expand(planner, word)?,
                CopySource::Heredoc(_) => String::new(),
            };
            if let (true, CopySource::Path(word)) = (is_git(&text), source) {
                let error = planner.error(
                    "unsupported-source",
                    "ADD of a git repository is not supported",
                    &word.span,
                );
                return Err(error.with_hint("clone it in a RUN step, or beforehand into the context"));
            }
            let (item, text) = if text.starts_with("http://") || text.starts_with("https://") {
                (OpItem::Url { url: text.clone(), checksum }, text)
            } else {
                self.item(planner, source, OpSource::Context)?
            };
            items.push(item);
            texts.push(text);
        }
        if let (Some(word), false) =
            (&add.checksum, items.iter().any(|item| matches!(item, OpItem::Url { .. })))
        {
            return Err(planner.error(
                "bad-flag",
                "`--checksum` is for a URL, and there is none",
                &word.span,
            ));
        }
        let mut op = self.files(planner, &add.dest, &add.options, items)?;
        op.unpack = match add.unpack {
            None => Unpack::Local,
            Some(true) => Unpack::All,
            Some(false) => Unpack::Never,
        };
        self.finish_copy(planner, statement, "ADD", &texts, op);
        Ok(())
    }

    fn checksum(&self, planner: &Planner<'_>, word: Option<&Word>) -> Result<Option<Digest>, Diagnostic> {
        let Some(word) = word else {
            return Ok(None);
        };
        let text = self.expand(planner, word)?;
        let parsed: Result<Digest, _> = text.parse();
        parsed.map(Some).map_err(|error| planner.error("bad-flag", error.to_string(), &word.span))
    }

    fn item(
        &self,
        planner: &Planner<'_>,
        item: &CopySource,
        place: OpSource,
    ) -> Result<(OpItem, String), Diagnostic> {
        match item {
            CopySource::Path(word) => {
                let text = self.expand(planner, word)?;
                if text.is_empty() {
                    return Err(planner.error(
                        "empty-path",
                        format!("source `{}` is empty", word.value),
                        &word.span,
                    ));
                }
                let path = source(&text, rooted(place)).map_err(|()| outside(planner, &text, &word.span))?;
                Ok((OpItem::Path(path), text))
            }
            CopySource::Heredoc(heredoc) => {
                let content = self.heredoc(planner, heredoc, planner.file().directives.escape)?;
                let file = InlineFile { name: heredoc.name.clone(), content };
                if file.name.contains('/') || file.name == ".." {
                    let message = format!("`{}` is no file name", file.name);
                    return Err(planner.error("bad-heredoc", message, &heredoc.word.span));
                }
                Ok((OpItem::Inline(file), heredoc.word.value.clone()))
            }
        }
    }

    fn heredoc(
        &self,
        planner: &Planner<'_>,
        heredoc: &Heredoc,
        escape: Escape,
    ) -> Result<String, Diagnostic> {
        if !heredoc.expand {
            return Ok(heredoc.content.clone());
        }
        expand_body(&heredoc.content, escape, &|name| self.look_up(name))
            .map_err(|error| planner.error(error.code(), error.to_string(), &heredoc.word.span))
    }

    fn files(
        &self,
        planner: &Planner<'_>,
        dest: &Word,
        options: &coracle_dockerfile::FileOptions,
        items: Vec<OpItem>,
    ) -> Result<CopyOp, Diagnostic> {
        let text = self.expand(planner, dest)?;
        if text.is_empty() {
            return Err(planner.error("empty-path", "the destination is empty", &dest.span));
        }
        let path = destination(&self.config.config.working_dir, &text);
        if items.len() > 1 && !path.ends_with('/') {
            let message =
                format!("several sources need a directory as destination; `{text}` does not end with `/`");
            let error = planner.error("destination-no-directory", message, &dest.span);
            return Err(error.with_hint(format!("write `{text}/`")));
        }
        let chmod = self.expand_option(planner, options.chmod.as_ref())?;
        if let (Some(mode), Some(word)) = (&chmod, &options.chmod)
            && !is_mode(mode)
        {
            let error = planner.error("bad-flag", format!("`{mode}` is no file mode"), &word.span);
            return Err(error.with_hint("modes look like 0755 or u=rwX,go=rX"));
        }
        let exclude = options.exclude.iter().map(|word| self.expand(planner, word));
        Ok(CopyOp {
            source: OpSource::Context,
            items,
            exclude: exclude.collect::<Result<_, _>>()?,
            dest: path,
            chown: self.expand_option(planner, options.chown.as_ref())?,
            chmod,
            parents: false,
            unpack: Unpack::Never,
        })
    }

    fn finish_copy(
        &mut self,
        planner: &mut Planner<'_>,
        statement: &Statement,
        keyword: &str,
        texts: &[String],
        op: CopyOp,
    ) {
        let flag = |name: &str, value: &Option<String>| {
            value.as_ref().map_or(String::new(), |value| format!(" --{name}={value}"))
        };
        let flags = format!("{}{}", flag("chown", &op.chown), flag("chmod", &op.chmod));
        let created_by = format!("{keyword}{flags} {} {} # buildkit", texts.join(" "), op.dest);
        let name = self.label(planner, &statement.text);
        let vertex = planner.vertex(Op::Copy(op), self.top, name, &statement.span);
        self.layer(vertex);
        self.record(planner, created_by, Some(vertex));
    }
}

const fn rooted(place: OpSource) -> Rooted {
    match place {
        OpSource::Context => Rooted::Context,
        OpSource::Vertex(_) | OpSource::Empty => Rooted::FileSystem,
    }
}

fn outside(planner: &Planner<'_>, text: &str, span: &Span) -> Diagnostic {
    planner
        .error("outside-context", format!("`{text}` lies outside the build context"), span)
        .with_hint("build with a directory as context that holds it, and name the Dockerfile with `-f`")
}

fn is_git(text: &str) -> bool {
    let (repository, _) = text.split_once('#').unwrap_or((text, ""));
    let suffix = std::path::Path::new(repository).extension();
    text.starts_with("git@")
        || text.starts_with("git://")
        || text.starts_with("ssh://")
        || (text.starts_with("http") && suffix.is_some_and(|suffix| suffix == "git"))
}

fn is_mode(text: &str) -> bool {
    let octal = text.len() <= 5 && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let symbolic = text.split(',').all(|clause| {
        let Some((who, what)) = clause.find(['+', '-', '=']).map(|at| clause.split_at(at)) else {
            return false;
        };
        who.bytes().all(|byte| b"ugoa".contains(&byte))
            && what.bytes().all(|byte| b"+-=rwxXstugo".contains(&byte))
    });
    octal || symbolic
}

fn assignments(pairs: &[(String, String)]) -> String {
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

/// Returns the text of a `RUN` as its name shows it: a lone heredoc shows how it begins.
fn display_text(statement: &Statement, heredocs: &[Heredoc]) -> String {
    let first =
        heredocs.first().and_then(|heredoc| heredoc.content.lines().find(|line| !line.trim().is_empty()));
    match first {
        Some(line) => format!("{} ({}...)", statement.text, line.trim()),
        None => statement.text.clone(),
    }
}
