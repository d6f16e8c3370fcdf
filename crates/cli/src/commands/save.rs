//! `coracle save`: images in an archive.

use std::path::PathBuf;

use coracle_engine::{Compression, Failure, Place, Result};
use coracle_report::Diagnostic;

use super::Done;
use super::build::output_args;
use crate::context::Context;

/// Options of `coracle save`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write to this file instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// `docker` for `docker load` (an OCI image layout as well), `oci` for the layout alone.
    #[arg(long, default_value = "docker", value_parser = ["docker", "oci"])]
    pub format: String,
    /// How layers are compressed: uncompressed, gzip or zstd, with a level after a colon, as in `zstd:9`.
    #[arg(long, default_value = "uncompressed", value_name = "HOW")]
    pub compression: String,
    /// The images; a name is kept.
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let usage = |message: String| Failure::user(Diagnostic::error("usage", message));
    let (word, level) = match args.compression.split_once(':') {
        None => (args.compression.as_str(), None),
        Some((word, level)) => {
            let level = level.parse().map_err(|_| usage(format!("`{level}` is no compression level")))?;
            (word, Some(level))
        }
    };
    let compression = Compression::parse(word, level).map_err(usage)?;
    let place = match args.output {
        Some(path) => Place::File(path),
        None => Place::Stream(
            output_args::stdout()
                .map_err(|error| usage(error.to_string()).with_hint("use -o FILE, or redirect"))?,
        ),
    };
    let engine = context.quiet_engine()?;
    engine.images().save(&args.images, &place, args.format == "docker", compression)?;
    Ok(Done::Ok)
}
