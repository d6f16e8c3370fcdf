//! `coracle attach`: the streams of a container that runs already.

use coracle_engine::{AttachStreams, DetachKeys, Failure, Result};
use coracle_report::Diagnostic;

use super::Done;
use super::detach_keys::{detach_keys, keys_or_configured};
use crate::command_line::truth;
use crate::context::Context;

const EXAMPLES: &str = "\
Examples:
  coracle attach web                       ctrl-p ctrl-q lets go of it, when it has a terminal
  coracle attach --no-stdin web            only look
  coracle attach --sig-proxy=false web     Ctrl-C ends the looking, not the container
";

/// Options of `coracle attach`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The keys that let go of it: a character, or ctrl- and a letter or one of `@ [ \ ] ^ _`, with commas between.
    #[arg(long, value_name = "KEYS", value_parser = detach_keys)]
    pub detach_keys: Option<DetachKeys>,
    /// Do not attach standard input.
    #[arg(long)]
    pub no_stdin: bool,
    /// Pass signals on to it.
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set, value_parser = truth, num_args = 0..=1,
          require_equals = true, default_value = "true", default_missing_value = "true")]
    pub sig_proxy: bool,
    /// The container, by name or the beginning of its id.
    pub container: String,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let engine = context.quiet_engine()?;
    let view = engine.containers().find(&args.container)?;
    let spec = &view.record.spec;
    let stdin = !args.no_stdin && spec.open_stdin;
    if stdin && spec.tty && !rustix::termios::isatty(std::io::stdin()) {
        return Err(no_terminal("--no-stdin"));
    }
    let streams = AttachStreams {
        stdin,
        tty: spec.tty,
        keep_signals: !args.sig_proxy,
        detach_keys: keys_or_configured(args.detach_keys)?,
        ..AttachStreams::default()
    };
    engine.containers().attach(&view.record.id, streams).map(|parted| Done::Child(parted.code()))
}

/// Refuses a terminal's program without a terminal; `without` is the flag to change.
pub fn no_terminal(without: &str) -> Failure {
    Failure::user(
        Diagnostic::error("no-terminal", "the input device is not a terminal")
            .with_hint(format!("run it in a terminal, or use {without}")),
    )
}
