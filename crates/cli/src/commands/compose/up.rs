//! `coracle compose up`: containers made and started; in the foreground with their logs, until Ctrl-C.

use coracle_engine::{AbortWhen, AttachOptions, BuildPolicy, Failure, Goal, Interrupts, Result, UpOptions};

use super::lines::Lines;
use super::options::{self, PullArg, Session, cancel, usage};
use crate::cancel::Signals;
use crate::commands::Done;
use crate::printer::{GOOD, STRONG, paint};
use crate::reporters::Progress;

/// The longest wait that nobody bounded, ms: ten years.
pub const FOR_EVER: u64 = 10 * 365 * 24 * 3_600 * 1_000;

const EXAMPLES: &str = "\
Examples:
  coracle compose up -d                          start everything in the background
  coracle compose up -d --wait                   and return when it is healthy
  coracle compose up                             with logs; Ctrl-C stops everything
  coracle compose up --exit-code-from tests      the exit code of a service that tests the others
  coracle compose up -d --scale worker=3
  coracle compose --dry-run up -d                what would be done, and why
";

/// Options of `coracle compose up`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of Docker Compose's")]
pub struct Args {
    /// Services, with what they depend on; all when none is named.
    #[arg(add = options::services())]
    services: Vec<String>,
    /// Return when everything is started.
    #[arg(short, long)]
    detach: bool,
    /// Return when everything is healthy, runs, or ended with 0.
    #[arg(long)]
    wait: bool,
    /// Longest wait for one service: seconds, or with a unit.
    #[arg(long, value_name = "TIME", value_parser = options::seconds)]
    wait_timeout: Option<u64>,
    #[command(flatten)]
    making: Making,
    /// Make the containers and do not start them.
    #[arg(long, conflicts_with_all = ["wait", "detach"])]
    no_start: bool,
    /// Leave the services alone that the named ones depend on.
    #[arg(long)]
    no_deps: bool,
    /// Replace the containers of dependencies too, even when nothing changed.
    #[arg(long, conflicts_with = "no_recreate")]
    always_recreate_deps: bool,
    /// Give replaced containers new anonymous volumes.
    #[arg(short = 'V', long)]
    renew_anon_volumes: bool,
    /// Seconds until a container that is stopped is killed.
    #[arg(short, long, value_name = "SECONDS", value_parser = options::timeout, allow_negative_numbers = true)]
    timeout: Option<u64>,
    /// Say nothing while images are built.
    #[arg(long)]
    quiet_build: bool,
    /// Show only the logs of this service.
    #[arg(long, value_name = "SERVICE", conflicts_with = "attach_dependencies", add = options::services(), help_heading = "Logs")]
    attach: Vec<String>,
    /// Show the logs of dependencies too.
    #[arg(long, help_heading = "Logs")]
    attach_dependencies: bool,
    /// Do not show the logs of this service.
    #[arg(long, value_name = "SERVICE", add = options::services(), help_heading = "Logs")]
    no_attach: Vec<String>,
    /// Leave out the container's name before each line.
    #[arg(long, help_heading = "Logs")]
    no_log_prefix: bool,
    /// Leave out colours.
    #[arg(long, help_heading = "Logs")]
    no_color: bool,
    /// Begin each line with its time.
    #[arg(long, help_heading = "Logs")]
    timestamps: bool,
    /// Stop everything when a container ends.
    #[arg(long, help_heading = "End")]
    abort_on_container_exit: bool,
    /// Stop everything when a container fails.
    #[arg(long, conflicts_with = "abort_on_container_exit", help_heading = "End")]
    abort_on_container_failure: bool,
    /// Stop everything when this service ends, and return its exit code.
    #[arg(long, value_name = "SERVICE", add = options::services(), help_heading = "End")]
    exit_code_from: Option<String>,
    /// Accepted: there is no menu.
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    menu: Option<bool>,
    /// Not there yet.
    #[arg(short, long, hide = true)]
    watch: bool,
}

/// What `up` and `create` share.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of Docker Compose's")]
pub struct Making {
    /// Build images even when they are there.
    #[arg(long, conflicts_with = "no_build")]
    build: bool,
    /// Do not build, even when an image is missing.
    #[arg(long)]
    no_build: bool,
    /// When images are pulled.
    #[arg(
        long,
        value_enum,
        default_value = "policy",
        hide_possible_values = true,
        value_name = "always|missing|never"
    )]
    pull: PullArg,
    /// Say nothing while images are pulled.
    #[arg(long)]
    quiet_pull: bool,
    /// Replace containers even when nothing changed.
    #[arg(long, conflicts_with = "no_recreate")]
    force_recreate: bool,
    /// Leave containers alone even when something changed.
    #[arg(long)]
    no_recreate: bool,
    /// Remove containers of services that the files no longer name.
    #[arg(long)]
    remove_orphans: bool,
    /// Number of a service's containers.
    #[arg(long, value_name = "SERVICE=NUMBER", value_parser = options::scale)]
    scale: Vec<(String, u32)>,
    /// Accepted: nothing is asked.
    #[arg(short, long, hide = true)]
    yes: bool,
}

impl Making {
    /// Returns what they say about an `up`.
    pub fn options(self, session: &Session<'_>, services: Vec<String>) -> UpOptions {
        UpOptions {
            services,
            build: match (self.build, self.no_build) {
                (true, _) => BuildPolicy::Always,
                (_, true) => BuildPolicy::Never,
                (false, false) => BuildPolicy::WhenMissing,
            },
            pull: self.pull.policy(),
            force_recreate: self.force_recreate,
            no_recreate: self.no_recreate,
            remove_orphans: self.remove_orphans || session.says("COMPOSE_REMOVE_ORPHANS"),
            quiet_orphans: session.says("COMPOSE_IGNORE_ORPHANS"),
            scale: self.scale,
            dry_run: session.dry_run,
            // Docker Compose starts what ended, whatever its work was.
            jobs_again: true,
            wait_timeout: FOR_EVER,
            ..UpOptions::default()
        }
    }

    /// Returns whether progress of images is not to be shown.
    pub fn quiet(&self) -> bool {
        self.quiet_pull
    }
}

/// Runs the command.
pub fn run(session: &Session<'_>, args: Args) -> Result<Done> {
    if args.watch {
        return Err(super::later::failure("watch"));
    }
    let follows = args.abort_on_container_exit
        || args.abort_on_container_failure
        || args.exit_code_from.is_some()
        || args.attach_dependencies
        || !args.attach.is_empty();
    let detached = args.detach || args.wait || args.no_start;
    if detached && follows {
        let flag = if args.wait {
            "--wait"
        } else if args.detach {
            "--detach"
        } else {
            "--no-start"
        };
        return Err(usage(format!(
            "{flag} excludes --abort-on-container-exit, --abort-on-container-failure, --exit-code-from, --attach and \
             --attach-dependencies"
        )));
    }
    if args.wait_timeout.is_some() && !args.wait {
        return Err(usage("--wait-timeout bounds --wait: give both"));
    }
    let attach = AttachOptions {
        services: args.attach.clone(),
        excluded: args.no_attach.clone(),
        dependencies: args.attach_dependencies,
        abort: match (args.abort_on_container_exit, args.abort_on_container_failure) {
            (true, _) => AbortWhen::Exit,
            (_, true) => AbortWhen::Failure,
            (false, false) => AbortWhen::Never,
        },
        exit_code_from: args.exit_code_from.clone(),
    };
    let quiet = args.making.quiet() || args.quiet_build;
    let mut asked = args.services.clone();
    asked.extend(args.exit_code_from.clone());
    let options = UpOptions {
        no_dependencies: args.no_deps,
        recreate_dependencies: args.always_recreate_deps,
        renew_volumes: args.renew_anon_volumes,
        stop_timeout: args.timeout,
        goal: match (args.no_start, args.wait) {
            (true, _) => Goal::Created,
            (_, true) => Goal::Ready,
            (false, false) => Goal::Started,
        },
        wait_timeout: args.wait_timeout.unwrap_or(FOR_EVER),
        ..args.making.options(session, args.services)
    };
    if session.dry_run || detached {
        return up(session, &options, quiet, &asked);
    }
    // Bars and lines of logs do not go together.
    let progress = match session.progress {
        _ if quiet => Progress::Quiet,
        Some(progress) => progress,
        None => Progress::Plain,
    };
    let signals = Signals::begin().map_err(|error| Failure::ours("catching signals", &error))?;
    let (engine, _) = session.context.engine(progress)?;
    let project = session.open(&engine, &asked)?;
    let loaded = engine.projects().files(&project)?;
    let lines = Lines::new(session.context.printer, project.name())
        .with_prefix(!args.no_log_prefix)
        .with_colour(!args.no_color)
        .with_times(args.timestamps);
    let interrupts = Interrupts { stop: signals.first(), kill: signals.second() };
    let code =
        engine.projects().up_attached(loaded, &options, &attach, interrupts, &|event| lines.event(event))?;
    Ok(if code == 0 { Done::Ok } else { Done::Child(code) })
}

/// Brings a project up and returns.
pub fn up(session: &Session<'_>, options: &UpOptions, quiet: bool, asked: &[String]) -> Result<Done> {
    let cancel = cancel()?;
    let (engine, reporter) = session.engine_unless(quiet)?;
    let project = session.open(&engine, asked)?;
    let loaded = engine.projects().files(&project)?;
    let report = engine.projects().up(loaded, options, cancel.flag());
    reporter.settle();
    let report = report?;
    if session.dry_run {
        session.show_plan(&report.plan);
        return Ok(Done::Ok);
    }
    let (name, printer) = (paint(STRONG, project.name()), session.context.printer);
    if !report.changed && !quiet {
        printer.status(format!("{} {name}: nothing to do", paint(GOOD, "✔")));
    }
    Ok(Done::Ok)
}
