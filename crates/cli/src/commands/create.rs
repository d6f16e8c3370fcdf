//! `coracle create`: a container that is not started yet.

use coracle_engine::Result;

use super::Done;
use super::run::{ContainerArgs, Next, make, request};
use crate::context::Context;

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
    let (engine, id) = make(context, &args.container, request, Next::Keep)?;
    engine.containers().settle(&id);
    context.printer.data(id.as_str());
    Ok(Done::Ok)
}
