//! `coracle compose scale SERVICE=NUMBER...`.

use coracle_engine::{BuildPolicy, Goal, Result, UpOptions};

use super::options::{self, Session};
use super::up::{FOR_EVER, up};
use crate::commands::Done;

const EXAMPLES: &str = "\
Examples:
  coracle compose scale worker=3
  coracle compose scale worker=0 web=2
";

/// Options of `coracle compose scale`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// How many containers services have from now on; the highest go first.
    #[arg(required = true, value_name = "SERVICE=NUMBER", value_parser = options::scale)]
    scales: Vec<(String, u32)>,
    /// Leave the services alone that these depend on.
    #[arg(long)]
    no_deps: bool,
}

/// Runs the command.
pub fn run(session: &Session<'_>, args: Args) -> Result<Done> {
    let services: Vec<String> = args.scales.iter().map(|(service, _)| service.clone()).collect();
    let options = UpOptions {
        services: services.clone(),
        scale: args.scales,
        no_dependencies: args.no_deps,
        build: BuildPolicy::WhenMissing,
        goal: Goal::Started,
        // What is there stays as it is.
        no_recreate: true,
        dry_run: session.dry_run,
        wait_timeout: FOR_EVER,
        ..UpOptions::default()
    };
    up(session, &options, false, &services)
}
