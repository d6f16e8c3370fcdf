//! What is mounted: sources that are missing, and what they hide.

use std::path::Path;

use coracle_composefile::{Mount, MountSource, Service};
use coracle_report::Severity;

use crate::image::{Made, Origin, Running, running};
use crate::project::{Check, Findings, Run, Subject};
use crate::{Family, Rule};

pub(super) static CHECK: Check = Check {
    rules: &[&BIND_SOURCE_MISSING, &MOUNT_HIDES_INSTALL, &VOLUME_HIDES_FILES],
    run: Run::Subject(run),
};

static BIND_SOURCE_MISSING: Rule = Rule {
    id: "BindSourceMissing",
    family: Family::Across,
    severity: Severity::Warning,
    title: "What is mounted is not there",
    explanation: "Docker makes an empty directory, owned by root, where the source of a bind mount is missing, and mounts that. In the place of a file the container finds a directory and fails; in the place of sources it finds nothing; and the directory stays behind in the checkout. Write the file, or say `create_host_path: false` in the long form so that `up` fails instead.",
    example: Some((
        "volumes:\n  - ./nginx/prod.conf:/etc/nginx/conf.d/default.conf  # no such file",
        "volumes:\n  - type: bind\n    source: ./nginx/prod.conf\n    target: /etc/nginx/conf.d/default.conf\n    bind: { create_host_path: false }",
    )),
    ..Rule::PLAIN
};

static MOUNT_HIDES_INSTALL: Rule = Rule {
    id: "MountHidesInstall",
    family: Family::Across,
    severity: Severity::Warning,
    title: "A bind mount hides what the image installed in the same place",
    explanation: "A bind mount covers everything that the image holds at its target. When dependencies were installed below it (`node_modules`, a virtual environment), the container sees those of the checkout instead: none at all on a fresh clone, or ones that were built for another system. Mount the sources alone (`./src:/app/src`), or put a volume over the installed directory.",
    example: Some(("volumes:\n  - .:/app", "volumes:\n  - .:/app\n  - /app/node_modules")),
    ..Rule::PLAIN
};

static VOLUME_HIDES_FILES: Rule = Rule {
    id: "VolumeHidesFiles",
    family: Family::Across,
    severity: Severity::Warning,
    title: "A named volume hides files that the image brings",
    explanation: "A volume is filled from the image once, when it is empty. From then on it covers what the image holds there: after the next build the container still serves the files of the first one. Keep what a build makes out of volumes; give a volume a directory that holds data only.",
    example: Some((
        "# Dockerfile: COPY dist /usr/share/nginx/html\nvolumes:\n  - html:/usr/share/nginx/html",
        "# nothing is mounted over what the image brings",
    )),
    ..Rule::PLAIN
};

fn run(subject: &Subject<'_>, findings: &mut Findings) {
    for running in &running(subject) {
        for mount in &running.service.mounts {
            match &mount.source {
                MountSource::Bind { path, create_host_path, .. } => {
                    if !subject.files.exists(path) {
                        if *create_host_path {
                            missing(subject, running, mount, path, findings);
                        }
                    } else if subject.files.is_directory(path) {
                        hides_install(subject, running, mount, path, findings);
                    }
                }
                MountSource::Volume { key, .. } => volume_hides(running, mount, key, findings),
                MountSource::Anonymous { .. } | MountSource::Tmpfs { .. } | MountSource::Image { .. } => {}
            }
        }
    }
}

fn missing(
    subject: &Subject<'_>,
    running: &Running<'_>,
    mount: &Mount,
    path: &Path,
    findings: &mut Findings,
) {
    // What lies outside of the project is another machine's business.
    let Ok(shown) = path.strip_prefix(subject.directory) else { return };
    if shown.as_os_str().is_empty() {
        return;
    }
    let (name, target) = (path.file_name().unwrap_or_default().to_string_lossy(), &mount.target);
    let file = looks_like_a_file(&name) && looks_like_a_file(target.rsplit('/').next().unwrap_or_default())
        || is_config(&name);
    let ignored = subject.files.ignored(path) == Some(true);
    let template = ["example", "sample", "template", "dist"].iter().any(|end| {
        let with = |extra: String| path.with_file_name(extra);
        subject.files.exists(&with(format!("{name}.{end}")))
            || name.rsplit_once('.').is_some_and(|(stem, extension)| {
                subject.files.exists(&with(format!("{stem}.{end}.{extension}")))
            })
    });
    // What git ignores is made on each machine: data, certificates, secrets.
    if template || ignored {
        return;
    }
    if !file && !mount.read_only && !holds_code(running, target) {
        // A directory for data: making it is what is wanted.
        return;
    }
    let shown = format!("./{}", shown.display());
    let message = if file {
        format!("`{shown}` is not there: Docker makes a directory of that name and mounts it as `{target}`")
    } else {
        format!("`{shown}` is not there: an empty directory of root's appears in its place")
    };
    let near = near(subject, path);
    let finding = findings.add(&BIND_SOURCE_MISSING, &mount.span, message);
    finding.of(&running.service.name);
    if file {
        finding.severity(Severity::Error);
    }
    match near {
        Some(near) => finding.hint(format!("did you mean `{near}`?")),
        None if file => finding.hint(format!("write {shown}, or take the mount out")),
        None => finding.hint(format!("mkdir -p {shown}, or take the mount out")),
    };
}

fn near(subject: &Subject<'_>, path: &Path) -> Option<String> {
    let names = subject.files.list(path.parent()?);
    let name = path.file_name()?.to_string_lossy().into_owned();
    let near = coracle_dockerfile::nearest(&name, names.iter().map(String::as_str))?;
    let near = path.with_file_name(near);
    Some(format!("./{}", near.strip_prefix(subject.directory).unwrap_or(&near).display()))
}

/// Says whether a name has the extension of a file.
fn looks_like_a_file(name: &str) -> bool {
    let name = name.trim_start_matches('.');
    name.rsplit_once('.').is_some_and(|(stem, extension)| {
        !stem.is_empty()
            && (1..=10).contains(&extension.len())
            && extension.chars().all(|c| c.is_ascii_alphanumeric())
            && extension.chars().any(|c| c.is_ascii_alphabetic())
            && extension != "d"
    })
}

fn is_config(name: &str) -> bool {
    let ends = [
        "conf",
        "yml",
        "yaml",
        "json",
        "toml",
        "ini",
        "sql",
        "sh",
        "pem",
        "crt",
        "key",
        "cnf",
        "cfg",
        "env",
        "xml",
        "properties",
        "html",
        "js",
        "ts",
        "py",
    ];
    name.rsplit_once('.').is_some_and(|(_, extension)| ends.contains(&extension))
}

/// Says whether a target lies where the image keeps the application.
fn holds_code(running: &Running<'_>, target: &str) -> bool {
    let Some(made) = &running.made else { return false };
    let target = Path::new(target);
    let workdir = running.service.working_dir.as_deref().or(made.last.workdir.as_deref());
    workdir.is_some_and(|workdir| {
        workdir != "/" && (target.starts_with(workdir) && target != Path::new(workdir))
    }) && made.copied.iter().any(|copied| {
        copied.dest.as_deref().is_some_and(|dest| {
            let dest = Path::new(dest.trim_end_matches('/'));
            target.starts_with(dest) && dest != Path::new("") || dest.starts_with(target)
        })
    }) && !data(target)
}

/// Says whether a path is one for data by its name.
fn data(target: &Path) -> bool {
    let names = [
        "data",
        "db",
        "uploads",
        "upload",
        "media",
        "storage",
        "logs",
        "log",
        "cache",
        "tmp",
        "backup",
        "backups",
        "state",
        "var",
        "output",
        "out",
        "reports",
        "report",
        "results",
        "test-results",
        "blob-report",
        "htmlcov",
        "coverage",
        "artifacts",
    ];
    target.iter().any(|part| names.contains(&part.to_string_lossy().to_lowercase().as_str()))
}

fn hides_install(
    subject: &Subject<'_>,
    running: &Running<'_>,
    mount: &Mount,
    source: &Path,
    findings: &mut Findings,
) {
    let Some(made) = &running.made else { return };
    // It may have been moved out of the way, or have been installed elsewhere in the first place.
    let configured = made.last.env.contains_key("NODE_PATH")
        || made.says("mv ")
        || made.says("modules-folder")
        || made.build.context.as_deref().is_some_and(|context| {
            let files = subject.files.walk(context, super::sources_of::SKIPPED, 2000);
            files
                .iter()
                .any(|path| path.file_name().is_some_and(|name| name == ".yarnrc" || name == ".yarnrc.yml"))
        });
    if configured {
        return;
    }
    for (path, what, statement) in installed(made) {
        let Ok(rest) = Path::new(&path).strip_prefix(mount.target.trim_end_matches('/')) else { continue };
        if rest.as_os_str().is_empty() || covered(running.service, &path, &mount.target) {
            continue;
        }
        // It is in the checkout too: then the author knows.
        if subject.files.exists(&source.join(rest)) {
            continue;
        }
        let message = format!("this hides `{path}`, which the image holds");
        findings
            .add(&MOUNT_HIDES_INSTALL, &mount.span, message)
            .of(&running.service.name)
            .also(&made.build.place_of(statement, what), "installed here")
            .hint(format!("add the volume `- {path}`, or mount the sources alone"));
        return;
    }
}

/// Returns the directories that dependencies are installed to, with a word of the instruction.
fn installed<'m>(made: &'m Made<'_>) -> Vec<(String, &'static str, &'m coracle_dockerfile::Statement)> {
    let mut found = Vec::new();
    for step in &made.steps {
        for words in step.commands() {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let at = |name: &str| step.before.absolute(name);
            let entry = match words.as_slice() {
                ["npm", "ci" | "install" | "i", rest @ ..]
                    if !rest.contains(&"-g") && !rest.contains(&"--global") =>
                {
                    at("node_modules").map(|path| (path, "npm"))
                }
                ["yarn", "install", ..] | ["yarn"] => at("node_modules").map(|path| (path, "yarn")),
                ["pnpm", "install" | "i", ..] => at("node_modules").map(|path| (path, "pnpm")),
                ["python" | "python3", "-m", "venv", .., path] if !path.contains('$') => {
                    at(path).map(|path| (path, "venv"))
                }
                ["uv", "sync", ..] => at(".venv").map(|path| (path, "uv")),
                ["composer", "install", ..] => at("vendor").map(|path| (path, "composer")),
                _ => None,
            };
            found.extend(entry.map(|(path, what)| (path, what, step.statement)));
        }
    }
    found
}

/// Says whether another mount lies over a path again.
fn covered(service: &Service, path: &str, except: &str) -> bool {
    service.mounts.iter().any(|mount| {
        mount.target != except
            && Path::new(path).starts_with(mount.target.trim_end_matches('/'))
            && mount.target.len() > except.len()
    })
}

fn volume_hides(running: &Running<'_>, mount: &Mount, key: &str, findings: &mut Findings) {
    let Some(made) = &running.made else { return };
    let target = Path::new(mount.target.trim_end_matches('/'));
    if data(target) {
        return;
    }
    let hidden = made.copied.iter().find(|copied| {
        copied.origin != Origin::Elsewhere
            && copied
                .dest
                .as_deref()
                .is_some_and(|dest| Path::new(dest.trim_end_matches('/')).starts_with(target))
    });
    let Some(copied) = hidden else { return };
    let message =
        format!("the volume `{key}` hides what the image brings to `{}`, once it is filled", mount.target);
    findings
        .add(&VOLUME_HIDES_FILES, &mount.span, message)
        .of(&running.service.name)
        .also(&copied.word.span, "copied there")
        .hint("take the volume out, or mount it over a directory that holds data only");
}
