//! `coracle import`: an image of one layer from an archive of files.

use std::fs::File;
use std::io::IsTerminal;

use coracle_engine::{Failure, Images, ImportRequest, Result};
use coracle_oci::Platform;
use coracle_report::Diagnostic;

use super::Done;
use crate::cancel::Cancel;
use crate::context::Context;

const EXAMPLES: &str = "\
Examples:
  coracle import rootfs.tar.gz mine:latest
  tar c -C rootfs . | coracle import -c 'CMD [\"/bin/sh\"]' - mine
  coracle export web | coracle import - web:flat
";

/// Options of `coracle import`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Change its configuration by an instruction: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, SHELL,
    /// STOPSIGNAL, USER, VOLUME or WORKDIR.
    #[arg(short, long, value_name = "INSTRUCTION")]
    pub change: Vec<String>,
    /// A remark.
    #[arg(short, long, value_name = "TEXT")]
    pub message: Option<String>,
    /// What it runs on: os/architecture[/variant].
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Option<Platform>,
    /// A file, a URL, or `-` for standard input; plain, or compressed with gzip, bzip2, xz or zstd.
    #[arg(value_name = "FILE|URL|-")]
    pub source: String,
    /// The image's name.
    #[arg(value_name = "IMAGE[:TAG]")]
    pub image: Option<String>,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let cancel = Cancel::on_signals().map_err(|error| Failure::ours("catching signals", &error))?;
    let request = ImportRequest {
        reference: args.image.as_deref().map(Images::parse).transpose()?,
        message: args.message,
        changes: args.change,
        platform: args.platform,
        source: args.source.clone(),
    };
    let engine = context.quiet_engine()?;
    let images = engine.images();
    let id = if args.source == "-" {
        if std::io::stdin().is_terminal() {
            return Err(Failure::user(
                Diagnostic::error("usage", "an archive does not come from a terminal")
                    .with_hint("name a file, or redirect standard input"),
            ));
        }
        images.import(std::io::stdin().lock(), &request)?
    } else if args.source.starts_with("http://") || args.source.starts_with("https://") {
        images.import_url(&args.source, &request, cancel.flag())?
    } else {
        let file = File::open(&args.source).map_err(|error| {
            let message = format!("cannot read {}: {error}", args.source);
            Failure::user(
                Diagnostic::error("no-such-file", message).with_hint("name an archive of files, or -"),
            )
        })?;
        images.import(file, &request)?
    };
    context.printer.data(id.to_string());
    Ok(Done::Ok)
}
