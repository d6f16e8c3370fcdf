//! `coracle base`: base images from Debian packages, for places that no registry can be reached from.

use coracle_engine::{Failure, Result};
use coracle_report::Diagnostic;

use super::Done;
use crate::context::Context;
use crate::reporters::Progress;
use crate::table::Table;

/// Commands on base images.
#[derive(Debug, clap::Subcommand)]
pub enum Base {
    /// Bake stand-ins and give them the names that they stand for.
    Build {
        /// Every base of the built-in recipes.
        #[arg(long, conflicts_with = "names")]
        all: bool,
        /// Leave those alone that are there.
        #[arg(long)]
        if_missing: bool,
        /// How progress is shown.
        #[arg(long, value_enum, default_value_t)]
        progress: Progress,
        /// Image references, e.g. python:3.11-slim.
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// List the recipes.
    #[command(visible_alias = "list")]
    Ls,
}

/// Runs the command.
pub fn run(context: &Context, command: Base) -> Result<Done> {
    match command {
        Base::Build { all, if_missing, progress, names } => {
            if !all && names.is_empty() {
                let message = "name a base image, or ask for all";
                return Err(Failure::user(
                    Diagnostic::error("usage", message).with_hint("coracle base build --all"),
                ));
            }
            let (engine, _) = context.engine(progress)?;
            let names = if all { engine.bases().defaults() } else { names };
            for built in engine.bases().build(&names, if_missing)? {
                context.printer.data(format!("{}  {}", built.id, built.name));
            }
        }
        Base::Ls => {
            let engine = context.quiet_engine()?;
            let mut table = Table::new(&["NAME", "STANDS FOR", "WHAT IT IS"]);
            engine.bases().recipes().into_iter().for_each(|recipe| {
                // The first pattern says enough; some recipes have a dozen.
                let matches = recipe.matches.split(' ').next().unwrap_or_default().to_owned();
                table.row(vec![recipe.name, matches, recipe.summary]);
            });
            context.printer.raw_data(table.render().as_bytes());
        }
    }
    Ok(Done::Ok)
}
