//! Kernel parameters and limits that certain programs want.

use coracle_composefile::{MountSource, Service};
use coracle_report::Severity;

use super::{parameter, place};
use crate::project::{Check, Findings, HostFacts, Run, Subject};
use crate::{Family, Rule};

pub(super) static CHECK: Check = Check {
    rules: &[&MAX_MAP_COUNT, &OVERCOMMIT_MEMORY, &INOTIFY_WATCHES, &OPEN_FILES_LIMIT],
    run: Run::Subject(run),
};

static MAX_MAP_COUNT: Rule = Rule {
    id: "MaxMapCount",
    family: Family::Host,
    severity: Severity::Warning,
    title: "Elasticsearch and OpenSearch need `vm.max_map_count` of at least 262144",
    explanation: "They map their index files into memory and refuse to start when the kernel allows fewer than 262144 maps: `max virtual memory areas vm.max_map_count [65530] is too low`. It is the machine's parameter and cannot be set for one container: `sysctl -w vm.max_map_count=262144`, and the same line in `/etc/sysctl.d/` for the next start.",
    url: Some("https://www.elastic.co/docs/deploy-manage/deploy/self-managed/vm-max-map-count"),
    ..Rule::PLAIN
};

static OVERCOMMIT_MEMORY: Rule = Rule {
    id: "OvercommitMemory",
    family: Family::Host,
    severity: Severity::Note,
    title: "Redis and Valkey save in the background only when memory may be overcommitted",
    explanation: "To save, the server forks, and the kernel counts the child's memory as if all of it were written to. Without `vm.overcommit_memory=1` that fails when less than half of the memory is free, and nothing is saved. Set it on the machine: `sysctl -w vm.overcommit_memory=1`. It matters where data is kept, so it is said of production and of projects without environments.",
    url: Some("https://redis.io/docs/latest/operate/oss_and_stack/management/admin/"),
    ..Rule::PLAIN
};

static INOTIFY_WATCHES: Rule = Rule {
    id: "InotifyWatches",
    family: Family::Host,
    severity: Severity::Note,
    title: "programs that watch source files need enough inotify watches",
    explanation: "Development servers (vite, webpack, nodemon, uvicorn --reload) ask the kernel for one watch for each directory or file, and all containers share the machine's. When they run out, changes are not seen, or the server ends with `ENOSPC: System limit for number of file watchers reached`. `sysctl -w fs.inotify.max_user_watches=524288` on the machine mends it.",
    ..Rule::PLAIN
};

static OPEN_FILES_LIMIT: Rule = Rule {
    id: "OpenFilesLimit",
    family: Family::Host,
    severity: Severity::Warning,
    title: "`ulimits.nofile` must not exceed what the machine allows",
    explanation: "No process may open more files than `fs.nr_open`, and without CAP_SYS_RESOURCE not more than the limit of whoever starts it. The kernel refuses a higher limit (`operation not permitted`). Lower `nofile`, or raise the machine's: `sysctl -w fs.nr_open=...`, `LimitNOFILE=` of the systemd unit.",
    example: Some(("ulimits: { nofile: 10000000 }", "ulimits: { nofile: 65536 }")),
    ..Rule::PLAIN
};

/// What Elasticsearch's and OpenSearch's start-up checks ask for.
const MAPS: u64 = 262_144;
/// Fewer watches than this are used up by one project with `node_modules`.
const WATCHES: u64 = 32_768;

fn run(subject: &Subject<'_>, findings: &mut Findings) {
    let Some(host) = subject.host else { return };
    for service in subject.services() {
        maps(subject, host, service, findings);
        overcommit(subject, host, service, findings);
        watches(subject, host, service, findings);
        open_files(subject, host, service, findings);
    }
}

/// Returns the last part of the name of the image that a service runs; of one that is built here nothing is known.
fn program(service: &Service) -> &str {
    if service.build.is_some() {
        return "";
    }
    service.image.repository().rsplit('/').next().unwrap_or_default()
}

fn maps(subject: &Subject<'_>, host: &HostFacts, service: &Service, findings: &mut Findings) {
    if !matches!(program(service), "elasticsearch" | "elasticsearch-oss" | "opensearch" | "sonarqube") {
        return;
    }
    let set = |name: &str, value: &str| service.environment.get(name).is_some_and(|own| own == value);
    // Each of them turns the check at start-up off.
    if set("discovery.type", "single-node")
        || set("node.store.allow_mmap", "false")
        || set("SONAR_ES_BOOTSTRAP_CHECKS_DISABLE", "true")
    {
        return;
    }
    if let Some(value) = parameter(host, "vm.max_map_count").filter(|value| *value < MAPS) {
        let message =
            format!("`{}` does not start: vm.max_map_count is {value} here, not {MAPS}", service.name);
        findings
            .add(&MAX_MAP_COUNT, &place(subject, service, &[&["image"]]), message)
            .of(&service.name)
            .hint(format!("sudo sysctl -w vm.max_map_count={MAPS}"));
    }
}

fn overcommit(subject: &Subject<'_>, host: &HostFacts, service: &Service, findings: &mut Findings) {
    let matters = subject.production || subject.environment.is_none();
    if !matters || !matches!(program(service), "redis" | "valkey" | "redis-stack-server") {
        return;
    }
    if let Some(value) = parameter(host, "vm.overcommit_memory").filter(|value| *value != 1) {
        let message = format!("`{}` may fail to save: vm.overcommit_memory is {value} here", service.name);
        findings
            .add(&OVERCOMMIT_MEMORY, &place(subject, service, &[&["image"]]), message)
            .of(&service.name)
            .hint("sudo sysctl -w vm.overcommit_memory=1");
    }
}

fn watches(subject: &Subject<'_>, host: &HostFacts, service: &Service, findings: &mut Findings) {
    let Some(value) = parameter(host, "fs.inotify.max_user_watches").filter(|value| *value < WATCHES) else {
        return;
    };
    let bound = service.mounts.iter().any(|mount| {
        matches!(&mount.source, MountSource::Bind { path, .. } if path.starts_with(subject.directory))
    });
    if bound && service.command.as_deref().is_some_and(watches_files) {
        let message = format!(
            "`{}` watches source files, and the machine allows {value} watches for all programs",
            service.name
        );
        findings
            .add(&INOTIFY_WATCHES, &place(subject, service, &[&["command"]]), message)
            .of(&service.name)
            .hint("sudo sysctl -w fs.inotify.max_user_watches=524288");
    }
}

/// Says whether a command is known to watch files.
fn watches_files(command: &[String]) -> bool {
    let words: Vec<&str> = command.iter().flat_map(|word| word.split_whitespace()).collect();
    words
        .iter()
        .any(|word| matches!(*word, "vite" | "nodemon" | "webpack" | "--reload" | "--watch" | "watchmedo"))
        || words
            .windows(2)
            .any(|pair| matches!(pair, ["run" | "yarn" | "pnpm" | "next", "dev"] | ["ng", "serve"]))
}

fn open_files(subject: &Subject<'_>, host: &HostFacts, service: &Service, findings: &mut Findings) {
    let Some(wanted) = service.ulimits.iter().find(|limit| limit.name == "nofile") else { return };
    let most = parameter(host, "fs.nr_open");
    let own = host.open_files.filter(|_| !host.raises_limits);
    let Some(bound) = most.into_iter().chain(own).min().filter(|bound| wanted.hard > *bound) else { return };
    let shown = if wanted.hard == u64::MAX { "unlimited".to_owned() } else { wanted.hard.to_string() };
    let message = format!("`nofile` is {shown}, and this machine allows {bound}");
    findings
        .add(&OPEN_FILES_LIMIT, &place(subject, service, &[&["ulimits", "nofile"], &["ulimits"]]), message)
        .of(&service.name);
}
