//! `coracle stop`: asks containers to end, and kills those that do not.

use coracle_engine::Result;

use super::{Done, each};
use crate::context::Context;

/// Options of `coracle stop`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Seconds until SIGKILL.
    #[arg(short, long, visible_alias = "timeout", value_name = "SECONDS")]
    pub time: Option<u64>,
    /// Containers, by name or the beginning of an id.
    #[arg(required = true, value_name = "CONTAINER")]
    pub containers: Vec<String>,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let engine = context.quiet_engine()?;
    let containers = engine.containers();
    Ok(each(context, &args.containers, |name| containers.stop(&containers.find(name)?.record.id, args.time)))
}
