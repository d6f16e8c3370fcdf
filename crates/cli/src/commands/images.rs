//! `coracle images`: the images in the store.

use coracle_engine::{ImageView, Result};
use jiff::Timestamp;
use serde_json::json;

use super::Done;
use crate::context::Context;
use crate::table::{Table, ago, size};

/// Options of `coracle images`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only images of this repository.
    pub repository: Option<String>,
    /// Print only ids.
    #[arg(short, long)]
    pub quiet: bool,
    /// Show images without a name, too.
    #[arg(short, long)]
    pub all: bool,
    /// Do not shorten ids.
    #[arg(long)]
    pub no_trunc: bool,
    /// `table` or `json`.
    #[arg(long, default_value = "table", value_parser = ["table", "json"])]
    pub format: String,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let engine = context.quiet_engine()?;
    let mut views = engine.images().list()?;
    views.retain(|view| args.all || view.reference.is_some());
    if let Some(wanted) = &args.repository {
        views.retain(|view| {
            let (repository, tag) = name(view);
            repository == *wanted || format!("{repository}:{tag}") == *wanted
        });
    }
    let id = |view: &ImageView| {
        if args.no_trunc { view.id.to_string() } else { view.id.digest().short() }
    };
    if args.quiet {
        views.iter().for_each(|view| context.printer.data(id(view)));
    } else if args.format == "json" {
        for view in &views {
            let (repository, tag) = name(view);
            let line = json!({
                "Repository": repository, "Tag": tag, "ID": id(view), "Size": size(view.size),
                "Bytes": view.size, "CreatedAt": view.created, "StandIn": view.stand_in,
            });
            context.printer.data(line.to_string());
        }
    } else {
        let mut table = Table::new(&["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", ""]);
        for view in &views {
            let (repository, tag) = name(view);
            let created = view.created.as_deref().map_or_else(|| "N/A".to_owned(), age);
            let note = if view.stand_in { "stand-in" } else { "" };
            table.row(vec![repository, tag, id(view), created, size(view.size), note.to_owned()]);
        }
        context.printer.raw_data(table.render().as_bytes());
    }
    Ok(Done::Ok)
}

/// Returns how long ago a time is that an image says, as Docker prints it.
pub fn age(time: &str) -> String {
    match time.parse::<Timestamp>() {
        Ok(time) => format!("{} ago", ago(Timestamp::now().duration_since(time).as_secs())),
        Err(_) => "N/A".to_owned(),
    }
}

/// Returns repository and tag as Docker prints them.
fn name(view: &ImageView) -> (String, String) {
    let none = || "<none>".to_owned();
    let Some(reference) = &view.reference else { return (none(), none()) };
    let familiar = reference.familiar();
    let name = familiar.split('@').next().unwrap_or_default();
    match reference.tag() {
        Some(tag) => (name.strip_suffix(&format!(":{tag}")).unwrap_or(name).to_owned(), tag.to_owned()),
        None => (name.to_owned(), none()),
    }
}
