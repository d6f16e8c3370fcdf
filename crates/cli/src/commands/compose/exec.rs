//! `coracle compose exec`: a command in a service's running container.

use coracle_engine::{ExecRequest, Result};
use indexmap::IndexMap;

use super::options::{self, Session, usage};
use crate::commands::Done;
use crate::values;

const EXAMPLES: &str = "\
Examples:
  coracle compose exec backend sh
  coracle compose exec -T database psql -U postgres < dump.sql
  coracle compose exec --index 2 worker cat /etc/hostname
";

/// Options of `coracle compose exec`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of Docker Compose's")]
pub struct Args {
    /// Run in the background.
    #[arg(short, long)]
    detach: bool,
    /// Set a variable.
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// The container of this number.
    #[arg(long, value_name = "NUMBER")]
    index: Option<u32>,
    /// Give the command no terminal; without one here it gets none anyway.
    #[arg(short = 'T', long, visible_alias = "no-TTY")]
    no_tty: bool,
    /// Accepted: a terminal is given where there is one.
    #[arg(short, long, hide = true)]
    tty: bool,
    /// Whether standard input is passed on.
    #[arg(short, long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    interactive: Option<bool>,
    /// All capabilities.
    #[arg(long)]
    privileged: bool,
    /// User and group.
    #[arg(short, long)]
    user: Option<String>,
    /// Working directory.
    #[arg(short, long, value_name = "PATH")]
    workdir: Option<String>,
    /// The service.
    #[arg(add = options::services())]
    service: String,
    /// The command and its arguments: from here on, nothing is an option of ours.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs the command.
pub fn run(session: &Session<'_>, args: Args) -> Result<Done> {
    let engine = session.quiet_engine()?;
    let project = session.open(&engine, std::slice::from_ref(&args.service))?;
    let view = engine.projects().running_container(&project, &args.service, args.index)?;
    let here = rustix::termios::isatty(std::io::stdin()) && rustix::termios::isatty(std::io::stdout());
    let stdin = !args.detach && args.interactive.unwrap_or(true);
    let caller = |name: &str| session.files.environment.get(name).cloned();
    let mut environment = IndexMap::new();
    for text in &args.env {
        environment.extend(values::variable(text, caller).map_err(usage)?);
    }
    let request = ExecRequest {
        command: args.command,
        environment,
        user: args.user,
        working_directory: args.workdir,
        tty: here && stdin && !args.no_tty,
        stdin,
        privileged: args.privileged,
        detach: args.detach,
        detach_keys: coracle_engine::DetachKeys::default(),
    };
    if session.dry_run {
        let line = format!("run `{}` in {} (asked for)", request.command.join(" "), view.record.spec.name);
        session.show_lines(&[line]);
        return Ok(Done::Ok);
    }
    engine.containers().exec(&view.record.id, request).map(Done::Child)
}
