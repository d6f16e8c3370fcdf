//! `coracle bake`: the targets of bake files and Compose files, built together.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;

use coracle_engine::{
    BakeAttribute, BakeDefinition, BakeRequest, BakeSelection, Engine, Entitlements, Failure, Result, allow,
};
use coracle_report::Diagnostic;
use serde_json::json;

use super::Done;
use super::build::CheckArgs;
use super::build::output_args::stdout;
use crate::cancel::Cancel;
use crate::context::Context;
use crate::reporters::Progress;
use crate::table::Table;

/// The largest definition that is read from the standard input.
const LIMIT: u64 = 4 << 20;

const EXAMPLES: &str = "\
Examples:
  coracle bake                                   the group `default` of docker-bake.hcl
  coracle bake --print web                       what would be built, as JSON
  coracle bake -f ci.hcl --set *.args.VERSION=2  another file, an argument of all targets
  coracle bake --list=variables
";

/// Options of `coracle bake`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Targets and groups by name or pattern (default: `default`).
    #[arg(value_name = "TARGET")]
    pub targets: Vec<String>,
    /// File that defines the targets, `-` for the standard input; may be given several times.
    #[arg(short, long, value_name = "FILE")]
    pub file: Vec<String>,
    /// Override an attribute: TARGET.KEY=VALUE; `+=` adds to a list.
    #[arg(long, value_name = "TARGET.KEY=VALUE")]
    pub set: Vec<String>,
    /// Set a variable: NAME=VALUE.
    #[arg(long, value_name = "NAME=VALUE")]
    pub var: Vec<String>,
    /// Print what would be built, as JSON, and build nothing.
    #[arg(long)]
    pub print: bool,
    /// List the targets or the variables: targets, variables, type=targets,format=json.
    #[arg(long, value_name = "WHAT")]
    pub list: Option<String>,
    /// Use no cached step.
    #[arg(long)]
    pub no_cache: bool,
    /// Fetch base images even when they are there.
    #[arg(long)]
    pub pull: bool,
    /// Push the images: adds to every target's output.
    #[arg(long)]
    pub push: bool,
    /// Keep the images in the store: adds to every target's output.
    #[arg(long)]
    pub load: bool,
    /// Attestation of how the images were built: true, false, mode=min, mode=max.
    #[arg(long, value_name = "HOW", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub provenance: Option<String>,
    /// Attestation of what is in the images: true, false.
    #[arg(long, value_name = "HOW", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub sbom: Option<String>,
    /// Let targets have what they ask for: network.host, security.insecure.
    #[arg(long, value_name = "ENTITLEMENT")]
    pub allow: Vec<String>,
    /// Write what was built to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub metadata_file: Option<PathBuf>,
    #[command(flatten)]
    pub checks: CheckArgs,
    /// How progress is shown.
    #[arg(long, value_enum, default_value_t)]
    pub progress: Progress,
}

fn usage(why: impl Into<String>) -> Failure {
    Failure::user(Diagnostic::error("usage", why))
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let cancel = Cancel::on_signals().map_err(|error| Failure::ours("catching signals", &error))?;
    let (engine, reporter) = context.engine(args.progress)?;
    let request = request(&args)?;
    let bakes = engine.bakes();
    if let Some(what) = &args.list {
        let text = list(&bakes.definition(&request)?, what)?;
        context.printer.data(text.trim_end());
        return Ok(Done::Ok);
    }
    let selected = bakes.select(&request)?;
    if args.print {
        let text = serde_json::to_string_pretty(&selected.to_json())
            .map_err(|error| Failure::ours("writing JSON", &error))?;
        context.printer.data(text);
        return Ok(Done::Ok);
    }
    // What is asked on the command line is asked of every target, else each says itself.
    let mut asked = BTreeMap::new();
    for (name, target) in selected.targets.iter().filter(|(name, _)| !selected.linked.contains(*name)) {
        let call = match target.text(BakeAttribute::Call) {
            Some(text) if args.checks.builds() && !text.is_empty() => {
                text.parse().map_err(|why: String| usage(format!("target `{name}`: `call`: {why}")))?
            }
            _ => args.checks.call,
        };
        let checks = CheckArgs { call, ..args.checks };
        if !checks.builds() {
            asked.insert(name.clone(), checks);
        }
    }
    let answered = answer(context, &engine, &request, &selected, &asked)?;
    if asked.len() + selected.linked.len() == selected.targets.len() {
        return Ok(answered);
    }
    let rest = selected.without(&asked.into_keys().collect());
    let baked = bakes.build(&rest, &request, cancel.flag());
    reporter.settle();
    let baked = baked?;
    let streams = rest.targets.values().flat_map(|target| target.entries(BakeAttribute::Output));
    let takes_stdout = streams.filter_map(|entry| entry.get("dest")).any(|dest| dest == "-");
    let mut metadata = serde_json::Map::new();
    for baked in baked {
        if !takes_stdout {
            context.printer.data(format!("{}  {}", baked.target, baked.image.id));
        }
        metadata.insert(baked.target, baked.image.metadata.into());
    }
    if let Some(path) = &args.metadata_file {
        let mut text =
            serde_json::to_string_pretty(&metadata).map_err(|error| Failure::ours("writing JSON", &error))?;
        text.push('\n');
        std::fs::write(path, text)
            .map_err(|error| usage(format!("cannot write {}: {error}", path.display())))?;
    }
    Ok(answered)
}

fn request(args: &Args) -> Result<BakeRequest> {
    let mut overrides = args.set.clone();
    let flags = [(args.no_cache, "no-cache"), (args.pull, "pull"), (args.push, "push"), (args.load, "load")];
    overrides.extend(flags.iter().filter(|(set, _)| *set).map(|(_, name)| format!("*.{name}=true")));
    for (kind, how) in [("sbom", &args.sbom), ("provenance", &args.provenance)] {
        overrides.extend(how.as_ref().map(|how| match how.as_str() {
            "true" | "1" => format!("*.attest=type={kind}"),
            "false" | "0" => format!("*.attest=type={kind},disabled=true"),
            how => format!("*.attest=type={kind},{how}"),
        }));
    }
    let mut allowed = Entitlements::default();
    for text in args.allow.iter().flat_map(|text| text.split(',')) {
        // Files are not restricted: there is nothing to allow.
        if !text.starts_with("fs") {
            allow(text, &mut allowed).map_err(usage)?;
        }
    }
    let mut variables = Vec::new();
    for text in &args.var {
        let pair =
            text.split_once('=').ok_or_else(|| usage(format!("--var {text}: write it as NAME=VALUE")))?;
        variables.push((pair.0.to_owned(), pair.1.to_owned()));
    }
    let input = if args.file.iter().any(|file| file == "-") {
        let mut text = String::new();
        let read = std::io::stdin().lock().take(LIMIT).read_to_string(&mut text);
        read.map_err(|error| usage(format!("the standard input cannot be read: {error}")))?;
        Some(text)
    } else {
        None
    };
    Ok(BakeRequest {
        files: args.file.clone(),
        input,
        directory: PathBuf::from("."),
        targets: args.targets.clone(),
        overrides,
        variables,
        allow: allowed,
        stdout: Some(stdout),
    })
}

/// Answers about targets instead of building them.
fn answer(
    context: &Context,
    engine: &Engine,
    request: &BakeRequest,
    selected: &BakeSelection,
    asked: &BTreeMap<String, CheckArgs>,
) -> Result<Done> {
    let mut done = Done::Ok;
    for (name, checks) in asked {
        let options = engine.bakes().options(&selected.targets[name], request)?;
        if selected.targets.len() > 1 {
            context.printer.status(format!("{name}:"));
        }
        if checks.answer(context, engine, &options)? == Done::Findings {
            done = Done::Findings;
        }
    }
    Ok(done)
}

fn list(definition: &BakeDefinition, what: &str) -> Result<String> {
    let (mut kind, mut as_json) = ("", false);
    for word in what.split(',') {
        match word.strip_prefix("type=").unwrap_or(word) {
            "targets" => kind = "targets",
            "variables" => kind = "variables",
            "format=json" => as_json = true,
            "format=table" => as_json = false,
            other => return Err(usage(format!("--list={other}: targets or variables can be listed"))),
        }
    }
    let rows: Vec<serde_json::Value> = if kind == "variables" {
        let row = |variable: &coracle_engine::BakeVariable| {
            json!({
                "name": variable.name, "type": variable.kind, "value": variable.value.to_json(),
                "description": variable.description,
            })
        };
        definition.variables.iter().map(row).collect()
    } else {
        let groups = definition.groups.iter().map(|(name, group)| {
            let about = group.description.clone().unwrap_or_else(|| group.targets.join(", "));
            json!({ "name": name, "description": about, "group": true })
        });
        let targets =
            definition.targets.values().filter(|target| !definition.groups.contains_key(&target.name));
        let targets = targets.map(|target| {
            let about = target.text(BakeAttribute::Description).unwrap_or_default();
            json!({ "name": target.name, "description": about })
        });
        groups.chain(targets).collect()
    };
    if as_json {
        return serde_json::to_string_pretty(&rows).map_err(|error| Failure::ours("writing JSON", &error));
    }
    let cell = |row: &serde_json::Value, name: &str| match &row[name] {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Null => String::new(),
        other => other.to_string(),
    };
    let columns: &[&str] = if kind == "variables" {
        &["name", "type", "value", "description"]
    } else {
        &["name", "description"]
    };
    let headings: Vec<String> = columns.iter().map(|column| column.to_uppercase()).collect();
    let mut table = Table::new(&headings.iter().map(String::as_str).collect::<Vec<_>>());
    for row in &rows {
        table.row(columns.iter().map(|column| cell(row, column)).collect());
    }
    Ok(table.render())
}
