//! gunicorn's workers against the application that they serve.

use std::path::Path;

use coracle_report::{Severity, Span};

use crate::compose::facts;
use crate::image::{Running, option, running};
use crate::project::{Check, Findings, Run, Subject};
use crate::{Family, Rule};

pub(super) static CHECK: Check = Check { rules: &[&WORKER_CLASS], run: Run::Subject(run) };

static WORKER_CLASS: Rule = Rule {
    id: "WorkerClass",
    family: Family::Across,
    severity: Severity::Error,
    title: "gunicorn serves an ASGI application with a worker that speaks WSGI",
    explanation: "FastAPI and Starlette applications are ASGI: they take `scope, receive, send`. gunicorn's own worker classes (`sync`, the default, `gthread`, `gevent`, `eventlet`, `tornado`) call them as WSGI, and every request is answered with 500: \"__call__() missing 1 required positional argument: 'send'\". Use `uvicorn_worker.UvicornWorker` (formerly `uvicorn.workers.UvicornWorker`), or run `uvicorn --workers`.",
    example: Some((
        "CMD [\"gunicorn\", \"api.main:app\", \"--worker-class\", \"gevent\"]",
        "CMD [\"gunicorn\", \"api.main:app\", \"--worker-class\", \"uvicorn_worker.UvicornWorker\"]",
    )),
    ..Rule::PLAIN
};

/// Classes of gunicorn that speak WSGI.
const WSGI: [&str; 6] = ["sync", "gthread", "gevent", "gevent_wsgi", "eventlet", "tornado"];

fn run(subject: &Subject<'_>, findings: &mut Findings) {
    for one in &running(subject) {
        let Some(made) = &one.made else { continue };
        let Some(context) = made.build.context.as_deref() else { continue };
        let command = one
            .commands()
            .into_iter()
            .find(|words| words.first().is_some_and(|word| word.rsplit('/').next() == Some("gunicorn")));
        let Some(words) = command else { continue };
        // A configuration may name another class.
        let configured = option(&words, &["-c", "--config"]).is_some()
            || subject.files.exists(&context.join("gunicorn.conf.py"))
            || one.variable("GUNICORN_CMD_ARGS").is_some();
        if configured {
            continue;
        }
        let Some(framework) = asgi_framework(subject, context, &words) else { continue };
        let written = option(&words, &["-k", "--worker-class"]);
        let class = match written {
            None => "sync".to_owned(),
            Some(written) => match one.expanded(written) {
                Some(class) => class,
                None => continue,
            },
        };
        if !WSGI.contains(&class.as_str()) {
            continue;
        }
        let threads = option(&words, &["--threads"]).is_some() && written.is_none();
        let shown = if threads { "gthread".to_owned() } else { class };
        let place = place(subject, one, written.unwrap_or("gunicorn"));
        let message = format!(
            "the worker class `{shown}` speaks WSGI, and the application is of {framework}, which is ASGI"
        );
        let finding = findings.add(&WORKER_CLASS, &place, message);
        finding.of(&one.service.name);
        if let Some(span) =
            written.and_then(|written| made.last.env.get(written.trim_matches(['$', '{', '}'])))
        {
            finding.also(span, "the class is set here");
        }
        finding
            .note("every request: TypeError: __call__() missing 1 required positional argument: 'send'")
            .hint("--worker-class uvicorn_worker.UvicornWorker, with uvicorn-worker in requirements.txt");
    }
}

fn place(subject: &Subject<'_>, one: &Running<'_>, word: &str) -> Span {
    if one.service.command.is_some() {
        return facts::place(subject, one.service, &["command"]);
    }
    match one
        .made
        .as_ref()
        .and_then(|made| made.cmd.or(made.entrypoint).map(|(statement, _)| (made, statement)))
    {
        Some((made, statement)) => made.build.place_of(statement, word),
        None => one.service.span.clone(),
    }
}

/// Returns the framework when the application can only be ASGI.
fn asgi_framework(subject: &Subject<'_>, context: &Path, words: &[String]) -> Option<&'static str> {
    let named =
        [("fastapi", "FastAPI"), ("starlette", "Starlette"), ("litestar", "Litestar"), ("quart", "Quart")];
    let wsgi = ["flask", "django", "bottle", "falcon", "pyramid", "a2wsgi", "asgiref", "wsgi"];
    let mut packages = Vec::new();
    for name in [
        "requirements.txt",
        "requirements/base.txt",
        "requirements/production.txt",
        "pyproject.toml",
        "Pipfile",
    ] {
        let Some(text) = subject.files.text(&context.join(name)) else { continue };
        packages.extend(text.lines().map(|line| package_of(line.trim().trim_start_matches(['"', '\'']))));
    }
    let has = |name: &str| packages.iter().any(|own| own == name);
    if wsgi.iter().any(|name| has(name)) || words.iter().any(|word| word.contains("wsgi")) {
        return None;
    }
    named.iter().find(|(name, _)| has(name)).map(|(_, shown)| *shown)
}

/// Returns the name of a requirement, in lower case, with `-` for `_` and `.`.
pub(super) fn package_of(requirement: &str) -> String {
    let end = requirement
        .find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)))
        .unwrap_or(requirement.len());
    requirement[..end].to_lowercase().replace(['_', '.'], "-")
}
