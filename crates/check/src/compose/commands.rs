//! Commands: operators that no shell reads, and first processes that do not end when they are asked to.

use coracle_report::Severity;

use super::facts::{attribute, first_process, place, view};
use super::health::is_shell;
use crate::project::{Check, Findings, Run, Subject};
use crate::{Family, Rule};

pub(super) static CHECK: Check = Check { rules: &[&COMMAND_WITHOUT_SHELL, &NO_INIT], run: Run::Subject(run) };

static COMMAND_WITHOUT_SHELL: Rule = Rule {
    id: "CommandWithoutShell",
    family: Family::Compose,
    severity: Severity::Warning,
    title: "A command with shell operators is run by a shell",
    explanation: "`command` and `entrypoint` are split into words and run without a shell: `&&`, `||`, `|`, `;` and `>` reach the program as arguments, and what stands behind them never runs. Write `sh -c` and the line in quotes.",
    example: Some((
        "command: alembic upgrade head && uvicorn app:app",
        "command: sh -c \"alembic upgrade head && exec uvicorn app:app\"",
    )),
    ..Rule::PLAIN
};

static NO_INIT: Rule = Rule {
    id: "NoInit",
    family: Family::Compose,
    severity: Severity::Note,
    title: "A program that was not made to be the first process runs under an init",
    explanation: "The first process of a container gets no signal that it has no handler for, and inherits the processes that lose their parent: npm, node, python and their kin do not end on SIGTERM before they have installed a handler, so that `stop` takes its whole grace period and then kills. `init: true` puts a small program first that passes signals on and reaps.",
    example: Some((
        "page:\n  build: .\n  command: [npm, start]",
        "page:\n  build: .\n  init: true\n  command: [npm, start]",
    )),
    ..Rule::PLAIN
};

fn run(subject: &Subject<'_>, findings: &mut Findings) {
    for service in subject.services() {
        for (key, words) in [("command", &service.command), ("entrypoint", &service.entrypoint)] {
            let Some(words) = words.as_deref().filter(|words| !words.is_empty()) else { continue };
            // What comes before the command may be a shell.
            let entry = service.entrypoint.as_deref().unwrap_or_default();
            let shell = words.iter().chain(entry).any(|word| is_shell(word) || word == "-c");
            let operator = words
                .iter()
                .skip(1)
                .find(|word| matches!(word.as_str(), "&&" | "||" | "|" | ";" | ">" | ">>" | "2>&1"));
            let Some(operator) = operator.filter(|_| !shell) else { continue };
            let place = view(subject, service, &[key]).map(coracle_composefile::View::span);
            let place = place.unwrap_or_else(|| service.span.clone());
            let message = format!(
                "no shell reads the {key} of `{}`: `{operator}` is an argument of `{}`",
                service.name, words[0]
            );
            findings
                .add(&COMMAND_WITHOUT_SHELL, &place, message)
                .hint(format!("{key}: sh -c {:?}", words.join(" ")))
                .of(&service.name);
        }
        init(subject, service, findings);
    }
}

fn init(subject: &Subject<'_>, service: &coracle_composefile::Service, findings: &mut Findings) {
    let said = attribute(subject, service, &["init"]).is_some();
    if service.init || said || service.build.is_none() {
        return;
    }
    let Some(words) = first_process(subject, service) else { return };
    let program = words.first().and_then(|word| word.rsplit('/').next()).unwrap_or_default();
    let meant = matches!(
        program,
        "npm"
            | "npx"
            | "yarn"
            | "pnpm"
            | "node"
            | "nodemon"
            | "ts-node"
            | "python"
            | "python3"
            | "flask"
            | "uvicorn"
    );
    if !meant {
        return;
    }
    let span = if service.command.is_some() && service.entrypoint.is_none() {
        place(subject, service, &["command"])
    } else {
        service.span.clone()
    };
    findings
        .add(&NO_INIT, &span, format!("`{program}` is the first process of `{}`", service.name))
        .hint("init: true")
        .of(&service.name);
}
