//! `coracle builder`: what the build cache holds, and making it smaller.

use std::io::{BufRead as _, IsTerminal as _};
use std::time::Duration;

use coracle_engine::{CacheEntry, Engine, Failure, PruneFilter, PruneRequest, Pruned, Result};
use coracle_report::Diagnostic;
use jiff::Timestamp;
use serde_json::json;

use super::Done;
use crate::context::Context;
use crate::table::{Table, ago, size};
use crate::{values, visible};

/// Commands on the build cache.
#[derive(Debug, clap::Subcommand)]
pub enum Builder {
    /// Remove from the build cache what no build used within the last day.
    ///
    /// What images, containers and running builds need stays in any case.
    Prune(PruneArgs),
    /// Show what the build cache holds.
    Du(DuArgs),
}

/// Options of `coracle builder prune`.
#[derive(Debug, clap::Args)]
pub struct PruneArgs {
    /// Remove also what was used within the last day, and the records of what images hold.
    #[arg(short, long)]
    all: bool,
    /// Do not ask.
    #[arg(short, long)]
    force: bool,
    /// Remove only what this holds for, e.g. `until=48h`, `type=exec.cachemount`, `id=ID`, `description~=npm`.
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Stop when the cache has at most so many bytes, e.g. `10gb`.
    #[arg(long, alias = "keep-storage", value_name = "SIZE", value_parser = values::bytes)]
    max_used_space: Option<u64>,
    /// Stop when so many bytes are free on the disk.
    #[arg(long, value_name = "SIZE", value_parser = values::bytes)]
    min_free_space: Option<u64>,
    /// Leave the cache so many bytes in any case.
    #[arg(long, value_name = "SIZE", value_parser = values::bytes)]
    reserved_space: Option<u64>,
    /// Only say what would be removed.
    #[arg(long)]
    dry_run: bool,
    /// Describe all that is removed.
    #[arg(long)]
    verbose: bool,
}

/// Options of `coracle builder du`.
#[derive(Debug, clap::Args)]
pub struct DuArgs {
    /// Describe each entry.
    #[arg(long)]
    verbose: bool,
    /// Show only what this holds for, e.g. `type=exec.cachemount`, `private`, `until=24h`.
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,
    /// `table` or `json`.
    #[arg(long, default_value = "table", value_parser = ["table", "json"], conflicts_with = "verbose")]
    format: String,
}

/// How often a prune that waits for builds looks again.
const PATIENCE: Duration = Duration::from_millis(100);

/// Runs the command.
pub fn run(context: &Context, command: Builder) -> Result<Done> {
    match command {
        Builder::Prune(args) => prune(context, &args),
        Builder::Du(args) => du(context, &args),
    }
}

fn prune(context: &Context, args: &PruneArgs) -> Result<Done> {
    let request = PruneRequest {
        all: args.all,
        filter: filter(&args.filter)?,
        max_used: args.max_used_space,
        min_free: args.min_free_space,
        reserved: args.reserved_space,
        dry_run: args.dry_run,
    };
    if !args.force && !args.dry_run && std::io::stdin().is_terminal() && !confirmed(context, args) {
        context.printer.status("nothing was removed");
        return Ok(Done::Ok);
    }
    let engine = context.quiet_engine()?;
    let pruned = wait(context, &engine, &request)?;
    if args.verbose {
        pruned.entries.iter().for_each(|entry| describe(context, entry));
    } else if !pruned.entries.is_empty() {
        let mut table = Table::new(&["ID", "RECLAIMABLE", "SIZE", "LAST ACCESSED", "DESCRIPTION"]);
        pruned.entries.iter().for_each(|entry| table.row(row(entry)));
        context.printer.raw_data(table.render().as_bytes());
    }
    let total = if args.dry_run { "Would be freed" } else { "Total" };
    context.printer.data(format!("{total}:\t{}", size(pruned.bytes)));
    if pruned.young > 0 && args.filter.is_empty() {
        let young = size(pruned.young);
        context
            .printer
            .status(format!("{young} were used within the last day and stay; --all removes them, too"));
    }
    Ok(Done::Ok)
}

fn confirmed(context: &Context, args: &PruneArgs) -> bool {
    let what = if args.all {
        "This removes the whole build cache, also what was used within the last day."
    } else {
        "This removes from the build cache what was not used within the last day."
    };
    context.printer.status(format!("{what} Go on? [y/N]"));
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    read.is_ok() && matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

/// Prunes when no build runs.
fn wait(context: &Context, engine: &Engine, request: &PruneRequest) -> Result<Pruned> {
    let mut told = false;
    loop {
        if let Some(pruned) = engine.builds().prune_cache(request)? {
            return Ok(pruned);
        }
        if !told {
            context.printer.status("waiting until no build runs");
            told = true;
        }
        std::thread::sleep(PATIENCE);
    }
}

fn du(context: &Context, args: &DuArgs) -> Result<Done> {
    let filter = filter(&args.filter)?;
    let engine = context.quiet_engine()?;
    let entries = engine.builds().cache_usage(&filter)?;
    if args.format == "json" {
        for entry in &entries {
            let line = json!({
                "ID": entry.id, "Parents": entry.parents, "Type": entry.kind.as_str(), "Size": size(entry.size),
                "Bytes": entry.size, "CreatedAt": entry.created.to_string(),
                "LastUsedAt": entry.last_used.to_string(), "InUse": entry.in_use, "Shared": entry.shared,
                "Mutable": entry.is_mutable(), "Reclaimable": entry.is_reclaimable(),
                "Description": entry.description,
            });
            context.printer.data(line.to_string());
        }
        return Ok(Done::Ok);
    }
    if args.verbose {
        entries.iter().for_each(|entry| describe(context, entry));
    } else if !entries.is_empty() {
        let mut table = Table::new(&["ID", "RECLAIMABLE", "SIZE", "LAST ACCESSED", "DESCRIPTION"]);
        entries.iter().for_each(|entry| table.row(row(entry)));
        context.printer.raw_data(table.render().as_bytes());
    }
    let sum = |wanted: &dyn Fn(&CacheEntry) -> bool| {
        size(entries.iter().filter(|entry| wanted(entry)).map(|entry| entry.size).sum())
    };
    if entries.iter().any(|entry| entry.shared) {
        context.printer.data(format!("Shared:\t\t{}", sum(&|entry| entry.shared)));
        context.printer.data(format!("Private:\t{}", sum(&|entry| !entry.shared)));
    }
    context.printer.data(format!("Reclaimable:\t{}", sum(&CacheEntry::is_reclaimable)));
    context.printer.data(format!("Total:\t\t{}", sum(&|_| true)));
    Ok(Done::Ok)
}

fn filter(texts: &[String]) -> Result<PruneFilter> {
    PruneFilter::parse(texts)
        .map_err(|error| Failure::user(Diagnostic::error("bad-filter", error.to_string())))
}

fn row(entry: &CacheEntry) -> Vec<String> {
    // As in Docker, a star is for what changes when it is used.
    let star = if entry.is_mutable() { "*" } else { "" };
    vec![
        format!("{}{star}", entry.id),
        entry.is_reclaimable().to_string(),
        size(entry.size),
        when(entry.last_used),
        shortened(&visible::spelled(&entry.description)),
    ]
}

fn when(time: Timestamp) -> String {
    format!("{} ago", ago(Timestamp::now().duration_since(time).as_secs()))
}

/// Returns the beginning of the first line: names of steps may hold whole scripts.
fn shortened(text: &str) -> String {
    const WIDTH: usize = 60;
    let line = text.lines().next().unwrap_or_default();
    let whole = line.len() == text.len() && line.chars().count() <= WIDTH;
    if whole { line.to_owned() } else { format!("{}...", line.chars().take(WIDTH - 3).collect::<String>()) }
}

fn describe(context: &Context, entry: &CacheEntry) {
    let mut lines = vec![format!("ID:\t\t{}", entry.id)];
    if !entry.parents.is_empty() {
        lines.push(format!("Parents:\t{}", entry.parents.join(", ")));
    }
    lines.extend([
        format!("Created at:\t{}", entry.created),
        format!("Mutable:\t{}", entry.is_mutable()),
        format!("Reclaimable:\t{}", entry.is_reclaimable()),
        format!("Shared:\t\t{}", entry.shared),
        format!("Size:\t\t{}", size(entry.size)),
        format!("Description:\t{}", visible::spelled(&entry.description)),
        format!("Last used:\t{}", when(entry.last_used)),
        format!("Type:\t\t{}", entry.kind),
        String::new(),
    ]);
    lines.iter().for_each(|line| context.printer.data(line));
}
