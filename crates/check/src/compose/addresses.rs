//! Addresses of services in the variables of others: can they be reached so?

use coracle_composefile::{HostPorts, NetworkMode, Service};
use coracle_report::Severity;

use super::facts::{known_service, variable};
use crate::project::{Check, Findings, Run, Subject};
use crate::{Family, Rule};

pub(super) static CHECK: Check = Check {
    rules: &[&UNREACHABLE_SERVICE, &PUBLISHED_PORT_INSIDE, &LOCALHOST_IN_CONTAINER],
    run: Run::Subject(run),
};

static UNREACHABLE_SERVICE: Rule = Rule {
    id: "UnreachableService",
    family: Family::Compose,
    severity: Severity::Warning,
    title: "A service that is called shares a network with its caller",
    explanation: "Services find one another by name on the networks that both are on. Without a common network the name is not known: `could not translate host name`, `getaddrinfo ENOTFOUND`. A service that names its networks is not on `default` any more. Put both on one network.",
    example: Some((
        "api: {environment: {DB_HOST: db}, networks: [front]}\ndb: {networks: [back]}",
        "api: {environment: {DB_HOST: db}, networks: [front, back]}\ndb: {networks: [back]}",
    )),
    ..Rule::PLAIN
};

static PUBLISHED_PORT_INSIDE: Rule = Rule {
    id: "PublishedPortInside",
    family: Family::Compose,
    severity: Severity::Warning,
    title: "Services call one another by the port of the container, not by the published one",
    explanation: "`ports: [\"5433:5432\"]` publishes port 5432 of the container as 5433 of the host: for programs on the host. From service to service there is no mapping: the program listens on 5432, and nothing answers on 5433.",
    example: Some((
        "api: {environment: {DB: \"db:5433\"}}\ndb: {ports: [\"5433:5432\"]}",
        "api: {environment: {DB: \"db:5432\"}}\ndb: {ports: [\"5433:5432\"]}",
    )),
    ..Rule::PLAIN
};

static LOCALHOST_IN_CONTAINER: Rule = Rule {
    id: "LocalhostInContainer",
    family: Family::Compose,
    severity: Severity::Warning,
    title: "A service calls a database by its service's name, not by `localhost`",
    explanation: "In a container `localhost` is the container itself: the database runs in another one, and the connection is refused. Call it by the name of its service.",
    example: Some((
        "environment: {REDIS_URL: \"redis://localhost:6379\"}",
        "environment: {REDIS_URL: \"redis://cache:6379\"}",
    )),
    ..Rule::PLAIN
};

/// Returns the hosts that a value names, with their ports.
fn hosts<'v>(name: &str, value: &'v str) -> Vec<(&'v str, Option<u16>)> {
    let upper = name.to_ascii_uppercase();
    let of_host = ["HOST", "HOSTNAME", "SERVER", "SERVERS", "HOSTS", "ADDR", "ADDRESS"]
        .iter()
        .any(|end| upper.rsplit('_').next() == Some(end));
    let mut found = Vec::new();
    for part in value.split([',', ' ', ';']) {
        let (rest, url) = match part.rsplit_once("://") {
            Some((_, rest)) => (rest, true),
            None => (part, false),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let authority = authority.rsplit('@').next().unwrap_or_default();
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => match port.parse::<u16>() {
                Ok(port) => (host, Some(port)),
                Err(_) => continue,
            },
            None => (authority, None),
        };
        if !host.is_empty() && (url || of_host || port.is_some()) {
            found.push((host, port));
        }
    }
    found
}

fn networked(service: &Service) -> bool {
    service.network_mode == NetworkMode::Networks
}

/// Says whether a name leads to some service that shares a network with another.
fn resolves(subject: &Subject<'_>, caller: &Service, name: &str) -> bool {
    subject.services().filter(|other| networked(other)).any(|other| {
        other.networks.iter().any(|(key, attachment)| {
            let named = other.name == name
                || attachment.aliases.iter().any(|alias| alias == name)
                || other.container_name.as_deref() == Some(name)
                || other.hostname.as_deref() == Some(name);
            named && caller.networks.contains_key(key)
        })
    }) || caller.extra_hosts.iter().any(|(host, _)| host == name)
}

fn run(subject: &Subject<'_>, findings: &mut Findings) {
    let Some(project) = subject.project() else { return };
    for service in subject.services().filter(|service| networked(service)) {
        for (name, value) in &service.environment {
            for (host, port) in hosts(name, value) {
                if matches!(host, "localhost" | "127.0.0.1") {
                    local(subject, service, (name, port), findings);
                    continue;
                }
                let Some(other) = project.services.get(host).filter(|other| networked(other)) else {
                    continue;
                };
                if other.name == service.name {
                    continue;
                }
                let span = variable(subject, service, name);
                if !resolves(subject, service, host) {
                    let message =
                        format!("`{name}` of `{}` names `{host}`, and they share no network", service.name);
                    let key = other.networks.keys().next().cloned().unwrap_or_default();
                    findings
                        .add(&UNREACHABLE_SERVICE, &span, message)
                        .also(&other.span, format!("`{host}` is on {}", list(other)))
                        .hint(format!("put `{}` on the network `{key}` as well", service.name))
                        .of(&service.name);
                    continue;
                }
                let Some(port) = port else { continue };
                let serves = other.ports.iter().any(|own| own.target == port)
                    || other.expose.iter().any(|own| own.split('/').next() == Some(port.to_string().as_str()))
                    || known_service(subject, other).is_some_and(|known| {
                        known.ports.contains(&port) || known.admin_ports.contains(&port)
                    })
                    // Its own settings may make it listen there.
                    || other.environment.values().any(|value| value.contains(&port.to_string()))
                    || other.command.iter().flatten().any(|word| word.contains(&port.to_string()));
                let mapped = other.ports.iter().find(|own| own.published == HostPorts::One(port));
                if let Some(mapped) = mapped.filter(|_| !serves) {
                    let message = format!(
                        "`{name}` of `{}` calls port {port} of `{host}`, which listens on {}",
                        service.name, mapped.target
                    );
                    findings
                        .add(&PUBLISHED_PORT_INSIDE, &span, message)
                        .also(&mapped.span, format!("{port} is a port of the host"))
                        .hint(format!("write `{host}:{}`", mapped.target))
                        .of(&service.name);
                }
            }
        }
    }
}

fn list(service: &Service) -> String {
    let names: Vec<String> = service.networks.keys().map(|key| format!("`{key}`")).collect();
    names.join(", ")
}

fn local(
    subject: &Subject<'_>,
    service: &Service,
    (name, port): (&str, Option<u16>),
    findings: &mut Findings,
) {
    // A program of the host, or of the browser, is not the container's.
    let Some(port) = port.filter(|_| service.build.is_some() || known_service(subject, service).is_none())
    else {
        return;
    };
    let store = |other: &&Service| {
        other.name != service.name
            && known_service(subject, other)
                .is_some_and(|known| known.is_store() && known.ports.contains(&port))
    };
    let Some(other) = subject.services().find(store) else { return };
    // Others in its network namespace are reached so.
    let shares = subject.services().any(|other| other.name != service.name && !networked(other));
    let own = service.ports.iter().any(|own| own.target == port);
    if own || shares {
        return;
    }
    let message = format!(
        "`{name}` of `{}` calls port {port} of its own container; `{}` is another one",
        service.name, other.name
    );
    findings
        .add(&LOCALHOST_IN_CONTAINER, &variable(subject, service, name), message)
        .also(&other.span, "what is meant is probably this")
        .hint(format!("write `{}:{port}`", other.name))
        .of(&service.name);
}

#[cfg(test)]
mod tests {
    use super::hosts;

    #[test]
    fn hosts_of_values() {
        type Hosts = &'static [(&'static str, Option<u16>)];
        let table: &[(&str, &str, Hosts)] = &[
            ("DATABASE_URL", "postgresql+psycopg://me:p@ss@db:5432/shop?x=a:b", &[("db", Some(5432))]),
            ("JDBC", "jdbc:postgresql://db/shop", &[("db", None)]),
            ("DB_HOST", "db", &[("db", None)]),
            ("MODE", "db", &[]),
            ("BROKERS", "a:9092,b:9092", &[("a", Some(9092)), ("b", Some(9092))]),
            ("TIME", "12:30:x", &[]),
            ("EMPTY", "", &[]),
        ];
        for (name, value, expected) in table {
            assert_eq!(hosts(name, value), *expected, "{name}={value}");
        }
    }
}
