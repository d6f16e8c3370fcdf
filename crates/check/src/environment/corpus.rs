//! The project's own texts, for the question whether anything in them speaks of a name.

use std::path::Path;

use crate::project::Subject;

/// Directories that hold what others wrote or tools made.
pub(super) const FOREIGN: &[&str] = &[
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
    ".terraform",
    ".idea",
    ".vscode",
    "site-packages",
];
/// Files that are looked into.
const FILE_LIMIT: usize = 3_000;
/// Bytes that are looked into.
const BYTE_LIMIT: usize = 24 << 20;

/// Texts, all of them or not.
pub(super) struct Corpus {
    texts: Vec<String>,
    /// Whether there was more than is looked into.
    pub(super) partial: bool,
}

impl Corpus {
    /// Reads the files below a directory; those with a name that `skip` says are left out.
    pub(super) fn read(subject: &Subject<'_>, directory: &Path, skip: impl Fn(&str) -> bool) -> Self {
        let files = subject.files.walk(directory, FOREIGN, FILE_LIMIT);
        let mut corpus = Self { texts: Vec::new(), partial: files.len() >= FILE_LIMIT };
        let mut bytes = 0;
        for path in files {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if skip(&name) || is_data(&name) {
                continue;
            }
            let Some(text) = subject.files.text(&path) else { continue };
            bytes += text.len();
            if bytes > BYTE_LIMIT {
                corpus.partial = true;
                return corpus;
            }
            corpus.texts.push(text);
        }
        corpus
    }

    /// Says whether one of these stands in a text, letter by letter.
    pub(super) fn has_any(&self, parts: &[&str]) -> bool {
        self.texts.iter().any(|text| parts.iter().any(|part| text.contains(part)))
    }

    /// Says whether a word stands in a text, in any case.
    pub(super) fn has_word(&self, word: &str) -> bool {
        self.texts.iter().any(|text| has_word(text, word))
    }
}

/// Says whether a file holds data and no code: pictures, archives, lists of packages.
fn is_data(name: &str) -> bool {
    let locks = [
        "package-lock.json",
        "yarn.lock",
        "pnpm-lock.yaml",
        "poetry.lock",
        "uv.lock",
        "Cargo.lock",
        "go.sum",
    ];
    let extension = name.rsplit('.').next().unwrap_or_default();
    locks.contains(&name)
        || matches!(
            extension,
            "svg" | "csv" | "map" | "lock" | "ipynb" | "sql" | "log" | "pem" | "crt" | "key"
        )
        || name.ends_with(".min.js")
}

/// Says whether a word stands in a text, in any case, with no letter, digit or `_` beside it.
pub(super) fn has_word(text: &str, word: &str) -> bool {
    let (bytes, wanted) = (text.as_bytes(), word.as_bytes());
    let Some(first) = wanted.first().map(u8::to_ascii_lowercase) else { return false };
    let part = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let last = bytes.len().checked_sub(wanted.len());
    let Some(last) = last else { return false };
    (0..=last).any(|at| {
        bytes[at].to_ascii_lowercase() == first
            && bytes[at..at + wanted.len()].eq_ignore_ascii_case(wanted)
            && !part(at.checked_sub(1).and_then(|before| bytes.get(before)))
            && !part(bytes.get(at + wanted.len()))
    })
}

#[cfg(test)]
mod tests {
    use super::has_word;

    #[test]
    fn words_are_whole() {
        assert!(has_word("os.environ[\"DEBUG\"]", "DEBUG"));
        assert!(has_word("debug: bool = False", "DEBUG"));
        assert!(!has_word("DEBUGGER DEBUG_X XDEBUG", "DEBUG"));
        assert!(has_word("DEBUGGER DEBUG", "DEBUG"));
        assert!(!has_word("", "DEBUG"));
    }
}
