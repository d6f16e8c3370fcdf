//! Holds `docs/cli.md` and the command line to what Docker's own help says, recorded in `tests/cli_help`.
//!
//! Each recorded flag has a row in the page, under the heading of its command. Its state is one of `as Docker`,
//! `differs`, `refused` (each but the first with words why) or `not yet`. A flag in one of the first two states is on our
//! command line with the same letter, and takes a value exactly when Docker's does.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;

use crate::arguments::Arguments;

/// A flag as Docker's help lists it.
#[derive(Debug)]
struct Flag {
    name: String,
    letter: Option<char>,
    takes_value: bool,
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns the recorded commands, each with its flags.
fn recorded() -> BTreeMap<String, Vec<Flag>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli_help");
    let files =
        fs::read_dir(directory).expect("Docker's help is recorded").map(|entry| entry.unwrap().path());
    let texts = files.filter(|path| path.extension().is_some_and(|extension| extension == "txt"));
    let command = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().replace('-', " ");
        (name, fs::read_to_string(&path).unwrap().lines().filter_map(flag).collect())
    };
    texts.map(command).collect()
}

/// Reads a line such as `  -a, --attach list    Attach to ...`; others are `None`.
fn flag(line: &str) -> Option<Flag> {
    let text = line.trim_start();
    let indent = line.len() - text.len();
    let (letter, text) = match text.strip_prefix('-')?.split_once(", --") {
        Some((letter, rest)) if letter.len() == 1 => (letter.chars().next(), rest),
        _ => (None, text.strip_prefix("--")?),
    };
    let end = text.find(|c: char| c != '-' && !c.is_ascii_alphanumeric()).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    // Deeper lines are descriptions that were wrapped.
    let listed = indent <= 6 && !name.is_empty();
    let takes_value = rest.starts_with(' ') && !rest.starts_with("  ");
    listed.then(|| Flag { name: name.to_owned(), letter, takes_value })
}

/// Returns the rows of the page: the command, then the flag, to its state and the words behind it.
fn documented() -> BTreeMap<String, BTreeMap<String, (String, String)>> {
    let text = fs::read_to_string(repository().join("docs/cli.md")).expect("the page is there");
    let mut commands: BTreeMap<String, BTreeMap<String, (String, String)>> = BTreeMap::new();
    let mut command = None;
    for line in text.lines() {
        if line.starts_with('#') {
            let heading = line.trim_start_matches('#').trim();
            command = heading.strip_prefix("`coracle ").and_then(|rest| rest.strip_suffix('`'));
            if let Some(command) = command {
                commands.entry(command.to_owned()).or_default();
            }
        }
        let cells: Vec<&str> = line.trim().trim_matches('|').splitn(3, '|').map(str::trim).collect();
        if let (Some(command), [flag, state, why]) = (command, cells.as_slice())
            && let Some(name) = flag.strip_prefix("`--").and_then(|rest| rest.strip_suffix('`'))
        {
            let rows = commands.get_mut(command).expect("its heading came before");
            let earlier = rows.insert(name.to_owned(), ((*state).to_owned(), (*why).to_owned()));
            assert!(earlier.is_none(), "`{command} --{name}` has two rows");
        }
    }
    commands
}

/// Says what is wrong with a flag of ours, if anything is.
fn fault(command: &clap::Command, flag: &Flag) -> Option<String> {
    let named = |argument: &&clap::Arg| {
        argument.get_long() == Some(&flag.name)
            || argument.get_all_aliases().is_some_and(|names| names.contains(&flag.name.as_str()))
    };
    let Some(argument) = command.get_arguments().find(named) else {
        return Some("is not on the command line".to_owned());
    };
    let letters = argument.get_short_and_visible_aliases().unwrap_or_default();
    if let Some(letter) = flag.letter.filter(|letter| !letters.contains(letter)) {
        return Some(format!("has no letter -{letter}"));
    }
    // A switch that is on unless told otherwise takes its value behind a `=` only, as Docker's do.
    let takes_value = argument.get_action().takes_values() && !argument.is_require_equals_set();
    (takes_value != flag.takes_value).then(|| "takes a value, or none".to_owned())
}

#[test]
fn every_flag_of_docker_s_is_accounted_for() {
    let ours = Arguments::command();
    let page = documented();
    let mut wrong = Vec::new();
    for (name, flags) in recorded() {
        let Some(rows) = page.get(&name) else {
            wrong.push(format!("docs/cli.md has no heading `coracle {name}`"));
            continue;
        };
        let command = name.split(' ').try_fold(&ours, |command, word| command.find_subcommand(word));
        for flag in flags.iter().filter(|flag| flag.name != "help") {
            let Some((state, why)) = rows.get(&flag.name) else {
                wrong.push(format!("docs/cli.md has no row for `{name} --{}`", flag.name));
                continue;
            };
            let why_not = match state.as_str() {
                "differs" | "refused" if why.is_empty() => {
                    Some(format!("is `{state}`, and nothing says why"))
                }
                "as Docker" | "differs" | "refused" | "not yet" => None,
                other => Some(format!("has the state `{other}`, which is none")),
            };
            let accepted = matches!(state.as_str(), "as Docker" | "differs");
            let fault = match (accepted, command) {
                (true, Some(command)) => fault(command, flag),
                (true, None) => Some("is of a command that is not there".to_owned()),
                (false, _) => None,
            };
            wrong.extend(why_not.or(fault).map(|what| format!("`{name} --{}` {what}", flag.name)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
