//! What a shell proposes behind `coracle compose`: the services of the project that the line speaks of.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap_complete::CompletionCandidate;
use coracle_engine::{ComposeConfigOptions, ComposeFiles};

/// Returns the services. Nothing rather than an error: a shell has nowhere to show one.
pub fn services() -> Vec<CompletionCandidate> {
    let words: Vec<String> = std::env::args().skip_while(|word| word != "--").skip(1).collect();
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let files = files(&words, environment);
    // Standard input is the shell's.
    if files.files.iter().any(|file| file.as_os_str() == "-") {
        return Vec::new();
    }
    let options = ComposeConfigOptions {
        normalise: false,
        consistent: false,
        resolve_environment: false,
        ..ComposeConfigOptions::default()
    };
    match files.config(options, &[]) {
        Ok(config) => config.names("services").into_iter().map(CompletionCandidate::new).collect(),
        Err(_) => Vec::new(),
    }
}

/// Returns which project the words of a line name.
fn files(words: &[String], environment: BTreeMap<String, String>) -> ComposeFiles {
    let mut files = ComposeFiles { environment, ..ComposeFiles::default() };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (word.as_str(), None),
        };
        let mut value = || value.clone().or_else(|| words.next().cloned());
        match name {
            "-f" | "--file" => files.files.extend(value().map(PathBuf::from)),
            "-p" | "--project-name" => files.project_name = value(),
            "--profile" => files.profiles.extend(value()),
            "--env-file" => files.env_files.extend(value().map(PathBuf::from)),
            "--project-directory" => files.project_directory = value().map(PathBuf::from),
            // What follows the command belongs to it: `logs -f` follows.
            _ if !name.starts_with('-') && !matches!(name, "coracle" | "compose") => break,
            _ => {}
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_the_project() {
        let words = ["coracle", "compose", "-f", "a.yml", "--file=b.yml", "-p", "shop", "logs", "-f", "web"];
        let files = files(&words.map(str::to_owned), BTreeMap::new());
        assert_eq!(files.files, [PathBuf::from("a.yml"), PathBuf::from("b.yml")]);
        assert_eq!(files.project_name.as_deref(), Some("shop"));
    }
}
