//! `coracle compose`: Docker Compose's commands and options; one file a command.

mod config;

use std::path::PathBuf;

use coracle_engine::{ComposeFiles, Result};

use super::Done;
use crate::context::Context;

/// Options that stand before the command.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Compose file, `-` for standard input; may be given several times, later ones are laid over earlier ones.
    #[arg(short, long = "file", value_name = "FILE", global = true, help_heading = "Project")]
    files: Vec<PathBuf>,
    /// Name of the project.
    #[arg(short, long, value_name = "NAME", global = true, help_heading = "Project")]
    project_name: Option<String>,
    /// Profile to enable.
    #[arg(long, value_name = "NAME", global = true, help_heading = "Project")]
    profile: Vec<String>,
    /// File of variables instead of `.env`.
    #[arg(long, value_name = "FILE", global = true, help_heading = "Project")]
    env_file: Vec<PathBuf>,
    /// Where relative paths start.
    #[arg(long, value_name = "DIR", global = true, help_heading = "Project")]
    project_directory: Option<PathBuf>,
    /// Keep networks, volumes, secrets and configurations that no service uses.
    #[arg(long, global = true, help_heading = "Project")]
    all_resources: bool,
    #[command(subcommand)]
    command: Command,
}

/// The commands.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print the project as it is after merging, variables and defaults.
    #[command(visible_alias = "convert")]
    Config(config::Args),
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let environment = std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let files = ComposeFiles {
        files: args.files,
        project_name: args.project_name,
        profiles: args.profile,
        env_files: args.env_file,
        project_directory: args.project_directory,
        environment,
    };
    match args.command {
        Command::Config(command) => config::run(context, &files, args.all_resources, &command),
    }
}
