//! `coracle top`: the processes of containers.

use coracle_engine::{ContainerView, Engine, ProcessTable, Result};
use serde_json::json;

use super::Done;
use super::target::{self, ProjectArgs, Target};
use crate::context::Context;
use crate::table::Table;

const EXAMPLES: &str = "\
Examples:
  coracle top web
  coracle top web -o pid,rss,comm      columns of the host's ps
  coracle top dev backend              a service of an environment
";

/// Options of `coracle top`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    pub project: ProjectArgs,
    /// `table` or `json`.
    #[arg(long, default_value = "table", value_parser = ["table", "json"])]
    pub format: String,
    /// CONTAINER [OPTIONS of ps], or an environment of the project here and services.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "WORDS")]
    pub words: Vec<String>,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let engine = context.quiet_engine()?;
    match target::decide(&engine, &args.project, args.words)? {
        Target::Containers(words) => {
            let (name, options) = words.split_first().expect("clap asks for one word at least");
            let view = engine.containers().find(name)?;
            let table = engine.containers().processes(&view.record.id, options)?;
            if args.format == "json" {
                context.printer.data(as_json(&view, &table).to_string());
            } else {
                context.printer.raw_data(rendered(&table).as_bytes());
            }
        }
        Target::Environment(selection, services) => {
            let project = engine.projects().load(&selection)?;
            let views = engine.projects().containers(&project, &services)?;
            print(context, &engine, &views, args.format == "json")?;
        }
    }
    Ok(Done::Ok)
}

/// Prints the processes of several containers, each under its name.
pub fn print(context: &Context, engine: &Engine, views: &[ContainerView], json: bool) -> Result<()> {
    for view in views.iter().filter(|view| view.state.has_shim()) {
        let table = engine.containers().processes(&view.record.id, &[])?;
        if json {
            context.printer.data(as_json(view, &table).to_string());
        } else {
            context.printer.data(&view.record.spec.name);
            context.printer.data(rendered(&table));
        }
    }
    Ok(())
}

fn rendered(processes: &ProcessTable) -> String {
    let titles: Vec<&str> = processes.titles.iter().map(String::as_str).collect();
    let mut table = Table::new(&titles);
    processes.rows.iter().for_each(|row| table.row(row.clone()));
    table.render()
}

fn as_json(view: &ContainerView, table: &ProcessTable) -> serde_json::Value {
    json!({ "Container": view.record.spec.name, "Titles": table.titles, "Processes": table.rows })
}
