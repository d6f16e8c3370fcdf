//! `coracle compose logs`: what the containers of services printed, together.

use coracle_engine::{LogRequest, Result};

use super::lines::Lines;
use super::options::{self, Session, cancel, usage};
use crate::commands::Done;
use crate::commands::logs::time;

const EXAMPLES: &str = "\
Examples:
  coracle compose logs -f --tail 20          the last lines of each, and those to come
  coracle compose logs --since 10m backend
  coracle compose logs --index 2 worker      the second container of a service
";

/// Options of `coracle compose logs`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of Docker Compose's")]
pub struct Args {
    /// Services; all when none is named.
    #[arg(add = options::services())]
    services: Vec<String>,
    /// Go on as lines come.
    #[arg(short, long)]
    follow: bool,
    /// Only the container of this number.
    #[arg(long, value_name = "NUMBER")]
    index: Option<u32>,
    /// Leave out colours.
    #[arg(long)]
    no_color: bool,
    /// Leave out the container's name before each line.
    #[arg(long)]
    no_log_prefix: bool,
    /// Only lines since then: a time, or how long ago, e.g. 10m.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only lines until then.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only the last lines of each: a number or `all`.
    #[arg(short = 'n', long, default_value = "all", value_name = "NUMBER", allow_hyphen_values = true)]
    tail: String,
    /// Begin each line with its time.
    #[arg(short, long)]
    timestamps: bool,
}

/// Runs the command.
pub fn run(session: &Session<'_>, args: Args) -> Result<Done> {
    let cancel = cancel()?;
    let engine = session.quiet_engine()?;
    let project = session.open(&engine, &args.services)?;
    let mut views = engine.projects().service_containers(&project, &args.services)?;
    if let Some(index) = args.index {
        if args.services.len() != 1 {
            return Err(usage("--index picks a container of one service: name it"));
        }
        views.retain(|view| view.number() == index);
        if views.is_empty() {
            return Err(usage(format!("service `{}` has no container of number {index}", args.services[0])));
        }
    }
    let request = LogRequest {
        follow: args.follow,
        tail: match args.tail.as_str() {
            "all" | "-1" => None,
            text => Some(text.parse().map_err(|_| usage(format!("`{text}` is no number of lines")))?),
        },
        since: args.since.as_deref().map(time).transpose()?,
        until: args.until.as_deref().map(time).transpose()?,
    };
    let lines = Lines::new(session.context.printer, project.name())
        .with_prefix(!args.no_log_prefix)
        .with_colour(!args.no_color)
        .with_times(args.timestamps);
    lines.announce(views.iter().map(|view| &view.record.spec.name));
    let results: Vec<Result<()>> = std::thread::scope(|scope| {
        let (engine, request, lines, flag) = (&engine, &request, &lines, cancel.flag());
        let threads: Vec<_> = views
            .iter()
            .map(|view| {
                scope.spawn(move || {
                    let name = &view.record.spec.name;
                    engine
                        .containers()
                        .logs(&view.record.id, request, flag, &mut |line| lines.line(name, &line))
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a log reader does not panic")).collect()
    });
    results.into_iter().collect::<Result<()>>()?;
    Ok(Done::Ok)
}
