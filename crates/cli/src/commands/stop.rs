//! `coracle stop`: asks containers to end, and kills those that do not.

use coracle_engine::Result;

use super::{Done, each};
use crate::context::Context;
use crate::values;

/// Options of `coracle stop`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The signal that asks it to end, instead of its own.
    #[arg(short, long, value_name = "SIGNAL")]
    pub signal: Option<String>,
    /// Seconds until SIGKILL; -1 waits for ever.
    #[arg(short, long, visible_alias = "timeout", value_name = "SECONDS", value_parser = values::patience,
          allow_negative_numbers = true)]
    pub time: Option<u64>,
    /// Containers, by name or the beginning of an id.
    #[arg(required = true, value_name = "CONTAINER")]
    pub containers: Vec<String>,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let engine = context.quiet_engine()?;
    let containers = engine.containers();
    Ok(each(context, &args.containers, |name| {
        containers.stop_by(&containers.find(name)?.record.id, args.signal.as_deref(), args.time)
    }))
}
