//! Variables that a service is given and nothing in it reads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use coracle_composefile::MountSource;

use super::sources_of::{texts, too_many};
use crate::compose::facts;
use crate::image::{Made, Origin, Running, running};
use crate::project::{Check, Findings, Run, Subject};
use crate::{Family, Rule};

pub(super) static CHECK: Check =
    Check { rules: &[&VARIABLE_UNUSED, &PORT_VARIABLE_IGNORED], run: Run::Subject(run) };

static VARIABLE_UNUSED: Rule = Rule {
    id: "VariableUnused",
    family: Family::Across,
    title: "A service is given a variable that nothing in it reads",
    explanation: "Neither the sources of the service nor its Dockerfile, its command or its mounted files name the variable. Who sets it believes that it does something: `DEBUG=true` of an application that has no such setting changes nothing. Take it out, or read it. A name is looked for in any case and with any separators; variables of runtimes and well-known libraries are left alone.",
    example: Some((
        "environment:\n  RELOAD: \"true\"  # read by nothing",
        "# taken out, or read by the application's settings",
    )),
    ..Rule::PLAIN
};

static PORT_VARIABLE_IGNORED: Rule = Rule {
    id: "PortVariableIgnored",
    family: Family::Across,
    title: "A variable names a port that the command fixes",
    explanation: "The service is given a port by a variable, and its command names one as a number: who changes the variable changes nothing, and looks for the service where it is not. Let the command read the variable (in the shell form), or take the variable out.",
    example: Some((
        "environment: { API_PORT: 8000 }\ncommand: [\"uvicorn\", \"app:app\", \"--port\", \"8000\"]",
        "environment: { API_PORT: 8000 }\ncommand: [\"sh\", \"-c\", \"exec uvicorn app:app --port $$API_PORT\"]",
    )),
    ..Rule::PLAIN
};

/// Beginnings of names that runtimes and libraries read by themselves.
const KNOWN: &[&str] = &[
    "OTEL_",
    "SENTRY_",
    "AWS_",
    "GOOGLE_",
    "GCP_",
    "AZURE_",
    "PG",
    "MYSQL_",
    "REDIS_",
    "LC_",
    "NODE_",
    "NPM_",
    "npm_",
    "YARN_",
    "COREPACK_",
    "NEXT_",
    "NUXT_",
    "PYTHON",
    "PIP_",
    "UV_",
    "POETRY_",
    "UVICORN_",
    "GUNICORN_",
    "HYPERCORN_",
    "FLASK_",
    "DJANGO_",
    "CELERY_",
    "FASTAPI_",
    "RAILS_",
    "RACK_",
    "BUNDLE_",
    "GEM_",
    "RUBY",
    "PUMA_",
    "MALLOC_",
    "JAVA_",
    "JDK_",
    "JVM_",
    "CATALINA_",
    "SPRING_",
    "SERVER_",
    "LOGGING_",
    "MANAGEMENT_",
    "QUARKUS_",
    "MICRONAUT_",
    "GO",
    "CGO_",
    "RUST_",
    "CARGO_",
    "ROCKET_",
    "ASPNETCORE_",
    "DOTNET_",
    "COMPlus_",
    "PHP_",
    "APACHE_",
    "COMPOSER_",
    "SYMFONY_",
    "LARAVEL_",
    "PROMETHEUS_",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_",
    "CURL_",
    "REQUESTS_",
    "GIT_",
    "XDG_",
    "DOCKER_",
    "CORACLE_",
    "COMPOSE_",
    "KUBERNETES_",
    "NVIDIA_",
    "CUDA_",
    "HF_",
    "TRANSFORMERS_",
    "OMP_",
    "OPENBLAS_",
    "MKL_",
    "TF_",
    "TORCH_",
    "NEW_RELIC_",
    "DD_",
    "ELASTIC_APM_",
    "CHOKIDAR_",
    "WATCHPACK_",
    "WDS_",
    "FAST_REFRESH",
    "ESLINT_",
    "TSC_",
    "PRISMA_",
    "PLAYWRIGHT_",
    "PUPPETEER_",
    "LD_",
    "__",
];

/// Names that runtimes and tools read by themselves.
const NAMES: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "SHELL",
    "TERM",
    "TZ",
    "LANG",
    "LANGUAGE",
    "HOSTNAME",
    "PWD",
    "TMPDIR",
    "PORT",
    "HOST",
    "CI",
    "BROWSER",
    "COLUMNS",
    "LINES",
    "NO_COLOR",
    "FORCE_COLOR",
    "EDITOR",
    "UMASK",
    "PUID",
    "PGID",
    "UID",
    "GID",
    "WEB_CONCURRENCY",
    "DISPLAY",
    "DEBIAN_FRONTEND",
    "SECRET_KEY_BASE",
    "VIRTUAL_HOST",
    "VIRTUAL_PORT",
    "LETSENCRYPT_HOST",
];

/// The languages whose applications read their environment in sources that are here.
const LANGUAGES: [&str; 5] = ["python", "node", "golang", "alpine", "debian"];

/// Everything that a service may read a variable in, without separators and in lower case; and as it is.
struct Readers {
    plain: String,
    exact: String,
}

fn run(subject: &Subject<'_>, findings: &mut Findings) {
    let mut known: BTreeMap<PathBuf, Option<String>> = BTreeMap::new();
    for one in &running(subject) {
        let Some(made) = &one.made else { continue };
        let Some(readers) = readers(subject, one, made, &mut known) else { continue };
        for (name, value) in &one.service.environment {
            // What comes from a file for several services need not be read by each.
            if !in_the_compose_file(subject, one, name) || is_known(name, one) || readers.read(name) {
                continue;
            }
            let service = &one.service.name;
            let span = facts::variable(subject, one.service, name);
            let port = name.contains("PORT").then(|| value.parse::<u16>().ok()).flatten();
            if let Some(port) = port.filter(|port| one.command_ports().contains(port)) {
                let message = format!(
                    "`{name}` is set for `{service}`, whose command listens on {port} whatever it says"
                );
                let finding = findings.add(&PORT_VARIABLE_IGNORED, &span, message);
                finding.of(service);
                let command = facts::attribute(subject, one.service, &["command"]);
                match (command, made.cmd) {
                    (Some(place), _) => finding.also(&place, "the port is fixed here"),
                    (None, Some((statement, _))) => {
                        let place = made.build.place_of(statement, &port.to_string());
                        finding.also(&place, "the port is fixed here")
                    }
                    (None, None) => finding,
                };
                finding.hint(format!("let the command read ${name}, or take the variable out"));
                continue;
            }
            let message = format!("`{name}` is set for `{service}`, and nothing there reads it");
            findings
                .add(&VARIABLE_UNUSED, &span, message)
                .of(service)
                .hint("take it out, or read it in the application's settings");
        }
    }
}

/// Says whether a variable is written in a compose file, for this service.
fn in_the_compose_file(subject: &Subject<'_>, one: &Running<'_>, name: &str) -> bool {
    let Some(span) = facts::attribute(subject, one.service, &["environment", name]) else { return false };
    subject.project().is_some_and(|project| project.files.contains(&span.file))
}

/// Says whether runtimes and well-known libraries read a variable by themselves.
pub(crate) fn is_of_a_library(name: &str) -> bool {
    NAMES.contains(&name) || KNOWN.iter().any(|prefix| name.starts_with(prefix))
}

fn is_known(name: &str, one: &Running<'_>) -> bool {
    let node = one.official.is_some_and(|official| official.names[0] == "node");
    is_of_a_library(name)
        // The package `debug` of Node.
        || (node && name == "DEBUG")
        || one.service.environment.get(name).is_some_and(String::is_empty)
}

impl Readers {
    fn read(&self, name: &str) -> bool {
        self.plain.contains(&plain(name)) || self.exact.contains(name) || self.by_prefix(name)
    }

    /// Settings classes add a prefix of their own: `env_prefix="APP_"` and a field `debug`.
    fn by_prefix(&self, name: &str) -> bool {
        name.match_indices('_').any(|(at, _)| {
            let (prefix, rest) = (&name[..=at], &name[at + 1..]);
            !rest.is_empty()
                && (self.exact.contains(&format!("\"{prefix}\""))
                    || self.exact.contains(&format!("'{prefix}'"))
                    || self.exact.contains(&format!("\"{}\"", prefix.trim_end_matches('_')))
                    || self.exact.contains(&format!("'{}'", prefix.trim_end_matches('_'))))
                && self.plain.contains(&plain(rest))
        })
    }
}

/// Leaves separators and case out.
fn plain(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric() || *c == '\n').flat_map(char::to_lowercase).collect()
}

/// Reads what may read variables of a service; `None` when that is not all here.
fn readers(
    subject: &Subject<'_>,
    one: &Running<'_>,
    made: &Made<'_>,
    known: &mut BTreeMap<PathBuf, Option<String>>,
) -> Option<Readers> {
    let context = made.build.context.as_deref()?;
    // The application must be of sources that are here, on a base that brings none of its own.
    let official = one.official.filter(|official| LANGUAGES.contains(&official.names[0]))?;
    let sources = made.build.needed().into_iter().any(|stage| {
        Made::stage(made.build, stage, subject.images).copied.iter().any(|copied| {
            copied.origin == Origin::Context
                && copied.source.as_deref().is_some_and(|source| {
                    let path = context.join(source.trim_start_matches("./"));
                    subject.files.is_directory(&path) || is_source(&path)
                })
        })
    });
    let _ = official;
    if !sources {
        return None;
    }
    let mut directories = vec![context.to_owned()];
    for mount in &one.service.mounts {
        if let MountSource::Bind { path, .. } = &mount.source
            && path.starts_with(subject.directory)
            && !path.starts_with(context)
        {
            directories.push(path.clone());
        }
    }
    let (mut joined, mut exact) = (String::new(), String::new());
    for directory in directories {
        let text = known.entry(directory.clone()).or_insert_with(|| everything(subject, &directory));
        joined.push_str(text.as_deref()?);
    }
    for directory in made.build.contexts.iter().map(PathBuf::from).filter(|path| path.is_absolute()) {
        joined.push_str(&everything(subject, &directory)?);
    }
    for words in one.commands() {
        exact.push_str(&words.join(" "));
        exact.push('\n');
    }
    exact.push_str(&one.probe().unwrap_or_default());
    exact.push_str(&dockerfile(&made.build.text));
    exact.push_str(&joined);
    Some(Readers { plain: plain(&joined), exact })
}

/// Returns the text of a Dockerfile without lines that only set variables.
fn dockerfile(text: &str) -> String {
    let setting = |line: &&str| !line.trim_start().starts_with('#');
    text.lines().filter(setting).collect::<Vec<_>>().join("\n")
}

fn is_source(path: &Path) -> bool {
    let ends = ["py", "js", "mjs", "cjs", "ts", "go", "rs", "rb", "php", "java", "kt", "cs", "ex", "sh"];
    path.extension().is_some_and(|extension| ends.contains(&extension.to_string_lossy().as_ref()))
}

/// Returns the texts of a directory, Dockerfiles, documents and tests left out; `None` when there are too many.
fn everything(subject: &Subject<'_>, directory: &Path) -> Option<String> {
    if subject.files.is_file(directory) {
        return subject.files.text(directory);
    }
    if too_many(subject, directory) {
        return None;
    }
    let mut all = String::new();
    for (path, text) in texts(subject, directory) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let other = name.starts_with("Dockerfile")
            || name.contains("compose")
            || name.starts_with(".env")
            || [".md", ".rst", ".svg", ".css"].iter().any(|end| name.ends_with(end));
        if !other {
            all.push_str(&text);
            all.push('\n');
        }
        if all.len() > 16 << 20 {
            return None;
        }
    }
    Some(all)
}
