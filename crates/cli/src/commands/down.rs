//! `coracle down`: takes an environment down and leaves nothing of it running.

use coracle_engine::{DownOptions, Failure, Result};

use super::Done;
use super::target::ProjectArgs;
use crate::cancel::Cancel;
use crate::context::Context;
use crate::reporters::Progress;

/// Options of `coracle down`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Environment.
    pub environment: Option<String>,
    #[command(flatten)]
    pub project: ProjectArgs,
    /// Remove its named volumes too: their data is lost.
    #[arg(short, long)]
    pub volumes: bool,
    /// Remove containers of services that the files no longer name.
    #[arg(long)]
    pub remove_orphans: bool,
    /// Seconds between the request to stop and SIGKILL.
    #[arg(short, long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
    /// Print what would be done and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// How progress is shown.
    #[arg(long, value_enum, default_value_t)]
    pub progress: Progress,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let cancel = Cancel::on_signals().map_err(|error| Failure::ours("catching signals", &error))?;
    let (engine, _) = context.engine(args.progress)?;
    let projects = engine.projects();
    let project = projects.load(&args.project.selection(args.environment))?;
    let options = DownOptions {
        volumes: args.volumes,
        remove_orphans: args.remove_orphans,
        timeout: args.timeout,
        dry_run: args.dry_run,
        ..DownOptions::default()
    };
    let plan = projects.down(&project, &options, cancel.flag())?;
    if args.dry_run {
        context.printer.raw_data(plan.as_bytes());
    } else if plan.is_empty() {
        context.printer.status(format!("{} is down already: nothing to do", project.name()));
    }
    Ok(Done::Ok)
}
