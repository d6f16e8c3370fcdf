//! The command line: global options and one variant a command.

use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Parser, Subcommand};

use crate::commands;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const EXAMPLES: &str = "\
Examples:
  coracle up dev                 build, start in order, wait for health, print the URLs
  coracle check dev              find faults before anything runs
  coracle logs dev backend -f    follow one service
  coracle down dev -v            stop everything and remove its volumes
  coracle build -t app .         build a Dockerfile
  coracle run --rm app           run an image
";

/// Builds, runs and composes containers from one binary, with no daemon.
#[derive(Debug, Parser)]
#[command(name = "coracle", version, styles = STYLES, after_help = EXAMPLES, max_term_width = 110)]
#[command(propagate_version = false, disable_help_subcommand = false)]
pub struct Arguments {
    /// Directory of images, containers and volumes.
    #[arg(
        long,
        global = true,
        env = "CORACLE_DATA_ROOT",
        value_name = "DIR",
        help_heading = "Global options"
    )]
    pub data_root: Option<PathBuf>,
    /// Directory of sockets and locks.
    #[arg(
        long,
        global = true,
        env = "CORACLE_RUN_ROOT",
        value_name = "DIR",
        help_heading = "Global options"
    )]
    pub run_root: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bring an environment of the project up: build, start in order, wait for health, print the URLs.
    Up(commands::up::Args),
    /// Take an environment down.
    Down(commands::down::Args),
    /// Build an image from a Dockerfile, or an environment's images.
    Build(Box<commands::build::Args>),
    /// Build the targets of bake files and Compose files together.
    Bake(Box<commands::bake::Args>),
    /// Run a command in a new container.
    Run(Box<commands::run::Args>),
    /// Make a container without starting it.
    Create(Box<commands::create::Args>),
    /// List containers, or an environment's services.
    Ps(commands::ps::Args),
    /// Show the log of a container, or of an environment's services.
    Logs(commands::logs::Args),
    /// Run a command in a running container, or in an environment's service.
    Exec(commands::exec::Args),
    /// Take hold of the streams of a container that runs.
    Attach(commands::attach::Args),
    /// Start stopped containers.
    Start(commands::start::Args),
    /// Stop containers.
    Stop(commands::stop::Args),
    /// Restart containers, or an environment's services.
    Restart(commands::restart::Args),
    /// Send a signal to containers.
    Kill(commands::kill::Args),
    /// Freeze containers, or an environment's services.
    Pause(commands::pause::Args),
    /// Let frozen containers go on.
    Unpause(commands::pause::Args),
    /// Show the processes of containers, or of an environment's services.
    Top(commands::top::Args),
    /// Show what containers use: processor, memory, network, disks.
    Stats(commands::stats::Args),
    /// Show what happens to containers, images, networks and volumes, as it happens.
    Events(commands::events::Args),
    /// Copy files into and out of containers.
    Cp(commands::cp::Args),
    /// Show what a container changed in its file system.
    Diff(commands::diff::Args),
    /// Make an image of a container.
    Commit(commands::commit::Args),
    /// Make an image of an archive of files.
    Import(commands::import::Args),
    /// Show where a container's ports are published.
    Port(commands::port::Args),
    /// Give a container another name.
    Rename(commands::rename::Args),
    /// Change limits and the restart policy of containers.
    Update(commands::update::Args),
    /// The commands above that speak of containers, as Docker groups them, and `prune`.
    #[command(subcommand)]
    Container(Box<commands::container::Container>),
    /// Wait until containers end and print their exit codes.
    Wait(commands::wait::Args),
    /// Remove containers.
    Rm(commands::rm::Args),
    /// Show everything known about containers, images, volumes or networks, as JSON.
    Inspect(commands::inspect::Args),
    /// Write a container's file system to standard output as a tar archive.
    Export(commands::export::Args),
    /// List images.
    Images(commands::images::Args),
    /// Send images to their registries.
    Push(commands::push::Args),
    /// List the packages in an image.
    Sbom(commands::sbom::Args),
    /// Write images into an archive.
    Save(commands::save::Args),
    /// Read images out of an archive.
    Load(commands::load::Args),
    /// Remove images.
    Rmi(commands::rmi::Args),
    /// Give an image another name.
    Tag(commands::tag::Args),
    /// Show and shrink the build cache.
    #[command(subcommand)]
    Builder(commands::builder::Builder),
    /// Manage volumes.
    #[command(subcommand)]
    Volume(commands::volume::Volume),
    /// Manage networks.
    #[command(subcommand)]
    Network(commands::network::Network),
    /// Bake base images from Debian packages where no registry can be reached.
    #[command(subcommand)]
    Base(commands::base::Base),
    /// Draw what is built from what.
    #[command(subcommand)]
    Graph(commands::graph::Graph),
    /// Print the resolved configuration of an environment.
    Config(commands::config::Args),
    /// Find faults of a project or of files before anything runs.
    Check(Box<commands::check::Args>),
    /// Find out what this machine lacks for containers, what is damaged or was left behind, and mend it.
    Doctor(commands::doctor::Args),
    /// Explain a rule of `check`.
    Explain(commands::explain::Args),
    /// List, show and compare the environments of the project here.
    #[command(subcommand)]
    Env(commands::env::Env),
    /// Docker Compose's commands, on the files that Docker Compose would read.
    Compose(Box<commands::compose::Args>),
    /// Print a shell's completion script.
    Completions(commands::completions::Args),
    /// Bring containers and projects back after a reboot.
    Boot(commands::boot::Args),
    /// Install the program and a systemd unit that brings containers back after a reboot.
    Install(commands::install::InstallArgs),
    /// Remove what `install` installed.
    Uninstall(commands::install::UninstallArgs),
    /// Serve names and published ports of a scope (started by other commands).
    #[command(hide = true)]
    Keeper(commands::keeper::Args),
    /// Clean up after a container that ended (started by its shim).
    #[command(hide = true)]
    Reap(commands::reap::Args),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Arguments;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
