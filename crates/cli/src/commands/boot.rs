//! `coracle boot`: containers and projects come back after a reboot, and with `--stop` they end before one.

use coracle_engine::{BootReport, Failure, Result};

use super::Done;
use crate::cancel::Cancel;
use crate::context::Context;
use crate::diagnostics;
use crate::reporters::Progress;

const EXAMPLES: &str = "\
`coracle install` writes a systemd unit that calls both. What comes back: containers with `--restart always`, with
`unless-stopped` when no user stopped them, with `on-failure` when they did not end well; services of projects in the
order of their dependencies.
";

/// Options of `coracle boot`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The machine goes down: end every container as it asked to be ended. It does not count as stopped by a user.
    #[arg(long)]
    pub stop: bool,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let cancel = Cancel::on_signals().map_err(|error| Failure::ours("catching signals", &error))?;
    let (engine, _) = context.engine(Progress::Quiet)?;
    let report =
        if args.stop { engine.boot().down(cancel.flag())? } else { engine.boot().up(cancel.flag())? };
    Ok(tell(context, &report))
}

fn tell(context: &Context, report: &BootReport) -> Done {
    for name in &report.done {
        context.printer.data(name);
    }
    for (name, failure) in &report.failures {
        context.printer.status(format!("{name}:"));
        failure.diagnostics.iter().for_each(|diagnostic| diagnostics::print(context.printer, diagnostic));
    }
    if report.failures.is_empty() { Done::Ok } else { Done::Findings }
}
