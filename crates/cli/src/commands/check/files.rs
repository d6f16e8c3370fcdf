//! Files that are checked alone: which there are, and all of them at once.

use std::fs;
use std::io::{self, Read as _};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use coracle_engine::{CheckedFile, Failure, Result, RuleSelection, check_file};

/// Directories in which nobody's own Dockerfiles lie.
const SKIPPED: &[&str] =
    &[".git", "node_modules", "target", ".venv", "venv", "vendor", ".tox", "__pycache__"];
/// The deepest directory that is looked into.
const DEPTH: usize = 32;
/// The largest Dockerfile on standard input, bytes.
const LIMIT: u64 = 1 << 20;

/// Returns the Dockerfiles in a directory and those below it, by name.
pub(super) fn dockerfiles(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    look(directory, DEPTH, &mut found);
    found
}

fn look(directory: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    let mut entries: Vec<_> = entries.flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // Links are not followed: what they lead to is found where it is.
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_file() && is_dockerfile(&name) {
            found.push(entry.path());
        } else if kind.is_dir() && depth > 0 && !SKIPPED.contains(&&*name) {
            look(&entry.path(), depth - 1, found);
        }
    }
}

fn is_dockerfile(name: &str) -> bool {
    let stem = |stem: &str| name == stem || name.strip_prefix(stem).is_some_and(|rest| rest.starts_with('.'));
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    let ending = ending.unwrap_or_default();
    (stem("Dockerfile") || stem("Containerfile") || ending == "dockerfile")
        && !matches!(ending.as_str(), "dockerignore" | "bak" | "orig" | "swp" | "j2" | "tmpl" | "erb")
}

/// Checks Dockerfiles, as many at a time as there are processors. The answers are in the order of the files.
pub(super) fn check(paths: &[PathBuf], rules: &RuleSelection) -> Result<Vec<CheckedFile>> {
    let standard =
        if paths.iter().any(|path| path == Path::new("-")) { Some(standard_input()?) } else { None };
    let one = |path: &PathBuf| {
        let text = standard.clone().filter(|_| path == Path::new("-"));
        check_file(path, text, rules)
    };
    let count =
        std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(paths.len().div_ceil(8));
    if count <= 1 {
        return Ok(paths.iter().map(one).collect());
    }
    let next = AtomicUsize::new(0);
    let answers: Mutex<Vec<Option<CheckedFile>>> = Mutex::new(vec![None; paths.len()]);
    std::thread::scope(|scope| {
        for _ in 0..count {
            scope.spawn(|| {
                let mut own = Vec::new();
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(path) = paths.get(index) else { break };
                    own.push((index, one(path)));
                }
                let mut answers = answers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                own.into_iter().for_each(|(index, answer)| answers[index] = Some(answer));
            });
        }
    });
    let answers = answers.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    Ok(answers.into_iter().flatten().collect())
}

fn standard_input() -> Result<String> {
    let mut text = String::new();
    let read = io::stdin().lock().take(LIMIT + 1).read_to_string(&mut text);
    match read {
        Ok(count) if count as u64 <= LIMIT => Ok(text),
        Ok(_) => Err(refused("standard input holds more than 1 MiB")),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(refused("standard input is not UTF-8 text"))
        }
        Err(error) => Err(Failure::ours("reading standard input", &error)),
    }
}

fn refused(message: &str) -> Failure {
    Failure::user(coracle_report::Diagnostic::error("no-dockerfile", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_dockerfiles() {
        for name in ["Dockerfile", "Dockerfile.prod", "Containerfile", "api.dockerfile", "web.Dockerfile"] {
            assert!(is_dockerfile(name), "{name}");
        }
        for name in
            ["Dockerfile.dockerignore", "Dockerfiles", "README.md", "Dockerfile.j2", "dockerfile-notes"]
        {
            assert!(!is_dockerfile(name), "{name}");
        }
    }
}
