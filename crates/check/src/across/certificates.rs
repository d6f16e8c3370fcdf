//! TLS ports and the certificates that they need.

use std::path::Path;

use coracle_composefile::{MountSource, Service};
use coracle_report::Severity;

use super::nginx::configurations;
use crate::image::{Running, running};
use crate::project::{Check, Findings, Run, Subject};
use crate::{Family, Rule};

pub(super) static CHECK: Check = Check { rules: &[&TLS_WITHOUT_CERTIFICATE], run: Run::Subject(run) };

static TLS_WITHOUT_CERTIFICATE: Rule = Rule {
    id: "TlsWithoutCertificate",
    family: Family::Across,
    severity: Severity::Error,
    title: "A TLS port is served without a certificate",
    explanation: "`listen 443 ssl` needs `ssl_certificate` and its key when the server starts: nginx ends with \"cannot load certificate\" when they are missing. A published port 443 on which nothing speaks TLS answers nobody. Mount the files (a directory, a volume that another service fills, a secret), or make a self-signed certificate before the server starts.",
    example: Some((
        "ports: [\"443:443\"]\nvolumes: [\"./ssl:/etc/nginx/ssl:ro\"]  # no ./ssl",
        "ports: [\"443:443\"]\nvolumes: [\"certificates:/etc/nginx/ssl:ro\"]",
    )),
    ..Rule::PLAIN
};

fn run(subject: &Subject<'_>, findings: &mut Findings) {
    for running in &running(subject) {
        if !running.is_nginx() {
            continue;
        }
        let configurations = configurations(running, subject);
        let mut told = false;
        for directive in configurations.iter().flat_map(super::nginx::Configuration::all) {
            if directive.name != "ssl_certificate" && directive.name != "ssl_certificate_key" {
                continue;
            }
            let Some((path, place)) = directive.words.first().zip(directive.places.first()) else { continue };
            if told || path.contains('$') || !path.starts_with('/') || provided(subject, running, path) {
                continue;
            }
            told = true;
            let message = format!("nothing puts `{path}` into `{}`", running.service.name);
            let finding = findings.add(&TLS_WITHOUT_CERTIFICATE, place, message);
            finding
                .of(&running.service.name)
                .note("nginx: [emerg] cannot load certificate: No such file or directory");
            if let Some(mount) =
                running.service.mounts.iter().find(|mount| Path::new(path).starts_with(&mount.target))
            {
                finding.also(&mount.span, "mounted here, without it");
            }
            finding.hint("mount the certificate and its key there, or make a self-signed one first");
        }
        let port = running.service.ports.iter().find(|port| port.target == 443);
        let spoken = configurations.iter().flat_map(super::nginx::Configuration::all);
        let speaks = spoken
            .into_iter()
            .any(|one| one.name == "ssl_certificate" || super::nginx::listened(one) == Some(443));
        if let Some(port) = port
            && !told
            && !speaks
            && !offered(subject, running)
        {
            let message = format!("`{}` publishes 443 and has no certificate", running.service.name);
            let finding = findings.add(&TLS_WITHOUT_CERTIFICATE, &port.span, message);
            finding.of(&running.service.name);
            let missing = running.service.mounts.iter().find(|mount| {
                about_tls(&mount.target)
                    && matches!(&mount.source, MountSource::Bind { path, .. } if !subject.files.exists(path))
            });
            if let Some(mount) = missing {
                finding.also(&mount.span, "what should hold it is not there");
            }
            finding.hint("mount the certificate and its key, and `listen 443 ssl`; or publish 80 only");
        }
    }
}

/// Says whether something puts a file into a container: a mount, a secret, the build.
fn provided(subject: &Subject<'_>, running: &Running<'_>, path: &str) -> bool {
    let service = running.service;
    let wanted = Path::new(path);
    if granted(service, wanted) {
        return true;
    }
    for mount in &service.mounts {
        let Ok(rest) = wanted.strip_prefix(mount.target.trim_end_matches('/')) else { continue };
        return match &mount.source {
            MountSource::Bind { path, .. } => {
                let on_disk = if rest.as_os_str().is_empty() { path.clone() } else { path.join(rest) };
                // Outside of the project it is another machine's.
                !on_disk.starts_with(subject.directory)
                    || subject.files.exists(&on_disk)
                    || subject.files.ignored(&on_disk) == Some(true)
            }
            _ => true,
        };
    }
    match &running.made {
        Some(made) => {
            // Without its facts a base may bring it.
            !super::is_official(made.base.as_deref().unwrap_or("scratch"), "nginx")
                || made.says("openssl")
                || made.says(path)
                || made.copied.iter().any(|copied| {
                    copied.dest.as_deref().is_some_and(|dest| {
                        wanted.starts_with(dest.trim_end_matches('/')) || dest.contains("docker-entrypoint.d")
                    })
                })
        }
        None => {
            running.official.is_none_or(|official| official.names[0] != "nginx") || entry_scripts(service)
        }
    }
}

fn granted(service: &Service, wanted: &Path) -> bool {
    service.secrets.iter().chain(&service.configs).any(|grant| Path::new(&grant.target) == wanted)
}

/// Says whether scripts of the project's run before the server: they may make the file.
fn entry_scripts(service: &Service) -> bool {
    service.mounts.iter().any(|mount| mount.target.starts_with("/docker-entrypoint.d"))
        || service.entrypoint.is_some()
        || service.command.is_some()
}

fn about_tls(target: &str) -> bool {
    let lower = target.to_lowercase();
    ["ssl", "tls", "cert", "letsencrypt", "acme", ".pem", ".crt", ".key", "pki", "private"]
        .iter()
        .any(|word| lower.contains(word))
}

/// Says whether anything may hold a certificate.
fn offered(subject: &Subject<'_>, running: &Running<'_>) -> bool {
    let service = running.service;
    let official = running.official.is_some_and(|official| official.names[0] == "nginx");
    let mounted = service.mounts.iter().any(|mount| match &mount.source {
        MountSource::Bind { path, .. } => {
            about_tls(&mount.target)
                && (subject.files.exists(path)
                    || !path.starts_with(subject.directory)
                    || subject.files.ignored(path) == Some(true))
        }
        MountSource::Tmpfs { .. } => false,
        _ => about_tls(&mount.target),
    });
    !official
        || mounted
        || !service.secrets.is_empty()
        || entry_scripts(service)
        || running.made.as_ref().is_some_and(|made| {
            made.says("openssl")
                || made.copied.iter().any(|copied| {
                    copied
                        .dest
                        .as_deref()
                        .is_some_and(|dest| about_tls(dest) || dest.contains("docker-entrypoint.d"))
                })
        })
}
