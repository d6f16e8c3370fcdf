//! `coracle volume`: named volumes.

use coracle_engine::{Failure, Result};
use serde_json::json;

use super::{Done, each};
use crate::context::Context;
use crate::table::Table;

/// Commands on volumes.
#[derive(Debug, clap::Subcommand)]
pub enum Volume {
    /// Make a volume.
    Create {
        /// Set a label.
        #[arg(short, long, value_name = "NAME[=VALUE]")]
        label: Vec<String>,
        /// Its name; one is made up when it is left out.
        name: Option<String>,
    },
    /// List volumes.
    #[command(visible_alias = "list")]
    Ls {
        /// Print only names.
        #[arg(short, long)]
        quiet: bool,
        /// `table` or `json`.
        #[arg(long, default_value = "table", value_parser = ["table", "json"])]
        format: String,
    },
    /// Show everything known about volumes, as JSON.
    Inspect {
        /// Volumes.
        #[arg(required = true, value_name = "VOLUME")]
        names: Vec<String>,
    },
    /// Remove volumes: their data is lost.
    #[command(visible_alias = "remove")]
    Rm {
        /// Do not mind those that do not exist.
        #[arg(short, long)]
        force: bool,
        /// Volumes.
        #[arg(required = true, value_name = "VOLUME")]
        names: Vec<String>,
    },
}

/// Runs the command.
pub fn run(context: &Context, command: Volume) -> Result<Done> {
    let engine = context.quiet_engine()?;
    let volumes = engine.volumes();
    match command {
        Volume::Create { label, name } => {
            let labels = label.iter().map(|text| {
                let (name, value) = text.split_once('=').unwrap_or((text, ""));
                (name.to_owned(), value.to_owned())
            });
            let record = volumes.create(name, labels.collect())?;
            context.printer.data(record.name);
        }
        Volume::Ls { quiet, format } => {
            let records = volumes.list()?;
            if quiet {
                records.iter().for_each(|record| context.printer.data(&record.name));
            } else if format == "json" {
                for record in &records {
                    let line = json!({"Name": record.name, "Driver": "local", "Labels": record.labels});
                    context.printer.data(line.to_string());
                }
            } else {
                let mut table = Table::new(&["DRIVER", "VOLUME NAME"]);
                records.iter().for_each(|record| table.row(vec!["local".to_owned(), record.name.clone()]));
                context.printer.raw_data(table.render().as_bytes());
            }
        }
        Volume::Inspect { names } => {
            let values: Result<Vec<_>> = names.iter().map(|name| volumes.inspect(name)).collect();
            let text = serde_json::to_string_pretty(&values?);
            context.printer.data(text.map_err(|error| Failure::ours("writing JSON", &error))?);
        }
        Volume::Rm { force, names } => {
            return Ok(each(context, &names, |name| match volumes.remove(name) {
                Err(failure) if force && failure.first().code == "no-such-volume" => Ok(()),
                result => result,
            }));
        }
    }
    Ok(Done::Ok)
}
