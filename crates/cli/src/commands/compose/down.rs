//! `coracle compose down`: containers, networks, and, when asked, volumes and images.

use clap::ValueEnum;
use coracle_engine::{DownOptions, RemoveImages, Result};

use super::options::{self, Session, cancel};
use crate::commands::Done;

const EXAMPLES: &str = "\
Examples:
  coracle compose down                     containers and networks
  coracle compose down -v --rmi local      volumes and the images that were built, too
  coracle compose -p shop down             also where the files are not there
";

/// Options of `coracle compose down`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Only containers of these services.
    #[arg(add = options::services())]
    services: Vec<String>,
    /// Remove named and anonymous volumes too: their data is lost.
    #[arg(short, long)]
    volumes: bool,
    /// Remove images of services: those without a name of their own, or all.
    #[arg(long, value_enum)]
    rmi: Option<Rmi>,
    /// Remove containers of services that the files no longer name.
    #[arg(long)]
    remove_orphans: bool,
    /// Seconds between the request to stop and SIGKILL.
    #[arg(short, long, value_name = "SECONDS", value_parser = options::timeout, allow_negative_numbers = true)]
    timeout: Option<u64>,
}

/// Which images go.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Rmi {
    Local,
    All,
}

/// Runs the command.
pub fn run(session: &Session<'_>, args: Args) -> Result<Done> {
    let cancel = cancel()?;
    let (engine, reporter) = session.engine()?;
    let project = session.open(&engine, &args.services)?;
    let options = DownOptions {
        services: args.services,
        volumes: args.volumes,
        images: match args.rmi {
            None => RemoveImages::None,
            Some(Rmi::Local) => RemoveImages::Local,
            Some(Rmi::All) => RemoveImages::All,
        },
        remove_orphans: args.remove_orphans || session.says("COMPOSE_REMOVE_ORPHANS"),
        timeout: args.timeout,
        dry_run: session.dry_run,
    };
    let plan = engine.projects().down_open(&project, &options, cancel.flag());
    reporter.settle();
    let plan = plan?;
    if session.dry_run {
        session.show_plan(&plan);
    } else if plan.is_empty() {
        session.context.printer.status(format!("{}: nothing to remove", project.name()));
    }
    Ok(Done::Ok)
}
