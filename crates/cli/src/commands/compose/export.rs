//! `coracle compose export`: the files of a service's container as a tar archive.

use std::fs::File;
use std::path::PathBuf;

use coracle_engine::{Failure, Result};

use super::options::{self, Session, usage};
use crate::commands::Done;

/// Options of `coracle compose export`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The service.
    #[arg(add = options::services())]
    service: String,
    /// The container of this number.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    index: u32,
    /// Write to a file instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Runs the command.
pub fn run(session: &Session<'_>, args: Args) -> Result<Done> {
    let engine = session.quiet_engine()?;
    let project = session.open(&engine, std::slice::from_ref(&args.service))?;
    let views = engine.projects().service_containers(&project, std::slice::from_ref(&args.service))?;
    let Some(view) = views.into_iter().find(|view| view.number() == args.index) else {
        return Err(usage(format!("service `{}` has no container of number {}", args.service, args.index)));
    };
    if session.dry_run {
        session.show_lines(&[format!("export container {} (asked for)", view.record.spec.name)]);
        return Ok(Done::Ok);
    }
    let Some(path) = args.output else {
        if rustix::termios::isatty(std::io::stdout()) {
            return Err(usage("a tar archive is nothing for a terminal: use -o FILE"));
        }
        engine.containers().export(&view.record.id, &mut std::io::stdout().lock())?;
        return Ok(Done::Ok);
    };
    let cannot = |error: std::io::Error| usage(format!("cannot write {}: {error}", path.display()));
    let mut file = File::create(&path).map_err(cannot)?;
    let written = engine.containers().export(&view.record.id, &mut file);
    if written.is_err() {
        let _ = std::fs::remove_file(&path);
    }
    written?;
    file.sync_all().map_err(|error| Failure::ours("writing an archive", &error))?;
    Ok(Done::Ok)
}
