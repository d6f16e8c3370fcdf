//! `coracle up`: one command brings an environment up.

use clap_complete::ArgValueCandidates;
use coracle_engine::{BuildPolicy, LoadedProject, Remarks, Result, UpOptions};

use super::Done;
use super::completions;
use super::target::ProjectArgs;
use crate::cancel::Cancel;
use crate::context::Context;
use crate::findings::plural;
use crate::printer::{GOOD, STRONG, WARNING, paint};
use crate::reporters::Progress;
use crate::values;

const EXAMPLES: &str = "\
Examples:
  coracle up dev                  everything of docker-compose.yml + docker-compose.dev.yml
  coracle up prod --dry-run       show what would be done, and why
  coracle up dev backend          one service and what it depends on
";

/// Options of `coracle up`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Environment: NAME selects docker-compose.NAME.yml and .env.NAME.
    #[arg(add = ArgValueCandidates::new(completions::environments))]
    pub environment: Option<String>,
    /// Only these services and what they depend on.
    pub services: Vec<String>,
    #[command(flatten)]
    pub project: ProjectArgs,
    /// Build images even when nothing seems to have changed.
    #[arg(long, conflicts_with = "no_build")]
    pub build: bool,
    /// Do not build, even when an image is missing.
    #[arg(long)]
    pub no_build: bool,
    /// Replace containers even when nothing changed.
    #[arg(long)]
    pub force_recreate: bool,
    /// Leave the services alone that the named ones depend on.
    #[arg(long)]
    pub no_deps: bool,
    /// Remove containers of services that the files no longer name.
    #[arg(long)]
    pub remove_orphans: bool,
    /// Print what would be done, and why, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Start without checking first (see `coracle check`).
    #[arg(long)]
    pub no_check: bool,
    /// How long to wait for a service to become healthy.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = values::milliseconds)]
    pub wait_timeout: u64,
    /// How progress is shown.
    #[arg(long, value_enum, default_value_t)]
    pub progress: Progress,
    /// Ignored: `up` always returns when everything is healthy.
    #[arg(short, long, hide = true)]
    pub detach: bool,
    /// Ignored: `up` always waits.
    #[arg(long, hide = true)]
    pub wait: bool,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let cancel =
        Cancel::on_signals().map_err(|error| coracle_engine::Failure::ours("catching signals", &error))?;
    let (engine, _) = context.engine(args.progress)?;
    let projects = engine.projects();
    let project = projects.load(&args.project.selection(args.environment))?;
    let build = match (args.build, args.no_build) {
        (true, _) => BuildPolicy::Always,
        (_, true) => BuildPolicy::Never,
        (false, false) => BuildPolicy::WhenNeeded,
    };
    let options = UpOptions {
        services: args.services,
        build,
        force_recreate: args.force_recreate,
        no_dependencies: args.no_deps,
        remove_orphans: args.remove_orphans,
        dry_run: args.dry_run,
        wait_timeout: args.wait_timeout,
        ..UpOptions::default()
    };
    if !args.no_check {
        say_warnings(context, &project, projects.check_before(&project, &options)?);
    }
    let report = projects.up(&project, &options, cancel.flag())?;
    let printer = context.printer;
    if args.dry_run {
        if report.plan.is_empty() {
            printer.status(format!("{}: nothing to do", project.name()));
        }
        printer.raw_data(report.plan.as_bytes());
        return Ok(Done::Ok);
    }
    if report.changed {
        printer.status(format!("{} {} is up", paint(GOOD, "✔"), paint(STRONG, project.name())));
    } else {
        printer.status(format!(
            "{} {} is up already: nothing to do",
            paint(GOOD, "✔"),
            paint(STRONG, project.name())
        ));
    }
    for url in &report.urls {
        printer.data(format!("  {:<12} {}", url.service, url.url));
    }
    Ok(Done::Ok)
}

/// Says in one line that a check found something that keeps nothing from starting.
fn say_warnings(context: &Context, project: &LoadedProject, remarks: Remarks) {
    if remarks.warnings > 0 {
        let words = project.environment().map_or_else(String::new, |name| format!(" {name}"));
        let count = plural(remarks.warnings, "warning");
        context.printer.status(format!("{}: coracle check{words}", paint(WARNING, count)));
    }
}
