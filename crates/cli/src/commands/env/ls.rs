//! `coracle env ls`: the environments of the project.

use coracle_engine::{EnvironmentView, Result, Selection, list_environments};
use serde_json::json;

use super::Done;
use crate::commands::origins::Origins;
use crate::context::Context;
use crate::diagnostics;
use crate::table::Table;

/// Options of `coracle env ls`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print only names.
    #[arg(short, long)]
    quiet: bool,
    /// `table` or `json`.
    #[arg(long, default_value = "table", value_parser = ["table", "json"])]
    format: String,
    /// Directory of the project.
    #[arg(long, value_name = "DIR", help_heading = "Project")]
    project_directory: Option<std::path::PathBuf>,
}

/// Runs the command.
pub fn run(context: &Context, args: &Args) -> Result<Done> {
    let selection = Selection { directory: args.project_directory.clone(), ..Selection::default() };
    let engine = context.engine_if_there();
    let views = list_environments(&selection, &context.variables(), engine.as_ref())?;
    let origins = Origins::new(false);
    if args.quiet {
        views.iter().filter_map(|view| view.name.as_ref()).for_each(|name| context.printer.data(name));
        return Ok(Done::Ok);
    }
    let files = |files: &[std::path::PathBuf]| -> Vec<String> {
        files.iter().map(|file| origins.file(file)).collect()
    };
    if args.format == "json" {
        for view in &views {
            let (project, services) = match &view.project {
                Ok((name, services)) => (Some(name), Some(services)),
                Err(_) => (None, None),
            };
            let line = json!({
                "Environment": view.name, "Project": project, "Files": files(&view.files),
                "EnvFiles": files(&view.env_files), "Production": view.production, "Services": services,
                "Running": view.running,
            });
            context.printer.data(line.to_string());
        }
    } else {
        let mut table = Table::new(&["ENVIRONMENT", "PROJECT", "FILES", "VARIABLES", "SERVICES", "RUNNING"]);
        for view in &views {
            let (project, services) = match &view.project {
                Ok((name, services)) => (name.clone(), services.to_string()),
                Err(_) => ("(faulty)".to_owned(), String::new()),
            };
            let running = if view.running == 0 { "-".to_owned() } else { view.running.to_string() };
            let env_files = files(&view.env_files);
            let env_files = if env_files.is_empty() { "-".to_owned() } else { env_files.join(", ") };
            table.row(vec![name(view), project, files(&view.files).join(", "), env_files, services, running]);
        }
        context.printer.raw_data(table.render().as_bytes());
    }
    let mut done = Done::Ok;
    for diagnostic in views.iter().filter_map(|view| view.project.as_ref().err()).flatten() {
        diagnostics::print(context.printer, diagnostic);
        done = Done::Findings;
    }
    Ok(done)
}

fn name(view: &EnvironmentView) -> String {
    let mark = if view.production { " (production)" } else { "" };
    format!("{}{mark}", view.name.as_deref().unwrap_or("-"))
}
