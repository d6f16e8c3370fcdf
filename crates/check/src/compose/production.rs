//! What production asks for: limits of memory and logs, a restart, a user that is not root.

use coracle_composefile::{NetworkMode, RestartPolicy, Service};
use coracle_dockerfile::Instruction;
use coracle_report::Severity;

use super::facts::{
    Probe, attribute, image_of, is_task, known_image, known_service, place, probe, serves, view,
};
use crate::knowledge::images::known;
use crate::project::{Check, Findings, Run, Subject};
use crate::{Family, Rule};

pub(super) static CHECK: Check = Check {
    rules: &[&NO_MEMORY_LIMIT, &NO_LOG_LIMIT, &NO_RESTART_POLICY, &ROOT_IN_PRODUCTION, &CRASH_LOOP_HIDDEN],
    run: Run::Subject(run),
};

static NO_MEMORY_LIMIT: Rule = Rule {
    id: "NoMemoryLimit",
    family: Family::Compose,
    severity: Severity::Warning,
    title: "Every service has a limit of memory in production",
    explanation: "A program without a limit takes memory until the machine has none left, and the kernel then ends whichever process it finds: often another one, such as the database. With a limit the fault stays with the service that has it.",
    example: Some((
        "api:\n  image: api:1",
        "api:\n  image: api:1\n  deploy:\n    resources:\n      limits: {memory: 512M}",
    )),
    ..Rule::PLAIN
};

static NO_LOG_LIMIT: Rule = Rule {
    id: "NoLogLimit",
    family: Family::Compose,
    severity: Severity::Warning,
    title: "Logs have a limit in production",
    explanation: "The driver `json-file`, which is Docker's default, keeps everything that a container ever wrote: the disk is full after months, and then everything on it fails at once. Say how large a log may become and how many are kept; an anchor says it once for all services.",
    example: Some((
        "api:\n  image: api:1",
        "x-logging: &logging\n  options: {max-size: 10m, max-file: \"3\"}\nservices:\n  api:\n    image: api:1\n    logging: *logging",
    )),
    ..Rule::PLAIN
};

static NO_RESTART_POLICY: Rule = Rule {
    id: "NoRestartPolicy",
    family: Family::Compose,
    severity: Severity::Warning,
    title: "A service that serves is restarted in production",
    explanation: "Without `restart` a container that ended stays so: after a crash, after the kernel took its memory, after the machine was restarted. `unless-stopped` brings it back until somebody stops it.",
    example: Some(("api:\n  image: api:1", "api:\n  image: api:1\n  restart: unless-stopped")),
    ..Rule::PLAIN
};

static ROOT_IN_PRODUCTION: Rule = Rule {
    id: "RootInProduction",
    family: Family::Compose,
    severity: Severity::Warning,
    title: "An application does not run as root in production",
    explanation: "A fault in a program that runs as root gives an attacker everything in its container, the files that are mounted into it with root's rights, and the best chance to get out of it. Make a user in the Dockerfile and end it with `USER`, or say `user:` in the compose file. Images that begin as root and drop it by themselves, such as those of nginx and PostgreSQL, are not meant.",
    example: Some((
        "FROM python:3.12-slim\nCMD [\"app\"]",
        "FROM python:3.12-slim\nRUN useradd --system app\nUSER app\nCMD [\"app\"]",
    )),
    ..Rule::PLAIN
};

static CRASH_LOOP_HIDDEN: Rule = Rule {
    id: "CrashLoopHidden",
    family: Family::Compose,
    severity: Severity::Warning,
    title: "`restart: always` has a health check beside it",
    explanation: "A program that cannot start, for want of a setting say, ends and is started again for ever: `up -d` has reported success long ago, and `ps` shows it as running most of the time. A health check, with `up --wait`, makes a failed deployment out of it; `on-failure:5` gives up.",
    example: Some((
        "api:\n  restart: always",
        "api:\n  restart: always\n  healthcheck:\n    test: [\"CMD\", \"wget\", \"-q\", \"-O\", \"/dev/null\", \"http://127.0.0.1:8000/health\"]",
    )),
    ..Rule::PLAIN
};

fn run(subject: &Subject<'_>, findings: &mut Findings) {
    if !subject.production {
        return;
    }
    logs(subject, findings);
    for service in subject.services().filter(|service| service.replicas > 0) {
        let task = is_task(subject, service);
        if service.resources.memory.is_none() && !task {
            findings
                .add(
                    &NO_MEMORY_LIMIT,
                    &service.span,
                    format!("`{}` may take all memory of the machine", service.name),
                )
                .hint("deploy: {resources: {limits: {memory: 512M}}}")
                .of(&service.name);
        }
        let said = attribute(subject, service, &["restart"]).is_some()
            || attribute(subject, service, &["deploy", "restart_policy"]).is_some();
        if service.restart == RestartPolicy::No && !said && serves(subject, service) {
            findings
                .add(&NO_RESTART_POLICY, &service.span, format!("`{}` stays down when it ends", service.name))
                .hint("restart: unless-stopped")
                .of(&service.name);
        }
        if service.restart == RestartPolicy::Always && probe(subject, service) == Probe::None && !task {
            let message = format!(
                "`{}` is restarted for ever, and without a health check that looks like success",
                service.name
            );
            findings
                .add(&CRASH_LOOP_HIDDEN, &place(subject, service, &["restart"]), message)
                .hint("give it a health check, or write `restart: on-failure:5`")
                .of(&service.name);
        }
        if !task {
            root(subject, service, findings);
        }
    }
}

/// Says whether what a service logs is kept without bound.
fn unbounded(subject: &Subject<'_>, service: &Service) -> bool {
    let driver = view(subject, service, &["logging", "driver"]).and_then(coracle_composefile::View::text);
    let keeps = matches!(driver, None | Some("json-file" | ""));
    keeps && !service.logging.disabled && service.logging.max_size.is_none() && !is_task(subject, service)
}

fn logs(subject: &Subject<'_>, findings: &mut Findings) {
    let without: Vec<&Service> = subject.services().filter(|service| unbounded(subject, service)).collect();
    let hint = "logging: {driver: json-file, options: {max-size: 10m, max-file: \"3\"}}";
    let bounded = subject.services().any(|service| service.logging.max_size.is_some());
    match without[..] {
        [first, _, ..] if !bounded => {
            let names: Vec<String> = without.iter().map(|service| format!("`{}`", service.name)).collect();
            let message = format!("no service has a limit for its logs: {}", names.join(", "));
            findings.add(&NO_LOG_LIMIT, &first.span, message).hint(hint).of(&first.name);
        }
        _ => {
            for service in without {
                let message = format!("the logs of `{}` grow without limit", service.name);
                findings.add(&NO_LOG_LIMIT, &service.span, message).hint(hint).of(&service.name);
            }
        }
    }
}

fn is_root(user: &str) -> bool {
    let name = user.split(':').next().unwrap_or(user).trim();
    name == "root" || (!name.is_empty() && name.bytes().all(|byte| byte == b'0'))
}

fn root(subject: &Subject<'_>, service: &Service, findings: &mut Findings) {
    // What has all privileges has a rule of its own.
    if service.network_mode == NetworkMode::None || service.privileged {
        return;
    }
    if let Some(user) = &service.user {
        // Of a well-known image its author knows why.
        let own =
            known_service(subject, service).is_none_or(super::super::knowledge::images::KnownImage::is_base);
        if is_root(user) && own {
            findings
                .add(
                    &ROOT_IN_PRODUCTION,
                    &place(subject, service, &["user"]),
                    format!("`{}` runs as root", service.name),
                )
                .hint("name a user that is not root: `user: \"1000:1000\"`")
                .of(&service.name);
        }
        return;
    }
    if let Some(build) = subject.build_of(&service.name) {
        let last = build.instructions().filter_map(|(_, statement)| match &statement.instruction {
            Instruction::User(word) => Some((word, statement)),
            _ => None,
        });
        if let Some((word, statement)) = last.last() {
            if is_root(&word.value) {
                let span = build.place_of(statement, &word.value);
                findings
                    .add(&ROOT_IN_PRODUCTION, &span, format!("`{}` runs as root", service.name))
                    .hint("end the Dockerfile with a `USER` that is not root")
                    .of(&service.name);
            }
            return;
        }
    } else if service.build.is_some() {
        return;
    }
    let Some(image) = image_of(subject, service) else { return };
    let direct = known_image(subject, service).is_some_and(|known| known.stays_root);
    let from_facts = subject.images.base(&image.familiar(), None).map(|facts| facts.user);
    let as_root = match from_facts {
        Some(user) => {
            (user.is_empty() || is_root(&user))
                && (direct || (service.build.is_some() && known(&image).is_none()))
        }
        None => direct,
    };
    if as_root {
        let span = match subject.build_of(&service.name) {
            Some(build) => build.dockerfile.stages[build.target].span.clone(),
            None => service.span.clone(),
        };
        let message =
            format!("`{}` runs as root: neither the image nor the project names a user", service.name);
        findings
            .add(&ROOT_IN_PRODUCTION, &span, message)
            .hint("RUN useradd --system app\nUSER app")
            .of(&service.name);
    }
}
