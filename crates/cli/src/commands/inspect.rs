//! `coracle inspect`: everything known about a thing, as JSON.

use coracle_engine::{Engine, Failure, Result};
use coracle_report::Diagnostic;
use serde_json::Value;

use super::Done;
use crate::context::Context;

/// Options of `coracle inspect`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Look only among `container`, `image`, `volume` or `network`.
    #[arg(long = "type", value_name = "KIND", value_parser = ["container", "image", "volume", "network"])]
    pub kind: Option<String>,
    /// Containers, images, volumes or networks.
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let engine = context.quiet_engine()?;
    let mut found = Vec::new();
    for name in &args.names {
        found.push(look(&engine, args.kind.as_deref(), name)?);
    }
    let text = serde_json::to_string_pretty(&found).map_err(|error| Failure::ours("writing JSON", &error))?;
    context.printer.data(text);
    Ok(Done::Ok)
}

fn look(engine: &Engine, kind: Option<&str>, name: &str) -> Result<Value> {
    type Look<'a> = &'a dyn Fn() -> Result<Value>;
    let kinds: [(&str, Look<'_>); 4] = [
        ("container", &|| engine.containers().inspect(name)),
        ("image", &|| engine.images().inspect(name)),
        ("volume", &|| engine.volumes().inspect(name)),
        ("network", &|| engine.networks().inspect(name)),
    ];
    let mut wanted = kinds.iter().filter(|(word, _)| kind.is_none_or(|kind| kind == *word));
    let found = wanted.find_map(|(_, look)| match look() {
        Ok(value) => Some(Ok(value)),
        Err(failure)
            if failure.first().code.starts_with("no-such-") || failure.first().code == "image-name" =>
        {
            None
        }
        Err(failure) => Some(Err(failure)),
    });
    found.unwrap_or_else(|| {
        let message = format!("no such {}: {name}", kind.unwrap_or("container, image, volume or network"));
        Err(Failure::user(Diagnostic::error("no-such-thing", message)))
    })
}
