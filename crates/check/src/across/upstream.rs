//! Where reverse proxies send requests.

use std::collections::{BTreeMap, BTreeSet};

use coracle_report::{Severity, Span};

use super::nginx::{Configuration, Directive, configurations};
use crate::image::{Running, running};
use crate::project::{Check, Findings, Run, Subject};
use crate::{Family, Rule};

pub(super) static CHECK: Check = Check {
    rules: &[
        &UNKNOWN_UPSTREAM,
        &UPSTREAM_RESOLVED_ONCE,
        &UPSTREAM_PORT,
        &UPSTREAM_IN_IMAGE,
        &PROXY_TO_ITSELF,
        &UPSTREAM_NOT_AWAITED,
    ],
    run: Run::Subject(run),
};

static UNKNOWN_UPSTREAM: Rule = Rule {
    id: "UnknownUpstream",
    family: Family::Across,
    severity: Severity::Error,
    title: "A proxy sends requests to a name that is no service it can reach",
    explanation: "nginx resolves the names of its configuration when it starts and ends with \"host not found in upstream\" when one is unknown. In a project the names are those of services, and their aliases, on a network that both share. Name a service, or put both on one network.",
    example: Some(("proxy_pass http://api:8000;  # no service `api`", "proxy_pass http://backend:8000;")),
    ..Rule::PLAIN
};

static UPSTREAM_RESOLVED_ONCE: Rule = Rule {
    id: "UpstreamResolvedOnce",
    family: Family::Across,
    severity: Severity::Warning,
    title: "nginx looks a service's address up once, when it starts",
    explanation: "A name that stands in `proxy_pass` or `upstream` as it is, is resolved when nginx starts and never again. When the service is replaced by a container with another address, every request ends with 502 until nginx is restarted, and further replicas are never found. Give a `resolver` and put the name into a variable, or (nginx 1.27.3 and later) write `server NAME resolve;` in an `upstream` with a `zone`.",
    example: Some((
        "proxy_pass http://backend:8000;",
        "resolver 127.0.0.11 valid=1s;\nset $backend backend:8000;\nproxy_pass http://$backend;",
    )),
    ..Rule::PLAIN
};

static UPSTREAM_PORT: Rule = Rule {
    id: "UpstreamPort",
    family: Family::Across,
    severity: Severity::Error,
    title: "A proxy asks a service on a port that it does not serve",
    explanation: "Ports between containers are those that the processes inside listen on, whatever `ports:` publishes. Everything that says what the service serves (its command, `EXPOSE`, `expose:`, its proxy configuration, its image) names other ports, so that every request ends with 502. Often the environments differ: the development server listens elsewhere than the image of production.",
    example: Some((
        "# frontend serves 80\nproxy_pass http://frontend:5173;",
        "proxy_pass http://frontend:80;",
    )),
    ..Rule::PLAIN
};

static UPSTREAM_IN_IMAGE: Rule = Rule {
    id: "UpstreamInImage",
    family: Family::Across,
    severity: Severity::Warning,
    title: "An image carries a proxy configuration that starts only beside other services",
    explanation: "Names of services in a configuration that is copied into an image are resolved when it starts. Alone, in a test or under another project, the image ends with \"host not found in upstream\" and is restarted for ever. Let the image serve its own files, and give the proxy's rules to the proxy alone, or resolve the names at run time.",
    example: Some((
        "COPY proxy.conf /etc/nginx/conf.d/default.conf",
        "COPY pages.conf /etc/nginx/conf.d/default.conf",
    )),
    ..Rule::PLAIN
};

static PROXY_TO_ITSELF: Rule = Rule {
    id: "ProxyToItself",
    family: Family::Across,
    severity: Severity::Error,
    title: "A server proxies to the very service that it is",
    explanation: "The configuration sends requests to the name of its own service: to a port that nothing serves there (502), or to itself for ever. As a rule a proxy's configuration was copied into the image of the page. A page server and a reverse proxy need configurations of their own.",
    example: None,
    ..Rule::PLAIN
};

static UPSTREAM_NOT_AWAITED: Rule = Rule {
    id: "UpstreamNotAwaited",
    family: Family::Across,
    severity: Severity::Warning,
    title: "A proxy does not wait for a service whose name it needs to start",
    explanation: "nginx ends with \"host not found in upstream\" when a name cannot be resolved at its start, and a name is known only once a container of the service runs. Without `depends_on` the order is chance. Name the service in `depends_on`, or resolve the name at run time.",
    example: None,
    ..Rule::PLAIN
};

/// A server that a configuration names.
struct Target<'d> {
    host: String,
    port: Option<u16>,
    place: Span,
    directive: &'d Directive,
    /// Whether the name is looked up at run time.
    dynamic: bool,
}

fn run(subject: &Subject<'_>, findings: &mut Findings) {
    let all = running(subject);
    for proxy in all.iter().filter(|running| running.is_nginx()) {
        let configurations = configurations(proxy, subject);
        let named: BTreeSet<String> = configurations
            .iter()
            .flat_map(Configuration::all)
            .filter(|one| one.name == "upstream")
            .filter_map(|one| one.words.first().cloned())
            .collect();
        // One of each kind for a name: every further line says the same.
        let mut once: BTreeSet<(&'static str, String)> = BTreeSet::new();
        for configuration in &configurations {
            for target in targets(configuration, &named) {
                judge(&all, proxy, configuration, &target, &mut once, findings);
            }
        }
    }
}

fn judge(
    all: &[Running<'_>],
    proxy: &Running<'_>,
    configuration: &Configuration,
    target: &Target<'_>,
    once: &mut BTreeSet<(&'static str, String)>,
    findings: &mut Findings,
) {
    let own = &proxy.service.name;
    let host = &target.host;
    let mut first = |rule: &'static str| once.insert((rule, host.clone()));
    let Some(other) = all.iter().find(|other| is_called(other, host, proxy)) else {
        if target.dynamic || !looks_like_a_service(host) || proxy.may_know(host) || !first("unknown") {
            return;
        }
        let names: Vec<&str> = all.iter().map(|other| other.service.name.as_str()).collect();
        let message = if names.contains(&host.as_str()) {
            format!("`{own}` shares no network with `{host}`, to which it proxies")
        } else {
            format!("`{own}` proxies to `{host}`, which is no service of the project")
        };
        let near = coracle_dockerfile::nearest(host, names.iter().copied());
        let finding = findings.add(&UNKNOWN_UPSTREAM, &target.place, message);
        finding.of(own.clone());
        finding.note(format!("nginx: [emerg] host not found in upstream \"{host}\""));
        if let Some(span) = &configuration.copied {
            finding.also(span, "copied into the image here");
        }
        match near {
            Some(near) if near != host => finding.hint(format!("did you mean `{near}`?")),
            _ if names.contains(&host.as_str()) => finding.hint("put both on one network of the project"),
            _ => finding.hint(format!("the services are {}", names.join(", "))),
        };
        return;
    };
    if other.service.name == *own {
        if first("itself") {
            let place = configuration.copied.as_ref().unwrap_or(&target.place);
            let message = format!("`{own}` gets a configuration that proxies to itself, `{host}`");
            let finding = findings.add(&PROXY_TO_ITSELF, place, message);
            finding.of(own.clone());
            if configuration.copied.is_some() {
                finding.also(&target.place, format!("proxies to `{host}`"));
            }
            finding.hint("serve the files here, and leave the proxy's rules to the proxy");
        }
        return;
    }
    if let Some(port) = target.port {
        let served = served(other, all);
        if !served.is_empty() && !served.contains(&port) && first("port") {
            let list: Vec<String> = served.iter().map(ToString::to_string).collect();
            let message = format!(
                "`{own}` asks `{host}` on port {port}, where `{}` serves {}",
                other.service.name,
                list.join(", ")
            );
            let finding = findings.add(&UPSTREAM_PORT, &target.place, message);
            finding.of(own.clone());
            match other.made.as_ref().and_then(|made| made.exposed.last()) {
                Some((port, span)) => finding.also(span, format!("it serves {port}")),
                None => finding.also(&other.service.span, "the service"),
            };
            finding.hint(format!("write `{host}:{}`", list[0]));
        }
    }
    if target.dynamic {
        return;
    }
    if let Some(span) = &configuration.copied {
        // An image of a configuration alone is a proxy's own; one that serves files should start anywhere.
        let serves = proxy.made.as_ref().is_some_and(|made| {
            let mut dests = made.copied.iter().filter_map(|copied| copied.dest.as_deref());
            dests.any(|dest| !dest.starts_with("/etc") && !dest.contains("entrypoint"))
        });
        if serves && first("image") {
            let message = format!("the image of `{own}` starts only where `{host}` can be resolved");
            findings
                .add(&UPSTREAM_IN_IMAGE, span, message)
                .of(own.clone())
                .also(&target.place, format!("proxies to `{host}`"))
                .hint("copy a configuration that serves files only; mount the proxy's into the proxy");
        }
    } else if !awaits(all, proxy, &other.service.name) && first("awaited") {
        let message = format!("`{own}` needs the name `{host}` to start, and does not wait for it");
        findings
            .add(&UPSTREAM_NOT_AWAITED, &target.place, message)
            .of(own.clone())
            .also(&proxy.service.span, "no `depends_on`")
            .hint(format!("depends_on:\n  {}:\n    condition: service_started", other.service.name));
    }
    if first("once") {
        let message = format!(
            "`{host}` is looked up once, when `{own}` starts: after it is replaced, requests end with 502"
        );
        findings
            .add(&UPSTREAM_RESOLVED_ONCE, &target.place, message)
            .of(own.clone())
            .also(&other.service.span, format!("the service `{}`", other.service.name))
            .hint(format!(
                "resolver 127.0.0.11 valid=1s; set $upstream {}; {} http://$upstream;",
                target.port.map_or_else(|| host.clone(), |port| format!("{host}:{port}")),
                if target.directive.name == "server" { "proxy_pass" } else { &target.directive.name },
            ));
    }
}

/// Says whether a service answers to a name on a network that the proxy is on.
fn is_called(other: &Running<'_>, host: &str, proxy: &Running<'_>) -> bool {
    let service = other.service;
    if !proxy.meets(service) {
        return false;
    }
    service.name == host
        || service.container_name.as_deref() == Some(host)
        || service.hostname.as_deref() == Some(host)
        || service.networks.iter().any(|(key, attachment)| {
            proxy.service.networks.contains_key(key) && attachment.aliases.iter().any(|alias| alias == host)
        })
}

/// Says whether a name is one that only the project could know: no dots, no address.
fn looks_like_a_service(host: &str) -> bool {
    !host.contains('.')
        && !host.contains(':')
        && host != "localhost"
        && !host.starts_with("unix")
        && host.starts_with(|c: char| c.is_ascii_alphabetic())
        && host.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

/// Says whether a service is started after another, by `depends_on` of any length.
fn awaits(all: &[Running<'_>], proxy: &Running<'_>, name: &str) -> bool {
    let mut open = vec![proxy.service.name.as_str()];
    let mut seen = BTreeSet::new();
    while let Some(next) = open.pop() {
        if next == name {
            return true;
        }
        if !seen.insert(next) {
            continue;
        }
        if let Some(running) = all.iter().find(|running| running.service.name == next) {
            open.extend(running.service.depends_on.keys().map(String::as_str));
        }
    }
    false
}

/// Returns the ports that a service serves, as far as anything says so; empty is unknown.
fn served(other: &Running<'_>, _all: &[Running<'_>]) -> BTreeSet<u16> {
    let known = other.official.is_some_and(|official| !official.ports.is_empty())
        || !other.command_ports().is_empty()
        || other.made.as_ref().is_some_and(|made| !made.exposed.is_empty());
    if known { other.ports() } else { BTreeSet::new() }
}

/// Returns the servers that a configuration names.
fn targets<'d>(configuration: &'d Configuration, named: &BTreeSet<String>) -> Vec<Target<'d>> {
    let mut found = Vec::new();
    for directive in configuration.all() {
        match directive.name.as_str() {
            "proxy_pass" | "grpc_pass" | "fastcgi_pass" | "uwsgi_pass" | "scgi_pass" => {
                let Some((word, place)) = directive.words.first().zip(directive.places.first()) else {
                    continue;
                };
                found.extend(target(word, place, directive, named));
            }
            "upstream" => {
                for server in directive.block.iter().filter(|inner| inner.name == "server") {
                    let Some((word, place)) = server.words.first().zip(server.places.first()) else {
                        continue;
                    };
                    let resolved = server.words.iter().any(|word| word == "resolve");
                    found.extend(
                        target(word, place, server, named)
                            .map(|target| Target { dynamic: target.dynamic || resolved, ..target }),
                    );
                }
            }
            // `map "" $backend { default backend:8000; }` and `set $backend backend:8000;`
            "set" if directive.words.len() == 2 => {
                let (word, place) = (&directive.words[1], &directive.places[1]);
                found.extend(variable_target(word, place, directive));
            }
            "map" => {
                for inner in &directive.block {
                    let Some((word, place)) = inner.words.first().zip(inner.places.first()) else { continue };
                    found.extend(variable_target(word, place, inner));
                }
            }
            _ => {}
        }
    }
    found
}

fn target<'d>(
    word: &str,
    place: &Span,
    directive: &'d Directive,
    named: &BTreeSet<String>,
) -> Option<Target<'d>> {
    let (scheme, rest) = word.split_once("://").unwrap_or(("", word));
    let authority = rest.split('/').next().unwrap_or(rest);
    if authority.contains('$') || named.contains(authority) || authority.starts_with("unix:") {
        return None;
    }
    let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
    let default = match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ if directive.name == "server" => Some(80),
        _ => None,
    };
    let port = if port.is_empty() { default } else { port.parse().ok() };
    (!host.is_empty()).then(|| Target {
        host: host.to_owned(),
        port,
        place: place.clone(),
        directive,
        dynamic: false,
    })
}

/// Reads the value of a variable as a server, if it can only be one: `name:port`.
fn variable_target<'d>(word: &str, place: &Span, directive: &'d Directive) -> Option<Target<'d>> {
    let rest = word.split_once("://").map_or(word, |(_, rest)| rest);
    let (host, port) = rest.split('/').next()?.split_once(':')?;
    let port = port.parse().ok()?;
    looks_like_a_service(host).then(|| Target {
        host: host.to_owned(),
        port: Some(port),
        place: place.clone(),
        directive,
        dynamic: true,
    })
}

/// Returns, for each nginx, the services that it proxies to, with the ports it asks.
pub(super) fn proxied(subject: &Subject<'_>, all: &[Running<'_>]) -> BTreeMap<String, Vec<(String, Span)>> {
    let mut found: BTreeMap<String, Vec<(String, Span)>> = BTreeMap::new();
    for proxy in all.iter().filter(|running| running.is_nginx()) {
        let configurations = configurations(proxy, subject);
        let none = BTreeSet::new();
        for configuration in configurations.iter().filter(|one| one.copied.is_none()) {
            for target in targets(configuration, &none) {
                let called = all.iter().find(|other| is_called(other, &target.host, proxy));
                if let Some(other) = called.filter(|other| other.service.name != proxy.service.name) {
                    let places = found.entry(other.service.name.clone()).or_default();
                    places.push((proxy.service.name.clone(), target.place.clone()));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn servers_of_a_configuration() {
        let text = "upstream u { server a:1; server b resolve; }\nserver { location / { proxy_pass http://u; }\n location /x { proxy_pass http://c:3/y; } location /z { proxy_pass http://$v; } fastcgi_pass d:9; set $v e:5; set $t 10m; }";
        let configuration = Configuration {
            target: String::new(),
            copied: None,
            directives: super::super::nginx::parse(Path::new("f"), text),
        };
        let named = BTreeSet::from(["u".to_owned()]);
        let found: Vec<String> = targets(&configuration, &named)
            .iter()
            .map(|one| format!("{}:{:?} {}", one.host, one.port, one.dynamic))
            .collect();
        assert_eq!(
            found,
            ["a:Some(1) false", "b:Some(80) true", "c:Some(3) false", "d:Some(9) false", "e:Some(5) true"]
        );
    }
}
