//! Hooks: commands of a project that run in its containers after their start and before their stop.

use coracle_container::{ContainerId, Hook};
use coracle_report::Diagnostic;
use coracle_runtime::ExecSpec;

use super::Containers;
use super::launch::gone;
use crate::{Failure, Result};

/// How much of what a hook prints is kept, of each stream.
const KEPT: usize = 256 * 1024;
/// How many lines of it show why it failed.
const SHOWN: usize = 10;

impl Containers<'_> {
    /// Runs what a container's project wants done once it has started; the first failure ends it.
    pub(crate) fn after_start(&self, id: &ContainerId) -> Result<()> {
        let Some(record) = self.record(id)? else { return Ok(()) };
        let hooks = &record.spec.hooks.post_start;
        hooks.iter().try_for_each(|hook| self.run_hook(id, &record.spec.name, "post_start", hook))
    }

    /// Runs what a container's project wants done before it is stopped; one that does not run has nothing to do. After
    /// a failure it is not to be stopped (Compose, `pre_stop`).
    pub(crate) fn before_stop(&self, id: &ContainerId) -> Result<()> {
        let Some(record) = self.record(id)? else { return Ok(()) };
        let hooks = &record.spec.hooks.pre_stop;
        for hook in hooks {
            if !self.state(id)?.is_running() {
                return Ok(());
            }
            self.run_hook(id, &record.spec.name, "pre_stop", hook)?;
        }
        Ok(())
    }

    fn run_hook(&self, id: &ContainerId, name: &str, word: &str, hook: &Hook) -> Result<()> {
        let view = self.view(id)?.ok_or_else(|| gone(id))?;
        let spec = ExecSpec {
            args: hook.command.clone(),
            env: hook.environment.clone().into_iter().collect(),
            cwd: hook.working_directory.clone().map(Into::into),
            user: hook.user.as_ref().map(|user| self.user_inside(&view.record, user)).transpose()?,
            privileged: hook.privileged,
            ..ExecSpec::default()
        };
        let command = hook.command.join(" ");
        let failed = |how: String, printed: &[String]| {
            let message = format!("the `{word}` hook `{command}` of container `{name}` {how}");
            let mut diagnostic = Diagnostic::error("hook-failed", message);
            diagnostic.notes.extend(printed.iter().cloned());
            if word == "pre_stop" {
                diagnostic = diagnostic
                    .with_note("so it was not stopped")
                    .with_hint(format!("stop it without the hook: coracle stop {name}"));
            }
            Failure::user(diagnostic)
        };
        match self.engine.runtime.exec_captured(id, &spec, KEPT) {
            Ok(captured) if captured.code == 0 => Ok(()),
            Ok(captured) => {
                let mut lines = last_lines(&captured.stdout);
                lines.extend(last_lines(&captured.stderr));
                Err(failed(format!("ended with {}", captured.code), &lines))
            }
            Err(error) => Err(failed(format!("could not be run: {error}"), &[])),
        }
    }
}

fn last_lines(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN)..].iter().map(|line| (*line).to_owned()).collect()
}
