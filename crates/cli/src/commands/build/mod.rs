//! `coracle build`: an image from a Dockerfile.

mod cache_args;
mod check_args;
pub mod check_output;
pub mod output_args;
mod run_args;
mod source_args;
mod why_args;

pub(super) use check_args::CheckArgs;

use std::path::PathBuf;

use coracle_engine::{BuildOptions, Failure, HostCa, Result};
use coracle_report::Diagnostic;
use indexmap::IndexMap;

use super::Done;
use super::target::ProjectArgs;
use crate::cancel::Cancel;
use crate::context::Context;
use crate::reporters::Progress;
use crate::values;

const EXAMPLES: &str = "\
Examples:
  coracle build -t app .
  coracle build -t app:dev --target dev --build-arg VERSION=1.2 -f docker/Dockerfile .
  coracle build https://github.com/owner/name.git#v1:docker
  tar -c . | coracle build -t app -
  coracle build --build-context assets=../assets .
  coracle build dev                      the images of an environment
";

/// Options of `coracle build`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Build context: a directory, a tar archive, `-` for standard input, a URL, a git repository; or an environment of the
    /// project here.
    #[arg(default_value = ".")]
    pub path: String,
    /// With an environment: only these services.
    pub services: Vec<String>,
    #[command(flatten)]
    pub source: source_args::SourceArgs,
    /// Name of the image; may be given several times.
    #[arg(short, long, value_name = "NAME[:TAG]")]
    pub tag: Vec<String>,
    /// Stage to build instead of the last one.
    #[arg(long, value_name = "STAGE")]
    pub target: Option<String>,
    /// Set a build argument: NAME=value, or NAME to pass on the caller's.
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub build_arg: Vec<String>,
    /// Set a label.
    #[arg(long, value_name = "NAME=VALUE")]
    pub label: Vec<String>,
    /// Use no cached step.
    #[arg(long)]
    pub no_cache: bool,
    /// Fetch base images even when they are there.
    #[arg(long)]
    pub pull: bool,
    /// Give the host's certificate authorities to RUN steps: auto, always, never. No layer holds them.
    #[arg(long, value_enum, default_value_t = HostCaArg::Auto)]
    pub host_ca: HostCaArg,
    #[command(flatten)]
    pub run: run_args::RunArgs,
    #[command(flatten)]
    pub cache: cache_args::CacheArgs,
    #[command(flatten)]
    pub why: why_args::WhyArgs,
    #[command(flatten)]
    pub checks: CheckArgs,
    #[command(flatten)]
    pub outputs: output_args::OutputArgs,
    /// Print only the image's id.
    #[arg(short, long)]
    pub quiet: bool,
    /// How progress is shown.
    #[arg(long, value_enum, default_value_t)]
    pub progress: Progress,
}

/// Whether RUN steps see the host's certificate authorities.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum HostCaArg {
    /// When the host trusts authorities of its own.
    Auto,
    /// In any case.
    Always,
    /// Not at all.
    Never,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let cancel = Cancel::on_signals().map_err(|error| Failure::ours("catching signals", &error))?;
    let progress = if args.quiet { Progress::Quiet } else { args.progress };
    let (engine, reporter) = context.engine(progress)?;
    let directory = PathBuf::from(&args.path);
    if !directory.is_dir() && engine.projects().environments(None)?.contains(&args.path) {
        let projects = engine.projects();
        let project = projects.load(&ProjectArgs::default().selection(Some(args.path)))?;
        projects.build(&project, &args.services, args.no_cache, cancel.flag())?;
        return Ok(Done::Ok);
    }
    if let Some(word) = args.services.first() {
        let message = format!("`{word}` is one word too many: `coracle build` takes one context directory");
        return Err(Failure::user(Diagnostic::error("usage", message)));
    }
    let mut build_args = IndexMap::new();
    for text in &args.build_arg {
        let pair = values::variable(text, |name| std::env::var(name).ok());
        build_args.extend(pair.map_err(|why| Failure::user(Diagnostic::error("usage", why)))?);
    }
    let labels = args.label.iter().map(|text| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (name.to_owned(), value.to_owned())
    });
    let options = BuildOptions {
        context: source_args::context(&args.path)?,
        named: args.source.named()?,
        dockerfile: args.source.file,
        target: args.target,
        build_args,
        labels: labels.collect(),
        tags: args.tag,
        no_cache: args.no_cache,
        pull: args.pull,
        host_ca: match args.host_ca {
            HostCaArg::Auto => HostCa::Auto,
            HostCaArg::Always => HostCa::Always,
            HostCaArg::Never => HostCa::Never,
        },
        run: args.run.options()?,
        cache_from: args.cache.cache_from,
        cache_to: args.cache.cache_to,
        solve: args.why.options(),
        output: args.outputs.options()?,
        ..BuildOptions::default()
    };
    if !args.checks.builds() {
        return args.checks.answer(context, &engine, &options);
    }
    if args.why.dry_run {
        return why_args::WhyArgs::look(context, &engine, &options, &cancel, args.checks.format);
    }
    let image = engine.builds().build(&options, cancel.flag());
    reporter.settle();
    let image = image?;
    args.outputs.write_files(&image)?;
    if args.why.why {
        why_args::WhyArgs::explain(context, image.clone(), args.checks.format);
    }
    let answered = args.why.why && args.checks.format == Some(check_args::Format::Json);
    if !answered && !output_args::OutputArgs::takes_stdout(&options.output) {
        context.printer.data(image.id.to_string());
    }
    Ok(Done::Ok)
}
