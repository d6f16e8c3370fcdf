//! `coracle keeper`: serves names and published ports of one scope until nothing of it runs.

use coracle_engine::Result;

use super::Done;
use crate::context::Context;

/// Options of `coracle keeper`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A project's name, or `_standalone`.
    pub scope: String,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    context.quiet_engine()?.keepers().serve(&args.scope)?;
    Ok(Done::Ok)
}
