//! `coracle restart`: stops and starts containers, or an environment's services.

use coracle_engine::Result;

use super::target::{self, ProjectArgs, Target};
use super::{Done, each};
use crate::context::Context;
use crate::values;

/// Options of `coracle restart`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Containers, or an environment of the project here and services.
    #[arg(required = true)]
    pub words: Vec<String>,
    #[command(flatten)]
    pub project: ProjectArgs,
    /// The signal that asks it to end, instead of its own.
    #[arg(short, long, value_name = "SIGNAL")]
    pub signal: Option<String>,
    /// Seconds until SIGKILL; -1 waits for ever.
    #[arg(short, long, visible_alias = "timeout", value_name = "SECONDS", value_parser = values::patience,
          allow_negative_numbers = true)]
    pub time: Option<u64>,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let engine = context.quiet_engine()?;
    let containers = engine.containers();
    let names = match target::decide(&engine, &args.project, args.words)? {
        Target::Containers(words) => words,
        Target::Environment(selection, services) => {
            let project = engine.projects().load(&selection)?;
            let views = engine.projects().containers(&project, &services)?;
            // One-shots that did their work are left alone.
            let running = views.into_iter().filter(|view| view.state.has_shim());
            running.map(|view| view.record.spec.name).collect()
        }
    };
    Ok(each(context, &names, |name| {
        let id = containers.find(name)?.record.id;
        containers.stop_by(&id, args.signal.as_deref(), args.time)?;
        containers.start(&id)
    }))
}
