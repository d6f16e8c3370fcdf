//! Secrets where others read them: compose files, files that git tracks, build arguments, permissions.

use coracle_composefile::FileContent;
use coracle_report::{Severity, Span};

use super::lines::{self, masked};
use super::passwords::line_of;
use super::secret::{is_guessable, is_placeholder, is_secret_name, known_token, secret_in};
use crate::compose::facts::view;
use crate::project::{Check, Findings, Run, Subject};
use crate::{Family, Finding, Rule};

pub(super) static CHECK: Check = Check {
    rules: &[&SECRET_IN_FILE, &SECRET_TRACKED, &SECRET_IN_BUILD_ARGUMENT, &SECRET_READABLE_BY_ALL],
    run: Run::Subject(run),
};

static SECRET_IN_FILE: Rule = Rule {
    id: "SecretInFile",
    family: Family::Environment,
    severity: Severity::Warning,
    title: "A secret does not stand in a compose file",
    explanation: "A compose file is shared with everybody who may read the repository, now and in its history, and `docker inspect` shows what it sets. Keep the value in a file outside of git and grant it as a secret, or name a variable: `${API_TOKEN:?}`. A secret that was once in the repository must be changed.",
    example: Some((
        "environment:\n  API_TOKEN: 9fQ2mXw7Lr0Zt5",
        "environment:\n  API_TOKEN_FILE: /run/secrets/api_token\nsecrets: [api_token]",
    )),
    ..Rule::PLAIN
};

static SECRET_TRACKED: Rule = Rule {
    id: "SecretTracked",
    family: Family::Environment,
    severity: Severity::Warning,
    title: "A file with secrets is not tracked by git",
    explanation: "What git tracks is copied to everybody who clones the repository, and stays in its history when the file is taken out. Change the secret, take the file out of the index with `git rm --cached FILE`, write its name into `.gitignore` and keep an example without values beside it.",
    example: Some((
        ".env   # tracked, with API_TOKEN=9fQ2mXw7Lr0Zt5",
        ".env   # in .gitignore\n.env.example",
    )),
    ..Rule::PLAIN
};

static SECRET_IN_BUILD_ARGUMENT: Rule = Rule {
    id: "SecretInBuildArgument",
    family: Family::Environment,
    severity: Severity::Warning,
    title: "A secret is not a build argument",
    explanation: "Build arguments are kept in the image's history, where `docker history` shows them to everybody who has the image. Give the secret to the build by `secrets:` and read it with `RUN --mount=type=secret`.",
    example: Some((
        "build:\n  args:\n    NPM_TOKEN: ${NPM_TOKEN}",
        "build:\n  secrets: [npm_token]\n# RUN --mount=type=secret,id=npm_token npm ci",
    )),
    ..Rule::PLAIN
};

static SECRET_READABLE_BY_ALL: Rule = Rule {
    id: "SecretReadableByAll",
    family: Family::Environment,
    severity: Severity::Note,
    title: "The file of a secret is not readable by every user of the machine in production",
    explanation: "A secret's file with permissions such as 0644 is read by every account of the machine, also by that of a service that was broken into. Take the others' right away. A container whose user is not root reads it by its group then, or by the `uid` and `mode` of the grant.",
    example: Some(("-rw-r--r-- secrets/password.txt", "-rw-r----- secrets/password.txt")),
    ..Rule::PLAIN
};

fn run(subject: &Subject<'_>, findings: &mut Findings) {
    in_compose(subject, findings);
    tracked(subject, findings);
    readable(subject, findings);
}

/// Adds a finding whose line shows no secret.
fn add<'f>(
    subject: &Subject<'_>,
    findings: &'f mut Findings,
    rule: &'static Rule,
    (span, secret): (&Span, &str),
    message: String,
) -> &'f mut Finding {
    let line = line_of(subject, span).map(|line| masked(&line, secret)).filter(|line| !line.is_empty());
    let finding = findings.add(rule, span, message);
    finding.diagnostic.source_line = Some(line.unwrap_or_else(|| "...".to_owned()));
    finding
}

fn in_compose(subject: &Subject<'_>, findings: &mut Findings) {
    let Some(project) = subject.project() else { return };
    for service in subject.services() {
        let compose = |span: &Span| {
            project.files.contains(&span.file) || {
                let mut layers = subject.loaded.into_iter().flat_map(coracle_composefile::Loaded::layers);
                layers.any(|layer| layer.path() == span.file)
            }
        };
        let arguments = service.build.iter().flat_map(|build| &build.args);
        let arguments = arguments.map(|(name, value)| (["build", "args"].as_slice(), name, value));
        let variables =
            service.environment.iter().map(|(name, value)| (["environment"].as_slice(), name, value));
        for (section, name, value) in variables.chain(arguments) {
            let path: Vec<&str> = section.iter().copied().chain([name.as_str()]).collect();
            let Some(view) = view(subject, service, &path) else { continue };
            let span = view.span();
            if section[0] == "build" && is_secret_name(name) && !is_placeholder(value) {
                let message = format!("`{name}` is kept in the history of the image of `{}`", service.name);
                let place = view.key_span();
                add(subject, findings, &SECRET_IN_BUILD_ARGUMENT, (&place, value), message);
                continue;
            }
            if view.written().is_some() || !compose(&span) {
                continue;
            }
            if let Some(what) = secret_in(name, value) {
                let message = format!("`{name}` of `{}` holds {what}", service.name);
                add(subject, findings, &SECRET_IN_FILE, (&view.key_span(), value), message);
            }
        }
    }
}

fn tracked(subject: &Subject<'_>, findings: &mut Findings) {
    for path in lines::files(subject) {
        if subject.files.tracked(&path) != Some(true) {
            continue;
        }
        let Some(text) = subject.files.text(&path) else { continue };
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let production = name.rsplit('.').next().is_some_and(Subject::is_production);
        for one in lines::read(&path, &text) {
            let value = one.value();
            let typed = production
                && is_secret_name(&one.name)
                && !is_placeholder(value)
                && !is_guessable(value)
                && value.len() >= 6
                && !value.contains('$');
            let what = secret_in(&one.name, value).or(typed.then_some("a secret"));
            let Some(what) = what else { continue };
            let message = format!("git tracks {name}, and `{}` in it is {what}", one.name);
            let finding = add(subject, findings, &SECRET_TRACKED, (&one.name_span, value), message);
            finding.hint(format!("git rm --cached {name} && echo {name} >> .gitignore"));
            // Only its form leaves no doubt.
            if known_token(value).is_some() {
                finding.severity(Severity::Error);
            }
        }
    }
    let Some(project) = subject.project() else { return };
    for (key, object) in &project.secrets {
        let FileContent::File(path) = &object.content else { continue };
        let Some(text) = subject.files.text(path).filter(|text| !is_placeholder(text.trim())) else {
            continue;
        };
        if subject.files.tracked(path) == Some(true) && !text.trim().is_empty() {
            let root = subject.loaded.map(|loaded| loaded.root());
            let view = root.and_then(|root| root.get(&["secrets", key, "file"]));
            let span = view.map_or_else(|| object.span.clone(), coracle_composefile::View::span);
            let shown = path.strip_prefix(subject.directory).unwrap_or(path).display();
            findings
                .add(&SECRET_TRACKED, &span, format!("git tracks {shown}, the file of the secret `{key}`"))
                .hint(format!("git rm --cached {shown}"));
        }
    }
}

fn readable(subject: &Subject<'_>, findings: &mut Findings) {
    let Some(project) = subject.project().filter(|_| subject.production) else { return };
    for (key, object) in &project.secrets {
        let FileContent::File(path) = &object.content else { continue };
        let Some((mode, _)) = subject.files.mode(path).filter(|_| subject.files.is_file(path)) else {
            continue;
        };
        if mode & 0o004 == 0 {
            continue;
        }
        let root = subject.loaded.map(|loaded| loaded.root());
        let view = root.and_then(|root| root.get(&["secrets", key, "file"]));
        let span = view.map_or_else(|| object.span.clone(), coracle_composefile::View::span);
        let shown = path.strip_prefix(subject.directory).unwrap_or(path).display();
        findings
            .add(
                &SECRET_READABLE_BY_ALL,
                &span,
                format!("every user of the machine can read {shown} (mode {mode:04o})"),
            )
            .hint(format!("chmod o-r {shown}"));
    }
}
