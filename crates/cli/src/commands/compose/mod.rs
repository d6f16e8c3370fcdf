//! `coracle compose`: Docker Compose's commands and options; one file a command.
//!
//! What the commands do is in the engine; here their options are read and their results written as Docker Compose does.

mod build;
mod complete;
mod config;
mod control;
mod cp;
mod create;
mod down;
mod events;
mod exec;
mod export;
mod freeze;
mod images;
mod later;
mod lines;
mod logs;
mod ls;
mod options;
mod port;
mod ps;
#[cfg(test)]
mod recorded;
mod run;
mod scale;
mod stats;
mod top;
mod transfer;
mod up;
mod version;
mod volumes;
mod wait;

use std::ffi::OsString;

use coracle_engine::Result;

use super::Done;
use crate::context::Context;
use options::{Before, With};

const EXAMPLES: &str = "\
Examples:
  coracle compose up -d --wait              start the project here and wait until it is healthy
  coracle compose logs -f backend           follow one service
  coracle compose run --rm backend pytest   one command in a container of its own
  coracle compose down -v                   remove everything, volumes too
";

/// Options before the command, and the command.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    before: Before,
    /// Print the version.
    #[arg(short, long, hide = true)]
    version: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

/// The commands.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make containers and start them.
    Up(Box<With<up::Args>>),
    /// Remove containers, networks, and, when asked, volumes and images.
    Down(With<down::Args>),
    /// Build images.
    Build(With<build::Args>),
    /// List containers.
    Ps(With<ps::Args>),
    /// Show what containers print.
    Logs(With<logs::Args>),
    /// Run a command in a running container.
    Exec(With<exec::Args>),
    /// Run a command in a new container that is made like a service's.
    Run(Box<With<run::Args>>),
    /// Start containers that are there.
    Start(With<control::StartArgs>),
    /// Stop containers.
    Stop(With<control::StopArgs>),
    /// Stop and start containers.
    Restart(With<control::RestartArgs>),
    /// Send a signal to containers.
    Kill(With<control::KillArgs>),
    /// Freeze containers.
    Pause(With<freeze::Args>),
    /// Let frozen containers go on.
    Unpause(With<freeze::Args>),
    /// Show the processes of containers.
    Top(With<top::Args>),
    /// Show what containers use: processor, memory, network, disks.
    Stats(With<stats::Args>),
    /// Show what happens to containers, as it happens.
    Events(With<events::Args>),
    /// Copy files into and out of containers.
    Cp(With<cp::Args>),
    /// Remove stopped containers.
    Rm(With<control::RmArgs>),
    /// Make containers without starting them.
    Create(With<create::Args>),
    /// Set how many containers services have.
    Scale(With<scale::Args>),
    /// List the images of containers.
    Images(With<images::Args>),
    /// Print where a container's port is published.
    Port(With<port::Args>),
    /// Pull images.
    Pull(With<transfer::PullArgs>),
    /// Push images that are built.
    Push(With<transfer::PushArgs>),
    /// List projects.
    Ls(With<ls::Args>),
    /// List volumes.
    Volumes(With<volumes::Args>),
    /// Wait until containers end.
    Wait(With<wait::Args>),
    /// Write a container's files as a tar archive.
    Export(With<export::Args>),
    /// Print the version.
    Version(With<version::Args>),
    /// Print the project as it is after merging, variables and defaults.
    #[command(visible_alias = "convert")]
    Config(Box<With<config::Args>>),
    /// What Docker Compose has and we do not.
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let before = args.before;
    let Some(command) = args.command else {
        if args.version {
            return version::run(&before.session(context), &version::Args::default());
        }
        return Err(later::no_command());
    };
    macro_rules! with {
        ($command:expr, $run:expr) => {{
            let With { behind, args } = $command;
            $run(&before.and(behind).session(context), args)
        }};
    }
    match command {
        Command::Up(command) => with!(*command, up::run),
        Command::Down(command) => with!(command, down::run),
        Command::Build(command) => with!(command, build::run),
        Command::Ps(command) => with!(command, ps::run),
        Command::Logs(command) => with!(command, logs::run),
        Command::Exec(command) => with!(command, exec::run),
        Command::Run(command) => with!(*command, run::run),
        Command::Start(command) => with!(command, control::start),
        Command::Stop(command) => with!(command, control::stop),
        Command::Restart(command) => with!(command, control::restart),
        Command::Kill(command) => with!(command, control::kill),
        Command::Pause(command) => with!(command, freeze::pause),
        Command::Unpause(command) => with!(command, freeze::unpause),
        Command::Top(command) => with!(command, top::run),
        Command::Stats(command) => with!(command, stats::run),
        Command::Events(command) => with!(command, events::run),
        Command::Cp(command) => with!(command, cp::run),
        Command::Rm(command) => with!(command, control::rm),
        Command::Create(command) => with!(command, create::run),
        Command::Scale(command) => with!(command, scale::run),
        Command::Images(command) => with!(command, images::run),
        Command::Port(command) => with!(command, port::run),
        Command::Pull(command) => with!(command, transfer::pull),
        Command::Push(command) => with!(command, transfer::push),
        Command::Ls(command) => with!(command, ls::run),
        Command::Volumes(command) => with!(command, volumes::run),
        Command::Wait(command) => with!(command, wait::run),
        Command::Export(command) => with!(command, export::run),
        Command::Version(command) => with!(command, |session: &_, args| version::run(session, &args)),
        Command::Config(command) => {
            let With { behind, args } = *command;
            let short = before.and(behind).and_short(args.short);
            config::run(&short.session(context), &args.options)
        }
        Command::Other(words) => Err(later::unknown(&words)),
    }
}
