//! The commands and options that Docker Compose 2.40 lists in its help (recorded in `tests/compose/help`): each is ours
//! too, or `docs/compose.md` says that it is not there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;

use crate::arguments::Arguments;

/// One option as a help text lists it.
#[derive(Debug, PartialEq, Eq)]
struct Listed {
    short: Option<char>,
    long: String,
    takes_value: bool,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the recorded commands with their help; that of the whole is under an empty name.
fn recorded() -> BTreeMap<String, String> {
    let commands = std::fs::read_dir(root().join("tests/compose/help")).expect("help texts are recorded");
    let mut found = BTreeMap::new();
    for entry in commands.flatten() {
        let name = entry.file_name().to_string_lossy().trim_end_matches(".txt").to_owned();
        let text = read(&format!("tests/compose/help/{name}.txt"));
        found.insert(if name == "compose" { String::new() } else { name }, text);
    }
    found
}

fn options(help: &str) -> Vec<Listed> {
    let mut listed = Vec::new();
    for line in help.lines() {
        // What stands further in is a description that goes on.
        let line = line.strip_prefix("      ").unwrap_or_else(|| line.trim_start());
        let (short, rest) = match line.strip_prefix('-') {
            Some(rest) if !rest.starts_with('-') => (rest.chars().next(), rest.get(3..).unwrap_or_default()),
            _ => (None, line),
        };
        let Some(rest) = rest.strip_prefix("--") else { continue };
        let mut words = rest.splitn(2, ' ');
        let long = words.next().unwrap_or_default().to_owned();
        // A kind stands one blank behind, the description at least two.
        let takes_value = words.next().is_some_and(|rest| !rest.starts_with(' '));
        listed.push(Listed { short, long, takes_value });
    }
    listed
}

/// Returns what is wrong with our side of an option.
fn fault(command: &clap::Command, listed: &Listed) -> Option<String> {
    let knows_long = |arg: &&clap::Arg| {
        arg.get_long_and_visible_aliases().is_some_and(|names| names.contains(&listed.long.as_str()))
            || arg.get_all_aliases().is_some_and(|names| names.contains(&listed.long.as_str()))
    };
    let Some(arg) = command.get_arguments().find(knows_long) else {
        return Some("is not there".to_owned());
    };
    let takes = arg.get_num_args().expect("a command that was built knows");
    if listed.takes_value && takes.max_values() == 0 {
        return Some("takes no value".to_owned());
    }
    if !listed.takes_value && takes.min_values() > 0 {
        return Some("needs a value".to_owned());
    }
    let short = listed.short?;
    let same = command.get_arguments().find(|arg| arg.get_short() == Some(short));
    let is_same = same.is_some_and(|same| same.get_id() == arg.get_id());
    (!is_same).then(|| format!("has no -{short}"))
}

#[test]
fn every_recorded_command_and_option_is_there_or_said_not_to_be() {
    let mut line = Arguments::command();
    line.build();
    let compose = line.find_subcommand("compose").expect("it is there");
    let docs = read("docs/compose.md");
    let mut faults = Vec::new();
    let mut count = 0;
    for (name, help) in recorded() {
        let command = if name.is_empty() { Some(compose) } else { compose.find_subcommand(&name) };
        let Some(command) = command else {
            if !docs.contains(&format!("| `{name}` | not there")) {
                faults.push(format!("`{name}` is not there, and the documentation does not say so"));
            }
            continue;
        };
        for listed in options(&help) {
            count += 1;
            let place = format!("{name} --{}", listed.long);
            if let Some(why) = fault(command, &listed)
                && !docs.contains(&format!("| `{}` |", place.trim()))
            {
                faults.push(format!("`{place}` {why}, and the documentation does not say so"));
            }
        }
    }
    assert!(count > 150, "only {count} options were found in the recorded help");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_command_of_ours_has_its_state_written_down() {
    let line = Arguments::command();
    let compose = line.find_subcommand("compose").expect("it is there");
    let docs = read("docs/compose.md");
    for command in compose.get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = command.get_name();
        assert!(docs.contains(&format!("| `{name}` |")), "docs/compose.md has no row for `{name}`");
    }
}

#[test]
fn help_is_read_as_it_is_written() {
    let text = "Options:\n      --dry-run         Execute\n  -n, --tail string     Number of lines\n  -f, --follow          Follow\n                        (default \"all\")\n";
    let expected = [(None, "dry-run", false), (Some('n'), "tail", true), (Some('f'), "follow", false)];
    let expected =
        expected.map(|(short, long, takes_value)| Listed { short, long: long.to_owned(), takes_value });
    assert_eq!(options(text), expected);
}
