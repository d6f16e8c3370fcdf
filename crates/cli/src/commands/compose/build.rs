//! `coracle compose build`: the images of services.

use coracle_engine::{Result, ServiceBuild, TransferOptions};
use indexmap::IndexMap;

use super::options::{self, Session, cancel, usage};
use crate::commands::Done;
use crate::commands::build::check_output;
use crate::values;

const EXAMPLES: &str = "\
Examples:
  coracle compose build                           all services that are built
  coracle compose build --build-arg VERSION=2 api
  coracle compose build --check                   look at the Dockerfiles and build nothing
";

/// Options of `coracle compose build`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of Docker Compose's")]
pub struct Args {
    /// Services; all when none is named.
    #[arg(add = options::services())]
    services: Vec<String>,
    /// Set a build argument of all of them.
    #[arg(long, value_name = "NAME[=VALUE]")]
    build_arg: Vec<String>,
    /// Accepted: there is one builder.
    #[arg(long, hide = true, env = "BUILDX_BUILDER", hide_env = true)]
    builder: Option<String>,
    /// Check the Dockerfiles and build nothing; exits with 1 when something is found.
    #[arg(long)]
    check: bool,
    /// Refused: steps have no limit of their own.
    #[arg(short, long, value_name = "BYTES", hide = true)]
    memory: Option<String>,
    /// Use no cached step.
    #[arg(long)]
    no_cache: bool,
    /// Print what would be built as a bake file, and build nothing.
    #[arg(long)]
    print: bool,
    /// Attestation of how the images were built: true, false, mode=min, mode=max.
    #[arg(long, value_name = "HOW", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    provenance: Option<String>,
    /// Attestation of what is in the images: true, false.
    #[arg(long, value_name = "HOW", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    sbom: Option<String>,
    /// Fetch base images even when they are there.
    #[arg(long)]
    pull: bool,
    /// Push the images.
    #[arg(long)]
    push: bool,
    /// Show no progress.
    #[arg(short, long)]
    quiet: bool,
    /// Give an SSH agent or keys to steps: default, ID=SOCKET.
    #[arg(long, value_name = "AGENT")]
    ssh: Vec<String>,
    /// Build what they depend on too.
    #[arg(long)]
    with_dependencies: bool,
    /// Accepted: all are built at the same time anyway.
    #[arg(long, hide = true)]
    parallel: bool,
    /// Accepted: what a build needed for itself is removed anyway.
    #[arg(long, hide = true)]
    force_rm: bool,
}

/// Runs the command.
pub fn run(session: &Session<'_>, args: Args) -> Result<Done> {
    if args.memory.is_some() {
        return Err(usage(
            "--memory: a build's steps have no memory limit of their own (BuildKit refuses it too)",
        ));
    }
    let cancel = cancel()?;
    let caller = |name: &str| session.files.environment.get(name).cloned();
    let mut arguments = IndexMap::new();
    for text in &args.build_arg {
        arguments.extend(values::variable(text, caller).map_err(usage)?);
    }
    let (engine, reporter) = session.engine_unless(args.quiet)?;
    let project = session.open(&engine, &args.services)?;
    let projects = engine.projects();
    let loaded = projects.files(&project)?;
    let request = ServiceBuild {
        services: args.services.clone(),
        dependencies: args.with_dependencies,
        arguments,
        no_cache: args.no_cache,
        pull: args.pull,
        ssh: args.ssh,
        provenance: args.provenance,
        sbom: args.sbom,
    };
    let printer = session.context.printer;
    if args.print {
        let text = projects.bake_file(loaded, &request)?;
        printer.data(serde_json::to_string_pretty(&text).map_err(|error| usage(error.to_string()))?);
        return Ok(Done::Ok);
    }
    if args.check {
        let mut done = Done::Ok;
        for (service, checked) in projects.check_dockerfiles(loaded, &request)? {
            printer.status(format!("{service}:"));
            check_output::remarks(&checked).into_iter().for_each(|line| printer.status(line));
            printer.data(check_output::text(&checked).trim_end());
            if !checked.report.findings.is_empty() || checked.report.fault.is_some() {
                done = Done::Findings;
            }
        }
        return Ok(done);
    }
    let names = projects.images_of(loaded, &request)?;
    if session.dry_run {
        let mut lines: Vec<String> =
            names.iter().map(|name| format!("build image {name} (asked for)")).collect();
        if args.push {
            lines.extend(names.iter().map(|name| format!("push image {name} (asked for)")));
        }
        session.show_lines(&lines);
        return Ok(Done::Ok);
    }
    let built = projects.build_services(loaded, &request, cancel.flag());
    reporter.settle();
    built?;
    if args.push {
        let options = TransferOptions {
            services: args.services,
            dependencies: args.with_dependencies,
            ..TransferOptions::default()
        };
        let pushed = projects.push(loaded, &options, cancel.flag());
        reporter.settle();
        pushed?;
    }
    if !args.quiet {
        names.iter().for_each(|name| printer.status(format!("{name}  Built")));
    }
    Ok(Done::Ok)
}
