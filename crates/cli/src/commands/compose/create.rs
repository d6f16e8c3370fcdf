//! `coracle compose create`: containers that are not started.

use coracle_engine::{Goal, Result, UpOptions};

use super::options::{self, Session};
use super::up::{Making, up};
use crate::commands::Done;

/// Options of `coracle compose create`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Services, with what they depend on; all when none is named.
    #[arg(add = options::services())]
    services: Vec<String>,
    #[command(flatten)]
    making: Making,
}

/// Runs the command.
pub fn run(session: &Session<'_>, args: Args) -> Result<Done> {
    let quiet = args.making.quiet();
    let asked = args.services.clone();
    let options = UpOptions { goal: Goal::Created, ..args.making.options(session, args.services) };
    up(session, &options, quiet, &asked)
}
