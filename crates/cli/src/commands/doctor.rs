//! `coracle doctor`: what is damaged or was left behind, and mending it.

use coracle_engine::{Ailment, Mended, Result};
use coracle_report::Diagnostic;
use serde_json::json;

use super::Done;
use crate::context::Context;
use crate::diagnostics;

/// Options of `coracle doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Mend what is damaged: without this, only say what would be done.
    #[arg(long)]
    pub repair: bool,
    /// `text` or `json`.
    #[arg(long, default_value = "text", value_parser = ["text", "json"])]
    pub format: String,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let engine = context.quiet_engine()?;
    let doctor = engine.doctor();
    let found = doctor.examine()?;
    let mended = if args.repair && !found.is_empty() { doctor.mend(&found)? } else { Vec::new() };
    let failed = mended.iter().any(|mended| mended.result.is_err());
    if args.format == "json" {
        for (number, ailment) in found.iter().enumerate() {
            context.printer.data(line(ailment, mended.get(number)).to_string());
        }
    } else {
        tell(context, &found, &mended);
    }
    Ok(if failed || (!args.repair && !found.is_empty()) { Done::Findings } else { Done::Ok })
}

fn tell(context: &Context, found: &[Ailment], mended: &[Mended]) {
    for (number, ailment) in found.iter().enumerate() {
        let diagnostic = ailment.diagnostic.clone();
        match mended.get(number) {
            None => {
                let note = format!("a repair would {}", ailment.remedy.action());
                diagnostics::print(context.printer, &diagnostic.with_note(note));
            }
            Some(Mended { action, result: Ok(()) }) => {
                diagnostics::print(context.printer, &diagnostic.with_note(format!("done: {action}")));
            }
            Some(Mended { action, result: Err(failure) }) => {
                let note = format!("could not {action}: {}", failure.first());
                let hints = failure.first().hints.clone();
                let mut diagnostic = diagnostic.with_note(note);
                diagnostic.hints.extend(hints);
                diagnostics::print(context.printer, &diagnostic);
            }
        }
    }
    let said = match (found.len(), mended.is_empty()) {
        (0, _) => "nothing is damaged, and nothing was left behind".to_owned(),
        (count, true) => format!("{count} found; have them mended: coracle doctor --repair"),
        (count, false) => {
            let done = mended.iter().filter(|mended| mended.result.is_ok()).count();
            format!("{count} found, {done} mended")
        }
    };
    context.printer.data(said);
}

fn line(ailment: &Ailment, mended: Option<&Mended>) -> serde_json::Value {
    let Diagnostic { code, message, notes, hints, .. } = &ailment.diagnostic;
    let hints: Vec<&str> = hints.iter().map(|hint| hint.0.as_str()).collect();
    json!({
        "Code": code, "Message": message, "Notes": notes, "Hints": hints, "Action": ailment.remedy.action(),
        "Mended": mended.map(|mended| mended.result.is_ok()),
        "Error": mended.and_then(|mended| mended.result.as_ref().err()).map(ToString::to_string),
    })
}
