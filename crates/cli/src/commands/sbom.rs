//! `coracle sbom`: what is in an image.

use coracle_engine::{Failure, Result, SbomFormat};

use super::Done;
use crate::context::Context;
use crate::table::Table;

/// Options of `coracle sbom`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// `table`, `spdx-json` (SPDX 2.3) or `cyclonedx-json` (CycloneDX 1.6).
    #[arg(long, default_value = "table", value_parser = ["table", "spdx-json", "cyclonedx-json"])]
    pub format: String,
    /// The image.
    pub image: String,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let engine = context.quiet_engine()?;
    let sbom = engine.images().sbom(&args.image)?;
    for note in &sbom.inventory.notes {
        context.printer.status(format!("note: {note}"));
    }
    let format = match args.format.as_str() {
        "spdx-json" => SbomFormat::Spdx,
        "cyclonedx-json" => SbomFormat::CycloneDx,
        _ => {
            let mut table = Table::new(&["TYPE", "NAME", "VERSION", "LICENCES", "FOUND IN"]);
            for package in &sbom.inventory.packages {
                table.row(vec![
                    package.ecosystem.purl_type().to_owned(),
                    package.name.clone(),
                    package.version.clone(),
                    shortened(&package.licences.join(", ")),
                    format!("/{}", package.found_in),
                ]);
            }
            context.printer.raw_data(table.render().as_bytes());
            return Ok(Done::Ok);
        }
    };
    let text = serde_json::to_string_pretty(&sbom.document(format))
        .map_err(|error| Failure::ours("writing JSON", &error))?;
    context.printer.data(text);
    Ok(Done::Ok)
}

/// Cuts a text for a table; the documents have it whole.
fn shortened(text: &str) -> String {
    const MOST: usize = 40;
    match text.char_indices().nth(MOST) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}
