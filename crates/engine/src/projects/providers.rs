//! Services that a program outside manages (`provider`): run for `up` before anything else, and for `down` after it.
//!
//! The program is `docker-TYPE`, else `TYPE`, of the caller's `PATH` or of Docker's places for plugins. It is called as
//! Compose calls it, `compose --project-name NAME up|down --OPTION=VALUE SERVICE`, and answers with a JSON object a line:
//! `info` and `debug` are progress, `error` says why it fails, `setenv` gives a variable to the services that depend on it.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use coracle_composefile::{Project, Provider};
use coracle_report::{Diagnostic, Outcome, Task};
use serde::Deserialize;

use super::Projects;
use crate::{During, Failure, Result};

/// How often a wish to end is looked for.
const PATIENCE: Duration = Duration::from_millis(50);
/// Longest line and longest complaint that is kept, bytes.
const KEPT: u64 = 64 * 1024;
/// Most lines that are read of one program.
const LINES: usize = 10_000;

/// One line of a provider.
#[derive(Deserialize)]
struct Message {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    message: String,
}

impl Projects<'_> {
    /// Runs the providers that `services` depend on (all with `whole`), and gives their variables to those services.
    pub(super) fn provide(&self, project: &mut Project, whole: bool, cancel: &AtomicBool) -> Result<()> {
        for (name, provider) in project.providers.clone() {
            let used = project.services.values().any(|service| service.provided_by.contains(&name));
            if !used && !whole {
                continue;
            }
            let variables = self.run_provider(&project.name, &name, &provider, "up", cancel)?;
            let prefix = name.to_uppercase();
            for service in project.services.values_mut().filter(|it| it.provided_by.contains(&name)) {
                for (key, value) in &variables {
                    service.environment.insert(format!("{prefix}_{key}"), value.clone());
                }
            }
        }
        Ok(())
    }

    /// Lets the providers take away what they made; each is asked, the failures are returned together.
    pub(super) fn withdraw(&self, project: &Project, cancel: &AtomicBool) -> Result<()> {
        let mut failures = Vec::new();
        for (name, provider) in project.providers.iter().rev() {
            if let Err(failure) = self.run_provider(&project.name, name, provider, "down", cancel) {
                failures.extend(failure.diagnostics);
            }
        }
        if failures.is_empty() { Ok(()) } else { Err(Failure::findings(failures)) }
    }

    fn run_provider(
        &self,
        project: &str,
        service: &str,
        provider: &Provider,
        verb: &str,
        cancel: &AtomicBool,
    ) -> Result<Vec<(String, String)>> {
        let Some(program) = self.find_provider(&provider.kind) else {
            let kind = &provider.kind;
            let message = format!("service `{service}` needs the provider `{kind}`, which is not installed");
            return Err(Failure::user(
                Diagnostic::error("no-provider", message)
                    .with_span(provider.span.clone())
                    .with_note(format!("looked for `docker-{kind}` and `{kind}` in PATH"))
                    .with_hint(format!("install it, then see that this finds it: command -v docker-{kind}")),
            ));
        };
        let mut command = Command::new(&program);
        command.args(["compose", "--project-name", project, verb]);
        for (name, values) in &provider.options {
            command.args(values.iter().map(|value| format!("--{name}={value}")));
        }
        command.arg(service).env_clear().envs(&self.engine.environment);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let task = Task::start(&*self.engine.reporter, None, service.to_owned());
        task.state(format!("{} {verb}", provider.kind));
        let outcome = command
            .spawn()
            .during(format_args!("starting {}", program.display()))
            .and_then(|child| converse(child, &task, cancel));
        let outcome = outcome.and_then(|answer| {
            if answer.succeeded {
                return Ok(answer.variables);
            }
            let message =
                format!("the provider `{}` of service `{service}` failed at `{verb}`", provider.kind);
            let mut error = Diagnostic::error("provider-failed", message).with_span(provider.span.clone());
            error.notes.extend(answer.complaints);
            Err(Failure::user(error))
        });
        task.finish(match &outcome {
            Ok(_) => Outcome::Done,
            Err(failure) => Outcome::Failed(failure.first().message.clone()),
        });
        outcome
    }

    fn find_provider(&self, kind: &str) -> Option<PathBuf> {
        let of = |name: &str| self.engine.environment.get(name);
        let path: Vec<PathBuf> =
            of("PATH").map(|path| std::env::split_paths(path).collect()).unwrap_or_default();
        let home = of("HOME").map(|home| PathBuf::from(home).join(".docker/cli-plugins"));
        let plugins = [
            "/usr/local/lib/docker/cli-plugins",
            "/usr/lib/docker/cli-plugins",
            "/usr/libexec/docker/cli-plugins",
        ];
        let plugin = format!("docker-{kind}");
        let as_plugin = home.into_iter().chain(plugins.map(PathBuf::from)).chain(path.clone());
        let candidates = as_plugin.map(|place| place.join(&plugin));
        let runs = |path: &PathBuf| {
            path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
        };
        // A relative place of PATH would be the project's own.
        let all = candidates.chain(path.iter().map(|place| place.join(kind)));
        all.filter(|path| path.is_absolute()).find(runs)
    }
}

/// What a provider answered.
struct Answer {
    succeeded: bool,
    variables: Vec<(String, String)>,
    complaints: Vec<String>,
}

/// Reads a provider's lines until it ends; kills it when the user wants the command to end.
fn converse(mut child: Child, task: &Task<'_>, cancel: &AtomicBool) -> Result<Answer> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (sender, lines) = mpsc::channel::<String>();
    let errors = std::thread::spawn(move || {
        let mut text = Vec::new();
        // The rest is read too, lest the program waits for room.
        if let Some(mut stderr) = stderr {
            let _ = stderr.by_ref().take(KEPT).read_to_end(&mut text);
            let _ = std::io::copy(&mut stderr, &mut std::io::sink());
        }
        String::from_utf8_lossy(&text).lines().map(str::to_owned).collect::<Vec<_>>()
    });
    let reader = std::thread::spawn(move || {
        let Some(stdout) = stdout else { return };
        let mut stdout = BufReader::new(stdout);
        for _ in 0..LINES {
            let mut line = Vec::new();
            match stdout.by_ref().take(KEPT).read_until(b'\n', &mut line) {
                Ok(count) if count > 0 => {
                    if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                        return;
                    }
                }
                Ok(_) | Err(_) => return,
            }
        }
    });
    let (mut variables, mut complaints) = (Vec::new(), Vec::new());
    loop {
        match lines.recv_timeout(PATIENCE) {
            Ok(line) => hear(&line, task, &mut variables, &mut complaints),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) if cancel.load(Ordering::Relaxed) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(Failure::user(Diagnostic::error("cancelled", "interrupted")));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
    let status = child.wait().during("waiting for a provider")?;
    let _ = reader.join();
    complaints.extend(errors.join().unwrap_or_default());
    Ok(Answer { succeeded: status.success(), variables, complaints })
}

fn hear(line: &str, task: &Task<'_>, variables: &mut Vec<(String, String)>, complaints: &mut Vec<String>) {
    let line = line.trim();
    if line.is_empty() {
        return;
    }
    match serde_json::from_str::<Message>(line) {
        Ok(Message { kind, message }) => match kind.as_str() {
            "setenv" => {
                if let Some((name, value)) = message.split_once('=') {
                    variables.push((name.to_owned(), value.to_owned()));
                }
            }
            "error" => complaints.push(message),
            "debug" => {}
            _ => task.state(message),
        },
        Err(_) => complaints.push(line.to_owned()),
    }
}
