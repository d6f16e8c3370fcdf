//! `coracle compose ls`: the projects that have containers.

use coracle_engine::{ProjectSummary, Result};
use serde_json::json;

use super::options::{Session, usage};
use crate::commands::Done;
use crate::table::Table;

/// Options of `coracle compose ls`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show projects of which nothing runs, too.
    #[arg(short, long)]
    all: bool,
    /// Only projects whose name holds this: `name=shop`.
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,
    /// `table` or `json`.
    #[arg(long, default_value = "table", value_parser = ["table", "json"])]
    format: String,
    /// Print only names.
    #[arg(short, long)]
    quiet: bool,
}

/// Runs the command.
pub fn run(session: &Session<'_>, args: Args) -> Result<Done> {
    let mut names = Vec::new();
    for filter in &args.filter {
        match filter.split_once('=') {
            Some(("name", text)) => names.push(text),
            _ => return Err(usage(format!("`{filter}` is no filter; write it as name=TEXT"))),
        }
    }
    let mut projects = session.quiet_engine()?.projects().list()?;
    let runs = |project: &ProjectSummary| project.states.keys().any(|state| state == "running");
    projects.retain(|project| {
        (args.all || runs(project))
            && (names.is_empty() || names.iter().any(|text| project.name.contains(text)))
    });
    let printer = session.context.printer;
    if args.quiet {
        projects.iter().for_each(|project| printer.data(&project.name));
    } else if args.format == "json" {
        let rows: Vec<_> = projects
            .iter()
            .map(|it| json!({"Name": it.name, "Status": status(it, args.all), "ConfigFiles": it.files}))
            .collect();
        printer.data(serde_json::Value::Array(rows).to_string());
    } else {
        let mut table = Table::new(&["NAME", "STATUS", "CONFIG FILES"]);
        for project in &projects {
            table.row(vec![project.name.clone(), status(project, args.all), project.files.clone()]);
        }
        printer.raw_data(table.at_least(20).render().as_bytes());
    }
    Ok(Done::Ok)
}

/// Returns `exited(1), running(2)`; without `all` only what runs is counted.
fn status(project: &ProjectSummary, all: bool) -> String {
    let states = project.states.iter().filter(|(state, _)| all || state.as_str() == "running");
    states.map(|(state, count)| format!("{state}({count})")).collect::<Vec<_>>().join(", ")
}
