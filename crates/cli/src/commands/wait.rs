//! `coracle wait`: waits until containers end, and prints their exit codes.

use coracle_engine::Result;

use super::Done;
use crate::context::Context;

/// Options of `coracle wait`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Containers, by name or the beginning of an id.
    #[arg(required = true, value_name = "CONTAINER")]
    pub containers: Vec<String>,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let engine = context.quiet_engine()?;
    for name in &args.containers {
        let code = engine.containers().wait(&engine.containers().find(name)?.record.id)?;
        context.printer.data(code.to_string());
    }
    Ok(Done::Ok)
}
