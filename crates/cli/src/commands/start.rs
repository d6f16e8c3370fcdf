//! `coracle start`: starts stopped containers, one of them in the foreground if that is wanted.

use coracle_engine::{AttachStreams, DetachKeys, Failure, Result};
use coracle_report::Diagnostic;

use super::attach::no_terminal;
use super::detach_keys::{detach_keys, keys_or_configured};
use super::flag_error::bad_flag;
use super::{Done, each};
use crate::context::Context;

/// Options of `coracle start`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show what it prints, pass signals on, and end with its exit code.
    #[arg(short, long)]
    pub attach: bool,
    /// Attach standard input too.
    #[arg(short, long)]
    pub interactive: bool,
    /// The keys that let go of it.
    #[arg(long, value_name = "KEYS", value_parser = detach_keys)]
    pub detach_keys: Option<DetachKeys>,
    /// Refused: states of processes are not kept.
    #[arg(long, value_name = "NAME", hide = true)]
    pub checkpoint: Option<String>,
    /// Refused, as --checkpoint.
    #[arg(long, value_name = "DIR", hide = true)]
    pub checkpoint_dir: Option<String>,
    /// Containers, by name or the beginning of an id.
    #[arg(required = true, value_name = "CONTAINER")]
    pub containers: Vec<String>,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    for (flag, value) in [("--checkpoint", &args.checkpoint), ("--checkpoint-dir", &args.checkpoint_dir)] {
        if value.is_some() {
            let why =
                "states of processes are not kept (an experiment of Docker's); start it anew: coracle start";
            return Err(bad_flag(flag, why));
        }
    }
    let engine = context.quiet_engine()?;
    let containers = engine.containers();
    if !args.attach && !args.interactive {
        return Ok(each(context, &args.containers, |name| {
            containers.start(&containers.find(name)?.record.id)
        }));
    }
    let [name] = args.containers.as_slice() else {
        return Err(Failure::user(
            Diagnostic::error("usage", "only one container can be attached to at a time")
                .with_hint("start the others without -a and -i"),
        ));
    };
    let view = containers.find(name)?;
    let spec = &view.record.spec;
    let stdin = args.interactive && spec.open_stdin;
    if stdin && spec.tty && !rustix::termios::isatty(std::io::stdin()) {
        return Err(no_terminal("-a alone"));
    }
    let streams = AttachStreams {
        stdin,
        tty: spec.tty,
        detach_keys: keys_or_configured(args.detach_keys)?,
        ..AttachStreams::default()
    };
    containers.run_attached(&view.record.id, streams).map(|parted| Done::Child(parted.code()))
}
