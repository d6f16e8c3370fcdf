//! `coracle compose run`: one command in a container of its own, made like a service's.

use std::path::PathBuf;

use coracle_container::{Mount, PublishedPort};
use coracle_engine::{AttachStreams, BuildPolicy, Result, RunRequest, UpOptions};
use indexmap::IndexMap;

use super::options::{self, PullArg, Session, cancel, usage};
use super::up::FOR_EVER;
use crate::commands::Done;
use crate::values;

const EXAMPLES: &str = "\
Examples:
  coracle compose run --rm backend pytest -q
  coracle compose run --rm --no-deps backend sh
  coracle compose run --rm -e DEBUG=1 -v ./scripts:/scripts backend python /scripts/seed.py
  coracle compose run -d -P --name preview frontend
";

/// Options of `coracle compose run`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of Docker Compose's")]
pub struct Args {
    /// Run in the background and print the container's id.
    #[arg(short, long)]
    detach: bool,
    /// Remove the container when it ends.
    #[arg(long)]
    rm: bool,
    /// Name of the container.
    #[arg(long)]
    name: Option<String>,
    /// Set a variable.
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Read variables from a file.
    #[arg(long, value_name = "FILE")]
    env_from_file: Vec<PathBuf>,
    /// Replace the entry point.
    #[arg(long, value_name = "COMMAND")]
    entrypoint: Option<String>,
    /// User and group.
    #[arg(short, long)]
    user: Option<String>,
    /// Working directory.
    #[arg(short, long, value_name = "PATH")]
    workdir: Option<String>,
    /// Set a label.
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    label: Vec<String>,
    /// Mount a path or a volume.
    #[arg(short, long, value_name = "[SOURCE:]TARGET[:OPTIONS]")]
    volume: Vec<String>,
    /// Publish a port.
    #[arg(short, long, value_name = "[IP:][PORT:]PORT[/PROTOCOL]")]
    publish: Vec<String>,
    /// Publish the service's ports.
    #[arg(short = 'P', long)]
    service_ports: bool,
    /// Answer to the service's names on its networks.
    #[arg(long)]
    use_aliases: bool,
    /// Add a capability.
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',')]
    cap_add: Vec<String>,
    /// Drop a capability.
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',')]
    cap_drop: Vec<String>,
    /// Give the command no terminal; without one here it gets none anyway.
    #[arg(short = 'T', long = "no-TTY", visible_alias = "no-tty")]
    no_tty: bool,
    /// Accepted: a terminal is given where there is one.
    #[arg(short, long, hide = true)]
    tty: bool,
    /// Whether standard input is passed on.
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    interactive: Option<bool>,
    /// Leave the services alone that it depends on.
    #[arg(long)]
    no_deps: bool,
    /// Build the image first.
    #[arg(long)]
    build: bool,
    /// When images are pulled.
    #[arg(
        long,
        value_enum,
        default_value = "policy",
        hide_possible_values = true,
        value_name = "always|missing|never"
    )]
    pull: PullArg,
    /// Say nothing but what the command says.
    #[arg(short, long)]
    quiet: bool,
    /// Say nothing while images are built.
    #[arg(long)]
    quiet_build: bool,
    /// Say nothing while images are pulled.
    #[arg(long)]
    quiet_pull: bool,
    /// Remove containers of services that the files no longer name.
    #[arg(long)]
    remove_orphans: bool,
    /// The service.
    #[arg(add = options::services())]
    service: String,
    /// The command and its arguments: from here on, nothing is an option of ours.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs the command.
pub fn run(session: &Session<'_>, args: Args) -> Result<Done> {
    let cancel = cancel()?;
    let quiet = args.quiet || args.quiet_build || args.quiet_pull;
    let here = rustix::termios::isatty(std::io::stdin()) && rustix::termios::isatty(std::io::stdout());
    let stdin = !args.detach && args.interactive.unwrap_or(true);
    let tty = here && stdin && !args.no_tty;
    let request = request(session, &args, stdin, tty)?;
    let options = UpOptions {
        build: if args.build { BuildPolicy::Always } else { BuildPolicy::WhenMissing },
        pull: args.pull.policy(),
        no_dependencies: args.no_deps,
        remove_orphans: args.remove_orphans || session.says("COMPOSE_REMOVE_ORPHANS"),
        quiet_orphans: session.says("COMPOSE_IGNORE_ORPHANS"),
        jobs_again: true,
        dry_run: session.dry_run,
        wait_timeout: FOR_EVER,
        ..UpOptions::default()
    };
    let (engine, reporter) = session.engine_unless(quiet)?;
    let project = session.open(&engine, std::slice::from_ref(&args.service))?;
    let loaded = engine.projects().files(&project)?;
    let made = engine.projects().make_one_off(loaded, &request, &options, cancel.flag());
    reporter.settle();
    let (id, plan) = made?;
    let Some(id) = id else {
        session.show_plan(&plan);
        return Ok(Done::Ok);
    };
    let containers = engine.containers();
    if args.detach {
        if let Err(failure) = containers.start(&id) {
            let _ = containers.forget_if_auto_remove(&id);
            return Err(failure);
        }
        session.context.printer.data(id.as_str());
        return Ok(Done::Ok);
    }
    // From here on, signals are the container's.
    drop(cancel);
    let streams = AttachStreams { stdin, tty, ..AttachStreams::default() };
    containers.run_attached(&id, streams).map(|parted| Done::Child(parted.code()))
}

fn request(session: &Session<'_>, args: &Args, stdin: bool, tty: bool) -> Result<RunRequest> {
    let caller = |name: &str| session.files.environment.get(name).cloned();
    let here = std::env::current_dir()
        .map_err(|error| usage(format!("cannot see the current directory: {error}")))?;
    let mut environment = IndexMap::new();
    for path in &args.env_from_file {
        let text = std::fs::read_to_string(path)
            .map_err(|error| usage(format!("cannot read the variables in {}: {error}", path.display())))?;
        let variables = coracle_engine::parse_env_file(&text, &caller)
            .map_err(|error| usage(format!("{}: {error}", path.display())))?;
        environment.extend(variables.into_iter().filter_map(|(name, value)| Some((name, value?))));
    }
    for text in &args.env {
        environment.extend(values::variable(text, caller).map_err(usage)?);
    }
    let mounts = args.volume.iter().map(|text| values::volume(text, &here));
    let mounts: Vec<Mount> = mounts.collect::<Result<_, String>>().map_err(usage)?;
    let ports = args.publish.iter().map(|text| values::ports(text));
    let ports: Vec<Vec<PublishedPort>> = ports.collect::<Result<_, String>>().map_err(usage)?;
    if let Some(name) = args.name.as_ref().filter(|name| !values::is_name(name)) {
        return Err(usage(format!("`{name}` is no container name; use letters, digits, `_`, `.` and `-`")));
    }
    let entrypoint = args.entrypoint.as_deref().map(|text| {
        coracle_engine::command_words(text).map_err(|why| usage(format!("--entrypoint `{text}`: {why}")))
    });
    let label = |text: &String| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (name.to_owned(), value.to_owned())
    };
    Ok(RunRequest {
        service: args.service.clone(),
        command: args.command.clone(),
        entrypoint: entrypoint.transpose()?,
        name: args.name.clone(),
        environment,
        labels: args.label.iter().map(label).collect(),
        user: args.user.clone(),
        working_directory: args.workdir.clone(),
        mounts,
        ports: ports.into_iter().flatten().collect(),
        service_ports: args.service_ports,
        use_aliases: args.use_aliases,
        cap_add: args.cap_add.clone(),
        cap_drop: args.cap_drop.clone(),
        tty,
        stdin,
        remove: args.rm,
    })
}
