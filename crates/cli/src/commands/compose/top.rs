//! `coracle compose top`: the processes of services.

use coracle_engine::Result;

use super::options::{self, Session};
use crate::commands::{Done, top};

/// Options of `coracle compose top`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Services; all when none is named.
    #[arg(add = options::services())]
    services: Vec<String>,
}

/// Runs the command.
pub fn run(session: &Session<'_>, args: Args) -> Result<Done> {
    let engine = session.quiet_engine()?;
    let project = session.open(&engine, &args.services)?;
    let views = engine.projects().service_containers(&project, &args.services)?;
    top::print(session.context, &engine, &views, false)?;
    Ok(Done::Ok)
}
