//! The project's own scripts: how they begin, how they go on after a failure, how they wait.

use std::path::{Path, PathBuf};

use coracle_report::Severity;

use super::instructions::is_shell;
use super::script::{Command, Script};
use super::setting::Setting;
use super::snippet::Snippet;
use super::word::Word;
use super::{dangers, heading};
use crate::project::{Check, Findings, Run, Subject};
use crate::{Family, Fix, Rule};

pub(super) static CHECK: Check = Check {
    rules: &[
        &EXPORT_FROM_CAT,
        &SLEEP_FOR_READINESS,
        &HEALTH_CHECKED_ONCE,
        &GREP_UNDER_ERREXIT,
        &COMPOSE_V1,
        &NO_ERREXIT,
    ],
    run: Run::Subject(run),
};

static EXPORT_FROM_CAT: Rule = Rule {
    id: "ExportFromCat",
    family: Family::Shell,
    severity: Severity::Warning,
    title: "Variables are exported by taking a file apart at blanks",
    explanation: "`export $(cat .env | xargs)` splits the file at every blank: `TITLE=My App` sets TITLE to `My`, a comment ends with \"not a valid identifier\", quotes and `$` mean something else than in an `.env` file. And when the file is not there, `export` succeeds all the same, with nothing set. Let the tool read the file (`docker compose --env-file .env.dev`, `coracle up dev`), or the shell: `set -a; . ./.env; set +a`.",
    example: Some(("export $(cat .env.dev | xargs)", "docker compose --env-file .env.dev up -d")),
    ..Rule::PLAIN
};

static SLEEP_FOR_READINESS: Rule = Rule {
    id: "SleepForReadiness",
    family: Family::Shell,
    severity: Severity::Warning,
    title: "A script sleeps where it should wait until something is ready",
    explanation: "The time is too short on a busy machine, and the script goes on as if all were well; elsewhere it is too long, at every run. Wait for health: `docker compose up -d --wait`, `coracle up`, or a loop that asks until it is answered or its time is over.",
    example: Some((
        "docker compose up -d\nsleep 10\necho ready",
        "docker compose up -d --wait --wait-timeout 60\necho ready",
    )),
    ..Rule::PLAIN
};

static HEALTH_CHECKED_ONCE: Rule = Rule {
    id: "HealthCheckedOnce",
    family: Family::Shell,
    severity: Severity::Warning,
    title: "Health is asked for once after a start",
    explanation: "Right after a start a service may well not answer yet, and one that answers once may end a second later: a single `curl` fails good deployments and passes bad ones. Give the service a health check and wait for it (`docker compose up -d --wait`, `coracle up`), or ask with `curl --retry 20 --retry-connrefused --retry-delay 1`.",
    example: Some((
        "docker compose up -d\ncurl -f http://localhost:8000/health",
        "docker compose up -d --wait --wait-timeout 60",
    )),
    ..Rule::PLAIN
};

static GREP_UNDER_ERREXIT: Rule = Rule {
    id: "GrepUnderErrexit",
    family: Family::Shell,
    severity: Severity::Warning,
    title: "`grep` without a match ends the script",
    explanation: "`grep` ends with 1 when nothing matches, and under `set -e` that ends the script without a word: a list that happens to be empty is taken for a failure. Write `... | grep PATTERN || true`, or let the program filter (`docker images 'name*'`). Where no match is a failure, say so: `grep -q PATTERN || { echo ...; exit 1; }`.",
    example: Some(("set -e\ndocker images | grep myapp", "set -e\ndocker images | grep myapp || true")),
    ..Rule::PLAIN
};

static COMPOSE_V1: Rule = Rule {
    id: "ComposeV1",
    family: Family::Shell,
    severity: Severity::Warning,
    title: "`docker-compose` is no longer installed on most machines",
    explanation: "The program `docker-compose` (version 1, in Python) is out of support since July 2023; today's Compose is a plug-in, `docker compose`. Machines set up since then have only that: \"docker-compose: command not found\".",
    example: Some(("docker-compose up -d", "docker compose up -d")),
    fixable: true,
    ..Rule::PLAIN
};

static NO_ERREXIT: Rule = Rule {
    id: "NoErrexit",
    family: Family::Shell,
    severity: Severity::Warning,
    title: "A script goes on after a build or a deployment has failed",
    explanation: "Without `set -e` the shell runs the next line whatever became of the one before: a failed build is followed by a deployment of yesterday's image, and the script ends with success. Begin with `set -euo pipefail`.",
    example: Some((
        "#!/bin/bash\ndocker build -t app .\ndocker push app",
        "#!/bin/bash\nset -euo pipefail\ndocker build -t app .\ndocker push app",
    )),
    ..Rule::PLAIN
};

/// Directories that hold other people's scripts, or what was built.
const SKIP: &[&str] = &[
    "node_modules",
    ".git",
    "target",
    "vendor",
    "dist",
    "build",
    ".venv",
    "venv",
    ".tox",
    "__pycache__",
    "third_party",
];
/// The most files that are looked through for scripts.
const FILES: usize = 5000;
/// The most scripts that are read.
const SCRIPTS: usize = 200;

fn run(subject: &Subject<'_>, findings: &mut Findings) {
    if subject.loaded.is_none() {
        return;
    }
    let paths = subject.files.walk(subject.directory, SKIP, FILES);
    let scripts = paths
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "sh" || extension == "bash"));
    for path in scripts.take(SCRIPTS) {
        let Some(text) = subject.files.text(&path) else { continue };
        one(subject, &path, &text, findings);
    }
}

fn one(subject: &Subject<'_>, path: &Path, text: &str, findings: &mut Findings) {
    heading::run(subject, path, text, findings);
    let first = heading::shebang(text);
    if first.is_some_and(|(_, interpreter)| !is_shell(interpreter)) {
        return;
    }
    let snippet = Snippet::of_file(path, text);
    dangers::syntax(&snippet, None, findings);
    let Some(setting) = Setting::of_script(&snippet) else { return };
    dangers::run(&setting, findings);
    let errexit = setting.ever_stops();
    for command in &setting.script.commands {
        exports(subject, path, &setting, command, findings);
        if errexit {
            greps(&setting, command, findings);
        }
        compose_v1(&setting, command, findings);
    }
    readiness(&setting, findings);
    if !errexit && first.is_some() {
        goes_on(&setting, findings);
    }
}

fn exports(
    subject: &Subject<'_>,
    path: &Path,
    setting: &Setting<'_>,
    command: &Command,
    findings: &mut Findings,
) {
    if !matches!(command.name(), "export" | "eval" | "declare") {
        return;
    }
    for word in command.arguments() {
        let Some((inner, _)) = word.substitutions.first() else { continue };
        // `export A=$(...)` sets one variable.
        if word.raw[..inner.start].contains('=') {
            continue;
        }
        let text = &word.raw[inner.clone()];
        let mut words =
            text.split(|c: char| c.is_whitespace() || "|<>;\"'".contains(c)).filter(|word| !word.is_empty());
        let reads = text
            .split(|c: char| !c.is_ascii_alphanumeric())
            .any(|own| matches!(own, "cat" | "grep" | "sed" | "xargs" | "egrep"));
        let file = words.find(|word| {
            let name = word.rsplit('/').next().unwrap_or(word);
            name.starts_with(".env")
                || Path::new(name).extension().is_some_and(|extension| extension == "env")
        });
        let (true, Some(file)) = (reads, file) else { continue };
        let message =
            format!("`{file}` is taken apart at blanks: comments, quotes and values with blanks break");
        let finding = setting.found(findings, &EXPORT_FROM_CAT, &command.range, message);
        if !file.contains('$') && !is_there(subject, path, file) {
            finding.note(format!("`{file}` is not there: the script goes on with nothing set"));
        }
        finding.note("`TITLE=My App` sets TITLE to `My`; a comment ends with \"not a valid identifier\"");
        finding.hint(format!("let the tool read it: `docker compose --env-file {file} ...`"));
        finding.hint(format!("or the shell: `set -a; . ./{file}; set +a`"));
    }
}

/// Says whether a file that a script names is there, from the project's directory or the script's.
fn is_there(subject: &Subject<'_>, script: &Path, file: &str) -> bool {
    let beside: Option<PathBuf> = script.parent().map(|parent| parent.join(file));
    subject.files.exists(&subject.directory.join(file))
        || beside.is_some_and(|path| subject.files.exists(&path))
}

fn greps(setting: &Setting<'_>, command: &Command, findings: &mut Findings) {
    let grep = matches!(command.name(), "grep" | "egrep" | "fgrep");
    if !grep || command.at + 1 != command.of || command.handled || !command.last || command.around.condition {
        return;
    }
    // Alone it is an assertion as a rule, and with `-q` it is one for sure.
    let filters = command.of > 1 || command.around.substitution;
    if !filters || command.has_option("q", &["quiet", "silent"]) || !setting.stops_at(command) {
        return;
    }
    setting
        .found(
            findings,
            &GREP_UNDER_ERREXIT,
            &command.range,
            "when nothing matches, the script ends here without a word",
        )
        .hint("write `... | grep PATTERN || true`");
}

fn compose_v1(setting: &Setting<'_>, command: &Command, findings: &mut Findings) {
    let Some(word) = command.program().filter(|word| word.is("docker-compose")) else { return };
    // Who asks which of the two is there knows.
    let asks = setting.script.commands.iter().any(|own| {
        matches!(own.first(), "command" | "which" | "type" | "hash")
            && own.words.iter().any(|word| word.is("docker-compose"))
    });
    let knows = setting.script.functions.iter().any(|name| name == "docker-compose");
    if asks || knows {
        return;
    }
    let finding = setting.found(
        findings,
        &COMPOSE_V1,
        &word.range,
        "`docker-compose` is not there on machines of today",
    );
    finding.hint("write `docker compose`");
    // Behind `sudo` or in quotes it is one word to somebody else.
    if word.raw == "docker-compose" && command.led == 0 {
        let span = setting.snippet.span(&word.range);
        finding.fix(Fix::replace("write `docker compose`", &span, "docker compose"));
    }
}

/// Says whether a command starts services in the background.
fn starts(command: &Command) -> bool {
    let has = |names: &[&str]| command.has_argument(names);
    match command.name() {
        "docker" | "podman" if has(&["compose"]) => has(&["up", "start", "restart"]) && !waits(command),
        "docker" | "podman" => (has(&["run"]) && has_detach(command)) || has(&["start", "restart"]),
        "docker-compose" | "podman-compose" => has(&["up", "start", "restart"]) && !waits(command),
        "kubectl" => has(&["apply", "rollout"]) && !has(&["status", "wait"]),
        "systemctl" | "service" => has(&["start", "restart"]),
        _ => false,
    }
}

fn has_detach(command: &Command) -> bool {
    command.arguments().iter().any(|word| {
        word.is("--detach")
            || word
                .text
                .strip_prefix('-')
                .is_some_and(|own| !own.starts_with('-') && own.len() < 5 && own.contains('d'))
    })
}

fn waits(command: &Command) -> bool {
    command.arguments().iter().any(|word| word.is("--wait"))
}

fn readiness(setting: &Setting<'_>, findings: &mut Findings) {
    let script: &Script = setting.script;
    let Some(start) = script.commands.iter().position(starts) else { return };
    let after = &script.commands[start + 1..];
    for (index, command) in after.iter().enumerate() {
        let top = !command.around.repeated && !command.around.function && !command.around.background;
        if !top || command.around.substitution {
            continue;
        }
        let follows = after[index + 1..]
            .iter()
            .any(|next| next.list != command.list || next.joint == super::Joint::And);
        let seconds = command
            .arguments()
            .first()
            .and_then(|word| word.literal())
            .map(|text| text.trim_end_matches('s'));
        let long = seconds
            .is_some_and(|text| text.parse::<f64>().map_or(text.ends_with('m'), |seconds| seconds >= 2.0));
        if command.name() == "sleep" && long && follows {
            let message = "the time may be too short, and the script goes on as if all were well";
            setting
                .found(findings, &SLEEP_FOR_READINESS, &command.range, message)
                .also(&setting.snippet.span(&script.commands[start].range), "started here")
                .hint("wait for health: `docker compose up -d --wait`, or `coracle up`");
        } else if asks_health(command) {
            let message =
                "asked once: a service that needs a second more fails, one that ends a second later passes";
            setting
                .found(findings, &HEALTH_CHECKED_ONCE, &command.range, message)
                .also(&setting.snippet.span(&script.commands[start].range), "started here")
                .hint("wait for health: `docker compose up -d --wait`, or `curl --retry 20 --retry-connrefused ...`");
        }
    }
}

/// Says whether a command asks a service of this machine whether it is well, once.
fn asks_health(command: &Command) -> bool {
    let fetcher = |word: &Word| matches!(word.file_name(), "curl" | "wget");
    let uses = command.words.iter().any(fetcher) && !matches!(command.name(), "echo" | "printf");
    let here = command.words.iter().any(|word| {
        (word.text.contains("localhost") || word.text.contains("127.0.0.1"))
            && (word.text.contains("health")
                || word.text.contains("ready")
                || word.text.contains("/ping")
                || word.text.contains("status"))
    });
    let again =
        command.words.iter().any(|word| word.text.starts_with("--retry") || word.text.starts_with("--tries"));
    uses && here && !again && !command.around.condition
}

fn goes_on(setting: &Setting<'_>, findings: &mut Findings) {
    let important = |command: &&Command| {
        let has = |names: &[&str]| command.has_argument(names);
        match command.name() {
            "docker" | "podman" if has(&["compose"]) => has(&["build", "up", "push", "pull"]),
            "docker" | "podman" => command
                .plain_arguments()
                .next()
                .is_some_and(|verb| matches!(verb.text.as_str(), "build" | "push" | "buildx")),
            "docker-compose" => has(&["build", "up", "push", "pull"]),
            "kubectl" => has(&["apply"]),
            "helm" => has(&["upgrade", "install"]),
            _ => false,
        }
    };
    let commands = &setting.script.commands;
    let found = commands.iter().find(|command| {
        let alone = command.last && command.joint != super::Joint::Or && !command.handled;
        let top = !command.around.function && !command.around.condition && !command.around.substitution;
        // What looks at `$?` knows what became of it.
        let looked = setting
            .snippet
            .text
            .get(command.range.end..)
            .is_some_and(|rest| rest.lines().take(4).any(|line| line.contains("$?")));
        let follows = commands.iter().any(|next| {
            next.list > command.list && next.range.start > command.range.end && next.name() != "exit"
        });
        important(command) && alone && top && !looked && follows
    });
    if let Some(command) = found {
        let line = heading::after(&setting.snippet.text);
        setting
            .found(
                findings,
                &NO_ERREXIT,
                &command.range,
                "when this fails, the script goes on and ends with success",
            )
            .hint(format!("write `set -euo pipefail` at line {line}"));
    }
}
