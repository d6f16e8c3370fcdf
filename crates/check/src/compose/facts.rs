//! What is known of a service beside what its files say: its image, its health check, its place in the project.

use coracle_composefile::{DependencyCondition, Port, Service, View};
use coracle_dockerfile::{CommandForm, HealthcheckProbe, Instruction};
use coracle_oci::{HealthCommand, Reference};
use coracle_report::Span;

use crate::knowledge::images::{KnownImage, Role, known};
use crate::project::Subject;

/// Returns where an attribute of a service is written, or else where the service is.
pub(crate) fn place(subject: &Subject<'_>, service: &Service, path: &[&str]) -> Span {
    attribute(subject, service, path).unwrap_or_else(|| service.span.clone())
}

/// Returns where an attribute of a service is written.
pub(crate) fn attribute(subject: &Subject<'_>, service: &Service, path: &[&str]) -> Option<Span> {
    Some(view(subject, service, path)?.key_span())
}

/// Returns an attribute of a service in the merged tree.
pub(crate) fn view<'a>(subject: &Subject<'a>, service: &Service, path: &[&str]) -> Option<View<'a>> {
    let whole: Vec<&str> = ["services", service.name.as_str()].iter().chain(path).copied().collect();
    subject.loaded?.root().get(&whole)
}

/// Returns where a variable of a service is set: its name, or the item of the list.
pub(crate) fn variable(subject: &Subject<'_>, service: &Service, name: &str) -> Span {
    place(subject, service, &["environment", name])
}

/// Returns the image that a service runs, or that what it runs is built on; `None` when that is not known.
pub(crate) fn image_of(subject: &Subject<'_>, service: &Service) -> Option<Reference> {
    if service.build.is_none() {
        let built = |other: &Service| other.build.is_some() && other.image == service.image;
        return (!subject.services().any(built)).then(|| service.image.clone());
    }
    let build = subject.build_of(&service.name)?;
    let base = build.base_image(build.target)?;
    if base.contains('$') || build.contexts.contains(&base) {
        return None;
    }
    base.parse().ok()
}

/// Returns what is known of that image.
pub(crate) fn known_image(subject: &Subject<'_>, service: &Service) -> Option<&'static KnownImage> {
    known(&image_of(subject, service)?)
}

/// Returns what is known of the image that a service runs as it is; `None` when it runs something else of it, such as a
/// backup.
pub(crate) fn known_service(subject: &Subject<'_>, service: &Service) -> Option<&'static KnownImage> {
    let known = if service.build.is_some() { None } else { known_image(subject, service) };
    known.filter(|known| runs_server(service, known))
}

/// Says whether a service runs what its image is for.
pub(crate) fn runs_server(service: &Service, known: &KnownImage) -> bool {
    let entry = service.entrypoint.as_deref().is_none_or(<[String]>::is_empty);
    entry && known.is_server(service.command.as_deref().unwrap_or_default())
}

/// What probes a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// Something does.
    Some,
    /// Nothing does.
    None,
    /// Its author turned probing off.
    Disabled,
    /// It is not known.
    Unknown,
}

/// Returns what probes a service.
pub(crate) fn probe(subject: &Subject<'_>, service: &Service) -> Probe {
    match service.healthcheck.as_ref().and_then(|check| check.command.as_ref()) {
        Some(HealthCommand::None) => return Probe::Disabled,
        Some(_) => return Probe::Some,
        None => {}
    }
    if service.build.is_some() {
        let Some(build) = subject.build_of(&service.name) else { return Probe::Unknown };
        let last = build.instructions().filter_map(|(_, statement)| match &statement.instruction {
            Instruction::Healthcheck(check) => Some(&check.probe),
            _ => None,
        });
        match last.last() {
            Some(HealthcheckProbe::None) => return Probe::Disabled,
            Some(HealthcheckProbe::Command(_)) => return Probe::Some,
            None => {}
        }
        if build.base_image(build.target).is_none() {
            return Probe::None;
        }
    }
    let Some(image) = image_of(subject, service) else { return Probe::Unknown };
    if let Some(facts) = subject.images.base(&image.familiar(), None) {
        return if facts.healthcheck { Probe::Some } else { Probe::None };
    }
    match known(&image) {
        Some(known) if !known.may_probe => Probe::None,
        Some(_) | None => Probe::Unknown,
    }
}

/// Says whether others wait until a service has ended, or it cannot serve anybody: a task.
pub(crate) fn is_task(subject: &Subject<'_>, service: &Service) -> bool {
    subject.services().any(|other| {
        other
            .depends_on
            .get(&service.name)
            .is_some_and(|dependency| dependency.condition == DependencyCondition::CompletedSuccessfully)
    })
}

/// Returns the services that wait for a service.
pub(crate) fn dependents<'a>(
    subject: &Subject<'a>,
    service: &'a Service,
) -> impl Iterator<Item = &'a Service> {
    subject.services().filter(|other| other.depends_on.contains_key(&service.name))
}

/// Says whether a service is there to be run for long: it is published, waited for or well known.
pub(crate) fn serves(subject: &Subject<'_>, service: &Service) -> bool {
    !is_task(subject, service)
        && (!service.ports.is_empty()
            || dependents(subject, service).next().is_some()
            || known_service(subject, service).is_some_and(|known| !known.is_base()))
}

/// Says whether a published port is reached from other machines.
pub(crate) fn is_public(port: &Port) -> bool {
    port.host_ip.is_none_or(|address| address.is_unspecified())
}

/// Says whether a service is a well-known proxy.
pub(crate) fn is_proxy(subject: &Subject<'_>, service: &Service) -> bool {
    known_service(subject, service).is_some_and(|known| known.role == Role::Proxy)
}

/// Returns what a service runs first, as words; `None` when that is not known. A text for a shell begins with `sh -c`.
pub(crate) fn first_process(subject: &Subject<'_>, service: &Service) -> Option<Vec<String>> {
    let build = subject.build_of(&service.name);
    let of_build = |entry: bool| -> Option<Vec<String>> {
        let mut found = None;
        for (_, statement) in build?.instructions() {
            match (&statement.instruction, entry) {
                (Instruction::Cmd(form), false) | (Instruction::Entrypoint(form), true) => {
                    found = Some(match form {
                        CommandForm::Exec(words) => words.clone(),
                        CommandForm::Shell(text) => {
                            vec!["sh".to_owned(), "-c".to_owned(), text.clone()]
                        }
                    });
                }
                // An entry point clears the command that was there before.
                (Instruction::Entrypoint(_), false) => found = None,
                _ => {}
            }
        }
        found
    };
    let base =
        || -> Option<crate::BaseFacts> { subject.images.base(&image_of(subject, service)?.familiar(), None) };
    let entry = match &service.entrypoint {
        Some(words) => words.clone(),
        None => match of_build(true) {
            Some(words) => words,
            None => match base() {
                Some(facts) => facts.entrypoint,
                // Of languages and distributions the entry point runs the command as it is, or there is none.
                None if known_image(subject, service)?.is_base() => Vec::new(),
                None => return None,
            },
        },
    };
    if entry.first().is_some_and(|first| first.ends_with("docker-entrypoint.sh")) || entry.is_empty() {
        let command = service.command.clone().or_else(|| of_build(false));
        return command.or_else(|| base().map(|facts| facts.cmd)).filter(|words| !words.is_empty());
    }
    Some(entry)
}
