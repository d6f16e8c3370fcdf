//! Networks: who reaches the data, addresses that overlap, names that are no host names.

use std::net::Ipv4Addr;

use coracle_composefile::{NetworkMode, Service};
use coracle_report::{Severity, Span};

use super::facts::{is_public, is_task, known_service, place};
use crate::knowledge::images::Role;
use crate::project::{Check, Findings, Run, Subject};
use crate::{Family, Rule};

pub(super) static FLAT: Check = Check { rules: &[&FLAT_NETWORK], run: Run::Subject(flat) };
pub(super) static ADDRESSES: Check =
    Check { rules: &[&OVERLAPPING_SUBNETS, &ADDRESS_TAKEN], run: Run::Subject(overlaps) };
pub(super) static NAMES: Check =
    Check { rules: &[&SERVICE_NAME_NO_HOST_NAME, &CONTAINER_NAME_TWICE], run: Run::Subject(names) };

static FLAT_NETWORK: Rule = Rule {
    id: "FlatNetwork",
    family: Family::Compose,
    severity: Severity::Warning,
    title: "A database is on a network of its own in production",
    explanation: "On one network everything reaches everything: whoever gets into the proxy or into the monitoring stands before the database. Put the database and those that need it on a second network; with `internal: true` nothing on it reaches the outside either.",
    example: Some((
        "services:\n  proxy: {networks: [app]}\n  api: {networks: [app]}\n  db: {networks: [app]}",
        "services:\n  proxy: {networks: [app]}\n  api: {networks: [app, data]}\n  db: {networks: [data]}\nnetworks:\n  app: {}\n  data: {internal: true}",
    )),
    ..Rule::PLAIN
};

static OVERLAPPING_SUBNETS: Rule = Rule {
    id: "OverlappingSubnets",
    family: Family::Compose,
    severity: Severity::Error,
    title: "Networks of a project have addresses of their own",
    explanation: "Two networks whose subnets overlap cannot both be made: the engine answers `Pool overlaps with other one on this address space`. Give each a subnet of its own, or leave `ipam` out and let the engine choose.",
    example: Some((
        "a: {ipam: {config: [{subnet: 172.28.0.0/16}]}}\nb: {ipam: {config: [{subnet: 172.28.5.0/24}]}}",
        "a: {ipam: {config: [{subnet: 172.28.0.0/24}]}}\nb: {ipam: {config: [{subnet: 172.28.5.0/24}]}}",
    )),
    ..Rule::PLAIN
};

static SERVICE_NAME_NO_HOST_NAME: Rule = Rule {
    id: "ServiceNameNoHostName",
    family: Family::Compose,
    severity: Severity::Note,
    title: "A service that is called by its name has no underscore in it",
    explanation: "A service is reached under its name, and an underscore is allowed in no host name (RFC 1123): Java's `URI` finds no host in such an address, Django refuses it in the `Host` header, certificates cannot be made out for it. Name the service with a hyphen, or give it an alias.",
    example: Some(("services:\n  user_db: ...", "services:\n  user-db: ...")),
    ..Rule::PLAIN
};

static CONTAINER_NAME_TWICE: Rule = Rule {
    id: "ContainerNameTwice",
    family: Family::Compose,
    severity: Severity::Error,
    title: "A container's name is given once",
    explanation: "A name belongs to one container of the machine: the second service of the same `container_name` cannot be made, `Conflict. The container name is already in use`. Leave `container_name` out: services are called by their own names, and containers are named after project and service.",
    example: Some(("a: {container_name: shop}\nb: {container_name: shop}", "a: {}\nb: {}")),
    ..Rule::PLAIN
};

static ADDRESS_TAKEN: Rule = Rule {
    id: "AddressTaken",
    family: Family::Compose,
    severity: Severity::Error,
    title: "A fixed address is one of its network's, and one service's",
    explanation: "A container with `ipv4_address` does not start when another one has the address, `Address already in use`, or when the address is none of the network's subnet. Leave the address out and call the service by its name, or choose a free one.",
    example: Some((
        "networks:\n  app: {ipv4_address: 10.9.0.5}   # the subnet is 10.5.0.0/24",
        "networks:\n  app: {ipv4_address: 10.5.0.5}",
    )),
    ..Rule::PLAIN
};

/// Says whether a service speaks of another: waits for it, or names it in its command or environment.
fn mentions(subject: &Subject<'_>, service: &Service, name: &str) -> bool {
    let word = |text: &str| {
        text.match_indices(name).any(|(at, _)| {
            let part = |character: char| character.is_alphanumeric() || character == '_' || character == '-';
            !text[..at].ends_with(part) && !text[at + name.len()..].starts_with(part)
        })
    };
    let words = service.command.iter().chain(&service.entrypoint).flatten();
    service.depends_on.contains_key(name)
        || service.environment.values().any(|value| word(value))
        || words.into_iter().any(|text| word(text))
        // What waits for a task that needs it may well need it too.
        || service.depends_on.keys().any(|other| {
            let other = subject.project().and_then(|project| project.services.get(other));
            other.is_some_and(|other| is_task(subject, other) && other.depends_on.contains_key(name))
        })
}

fn flat(subject: &Subject<'_>, findings: &mut Findings) {
    if !subject.production {
        return;
    }
    for database in subject.services() {
        let known = known_service(subject, database).filter(|known| known.role == Role::Database);
        let Some(known) = known.filter(|_| database.network_mode == NetworkMode::Networks) else { continue };
        let strangers: Vec<&Service> = subject
            .services()
            .filter(|other| other.name != database.name && other.network_mode == NetworkMode::Networks)
            .filter(|other| other.networks.keys().any(|key| database.networks.contains_key(key)))
            .filter(|other| !mentions(subject, other, &database.name) && !is_task(subject, other))
            .collect();
        let exposed = |other: &&Service| {
            other.ports.iter().any(is_public)
                || known_service(subject, other).is_some_and(|known| known.role == Role::Proxy)
        };
        // One that needs it must be told from those that do not.
        let needed = subject.services().any(|other| mentions(subject, other, &database.name));
        let Some(first) = strangers.iter().find(|other| exposed(other)).filter(|_| needed) else { continue };
        let names: Vec<String> = strangers.iter().map(|other| format!("`{}`", other.name)).collect();
        let message = format!(
            "{} reach `{}` ({}) over the network that they share, and have nothing to do with it",
            names.join(", "),
            database.name,
            known.name
        );
        findings
            .add(&FLAT_NETWORK, &place(subject, database, &["networks"]), message)
            .also(&first.span, format!("`{}` takes requests from outside", first.name))
            .hint(format!(
                "put `{}` and those that need it on a second network, `internal: true`",
                database.name
            ))
            .of(&database.name);
    }
}

fn subnet(text: &str) -> Option<(u32, u32)> {
    let (address, prefix) = text.split_once('/')?;
    let prefix: u32 = prefix.parse().ok().filter(|prefix| *prefix <= 32)?;
    let mask = if prefix == 0 { 0 } else { u32::MAX << (32 - prefix) };
    Some((address.parse::<Ipv4Addr>().ok()?.to_bits() & mask, mask))
}

fn overlaps(subject: &Subject<'_>, findings: &mut Findings) {
    let Some(project) = subject.project() else { return };
    let mut seen: Vec<(&String, u32, u32, Span)> = Vec::new();
    for (key, network) in &project.networks {
        let Some(text) = network.subnet.as_deref().filter(|_| !network.external) else { continue };
        let Some((address, mask)) = subnet(text) else { continue };
        let path = ["networks", key.as_str(), "ipam", "config", "0", "subnet"];
        let view = subject.loaded.and_then(|loaded| loaded.root().get(&path));
        let Some(span) = view.map(coracle_composefile::View::span).or_else(|| network.span.clone()) else {
            continue;
        };
        let clash = seen.iter().find(|(_, other, other_mask, _)| {
            let common = mask & other_mask;
            address & common == other & common
        });
        if let Some((other, _, _, there)) = clash {
            findings
                .add(
                    &OVERLAPPING_SUBNETS,
                    &span,
                    format!("the addresses of `{key}` are also those of `{other}`"),
                )
                .also(there, format!("`{other}` has them here"))
                .hint("give each a subnet of its own, or leave `ipam` out");
        }
        seen.push((key, address, mask, span));
    }
    fixed(subject, findings);
}

/// Fixed addresses.
fn fixed(subject: &Subject<'_>, findings: &mut Findings) {
    let Some(project) = subject.project() else { return };
    let mut taken: Vec<(&String, Ipv4Addr, &Service, Span)> = Vec::new();
    for service in subject.services() {
        for (key, attachment) in &service.networks {
            let Some(own) = attachment.ipv4_address else { continue };
            let span = place(subject, service, &["networks", key, "ipv4_address"]);
            let text = project.networks.get(key).and_then(|network| network.subnet.as_deref());
            if let Some((address, mask)) = text.and_then(subnet)
                && own.to_bits() & mask != address
            {
                let message = format!(
                    "{own} of `{}` is no address of the network `{key}`, {}",
                    service.name,
                    text.unwrap_or_default()
                );
                findings
                    .add(&ADDRESS_TAKEN, &span, message)
                    .hint("choose one of the subnet, or leave the address out")
                    .of(&service.name);
            }
            let same = taken.iter().find(|(network, address, ..)| *network == key && *address == own);
            if let Some((_, _, other, there)) = same {
                findings
                    .add(
                        &ADDRESS_TAKEN,
                        &span,
                        format!("`{}` has the address {own} of `{}`", service.name, other.name),
                    )
                    .also(there, format!("`{}` has it here", other.name))
                    .hint("leave the address out, or choose a free one")
                    .of(&service.name);
            }
            taken.push((key, own, service, span));
        }
    }
}

fn names(subject: &Subject<'_>, findings: &mut Findings) {
    let named: Vec<(&Service, &String)> =
        subject.services().filter_map(|service| Some((service, service.container_name.as_ref()?))).collect();
    for (index, (service, name)) in named.iter().enumerate() {
        let earlier = named[..index].iter().find(|(_, own)| own == name);
        let Some((other, _)) = earlier.filter(|(other, _)| !is_task(subject, other)) else { continue };
        findings
            .add(
                &CONTAINER_NAME_TWICE,
                &place(subject, service, &["container_name"]),
                format!("`{}` has the container's name `{name}` of `{}`", service.name, other.name),
            )
            .also(&place(subject, other, &["container_name"]), format!("`{}` has it here", other.name))
            .hint("leave `container_name` out")
            .of(&service.name);
    }
    for service in subject.services().filter(|service| service.name.contains('_')) {
        let called = |other: &&Service| {
            let address = |value: &String| {
                [format!("://{}", service.name), format!("@{}", service.name)].iter().any(|part| {
                    value
                        .split_once(part.as_str())
                        .is_some_and(|(_, rest)| rest.is_empty() || rest.starts_with([':', '/', '?']))
                })
            };
            other.environment.values().any(address)
        };
        if let Some(caller) = subject.services().find(called) {
            let better = service.name.replace('_', "-");
            let message = format!("`{}` is no host name, and `{}` calls it by it", service.name, caller.name);
            findings
                .add(&SERVICE_NAME_NO_HOST_NAME, &service.span, message)
                .hint(format!("name it `{better}`, or give it that alias"))
                .of(&service.name);
        }
    }
}
