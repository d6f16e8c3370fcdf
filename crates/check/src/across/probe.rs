//! Health checks against the image that they run in.

use coracle_dockerfile::{CommandForm, HealthcheckProbe, Statement};
use coracle_oci::HealthCommand;
use coracle_report::{Severity, Span};

use super::nginx::{self, Configuration, configurations};
use crate::image::{Made, Running, commands, running};
use crate::knowledge::official::{self, Has};
use crate::project::{Build, Check, Findings, Run, Subject};
use crate::{Family, Rule};

pub(super) static BUILDS: Check = Check { rules: &[&PROBE_PROGRAM_MISSING], run: Run::Build(of_build) };
pub(super) static SERVICES: Check = Check { rules: &[&PROBE_PORT], run: Run::Subject(of_services) };

static PROBE_PROGRAM_MISSING: Rule = Rule {
    id: "ProbeProgramMissing",
    family: Family::Across,
    severity: Severity::Error,
    title: "A health check runs a program that its image does not hold",
    explanation: "The probe runs inside the container, with the programs of its image. When the program is missing every probe fails, the container is never healthy, and whatever waits for it never starts. Slim images of Debian have neither `curl` nor `wget`, those of Alpine have BusyBox' `wget`. Install the program in the Dockerfile, use one that is there (`python -c`, `node -e`, `pg_isready`), or ask the program itself.",
    example: Some((
        "FROM node:22-alpine\nHEALTHCHECK CMD curl -f http://localhost:3000/",
        "FROM node:22-alpine\nHEALTHCHECK CMD wget -q -O /dev/null http://127.0.0.1:3000/",
    )),
    ..Rule::PLAIN
};

static PROBE_PORT: Rule = Rule {
    id: "ProbePort",
    family: Family::Across,
    severity: Severity::Error,
    title: "A health check asks a port that nothing in the container serves",
    explanation: "The probe asks an address inside the container: the port that the program listens on there, not the one that is published. Everything that says what the service serves names other ports, so that it never becomes healthy.",
    example: Some((
        "ports: [\"8080:80\"]\nhealthcheck: { test: curl -f http://localhost:8080/ }",
        "ports: [\"8080:80\"]\nhealthcheck: { test: curl -f http://localhost:80/ }",
    )),
    ..Rule::PLAIN
};

fn of_build(subject: &Subject<'_>, build: &Build, findings: &mut Findings) {
    let made = Made::of(build, subject.images);
    let Some((statement, probe)) = made.healthcheck else { return };
    // A compose file's check takes the place of the image's.
    let replaced = !build.services.is_empty()
        && build.services.iter().all(|service| {
            let service = subject.project().and_then(|project| project.services.get(service));
            service
                .and_then(|service| service.healthcheck.as_ref())
                .is_some_and(|check| check.command.is_some())
        });
    if replaced {
        return;
    }
    let programs = match probe {
        HealthcheckProbe::None => return,
        HealthcheckProbe::Command(CommandForm::Exec(words)) => vec![words.clone()],
        HealthcheckProbe::Command(CommandForm::Shell(text)) => commands(text),
    };
    for words in programs {
        let Some((certain, message, hint)) = lacking(&words, Some(&made), made.base.as_deref(), subject)
        else {
            continue;
        };
        let finding = findings.add(&PROBE_PROGRAM_MISSING, &place(build, statement, &words[0]), message);
        finding.lines = statement.span.clone();
        if !certain {
            finding.severity(Severity::Note);
        }
        finding.also(
            &build.dockerfile.stages[made.steps.first().map_or(build.target, |step| step.stage)].span,
            "the base",
        );
        finding.hint(hint);
        break;
    }
}

/// Returns where a program stands in the probe: after `CMD`, not among the flags.
fn place(build: &Build, statement: &Statement, program: &str) -> Span {
    build.place_of(statement, program)
}

/// Says that an image lacks a program: whether that is certain, why, and what to use.
fn lacking(
    words: &[String],
    made: Option<&Made<'_>>,
    image: Option<&str>,
    subject: &Subject<'_>,
) -> Option<(bool, String, String)> {
    let program = words.first()?;
    if program.contains(['$', '/']) || made.is_some_and(|made| made.brings(program)) {
        return None;
    }
    let image = image?;
    let (certain, message) = match subject.images.has_program(image, program) {
        Some(true) => return None,
        Some(false) => (true, format!("the health check runs `{program}`, which `{image}` does not hold")),
        None => match official::has(image, program)? {
            Has::Yes => return None,
            Has::No => (true, format!("the health check runs `{program}`, which `{image}` does not hold")),
            Has::Some => (
                false,
                format!(
                    "the health check runs `{program}`, which only some variants of `{image}` hold and nothing here installs"
                ),
            ),
        },
    };
    let alpine = official::has(image, "wget") == Some(Has::Yes);
    let hint = match program.as_str() {
        "curl" if alpine => "use BusyBox' own: `wget -q -O /dev/null http://127.0.0.1:PORT/`".to_owned(),
        "curl" | "wget" if super::is_official(image, "python") => {
            "use what is there: `python -c \"import urllib.request as u; u.urlopen('http://127.0.0.1:PORT/')\"`".to_owned()
        }
        "curl" | "wget" if super::is_official(image, "node") => {
            "use what is there: `node -e \"fetch('http://127.0.0.1:PORT/').then(r => process.exit(r.ok ? 0 : 1))\"`".to_owned()
        }
        _ => format!("install `{program}` in the Dockerfile"),
    };
    Some((certain, message, hint))
}

fn of_services(subject: &Subject<'_>, findings: &mut Findings) {
    let Some(loaded) = subject.loaded else { return };
    for running in &running(subject) {
        let service = running.service;
        let test = service.healthcheck.as_ref().and_then(|check| check.command.as_ref());
        let span = loaded
            .span_of(&["services", &service.name, "healthcheck", "test"])
            .unwrap_or_else(|| service.span.clone());
        if let Some(test) = test {
            let programs = match test {
                HealthCommand::None | HealthCommand::Http(_) | HealthCommand::Tcp(_) => Vec::new(),
                HealthCommand::Exec(words) => vec![words.clone()],
                HealthCommand::Shell(text) => commands(text),
            };
            for words in programs {
                let image = running.image.as_deref();
                if let Some((certain, message, hint)) = lacking(&words, running.made.as_ref(), image, subject)
                {
                    let finding = findings.add(&PROBE_PROGRAM_MISSING, &span, message);
                    finding.of(&service.name).hint(hint);
                    if !certain {
                        finding.severity(Severity::Note);
                    }
                    break;
                }
            }
        }
        port(running, subject, test.is_some().then_some(span), findings);
    }
}

/// Says that a probe asks a port that is not served.
fn port(running: &Running<'_>, subject: &Subject<'_>, own: Option<Span>, findings: &mut Findings) {
    let Some(probe) = running.probe() else { return };
    let Some((asked, text)) = asked_port(&probe) else { return };
    // Only a program that says its ports by its command, or a known server, can be judged.
    let nginx = running.is_nginx();
    let configurations = if nginx { configurations(running, subject) } else { Vec::new() };
    let mut served = running.ports();
    let listened = configurations.iter().flat_map(Configuration::all).filter_map(nginx::listened);
    served.extend(listened);
    let known = !running.command_ports().is_empty()
        || running.official.is_some_and(|official| !official.ports.is_empty())
        || running.made.as_ref().is_some_and(|made| !made.exposed.is_empty());
    if served.is_empty() || !known || served.contains(&asked) {
        return;
    }
    let list: Vec<String> = served.iter().map(ToString::to_string).collect();
    let name = &running.service.name;
    let message = format!("the health check asks port {asked}, where `{name}` serves {}", list.join(", "));
    let place =
        match (own, running.made.as_ref().and_then(|made| made.healthcheck.map(|check| (made, check.0)))) {
            (Some(span), _) => span,
            (None, Some((made, statement))) => made.build.place_of(statement, &text),
            (None, None) => return,
        };
    findings.add(&PROBE_PORT, &place, message).of(name).hint(format!("ask `127.0.0.1:{}`", list[0]));
}

/// Returns the port of the first address of the container itself in a probe, and the address as written.
fn asked_port(probe: &str) -> Option<(u16, String)> {
    for host in ["localhost", "127.0.0.1", "0.0.0.0", "[::1]"] {
        for scheme in ["http://", "https://"] {
            let needle = format!("{scheme}{host}");
            let Some(at) = probe.find(&needle) else { continue };
            let rest = &probe[at + needle.len()..];
            let digits: String = match rest.strip_prefix(':') {
                Some(rest) => rest.chars().take_while(char::is_ascii_digit).collect(),
                None if rest.starts_with(|c: char| c.is_alphanumeric() || c == '.' || c == '-') => continue,
                None => String::new(),
            };
            let port = match (rest.starts_with(':'), digits.as_str(), scheme) {
                // A variable.
                (true, "", _) => return None,
                (true, digits, _) => digits.parse().ok()?,
                (false, _, "http://") => 80,
                (false, ..) => 443,
            };
            return Some((port, needle));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_probes() {
        let table = [
            ("curl -f http://localhost:8000/health || exit 1", Some(8000)),
            ("curl http://localhost/", Some(80)),
            ("wget https://127.0.0.1", Some(443)),
            ("curl http://localhost:$PORT/", None),
            ("curl http://localhost.example.org/", None),
            ("pg_isready", None),
        ];
        for (probe, expected) in table {
            assert_eq!(asked_port(probe).map(|found| found.0), expected, "{probe}");
        }
    }
}
