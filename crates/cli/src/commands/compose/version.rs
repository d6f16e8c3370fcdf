//! `coracle compose version`: the version of Docker Compose whose rules hold, and our own.

use clap::ValueEnum;
use coracle_engine::{COMPOSE_VERSION, Result};
use serde_json::json;

use super::options::Session;
use crate::commands::Done;

/// Options of `coracle compose version`.
#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// `pretty` or `json`.
    #[arg(short, long, value_enum, default_value_t)]
    format: Format,
    /// Print only the number.
    #[arg(long)]
    short: bool,
}

/// How it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    #[default]
    Pretty,
    Json,
}

/// Runs the command.
pub fn run(session: &Session<'_>, args: &Args) -> Result<Done> {
    let own = env!("CARGO_PKG_VERSION");
    session.context.printer.data(match (args.short, args.format) {
        (true, _) => COMPOSE_VERSION.to_owned(),
        (false, Format::Json) => json!({ "version": COMPOSE_VERSION, "coracle": own }).to_string(),
        (false, Format::Pretty) => format!("Docker Compose version {COMPOSE_VERSION} (coracle {own})"),
    });
    Ok(Done::Ok)
}
