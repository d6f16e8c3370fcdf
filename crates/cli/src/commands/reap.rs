//! `coracle reap`: cleans up after a container that ended for good; its shim's last act.

use coracle_engine::Result;

use super::Done;
use crate::context::Context;

/// Options of `coracle reap`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The container's id.
    pub container: coracle_container::ContainerId,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    context.quiet_engine()?.containers().reap(&args.container)?;
    Ok(Done::Ok)
}
