//! `coracle diff`: what a container changed in its file system.

use coracle_engine::{Change, Result};

use super::Done;
use crate::context::Context;

/// Options of `coracle diff`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The container, by name or the beginning of its id.
    pub container: String,
}

/// Runs the command: a line a path, `A` added, `C` changed, `D` deleted.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let engine = context.quiet_engine()?;
    let containers = engine.containers();
    for (path, change) in containers.changes(&containers.find(&args.container)?.record.id)? {
        let letter = match change {
            Change::Added => 'A',
            Change::Changed => 'C',
            Change::Deleted => 'D',
        };
        context.printer.data(format!("{letter} {}", path.display()));
    }
    Ok(Done::Ok)
}
