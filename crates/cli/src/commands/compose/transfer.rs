//! `coracle compose pull|push`: images of services from and to their registries.

use clap::ValueEnum;
use coracle_engine::{Result, TransferOptions};

use super::options::{self, Session, cancel};
use crate::commands::Done;

/// Options of `coracle compose pull`.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of Docker Compose's")]
pub struct PullArgs {
    /// Services; all when none is named.
    #[arg(add = options::services())]
    services: Vec<String>,
    /// Leave images alone that can be built.
    #[arg(long)]
    ignore_buildable: bool,
    /// Go on with the others when one cannot be pulled, and succeed.
    #[arg(long)]
    ignore_pull_failures: bool,
    /// Pull the images of what they depend on too.
    #[arg(long)]
    include_deps: bool,
    /// Pull only what is not there, or all.
    #[arg(long, value_enum)]
    policy: Option<Policy>,
    /// Show no progress.
    #[arg(short, long)]
    quiet: bool,
}

/// Which images are pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Policy {
    Missing,
    Always,
}

/// Options of `coracle compose push`.
#[derive(Debug, clap::Args)]
pub struct PushArgs {
    /// Services; all when none is named.
    #[arg(add = options::services())]
    services: Vec<String>,
    /// Go on with the others when one cannot be pushed, and succeed.
    #[arg(long)]
    ignore_push_failures: bool,
    /// Push the images of what they depend on too.
    #[arg(long)]
    include_deps: bool,
    /// Show no progress.
    #[arg(short, long)]
    quiet: bool,
}

/// Runs `coracle compose pull`.
pub fn pull(session: &Session<'_>, args: PullArgs) -> Result<Done> {
    let (engine, reporter) = session.engine_unless(args.quiet)?;
    let project = session.open(&engine, &args.services)?;
    let loaded = engine.projects().files(&project)?;
    let options = TransferOptions {
        services: args.services,
        dependencies: args.include_deps,
        ignore_failures: args.ignore_pull_failures,
        ignore_buildable: args.ignore_buildable,
        always: args.policy.map(|policy| policy == Policy::Always),
        dry_run: session.dry_run,
    };
    let lines = engine.projects().pull(loaded, &options);
    reporter.settle();
    finish(session, &lines?)
}

/// Runs `coracle compose push`.
pub fn push(session: &Session<'_>, args: PushArgs) -> Result<Done> {
    let cancel = cancel()?;
    let (engine, reporter) = session.engine_unless(args.quiet)?;
    let project = session.open(&engine, &args.services)?;
    let loaded = engine.projects().files(&project)?;
    let options = TransferOptions {
        services: args.services,
        dependencies: args.include_deps,
        ignore_failures: args.ignore_push_failures,
        dry_run: session.dry_run,
        ..TransferOptions::default()
    };
    let lines = engine.projects().push(loaded, &options, cancel.flag());
    reporter.settle();
    finish(session, &lines?)
}

fn finish(session: &Session<'_>, lines: &[String]) -> Result<Done> {
    if session.dry_run {
        session.show_lines(lines);
    }
    Ok(Done::Ok)
}
