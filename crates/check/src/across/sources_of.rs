//! The sources of a service and the scripts of a project, within bounds.

use std::path::{Path, PathBuf};

use crate::project::Subject;

/// Directories that hold no sources of the project's own.
pub(super) const SKIPPED: &[&str] = &[
    ".git",
    "node_modules",
    ".venv",
    "venv",
    "__pycache__",
    "dist",
    "build",
    "target",
    "vendor",
    ".next",
    ".nuxt",
    ".tox",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    "coverage",
    ".idea",
    ".vscode",
];

/// At most so many files are looked at.
const MOST: usize = 2000;

/// Returns the texts below a directory.
pub(super) fn texts<'s>(
    subject: &'s Subject<'_>,
    directory: &Path,
) -> impl Iterator<Item = (PathBuf, String)> + use<'s> {
    let files = subject.files.walk(directory, SKIPPED, MOST);
    files.into_iter().filter_map(|path| {
        let name = path.file_name()?.to_string_lossy().into_owned();
        let lock = name.contains("-lock.") || matches!(name.rsplit('.').next(), Some("lock" | "sum"));
        if lock {
            return None;
        }
        let text = subject.files.text(&path)?;
        Some((path, text))
    })
}

/// Says whether a directory holds more than is looked at.
pub(super) fn too_many(subject: &Subject<'_>, directory: &Path) -> bool {
    subject.files.walk(directory, SKIPPED, MOST).len() >= MOST
}

/// Returns the scripts of a project: in its root, in `scripts/`, `bin/` and the like, `Makefile`, `package.json`, and those of
/// its continuous integration.
pub(super) fn scripts(subject: &Subject<'_>) -> Vec<PathBuf> {
    let root = subject.directory;
    let mut found = Vec::new();
    let directories =
        ["", "scripts", "script", "bin", "tools", "deploy", "hack", "ci", ".github/workflows", "docker"];
    for directory in directories {
        let directory = if directory.is_empty() { root.to_owned() } else { root.join(directory) };
        for name in subject.files.list(&directory) {
            let script =
                [".sh", ".bash", ".ps1", ".yml", ".yaml", ".mk"].iter().any(|end| name.ends_with(end))
                    || matches!(
                        name.as_str(),
                        "Makefile"
                            | "makefile"
                            | "GNUmakefile"
                            | "justfile"
                            | "Justfile"
                            | "Taskfile.yml"
                            | "package.json"
                            | "Procfile"
                            | "Rakefile"
                            | "Jenkinsfile"
                            | ".gitlab-ci.yml"
                    );
            let compose = name.contains("compose");
            let path = directory.join(&name);
            // Without an extension its first line says that it is one.
            let script = script
                || (!name.contains('.')
                    && subject.files.text(&path).is_some_and(|text| text.starts_with("#!")));
            if script && !compose && subject.files.is_file(&path) {
                found.push(path);
            }
        }
    }
    found
}

/// Says whether a name has one of these extensions.
pub(super) fn has_extension(name: &str, extensions: &[&str]) -> bool {
    Path::new(name).extension().is_some_and(|own| extensions.iter().any(|one| own == *one))
}

/// Returns the project's documents: those of its root and of `docs/`.
pub(super) fn documents(subject: &Subject<'_>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for directory in
        [subject.directory.to_owned(), subject.directory.join("docs"), subject.directory.join("doc")]
    {
        for name in subject.files.list(&directory) {
            let lower = name.to_lowercase();
            // What tells of the past or of plans names what is gone or not yet there.
            let other =
                ["changelog", "changes", "history", "news", "todo", "roadmap", "license", "migration"];
            if has_extension(&lower, &["md"]) && !other.iter().any(|word| lower.contains(word)) {
                found.push(directory.join(name));
            }
        }
    }
    found
}
