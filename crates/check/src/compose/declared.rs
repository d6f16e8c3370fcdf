//! What is declared at the top level: used by nobody, or without the file that it names.

use std::path::{Path, PathBuf};

use coracle_composefile::{FileContent, Service};
use coracle_report::{Severity, Span};

use crate::project::{Check, Findings, Run, Subject};
use crate::{Family, Rule};

pub(super) static CHECK: Check =
    Check { rules: &[&UNUSED_DECLARATION, &SECRET_FILE_MISSING], run: Run::Subject(run) };

static UNUSED_DECLARATION: Rule = Rule {
    id: "UnusedDeclaration",
    family: Family::Compose,
    severity: Severity::Warning,
    title: "A volume, network, secret or configuration that is declared is used",
    explanation: "What no service uses is made by nobody and read by nobody: as a rule its user was renamed, or names it in another spelling and has an empty one of its own. Take it out, or name it where it was meant.",
    example: Some((
        "services:\n  db:\n    volumes: [db_data:/data]\nvolumes:\n  db_data:\n  old_data:",
        "services:\n  db:\n    volumes: [db_data:/data]\nvolumes:\n  db_data:",
    )),
    ..Rule::PLAIN
};

static SECRET_FILE_MISSING: Rule = Rule {
    id: "SecretFileMissing",
    family: Family::Compose,
    severity: Severity::Error,
    title: "The file of a secret or a configuration is there",
    explanation: "A secret or configuration with `file:` is mounted from that file: without it the service does not start, `invalid mount config: bind source path does not exist`. Secrets are rightly kept out of git, so say how the file comes to be: an `.example` beside it, from which `coracle up` makes one.",
    example: Some((
        "secrets:\n  password:\n    file: ./secrets/password.txt  # is not there",
        "secrets:\n  password:\n    file: ./secrets/password.txt  # beside it: password.txt.example",
    )),
    ..Rule::PLAIN
};

fn run(subject: &Subject<'_>, findings: &mut Findings) {
    let Some(project) = subject.project() else { return };
    let root = subject.loaded.map(|loaded| loaded.root());
    let services: Vec<&Service> =
        project.services.values().chain(project.inactive_services.values()).collect();
    for (section, what) in
        [("volumes", "volume"), ("networks", "network"), ("secrets", "secret"), ("configs", "configuration")]
    {
        let Some(declared) = root.and_then(|root| root.get(&[section])) else { continue };
        for (key, value) in declared.entries() {
            let default = section == "networks" && key == "default";
            if default || key.starts_with("x-") || is_used(subject, &services, section, key) {
                continue;
            }
            findings
                .add(&UNUSED_DECLARATION, &value.key_span(), format!("no service uses the {what} `{key}`"))
                .hint("take it out, or name it where it was meant");
        }
    }
    for (section, objects) in [("secrets", &project.secrets), ("configs", &project.configs)] {
        for (key, object) in objects {
            let FileContent::File(path) = &object.content else { continue };
            let user = project.services.values().find(|service| {
                let grants = if section == "secrets" { &service.secrets } else { &service.configs };
                grants.iter().any(|grant| grant.source == *key)
            });
            let Some(user) = user.filter(|_| !subject.files.exists(path)) else { continue };
            let mut example = path.clone().into_os_string();
            example.push(".example");
            if section == "secrets" && subject.files.is_file(Path::new(&example)) {
                continue;
            }
            let view = root.and_then(|root| root.get(&[section, key, "file"]));
            let span: Span = view.map_or_else(|| object.span.clone(), coracle_composefile::View::span);
            let shown = path.strip_prefix(subject.directory).unwrap_or(path).display();
            let finding = findings
                .add(
                    &SECRET_FILE_MISSING,
                    &span,
                    format!("{shown} is not there, and `{}` needs it", user.name),
                )
                .of(&user.name);
            if section == "secrets" {
                finding.hint(format!("openssl rand -base64 32 > {shown}, or put {shown}.example beside it"));
            }
            finding.severity(Severity::Error);
        }
    }
}

/// Says whether a service of the project, or of another compose file beside it, speaks of what is declared.
fn is_used(subject: &Subject<'_>, services: &[&Service], section: &str, key: &str) -> bool {
    use coracle_composefile::MountSource;
    let by_name = |service: &&&Service| match section {
        "volumes" => service
            .mounts
            .iter()
            .any(|mount| matches!(&mount.source, MountSource::Volume { key: own, .. } if own == key)),
        "networks" => service.networks.contains_key(key),
        "secrets" => service.secrets.iter().any(|grant| grant.source == key),
        _ => service.configs.iter().any(|grant| grant.source == key),
    };
    services.iter().any(|service| by_name(&service))
        || compose_files(subject)
            .iter()
            .any(|file| subject.files.text(file).is_some_and(|text| speaks_of(&text, key)))
}

/// Returns the compose files of the project's directory, used or not.
pub(crate) fn compose_files(subject: &Subject<'_>) -> Vec<PathBuf> {
    let Some(project) = subject.project() else { return Vec::new() };
    let mut files = project.files.clone();
    for layer in subject.loaded.into_iter().flat_map(coracle_composefile::Loaded::layers) {
        files.push(layer.path().to_owned());
    }
    for name in subject.files.list(&project.directory) {
        let yaml = Path::new(&name).extension().is_some_and(|own| own == "yml" || own == "yaml");
        if yaml && name.contains("compose") {
            files.push(project.directory.join(name));
        }
    }
    files.sort();
    files.dedup();
    files
}

/// Says whether a file names something elsewhere than where it declares it.
fn speaks_of(text: &str, name: &str) -> bool {
    text.lines().any(|line| {
        let bare = line.split(" #").next().unwrap_or_default();
        let trimmed = bare.trim();
        if trimmed.starts_with('#') {
            return false;
        }
        // At the first level below a section it is declared.
        let indent = bare.len() - bare.trim_start().len();
        let declared = indent <= 4
            && trimmed
                .strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(':') && !rest.starts_with(":/"));
        !declared
            && trimmed.match_indices(name).any(|(at, _)| {
                let part = |character: char| character.is_alphanumeric() || "_-.".contains(character);
                let before = &trimmed[..at];
                let list = before == "- ";
                (list || !before.ends_with(part)) && !trimmed[at + name.len()..].starts_with(part)
            })
    })
}
