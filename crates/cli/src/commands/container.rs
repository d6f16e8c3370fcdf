//! `coracle container`: Docker's group of the commands that speak of containers, and the clean-up of all that ended.

use coracle_container::ContainerState;
use coracle_engine::{Failure, Result};
use coracle_report::Diagnostic;
use jiff::Timestamp;

use super::flag_error::bad_flag;
use super::ps::filter::Filters;
use super::{Done, dispatch};
use crate::arguments::Command;
use crate::context::Context;
use crate::table::size;

/// Commands of the group; each but `prune` is also a command of its own.
#[derive(Debug, clap::Subcommand)]
pub enum Container {
    /// Take hold of the streams of a container that runs.
    Attach(super::attach::Args),
    /// Make an image of a container.
    Commit(super::commit::Args),
    /// Copy files into and out of containers.
    Cp(super::cp::Args),
    /// Make a container without starting it.
    Create(Box<super::create::Args>),
    /// Show what a container changed in its file system.
    Diff(super::diff::Args),
    /// Run a command in a running container.
    Exec(super::exec::Args),
    /// Write a container's file system to standard output as a tar archive.
    Export(super::export::Args),
    /// Show everything known about containers, as JSON.
    Inspect(super::inspect::OfKind),
    /// Send a signal to containers.
    Kill(super::kill::Args),
    /// Show the log of a container.
    Logs(super::logs::Args),
    /// List containers.
    #[command(visible_aliases = ["list", "ps"])]
    Ls(super::ps::Args),
    /// Freeze containers.
    Pause(super::pause::Args),
    /// Show where a container's ports are published.
    Port(super::port::Args),
    /// Remove all containers that do not run.
    Prune(Prune),
    /// Give a container another name.
    Rename(super::rename::Args),
    /// Restart containers.
    Restart(super::restart::Args),
    /// Remove containers.
    #[command(visible_alias = "remove")]
    Rm(super::rm::Args),
    /// Run a command in a new container.
    Run(Box<super::run::Args>),
    /// Start stopped containers.
    Start(super::start::Args),
    /// Show what containers use.
    Stats(super::stats::Args),
    /// Stop containers.
    Stop(super::stop::Args),
    /// Show the processes of a container.
    Top(super::top::Args),
    /// Let frozen containers go on.
    Unpause(super::pause::Args),
    /// Change limits and the restart policy of containers.
    Update(super::update::Args),
    /// Wait until containers end and print their exit codes.
    Wait(super::wait::Args),
}

/// Options of `coracle container prune`.
#[derive(Debug, clap::Args)]
pub struct Prune {
    /// Do not ask.
    #[arg(short, long)]
    pub force: bool,
    /// Only some: until=TIME or how long ago, label=NAME[=VALUE], label!=NAME[=VALUE].
    #[arg(long, value_name = "KEY=VALUE")]
    pub filter: Vec<String>,
}

/// Runs a command of the group.
pub fn run(context: &Context, command: Container) -> Result<Done> {
    let same = match command {
        Container::Attach(args) => Command::Attach(args),
        Container::Commit(args) => Command::Commit(args),
        Container::Cp(args) => Command::Cp(args),
        Container::Create(args) => Command::Create(args),
        Container::Diff(args) => Command::Diff(args),
        Container::Exec(args) => Command::Exec(args),
        Container::Export(args) => Command::Export(args),
        Container::Inspect(args) => Command::Inspect(args.of("container")),
        Container::Kill(args) => Command::Kill(args),
        Container::Logs(args) => Command::Logs(args),
        Container::Ls(args) => Command::Ps(args),
        Container::Pause(args) => Command::Pause(args),
        Container::Port(args) => Command::Port(args),
        Container::Prune(args) => return prune(context, &args),
        Container::Rename(args) => Command::Rename(args),
        Container::Restart(args) => Command::Restart(args),
        Container::Rm(args) => Command::Rm(args),
        Container::Run(args) => Command::Run(args),
        Container::Start(args) => Command::Start(args),
        Container::Stats(args) => Command::Stats(args),
        Container::Stop(args) => Command::Stop(args),
        Container::Top(args) => Command::Top(args),
        Container::Unpause(args) => Command::Unpause(args),
        Container::Update(args) => Command::Update(args),
        Container::Wait(args) => Command::Wait(args),
    };
    dispatch(context, same)
}

fn prune(context: &Context, args: &Prune) -> Result<Done> {
    let filters = Filters::read(&args.filter, &["label", "label!", "until"])?;
    let before = filters.values("until").next_back().map(super::logs::time).transpose();
    let before: Option<Timestamp> =
        before.map_err(|_| bad_flag("--filter", "`until` takes a time; write until=24h"))?;
    if !args.force && !agreed(context)? {
        return Ok(Done::Ok);
    }
    let engine = context.quiet_engine()?;
    let containers = engine.containers();
    let mut freed = 0;
    let mut removed = Vec::new();
    for view in containers.list()? {
        let ended = matches!(view.state, ContainerState::Created | ContainerState::Exited { .. });
        let old = before.is_none_or(|before| view.record.created < before);
        if !ended || !old || !filters.hold_labels(&view) || containers.is_being_started(&view.record.id) {
            continue;
        }
        let bytes = containers.sizes(&view.record.id).map_or(0, |sizes| sizes.own);
        match containers.remove(&view.record.id, false, false) {
            Ok(()) => {
                freed += bytes;
                removed.push(view.record.id.to_string());
            }
            // Somebody started it, or removed it, meanwhile.
            Err(failure) if matches!(failure.first().code.as_str(), "running" | "no-such-container") => {}
            Err(failure) => return Err(failure),
        }
    }
    if !removed.is_empty() {
        context.printer.data("Deleted Containers:");
        removed.iter().for_each(|id| context.printer.data(id));
        context.printer.data("");
    }
    context.printer.data(format!("Total reclaimed space: {}", size(freed)));
    Ok(Done::Ok)
}

/// Asks on the terminal; without one nobody can agree.
fn agreed(context: &Context) -> Result<bool> {
    use std::io::{BufRead as _, IsTerminal as _};
    if !std::io::stdin().is_terminal() {
        return Err(Failure::user(
            Diagnostic::error("not-agreed", "removing all containers that do not run needs your word for it")
                .with_hint("coracle container prune --force"),
        ));
    }
    context.printer.raw_error(b"This removes all containers that do not run. Go on? [y/N] ");
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    Ok(read.is_ok() && matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
