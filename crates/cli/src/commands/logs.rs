//! `coracle logs`: the log of one container, or of an environment's services together.

use std::sync::atomic::AtomicBool;

use coracle_engine::{ContainerView, Engine, Failure, LogLine, LogRequest, LogStream, Result};
use coracle_report::Diagnostic;
use jiff::{SignedDuration, Timestamp};

use super::Done;
use super::flag_error::bad_flag;
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
    match target::decide(&engine, &args.project, args.words)? {
        Target::Containers(words) => {
            let [word] = words.as_slice() else {
                return Err(usage("give one container, or an environment of the project here".to_owned()));
            };
            let view = engine.containers().find(word)?;
            let prefix = if args.details { details(&view) } else { String::new() };
            let how = Shown { before: "", timestamps: args.timestamps, after: &prefix };
            show(context.printer, &engine, &view, &request, how, cancel.flag())?;
        }
        Target::Environment(selection, services) => {
            let project = engine.projects().load(&selection)?;
            let views = engine.projects().containers(&project, &services)?;
            let name = |view: &ContainerView| view.service().unwrap_or(&view.record.spec.name).to_owned();
            let width = views.iter().map(|view| name(view).len()).max().unwrap_or(0);
            let results: Vec<Result<()>> = std::thread::scope(|scope| {
                let (engine, request) = (&engine, &request);
                let threads: Vec<_> = views
                    .iter()
                    .enumerate()
                    .map(|(number, view)| {
                        let prefix = if args.no_log_prefix {
                            String::new()
                        } else {
                            paint(colour(number), format!("{:<width$} | ", name(view)))
                        };
                        let flag = cancel.flag();
                        scope.spawn(move || {
                            let after = if args.details { details(view) } else { String::new() };
                            let how = Shown { before: &prefix, timestamps: args.timestamps, after: &after };
                            show(context.printer, engine, view, request, how, flag)
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

/// What stands before a line: the service's name, its time, the details.
#[derive(Clone, Copy)]
struct Shown<'a> {
    before: &'a str,
    timestamps: bool,
    after: &'a str,
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
    printer: Printer,
    engine: &Engine,
    view: &ContainerView,
    request: &LogRequest,
    how: Shown<'_>,
    cancel: &AtomicBool,
) -> Result<()> {
    let prefix = how.before;
    engine.containers().logs(&view.record.id, request, cancel, &mut |line: LogLine| {
        let mut bytes = prefix.as_bytes().to_vec();
        if how.timestamps {
            bytes.extend(format!("{} ", line.time).into_bytes());
        }
        bytes.extend(how.after.as_bytes());
        bytes.extend(line.bytes);
        // A last line without its end must not run into another service's.
        if !prefix.is_empty() && !bytes.ends_with(b"\n") {
            bytes.push(b'\n');
        }
        // Lines of several services mix on one screen; alone, each stream keeps its own.
        match line.stream {
            LogStream::Stderr if prefix.is_empty() => printer.raw_error(&bytes),
            LogStream::Stdout | LogStream::Stderr => printer.raw_data(&bytes),
        }
    })
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
