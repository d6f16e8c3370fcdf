//! Published ports: twice, by a merge that added where it meant to replace, to the world, fixed where it forbids scaling.

use coracle_composefile::{HostPorts, NetworkMode, Port, Service};
use coracle_report::Severity;

use super::facts::{attribute, dependents, is_proxy, is_public, is_task, known_service};
use crate::knowledge::images::Role;
use crate::project::{Check, Findings, Run, Subject};
use crate::{Family, Rule};

pub(super) static TWICE: Check = Check { rules: &[&PORT_PUBLISHED_TWICE], run: Run::Subject(twice) };
pub(super) static APPENDED: Check = Check { rules: &[&MERGE_APPENDED], run: Run::Subject(appended) };
pub(super) static REACH: Check = Check {
    rules: &[&DATABASE_PUBLISHED, &ADMIN_PORT_PUBLISHED, &FIXED_PORT_BLOCKS_SCALING, &PORTS_WITHOUT_NETWORK],
    run: Run::Subject(reach),
};

static PORT_PUBLISHED_TWICE: Rule = Rule {
    id: "PortPublishedTwice",
    family: Family::Compose,
    severity: Severity::Error,
    title: "A port of the host is published once",
    explanation: "Two containers cannot listen on the same port of the host. Compose finds out when the second one starts, after everything else is up: `Bind for 0.0.0.0:5173 failed: port is already allocated`. With several files the two entries often stand in different ones. Publish one of them elsewhere, or leave it to the proxy.",
    example: Some((
        "services:\n  web:\n    ports: [\"8080:80\"]\n  api:\n    ports: [\"8080:8000\"]",
        "services:\n  web:\n    ports: [\"8080:80\"]\n  api:\n    ports: [\"8000:8000\"]",
    )),
    ..Rule::PLAIN
};

static MERGE_APPENDED: Rule = Rule {
    id: "MergeAppended",
    family: Family::Compose,
    severity: Severity::Warning,
    title: "An override that publishes a port again should replace the first entry",
    explanation: "Compose merges lists of ports by adding: an override that publishes the same container port on another port of the host leaves the first one published as well. Tag the list in the override with `!override` to replace what came before, or keep `ports` out of the base file.",
    example: Some((
        "# compose.yaml\nports: [\"5173:80\"]\n# compose.prod.yaml\nports: [\"80:80\"]",
        "# compose.yaml\nports: [\"5173:80\"]\n# compose.prod.yaml\nports: !override [\"80:80\"]",
    )),
    ..Rule::PLAIN
};

static DATABASE_PUBLISHED: Rule = Rule {
    id: "DatabasePublished",
    family: Family::Compose,
    severity: Severity::Warning,
    title: "A database should not be published to the world",
    explanation: "A port without an address is published on all addresses of the machine, and such ports go around the host's firewall rules (ufw, firewalld) as a rule. Services of the project reach one another without publishing anything. For a client on this machine publish on 127.0.0.1.",
    example: Some(("ports: [\"5432:5432\"]", "ports: [\"127.0.0.1:5432:5432\"]")),
    ..Rule::PLAIN
};

static ADMIN_PORT_PUBLISHED: Rule = Rule {
    id: "AdminPortPublished",
    family: Family::Compose,
    severity: Severity::Warning,
    title: "Ports of monitoring and administration are not published to the world in production",
    explanation: "Measurements tell an attacker what runs where and how loaded it is, and consoles of administration are what passwords are tried on first. Publish them on 127.0.0.1 and reach them through an SSH tunnel, or put them behind the proxy with a password.",
    example: Some(("ports: [\"9090:9090\"]", "ports: [\"127.0.0.1:9090:9090\"]")),
    ..Rule::PLAIN
};

static FIXED_PORT_BLOCKS_SCALING: Rule = Rule {
    id: "FixedPortBlocksScaling",
    family: Family::Compose,
    severity: Severity::Note,
    title: "A service behind a proxy needs no port of the host, which keeps it at one container",
    explanation: "A port of the host belongs to one container: `--scale` and `replicas` above one fail with `port is already allocated`. A proxy reaches the service by its name without any published port; for a look past the proxy let the proxy publish a second port, or publish a range.",
    example: Some((
        "services:\n  api:\n    ports: [\"8000:8000\"]\n  proxy:\n    image: nginx:1.28\n    depends_on: [api]",
        "services:\n  api: {}\n  proxy:\n    image: nginx:1.28\n    depends_on: [api]",
    )),
    ..Rule::PLAIN
};

static PORTS_WITHOUT_NETWORK: Rule = Rule {
    id: "PortsWithoutNetwork",
    family: Family::Compose,
    severity: Severity::Warning,
    title: "`ports` have no effect with the host's network or none",
    explanation: "With `network_mode: host` a program listens on the host's ports directly, and with `none` it is not reachable at all: `ports` is then left aside without a word, and a number in it that differs from the program's own is not what people can connect to.",
    example: Some(("network_mode: host\nports: [\"8080:80\"]", "network_mode: host")),
    ..Rule::PLAIN
};

/// Published ports of services that run with a network of their own.
fn published<'a>(subject: &Subject<'a>) -> Vec<(&'a Service, &'a Port)> {
    let own = |service: &&Service| {
        !matches!(service.network_mode, NetworkMode::Host | NetworkMode::None) && service.replicas > 0
    };
    let services = subject.services().filter(own);
    services.flat_map(|service| service.ports.iter().map(move |port| (service, port))).collect()
}

fn same_address(a: &Port, b: &Port) -> bool {
    match (a.host_ip.filter(|ip| !ip.is_unspecified()), b.host_ip.filter(|ip| !ip.is_unspecified())) {
        (Some(a), Some(b)) => a == b,
        // An unspecified address of one family leaves the other family alone; no address is both.
        (None, Some(given)) => a.host_ip.is_none_or(|all| all.is_ipv4() == given.is_ipv4()),
        (Some(given), None) => b.host_ip.is_none_or(|all| all.is_ipv4() == given.is_ipv4()),
        (None, None) => match (a.host_ip, b.host_ip) {
            (Some(a), Some(b)) => a.is_ipv4() == b.is_ipv4(),
            _ => true,
        },
    }
}

fn twice(subject: &Subject<'_>, findings: &mut Findings) {
    let ports = published(subject);
    // The later file is where the second one was added.
    let order = |port: &Port| {
        let files = &subject.project()?.files;
        files.iter().position(|file| *file == port.span.file)
    };
    for (index, (service, port)) in ports.iter().enumerate() {
        let HostPorts::One(number) = port.published else { continue };
        let clash = ports[..index].iter().find(|(_, earlier)| {
            earlier.published == HostPorts::One(number)
                && earlier.protocol == port.protocol
                && same_address(earlier, port)
        });
        let Some((other, earlier)) = clash else { continue };
        // A task may have ended before the other one begins.
        if service.name != other.name && (is_task(subject, service) || is_task(subject, other)) {
            continue;
        }
        let ((first, a), (second, b)) = if order(earlier) > order(port) {
            ((service, port), (other, earlier))
        } else {
            ((other, earlier), (service, port))
        };
        let message = if first.name == second.name {
            format!("service `{}` publishes port {number} of the host twice", first.name)
        } else {
            format!("`{}` publishes port {number} of the host, as `{}` does", second.name, first.name)
        };
        findings
            .add(&PORT_PUBLISHED_TWICE, &b.span, message)
            .also(&a.span, format!("`{}` publishes it here", first.name))
            .hint("publish it on another port, or only where the request comes in first")
            .of(&second.name);
    }
}

fn appended(subject: &Subject<'_>, findings: &mut Findings) {
    for service in subject.services() {
        for (index, port) in service.ports.iter().enumerate() {
            let HostPorts::One(number) = port.published else { continue };
            let earlier = service.ports[..index].iter().find(|earlier| {
                let other = matches!(earlier.published, HostPorts::One(before) if before != number);
                let same = earlier.target == port.target && earlier.protocol == port.protocol;
                let bound = |port: &Port| port.host_ip.filter(|ip| !ip.is_unspecified());
                other && same && earlier.span.file != port.span.file && bound(earlier) == bound(port)
            });
            let Some(earlier) = earlier else { continue };
            let HostPorts::One(before) = earlier.published else { continue };
            let target = port.target;
            let message = format!(
                "port {target} of `{}` is published on {before} and on {number}: the merge adds to the list",
                service.name
            );
            findings
                .add(&MERGE_APPENDED, &port.span, message)
                .also(&earlier.span, format!("still published on {before} from here"))
                .hint("to replace what came before, write `ports: !override` here")
                .of(&service.name);
        }
    }
}

fn reach(subject: &Subject<'_>, findings: &mut Findings) {
    for service in subject.services() {
        if matches!(service.network_mode, NetworkMode::Host | NetworkMode::None) && !service.ports.is_empty()
        {
            let mode = if service.network_mode == NetworkMode::Host { "host" } else { "none" };
            let message =
                format!("`{}` has `network_mode: {mode}`: its `ports` have no effect", service.name);
            let finding = findings.add(&PORTS_WITHOUT_NETWORK, &service.ports[0].span, message);
            finding.hint("take `ports` out, or `network_mode`").of(&service.name);
            if let Some(span) = attribute(subject, service, &["network_mode"]) {
                finding.also(&span, "its network is decided here");
            }
            continue;
        }
        let known = known_service(subject, service);
        for port in &service.ports {
            let shown = port.target;
            let local = match port.published {
                HostPorts::One(number) => format!("\"127.0.0.1:{number}:{shown}\""),
                HostPorts::Any | HostPorts::Range(..) => format!("\"127.0.0.1::{shown}\""),
            };
            let Some(known) = known.filter(|_| is_public(port)) else { continue };
            if known.is_store() && known.ports.contains(&port.target) {
                let message = format!(
                    "`{}` ({}) is published on every address of the machine",
                    service.name, known.name
                );
                findings
                    .add(&DATABASE_PUBLISHED, &port.span, message)
                    .hint(format!("for clients on this machine: {local}"))
                    .of(&service.name);
            } else if subject.production && known.admin_ports.contains(&port.target) {
                let message = format!(
                    "port {shown} of `{}` ({}) is published on every address of the machine",
                    service.name, known.name
                );
                findings
                    .add(&ADMIN_PORT_PUBLISHED, &port.span, message)
                    .hint(format!("publish it on loopback: {local}"))
                    .of(&service.name);
            }
        }
        scaling(subject, service, findings);
    }
}

fn scaling(subject: &Subject<'_>, service: &Service, findings: &mut Findings) {
    let fixed = service.ports.iter().find(|port| matches!(port.published, HostPorts::One(_)));
    let Some(port) = fixed else { return };
    let HostPorts::One(number) = port.published else { return };
    if service.replicas > 1 {
        let message = format!(
            "{} containers of `{}` cannot all publish port {number} of the host",
            service.replicas, service.name
        );
        findings
            .add(&FIXED_PORT_BLOCKS_SCALING, &port.span, message)
            .severity(Severity::Error)
            .hint(format!("leave the port of the host out, `\"{}\"`, or publish a range", port.target))
            .of(&service.name);
        return;
    }
    // Only where it can be scaled at all and something else takes the requests.
    let stored = known_service(subject, service).is_some_and(|known| known.role != Role::Base);
    if service.build.is_none() || stored || service.container_name.is_some() {
        return;
    }
    let proxy = dependents(subject, service)
        .find(|other| is_proxy(subject, other) && other.ports.iter().any(is_public) && is_public(port));
    if let Some(proxy) = proxy {
        let message = format!(
            "`{}` is reached through `{}`; port {number} of the host keeps it at one container",
            service.name, proxy.name
        );
        findings
            .add(&FIXED_PORT_BLOCKS_SCALING, &port.span, message)
            .also(&proxy.span, "the proxy in front of it")
            .hint("take it out; to reach the service past the proxy, let the proxy publish a second port")
            .of(&service.name);
    }
}
