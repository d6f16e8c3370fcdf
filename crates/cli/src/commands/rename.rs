//! `coracle rename`: another name for a container.

use coracle_engine::Result;

use super::Done;
use crate::context::Context;

/// Options of `coracle rename`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The container, by name or the beginning of its id.
    pub container: String,
    /// Its new name.
    pub new_name: String,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let engine = context.quiet_engine()?;
    let containers = engine.containers();
    containers.rename(&containers.find(&args.container)?.record.id, &args.new_name)?;
    Ok(Done::Ok)
}
