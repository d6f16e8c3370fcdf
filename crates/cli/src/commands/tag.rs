//! `coracle tag`: gives an image another name.

use coracle_engine::Result;

use super::Done;
use crate::context::Context;

/// Options of `coracle tag`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image, by name or the beginning of an id.
    pub image: String,
    /// The new name.
    pub name: String,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    context.quiet_engine()?.images().tag(&args.image, &args.name)?;
    Ok(Done::Ok)
}
