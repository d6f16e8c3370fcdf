//! Variables that compose files refer to and nobody sets, and those that env files set and nobody uses.

use coracle_composefile::EnvFileRole;
use coracle_report::Severity;

use super::corpus::{Corpus, has_word};
use super::lines;
use crate::across::variables::is_of_a_library;
use crate::compose::declared::compose_files;
use crate::compose::is_meant_to_last;
use crate::compose::notices::finding;
use crate::project::{Check, Findings, Run, Subject};
use crate::{Family, Rule};

pub(super) static CHECK: Check =
    Check { rules: &[&UNDEFINED_VARIABLE, &UNUSED_VARIABLE], run: Run::Subject(run) };

static UNDEFINED_VARIABLE: Rule = Rule {
    id: "UndefinedVariable",
    family: Family::Environment,
    severity: Severity::Warning,
    title: "A variable that a compose file refers to is set or has a default",
    explanation: "A variable without a value is replaced by nothing, with a warning that scrolls away: a port, a path or a password is then empty. Set it in the env file of the environment, write a default with `${NAME:-value}`, or make it an error with `${NAME:?}`. A dollar sign that is meant for the container's shell is written twice: `$$NAME`.",
    example: Some(("image: app:${TAG}", "image: app:${TAG:?set the version to run}")),
    ..Rule::PLAIN
};

static UNUSED_VARIABLE: Rule = Rule {
    id: "EnvFileVariableUnused",
    family: Family::Environment,
    severity: Severity::Warning,
    title: "A variable of an env file is used",
    explanation: "The file sets it, and no compose file, script or source of the project speaks of it: as a rule it was renamed on one side, and whoever changes it here changes nothing. Take it out, or name it where it was meant.",
    example: Some((
        "# .env, while compose.yaml has ${DB_PASSWORD}\nDATABASE_PASSWORD=...",
        "DB_PASSWORD=...",
    )),
    ..Rule::PLAIN
};

fn run(subject: &Subject<'_>, findings: &mut Findings) {
    undefined(subject, findings);
    unused(subject, findings);
}

fn undefined(subject: &Subject<'_>, findings: &mut Findings) {
    let Some(loaded) = subject.loaded else { return };
    for warning in loaded.warnings.iter().filter(|warning| warning.code == "undefined-variable") {
        let name = warning.message.split('`').nth(1).unwrap_or_default().to_owned();
        let others: Vec<String> = lines::files(subject)
            .into_iter()
            .filter(|path| {
                let text = subject.files.text(path).unwrap_or_default();
                lines::read(path, &text).iter().any(|one| one.name == name)
            })
            .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
            .collect();
        // A base that is never used without one of its environments.
        if subject.environment.is_none() && !is_meant_to_last(subject) && !others.is_empty() {
            continue;
        }
        let finding = findings.push(finding(&UNDEFINED_VARIABLE, warning));
        if !others.is_empty() {
            finding.note(format!("it is set in {}, which is not read here", others.join(", ")));
        }
        let shell = warning.span.as_ref().is_some_and(|span| {
            loaded.layers().any(|layer| {
                layer.path() == span.file
                    && layer.documents().flat_map(coracle_composefile::View::walk).any(|(path, view)| {
                        let own =
                            |key: &str| matches!(key, "command" | "entrypoint" | "test" | "healthcheck");
                        path.iter().any(|key| own(key))
                            && view.references().iter().any(|reference| reference.span.start == span.start)
                    })
            })
        });
        if shell {
            finding
                .diagnostic
                .hints
                .insert(0, coracle_report::Hint(format!("for the container's own shell write `$${name}`")));
        }
    }
}

/// Variables that programs around a project read.
fn is_of_a_tool(name: &str) -> bool {
    ["COMPOSE_", "DOCKER_", "BUILDKIT_", "BUILDX_", "CORACLE_", "BAKE_", "GIT_", "CI_"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
        || matches!(
            name,
            "PATH" | "HOME" | "SHELL" | "USER" | "TZ" | "LANG" | "CI" | "UID" | "GID" | "EDITOR"
        )
}

/// Settings whose names are put together from a prefix and a field.
const PREFIXED: &[&str] = &[
    "env_prefix",
    "env_nested_delimiter",
    "AutomaticEnv",
    "envconfig",
    "dynaconf",
    "@ConfigurationProperties",
];

fn unused(subject: &Subject<'_>, findings: &mut Findings) {
    let (Some(loaded), Some(project)) = (subject.loaded, subject.project()) else { return };
    let Some(path) = lines::of_environment(subject) else { return };
    let Some(text) = subject.files.text(&path) else { return };
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut corpus: Option<Corpus> = None;
    let composed: Vec<String> =
        compose_files(subject).iter().filter_map(|file| subject.files.text(file)).collect();
    // A container that gets the whole file may read any of it.
    let whole = loaded
        .written()
        .env_files()
        .iter()
        .any(|file| file.path == path && matches!(file.role, EnvFileRole::Service { .. }))
        || composed.iter().any(|text| {
            text.lines().any(|line| {
                let word = line
                    .trim()
                    .trim_start_matches("- ")
                    .trim_start_matches("path:")
                    .trim_start_matches("env_file:");
                let word = word.trim().trim_matches(['"', '\'']);
                word.trim_start_matches("./") == name || (word.contains("env") && word.contains("${"))
            }) && text.contains("env_file")
        });
    if whole {
        return;
    }
    for one in lines::read(&path, &text) {
        if is_of_a_tool(&one.name) || composed.iter().any(|text| has_word(text, &one.name)) {
            continue;
        }
        // The file may be made of its own variables.
        let own = text.lines().any(|line| {
            line.contains(&format!("${{{}", one.name)) || line.contains(&format!("${}", one.name))
        });
        let corpus = corpus.get_or_insert_with(|| {
            let skip = |name: &str| {
                let extension = name.rsplit('.').next();
                name.contains(".env") || matches!(extension, Some("md" | "rst"))
            };
            Corpus::read(subject, &project.directory, skip)
        });
        // The program may read the file by itself, and libraries then find what they look for.
        let loaded = corpus.has_any(&["dotenv", "read_env", "env_file", "--env-file"]);
        let by_library = loaded && is_of_a_library(&one.name);
        let unknown = corpus.partial || corpus.has_any(PREFIXED);
        if own || unknown || by_library || corpus.has_word(&one.name) {
            continue;
        }
        findings
            .add(&UNUSED_VARIABLE, &one.name_span, format!("nothing in the project uses `{}`", one.name))
            .hint("take it out, or name it where it was meant")
            .diagnostic
            .source_line = Some(format!("{}=...", one.name));
    }
}
