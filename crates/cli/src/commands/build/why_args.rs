//! `coracle build --why`: for each step, cached or not and why; and what the context holds.

use std::num::NonZeroUsize;

use coracle_engine::{
    Amount, BuildOptions, BuiltImage, Cause, ContextReport, Engine, Explained, Result, SolveOptions,
    StepState, StepWhy,
};

use super::check_args::Format;
use crate::cancel::Cancel;
use crate::commands::Done;
use crate::context::Context;
use crate::printer::{DIM, GOOD, HINT, STRONG, WARNING, paint};
use crate::table::size;

/// Causes that are shown of one step; the rest are counted.
const CAUSES: usize = 20;
/// Entries of the context that are shown; the rest are counted.
const ENTRIES: usize = 20;

/// How steps are solved, and whether that is explained.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Cache")]
pub struct WhyArgs {
    /// Say for each step whether it was cached and if not, why; and what the context holds (--format json for programs).
    #[arg(long)]
    pub why: bool,
    /// With --why: build nothing, say what would be done.
    #[arg(long, requires = "why")]
    pub dry_run: bool,
    /// Do the steps of this stage again though they may be cached; may be given several times.
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    pub no_cache_filter: Vec<String>,
    /// How many steps may run at once (default: one a processor, at least 2).
    #[arg(long, value_name = "N")]
    pub jobs: Option<NonZeroUsize>,
}

impl WhyArgs {
    /// Returns how steps are solved.
    pub fn options(&self) -> SolveOptions {
        SolveOptions {
            no_cache_stages: self.no_cache_filter.clone(),
            jobs: self.jobs,
            report_context: self.why,
        }
    }

    /// Says what a build would do.
    pub fn look(
        context: &Context,
        engine: &Engine,
        options: &BuildOptions,
        cancel: &Cancel,
        format: Option<Format>,
    ) -> Result<Done> {
        let explained = engine.builds().look(options, cancel.flag())?;
        match format {
            Some(Format::Json) => context.printer.data(serde_json::Value::from(explained).to_string()),
            _ => context.printer.data(render(&explained).trim_end()),
        }
        Ok(Done::Ok)
    }

    /// Says what a build did; people read it beside the progress, programs as data.
    pub fn explain(context: &Context, image: BuiltImage, format: Option<Format>) {
        let id = image.id.to_string();
        let explained = image.explained();
        match format {
            Some(Format::Json) => {
                let mut value = serde_json::Value::from(explained);
                value["image"] = id.into();
                context.printer.data(value.to_string());
            }
            _ => context.printer.status(render(&explained).trim_end()),
        }
    }
}

fn render(explained: &Explained) -> String {
    let mut lines = Vec::new();
    for (platform, steps) in &explained.platforms {
        if explained.platforms.len() > 1 {
            lines.push(paint(STRONG, platform));
        }
        render_steps(steps, &mut lines);
        lines.push(String::new());
    }
    render_context(&explained.context, &mut lines);
    lines.join("\n")
}

fn render_steps(steps: &[StepWhy], lines: &mut Vec<String>) {
    lines.push(paint(STRONG, "Steps"));
    for step in steps {
        let (style, word) = match step.state {
            StepState::Base => (DIM, "base"),
            StepState::Cached => (GOOD, "cached"),
            StepState::Made => (WARNING, "built"),
            StepState::Would => (WARNING, "would build"),
            StepState::Maybe => (WARNING, "may build"),
            StepState::Open => (DIM, "not reached"),
        };
        let time = step.milliseconds.filter(|_| step.state != StepState::Base).map_or(String::new(), took);
        let name: String = step.name.chars().take(100).collect();
        lines.push(format!(
            "  {} {} {name}",
            paint(style, format_args!("{word:<11}")),
            paint(DIM, format_args!("{time:>7}"))
        ));
        for cause in step.causes.iter().take(CAUSES) {
            lines.push(format!("  {:19} {}", "", describe(cause)));
        }
        if step.causes.len() > CAUSES {
            lines.push(format!("  {:19} and {} more", "", step.causes.len() - CAUSES));
        }
    }
}

fn describe(cause: &Cause) -> String {
    match cause {
        Cause::Earlier { .. } | Cause::Stage { .. } => paint(DIM, cause),
        _ => cause.to_string(),
    }
}

fn took(milliseconds: u64) -> String {
    let seconds = milliseconds as f64 / 1000.0;
    format!("{seconds:.1}s")
}

fn amount(amount: Amount) -> String {
    let files = if amount.files == 1 { "file" } else { "files" };
    format!("{:>8} {:>7} {files}", size(amount.bytes), amount.files)
}

fn render_context(context: &ContextReport, lines: &mut Vec<String>) {
    lines.push(format!("{} {}", paint(STRONG, "Context"), amount(context.shown).trim_start()));
    for entry in context.entries.iter().take(ENTRIES) {
        let name = format!("{}{}", entry.name, if entry.directory { "/" } else { "" });
        let mut notes = Vec::new();
        if entry.hidden.files > 0 {
            notes.push(format!(
                "hidden: {}",
                amount(entry.hidden).split_whitespace().collect::<Vec<_>>().join(" ")
            ));
        }
        match entry.unused {
            Some(unused) if unused.files > 0 && unused == entry.shown => notes.push("never used".to_owned()),
            Some(unused) if unused.files > 0 => {
                notes.push(format!(
                    "never used: {}",
                    amount(unused).split_whitespace().collect::<Vec<_>>().join(" ")
                ));
            }
            _ => {}
        }
        lines.push(
            format!("  {}  {name:<28} {}", amount(entry.shown), paint(DIM, notes.join(", ")))
                .trim_end()
                .to_owned(),
        );
    }
    if context.entries.len() > ENTRIES {
        lines.push(format!("  and {} more", context.entries.len() - ENTRIES));
    }
    if let Some(file) = &context.ignore_file {
        lines.push(String::new());
        let total = amount(context.hidden);
        lines.push(format!("{} {} by {}", paint(STRONG, "Hidden"), total.trim_start(), file.display()));
        for line in &context.lines {
            lines.push(format!("  {}  line {}: {}", amount(line.hidden), line.number, line.line));
        }
    }
    if !context.hints.is_empty() {
        let file = context
            .ignore_file
            .as_ref()
            .map_or(".dockerignore".to_owned(), |file| file.display().to_string());
        lines.push(String::new());
        lines.push(format!(
            "{} no step of any stage takes these; to leave them out, add to {file}:",
            paint(HINT, "hint:")
        ));
        lines.extend(context.hints.iter().map(|hint| format!("  {hint}")));
    }
}
