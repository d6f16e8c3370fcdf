//! `coracle config`: the resolved configuration of an environment.

use coracle_engine::{Failure, Result, resolve_environment};

use super::origins::Origins;
use super::target::ProjectArgs;
use super::{Done, why};
use crate::context::Context;

/// Options of `coracle config`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Environment.
    pub environment: Option<String>,
    #[command(flatten)]
    pub project: ProjectArgs,
    /// Print only the names of services.
    #[arg(long)]
    pub services: bool,
    /// Say where a value comes from and what it beat, e.g. `services.web.environment.DEBUG`.
    #[arg(long, value_name = "PATH", conflicts_with = "services")]
    pub why: Option<String>,
    /// With `--why`: `text` or `json`.
    #[arg(long, default_value = "text", value_parser = ["text", "json"], requires = "why")]
    pub format: String,
    /// With `--why`: show passwords and other secrets.
    #[arg(long, requires = "why")]
    pub reveal: bool,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    if let Some(path) = &args.why {
        let selection = args.project.selection(args.environment);
        let environment = resolve_environment(&selection, &context.variables())?;
        let origins = Origins::new(args.reveal);
        return why::run(context.printer, &environment, path, args.format == "json", &origins);
    }
    let (engine, _) = context.engine(crate::reporters::Progress::Quiet)?;
    let projects = engine.projects();
    let project = projects.load(&args.project.selection(args.environment))?;
    if args.services {
        project.services().for_each(|name| context.printer.data(name));
        return Ok(Done::Ok);
    }
    let text = serde_json::to_string_pretty(&project.to_json()?);
    context.printer.data(text.map_err(|error| Failure::ours("writing JSON", &error))?);
    Ok(Done::Ok)
}
