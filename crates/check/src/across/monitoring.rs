//! What Prometheus and Grafana are told to look at.

use std::path::{Path, PathBuf};

use coracle_composefile::MountSource;
use coracle_report::{Position, Severity, Span};

use crate::compose::facts;
use crate::image::{Running, running};
use crate::project::{Check, Findings, Run, Subject};
use crate::{Family, Rule};

pub(super) static CHECK: Check =
    Check { rules: &[&SCRAPE_TARGET, &NO_ALERTS, &NOTHING_PROVISIONED], run: Run::Subject(run) };

static SCRAPE_TARGET: Rule = Rule {
    id: "ScrapeTarget",
    family: Family::Across,
    title: "A monitored address is no service of the project, or not where it serves",
    explanation: "Prometheus and Grafana resolve names as every container does: a target is the name of a service on a network that both share, with the port that it listens on inside. Any other is down for ever, or worse: alerts on it stay silent because nothing is measured.",
    example: Some(("targets: ['api:8000']  # the service is `backend`", "targets: ['backend:8000']")),
    ..Rule::PLAIN
};

static NO_ALERTS: Rule = Rule {
    id: "NoAlerts",
    family: Family::Across,
    severity: Severity::Note,
    title: "Prometheus measures in production and no rule says what is wrong",
    explanation: "Without `rule_files` nothing is ever an alert: measurements are kept for a while, and somebody has to look. A first rule is `up == 0`.",
    example: Some(("scrape_configs: ...", "rule_files: [/etc/prometheus/rules/*.yml]\nscrape_configs: ...")),
    ..Rule::PLAIN
};

static NOTHING_PROVISIONED: Rule = Rule {
    id: "NothingProvisioned",
    family: Family::Across,
    severity: Severity::Note,
    title: "Grafana starts without data sources and dashboards",
    explanation: "Data sources and dashboards that are made by hand live in Grafana's own database: a new machine starts without them, and no review sees a change. Put them into files and mount these to `/etc/grafana/provisioning`.",
    example: Some((
        "volumes: [\"grafana_data:/var/lib/grafana\"]",
        "volumes:\n  - grafana_data:/var/lib/grafana\n  - ./grafana/provisioning:/etc/grafana/provisioning:ro",
    )),
    ..Rule::PLAIN
};

fn run(subject: &Subject<'_>, findings: &mut Findings) {
    let all = running(subject);
    for one in &all {
        let official = one.official.map_or("", |official| official.names[0]);
        match official {
            "prom/prometheus" => prometheus(subject, one, &all, findings),
            "grafana/grafana" => grafana(subject, one, &all, findings),
            _ => {}
        }
    }
}

fn prometheus(subject: &Subject<'_>, one: &Running<'_>, all: &[Running<'_>], findings: &mut Findings) {
    for (path, target) in mounted(subject, one) {
        if !target.starts_with("/etc/prometheus/") {
            continue;
        }
        let Some(text) = subject.files.text(&path) else { continue };
        if !text.contains("scrape_configs") {
            continue;
        }
        for (host, port, place) in addresses(&path, &text) {
            judge(one, all, (&host, port, &place), findings);
        }
        if subject.production && !text.contains("rule_files") {
            let line = text.lines().position(|line| line.contains("scrape_configs")).unwrap_or(0);
            let place = Span::at(&path, line as u32 + 1, 1);
            findings
                .add(&NO_ALERTS, &place, "nothing that is measured here is ever an alert")
                .of(&one.service.name)
                .also(&facts::place(subject, one.service, &["image"]), "in production")
                .hint("rule_files: [/etc/prometheus/rules/*.yml]");
        }
    }
}

fn grafana(subject: &Subject<'_>, one: &Running<'_>, all: &[Running<'_>], findings: &mut Findings) {
    let service = one.service;
    let provisioned = one.made.is_some()
        || service.mounts.iter().any(|mount| mount.target.starts_with("/etc/grafana"))
        || service.configs.iter().any(|config| config.target.starts_with("/etc/grafana"))
        || service.environment.keys().any(|name| name.contains("PROVISIONING"));
    if !provisioned && subject.production {
        findings
            .add(
                &NOTHING_PROVISIONED,
                &facts::place(subject, service, &["image"]),
                "Grafana starts with no data source and no dashboard",
            )
            .of(&service.name)
            .hint("volumes: [\"./grafana/provisioning:/etc/grafana/provisioning:ro\"]");
    }
    for (path, target) in mounted(subject, one) {
        if !target.starts_with("/etc/grafana/provisioning/datasources") {
            continue;
        }
        let Some(text) = subject.files.text(&path) else { continue };
        for (index, line) in text.lines().enumerate() {
            let Some((before, url)) = line.split_once("url:") else { continue };
            if !before.trim().trim_start_matches("- ").is_empty() {
                continue;
            }
            let url = url.trim().trim_matches(['"', '\'']);
            let Some((_, rest)) = url.split_once("://") else { continue };
            let authority = rest.split('/').next().unwrap_or(rest);
            let column = line.find(authority).map_or(1, |at| line[..at].chars().count() as u32 + 1);
            let start = Position::new(index as u32 + 1, column);
            let end = Position::new(start.line, column + authority.chars().count() as u32);
            if let Some((host, port)) = host_port(authority) {
                judge(one, all, (&host, port, &Span::new(&path, start, end)), findings);
            }
        }
    }
}

fn judge(
    one: &Running<'_>,
    all: &[Running<'_>],
    (host, port, place): (&str, Option<u16>, &Span),
    findings: &mut Findings,
) {
    let own = one.service;
    let plain = host.starts_with(|c: char| c.is_ascii_alphabetic())
        && host.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        && host != "localhost";
    if !plain || one.may_know(host) {
        return;
    }
    let called = |other: &&Running<'_>| {
        let service = other.service;
        one.meets(service)
            && (service.name == host
                || service.container_name.as_deref() == Some(host)
                || service.hostname.as_deref() == Some(host)
                || service
                    .networks
                    .values()
                    .any(|attachment| attachment.aliases.iter().any(|alias| alias == host)))
    };
    match all.iter().find(called) {
        None => {
            let names: Vec<&str> = all.iter().map(|other| other.service.name.as_str()).collect();
            let exists = names.contains(&host);
            let message = if exists {
                format!("`{}` shares no network with `{host}`", own.name)
            } else {
                format!("`{host}` is no service of the project: it is never measured")
            };
            let near = coracle_dockerfile::nearest(host, names.iter().copied()).filter(|near| *near != host);
            let finding = findings.add(&SCRAPE_TARGET, place, message);
            finding.of(&own.name).also(&own.span, "the service that asks");
            match near {
                Some(near) => finding.hint(format!("did you mean `{near}`?")),
                None if exists => finding.hint("put both on one network of the project"),
                None => finding.hint(format!("the services are {}", names.join(", "))),
            };
        }
        Some(other) => {
            let Some(port) = port else { return };
            // Many serve their measurements on a port of its own, which nothing here says.
            let known = !other.command_ports().is_empty() && other.made.is_some()
                || other.official.is_some_and(|official| official.ports.len() == 1);
            let ports = other.ports();
            if known && !ports.is_empty() && !ports.contains(&port) {
                let list: Vec<String> = ports.iter().map(ToString::to_string).collect();
                let message = format!("`{host}` is asked on port {port}, and serves {}", list.join(", "));
                findings
                    .add(&SCRAPE_TARGET, place, message)
                    .of(&own.name)
                    .also(&other.service.span, "the service")
                    .hint(format!("write `{host}:{}`", list[0]));
            }
        }
    }
}

/// Returns the files that are mounted into a service, with their paths there.
fn mounted(subject: &Subject<'_>, one: &Running<'_>) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for mount in &one.service.mounts {
        let MountSource::Bind { path, .. } = &mount.source else { continue };
        if subject.files.is_file(path) {
            found.push((path.clone(), mount.target.clone()));
            continue;
        }
        if !path.starts_with(subject.directory) {
            continue;
        }
        for file in subject.files.walk(path, &[], 200) {
            let Ok(rest) = file.strip_prefix(path) else { continue };
            found.push((file.clone(), format!("{}/{}", mount.target.trim_end_matches('/'), rest.display())));
        }
    }
    found
}

/// Returns the addresses in `targets:` lists of a configuration, in either form.
fn addresses(path: &Path, text: &str) -> Vec<(String, Option<u16>, Span)> {
    let mut found = Vec::new();
    let mut list: Option<usize> = None;
    for (index, line) in text.lines().enumerate() {
        let code = match line.split_once(" #") {
            Some((code, _)) => code,
            None if line.trim_start().starts_with('#') => continue,
            None => line,
        };
        let indent = code.len() - code.trim_start().len();
        let from = match code.find("targets:") {
            Some(at) => {
                list = Some(indent);
                at + "targets:".len()
            }
            None => match list {
                Some(own) if code.trim_start().starts_with("- ") && indent >= own && !code.contains(": ") => {
                    0
                }
                _ => {
                    if !code.trim().is_empty() {
                        list = None;
                    }
                    continue;
                }
            },
        };
        let rest = &code[from..];
        let mut at = 0;
        for word in rest.split([',', ' ', '[', ']', '{', '}', '\'', '"']) {
            let column = line[..from + at].chars().count() as u32 + 1;
            at += word.len() + 1;
            if word.is_empty() || word == "-" {
                continue;
            }
            let Some((host, port)) = host_port(word) else { continue };
            let start = Position::new(index as u32 + 1, column);
            let end = Position::new(start.line, column + word.chars().count() as u32);
            found.push((host, port, Span::new(path, start, end)));
        }
    }
    found
}

fn host_port(authority: &str) -> Option<(String, Option<u16>)> {
    match authority.split_once(':') {
        Some((host, port)) => Some((host.to_owned(), Some(port.parse().ok()?))),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_of_a_configuration() {
        let text = "scrape_configs:\n  - static_configs: [{ targets: ['a:1', \"b:2\"] }]\n  - static_configs:\n      - targets:\n          - c:3 # x\n          # - d:4\n        labels: { x: 'y:5' }\n";
        let found: Vec<String> = addresses(Path::new("f"), text)
            .iter()
            .map(|(host, port, place)| format!("{host} {} {place}", port.unwrap()))
            .collect();
        assert_eq!(found, ["a 1 f:2:35", "b 2 f:2:42", "c 3 f:5:13"]);
    }
}
