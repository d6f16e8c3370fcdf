//! `coracle load`: images out of an archive.

use std::fs::File;
use std::io::IsTerminal;
use std::path::PathBuf;

use coracle_engine::{Failure, Result};
use coracle_oci::Reference;
use coracle_report::Diagnostic;

use super::Done;
use crate::context::Context;

/// Options of `coracle load`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Read this file instead of standard input: an archive of `docker save`, or of an OCI image layout.
    #[arg(short, long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// Print only names and ids.
    #[arg(short, long)]
    pub quiet: bool,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let usage = |message: String| Failure::user(Diagnostic::error("usage", message));
    let engine = context.quiet_engine()?;
    let loaded = match &args.input {
        Some(path) => {
            let file = File::open(path)
                .map_err(|error| usage(format!("cannot read {}: {error}", path.display())))?;
            engine.images().load(file)?
        }
        None if std::io::stdin().is_terminal() => {
            let message = "an archive does not come from a terminal".to_owned();
            return Err(usage(message).with_hint("use -i FILE, or redirect"));
        }
        None => engine.images().load(std::io::stdin().lock())?,
    };
    for image in loaded {
        let names: Vec<String> = image.names.iter().map(Reference::familiar).collect();
        let lines = if names.is_empty() { vec![image.id.to_string()] } else { names };
        for line in lines {
            let kind = if image.names.is_empty() { "Loaded image ID: " } else { "Loaded image: " };
            context.printer.data(format!("{}{line}", if args.quiet { "" } else { kind }));
        }
    }
    Ok(Done::Ok)
}
