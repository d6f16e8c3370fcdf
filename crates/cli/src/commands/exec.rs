//! `coracle exec`: a command in a running container, or in a service of an environment.

use coracle_engine::{DetachKeys, ExecRequest, Failure, Result};
use coracle_report::Diagnostic;

use super::Done;
use super::detach_keys::{detach_keys, keys_or_configured};
use super::flag_error::bad_flag;
use super::run::variables;
use super::target::{self, ProjectArgs, Target};
use crate::context::Context;

const EXAMPLES: &str = "\
Examples:
  coracle exec web nginx -t
  coracle exec -it web sh
  coracle exec dev database psql -U postgres
";

/// Options of `coracle exec`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Keep standard input open.
    #[arg(short, long)]
    pub interactive: bool,
    /// Give the command a terminal.
    #[arg(short, long)]
    pub tty: bool,
    /// Give it none (an environment's services get one when there is one here).
    #[arg(short = 'T', long, conflicts_with = "tty")]
    pub no_tty: bool,
    /// Run in the background.
    #[arg(short, long)]
    pub detach: bool,
    /// Set a variable.
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,
    /// The keys that let go of its terminal.
    #[arg(long, value_name = "KEYS", value_parser = detach_keys)]
    pub detach_keys: Option<DetachKeys>,
    /// User and group.
    #[arg(short, long)]
    pub user: Option<String>,
    /// Working directory.
    #[arg(short, long)]
    pub workdir: Option<String>,
    /// All capabilities.
    #[arg(long)]
    pub privileged: bool,
    #[command(flatten)]
    pub project: ProjectArgs,
    /// CONTAINER COMMAND [ARG...], or ENV SERVICE COMMAND [ARG...].
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "WORDS")]
    pub words: Vec<String>,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    if let Some(first) = args.words.first() {
        super::run::refuse_option(first)?;
    }
    let engine = context.quiet_engine()?;
    let here = rustix::termios::isatty(std::io::stdin()) && rustix::termios::isatty(std::io::stdout());
    let mut tty = args.tty;
    let mut interactive = args.interactive;
    // Of a container these are the command's variables, as Docker has it; of an environment the project's.
    let mut files = Vec::new();
    let (view, command) = match target::decide(&engine, &args.project, args.words)? {
        Target::Containers(words) => {
            files.clone_from(&args.project.env_file);
            let mut words = words.into_iter();
            let name = words.next().unwrap_or_default();
            (engine.containers().find(&name)?, words.collect::<Vec<_>>())
        }
        Target::Environment(selection, words) => {
            let mut words = words.into_iter();
            let service =
                words.next().ok_or_else(|| usage("name a service of the environment, then a command"))?;
            let project = engine.projects().load(&selection)?;
            // Compose: a terminal and open input unless told otherwise.
            tty = tty || (here && !args.no_tty);
            interactive = interactive || !args.no_tty;
            (engine.projects().container_of(&project, &service)?, words.collect())
        }
    };
    if command.is_empty() {
        return Err(usage("name a command to run, e.g. sh"));
    }
    if tty && interactive && !rustix::termios::isatty(std::io::stdin()) {
        return Err(Failure::user(
            Diagnostic::error("no-terminal", "the input device is not a terminal").with_hint("leave out -t"),
        ));
    }
    if let Some(path) = args.workdir.as_ref().filter(|path| !path.starts_with('/')) {
        let why = format!("`{path}` is not absolute; write it from the root: -w /{path}");
        return Err(bad_flag("--workdir", &why));
    }
    let environment = variables(&files, &args.env)?;
    let request = ExecRequest {
        command,
        environment,
        user: args.user,
        working_directory: args.workdir,
        tty,
        stdin: interactive,
        privileged: args.privileged,
        detach: args.detach,
        detach_keys: keys_or_configured(args.detach_keys)?,
    };
    engine.containers().exec(&view.record.id, request).map(Done::Child)
}

fn usage(message: &str) -> Failure {
    Failure::user(Diagnostic::error("usage", message))
}
