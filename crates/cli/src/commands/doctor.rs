//! `coracle doctor`: what this machine lacks for containers; what is damaged or was left behind, and mending it.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use anstyle::Style;
use coracle_engine::machine::{Check, Question, State, diagnose, survey};
use coracle_engine::{Ailment, Mended, Result};
use coracle_engine::{During, Engine};
use coracle_report::Diagnostic;
use serde_json::json;

use super::Done;
use crate::context::Context;
use crate::diagnostics;
use crate::printer::{DIM, ERROR, HINT, WARNING, paint};

/// Options of `coracle doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Mend what is damaged: without this, only say what would be done.
    #[arg(long)]
    pub repair: bool,
    /// Say only what the machine lacks and what is damaged, not what is as it should be.
    #[arg(short, long)]
    pub quiet: bool,
    /// Look at files only, from inside a normal user's namespaces.
    #[arg(long, hide = true)]
    pub store: bool,
    /// `text` or `json`.
    #[arg(long, default_value = "text", value_parser = ["text", "json"])]
    pub format: String,
}

/// Runs the command; something that is needed and missing, or damaged, is exit code 1.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    if args.store {
        return files(context, &args);
    }
    // A repair is of files; it changes nothing of the machine.
    let machine = if args.repair { Done::Ok } else { machine(context, &args) };
    let files = if rustix::process::geteuid().is_root() {
        files(context, &args)?
    } else if machine == Done::Ok && context.data_root.as_deref().is_some_and(std::path::Path::is_dir) {
        files_inside(context, &args)?
    } else {
        Done::Ok
    };
    Ok(if machine == Done::Ok { files } else { machine })
}

fn machine(context: &Context, args: &Args) -> Done {
    let question = Question {
        data_root: context.data_root.clone().unwrap_or_else(|| PathBuf::from(Engine::DATA_ROOT)),
        run_root: context.run_root.clone().unwrap_or_else(|| PathBuf::from("/run/coracle")),
        path: std::env::var_os("PATH").unwrap_or_default(),
    };
    let checks = diagnose(&survey(&question));
    for check in checks.iter().filter(|check| !args.quiet || check.state != State::Good) {
        if args.format == "json" {
            let line = json!({
                "Id": check.id, "State": check.state.word(), "Text": check.text, "Remedy": check.remedy,
            });
            context.printer.data(line.to_string());
        } else {
            context.printer.data(shown(check));
        }
    }
    let missing = checks.iter().any(|check| check.state == State::Missing);
    if missing { Done::Findings } else { Done::Ok }
}

fn shown(check: &Check) -> String {
    let style = match check.state {
        State::Good => Style::new(),
        State::Limited => WARNING,
        State::Missing => ERROR,
    };
    // Padded before it is painted: colours have no width.
    let state = format!("{:<8}", check.state.word());
    let mut text = format!("{} {:<24} {}", paint(style, state), check.id, check.text);
    for line in check.remedy.iter().flat_map(|remedy| remedy.lines()) {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n{:8} {} {}", "", paint(HINT, "mend:"), paint(DIM, line));
    }
    text
}

/// Looks at a normal user's files from inside the user's namespaces, which only a process without threads can enter.
fn files_inside(context: &Context, args: &Args) -> Result<Done> {
    let mut command = Command::new("/proc/self/exe");
    for (option, root) in [("--data-root", &context.data_root), ("--run-root", &context.run_root)] {
        if let Some(root) = root {
            command.arg(option).arg(root);
        }
    }
    command.args(["doctor", "--store", "--format", &args.format]);
    command.args(args.repair.then_some("--repair"));
    let status = command.status().during("looking at files")?;
    Ok(status.code().filter(|code| *code != 0).map_or(Done::Ok, Done::Child))
}

fn files(context: &Context, args: &Args) -> Result<Done> {
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
