//! `coracle env`: the environments of the project here.

mod diff;
mod ls;
mod show;

use coracle_engine::Result;

use super::Done;
use crate::context::Context;

/// Commands on environments.
#[derive(Debug, clap::Subcommand)]
pub enum Env {
    /// List the environments, the files of each and how much of it runs.
    #[command(visible_alias = "list")]
    Ls(ls::Args),
    /// Show what an environment comes to: files, variables, services.
    Show(show::Args),
    /// Show what two environments have different, value by value, with the place of each.
    Diff(diff::Args),
}

/// Runs the command.
pub fn run(context: &Context, command: Env) -> Result<Done> {
    match command {
        Env::Ls(args) => ls::run(context, &args),
        Env::Show(args) => show::run(context, args),
        Env::Diff(args) => diff::run(context, &args),
    }
}
