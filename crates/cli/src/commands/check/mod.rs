//! `coracle check`: faults that can be known before anything runs.

mod files;
mod gather;
mod mend;

use std::path::Path;

use clap_complete::ArgValueCandidates;
use coracle_engine::{Failure, Result, RuleSelection};
use coracle_report::Diagnostic;

use self::gather::{Gathered, Question};
use super::Done;
use super::completions;
use super::explain;
use super::target::ProjectArgs;
use crate::context::Context;
use crate::findings::{self, Counts, Format};
use crate::printer::{DIM, paint};

const EXAMPLES: &str = "\
Examples:
  coracle check dev                     the project here, as `coracle up dev` would run it
  coracle check --all --format github   every environment, as annotations in a pull request
  coracle check backend/Dockerfile      one file alone; many are checked at the same time
  coracle check prod --deny warnings    warnings are errors too
  coracle check dev --fix               write what takes no decision
  coracle explain DL3008                why, and what to write instead
";

/// Options of `coracle check`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Environment to check; or Dockerfiles, Compose files or directories of them, each checked alone (`-` is standard
    /// input).
    #[arg(value_name = "ENV|FILE", add = ArgValueCandidates::new(completions::environments))]
    pub what: Vec<String>,
    #[command(flatten)]
    pub project: ProjectArgs,
    /// Check every environment of the project.
    #[arg(long, conflicts_with = "what")]
    pub all: bool,
    /// Leave out a rule, a family of rules, or `warnings`.
    #[arg(long, value_name = "RULE", value_delimiter = ',', add = ArgValueCandidates::new(explain::candidates))]
    pub allow: Vec<String>,
    /// Make an error of what a rule, a family of rules, or `warnings` finds.
    #[arg(long, value_name = "RULE", value_delimiter = ',', add = ArgValueCandidates::new(explain::candidates))]
    pub deny: Vec<String>,
    /// Do not look at this machine: for files that run elsewhere.
    #[arg(long)]
    pub no_host: bool,
    /// How findings are written.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub format: Format,
    /// Write the fixes that take no decision of yours into the files.
    #[arg(long)]
    pub fix: bool,
    /// With --fix: print the changes and write nothing.
    #[arg(long, requires = "fix")]
    pub dry_run: bool,
    /// Write errors only, and no summary.
    #[arg(short, long)]
    pub quiet: bool,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let rules =
        RuleSelection::new(&args.allow, &args.deny).map_err(|unknown| Failure::user(unknown.diagnostic()))?;
    let question = Question {
        what: args.what,
        project: args.project,
        all: args.all,
        rules,
        host: !args.no_host,
        here: std::env::current_dir()
            .map_err(|error| Failure::ours("looking for the current directory", &error))?,
        environment: context.variables(),
    };
    let mut gathered = question.answer(context)?;
    if args.fix {
        if args.dry_run {
            return Ok(preview(context, &gathered));
        }
        gathered = mend::mend(context, &question, gathered)?;
    }
    Ok(show(context, gathered, args.format, args.quiet))
}

/// Prints what `--fix` would change.
fn preview(context: &Context, gathered: &Gathered) -> Done {
    let fixed = mend::plan(gathered);
    for file in &fixed {
        context.printer.raw_data(mend::diff(file, gathered.shorten(&file.path)).as_bytes());
    }
    let counts = gathered.counts();
    context.printer.status(counts.line(&gathered.place));
    if counts.errors > 0 { Done::Findings } else { Done::Ok }
}

fn show(context: &Context, gathered: Gathered, format: Format, quiet: bool) -> Done {
    let counts = gathered.counts();
    let place = gathered.place.clone();
    let mut shown = gathered.shown();
    if quiet {
        shown.retain(|one| one.diagnostic.severity == coracle_report::Severity::Error);
    }
    let printer = context.printer;
    match format {
        Format::Text => printer.raw_data(findings::text(&shown).as_bytes()),
        Format::Json => printer.raw_data(findings::json(&shown, counts).as_bytes()),
        Format::Sarif => printer.raw_data(findings::sarif(&shown).as_bytes()),
        Format::Github => printer.raw_data(findings::github(&shown).as_bytes()),
    }
    if !quiet {
        printer.status(summary(counts, &place));
    }
    if counts.errors > 0 { Done::Findings } else { Done::Ok }
}

fn summary(counts: Counts, place: &str) -> String {
    let line = counts.line(place);
    if counts.errors + counts.warnings + counts.notes == 0 { paint(DIM, line) } else { line }
}

/// Returns an error about an argument that is neither an environment nor a file.
fn no_such(word: &str, known: &[String]) -> Failure {
    let message = format!("`{word}` is no file, and the project here has no environment of that name");
    let error = Diagnostic::error("unknown-environment", message);
    Failure::user(if known.is_empty() {
        error.with_hint("coracle check, without a name, checks the compose file here")
    } else {
        error.with_hint(format!("environments here: {}", known.join(", ")))
    })
}

/// Returns whether a name is that of a Compose file.
fn is_compose(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yml" || extension == "yaml")
}
