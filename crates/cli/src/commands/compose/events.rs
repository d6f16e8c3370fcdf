//! `coracle compose events`: what happens to the containers of services, as it happens.

use coracle_engine::{JournalEntry, Result};
use serde_json::json;

use super::options::{self, Session};
use crate::commands::{Done, events};

/// Options of `coracle compose events`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Services; all when none is named.
    #[arg(add = options::services())]
    services: Vec<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Begin with what happened since then: a time, or how long ago, e.g. 10m.
    #[arg(long)]
    since: Option<String>,
    /// End with what happened until then.
    #[arg(long)]
    until: Option<String>,
}

/// Runs the command.
pub fn run(session: &Session<'_>, args: Args) -> Result<Done> {
    let engine = session.quiet_engine()?;
    let project = session.open(&engine, &args.services)?;
    let name = project.name().to_owned();
    let wanted = |entry: &JournalEntry| {
        let attribute = |key: &str| entry.attributes.get(key).map(String::as_str);
        let service = attribute("com.docker.compose.service");
        entry.kind == "container"
            && attribute("com.docker.compose.project") == Some(&name)
            && (args.services.is_empty() || args.services.iter().any(|own| service == Some(own)))
    };
    let bounds = (args.since.as_deref(), args.until.as_deref());
    events::follow(session.context, &engine, bounds, &|entry| {
        wanted(entry).then(|| if args.json { as_json(entry) } else { events::as_text(entry) })
    })
}

/// Returns an event in the shape of Docker Compose's JSON.
fn as_json(entry: &JournalEntry) -> String {
    let internal = |name: &str| name.starts_with("com.docker.compose.");
    let attributes: serde_json::Map<String, serde_json::Value> = entry
        .attributes
        .iter()
        .filter(|(name, _)| !internal(name))
        .map(|(name, value)| (name.clone(), value.clone().into()))
        .collect();
    json!({
        "time": entry.time.to_string(), "type": entry.kind, "action": entry.action, "id": entry.id,
        "service": entry.attributes.get("com.docker.compose.service"), "attributes": attributes,
    })
    .to_string()
}
