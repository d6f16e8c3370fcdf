//! Commands of Docker Compose's that are not there, and words that are no command.

use std::ffi::OsString;

use clap::CommandFactory as _;
use coracle_engine::Failure;
use coracle_report::Diagnostic;

use crate::arguments::Arguments;

/// What is not there, and what to do instead.
pub const LATER: [(&str, &str); 5] = [
    ("watch", "rebuild by hand meanwhile: coracle compose up -d --build"),
    (
        "attach",
        "see its output: coracle compose logs -f SERVICE; work in it: coracle compose exec SERVICE sh",
    ),
    ("commit", "describe the change in a Dockerfile, and build it: coracle compose build"),
    ("publish", "push the images: coracle compose push; keep the files in git"),
    ("bridge", "print the project for another tool: coracle compose config --format json"),
];

/// Returns the failure of a command that is not there yet.
pub fn failure(name: &str) -> Failure {
    let diagnostic = Diagnostic::error("not-there-yet", format!("`coracle compose {name}` is not there yet"));
    let hint = LATER.iter().find(|(later, _)| *later == name).map(|(_, hint)| *hint);
    Failure::user(match hint {
        Some(hint) => diagnostic.with_hint(hint),
        None => diagnostic,
    })
}

/// Returns the failure of a word that is none of our commands.
pub fn unknown(words: &[OsString]) -> Failure {
    let word = words.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
    if LATER.iter().any(|(name, _)| *name == word) {
        return failure(&word);
    }
    let known = commands();
    let near = known
        .iter()
        .map(|name| (strsim::jaro_winkler(&word, name), name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let diagnostic = Diagnostic::error("usage", format!("`coracle compose` has no command `{word}`"));
    Failure::user(match near {
        Some((_, near)) => diagnostic.with_hint(format!("did you mean `coracle compose {near}`?")),
        None => diagnostic.with_hint("see the commands: coracle compose --help"),
    })
}

/// Returns the failure of a line without a command.
pub fn no_command() -> Failure {
    let diagnostic = Diagnostic::error("usage", "`coracle compose` needs a command");
    Failure::user(diagnostic.with_hint("see the commands: coracle compose --help"))
}

fn commands() -> Vec<String> {
    let line = Arguments::command();
    let compose = line.find_subcommand("compose");
    let commands = compose.into_iter().flat_map(clap::Command::get_subcommands);
    commands.map(|command| command.get_name().to_owned()).collect()
}
