//! `coracle kill`: sends a signal to containers.

use coracle_engine::Result;

use super::{Done, each};
use crate::context::Context;

/// Options of `coracle kill`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The signal, by name or number.
    #[arg(short, long, default_value = "SIGKILL")]
    pub signal: String,
    /// Containers, by name or the beginning of an id.
    #[arg(required = true, value_name = "CONTAINER")]
    pub containers: Vec<String>,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let engine = context.quiet_engine()?;
    let containers = engine.containers();
    Ok(each(context, &args.containers, |name| {
        containers.kill(&containers.find(name)?.record.id, &args.signal)
    }))
}
