//! `coracle env diff`: what two environments have different.

use coracle_engine::{
    Difference, Failure, ResolvedEnvironment, Result, Selection, Side, difference, resolve_environment,
};
use serde_json::{Value, json};

use super::Done;
use crate::commands::origins::{Origins, name_of};
use crate::context::Context;
use crate::printer::{Printer, STRONG, paint};

/// Columns that values may push the places to.
const VALUE_WIDTH: usize = 44;

/// Options of `coracle env diff`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The first environment.
    #[arg(value_name = "ENV1")]
    left: String,
    /// The second.
    #[arg(value_name = "ENV2")]
    right: String,
    /// Exit with 1 when there are differences.
    #[arg(long)]
    exit_code: bool,
    /// Show passwords and other secrets.
    #[arg(long)]
    reveal: bool,
    /// `text` or `json`.
    #[arg(long, default_value = "text", value_parser = ["text", "json"])]
    format: String,
    /// Profile to enable.
    #[arg(long, value_name = "NAME", help_heading = "Project")]
    profile: Vec<String>,
    /// Directory of the project.
    #[arg(long, value_name = "DIR", help_heading = "Project")]
    project_directory: Option<std::path::PathBuf>,
}

/// Runs the command.
pub fn run(context: &Context, args: &Args) -> Result<Done> {
    let variables = context.variables();
    let resolve = |name: &String| {
        let selection = Selection {
            directory: args.project_directory.clone(),
            environment: Some(name.clone()),
            profiles: args.profile.clone(),
            ..Selection::default()
        };
        resolve_environment(&selection, &variables)
    };
    let (left, right) = (resolve(&args.left)?, resolve(&args.right)?);
    let found = difference(&left.loaded, &right.loaded);
    let origins = Origins::new(args.reveal);
    if args.format == "json" {
        let all: Vec<Value> = found.iter().map(|difference| as_json(difference, &origins)).collect();
        let document = json!({"left": args.left, "right": args.right, "differences": all});
        let text = serde_json::to_string_pretty(&document);
        context.printer.data(text.map_err(|error| Failure::ours("writing JSON", &error))?);
    } else {
        Text { printer: context.printer, names: [&args.left, &args.right], origins: &origins }
            .print([&left, &right], &found);
    }
    let differs = args.exit_code && !found.is_empty();
    Ok(if differs { Done::Findings } else { Done::Ok })
}

fn as_json(difference: &Difference<'_>, origins: &Origins) -> Value {
    let name = name_of(&difference.path);
    let side = |side: Option<&Side<'_>>| {
        side.map(|side| {
            let shown = if difference.is_whole_object() { "" } else { &side.shown };
            let mut value = origins.json(name, shown, &side.value.provenance());
            if difference.is_whole_object() {
                value["value"] = Value::Bool(true);
                value["at"] = origins.json_place(&side.value.key_span());
            }
            value
        })
    };
    json!({
        "path": difference.path.to_string(), "service": difference.service(),
        "left": side(difference.left.as_ref()), "right": side(difference.right.as_ref()),
    })
}

struct Text<'t> {
    printer: Printer,
    names: [&'t str; 2],
    origins: &'t Origins,
}

impl Text<'_> {
    fn print(&self, environments: [&ResolvedEnvironment; 2], found: &[Difference<'_>]) {
        let width = self.names.map(|name| name.chars().count()).into_iter().max().unwrap_or_default();
        for (name, environment) in self.names.iter().zip(environments) {
            let request = &environment.request;
            let files = request.load.files.iter().chain(&request.env_files);
            let files: Vec<String> = files.map(|file| self.origins.file(file)).collect();
            self.printer.data(format!("{name:width$}   {}", files.join(", ")));
        }
        if found.is_empty() {
            self.printer.data("\nNothing is different.");
        }
        // What is of a service stands under its name, all else under the section's.
        let group = |difference: &Difference<'_>| -> String {
            let names = difference.path.names();
            match names.as_slice() {
                ["services", name, ..] => format!("service {name}"),
                [section, _, ..] => (*section).to_owned(),
                _ => "project".to_owned(),
            }
        };
        for differences in found.chunk_by(|a, b| group(a) == group(b)) {
            self.printer.data(String::new());
            self.printer.data(paint(STRONG, group(&differences[0])));
            for difference in differences {
                self.one(difference, width);
            }
        }
    }

    fn one(&self, difference: &Difference<'_>, width: usize) {
        let below = match difference.path.names().as_slice() {
            ["services", _] | [_] => 0,
            ["services", ..] => 2,
            _ => 1,
        };
        let sides = [difference.left.as_ref(), difference.right.as_ref()];
        if difference.is_whole_object() {
            let present = self.names.iter().zip(sides).find_map(|(name, side)| Some((name, side?)));
            let Some((name, side)) = present else { return };
            let service = difference.service().is_some();
            let path = if service { String::new() } else { format!("{}: ", difference.path.skip(below)) };
            let place = self.origins.line(&side.value.key_span());
            return self.printer.data(format!("  {path}only in {name}   {place}"));
        }
        let path = difference.path.skip(below);
        self.printer.data(format!("  {path}"));
        let name = name_of(&difference.path);
        let text = |side: Option<&Side<'_>>| match side {
            None => "-".to_owned(),
            Some(side) => self.origins.leaf(name, &side.shown, side.value),
        };
        let texts = sides.map(text);
        let hidden = texts[0] == texts[1];
        let widest = texts.iter().map(|text| text.chars().count()).max().unwrap_or_default().min(VALUE_WIDTH);
        for ((environment, side), text) in self.names.iter().zip(sides).zip(&texts) {
            let place = side.map(|side| self.origins.summary(&side.value.provenance())).unwrap_or_default();
            let note = if hidden { " (differs)" } else { "" };
            let line = format!("    {environment:width$}   {text:widest$}{note}   {place}");
            self.printer.data(line.trim_end());
        }
    }
}
