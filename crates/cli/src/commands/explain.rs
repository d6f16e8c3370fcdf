//! `coracle explain`: what a rule of `coracle check` finds, why that hurts, and what to write instead.

use clap_complete::{ArgValueCandidates, CompletionCandidate};
use coracle_engine::{Failure, Result, Rule, RuleSelection, find_rule, rules};
use coracle_report::Severity;

use super::Done;
use crate::context::Context;
use crate::findings;
use crate::printer::{DIM, ERROR, GOOD, STRONG, WARNING, paint};
use crate::table::Table;

const EXAMPLES: &str = "\
Examples:
  coracle explain DL3008          what the rule finds, why, and what to write instead
  coracle explain --list          all rules, family by family
";

/// Options of `coracle explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Rule: its name, or the number that hadolint or ShellCheck has for it.
    #[arg(value_name = "RULE", required_unless_present = "list", add = ArgValueCandidates::new(candidates))]
    pub rules: Vec<String>,
    /// List all rules.
    #[arg(long, conflicts_with = "rules")]
    pub list: bool,
    /// How the answer is written.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// How rules are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let chosen: Vec<&'static Rule> = if args.list {
        rules().collect()
    } else {
        args.rules.iter().map(|name| find(name)).collect::<Result<_>>()?
    };
    match (args.format, args.list) {
        (Format::Json, _) => context.printer.raw_data(findings::rules(chosen).as_bytes()),
        (Format::Text, true) => list(context, &chosen),
        (Format::Text, false) => {
            for (index, rule) in chosen.into_iter().enumerate() {
                if index > 0 {
                    context.printer.data("");
                }
                page(context, rule);
            }
        }
    }
    Ok(Done::Ok)
}

/// Returns the names of rules for a shell's completion.
pub fn candidates() -> Vec<CompletionCandidate> {
    let candidate = |rule: &Rule| CompletionCandidate::new(rule.id).help(Some(rule.title.into()));
    rules().map(candidate).collect()
}

fn find(name: &str) -> Result<&'static Rule> {
    if let Some(rule) = find_rule(name) {
        return Ok(rule);
    }
    // The selection knows which name was probably meant; a family's name is no rule's.
    let unknown = RuleSelection::new(&[name.to_owned()], &[]).err().map(|unknown| unknown.diagnostic());
    Err(Failure::user(unknown.unwrap_or_else(|| {
        coracle_report::Diagnostic::error("unknown-rule", format!("`{name}` is a family of rules, no rule"))
            .with_hint("coracle explain --list")
    })))
}

fn word(severity: Severity) -> String {
    match severity {
        Severity::Error => paint(ERROR, "error"),
        Severity::Warning => paint(WARNING, "warning"),
        Severity::Note => paint(STRONG, "note"),
    }
}

fn page(context: &Context, rule: &Rule) {
    let say = |line: &str| context.printer.data(line);
    say(&format!("{}: {}", paint(STRONG, rule.id), rule.title));
    let mut about = format!("{}, {} rule", word(rule.severity), rule.family.name());
    if !rule.aliases.is_empty() {
        about = format!("{about}, also {}", rule.aliases.join(", "));
    }
    if rule.fixable {
        about.push_str(", coracle check --fix mends it");
    }
    if rule.experimental {
        about.push_str(", only when asked for");
    }
    say(&about);
    say("");
    wrapped(rule.explanation, 100).iter().for_each(|line| say(line));
    if let Some((bad, good)) = rule.example {
        say("");
        say(&paint(WARNING, "instead of"));
        bad.lines().for_each(|line| say(&format!("  {line}")));
        say(&paint(GOOD, "write"));
        good.lines().for_each(|line| say(&format!("  {line}")));
    }
    say("");
    say(&paint(DIM, format_args!("to allow it at one place: # coracle: allow({}) REASON", rule.id)));
    if let Some(url) = rule.url {
        say(&paint(DIM, url));
    }
}

/// Breaks lines that are longer than `width` characters between words; what is set in is left as it is.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.trim().lines() {
        if paragraph.starts_with([' ', '\t']) || paragraph.is_empty() {
            lines.push(paragraph.to_owned());
            continue;
        }
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

fn list(context: &Context, rules: &[&'static Rule]) {
    let mut table = Table::new(&["RULE", "FAMILY", "SEVERITY", "FIX", "TITLE"]);
    for rule in rules {
        let severity = match rule.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        let mut id = rule.id.to_owned();
        if !rule.aliases.is_empty() {
            id = format!("{id} ({})", rule.aliases.join(", "));
        }
        let fix = if rule.fixable { "yes" } else { "" };
        table.row(vec![
            id,
            rule.family.name().to_owned(),
            severity.to_owned(),
            fix.to_owned(),
            rule.title.to_owned(),
        ]);
    }
    context.printer.raw_data(table.render().as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words() {
        assert_eq!(
            wrapped("one two three\n\n  set in as it is", 7),
            ["one two", "three", "", "  set in as it is"]
        );
        assert_eq!(wrapped("unbreakable", 3), ["unbreakable"]);
    }

    #[test]
    fn near_names_are_proposed() {
        let hint = |name: &str| find(name).unwrap_err().diagnostics[0].hints[0].0.clone();
        assert_eq!(find("obsoleteversion").unwrap().id, "ObsoleteVersion");
        assert_eq!(hint("ObsoletVersion"), "did you mean `ObsoleteVersion`?");
        assert_eq!(hint("compose"), "coracle explain --list");
    }
}
