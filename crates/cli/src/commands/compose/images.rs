//! `coracle compose images`: the images that containers run.

use coracle_engine::{ContainerView, Result};
use serde_json::{Value, json};

use super::options::{self, Session, usage};
use crate::commands::Done;
use crate::commands::images::age;
use crate::table::{Table, size};

/// Options of `coracle compose images`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Services; all when none is named.
    #[arg(add = options::services())]
    services: Vec<String>,
    /// `table` or `json`.
    #[arg(long, default_value = "table", value_parser = ["table", "json"])]
    format: String,
    /// Print only ids.
    #[arg(short, long)]
    quiet: bool,
}

/// Runs the command.
pub fn run(session: &Session<'_>, args: Args) -> Result<Done> {
    let engine = session.quiet_engine()?;
    let project = session.open(&engine, &args.services)?;
    let views = engine.projects().service_containers(&project, &args.services)?;
    let stored = engine.images().list()?;
    let printer = session.context.printer;
    let of = |view: &ContainerView| stored.iter().find(|image| image.id == view.record.spec.image_id);
    if args.quiet {
        let mut ids: Vec<String> =
            views.iter().map(|view| view.record.spec.image_id.digest().hex().clone()).collect();
        ids.sort();
        ids.dedup();
        ids.into_iter().for_each(|id| printer.data(id));
        return Ok(Done::Ok);
    }
    let name = |view: &ContainerView| {
        let image = &view.record.spec.image;
        // A colon before the last slash is a registry's port.
        match image.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
            Some((repository, tag)) => (repository.to_owned(), tag.to_owned()),
            None => (image.clone(), "latest".to_owned()),
        }
    };
    let platform = coracle_oci::Platform::host().to_string();
    if args.format == "json" {
        let rows: Vec<Value> = views
            .iter()
            .map(|view| {
                let (repository, tag) = name(view);
                let image = of(view);
                json!({
                    "ID": view.record.spec.image_id, "ContainerName": view.record.spec.name,
                    "Repository": repository, "Tag": tag, "Platform": platform,
                    "Size": image.map_or(0, |image| image.size),
                    "Created": image.and_then(|image| image.created.clone()),
                })
            })
            .collect();
        let text = serde_json::to_string(&rows).map_err(|error| usage(error.to_string()))?;
        printer.data(text);
        return Ok(Done::Ok);
    }
    let headings = ["CONTAINER", "REPOSITORY", "TAG", "PLATFORM", "IMAGE ID", "SIZE", "CREATED"];
    let mut table = Table::new(&headings);
    for view in &views {
        let (repository, tag) = name(view);
        let image = of(view);
        table.row(vec![
            view.record.spec.name.clone(),
            repository,
            tag,
            platform.clone(),
            view.record.spec.image_id.digest().hex().chars().take(12).collect(),
            image.map_or_else(|| "N/A".to_owned(), |image| size(image.size)),
            image.and_then(|image| image.created.as_deref()).map_or_else(|| "N/A".to_owned(), age),
        ]);
    }
    printer.raw_data(table.at_least(20).render().as_bytes());
    Ok(Done::Ok)
}
