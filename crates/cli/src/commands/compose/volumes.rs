//! `coracle compose volumes`: the volumes of a project.

use coracle_engine::{Result, VolumeRecord};
use serde_json::{Value, json};

use super::options::{self, Session, usage};
use crate::commands::Done;
use crate::table::Table;
use crate::template::Template;

/// Options of `coracle compose volumes`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Services; all when none is named.
    #[arg(add = options::services())]
    services: Vec<String>,
    /// `table`, `table TEMPLATE`, `json`, or a template such as '{{.Name}}'.
    #[arg(long, default_value = "table")]
    format: String,
    /// Print only names.
    #[arg(short, long)]
    quiet: bool,
}

/// Runs the command.
pub fn run(session: &Session<'_>, args: Args) -> Result<Done> {
    let template = Template::parse(&args.format).map_err(usage)?;
    let engine = session.quiet_engine()?;
    let project = session.open(&engine, &args.services)?;
    let volumes = engine.projects().volumes(&project, &args.services)?;
    let printer = session.context.printer;
    if args.quiet {
        volumes.iter().for_each(|volume| printer.data(&volume.name));
    } else if let Some(template) = template {
        let row = |volume: &VolumeRecord| {
            let labels: Vec<String> =
                volume.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            json!({
                "Availability": "N/A", "Driver": "local", "Group": "N/A", "Labels": labels.join(","), "Links": "N/A",
                "Mountpoint": engine.volumes().data(&volume.name), "Name": volume.name, "Scope": "local", "Size": "N/A",
                "Status": "N/A",
            })
        };
        let rows: Vec<Value> = volumes.iter().map(row).collect();
        printer.raw_data(template.render(&rows).map_err(usage)?.as_bytes());
    } else {
        let mut table = Table::new(&["DRIVER", "VOLUME NAME"]);
        volumes.iter().for_each(|volume| table.row(vec!["local".to_owned(), volume.name.clone()]));
        printer.raw_data(table.render().as_bytes());
    }
    Ok(Done::Ok)
}
