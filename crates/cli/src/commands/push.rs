//! `coracle push`: images to their registries.

use coracle_engine::{Failure, Images, LayerCompression, PushOptions, Result};
use coracle_report::Diagnostic;

use super::Done;
use crate::cancel::Cancel;
use crate::context::Context;
use crate::diagnostics;
use crate::reporters::Progress;

const EXAMPLES: &str = "\
Examples:
  coracle push registry.example/team/app:1.2
  coracle push --all-tags localhost:5000/app
  coracle push --compression zstd --compression-level 9 localhost:5000/app:dev
";

/// Options of `coracle push`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Names of images; without a tag, `latest` is meant.
    #[arg(required = true, value_name = "NAME[:TAG]")]
    pub names: Vec<String>,
    /// Send all tags of each repository.
    #[arg(short, long)]
    pub all_tags: bool,
    /// Print only the names that were sent.
    #[arg(short, long)]
    pub quiet: bool,
    /// How layers made here are compressed: gzip, zstd or uncompressed.
    #[arg(long, default_value = "gzip", value_parser = compression)]
    pub compression: LayerCompression,
    /// How hard it tries: gzip 0 to 9, zstd 1 to 22.
    #[arg(long, value_name = "LEVEL")]
    pub compression_level: Option<i32>,
    /// How progress is shown.
    #[arg(long, value_enum, default_value_t)]
    pub progress: Progress,
}

fn compression(text: &str) -> Result<LayerCompression, String> {
    text.parse()
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let cancel = Cancel::on_signals().map_err(|error| Failure::ours("catching signals", &error))?;
    let (engine, _) = context.engine(if args.quiet { Progress::Quiet } else { args.progress })?;
    let usage = |message: String| Failure::user(Diagnostic::error("usage", message));
    let compression = match args.compression_level {
        None => args.compression,
        Some(level) => args
            .compression
            .with_level(level)
            .ok_or_else(|| usage(format!("there is no level {level} of {}", args.compression)))?,
    };
    let options = PushOptions { compression, parent: None };
    let mut targets = Vec::new();
    for name in &args.names {
        let reference = Images::parse(name)?;
        if reference.digest().is_some() {
            return Err(usage(format!("`{name}` names a digest: only tags can be pushed")));
        }
        if !args.all_tags {
            targets.push(reference);
            continue;
        }
        if reference.tag().is_some_and(|tag| name.ends_with(&format!(":{tag}"))) {
            return Err(usage(format!("`{name}` names a tag, which --all-tags leaves no room for")));
        }
        let before = targets.len();
        for view in engine.images().list()? {
            let of_it = view.reference.filter(|known| {
                known.registry() == reference.registry() && known.repository() == reference.repository()
            });
            targets.extend(of_it.filter(|known| known.tag().is_some()));
        }
        if targets.len() == before {
            return Err(Failure::user(
                Diagnostic::error("no-such-image", format!("no image of {name} is stored here"))
                    .with_hint("coracle images"),
            ));
        }
    }
    targets.sort();
    targets.dedup();
    let mut done = Done::Ok;
    for target in &targets {
        match engine.images().push(target, &options, cancel.flag()) {
            Ok(report) if args.quiet => context.printer.data(report.reference.to_string()),
            Ok(report) => context.printer.data(format!(
                "{}: digest: {} size: {}",
                report.reference.familiar(),
                report.digest,
                report.size
            )),
            Err(failure) if targets.len() == 1 => return Err(failure),
            Err(failure) => {
                for diagnostic in &failure.diagnostics {
                    diagnostics::print(context.printer, diagnostic);
                }
                done = Done::Findings;
            }
        }
    }
    Ok(done)
}
