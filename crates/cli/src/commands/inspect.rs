//! `coracle inspect`: everything known about a thing, as JSON.

use coracle_engine::{Engine, Failure, Fault, Result};
use coracle_report::Diagnostic;
use serde_json::Value;

use super::Done;
use super::flag_error::bad_flag;
use crate::context::Context;
use crate::diagnostics;
use crate::template::Template;

/// Options of `coracle inspect`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Look only among `container`, `image`, `volume` or `network`.
    #[arg(long = "type", value_name = "KIND", value_parser = ["container", "image", "volume", "network"])]
    pub kind: Option<String>,
    #[command(flatten)]
    pub of_kind: OfKind,
}

/// Options of `inspect` in a group, which knows the kind.
#[derive(Debug, clap::Args)]
pub struct OfKind {
    /// `json` or a template such as '{{.State.Status}}'.
    #[arg(short, long)]
    pub format: Option<String>,
    /// Say how much containers take on the disk.
    #[arg(short, long)]
    pub size: bool,
    /// What to look at, by name or the beginning of an id.
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
}

impl OfKind {
    /// Returns the whole command's options for things of one kind.
    pub fn of(self, kind: &str) -> Args {
        Args { kind: Some(kind.to_owned()), of_kind: self }
    }
}

/// Runs the command. Of several names, those that are there are shown, and the others told, as Docker does.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let Args { kind, of_kind: args } = args;
    let template = match args.format.as_deref() {
        // Docker: one line for each.
        Some("json") => Some(Template::Json),
        Some(text) => Template::parse(text).map_err(|why| bad_flag("--format", &why))?,
        None => None,
    };
    let engine = context.quiet_engine()?;
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for name in &args.names {
        match look(&engine, kind.as_deref(), name) {
            Ok(mut value) => {
                if args.size && value.get("HostConfig").is_some() {
                    let id = engine.containers().find(name)?.record.id;
                    let sizes = engine.containers().sizes(&id)?;
                    value["SizeRw"] = sizes.own.into();
                    value["SizeRootFs"] = sizes.own.saturating_add(sizes.image).into();
                }
                found.push(value);
            }
            Err(failure) if failure.fault == Fault::User && args.names.len() > 1 => failures.push(failure),
            Err(failure) => return Err(failure),
        }
    }
    if let Some(template) = template {
        let text = template.render(&found).map_err(|why| bad_flag("--format", &why))?;
        context.printer.raw_data(text.as_bytes());
    } else {
        let text = serde_json::to_string_pretty(&found);
        context.printer.data(text.map_err(|error| Failure::ours("writing JSON", &error))?);
    }
    for failure in &failures {
        failure.diagnostics.iter().for_each(|diagnostic| diagnostics::print(context.printer, diagnostic));
    }
    Ok(if failures.is_empty() { Done::Ok } else { Done::Findings })
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
