//! The command line read: switches may carry a value as Docker's do, and what is wrong is told as every other fault.

use std::ffi::OsString;

use clap::builder::Styles;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, CommandFactory, FromArgMatches};
use coracle_report::Diagnostic;

use crate::arguments::Arguments;

/// Why there are no arguments.
pub enum Refusal {
    /// Help or the version was asked for, or nothing at all: clap says it itself.
    Shown(clap::Error),
    /// Something is wrong.
    Wrong(Box<Diagnostic>),
}

/// Reads the command line.
pub fn read(words: &[OsString]) -> Result<Arguments, Refusal> {
    let plain = parse(Arguments::command(), words);
    match plain {
        Ok(arguments) => Ok(arguments),
        // `--rm=false`: a switch is given a value.
        Err(error) if error.kind() == ErrorKind::TooManyValues => {
            parse(with_values(Arguments::command()), words).map_err(|error| refusal(&error, words))
        }
        Err(error) if shows_itself(&error) => Err(Refusal::Shown(error)),
        Err(error) => Err(refusal(&error, words)),
    }
}

fn parse(command: clap::Command, words: &[OsString]) -> Result<Arguments, clap::Error> {
    let matches = command.try_get_matches_from(words)?;
    Arguments::from_arg_matches(&matches)
}

/// Lets each switch take `=true` or `=false`.
fn with_values(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|argument| {
        if !matches!(argument.get_action(), ArgAction::SetTrue) {
            return argument;
        }
        argument
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_value("false")
            .default_missing_value("true")
            .value_parser(truth)
    });
    let names: Vec<String> = command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    names.into_iter().fold(command, |command, name| command.mut_subcommand(name, with_values))
}

/// Reads a truth as Docker's command line does.
pub fn truth(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("it is neither true nor false".to_owned()),
    }
}

fn shows_itself(error: &clap::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    )
}

fn refusal(error: &clap::Error, words: &[OsString]) -> Refusal {
    let help = format!("{} --help", path(words).join(" "));
    if error.kind() == ErrorKind::InvalidUtf8
        && let Some(word) = words.iter().find(|word| word.to_str().is_none())
    {
        let message = format!("`{}` is not UTF-8, which every argument must be", word.to_string_lossy());
        let before =
            words.iter().position(|other| other == word).and_then(|at| words.get(at.checked_sub(1)?));
        let flag = before.and_then(|word| word.to_str()).filter(|word| word.starts_with('-'));
        let mut diagnostic = Diagnostic::error("usage", message);
        diagnostic.notes.extend(flag.map(|flag| format!("given by {flag}")));
        return Refusal::Wrong(Box::new(diagnostic.with_hint(help)));
    }
    let text = error.render().to_string();
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let first = first.strip_prefix("error: ").unwrap_or(first);
    // What a value parser says is `why; how to write it`.
    let (message, advice) = match (error.kind(), first.split_once("; ")) {
        (ErrorKind::ValueValidation, Some((message, advice))) => (message, Some(advice.to_owned())),
        _ => (first, None),
    };
    let mut diagnostic = Diagnostic::error("usage", message);
    for line in lines.map(str::trim).filter(|line| !line.is_empty()) {
        if line.starts_with("Usage:") || line.starts_with("For more information") {
            break;
        }
        match line.strip_prefix("tip: ") {
            Some(tip) => diagnostic = diagnostic.with_hint(tip),
            None => diagnostic.notes.push(line.to_owned()),
        }
    }
    if let Some(advice) = advice {
        diagnostic = diagnostic.with_hint(advice);
    }
    // An empty value is shown as nothing at all.
    if let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg)
        && !message.contains(argument.as_str())
    {
        diagnostic.notes.push(format!("given by {argument}"));
    }
    Refusal::Wrong(Box::new(diagnostic.with_hint(help)))
}

/// Returns the program and the commands that were named.
fn path(words: &[OsString]) -> Vec<String> {
    let command = Arguments::command().styles(Styles::plain());
    let mut path = vec![command.get_name().to_owned()];
    let mut at = &command;
    for word in words.iter().skip(1).filter_map(|word| word.to_str()) {
        let Some(found) = at.find_subcommand(word) else {
            // Global options come before the command; the first word after it is the command's own.
            if path.len() > 1 {
                break;
            }
            continue;
        };
        path.push(found.get_name().to_owned());
        at = found;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Command;

    fn words(words: &[&str]) -> Vec<OsString> {
        ["coracle"].iter().chain(words).map(OsString::from).collect()
    }

    fn wrong(list: &[&str]) -> Diagnostic {
        match read(&words(list)) {
            Err(Refusal::Wrong(diagnostic)) => *diagnostic,
            Err(Refusal::Shown(error)) => panic!("{error}"),
            Ok(arguments) => panic!("{arguments:?}"),
        }
    }

    #[test]
    fn switches_may_carry_a_value() {
        let read = |list: &[&str]| match read(&words(list)) {
            Ok(Arguments { command: Command::Run(args), .. }) => args,
            _ => panic!("{list:?}"),
        };
        let args =
            read(&["run", "--rm=false", "-it", "--init=true", "--detach=false", "image", "--rm=false"]);
        assert!(!args.container.rm && args.container.init && !args.detach);
        assert!(args.container.interactive && args.container.tty);
        assert_eq!(args.container.words, ["image", "--rm=false"]);
        let args = read(&["run", "--rm", "image"]);
        assert!(args.container.rm);
        assert!(wrong(&["run", "--rm=maybe", "image"]).message.contains("--rm"));
    }

    #[test]
    fn faults_name_the_flag_and_the_help() {
        let diagnostic = wrong(&["run", "-m", "lots", "image"]);
        assert!(diagnostic.message.contains("--memory"), "{diagnostic:?}");
        assert!(diagnostic.hints[0].0.contains("512m"), "{diagnostic:?}");
        assert_eq!(diagnostic.hints[1].0, "coracle run --help");
        let diagnostic = wrong(&["ps", "--no-such"]);
        assert!(diagnostic.message.contains("--no-such"), "{diagnostic:?}");
        assert!(!wrong(&["run", "--pull", "", "image"]).message.is_empty());
    }
}
