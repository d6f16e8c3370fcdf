//! Test cases as text files of several parts: `-- HEADER --` begins one, all until the next is its content, and lines
//! that begin with `#` before the first say what the case shows.

use std::fs;
use std::path::{Path, PathBuf};

/// A case's name and parts.
#[derive(Debug)]
pub struct Parts {
    /// The file's name without its ending.
    pub name: String,
    /// Headers and contents in order.
    pub parts: Vec<(String, String)>,
}

impl Parts {
    /// Reads all cases of a directory by name; the variable `only` may pick those whose name holds its value.
    pub fn all(directory: &Path, only: &str) -> Vec<Self> {
        let only = std::env::var(only).unwrap_or_default();
        let entries = fs::read_dir(directory).expect("the cases can be listed");
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        paths.iter().map(|path| Self::read(path)).filter(|case| case.name.contains(&only)).collect()
    }

    fn read(path: &Path) -> Self {
        let name = path.file_stem().expect("a name").to_str().expect("a plain name").to_owned();
        let text = fs::read_to_string(path).expect("a case is text");
        let mut parts: Vec<(String, String)> = Vec::new();
        for line in text.split_inclusive('\n') {
            let header = line.trim_end().strip_prefix("-- ").and_then(|line| line.strip_suffix(" --"));
            match (header, parts.last_mut()) {
                (Some(header), _) => parts.push((header.to_owned(), String::new())),
                (None, Some((_, content))) => content.push_str(line),
                (None, None) => assert!(line.starts_with('#'), "{name}: `{line}` stands before any part"),
            }
        }
        Self { name, parts }
    }

    /// Takes the lines of the part with this header out.
    pub fn take_lines(&mut self, header: &str) -> Vec<String> {
        let lines = self.parts.iter().filter(|(known, _)| known == header);
        let lines = lines.flat_map(|(_, content)| content.lines()).map(str::to_owned).collect();
        self.parts.retain(|(known, _)| known != header);
        lines
    }
}
