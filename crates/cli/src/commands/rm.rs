//! `coracle rm`: removes containers.

use coracle_engine::Result;

use super::{Done, each};
use crate::context::Context;

/// Options of `coracle rm`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Kill those that run.
    #[arg(short, long)]
    pub force: bool,
    /// Remove their anonymous volumes too.
    #[arg(short, long)]
    pub volumes: bool,
    /// Containers, by name or the beginning of an id.
    #[arg(required = true, value_name = "CONTAINER")]
    pub containers: Vec<String>,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let engine = context.quiet_engine()?;
    let containers = engine.containers();
    Ok(each(context, &args.containers, |name| {
        // Docker: what is not there needs no force.
        match containers.find(name) {
            Err(failure) if args.force && failure.first().code == "no-such-container" => Ok(()),
            found => containers.remove(&found?.record.id, args.force, args.volumes),
        }
    }))
}
