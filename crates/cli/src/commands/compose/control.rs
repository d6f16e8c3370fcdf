//! `coracle compose start|stop|restart|kill|rm`: on containers that are there.

use std::io::{BufRead as _, IsTerminal as _};

use coracle_engine::{Control, ControlOptions, RemoveOptions, Result};

use super::options::{self, Session, cancel, usage};
use crate::commands::Done;

/// Options of `coracle compose start`.
#[derive(Debug, clap::Args)]
pub struct StartArgs {
    /// Services; all when none is named.
    #[arg(add = options::services())]
    services: Vec<String>,
}

/// Options of `coracle compose stop`.
#[derive(Debug, clap::Args)]
pub struct StopArgs {
    /// Services; all when none is named.
    #[arg(add = options::services())]
    services: Vec<String>,
    /// Seconds between the request to stop and SIGKILL.
    #[arg(short, long, value_name = "SECONDS", value_parser = options::timeout, allow_negative_numbers = true)]
    timeout: Option<u64>,
}

/// Options of `coracle compose restart`.
#[derive(Debug, clap::Args)]
pub struct RestartArgs {
    /// Services; all when none is named.
    #[arg(add = options::services())]
    services: Vec<String>,
    /// Seconds between the request to stop and SIGKILL.
    #[arg(short, long, value_name = "SECONDS", value_parser = options::timeout, allow_negative_numbers = true)]
    timeout: Option<u64>,
    /// Leave services alone that ask to be restarted with these.
    #[arg(long)]
    no_deps: bool,
}

/// Options of `coracle compose kill`.
#[derive(Debug, clap::Args)]
pub struct KillArgs {
    /// Services; all when none is named.
    #[arg(add = options::services())]
    services: Vec<String>,
    /// The signal, by name or number.
    #[arg(short, long, default_value = "SIGKILL")]
    signal: String,
    /// Remove containers of services that the files no longer name.
    #[arg(long)]
    remove_orphans: bool,
}

/// Options of `coracle compose rm`.
#[derive(Debug, clap::Args)]
pub struct RmArgs {
    /// Services; all when none is named.
    #[arg(add = options::services())]
    services: Vec<String>,
    /// Do not ask.
    #[arg(short, long)]
    force: bool,
    /// Stop the containers first.
    #[arg(short, long)]
    stop: bool,
    /// Remove their anonymous volumes too.
    #[arg(short, long)]
    volumes: bool,
    /// Accepted: containers of one-time runs are removed by `down`.
    #[arg(short, long, hide = true)]
    all: bool,
}

/// Runs `coracle compose start`.
pub fn start(session: &Session<'_>, args: StartArgs) -> Result<Done> {
    control(session, &args.services, &Control::Start, None)
}

/// Runs `coracle compose stop`.
pub fn stop(session: &Session<'_>, args: StopArgs) -> Result<Done> {
    control(session, &args.services, &Control::Stop, args.timeout)
}

/// Runs `coracle compose restart`.
pub fn restart(session: &Session<'_>, args: RestartArgs) -> Result<Done> {
    control(session, &args.services, &Control::Restart { alone: args.no_deps }, args.timeout)
}

/// Runs `coracle compose kill`.
pub fn kill(session: &Session<'_>, args: KillArgs) -> Result<Done> {
    let done = control(session, &args.services, &Control::Kill { signal: args.signal }, None)?;
    if !args.remove_orphans {
        return Ok(done);
    }
    let cancel = cancel()?;
    let (engine, _) = session.engine()?;
    let project = session.open(&engine, &args.services)?;
    let plan = engine.projects().remove_orphans(&project, session.dry_run, cancel.flag())?;
    if session.dry_run {
        session.context.printer.raw_data(plan.as_bytes());
    }
    Ok(done)
}

/// Runs `coracle compose rm`.
pub fn rm(session: &Session<'_>, args: RmArgs) -> Result<Done> {
    let control_ = Control::Remove(RemoveOptions { stop: args.stop, volumes: args.volumes });
    if !args.force && !session.dry_run {
        let engine = session.quiet_engine()?;
        let project = session.open(&engine, &args.services)?;
        let plan = engine.projects().plan_control(&project, &args.services, &control_)?;
        let names = plan.removed();
        if names.is_empty() {
            session.context.printer.status("No stopped containers");
            return Ok(Done::Ok);
        }
        if !std::io::stdin().is_terminal() {
            return Err(usage(format!(
                "nobody can be asked whether to remove {}: use --force",
                names.join(", ")
            )));
        }
        session.context.printer.status(format!("Going to remove {}", names.join(", ")));
        session.context.printer.status("Are you sure? [yN]");
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer);
        if read.is_err() || !matches!(answer.trim(), "y" | "Y" | "yes") {
            return Ok(Done::Findings);
        }
    }
    control(session, &args.services, &control_, None)
}

fn control(
    session: &Session<'_>,
    services: &[String],
    control: &Control,
    timeout: Option<u64>,
) -> Result<Done> {
    let cancel = cancel()?;
    let (engine, reporter) = session.engine()?;
    let project = session.open(&engine, services)?;
    let options = ControlOptions { timeout, dry_run: session.dry_run };
    let plan = engine.projects().control(&project, services, control, options, cancel.flag());
    reporter.settle();
    let plan = plan?;
    if session.dry_run {
        session.show_plan(&plan.to_string());
    } else if plan.is_empty() {
        session.context.printer.status(match control {
            Control::Kill { .. } => "no container to kill",
            Control::Remove(_) => "No stopped containers",
            Control::Start => "nothing to start",
            Control::Stop => "nothing to stop",
            Control::Restart { .. } => "nothing to restart",
        });
    }
    Ok(Done::Ok)
}
