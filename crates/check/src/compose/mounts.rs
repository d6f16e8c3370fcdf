//! Mounts: data that dies with its container, single files, and parts of the host that nobody should be given.

use std::path::Path;

use coracle_composefile::{Mount, MountSource, Service};
use coracle_report::Severity;

use super::facts::{image_of, known_service, place, view};
use crate::knowledge::images::{KnownImage, Role};
use crate::project::{Check, Findings, Run, Subject};
use crate::{Family, Rule};

pub(super) static DATA: Check = Check { rules: &[&DATA_IN_CONTAINER], run: Run::Subject(data) };
pub(super) static FILES: Check = Check { rules: &[&SINGLE_FILE_MOUNT], run: Run::Subject(single_files) };
pub(super) static HOST: Check = Check {
    rules: &[&ENGINE_SOCKET_MOUNTED, &PRIVILEGED, &HOST_DIRECTORY_WRITABLE],
    run: Run::Subject(host),
};

static DATA_IN_CONTAINER: Rule = Rule {
    id: "DataInContainer",
    family: Family::Compose,
    severity: Severity::Warning,
    title: "Data that must last is kept in a named volume",
    explanation: "Without a volume the data of a database or of monitoring lies in the container's own layer or in a volume without a name: `down`, or a container that is made anew elsewhere, leaves it behind. Mount a named volume, or a directory, where the image keeps its data.",
    example: Some((
        "prometheus:\n  image: prom/prometheus:v3.5.0",
        "prometheus:\n  image: prom/prometheus:v3.5.0\n  volumes:\n    - prometheus_data:/prometheus",
    )),
    ..Rule::PLAIN
};

static SINGLE_FILE_MOUNT: Rule = Rule {
    id: "SingleFileMount",
    family: Family::Compose,
    severity: Severity::Note,
    title: "Sources are mounted by their directory, not file by file",
    explanation: "A file that is mounted by itself is the file that was there when the container started. Editors as a rule write a new file and rename it over the old one, and git does so too: the container goes on seeing the old one until it is made anew. Mount the directory that holds it, or use `develop.watch`.",
    example: Some((
        "volumes:\n  - ./frontend/index.html:/app/index.html:ro",
        "develop:\n  watch:\n    - {path: ./frontend, target: /app, action: sync}",
    )),
    ..Rule::PLAIN
};

static ENGINE_SOCKET_MOUNTED: Rule = Rule {
    id: "EngineSocketMounted",
    family: Family::Compose,
    severity: Severity::Warning,
    title: "The engine's socket is not given to a container",
    explanation: "Whoever can write to the engine's socket can start a container that mounts the whole host as root: a fault in that service is a fault of the machine. `:ro` changes nothing, for a socket is written to by connecting. Put a proxy between that lets through only what is needed.",
    example: Some((
        "volumes:\n  - /var/run/docker.sock:/var/run/docker.sock",
        "environment:\n  DOCKER_HOST: tcp://socket-proxy:2375",
    )),
    ..Rule::PLAIN
};

static PRIVILEGED: Rule = Rule {
    id: "Privileged",
    family: Family::Compose,
    severity: Severity::Warning,
    title: "A container gets the capabilities that it needs, not all of them",
    explanation: "With `privileged`, or with all capabilities, a process that is root in the container can load kernel modules, mount the host's disks and reach every device: it is root on the machine. Name the capability or the device that is needed.",
    example: Some(("privileged: true", "cap_add: [NET_ADMIN]\ndevices: [/dev/net/tun]")),
    ..Rule::PLAIN
};

static HOST_DIRECTORY_WRITABLE: Rule = Rule {
    id: "HostDirectoryWritable",
    family: Family::Compose,
    severity: Severity::Warning,
    title: "The host's own directories are mounted read-only if at all",
    explanation: "A container that can write to `/`, `/etc`, `/usr` or the like of the host can change passwords, programs and services of the machine. Mount what is needed and no more, with `:ro`.",
    example: Some(("volumes:\n  - /etc:/host/etc", "volumes:\n  - /etc/localtime:/etc/localtime:ro")),
    ..Rule::PLAIN
};

/// Says whether what is checked is what will be used: production, or a project that has no environments.
pub(crate) fn is_meant_to_last(subject: &Subject<'_>) -> bool {
    if subject.environment.is_some() {
        return subject.production;
    }
    let Some(project) = subject.project() else { return false };
    let overlay = |name: &String| {
        let mut parts = name.rsplitn(3, '.');
        let (extension, middle, stem) = (parts.next(), parts.next(), parts.next());
        matches!(extension, Some("yml" | "yaml"))
            && matches!(stem, Some("compose" | "docker-compose"))
            && middle.is_some_and(|middle| middle != "override")
    };
    !subject.files.list(&project.directory).iter().any(overlay)
}

fn data(subject: &Subject<'_>, findings: &mut Findings) {
    if !is_meant_to_last(subject) {
        return;
    }
    for service in subject.services() {
        let Some(known) = known_service(subject, service).filter(|known| !known.data.is_empty()) else {
            continue;
        };
        if !keeps(service, known) || service.mounts.iter().any(|mount| covers(service, known, mount)) {
            continue;
        }
        let target = known.data[0];
        let message = format!(
            "`{}` ({}) keeps its data in {target}, and no volume is mounted there",
            service.name, known.name
        );
        let key = format!("{}_data", service.name.replace('-', "_"));
        findings
            .add(&DATA_IN_CONTAINER, &service.span, message)
            .hint(format!("volumes: [\"{key}:{target}\"], and `{key}:` under the top-level `volumes:`"))
            .of(&service.name);
    }
}

/// Says whether what a service holds is meant to last.
fn keeps(service: &Service, known: &KnownImage) -> bool {
    match known.role {
        Role::Database | Role::Search | Role::Storage | Role::Queue | Role::Metrics => true,
        Role::Cache => {
            let command = service.command.as_deref().unwrap_or_default().join(" ");
            command.contains("--appendonly yes") || command.contains("--save ")
        }
        Role::Proxy | Role::Console | Role::Exporter | Role::Base => false,
    }
}

/// Says whether a mount holds a service's data.
fn covers(service: &Service, known: &KnownImage, mount: &Mount) -> bool {
    if matches!(mount.source, MountSource::Anonymous { .. }) {
        return false;
    }
    let related =
        |data: &str| Path::new(data).starts_with(&mount.target) || Path::new(&mount.target).starts_with(data);
    let command = service.command.as_deref().unwrap_or_default();
    // The place may be another one by the command or by a variable such as PGDATA.
    known.data.iter().any(|data| related(data))
        || command.iter().any(|word| word.contains(&mount.target))
        || service.environment.values().any(|value| value.starts_with(&mount.target))
}

/// What people edit while a service runs.
const SOURCES: &[&str] = &[
    "html", "htm", "js", "jsx", "mjs", "cjs", "ts", "tsx", "vue", "svelte", "css", "scss", "sass", "less",
    "py", "rb", "php", "go", "rs", "java", "kt", "ex", "exs", "erb", "jinja", "j2", "tmpl",
];

fn single_files(subject: &Subject<'_>, findings: &mut Findings) {
    if subject.production {
        return;
    }
    for service in subject.services() {
        let Some(build) = &service.build else { continue };
        for mount in &service.mounts {
            let MountSource::Bind { path, .. } = &mount.source else { continue };
            let source = path.extension().and_then(|extension| extension.to_str());
            let source = source.is_some_and(|extension| SOURCES.contains(&extension));
            if !source || !path.starts_with(&build.context) || !subject.files.is_file(path) {
                continue;
            }
            let shown = path.strip_prefix(subject.directory).unwrap_or(path).display();
            let message = format!(
                "an edit of {shown} is not seen in `{}`: the file is mounted by itself",
                service.name
            );
            findings
                .add(&SINGLE_FILE_MOUNT, &mount.span, message)
                .hint("mount the directory that holds it, or use `develop.watch`")
                .of(&service.name);
        }
    }
}

fn host(subject: &Subject<'_>, findings: &mut Findings) {
    for service in subject.services() {
        let image = image_of(subject, service).map(|image| image.repository().to_owned()).unwrap_or_default();
        for mount in &service.mounts {
            let MountSource::Bind { path, .. } = &mount.source else { continue };
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if matches!(name, "docker.sock" | "containerd.sock" | "podman.sock" | "crio.sock") {
                if image.contains("socket-proxy") {
                    continue;
                }
                let message =
                    format!("`{}` gets the engine's socket, and with it the whole machine", service.name);
                findings
                    .add(&ENGINE_SOCKET_MOUNTED, &mount.span, message)
                    .hint("let it talk to a proxy that passes on only what it needs, such as tecnativa/docker-socket-proxy")
                    .of(&service.name);
                continue;
            }
            let shown = path.to_string_lossy();
            let own = matches!(
                shown.as_ref(),
                "/" | "/etc"
                    | "/usr"
                    | "/bin"
                    | "/sbin"
                    | "/lib"
                    | "/lib64"
                    | "/boot"
                    | "/root"
                    | "/var"
                    | "/var/lib"
                    | "/home"
                    | "/var/lib/docker"
                    | "/dev"
                    | "/proc"
                    | "/sys"
            );
            if own && !mount.read_only && !service.privileged {
                let message = format!("`{}` can write to {shown} of the host", service.name);
                findings
                    .add(&HOST_DIRECTORY_WRITABLE, &mount.span, message)
                    .hint("mount what is needed and no more, with `:ro`")
                    .of(&service.name);
            }
        }
        // An engine within a container does not run without.
        let engine = image == "library/docker" || image.ends_with("/dind");
        let (attribute, what) = if service.privileged {
            ("privileged", "has all privileges")
        } else if service.cap_add.iter().any(|name| name == "ALL") {
            ("cap_add", "has all capabilities")
        } else if view(subject, service, &["pid"]).and_then(coracle_composefile::View::text) == Some("host") {
            ("pid", "sees and may signal every process of the host")
        } else {
            continue;
        };
        if engine {
            continue;
        }
        findings
            .add(&PRIVILEGED, &place(subject, service, &[attribute]), format!("`{}` {what}", service.name))
            .hint("name what it needs: `cap_add: [NAME]`, `devices: [PATH]`")
            .of(&service.name);
    }
}
