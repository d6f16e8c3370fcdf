//! `coracle stats`: what containers use, once or anew each second.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use coracle_container::ContainerId;
use coracle_engine::{ContainerView, Engine, Failure, Result, Sample, Stats};
use serde_json::{Value, json};

use super::Done;
use super::flag_error::bad_flag;
use super::target::{self, ProjectArgs, Target};
use crate::cancel::Cancel;
use crate::context::Context;
use crate::table::{Table, size};
use crate::template::Template;

/// Time between two pictures, and between the two samples of one.
const PERIOD: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
Examples:
  coracle stats                  all that runs, anew each second
  coracle stats --no-stream web  once
  coracle stats prod             the services of an environment
";

/// What is shown, and how.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Shown {
    /// Show one picture and end.
    #[arg(long)]
    pub no_stream: bool,
    /// Show containers that do not run, too.
    #[arg(short, long)]
    pub all: bool,
    /// Do not shorten ids.
    #[arg(long)]
    pub no_trunc: bool,
    /// `table`, `json`, `table TEMPLATE` or a template such as '{{.Name}} {{.CPUPerc}}'.
    #[arg(long, default_value = "table")]
    pub format: String,
}

/// Options of `coracle stats`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Containers, or an environment of the project here and services; nothing means all that runs.
    pub words: Vec<String>,
    #[command(flatten)]
    pub project: ProjectArgs,
    #[command(flatten)]
    pub shown: Shown,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let engine = context.quiet_engine()?;
    match target::decide(&engine, &args.project, args.words)? {
        Target::Environment(selection, services) => {
            let project = engine.projects().load(&selection)?;
            show(context, &engine, &args.shown, &|| engine.projects().containers(&project, &services))
        }
        Target::Containers(words) if words.is_empty() => {
            show(context, &engine, &args.shown, &|| engine.containers().list())
        }
        Target::Containers(words) => {
            let find = || words.iter().map(|word| engine.containers().find(word)).collect();
            show(context, &engine, &args.shown, &find)
        }
    }
}

/// Shows what the containers that `find` returns use; it is asked anew for each picture.
pub fn show(
    context: &Context,
    engine: &Engine,
    shown: &Shown,
    find: &dyn Fn() -> Result<Vec<ContainerView>>,
) -> Result<Done> {
    let cancel = Cancel::on_signals().map_err(|error| Failure::ours("catching signals", &error))?;
    let sample = |views: &[ContainerView]| -> Result<BTreeMap<ContainerId, Sample>> {
        let mut samples = BTreeMap::new();
        for view in views {
            if let Some(sample) = engine.containers().sample(&view.record.id)? {
                samples.insert(view.record.id.clone(), sample);
            }
        }
        Ok(samples)
    };
    let chosen = || -> Result<Vec<ContainerView>> {
        let mut views = find()?;
        views.retain(|view| shown.all || view.state.has_shim());
        Ok(views)
    };
    let template = Template::parse(&shown.format).map_err(|why| bad_flag("--format", &why))?;
    let mut earlier = sample(&chosen()?)?;
    loop {
        for _ in 0..10 {
            std::thread::sleep(PERIOD / 10);
            if cancel.flag().load(Ordering::Relaxed) {
                return Ok(Done::Ok);
            }
        }
        let views = chosen()?;
        let now = sample(&views)?;
        let measured: Vec<(&ContainerView, Option<Stats>)> = views
            .iter()
            .map(|view| {
                let id = &view.record.id;
                // One that is new since the last picture has no earlier sample: its time is told by the next.
                let stats = now.get(id).map(|sample| sample.since(earlier.get(id).unwrap_or(sample)));
                (view, stats)
            })
            .collect();
        let text = match &template {
            Some(template) => {
                let rows: Vec<Value> = measured
                    .iter()
                    .map(|(view, stats)| as_json(view, stats.as_ref(), shown.no_trunc))
                    .collect();
                template.render(&rows).map_err(|why| bad_flag("--format", &why))?
            }
            None => rendered(&measured, shown.no_trunc),
        };
        if !shown.no_stream && shown.format != "json" && context.printer.interactive() {
            // Home, and what is below goes: the picture is drawn over the last one.
            context.printer.raw_data(b"\x1b[H\x1b[J");
        }
        context.printer.raw_data(text.as_bytes());
        if shown.no_stream {
            return Ok(Done::Ok);
        }
        earlier = now;
    }
}

fn rendered(measured: &[(&ContainerView, Option<Stats>)], whole: bool) -> String {
    let titles =
        ["CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS"];
    let mut table = Table::new(&titles);
    for (view, stats) in measured {
        let id = &view.record.id;
        let mut cells =
            vec![if whole { id.to_string() } else { id.short().to_owned() }, view.record.spec.name.clone()];
        match stats {
            Some(stats) => cells.extend([
                format!("{:.2}%", stats.cpu),
                format!("{} / {}", binary(stats.memory), binary(stats.memory_limit)),
                format!("{:.2}%", stats.memory_share()),
                format!("{} / {}", size(stats.received), size(stats.sent)),
                format!("{} / {}", size(stats.block_read), size(stats.block_written)),
                stats.pids.to_string(),
            ]),
            None => cells.extend(["--", "-- / --", "--", "-- / --", "-- / --", "--"].map(str::to_owned)),
        }
        table.row(cells);
    }
    table.render()
}

fn as_json(view: &ContainerView, stats: Option<&Stats>, whole: bool) -> Value {
    let name = &view.record.spec.name;
    let id = if whole { view.record.id.as_str() } else { view.record.id.short() };
    let text = |of: &dyn Fn(&Stats) -> String| stats.map_or_else(|| "--".to_owned(), of);
    json!({
        "ID": id, "Container": id, "Name": name,
        "Service": view.service(),
        "CPUPerc": text(&|stats| format!("{:.2}%", stats.cpu)),
        "MemUsage": text(&|stats| format!("{} / {}", binary(stats.memory), binary(stats.memory_limit))),
        "MemPerc": text(&|stats| format!("{:.2}%", stats.memory_share())),
        "NetIO": text(&|stats| format!("{} / {}", size(stats.received), size(stats.sent))),
        "BlockIO": text(&|stats| format!("{} / {}", size(stats.block_read), size(stats.block_written))),
        "PIDs": text(&|stats| stats.pids.to_string()),
    })
}

/// Returns a size in powers of 1024, as Docker prints memory: `14.2MiB`.
fn binary(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    // Four digits that matter, without zeros at the end.
    let digits = if unit == 0 || value >= 1000.0 {
        0
    } else if value >= 100.0 {
        1
    } else if value >= 10.0 {
        2
    } else {
        3
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_reads_as_docker_prints_it() {
        assert_eq!(binary(0), "0B");
        assert_eq!(binary(512 << 20), "512MiB");
        assert_eq!(binary(14_889_779), "14.2MiB");
        assert_eq!(binary(1_287_651_328), "1.199GiB");
    }
}
