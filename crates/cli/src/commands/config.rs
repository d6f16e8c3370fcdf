//! `coracle config`: the resolved configuration of an environment.

use coracle_engine::{Failure, Result};

use super::Done;
use super::target::ProjectArgs;
use crate::context::Context;

/// Options of `coracle config`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Environment.
    pub environment: Option<String>,
    #[command(flatten)]
    pub project: ProjectArgs,
    /// Print only the names of services.
    #[arg(long)]
    pub services: bool,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let (engine, _) = context.engine(crate::reporters::Progress::Quiet)?;
    let projects = engine.projects();
    let project = projects.load(&args.project.selection(args.environment))?;
    if args.services {
        project.services().for_each(|name| context.printer.data(name));
        return Ok(Done::Ok);
    }
    let text = serde_json::to_string_pretty(&project.to_json()?);
    context.printer.data(text.map_err(|error| Failure::ours("writing JSON", &error))?);
    Ok(Done::Ok)
}
