//! `coracle export`: a container's file system as a tar archive.

use std::io::IsTerminal;
use std::path::PathBuf;

use coracle_engine::{Failure, Result};
use coracle_report::Diagnostic;

use super::Done;
use crate::context::Context;

/// Options of `coracle export`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write to this file instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The container.
    pub container: String,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let engine = context.quiet_engine()?;
    let id = engine.containers().find(&args.container)?.record.id;
    match &args.output {
        Some(path) => {
            let file = std::fs::File::create(path)
                .map_err(|error| Failure::ours(format_args!("creating {}", path.display()), &error))?;
            engine.containers().export(&id, &mut std::io::BufWriter::new(file))?;
        }
        None if std::io::stdout().is_terminal() => {
            let message = "an archive is not for a terminal";
            return Err(Failure::user(
                Diagnostic::error("usage", message).with_hint("use -o FILE, or redirect"),
            ));
        }
        None => engine.containers().export(&id, &mut std::io::stdout().lock())?,
    }
    Ok(Done::Ok)
}
