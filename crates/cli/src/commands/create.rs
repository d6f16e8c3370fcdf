//! `coracle create`: a container that is not started yet.

use coracle_engine::Result;

use super::Done;
use super::run::{ContainerArgs, request};
use crate::context::Context;
use crate::reporters::Progress;

/// Options of `coracle create`.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    #[command(flatten)]
    pub container: ContainerArgs,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let request = request(&args.container)?;
    let progress = if args.container.quiet { Progress::Quiet } else { Progress::Auto };
    let (engine, _) = context.engine(progress)?;
    let id = engine.containers().create(request, args.container.pull.into())?;
    context.printer.data(id.as_str());
    Ok(Done::Ok)
}
