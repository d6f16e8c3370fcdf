//! `pip`.

use coracle_report::Severity;

use super::listed;
use crate::dockerfile::view::{View, found, has_cache, keeps_out_of_layer};
use crate::project::Findings;
use crate::shell::{Command, Word};
use crate::{Family, Rule};

pub(in crate::dockerfile) static RULES: &[&Rule] = &[&PIP_VERSIONS, &PIP_CACHE, &PIP_CACHE_MOUNT];

static PIP_VERSIONS: Rule = Rule {
    id: "DL3013",
    family: Family::Dockerfile,
    severity: Severity::Warning,
    title: "Versions of `pip install` are not pinned",
    explanation: "Each build takes the newest version of that day, outside of what was tested. Write the version, `pip install gunicorn==23.0.0`, or better put it into requirements.txt with the others.",
    example: Some(("RUN pip install gunicorn", "RUN pip install gunicorn==23.0.0")),
    ..Rule::PLAIN
};

static PIP_CACHE: Rule = Rule {
    id: "DL3042",
    family: Family::Dockerfile,
    severity: Severity::Warning,
    title: "`pip install` leaves its cache in the image",
    explanation: "What pip fetched stays in `/root/.cache/pip` and in the layer. Keep it beside the layer, which also makes the next build fast: `RUN --mount=type=cache,target=/root/.cache/pip pip install ...`; or write `--no-cache-dir`.",
    example: Some((
        "RUN pip install -r requirements.txt",
        "RUN --mount=type=cache,target=/root/.cache/pip pip install -r requirements.txt",
    )),
    ..Rule::PLAIN
};

static PIP_CACHE_MOUNT: Rule = Rule {
    id: "CacheMountMissing",
    family: Family::Dockerfile,
    severity: Severity::Note,
    title: "A build stage installs everything again at every change",
    explanation: "In a stage of which only files are taken, the size of pip's cache does not matter, but `--no-cache-dir` makes pip fetch and build all packages again when one line of the requirements changes. A cache mount keeps them between builds and out of every layer: `RUN --mount=type=cache,target=/root/.cache/pip pip install ...` without `--no-cache-dir`.",
    example: Some((
        "FROM python:3.13 AS build\nRUN pip install --no-cache-dir -r requirements.txt",
        "FROM python:3.13 AS build\nRUN --mount=type=cache,target=/root/.cache/pip pip install -r requirements.txt",
    )),
    ..Rule::PLAIN
};

/// Returns the words after `pip install` of any of its spellings.
pub(super) fn installed(command: &Command) -> Option<&[Word]> {
    let name = command.name();
    let arguments = command.arguments();
    let numbered = |name: &str, stem: &str| {
        name.strip_prefix(stem).is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || c == '.'))
    };
    let rest = if numbered(name, "pip") {
        arguments
    } else if numbered(name, "python") {
        let module = arguments.iter().position(|word| word.is("-m"))?;
        arguments.get(module + 1).filter(|word| word.is("pip"))?;
        &arguments[module + 2..]
    } else {
        return None;
    };
    // Options of pip itself may stand before the verb; some take a word.
    let verb = rest.iter().position(|word| word.is("install"))?;
    let fine = rest[..verb].iter().enumerate().all(|(index, word)| {
        word.text.starts_with('-')
            || index.checked_sub(1).is_some_and(|before| rest[before].text.starts_with("--"))
    });
    fine.then(|| &rest[verb + 1..])
}

pub(super) fn run(view: &View<'_>, findings: &mut Findings) {
    for (piece, command) in view.commands() {
        let Some(rest) = installed(command) else { continue };
        let open = open(rest);
        if let Some(first) = open.first() {
            let tools = open.iter().all(|word| matches!(word.text.as_str(), "pip" | "setuptools" | "wheel"));
            let (version, verb) = if open.len() == 1 { ("version", "is") } else { ("versions", "are") };
            let message = format!("the {version} of {} {verb} not pinned", listed(&open));
            let finding = found(findings, &PIP_VERSIONS, piece, &first.range, message);
            finding.hint(format!("write `{}==VERSION`, or put it into requirements.txt", first.text));
            if tools {
                finding.severity(Severity::Note);
            }
        }
        let place = piece.statement.span.start;
        let cached = has_cache(piece, &["pip", ".cache"]) || keeps_out_of_layer(piece, &["/root/.cache"]);
        let off = rest.iter().any(|word| word.is("--no-cache-dir"))
            || command.arguments().iter().any(|word| word.is("--no-cache-dir"))
            || command.assignments.iter().any(|own| own.name == "PIP_NO_CACHE_DIR");
        let off_everywhere = view.sets(piece.stage, place, &["PIP_NO_CACHE_DIR"]);
        let thrown_away = view.is_thrown_away(piece.stage);
        let purges = piece.snippet.script().is_some_and(|script| {
            script.commands.iter().any(|command| {
                (command.has_argument(&["cache"]) && command.has_argument(&["purge"]))
                    || (command.name() == "rm"
                        && command.arguments().iter().any(|word| word.text.contains(".cache")))
            })
        });
        if !off && !off_everywhere && !cached && !thrown_away && !purges {
            found(findings, &PIP_CACHE, piece, &command.range, "pip's cache stays in the image").hint(
                "write `RUN --mount=type=cache,target=/root/.cache/pip pip install ...`, or add `--no-cache-dir`",
            );
        }
        if off && !cached && thrown_away && !piece.triggered {
            let word = command.arguments().iter().find(|word| word.is("--no-cache-dir"));
            let range = word.map_or(&command.range, |word| &word.range);
            found(
                findings,
                &PIP_CACHE_MOUNT,
                piece,
                range,
                "every change of one requirement fetches all packages again",
            )
            .hint("write `RUN --mount=type=cache,target=/root/.cache/pip pip install ...` without `--no-cache-dir`");
        }
    }
}

/// Returns the packages whose version is open.
fn open(rest: &[Word]) -> Vec<&Word> {
    const WITH_VALUE: &[&str] = &[
        "-i",
        "--index-url",
        "--extra-index-url",
        "-f",
        "--find-links",
        "-t",
        "--target",
        "--prefix",
        "--root",
        "--src",
        "--trusted-host",
        "--proxy",
        "--platform",
        "--python-version",
        "--implementation",
        "--abi",
        "--cache-dir",
        "--log",
        "--timeout",
        "--retries",
        "--progress-bar",
        "--upgrade-strategy",
        "--no-binary",
        "--only-binary",
        "--config-settings",
        "-C",
        "--global-option",
        "--report",
        "--root-user-action",
        "--use-feature",
        "--use-deprecated",
        "--exists-action",
        "--cert",
        "--client-cert",
        "--python",
        "-b",
        "--build-option",
        "--install-option",
        "--keyring-provider",
    ];
    // A file of requirements or constraints, or a project of its own, says which versions.
    const ELSEWHERE: &[&str] =
        &["-r", "--requirement", "-c", "--constraint", "-e", "--editable", "--group", "--build"];
    let elsewhere = |word: &Word| {
        let text = word.text.split('=').next().unwrap_or_default();
        ELSEWHERE.contains(&text) || (word.text.starts_with("-r") && !word.text.starts_with("--"))
    };
    if rest.iter().any(elsewhere) {
        return Vec::new();
    }
    let mut open = Vec::new();
    let mut words = rest.iter();
    while let Some(word) = words.next() {
        if WITH_VALUE.contains(&word.text.as_str()) {
            words.next();
            continue;
        }
        let text = word.text.as_str();
        let fixed = text.contains(['=', '<', '>', '~', '@', '/', '*'])
            || text.starts_with(['-', '.'])
            || [".whl", ".zip", ".gz", ".txt", ".toml"].iter().any(|end| text.ends_with(end));
        if !fixed && !word.expands() && !text.is_empty() {
            open.push(word);
        }
    }
    open
}
