//! Users: the last one of a stage, names that nobody made, accounts with huge numbers.

use coracle_dockerfile::{Instruction, Word};
use coracle_report::Severity;

use super::view::{View, found, found_in};
use crate::project::Findings;
use crate::{Family, Rule};

pub(super) static RULES: &[&Rule] = &[&LAST_USER_ROOT, &UNKNOWN_USER, &HUGE_UID];

static LAST_USER_ROOT: Rule = Rule {
    id: "DL3002",
    family: Family::Dockerfile,
    severity: Severity::Warning,
    title: "The last `USER` of a stage is root",
    explanation: "What is said last holds for the container: its processes are root, and whoever gets hold of one of them is root in the container. Switch to root for the steps that need it and back afterwards.",
    example: Some(("USER root\nRUN apt-get update", "USER root\nRUN apt-get update\nUSER app")),
    ..Rule::PLAIN
};

static UNKNOWN_USER: Rule = Rule {
    id: "UnknownUser",
    family: Family::Dockerfile,
    severity: Severity::Error,
    title: "`USER` names somebody who is not made before",
    explanation: "A name in `USER` is looked up in the image's `/etc/passwd` when a step or the container starts: \"unable to find user app: no matching entries in passwd file\". Make the user first with `useradd` or `adduser`, or write a number, which needs no entry. Reported only of bases whose users are known.",
    example: Some(("FROM alpine:3.22\nUSER app", "FROM alpine:3.22\nRUN adduser -D app\nUSER app")),
    ..Rule::PLAIN
};

static HUGE_UID: Rule = Rule {
    id: "DL3046",
    family: Family::Dockerfile,
    severity: Severity::Warning,
    title: "`useradd` with a huge number fills the image",
    explanation: "`useradd` writes `/var/log/lastlog` and `/var/log/faillog`, whose size grows with the largest number of a user: sparse on a disk, gigabytes in the archive of a layer. `useradd -l` leaves them alone.",
    example: Some(("RUN useradd -u 1234567890 app", "RUN useradd -l -u 1234567890 app")),
    ..Rule::PLAIN
};

/// Users that the official images of distributions have, which nobody must make.
const SYSTEM: &[&str] = &[
    "root",
    "daemon",
    "bin",
    "sys",
    "sync",
    "games",
    "man",
    "lp",
    "mail",
    "news",
    "uucp",
    "proxy",
    "www-data",
    "backup",
    "list",
    "irc",
    "_apt",
    "nobody",
    "gnats",
    "guest",
    "adm",
    "shutdown",
    "halt",
    "operator",
    "ftp",
    "sshd",
    "systemd-network",
    "cron",
    "ntp",
    "ubuntu",
    "postmaster",
    "cyrus",
    "squid",
    "xfs",
    "vpopmail",
    "smmsp",
    "at",
    "svn",
    "squid",
    "games",
    "dbus",
    "postgres",
];

/// Official images of distributions and languages, which have no users but the system's, and those that have one.
const PLAIN_BASES: &[(&str, &[&str])] = &[
    ("debian", &[]),
    ("alpine", &[]),
    ("busybox", &[]),
    ("python", &[]),
    ("node", &["node"]),
    ("golang", &[]),
    ("rust", &[]),
    ("ruby", &[]),
    ("php", &[]),
    ("nginx", &["nginx"]),
    ("eclipse-temurin", &[]),
];

pub(super) fn run(view: &View<'_>, findings: &mut Findings) {
    for (index, stage) in view.file.stages.iter().enumerate() {
        let users = stage.instructions.iter().filter_map(|statement| match &statement.instruction {
            Instruction::User(word) => Some((statement, word)),
            _ => None,
        });
        if let Some((statement, word)) = users.clone().next_back() {
            let name = word.value.trim_matches(['"', '\'']);
            let name = name.split(':').next().unwrap_or(name);
            if matches!(name, "root" | "0") && !view.is_thrown_away(index) {
                let message = "the container's processes are root";
                found_in(findings, &LAST_USER_ROOT, statement, &word.span, message)
                    .hint("switch back with `USER NAME` after the steps that need root");
            }
        }
        for (statement, word) in users {
            if let Some(name) = unknown(view, index, word, statement.span.start) {
                let message =
                    format!("nobody is called `{name}`: neither the base has that user nor a step makes it");
                found_in(findings, &UNKNOWN_USER, statement, &word.span, message).hint(format!(
                    "write `RUN useradd --system {name}` (Alpine: `RUN adduser -D {name}`) before it"
                ));
            }
        }
    }
    for (piece, command) in view.commands() {
        if command.name() != "useradd" || command.has_option("l", &["no-log-init"]) {
            continue;
        }
        let uid = command.value_of(Some('u'), "uid");
        if uid.is_some_and(|uid| uid.len() > 5 && uid.chars().all(|c| c.is_ascii_digit())) {
            let message = "a user with so large a number makes `/var/log/lastlog` gigabytes in the layer";
            found(findings, &HUGE_UID, piece, &command.range, message).hint("add `-l`");
        }
    }
}

/// Returns the name when it is certainly nobody's.
fn unknown<'w>(
    view: &View<'_>,
    stage: usize,
    word: &'w Word,
    place: coracle_report::Position,
) -> Option<&'w str> {
    let name = word.value.trim_matches(['"', '\'']);
    let name = name.split(':').next().unwrap_or(name);
    if name.is_empty()
        || name.contains('$')
        || name.starts_with(|c: char| c.is_ascii_digit())
        || SYSTEM.contains(&name)
    {
        return None;
    }
    let base = view.base(stage)?;
    let base = base.strip_prefix("docker.io/").unwrap_or(base);
    let base = base.strip_prefix("library/").unwrap_or(base);
    let base = base.split([':', '@']).next().unwrap_or(base);
    let (_, own) = PLAIN_BASES.iter().find(|(image, _)| *image == base)?;
    if own.contains(&name) {
        return None;
    }
    // Whatever may have made it: a command that names it, a package, a file that is copied over /etc, a script.
    let silent = view.before(stage, place).any(|statement| match &statement.instruction {
        Instruction::Run(_) | Instruction::OnBuild(_) => {
            let text = &statement.text;
            !is_harmless(view, statement)
                || text.contains(name)
                || !matches_no_heredoc(&statement.instruction)
        }
        Instruction::Copy(copy) => copy.dest.value.contains("etc") || copy.dest.value == "/",
        Instruction::Add(add) => add.dest.value.contains("etc") || add.dest.value == "/",
        _ => false,
    });
    (!silent).then_some(name)
}

fn matches_no_heredoc(instruction: &Instruction) -> bool {
    matches!(instruction, Instruction::Run(run) if run.heredocs.is_empty())
}

/// Says whether a step runs only programs that make no users.
fn is_harmless(view: &View<'_>, statement: &coracle_dockerfile::Statement) -> bool {
    const HARMLESS: &[&str] = &[
        "mkdir", "chown", "chmod", "pip", "pip3", "npm", "yarn", "pnpm", "rm", "cp", "mv", "ln", "echo",
        "true", "go", "cargo", "python", "python3", "node", "touch", "cd", "ls", "cat", "sed", "tar", "curl",
        "wget", "uv", "poetry", "test", "[", "set", "export",
    ];
    let piece = view.pieces.iter().find(|piece| piece.statement.span == statement.span);
    piece.and_then(|piece| piece.snippet.script()).is_some_and(|script| {
        script.commands.iter().all(|command| command.words.is_empty() || HARMLESS.contains(&command.name()))
    })
}
