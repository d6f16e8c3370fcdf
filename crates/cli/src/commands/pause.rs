//! `coracle pause` and `coracle unpause`: freeze containers, and let them go on.

use coracle_engine::Result;

use super::target::{self, ProjectArgs, Target};
use super::{Done, each};
use crate::context::Context;

/// Options of `coracle pause` and `coracle unpause`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Containers, or an environment of the project here and services.
    #[arg(required = true, value_name = "WORDS")]
    pub words: Vec<String>,
    #[command(flatten)]
    pub project: ProjectArgs,
}

/// Runs `coracle pause`, or `unpause` when `pause` is false.
pub fn run(context: &Context, args: Args, pause: bool) -> Result<Done> {
    let engine = context.quiet_engine()?;
    let containers = engine.containers();
    let names = match target::decide(&engine, &args.project, args.words)? {
        Target::Containers(words) => words,
        Target::Environment(selection, services) => {
            let project = engine.projects().load(&selection)?;
            let views = engine.projects().containers(&project, &services)?;
            let running = views.into_iter().filter(|view| view.state.has_shim());
            running.map(|view| view.record.spec.name).collect()
        }
    };
    Ok(each(context, &names, |name| {
        let id = containers.find(name)?.record.id;
        if pause { containers.pause(&id) } else { containers.unpause(&id) }
    }))
}
