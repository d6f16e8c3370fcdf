//! `coracle compose stats`: what the containers of services use.

use coracle_engine::Result;

use super::options::{self, Session};
use crate::commands::{Done, stats};

/// Options of `coracle compose stats`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Services; all when none is named.
    #[arg(add = options::services())]
    services: Vec<String>,
    #[command(flatten)]
    shown: stats::Shown,
}

/// Runs the command.
pub fn run(session: &Session<'_>, args: Args) -> Result<Done> {
    let engine = session.quiet_engine()?;
    let project = session.open(&engine, &args.services)?;
    let find = || engine.projects().service_containers(&project, &args.services);
    stats::show(session.context, &engine, &args.shown, &find)
}
