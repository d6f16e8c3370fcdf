//! Networks, volumes, secrets and container names that belong to somebody else.

use coracle_composefile::{FileContent, MountSource};
use coracle_report::Severity;

use super::place;
use crate::project::{Check, Findings, HostFacts, Run, Subject};
use crate::{Family, Rule};

pub(super) static CHECK: Check = Check {
    rules: &[&EXTERNAL_NETWORK_MISSING, &EXTERNAL_VOLUME_MISSING, &EXTERNAL_SECRET, &CONTAINER_NAME_TAKEN],
    run: Run::Subject(run),
};

static EXTERNAL_NETWORK_MISSING: Rule = Rule {
    id: "ExternalNetworkMissing",
    family: Family::Host,
    severity: Severity::Error,
    title: "an external network must exist",
    explanation: "`external: true` says that somebody else makes and removes the network, so that `up` does not make it and fails when it is missing. Make it once with `coracle network create NAME`, bring the project up that owns it, or leave `external` out when it is this project's own.",
    example: Some((
        "networks:\n  front:\n    external: true    # and nobody made it",
        "networks:\n  front: {}",
    )),
    ..Rule::PLAIN
};

static EXTERNAL_VOLUME_MISSING: Rule = Rule {
    id: "ExternalVolumeMissing",
    family: Family::Host,
    severity: Severity::Error,
    title: "an external volume must exist",
    explanation: "`external: true` says that somebody else makes and removes the volume, so that `up` does not make it and fails when it is missing. Make it once with `coracle volume create NAME`, or leave `external` out when it is this project's own.",
    example: Some(("volumes:\n  data:\n    external: true    # and nobody made it", "volumes:\n  data: {}")),
    ..Rule::PLAIN
};

static EXTERNAL_SECRET: Rule = Rule {
    id: "ExternalSecret",
    family: Family::Host,
    severity: Severity::Error,
    title: "a secret or configuration comes from a file, a variable or the text itself",
    explanation: "`external: true` leaves a secret to the platform's own store, which Docker has in Swarm mode only: Docker Compose refuses it (`unsupported external secret`), and there is no such store here either. Name a `file`, an `environment` variable, or for configurations the `content`.",
    example: Some(("secrets:\n  key:\n    external: true", "secrets:\n  key:\n    file: ./secrets/key.txt")),
    ..Rule::PLAIN
};

static CONTAINER_NAME_TAKEN: Rule = Rule {
    id: "ContainerNameTaken",
    family: Family::Host,
    severity: Severity::Error,
    title: "a fixed container name must not belong to another container",
    explanation: "A name belongs to one container of the machine. With a fixed `container_name` two environments, or two checkouts, of a project cannot run side by side, and what an older project left behind is in the way. Leave `container_name` out, and names are made of project and service; other services reach it by the service's name anyway.",
    example: Some(("services:\n  db:\n    container_name: db", "services:\n  db: {}")),
    ..Rule::PLAIN
};

/// Networks that are always there, or are none.
const BUILT_IN: &[&str] = &["bridge", "default", "host", "none"];

fn run(subject: &Subject<'_>, findings: &mut Findings) {
    let Some(host) = subject.host else { return };
    networks(subject, host, findings);
    volumes(subject, host, findings);
    secrets(subject, findings);
    names(subject, host, findings);
}

fn networks(subject: &Subject<'_>, host: &HostFacts, findings: &mut Findings) {
    let (Some(project), Some(known)) = (subject.project(), &host.networks) else { return };
    for (key, network) in project.networks.iter().filter(|(_, network)| network.external) {
        let name = &network.name;
        if known.contains(name) || BUILT_IN.contains(&name.as_str()) {
            continue;
        }
        let Some(span) = &network.span else { continue };
        let users = subject.services().filter(|service| service.networks.contains_key(key));
        let users: Vec<&str> = users.map(|service| service.name.as_str()).collect();
        findings
            .add(&EXTERNAL_NETWORK_MISSING, span, format!("network `{name}` is external and does not exist"))
            .note(format!("used by {}", users.join(", ")))
            .hint(format!("coracle network create {name}"));
    }
}

fn volumes(subject: &Subject<'_>, host: &HostFacts, findings: &mut Findings) {
    let (Some(project), Some(known)) = (subject.project(), &host.volumes) else { return };
    for (key, volume) in project.volumes.iter().filter(|(_, volume)| volume.external) {
        let used = subject.services().find_map(|service| {
            let mount = service
                .mounts
                .iter()
                .find(|mount| matches!(&mount.source, MountSource::Volume { key: own, .. } if own == key))?;
            Some((service, mount))
        });
        let Some((service, mount)) = used.filter(|_| !known.contains(&volume.name)) else { continue };
        let message = format!("volume `{}` is external and does not exist", volume.name);
        findings
            .add(&EXTERNAL_VOLUME_MISSING, &volume.span, message)
            .also(&mount.span, format!("`{}` mounts it here", service.name))
            .hint(format!("coracle volume create {}", volume.name));
    }
}

fn secrets(subject: &Subject<'_>, findings: &mut Findings) {
    let Some(project) = subject.project() else { return };
    for (word, objects) in [("secret", &project.secrets), ("configuration", &project.configs)] {
        for (key, object) in objects {
            let FileContent::External(name) = &object.content else { continue };
            let grants = |service: &coracle_composefile::Service| {
                let all = if word == "secret" { &service.secrets } else { &service.configs };
                all.iter().find(|grant| grant.source == *key).map(|grant| grant.span.clone())
            };
            let Some((service, span)) =
                subject.services().find_map(|service| Some((service.name.clone(), grants(service)?)))
            else {
                continue;
            };
            let message =
                format!("{word} `{name}` is external, and there is no store that it could come from");
            findings
                .add(&EXTERNAL_SECRET, &object.span, message)
                .also(&span, format!("`{service}` is given it here"))
                .hint("name a `file` or an `environment` variable");
        }
    }
}

fn names(subject: &Subject<'_>, host: &HostFacts, findings: &mut Findings) {
    let Some(project) = subject.project() else { return };
    for service in subject.services() {
        let Some(name) = &service.container_name else { continue };
        let other = host
            .containers
            .iter()
            .find(|container| container.name == *name && container.project.as_deref() != Some(&project.name));
        let Some(other) = other else { continue };
        let owner = match (&other.project, &other.service) {
            (Some(project), Some(service)) => format!("service `{service}` of project `{project}`"),
            (Some(project), None) => format!("project `{project}`"),
            (None, _) => "a container of no project".to_owned(),
        };
        let span = place(subject, service, &[&["container_name"]]);
        findings
            .add(&CONTAINER_NAME_TAKEN, &span, format!("the name `{name}` belongs to {owner}"))
            .of(&service.name)
            .hint("leave `container_name` out: a name is made of project and service then")
            .hint(format!("or remove the other one: coracle rm -f {name}"));
    }
}
