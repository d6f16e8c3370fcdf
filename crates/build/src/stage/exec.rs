//! `RUN`: the command, its environment and its mounts.

use coracle_dockerfile::{CommandForm, Mount, MountKind, NetworkMode, Run, Statement, Word};
use coracle_report::Diagnostic;

use super::{Flow, StageState};
use crate::configuration::arguments;
use crate::graph::{ExecOp, Op, OpSource};
use crate::paths::absolute;
use crate::plan::Planner;
use crate::scope::{DEFAULT_PATH, PROXIES, variable};
use crate::{ExecMount, ExecMountKind, SecretVariable};

impl StageState {
    pub(super) fn exec(
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
        let name = self.label(planner, &display_text(run));
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
