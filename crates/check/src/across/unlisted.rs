//! Packages that a Dockerfile installs beside the application's own list.

use std::path::Path;

use super::packages::Package;
use super::workers::package_of;
use crate::image::Made;
use crate::project::{Build, Check, Findings, Run, Subject};
use crate::{Family, Rule};

pub(super) static CHECK: Check = Check { rules: &[&UNLISTED_PACKAGE], run: Run::Build(run) };

static UNLISTED_PACKAGE: Rule = Rule {
    id: "UnlistedPackage",
    family: Family::Across,
    title: "A package is installed by the Dockerfile alone, in no version",
    explanation: "The application has a list of what it needs, with versions, and this package is not on it: the next build installs whatever is newest, resolved without regard to the rest, and nobody who installs the list by hand gets it. Put it on the list, pinned like the others.",
    example: Some((
        "RUN pip install gunicorn",
        "# requirements.txt: gunicorn==23.0.0\nRUN pip install -r requirements.txt",
    )),
    ..Rule::PLAIN
};

/// What installs others, and is no part of an application.
const INSTALLERS: [&str; 16] = [
    "pip",
    "setuptools",
    "wheel",
    "poetry",
    "poetry-core",
    "uv",
    "pipenv",
    "pdm",
    "hatch",
    "build",
    "pip-tools",
    "virtualenv",
    "cython",
    "debugpy",
    "supervisor",
    "awscli",
];

fn run(subject: &Subject<'_>, build: &Build, findings: &mut Findings) {
    let Some(context) = build.context.as_deref() else { return };
    let listed = requirements(subject, context);
    let package = Package::read(context, subject.files);
    let made = Made::of(build, subject.images);
    let mut told: Vec<String> = Vec::new();
    for step in &made.steps {
        for words in step.commands() {
            let Some((manager, rest)) = words.split_first() else { continue };
            let plain: Vec<&String> = plain(rest);
            let (list, names): (&str, &[&String]) =
                match (manager.rsplit('/').next().unwrap_or(manager), plain.split_first()) {
                    ("pip" | "pip3", Some((verb, names))) if *verb == "install" && !listed.is_empty() => {
                        ("requirements.txt", names)
                    }
                    ("python" | "python3", Some((verb, names)))
                        if *verb == "install"
                            && rest.first().is_some_and(|word| word == "-m")
                            && rest.get(1).is_some_and(|word| word == "pip")
                            && !listed.is_empty() =>
                    {
                        ("requirements.txt", names)
                    }
                    ("npm", Some((verb, names)))
                        if matches!(verb.as_str(), "install" | "i")
                            && package.is_some()
                            && !rest.iter().any(|word| word == "-g" || word == "--global") =>
                    {
                        ("package.json", names)
                    }
                    _ => continue,
                };
            for name in names {
                let pinned = name.contains("==")
                    || name.contains("~=")
                    || name.contains("://")
                    || name.contains(['$', '/', '<'])
                    || name.contains(" @ ");
                let own = package_of(name);
                let pinned = if list == "package.json" {
                    name.trim_start_matches('@').contains('@') || name.contains(['$', ':'])
                } else {
                    pinned
                };
                let known = if list == "package.json" {
                    package.as_ref().is_some_and(|package| {
                        package.dependencies.contains(*name) || package.development.contains(*name)
                    })
                } else {
                    listed.contains(&own) || INSTALLERS.contains(&own.as_str())
                };
                if own.is_empty()
                    || pinned
                    || known
                    || name.starts_with('.')
                    || name.contains(".whl")
                    || told.contains(name)
                {
                    continue;
                }
                told.push((*name).clone());
                let span = build.place_of(step.statement, name);
                let message = format!("`{name}` is installed here in no version, and is not in {list}");
                let finding = findings.add(&UNLISTED_PACKAGE, &span, message);
                finding.lines = step.statement.span.clone();
                finding.hint(format!("put `{own}` into {list}, with its version"));
            }
        }
    }
}

/// Returns the words that are neither options nor their values; nothing for an install from a file.
fn plain(words: &[String]) -> Vec<&String> {
    let valued = [
        "-i",
        "--index-url",
        "--extra-index-url",
        "--target",
        "-t",
        "--prefix",
        "--python",
        "--progress-bar",
        "--timeout",
        "--retries",
        "--trusted-host",
        "--find-links",
        "-f",
        "--platform",
        "--root",
        "--cache-dir",
        "--registry",
        "-c",
        "--constraint",
        "-m",
        "--no-binary",
        "--only-binary",
        "--upgrade-strategy",
        "--prefer-binary",
    ];
    let mut found = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-r" | "--requirement" | "-e" | "--editable" => {
                words.next();
            }
            word if valued.contains(&word) => {
                words.next();
            }
            _ if word.starts_with('-') || word.starts_with('>') || word.starts_with("2>") => {}
            _ => found.push(word),
        }
    }
    found
}

/// Returns the packages that the lists of a context name.
fn requirements(subject: &Subject<'_>, context: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let names = subject.files.list(context);
    let lists = names.iter().filter(|name| {
        name.starts_with("requirements")
            && Path::new(name).extension().is_some_and(|end| end == "txt" || end == "in")
    });
    for name in lists {
        let Some(text) = subject.files.text(&context.join(name)) else { continue };
        found
            .extend(text.lines().map(str::trim).filter(|line| !line.starts_with(['#', '-'])).map(package_of));
    }
    found.retain(|name| !name.is_empty());
    found
}
