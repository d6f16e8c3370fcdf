//! `coracle compose config`: the project as Docker Compose prints it.

use std::path::PathBuf;

use clap::ValueEnum;
use coracle_engine::{ComposeConfig, ComposeConfigOptions, ComposeFormat, Failure, Result, service_hash};
use coracle_report::Diagnostic;

use super::Done;
use super::options::{self, Session, Short, usage};
use crate::diagnostics;

/// Options of `coracle compose config`, and those that may stand behind it in short too.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub short: Short,
    #[command(flatten)]
    pub options: Options,
}

/// Options of `coracle compose config`.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of the command line")]
pub struct Options {
    /// Services, with what they depend on; all when none is named.
    #[arg(add = options::services())]
    services: Vec<String>,
    /// Format of the output.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Only check; print nothing.
    #[arg(short, long)]
    quiet: bool,
    /// Do not replace variables.
    #[arg(long)]
    no_interpolate: bool,
    /// Do not write out what attributes imply.
    #[arg(long)]
    no_normalize: bool,
    /// Do not make paths absolute.
    #[arg(long)]
    no_path_resolution: bool,
    /// Do not check the rules between attributes.
    #[arg(long)]
    no_consistency: bool,
    /// Do not read the services' env files.
    #[arg(long)]
    no_env_resolution: bool,
    /// Print the names of services, those first that others depend on.
    #[arg(long = "services", id = "list_services")]
    list_services: bool,
    /// Print the names of volumes.
    #[arg(long)]
    volumes: bool,
    /// Print the names of networks.
    #[arg(long)]
    networks: bool,
    /// Print the models.
    #[arg(long)]
    models: bool,
    /// Print the names of profiles.
    #[arg(long)]
    profiles: bool,
    /// Print the images of services.
    #[arg(long)]
    images: bool,
    /// Print the hashes of services, separated by commas; `*` is all.
    #[arg(long, value_name = "SERVICES")]
    hash: Option<String>,
    /// Print the variables that the files refer to.
    #[arg(long)]
    variables: bool,
    /// Print the variables that values are replaced from.
    #[arg(long)]
    environment: bool,
    /// Name images by the digests that their registries have now.
    #[arg(long)]
    resolve_image_digests: bool,
    /// Print a file that fixes the images to the digests that their registries have now.
    #[arg(long)]
    lock_image_digests: bool,
    /// Write to a file.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// The formats.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Yaml,
    Json,
}

/// Runs the command.
pub fn run(session: &Session<'_>, args: &Options) -> Result<Done> {
    let (context, keep_unused) = (session.context, session.all_resources);
    let lists = args.list_services || args.volumes || args.networks || args.models || args.profiles;
    let options = ComposeConfigOptions {
        interpolate: !args.no_interpolate && !args.variables,
        normalise: !args.no_normalize,
        resolve_paths: !args.no_path_resolution,
        consistent: !args.no_consistency,
        resolve_environment: !(lists || args.images || args.hash.is_some() || args.no_env_resolution),
        keep_unused,
    };
    let asked = if lists || args.hash.is_some() { &[] } else { args.services.as_slice() };
    let mut config = session.files.config(options, asked)?;
    for warning in config.take_warnings().iter().filter(|_| !args.quiet) {
        diagnostics::print(context.printer, warning);
    }
    if options.interpolate && (lists || args.images || args.hash.is_some() || args.environment) {
        // Values of a wrong type are found when they are written; a list stops at them too.
        config.text(ComposeFormat::Json).map_err(Failure::findings)?;
    }
    if args.resolve_image_digests || args.lock_image_digests {
        if args.no_interpolate {
            return Err(usage("images whose variables are not replaced have no digests"));
        }
        session.quiet_engine()?.projects().resolve_images(&mut config)?;
    }
    if args.lock_image_digests {
        config.keep_images();
    }
    let lines = if let Some(lines) = listed(&mut config, args)? {
        lines.into_iter().map(|line| line + "\n").collect::<Vec<_>>().concat()
    } else {
        let format = match args.format {
            Some(Format::Json) => ComposeFormat::Json,
            Some(Format::Yaml) | None => ComposeFormat::Yaml,
        };
        config.text(format).map_err(Failure::findings)?
    };
    if args.quiet {
        return Ok(Done::Ok);
    }
    let Some(path) = &args.output else {
        context.printer.raw_data(lines.as_bytes());
        return Ok(Done::Ok);
    };
    std::fs::write(path, lines).map_err(|error| {
        let message = format!("cannot write {}: {error}", path.display());
        Failure::user(Diagnostic::error("output", message))
    })?;
    Ok(Done::Ok)
}

/// Returns what one of the listing options asks for.
fn listed(config: &mut ComposeConfig, args: &Options) -> Result<Option<Vec<String>>> {
    Ok(Some(if args.list_services {
        config.services_in_order()
    } else if args.volumes {
        config.names("volumes")
    } else if args.networks {
        config.names("networks")
    } else if args.models {
        config.models()
    } else if let Some(services) = &args.hash {
        hashes(config, services)?
    } else if args.profiles {
        config.profiles()
    } else if args.images {
        config.images().into_iter().map(|(_, image)| image).collect()
    } else if args.variables {
        variables(config, args.format)
    } else if args.environment {
        config.environment().into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    } else {
        return Ok(None);
    }))
}

fn hashes(config: &mut ComposeConfig, services: &str) -> Result<Vec<String>> {
    let mut names: Vec<String> = match services {
        "*" => config.names("services"),
        names => names.split(',').map(str::to_owned).collect(),
    };
    names.sort();
    let line = |name: String| {
        let hash = service_hash(config, &name).ok_or_else(|| {
            Failure::user(Diagnostic::error("unknown-service", format!("no such service: {name}")))
        })?;
        Ok(format!("{name} {hash}"))
    };
    names.into_iter().map(line).collect()
}

/// Returns a table of the variables, or all that is known of them.
fn variables(config: &ComposeConfig, format: Option<Format>) -> Vec<String> {
    let variables = config.variables();
    if let Some(Format::Json) = format {
        let all: serde_json::Map<String, serde_json::Value> = variables
            .into_iter()
            .map(|(name, variable)| {
                let value = serde_json::json!({
                    "Name": name, "DefaultValue": variable.default, "PresenceValue": variable.alternative,
                    "Required": variable.required,
                });
                (name, value)
            })
            .collect();
        return vec![serde_json::Value::Object(all).to_string()];
    }
    let rows: Vec<[String; 4]> = variables
        .into_iter()
        .map(|(name, variable)| [name, variable.required.to_string(), variable.default, variable.alternative])
        .collect();
    let titles = ["NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE"].map(str::to_owned);
    let all: Vec<&[String; 4]> = [&titles].into_iter().chain(&rows).collect();
    // Docker Compose's columns are no narrower than 20.
    let width = |column: usize| {
        all.iter().map(|row| row[column].chars().count() + 3).max().unwrap_or_default().max(20)
    };
    let widths: Vec<usize> = (0..3).map(width).collect();
    let line = |row: &&[String; 4]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.chain([row[3].clone()]).collect::<Vec<_>>().concat()
    };
    all.iter().map(line).collect()
}
