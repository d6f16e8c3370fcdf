//! What Docker Compose's commands share: which project, dry runs, how progress is shown; and values of several commands.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::ValueEnum;
use clap_complete::engine::ArgValueCandidates;
use coracle_engine::{ComposeFiles, Engine, Failure, OpenProject, PullPolicy, Result};
use coracle_report::{Diagnostic, Reporter};

use crate::cancel::Cancel;
use crate::context::Context;
use crate::reporters::Progress;
use crate::values;

/// Options before the command.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Project")]
pub struct Before {
    /// Compose file, `-` for standard input; may be given several times, later ones are laid over earlier ones.
    #[arg(short, long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Name of the project.
    #[arg(short, long, value_name = "NAME")]
    project_name: Option<String>,
    /// Profile to enable.
    #[arg(long, value_name = "NAME")]
    profile: Vec<String>,
    /// File of variables instead of `.env`.
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Where relative paths start.
    #[arg(long, value_name = "DIR")]
    project_directory: Option<PathBuf>,
    /// Keep networks, volumes, secrets and configurations that no service uses.
    #[arg(long)]
    all_resources: bool,
    /// Print what would be done, and why, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// How progress is shown.
    #[arg(long, value_enum, env = "COMPOSE_PROGRESS", hide_env = true)]
    progress: Option<Progress>,
    /// Whether output is coloured.
    #[arg(long, value_enum, env = "COMPOSE_ANSI", hide_env = true)]
    ansi: Option<Ansi>,
    /// Accepted; as much is done at a time as can be.
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, hide = true)]
    parallel: Option<i64>,
    /// Accepted; names are those of Docker Compose 2.
    #[arg(long, hide = true)]
    compatibility: bool,
    /// Accepted.
    #[arg(long, hide = true)]
    verbose: bool,
}

/// The same behind the command, where short forms may mean something else.
#[derive(Debug, Default, clap::Args)]
pub struct Behind {
    #[arg(id = "behind_files", long = "file", value_name = "FILE", hide = true)]
    files: Vec<PathBuf>,
    #[arg(id = "behind_project_name", long = "project-name", value_name = "NAME", hide = true)]
    project_name: Option<String>,
    #[arg(id = "behind_profile", long = "profile", value_name = "NAME", hide = true)]
    profile: Vec<String>,
    #[arg(id = "behind_env_file", long = "env-file", value_name = "FILE", hide = true)]
    env_file: Vec<PathBuf>,
    #[arg(id = "behind_project_directory", long = "project-directory", value_name = "DIR", hide = true)]
    project_directory: Option<PathBuf>,
    #[arg(id = "behind_all_resources", long = "all-resources", hide = true)]
    all_resources: bool,
    /// Print what would be done, and why, and change nothing.
    #[arg(id = "behind_dry_run", long = "dry-run")]
    dry_run: bool,
    #[arg(id = "behind_progress", long = "progress", value_enum, hide = true)]
    progress: Option<Progress>,
    #[arg(id = "behind_ansi", long = "ansi", value_enum, hide = true)]
    ansi: Option<Ansi>,
}

/// Short forms behind the commands in which they mean nothing else.
#[derive(Debug, Default, clap::Args)]
pub struct Short {
    #[arg(id = "short_files", short = 'f', value_name = "FILE", hide = true)]
    files: Vec<PathBuf>,
    #[arg(id = "short_project_name", short = 'p', value_name = "NAME", hide = true)]
    project_name: Option<String>,
}

/// A command's options with those that may stand behind it.
#[derive(Debug, clap::Args)]
pub struct With<A: clap::Args> {
    #[command(flatten)]
    pub behind: Behind,
    #[command(flatten)]
    pub args: A,
}

/// Whether output is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Ansi {
    /// Not at all.
    Never,
    /// In any case.
    Always,
    /// On a terminal.
    Auto,
}

impl Before {
    /// Adds what stands behind the command.
    pub fn and(mut self, behind: Behind) -> Self {
        self.files.extend(behind.files);
        self.profile.extend(behind.profile);
        self.env_file.extend(behind.env_file);
        self.project_name = behind.project_name.or(self.project_name);
        self.project_directory = behind.project_directory.or(self.project_directory);
        self.progress = behind.progress.or(self.progress);
        self.ansi = behind.ansi.or(self.ansi);
        self.all_resources |= behind.all_resources;
        self.dry_run |= behind.dry_run;
        self
    }

    /// Adds short forms that stand behind the command.
    pub fn and_short(mut self, short: Short) -> Self {
        self.files.extend(short.files);
        self.project_name = short.project_name.or(self.project_name);
        self
    }

    /// Returns the surroundings of a command.
    pub fn session(self, context: &Context) -> Session<'_> {
        match self.ansi {
            Some(Ansi::Never) => anstream::ColorChoice::Never.write_global(),
            Some(Ansi::Always) => anstream::ColorChoice::AlwaysAnsi.write_global(),
            Some(Ansi::Auto) | None => {}
        }
        Session {
            context,
            all_resources: self.all_resources,
            dry_run: self.dry_run,
            progress: self.progress,
            files: ComposeFiles {
                files: self.files,
                project_name: self.project_name,
                profiles: self.profile,
                env_files: self.env_file,
                project_directory: self.project_directory,
                environment: environment(),
            },
        }
    }
}

fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// What every command of a project gets.
pub struct Session<'c> {
    /// The invocation's surroundings.
    pub context: &'c Context,
    /// Which project.
    pub files: ComposeFiles,
    /// Whether what no service uses is kept.
    pub all_resources: bool,
    /// Whether nothing is to be changed.
    pub dry_run: bool,
    /// How progress is shown, when the user says so.
    pub progress: Option<Progress>,
}

impl Session<'_> {
    /// Opens the engine for a command that shows progress.
    pub fn engine(&self) -> Result<(Engine, Arc<dyn Reporter>)> {
        self.context.engine(self.progress.unwrap_or_default())
    }

    /// Opens the engine for a command that shows progress unless it is to be quiet.
    pub fn engine_unless(&self, quiet: bool) -> Result<(Engine, Arc<dyn Reporter>)> {
        if quiet { self.context.engine(Progress::Quiet) } else { self.engine() }
    }

    /// Opens the engine for a command without progress.
    pub fn quiet_engine(&self) -> Result<Engine> {
        self.context.quiet_engine()
    }

    /// Opens the project; services that are asked for need not have their profile enabled.
    pub fn open(&self, engine: &Engine, asked: &[String]) -> Result<OpenProject> {
        engine.projects().open(&self.files, asked)
    }

    /// Returns whether a variable of Docker Compose's says yes.
    pub fn says(&self, variable: &str) -> bool {
        let value = self.files.environment.get(variable).map(String::as_str);
        matches!(value, Some("1" | "t" | "T" | "true" | "TRUE" | "True"))
    }

    /// Prints a plan; nothing to do is said too.
    pub fn show_plan(&self, plan: &str) {
        if plan.is_empty() {
            self.context.printer.status("nothing to do");
        }
        self.context.printer.raw_data(plan.as_bytes());
    }

    /// Prints the lines of a plan that has no order.
    pub fn show_lines(&self, lines: &[String]) {
        let lines: Vec<String> = lines.iter().map(|line| format!("  -. {line}\n")).collect();
        self.show_plan(&lines.concat());
    }
}

/// Returns a flag that signals raise.
pub fn cancel() -> Result<Cancel> {
    Cancel::on_signals().map_err(|error| Failure::ours("catching signals", &error))
}

/// Returns a failure of the command line.
pub fn usage(message: impl Into<String>) -> Failure {
    Failure::user(Diagnostic::error("usage", message))
}

/// When images are pulled, on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PullArg {
    /// Each time.
    Always,
    /// When they are not there.
    #[value(alias = "if_not_present")]
    Missing,
    /// Not at all.
    Never,
    /// They are built.
    Build,
    /// As the files say.
    Policy,
}

impl PullArg {
    /// Returns what stands in place of the files' policies.
    pub fn policy(self) -> Option<PullPolicy> {
        match self {
            Self::Always => Some(PullPolicy::Always),
            Self::Missing => Some(PullPolicy::Missing),
            Self::Never => Some(PullPolicy::Never),
            Self::Build => Some(PullPolicy::Build),
            Self::Policy => None,
        }
    }
}

/// Reads `SERVICE=NUMBER`.
pub fn scale(text: &str) -> Result<(String, u32), String> {
    let error = || format!("`{text}` is no scale; write it as SERVICE=NUMBER");
    let (service, number) = text.split_once('=').ok_or_else(error)?;
    let number = number.parse().map_err(|_| error())?;
    if service.is_empty() { Err(error()) } else { Ok((service.to_owned(), number)) }
}

/// Reads a time in seconds, or with a unit, as milliseconds.
pub fn seconds(text: &str) -> Result<u64, String> {
    match text.parse::<u64>() {
        Ok(seconds) => Ok(seconds.saturating_mul(1_000)),
        Err(_) => values::milliseconds(text),
    }
}

/// Reads a time in seconds until a kill; a negative one is for ever.
pub fn timeout(text: &str) -> Result<u64, String> {
    match text.parse::<i64>() {
        Ok(seconds) => Ok(u64::try_from(seconds).unwrap_or(u64::from(u32::MAX))),
        Err(_) => Err(format!("`{text}` is no number of seconds")),
    }
}

/// The project's services, for completion.
pub fn services() -> ArgValueCandidates {
    ArgValueCandidates::new(super::complete::services)
}
