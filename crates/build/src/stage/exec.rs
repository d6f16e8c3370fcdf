//! `RUN`: the command, its environment and its mounts.

use coracle_dockerfile::{CommandForm, Mount, MountKind, NetworkMode, Run, Security, Statement, Word};
use coracle_report::{Diagnostic, Span};

use super::{Flow, StageState};
use crate::configuration::arguments;
use crate::graph::{ExecOp, Op, OpSource, sources};
use crate::paths::absolute;
use crate::plan::Planner;
use crate::scope::{DEFAULT_PATH, PROXIES, set_variable, variable};
use crate::{ExecMount, ExecMountKind, SecretVariable};

/// The agent that `--mount=type=ssh` without `id` means.
const DEFAULT_AGENT: &str = "default";

/// Refuses what the caller has not allowed.
fn allowed(planner: &Planner<'_>, statement: &Statement, run: &Run) -> Result<(), Diagnostic> {
    let request = planner.request;
    let refuse = |flag: &str, allow: &str, why: &str| {
        let message = format!("`{flag}` is not allowed in this build: {why}");
        let hint = format!("if you trust this Dockerfile: `coracle build --allow {allow} ...`");
        Err(planner
            .error("not-allowed", message, run.granted.as_ref().unwrap_or(&statement.span))
            .with_hint(hint))
    };
    let host_network = run.network == NetworkMode::Host;
    if host_network && !request.allow.network_host && request.network != NetworkMode::Host {
        let why = "the step could reach every service of this host";
        return refuse("RUN --network=host", "network.host", why);
    }
    if run.security == Security::Insecure && !request.allow.security_insecure {
        let why = "the step would hold all privileges of this host";
        return refuse("RUN --security=insecure", "security.insecure", why);
    }
    Ok(())
}

impl StageState {
    pub(super) fn exec(
        &mut self,
        planner: &mut Planner<'_>,
        statement: &Statement,
        run: &Run,
    ) -> Result<Flow, Diagnostic> {
        let mut mounts = Vec::new();
        let mut secret_env = Vec::new();
        let mut agents = 0;
        for mount in &run.mounts {
            match self.mount(planner, mount, agents, &mut secret_env)? {
                None => return Ok(Flow::Waiting),
                Some(list) => mounts.extend(list),
            }
            agents += usize::from(matches!(mount.kind, MountKind::Ssh { .. }));
        }
        allowed(planner, statement, run)?;
        let mut written = None;
        let args = match (&run.command, run.heredocs.as_slice()) {
            (CommandForm::Shell(text), [heredoc]) if *text == heredoc.word.value => {
                if heredoc.content.starts_with("#!") {
                    let target = format!("/dev/pipes/{}", heredoc.name);
                    let kind = ExecMountKind::Script { content: heredoc.content.clone() };
                    mounts.push(ExecMount { target: target.clone(), kind });
                    // BuildKit has the shell run it and says so in the history; the kernel needs no shell for that,
                    // so an image without one will do.
                    written = Some(arguments(&self.config.config, &CommandForm::Shell(target.clone())));
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
        let created_by = self.run_text(written.as_ref().unwrap_or(&args));
        let name = self.label(planner, &display_text(run));
        let (security, sandbox) = (run.security, planner.request.sandbox.clone());
        let op = Op::Exec(ExecOp {
            args,
            env,
            proxy_env,
            secret_env,
            cwd,
            user,
            mounts,
            network,
            security,
            sandbox,
        });
        let paths = sources(&op).into_iter().flat_map(|(_, selection)| selection.paths);
        let mut words: Vec<(String, Span)> =
            paths.filter_map(|path| Some((path.path.clone(), mounted(run, &path.path)?))).collect();
        words.extend(self.user.iter().map(|span| ("USER".to_owned(), span.clone())));
        let vertex = planner.vertex_of_words(op, self.top, name, &statement.span, words);
        self.layer(vertex);
        self.record(planner, created_by, Some(vertex));
        Ok(Flow::Done)
    }

    fn environment(&self, planner: &Planner<'_>) -> (Vec<String>, Vec<String>) {
        let mut env = self.config.config.env.clone();
        if variable(&env, "PATH").is_none() {
            env.push(format!("PATH={DEFAULT_PATH}"));
        }
        for name in self.arguments.keys() {
            if let Some(value) = self.look_up(name) {
                set_variable(&mut env, name, &value);
            }
        }
        let proxies = PROXIES.iter().filter(|name| variable(&env, name).is_none());
        let proxies = proxies.filter_map(|name| {
            // As BuildKit: one spelling serves programs that look for the other.
            let given = &planner.request.build_args;
            let other = |(key, _): &(&String, &String)| key.eq_ignore_ascii_case(name);
            let value = given.get(*name).or_else(|| given.iter().find(other).map(|(_, value)| value))?;
            Some(format!("{name}={value}"))
        });
        let proxies = proxies.collect();
        (env, proxies)
    }

    /// Returns the history's text of a `RUN`, as BuildKit writes it: all declared arguments first, with their number.
    fn run_text(&self, args: &[String]) -> String {
        let arguments = self.arguments.keys().map(|name| {
            let value = self.look_up(name).unwrap_or_default();
            format!("{name}={value}")
        });
        let arguments: Vec<String> = arguments.collect();
        let command = args.join(" ");
        if arguments.is_empty() {
            format!("RUN {command} # buildkit")
        } else {
            format!("RUN |{} {} {command} # buildkit", arguments.len(), arguments.join(" "))
        }
    }

    /// Returns what a `--mount` comes to; `None` when its origin must be resolved first. `number` counts the agents
    /// before it.
    fn mount(
        &self,
        planner: &mut Planner<'_>,
        mount: &Mount,
        number: usize,
        secret_env: &mut Vec<SecretVariable>,
    ) -> Result<Option<Vec<ExecMount<OpSource>>>, Diagnostic> {
        let file = planner.file();
        let mount = &mount.resolved(&file.source, &|word| self.expand(planner, word))?;
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
                let path = self.mount_path(planner, source.as_ref())?;
                (at(planner, target)?, ExecMountKind::Bind { place, path, writable: *writable })
            }
            MountKind::Cache { id, target, sharing, from, source, read_only, owner } => {
                let target = at(planner, target)?;
                let id = self.expand_option(planner, id.as_ref())?.unwrap_or_else(|| target.clone());
                let seed = if from.is_some() {
                    let Some(place) = self.place(planner, from.as_ref())? else {
                        return Ok(None);
                    };
                    Some((place, self.mount_path(planner, source.as_ref())?))
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
                let name = id.rsplit('/').next().unwrap_or(&id);
                let target = target.unwrap_or_else(|| format!("/run/secrets/{name}"));
                let target = absolute(&self.config.config.working_dir, &target);
                (target, ExecMountKind::Secret { id, owner: *owner, required: *required })
            }
            MountKind::Ssh { id, target, required, owner } => {
                let id = self.expand_option(planner, id.as_ref())?;
                let id = id.unwrap_or_else(|| DEFAULT_AGENT.to_owned());
                let target = match self.expand_option(planner, target.as_ref())? {
                    Some(target) => absolute(&self.config.config.working_dir, &target),
                    None => format!("/run/buildkit/ssh_agent.{number}"),
                };
                (target, ExecMountKind::Ssh { id, owner: *owner, required: *required })
            }
        };
        Ok(Some(vec![ExecMount { target, kind }]))
    }
}

/// Returns where the source of a mount is written.
fn mounted(run: &Run, path: &str) -> Option<Span> {
    run.mounts.iter().find_map(|mount| match &mount.kind {
        MountKind::Bind { source: Some(source), .. } | MountKind::Cache { source: Some(source), .. } => {
            let written = source.value.trim_start_matches("./").trim_matches('/');
            (written == path).then(|| source.span.clone())
        }
        _ => None,
    })
}

/// Returns a `RUN` as its name shows it: the command without flags; a heredoc shows how it begins.
fn display_text(run: &Run) -> String {
    let command = match &run.command {
        CommandForm::Shell(text) => text.clone(),
        CommandForm::Exec(list) => list.join(" "),
    };
    let mut content = run.heredocs.iter().flat_map(|heredoc| heredoc.content.lines());
    match content.find(|line| !line.trim().is_empty()) {
        Some(line) => format!("RUN {command} ({}...)", line.trim()),
        None => format!("RUN {command}"),
    }
}
