//! `coracle compose pause` and `unpause`: freeze the containers of services, and let them go on.

use coracle_container::ContainerState;
use coracle_engine::{ContainerView, Result};

use super::options::{self, Session};
use crate::commands::{Done, each};

/// Options of `coracle compose pause` and `unpause`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Services; all when none is named.
    #[arg(add = options::services())]
    services: Vec<String>,
}

/// Runs `coracle compose pause`.
pub fn pause(session: &Session<'_>, args: Args) -> Result<Done> {
    freeze(session, &args, true)
}

/// Runs `coracle compose unpause`.
pub fn unpause(session: &Session<'_>, args: Args) -> Result<Done> {
    freeze(session, &args, false)
}

fn freeze(session: &Session<'_>, args: &Args, pause: bool) -> Result<Done> {
    let engine = session.quiet_engine()?;
    let project = session.open(&engine, &args.services)?;
    let views = engine.projects().service_containers(&project, &args.services)?;
    let wanted = |view: &&ContainerView| match view.state {
        ContainerState::Running { .. } => pause,
        ContainerState::Paused { .. } => !pause,
        _ => false,
    };
    let names: Vec<String> = views.iter().filter(wanted).map(|view| view.record.spec.name.clone()).collect();
    let word = if pause { "pause" } else { "unpause" };
    if session.dry_run {
        let lines: Vec<String> = names.iter().map(|name| format!("{word} {name}")).collect();
        session.show_lines(&lines);
        return Ok(Done::Ok);
    }
    if names.is_empty() {
        session.context.printer.status(format!("nothing to {word}"));
    }
    let containers = engine.containers();
    Ok(each(session.context, &names, |name| {
        let id = containers.find(name)?.record.id;
        if pause { containers.pause(&id) } else { containers.unpause(&id) }
    }))
}
