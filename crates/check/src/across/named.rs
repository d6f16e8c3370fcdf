//! Files that documents and scripts name.

use std::path::{Path, PathBuf};

use coracle_report::{Position, Severity, Span};

use super::sources_of::{SKIPPED, documents, has_extension, scripts};
use crate::project::{Check, Findings, Run, Subject};
use crate::{Family, Rule};

pub(super) static CHECK: Check = Check { rules: &[&NAMED_FILE_MISSING], run: Run::Subject(run) };

static NAMED_FILE_MISSING: Rule = Rule {
    id: "NamedFileMissing",
    family: Family::Across,
    title: "A document or a script names a file that is not there",
    explanation: "Who follows the document, or runs the script, ends with \"no such file or directory\". Compose files after `-f`, env files after `--env-file`, scripts by their path and the files of a drawn tree are looked for in the project; what git ignores, and what has an example beside it, is known to be made on each machine. Write the file, or mend what names it.",
    example: Some((
        "docker compose -f compose.yaml -f compose.staging.yaml up  # no such file",
        "docker compose -f compose.yaml -f compose.prod.yaml up",
    )),
    ..Rule::PLAIN
};

/// A name in a text.
struct Named {
    path: String,
    line: u32,
    column: u32,
    /// Whether a script is to read or run it, and not only a person.
    by_script: bool,
}

fn run(subject: &Subject<'_>, findings: &mut Findings) {
    // Without a project there is no directory whose documents they would be.
    if subject.loaded.is_none() {
        return;
    }
    let mut told: Vec<(PathBuf, String)> = Vec::new();
    for path in scripts(subject) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Workflows make files as they go.
        if [".yml", ".yaml"].iter().any(|end| name.ends_with(end)) || name == "package.json" {
            continue;
        }
        let Some(text) = subject.files.text(&path) else { continue };
        let made = made_here(&text);
        for named in in_commands(&text, true) {
            if !made.iter().any(|own| named.path.ends_with(own.as_str())) {
                report(subject, &path, &named, &mut told, findings);
            }
        }
    }
    for path in documents(subject) {
        let Some(text) = subject.files.text(&path) else { continue };
        for named in in_commands(&fenced(&text), false) {
            report(subject, &path, &named, &mut told, findings);
        }
        for named in in_trees(subject, &text) {
            report(subject, &path, &named, &mut told, findings);
        }
    }
}

/// Leaves out what stands outside of code blocks, lines kept in number.
fn fenced(text: &str) -> String {
    let (mut out, mut inside) = (String::new(), false);
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
            // Blocks of other languages are examples of files.
            if inside {
                let language = line.trim_start().trim_start_matches('`').trim();
                inside = matches!(
                    language,
                    "" | "bash" | "sh" | "shell" | "console" | "text" | "zsh" | "shell-session"
                );
                if !inside {
                    out.push('\n');
                    inside = false;
                    continue;
                }
            }
        } else if inside {
            out.push_str(line);
        }
        out.push('\n');
    }
    out
}

/// Returns the files that commands name: `-f`, `--env-file`, `source`, `cat`, scripts that are run by their path.
fn in_commands(text: &str, by_script: bool) -> Vec<Named> {
    let mut found = Vec::new();
    let mut elsewhere = false;
    for (index, line) in text.lines().enumerate() {
        let code = line.split(" #").next().unwrap_or(line);
        if code.trim().is_empty() || code.trim_start().starts_with('#') {
            // A block of its own begins where the last one ended.
            if code.trim().is_empty() {
                elsewhere = false;
            }
            continue;
        }
        // Another directory, or another machine's.
        let other =
            ["cd ", "pushd ", "git clone", "ssh ", "scp ", "curl ", "wget ", "cat >", "tee ", "touch ", "<<"];
        let changes = other.iter().any(|word| code.contains(word)) && !code.contains("dirname");
        if changes {
            elsewhere = elsewhere || code.contains("cd ") || code.contains("git clone");
            continue;
        }
        if elsewhere {
            continue;
        }
        let words: Vec<(usize, &str)> = words(code);
        // What runs inside of a container is looked for there.
        let inside = words.iter().any(|(_, word)| matches!(*word, "exec" | "run"))
            && words.iter().any(|(_, word)| {
                matches!(*word, "docker" | "podman" | "docker-compose" | "kubectl" | "coracle")
            });
        let compose = words.iter().any(|(_, word)| matches!(*word, "docker-compose" | "compose"));
        for (at, (offset, word)) in words.iter().enumerate() {
            let before = at.checked_sub(1).map_or("", |before| words[before].1);
            let first = at == 0 || matches!(before, "&&" | ";" | "||" | "then" | "do" | "exec" | "$");
            let names = match before {
                // `logs -f` follows.
                "-f" | "--file" => {
                    compose && !words[..at].iter().any(|(_, word)| matches!(*word, "logs" | "rm" | "tail"))
                }
                "--env-file" => true,
                "source" | "." | "cat" => {
                    by_script && (word.contains(".env") || has_extension(word, &["sh"]))
                }
                "bash" | "sh" | "./" => has_extension(word, &["sh"]) && word.contains('/'),
                _ => {
                    first
                        && has_extension(word, &["sh"])
                        && (word.starts_with("./") || word.starts_with("scripts/"))
                }
            };
            let names = names && !(inside && has_extension(word, &["sh"]));
            let given =
                word.strip_prefix("--env-file=").or_else(|| word.strip_prefix("--file=").filter(|_| compose));
            let path = match given {
                Some(path) => path,
                None if names => word,
                None => continue,
            };
            if placeholder(path) {
                continue;
            }
            let column = line[..*offset + (word.len() - path.len())].chars().count() as u32 + 1;
            found.push(Named { path: path.to_owned(), line: index as u32 + 1, column, by_script });
        }
    }
    found
}

/// Returns the words of a line with their places; quotes and parentheses are no part of words.
fn words(line: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut start = None;
    let separators = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '(' | ')' | '|');
    for (at, c) in line.char_indices().chain([(line.len(), ' ')]) {
        match (separators(c), start) {
            (true, Some(from)) => {
                found.push((from, &line[from..at]));
                start = None;
            }
            (false, None) => start = Some(at),
            _ => {}
        }
    }
    found
}

/// Says whether a name stands for others.
fn placeholder(path: &str) -> bool {
    let lower = path.to_lowercase();
    path.is_empty()
        || path == "-"
        || path.starts_with(['/', '~', '-'])
        || path.contains("..")
        || path.contains(|c: char| "<>{}*$[]?:=,;\\%@".contains(c))
        || ["your", "example", "path/to", "my-", "foo", "bar.", "xxx", "...", "some"]
            .iter()
            .any(|word| lower.contains(word))
        || path.contains("ENV") && !path.starts_with(".env")
        || path.contains("NAME")
}

/// Returns the names of files that a script itself makes.
fn made_here(text: &str) -> Vec<String> {
    let mut made = Vec::new();
    for line in text.lines() {
        for mark in [">", "cp ", "mv ", "touch ", "tee "] {
            if let Some((_, rest)) = line.split_once(mark) {
                made.extend(
                    rest.split_whitespace().map(|word| word.trim_matches(['"', '\'', '>']).to_owned()),
                );
            }
        }
    }
    made.retain(|name| name.contains('.') && name.len() > 2);
    made
}

/// Returns the files of drawn trees that are nowhere, where the tree is of this project: most of what it names is here.
fn in_trees(subject: &Subject<'_>, text: &str) -> Vec<Named> {
    let mut found = Vec::new();
    let mut tree: Vec<Named> = Vec::new();
    let mut known: Option<Vec<String>> = None;
    for (index, line) in text.lines().chain([""]).enumerate() {
        let marks = ["├── ", "└── ", "├─ ", "└─ "];
        if let Some(at) = marks.iter().find_map(|mark| line.find(mark).map(|at| at + mark.len())) {
            let name = line[at..].split_whitespace().next().unwrap_or_default();
            let file = name.contains('.') && !name.contains('/') && !placeholder(name);
            if file {
                let column = line[..at].chars().count() as u32 + 1;
                tree.push(Named { path: name.to_owned(), line: index as u32 + 1, column, by_script: false });
            }
            continue;
        }
        // A drawing goes on over lines that are bars alone.
        if line.trim_start().starts_with('│') || tree.is_empty() {
            continue;
        }
        let known = known.get_or_insert_with(|| {
            let files = subject.files.walk(subject.directory, SKIPPED, 5000);
            files.iter().filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect()
        });
        let all = tree.len();
        let missing: Vec<Named> = tree.drain(..).filter(|named| !known.contains(&named.path)).collect();
        if missing.len() * 3 <= all {
            found.extend(missing);
        }
    }
    found
}

fn report(
    subject: &Subject<'_>,
    file: &Path,
    named: &Named,
    told: &mut Vec<(PathBuf, String)>,
    findings: &mut Findings,
) {
    let clean = named.path.trim_start_matches("./");
    let key = (file.to_owned(), clean.to_owned());
    if told.contains(&key) {
        return;
    }
    let places = [Some(subject.directory), file.parent()];
    // A document may mean a directory that it told of before.
    let anywhere = || {
        let files = subject.files.walk(subject.directory, SKIPPED, 5000);
        files.iter().any(|path| path.ends_with(clean))
    };
    let candidates: Vec<PathBuf> =
        places.into_iter().flatten().map(|directory| directory.join(clean)).collect();
    let known = candidates.iter().any(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let beside = |extra: String| subject.files.exists(&path.with_file_name(extra));
        subject.files.exists(path)
            || subject.files.ignored(path) == Some(true)
            || ["example", "sample", "template", "dist"].iter().any(|end| {
                beside(format!("{name}.{end}"))
                    || beside(format!("{end}{name}"))
                    || beside(format!(".env.{end}")) && name == ".env"
            })
    });
    if known || anywhere() {
        return;
    }
    told.push(key);
    let start = Position::new(named.line, named.column);
    let end = Position::new(named.line, named.column + named.path.chars().count() as u32);
    let what = if named.by_script { "the script" } else { "the document" };
    let message = format!("{what} names `{}`, which is not there", named.path);
    let directory = candidates[0].parent().unwrap_or(subject.directory);
    let siblings = subject.files.list(directory);
    let name = candidates[0].file_name().unwrap_or_default().to_string_lossy().into_owned();
    let near = coracle_dockerfile::nearest(&name, siblings.iter().map(String::as_str)).map(str::to_owned);
    let finding = findings.add(&NAMED_FILE_MISSING, &Span::new(file, start, end), message);
    if named.by_script {
        finding.severity(Severity::Warning);
    }
    match near {
        Some(near) => finding.hint(format!("write it, or did you mean `{near}`?")),
        None => finding.hint(format!("write {clean}, or mend what names it")),
    };
}
