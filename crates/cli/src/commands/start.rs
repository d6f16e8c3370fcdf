//! `coracle start`: starts stopped containers.

use coracle_engine::Result;

use super::{Done, each};
use crate::context::Context;

/// Options of `coracle start`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Containers, by name or the beginning of an id.
    #[arg(required = true, value_name = "CONTAINER")]
    pub containers: Vec<String>,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let engine = context.quiet_engine()?;
    let containers = engine.containers();
    Ok(each(context, &args.containers, |name| containers.start(&containers.find(name)?.record.id)))
}
