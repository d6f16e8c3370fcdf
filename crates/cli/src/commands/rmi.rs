//! `coracle rmi`: takes names from images, and removes those that have none left.

use coracle_engine::Result;

use super::Done;
use crate::context::Context;
use crate::diagnostics;

/// Options of `coracle rmi`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Remove them although stopped containers use them, or several names point to them.
    #[arg(short, long)]
    pub force: bool,
    /// Images, by name or the beginning of an id.
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let engine = context.quiet_engine()?;
    let mut done = Done::Ok;
    for name in &args.images {
        match engine.images().remove(name, args.force) {
            Ok(lines) => lines.iter().for_each(|line| context.printer.data(line)),
            Err(failure) if args.force && failure.first().code == "no-such-image" => {}
            Err(failure) => {
                failure
                    .diagnostics
                    .iter()
                    .for_each(|diagnostic| diagnostics::print(context.printer, diagnostic));
                done = Done::Findings;
            }
        }
    }
    Ok(done)
}
