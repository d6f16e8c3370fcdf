//! `coracle rm`: removes containers.

use coracle_engine::Result;

use super::flag_error::bad_flag;
use super::{Done, each};
use crate::context::Context;

/// Options of `coracle rm`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Kill those that run.
    #[arg(short, long)]
    pub force: bool,
    /// Remove a link (CONTAINER/ALIAS) instead of a container.
    #[arg(short, long)]
    pub link: bool,
    /// Remove their anonymous volumes too.
    #[arg(short, long)]
    pub volumes: bool,
    /// Containers, by name or the beginning of an id.
    #[arg(required = true, value_name = "CONTAINER")]
    pub containers: Vec<String>,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let engine = context.quiet_engine()?;
    let containers = engine.containers();
    if args.link {
        return Ok(each(context, &args.containers, |text| {
            let (name, alias) = text.trim_start_matches('/').rsplit_once('/').ok_or_else(|| {
                bad_flag("--link", &format!("`{text}` is no link; write it as CONTAINER/ALIAS"))
            })?;
            containers.unlink(&containers.find(name)?.record.id, alias)
        }));
    }
    Ok(each(context, &args.containers, |name| {
        // Docker: what is not there needs no force.
        match containers.find(name) {
            Err(failure) if args.force && failure.first().code == "no-such-container" => Ok(()),
            found => containers.remove(&found?.record.id, args.force, args.volumes),
        }
    }))
}
