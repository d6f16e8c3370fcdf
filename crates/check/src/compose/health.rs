//! Health checks, and what `depends_on` waits for.

use coracle_composefile::{DependencyCondition, RestartPolicy, Service};
use coracle_oci::HealthCommand;
use coracle_report::Severity;

use super::facts::{Probe, dependents, is_task, known_service, place, probe};
use crate::knowledge::images::Role;
use crate::project::{Check, Findings, Run, Subject};
use crate::{Family, Rule};

pub(super) static WAITING: Check = Check {
    rules: &[&WAITS_FOR_NOTHING, &HEALTHY_WITHOUT_HEALTHCHECK, &RESTARTED_TASK],
    run: Run::Subject(waiting),
};
pub(super) static PROBES: Check = Check {
    rules: &[&NO_HEALTHCHECK, &HEALTHCHECK_NEVER_FAILS, &HEALTHCHECK_WITHOUT_SHELL],
    run: Run::Subject(probes),
};

static WAITS_FOR_NOTHING: Rule = Rule {
    id: "WaitsForNothing",
    family: Family::Compose,
    severity: Severity::Warning,
    title: "A service that needs a database waits until it is ready",
    explanation: "`depends_on` without a condition waits until the other container was started, not until the program in it takes connections: a database needs seconds for that, and minutes on its first start. Until then the dependent service meets `connection refused`. Give the database a health check and wait for `service_healthy`.",
    example: Some(("depends_on:\n  - database", "depends_on:\n  database:\n    condition: service_healthy")),
    ..Rule::PLAIN
};

static HEALTHY_WITHOUT_HEALTHCHECK: Rule = Rule {
    id: "HealthyWithoutHealthcheck",
    family: Family::Compose,
    severity: Severity::Error,
    title: "`service_healthy` is asked of a service that has a health check",
    explanation: "A container without a health check never becomes healthy: Compose starts what it depends on and then ends with `dependency failed to start: container ... has no healthcheck configured`. Give the service a health check, in the compose file or by `HEALTHCHECK` in its Dockerfile.",
    example: Some((
        "services:\n  api:\n    image: api:1\n    depends_on:\n      db: {condition: service_healthy}\n  db:\n    image: postgres:17",
        "  db:\n    image: postgres:17\n    healthcheck:\n      test: [\"CMD-SHELL\", \"pg_isready -h 127.0.0.1\"]",
    )),
    ..Rule::PLAIN
};

static RESTARTED_TASK: Rule = Rule {
    id: "RestartedTask",
    family: Family::Compose,
    severity: Severity::Warning,
    title: "A task that others wait for is not restarted when it has ended",
    explanation: "With `restart: always` or `unless-stopped` a container is started again after it ended with 0: a migration that others wait for with `service_completed_successfully` runs over and over again. Leave `restart` out, or restart it after a failure only: `on-failure`.",
    example: Some(("migrate:\n  restart: always", "migrate:\n  restart: on-failure:3")),
    ..Rule::PLAIN
};

static NO_HEALTHCHECK: Rule = Rule {
    id: "NoHealthcheck",
    family: Family::Compose,
    severity: Severity::Warning,
    title: "What others need has a health check",
    explanation: "Without a health check a container counts as good as long as its first process lives: `up --wait` returns before anything answers, `depends_on` cannot wait for more than the start, and a program that hangs is not noticed. Databases, proxies, monitoring and services that others depend on should have one.",
    example: Some((
        "db:\n  image: postgres:17",
        "db:\n  image: postgres:17\n  healthcheck:\n    test: [\"CMD-SHELL\", \"pg_isready -h 127.0.0.1\"]\n    start_period: 60s\n    start_interval: 1s",
    )),
    ..Rule::PLAIN
};

static HEALTHCHECK_NEVER_FAILS: Rule = Rule {
    id: "HealthcheckNeverFails",
    family: Family::Compose,
    severity: Severity::Warning,
    title: "A health check can fail",
    explanation: "A probe that ends with `|| true` or `|| exit 0` says that all is well whatever happens. What waits for it waits for nothing. End it with `|| exit 1`, or leave the end out.",
    example: Some(("test: curl -f http://localhost/ || true", "test: curl -f http://localhost/ || exit 1")),
    ..Rule::PLAIN
};

static HEALTHCHECK_WITHOUT_SHELL: Rule = Rule {
    id: "HealthcheckWithoutShell",
    family: Family::Compose,
    severity: Severity::Warning,
    title: "A health check that needs a shell says `CMD-SHELL`",
    explanation: "Behind `CMD` a list is a program with its arguments, and no shell reads it: `||`, `&&`, `|` and `>` are given to the program as arguments, and one text with blanks in it is taken as the name of a program that nobody has. Write `CMD-SHELL` and the whole line, or the words one by one.",
    example: Some((
        "test: [\"CMD\", \"curl -f http://localhost/ || exit 1\"]",
        "test: [\"CMD-SHELL\", \"curl -f http://localhost/ || exit 1\"]",
    )),
    ..Rule::PLAIN
};

fn waiting(subject: &Subject<'_>, findings: &mut Findings) {
    for service in subject.services() {
        for (name, dependency) in &service.depends_on {
            let Some(other) = subject.project().and_then(|project| project.services.get(name)) else {
                continue;
            };
            let checked = probe(subject, other);
            match dependency.condition {
                DependencyCondition::Started => {
                    let Some(known) = known_service(subject, other).filter(|known| known.is_store()) else {
                        continue;
                    };
                    let message = format!(
                        "`{}` starts as soon as `{name}` ({}) is started, not when it takes connections",
                        service.name, known.name
                    );
                    let finding = findings.add(&WAITS_FOR_NOTHING, &dependency.span, message);
                    finding.of(&service.name);
                    if matches!(checked, Probe::None | Probe::Disabled) {
                        finding.also(&other.span, format!("`{name}` has no health check"));
                        if let Some(test) = known.probe {
                            finding.hint(format!("give `{name}` a health check: `test: {test}`"));
                        }
                    }
                    finding
                        .hint(format!("then write `depends_on: {{{name}: {{condition: service_healthy}}}}`"));
                }
                DependencyCondition::Healthy if matches!(checked, Probe::None | Probe::Disabled) => {
                    let message = format!(
                        "`{}` waits until `{name}` is healthy, and `{name}` has no health check",
                        service.name
                    );
                    let finding = findings
                        .add(&HEALTHY_WITHOUT_HEALTHCHECK, &dependency.span, message)
                        .also(&other.span, "this one has none")
                        .of(&service.name);
                    if let Some(test) = known_service(subject, other).and_then(|known| known.probe) {
                        finding.hint(format!("give `{name}` a health check: `test: {test}`"));
                    }
                }
                DependencyCondition::Healthy | DependencyCondition::CompletedSuccessfully => {}
            }
        }
        let again = match service.restart {
            RestartPolicy::Always => "always",
            RestartPolicy::UnlessStopped => "unless-stopped",
            RestartPolicy::No | RestartPolicy::OnFailure { .. } => continue,
        };
        if is_task(subject, service) {
            let message = format!(
                "others wait until `{}` has ended, and `restart: {again}` starts it again each time",
                service.name
            );
            findings
                .add(&RESTARTED_TASK, &place(subject, service, &["restart"]), message)
                .hint("write `restart: on-failure:3`, or leave it out")
                .of(&service.name);
        }
    }
}

fn probes(subject: &Subject<'_>, findings: &mut Findings) {
    for service in subject.services() {
        if probe(subject, service) == Probe::None && !is_task(subject, service) {
            missing(subject, service, findings);
        }
        let test = || place(subject, service, &["healthcheck", "test"]);
        match service.healthcheck.as_ref().and_then(|check| check.command.as_ref()) {
            Some(HealthCommand::Shell(text)) => {
                let end = text.trim_end().trim_end_matches(';').trim_end();
                let excuse = ["|| true", "||true", "|| exit 0", "|| :", "; true", "; exit 0"]
                    .into_iter()
                    .find(|excuse| end.ends_with(excuse));
                if let Some(excuse) = excuse {
                    let message = format!(
                        "the health check of `{}` ends with `{excuse}`: it never fails",
                        service.name
                    );
                    findings
                        .add(&HEALTHCHECK_NEVER_FAILS, &test(), message)
                        .hint("end it with `|| exit 1`")
                        .of(&service.name);
                }
            }
            Some(HealthCommand::Exec(words)) => {
                let shell = words.first().is_some_and(|first| is_shell(first));
                let alone = words.len() == 1 && words[0].trim().contains(' ');
                let operator = words
                    .iter()
                    .find(|word| matches!(word.as_str(), "||" | "&&" | "|" | ";" | ">" | ">>" | "2>&1"));
                if alone {
                    let message = format!(
                        "the health check of `{}` runs a program of the name `{}`, blanks included",
                        service.name, words[0]
                    );
                    findings
                        .add(&HEALTHCHECK_WITHOUT_SHELL, &test(), message)
                        .hint(format!("write `test: [\"CMD-SHELL\", {:?}]`", words[0]))
                        .of(&service.name);
                } else if let Some(operator) = operator.filter(|_| !shell) {
                    let message = format!(
                        "no shell reads the health check of `{}`: `{operator}` is an argument of `{}`",
                        service.name, words[0]
                    );
                    findings
                        .add(&HEALTHCHECK_WITHOUT_SHELL, &test(), message)
                        .hint(format!("write `test: [\"CMD-SHELL\", {:?}]`", words.join(" ")))
                        .of(&service.name);
                }
            }
            Some(HealthCommand::Http(_) | HealthCommand::Tcp(_) | HealthCommand::None) | None => {}
        }
    }
}

fn missing(subject: &Subject<'_>, service: &Service, findings: &mut Findings) {
    let known = known_service(subject, service);
    let needed =
        known.is_some_and(|known| known.is_store() || matches!(known.role, Role::Proxy | Role::Metrics));
    let waiting = dependents(subject, service).next();
    let message = match (known.filter(|_| needed), waiting) {
        (Some(known), _) => {
            format!("`{}` ({}) has no health check: nobody sees when it is ready", service.name, known.name)
        }
        (None, Some(other)) => {
            format!("`{}` depends on `{}`, which has no health check", other.name, service.name)
        }
        (None, None) => return,
    };
    let finding = findings.add(&NO_HEALTHCHECK, &service.span, message).of(&service.name);
    match known.and_then(|known| known.probe) {
        Some(test) => finding.hint(format!("healthcheck: {{test: {test}, start_period: 60s}}")),
        None => finding.hint("healthcheck: {test: [\"CMD\", \"PROGRAM\", \"ARGUMENT\"], start_period: 30s}"),
    };
}

/// Says whether a program is a shell.
pub(super) fn is_shell(program: &str) -> bool {
    let name = program.rsplit('/').next().unwrap_or(program);
    matches!(name, "sh" | "bash" | "ash" | "dash" | "zsh" | "busybox" | "pwsh" | "cmd" | "powershell")
}
