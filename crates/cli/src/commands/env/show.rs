//! `coracle env show`: what an environment comes to.

use std::collections::BTreeMap;

use coracle_engine::{
    EnvFileRole, Failure, Leaf, Reference, ResolvedEnvironment, Result, ValuePath, VariableOrigin, leaves,
    resolve_environment,
};
use serde_json::{Map, Value, json};

use super::Done;
use crate::commands::origins::{Origins, name_of};
use crate::commands::target::ProjectArgs;
use crate::context::Context;
use crate::diagnostics;
use crate::printer::{Printer, STRONG, paint};
use crate::table::Table;

/// Attributes of a service that are shown.
const ATTRIBUTES: &[&str] =
    &["image", "build", "command", "ports", "volumes", "env_file", "environment", "secrets", "profiles"];

/// Options of `coracle env show`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Environment.
    environment: Option<String>,
    /// Show passwords and other secrets.
    #[arg(long)]
    reveal: bool,
    /// `text` or `json`.
    #[arg(long, default_value = "text", value_parser = ["text", "json"])]
    format: String,
    #[command(flatten)]
    project: ProjectArgs,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let selection = args.project.selection(args.environment);
    let environment = resolve_environment(&selection, &context.variables())?;
    for warning in &environment.loaded.warnings {
        diagnostics::print(context.printer, warning);
    }
    let view = Show { environment: &environment, origins: Origins::new(args.reveal) };
    if args.format == "json" {
        let text = serde_json::to_string_pretty(&view.json());
        context.printer.data(text.map_err(|error| Failure::ours("writing JSON", &error))?);
    } else {
        view.print(context.printer);
    }
    Ok(Done::Ok)
}

/// A variable that the files speak of.
struct Variable<'v> {
    name: &'v str,
    value: Option<&'v str>,
    /// Where it is from, or what stands for it.
    origin: Option<VariableOrigin>,
    /// The first place that refers to it.
    reference: Option<&'v Reference>,
}

struct Show<'s> {
    environment: &'s ResolvedEnvironment,
    origins: Origins,
}

impl Show<'_> {
    fn references(&self) -> Vec<Reference> {
        self.environment.loaded.layers().flat_map(coracle_engine::Layer::references).collect()
    }

    /// Returns the variables that compose files refer to or env files define, by name.
    fn variables<'v>(&'v self, references: &'v [Reference]) -> Vec<Variable<'v>> {
        let written = self.environment.loaded.written();
        let mut names: BTreeMap<&str, Option<&Reference>> = BTreeMap::new();
        for reference in references {
            names.entry(&reference.name).or_insert(Some(reference));
        }
        let files = written.env_files().iter().filter(|file| file.role == EnvFileRole::Interpolation);
        for variable in files.flat_map(|file| &file.variables) {
            names.entry(&variable.name).or_insert(None);
        }
        let values = &self.environment.request.load.environment;
        let variable = |(name, reference): (&'v str, Option<&'v Reference>)| {
            let value = values.get(name).map(String::as_str);
            let origin = value.map(|_| written.origin_of(name));
            Variable { name, value, origin, reference }
        };
        names.into_iter().map(variable).collect()
    }

    fn services(&self) -> Vec<(&str, Vec<Leaf<'_>>)> {
        let project = &self.environment.loaded.project;
        let root = self.environment.loaded.root();
        let services = root.get(&["services"]).into_iter().flat_map(coracle_engine::View::entries);
        let active = services.filter(|(name, _)| project.services.contains_key(*name));
        active
            .map(|(name, service)| {
                let mut all = Vec::new();
                for attribute in ATTRIBUTES {
                    let Some(value) = service.get(&[attribute]) else { continue };
                    let path = ["services", name, attribute];
                    let path = path.iter().fold(ValuePath::default(), |path, step| {
                        path.with(coracle_engine::Step::Key((*step).to_owned()))
                    });
                    all.extend(leaves(&path, value));
                }
                (name, all)
            })
            .collect()
    }

    fn print(&self, printer: Printer) {
        let ResolvedEnvironment { loaded, request } = self.environment;
        let origins = &self.origins;
        let mut head = Table::new(&[]);
        let mut row = |label: &str, text: String| head.row(vec![label.to_owned(), text]);
        if let Some(name) = &request.environment {
            let mark = if request.production { " (production)" } else { "" };
            row("environment", format!("{name}{mark}"));
        }
        let root = loaded.root();
        let from = root.get(&["name"]).map(|name| {
            let implied = name.is_implied();
            if implied { "the directory's name".to_owned() } else { origins.summary(&name.provenance()) }
        });
        row(
            "project",
            format!("{}   {}", loaded.project.name, from.unwrap_or_default()).trim_end().to_owned(),
        );
        row("directory", loaded.project.directory.display().to_string());
        for (index, file) in request.load.files.iter().enumerate() {
            row(if index == 0 { "files" } else { "" }, origins.file(file));
        }
        for (index, file) in request.env_files.iter().enumerate() {
            row(if index == 0 { "variables" } else { "" }, origins.file(file));
        }
        if let Some(settings) = &request.settings {
            row("settings", origins.file(settings));
        }
        if !request.load.profiles.is_empty() {
            row("profiles", request.load.profiles.join(", "));
        }
        printer.raw_data(head.render().trim_start().as_bytes());
        let references = self.references();
        let variables = self.variables(&references);
        if !variables.is_empty() {
            let mut table = Table::new(&["VARIABLE", "VALUE", "FROM"]);
            for variable in &variables {
                table.row(self.variable(variable).to_vec());
            }
            printer.raw_data(format!("\n{}", table.render()).as_bytes());
        }
        for (name, leaves) in self.services() {
            printer.data(format!("\n{}", paint(STRONG, format_args!("service {name}"))));
            let mut table = Table::new(&[]);
            for leaf in leaves {
                let path = leaf.path.skip(2).to_string();
                let last = name_of(&leaf.path);
                let provenance = leaf.value.provenance();
                let value = origins.value(last, &leaf.shown, &provenance);
                table.row(vec![format!("  {path}"), value, origins.summary(&provenance)]);
            }
            printer.raw_data(table.render().trim_start_matches('\n').as_bytes());
        }
        let inactive: Vec<&str> = loaded.project.inactive_services.keys().map(String::as_str).collect();
        if !inactive.is_empty() {
            printer.data(format!("\nnot active without their profiles: {}", inactive.join(", ")));
        }
    }

    fn variable(&self, variable: &Variable<'_>) -> [String; 3] {
        let origins = &self.origins;
        let name = variable.name;
        let unused = variable.reference.is_none() && !name.starts_with("COMPOSE_");
        let unused = if unused { " (no compose file uses it)" } else { "" };
        let (value, from) = match (variable.value, &variable.origin, variable.reference) {
            (Some(value), Some(origin), _) => {
                let value = origins.masks.text(name, value);
                (if value.is_empty() { "\"\"".to_owned() } else { value }, origins.origin(origin))
            }
            (_, _, Some(reference)) if reference.operator.is_default() => {
                let word = origins.masks.written(name, &reference.word);
                (word, format!("default at {}", origins.line(&reference.span)))
            }
            (_, _, Some(reference)) => {
                (String::new(), format!("not set; used at {}", origins.line(&reference.span)))
            }
            (_, _, None) => (String::new(), "not set".to_owned()),
        };
        [name.to_owned(), value.replace('\n', "\\n"), format!("{from}{unused}")]
    }

    fn json(&self) -> Value {
        let ResolvedEnvironment { loaded, request } = self.environment;
        let origins = &self.origins;
        let files = |files: &[std::path::PathBuf]| -> Vec<String> {
            files.iter().map(|file| origins.file(file)).collect()
        };
        let references = self.references();
        let variables: Map<String, Value> = self
            .variables(&references)
            .into_iter()
            .map(|variable| {
                let name = variable.name;
                let used = references.iter().filter(|reference| reference.name == name);
                let value = json!({
                    "value": variable.value.map(|value| origins.masks.text(name, value)),
                    "origin": variable.origin.as_ref().map(|origin| origins.json_origin(origin)),
                    "default": variable.reference.filter(|reference| reference.operator.is_default())
                        .map(|reference| origins.masks.written(name, &reference.word)),
                    "used": used.map(|reference| origins.json_place(&reference.span)).collect::<Vec<_>>(),
                });
                (name.to_owned(), value)
            })
            .collect();
        let services: Map<String, Value> = self
            .services()
            .into_iter()
            .map(|(name, leaves)| {
                let values: Map<String, Value> = leaves
                    .into_iter()
                    .map(|leaf| {
                        let last = name_of(&leaf.path);
                        let value = origins.json(last, &leaf.shown, &leaf.value.provenance());
                        (leaf.path.skip(2).to_string(), value)
                    })
                    .collect();
                (name.to_owned(), Value::Object(values))
            })
            .collect();
        json!({
            "environment": request.environment, "production": request.production, "project": loaded.project.name,
            "directory": loaded.project.directory, "files": files(&request.load.files),
            "env_files": files(&request.env_files), "profiles": request.load.profiles, "variables": variables,
            "services": services,
        })
    }
}
