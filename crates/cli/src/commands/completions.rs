//! `coracle completions`: a shell's completion script.

use clap::CommandFactory;
use clap_complete::Shell;
use coracle_engine::Result;

use super::Done;
use crate::arguments::Arguments;
use crate::context::Context;

/// Options of `coracle completions`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell.
    pub shell: Shell,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Arguments::command(), "coracle", &mut script);
    context.printer.raw_data(&script);
    Ok(Done::Ok)
}
