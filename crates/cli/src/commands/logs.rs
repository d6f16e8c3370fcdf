//! `coracle logs`: the log of one container, or of an environment's services together.

use std::sync::atomic::AtomicBool;

use coracle_engine::{ContainerView, Engine, Failure, KeptLog, LogLine, LogRequest, Result};
use coracle_report::Diagnostic;
use jiff::{SignedDuration, Timestamp};

use super::Done;
use super::flag_error::bad_flag;
use super::log_lines::LogLines;
use super::target::{self, ProjectArgs, Target};
use crate::cancel::Cancel;
use crate::context::Context;
use crate::printer::{Printer, paint};
use crate::values;

/// Options of `coracle logs`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A container, or an environment of the project here and services.
    #[arg(required = true)]
    pub words: Vec<String>,
    #[command(flatten)]
    pub project: ProjectArgs,
    /// Go on as lines come.
    #[arg(short, long)]
    pub follow: bool,
    /// Only the last lines: a number or `all`.
    #[arg(short = 'n', long, default_value = "all")]
    pub tail: String,
    /// Only lines since then: a time, or how long ago, e.g. 10m.
    #[arg(long)]
    pub since: Option<String>,
    /// Only lines until then.
    #[arg(long)]
    pub until: Option<String>,
    /// Begin each line with the labels and variables that --log-opt names.
    #[arg(long)]
    pub details: bool,
    /// Begin each line with its time.
    #[arg(short, long)]
    pub timestamps: bool,
    /// Show what the containers said first that an `up` replaced; as `--since` does.
    #[arg(long)]
    pub previous: bool,
    /// Leave out the service's name before each line.
    #[arg(long)]
    pub no_log_prefix: bool,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let cancel = Cancel::on_signals().map_err(|error| Failure::ours("catching signals", &error))?;
    let engine = context.quiet_engine()?;
    let request = LogRequest {
        follow: args.follow,
        tail: match args.tail.as_str() {
            "all" => None,
            text => Some(text.parse().map_err(|_| {
                bad_flag("--tail", &format!("`{text}` is no number of lines; write a number, or all"))
            })?),
        },
        since: args.since.as_deref().map(time).transpose()?,
        until: args.until.as_deref().map(time).transpose()?,
    };
    match target::decide(&engine, &args.project, args.words.clone())? {
        Target::Containers(words) => {
            let [word] = words.as_slice() else {
                return Err(usage("give one container, or an environment of the project here".to_owned()));
            };
            let view = engine.containers().find(word)?;
            if args.previous && view.project().is_none() {
                let message =
                    format!("container `{}` is of no project: it replaced none", view.record.spec.name);
                return Err(usage(message));
            }
            if args.previous
                && let (Some(project), Some(service)) = (view.project(), view.service())
            {
                let mut kept = engine.containers().kept_logs(project, &[service.to_owned()])?;
                // Other replicas have logs of their own.
                kept.retain(|log| log.name == view.record.spec.name);
                let prefix = |_: &str| String::new();
                show_kept(context.printer, &engine, &kept, &request, prefix, &args, cancel.flag())?;
            }
            let after = if args.details { details(&view) } else { String::new() };
            let lines = LogLines::new(context.printer, "", args.timestamps).with_details(after);
            show(&lines, &engine, &view, &request, cancel.flag())?;
        }
        Target::Environment(selection, services) => {
            let project = engine.projects().load(&selection)?;
            let views = engine.projects().containers(&project, &services)?;
            let name = |view: &ContainerView| view.service().unwrap_or(&view.record.spec.name).to_owned();
            let kept = if args.previous || request.since.is_some() {
                engine.containers().kept_logs(project.name(), &services)?
            } else {
                Vec::new()
            };
            let names = views.iter().map(name).chain(kept.iter().map(|log| log.service.clone()));
            let width = names.map(|name| name.len()).max().unwrap_or(0);
            let prefix = |name: &str, number: usize| {
                if args.no_log_prefix {
                    String::new()
                } else if !context.printer.colours() {
                    format!("{name:<width$} | ")
                } else {
                    paint(colour(number), format!("{name:<width$} | "))
                }
            };
            let earlier = |service: &str| {
                prefix(service, views.iter().position(|view| name(view) == service).unwrap_or(0))
            };
            show_kept(context.printer, &engine, &kept, &request, earlier, &args, cancel.flag())?;
            let results: Vec<Result<()>> = std::thread::scope(|scope| {
                let (engine, request) = (&engine, &request);
                let threads: Vec<_> = views
                    .iter()
                    .enumerate()
                    .map(|(number, view)| {
                        let prefix = prefix(&name(view), number);
                        let (flag, timestamps) = (cancel.flag(), args.timestamps);
                        let after = if args.details { details(view) } else { String::new() };
                        scope.spawn(move || {
                            let lines =
                                LogLines::new(context.printer, &prefix, timestamps).with_details(after);
                            show(&lines, engine, view, request, flag)
                        })
                    })
                    .collect();
                threads
                    .into_iter()
                    .map(|thread| thread.join().expect("a log reader does not panic"))
                    .collect()
            });
            results.into_iter().collect::<Result<()>>()?;
        }
    }
    Ok(Done::Ok)
}

/// Returns the labels and variables that `--log-opt labels=` and `env=` name, as Docker writes them.
fn details(view: &ContainerView) -> String {
    let spec = &view.record.spec;
    let variables = spec.log.variables.iter().filter_map(|name| Some((name, spec.environment.get(name)?)));
    let labels = spec.log.labels.iter().filter_map(|name| Some((name, spec.labels.get(name)?)));
    let mut pairs: Vec<String> =
        variables.chain(labels).map(|(name, value)| format!("{name}={value}")).collect();
    pairs.sort();
    if pairs.is_empty() { String::new() } else { format!("{} ", pairs.join(",")) }
}

fn show(
    lines: &LogLines<'_>,
    engine: &Engine,
    view: &ContainerView,
    request: &LogRequest,
    cancel: &AtomicBool,
) -> Result<()> {
    let mut sink = |line: LogLine| lines.line(&line);
    let result =
        engine.containers().logs_with_pauses(&view.record.id, request, cancel, &mut sink, &|| lines.flush());
    lines.flush();
    result
}

/// Shows what earlier containers of these services left, oldest first.
fn show_kept(
    printer: Printer,
    engine: &Engine,
    logs: &[KeptLog],
    request: &LogRequest,
    prefix: impl Fn(&str) -> String,
    args: &Args,
    cancel: &AtomicBool,
) -> Result<()> {
    for log in logs {
        let prefix = prefix(&log.service);
        let lines = LogLines::new(printer, &prefix, args.timestamps);
        engine.containers().read_kept_log(log, request, cancel, &mut |line| lines.line(&line))?;
    }
    Ok(())
}

fn colour(number: usize) -> anstyle::Style {
    use anstyle::AnsiColor::{Blue, Cyan, Green, Magenta, Yellow};
    [Cyan, Yellow, Green, Magenta, Blue][number % 5].on_default()
}

/// Reads a time: RFC 3339, seconds since 1970, or how long ago.
pub fn time(text: &str) -> Result<Timestamp> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    if let Ok(seconds) = text.parse::<i64>() {
        return Timestamp::from_second(seconds).map_err(|_| usage(format!("`{text}` is no time")));
    }
    let past = values::milliseconds(text).map_err(usage)?;
    let past = SignedDuration::from_millis(i64::try_from(past).unwrap_or(i64::MAX));
    Timestamp::now().checked_sub(past).map_err(|_| usage(format!("`{text}` ago is before all time")))
}

fn usage(message: String) -> Failure {
    Failure::user(Diagnostic::error("usage", message))
}
