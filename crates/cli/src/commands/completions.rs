//! `coracle completions`: a shell's completion script.
//!
//! The script asks the binary at each completion, so that environments of the project and names of rules are known.

use clap::CommandFactory as _;
use clap_complete::env::{CompleteEnv, Shells};
use clap_complete::{CompletionCandidate, Shell};
use coracle_engine::{Failure, Result};
use coracle_report::Diagnostic;

use super::Done;
use crate::arguments::Arguments;
use crate::context::Context;

/// The variable by which the script asks.
const VARIABLE: &str = "CORACLE_COMPLETE";

/// Options of `coracle completions`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell.
    pub shell: Shell,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let name = args.shell.to_string();
    let Some(shell) = Shells::builtins().completer(&name).map(|shell| {
        let mut script = Vec::new();
        shell.write_registration(VARIABLE, "coracle", "coracle", "coracle", &mut script).map(|()| script)
    }) else {
        let message = format!("there is no completion script for {name}");
        return Err(Failure::user(Diagnostic::error("no-completions", message)));
    };
    let script = shell.map_err(|error| Failure::ours("writing the completion script", &error))?;
    context.printer.raw_data(&script);
    Ok(Done::Ok)
}

/// Answers a completion script that asks, and ends the process then.
pub fn answer() {
    CompleteEnv::with_factory(Arguments::command).var(VARIABLE).complete();
}

/// Returns the environments of the project here.
pub fn environments() -> Vec<CompletionCandidate> {
    let names = coracle_engine::environments(None).unwrap_or_default();
    names.into_iter().map(CompletionCandidate::new).collect()
}
