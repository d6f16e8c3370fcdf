//! Compose files come to what Docker Compose makes of them: for each case of `tests/compose/cases`, compare what
//! `coracle compose ... config --format json` prints with what Docker Compose 2.40 printed when it was recorded.
//!
//! `CORACLE_EQUALITY_PEER` and `CORACLE_EQUALITY_SHARE` record anew instead, as for the Dockerfiles of `equality`.

#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::{Parts, repository};

/// What a case's directory is called; the project has its name.
const PROJECT: &str = "project";

fn lay_out(case: &Parts, place: &Path) {
    for (name, content) in &case.parts {
        let path = place.join(name);
        fs::create_dir_all(path.parent().expect("it lies in `place`")).expect("a directory can be made");
        fs::write(path, content).expect("a file can be written");
    }
}

/// Returns what a Compose says to a case, with its directory hidden; and its complaint.
fn config(
    program: &[String],
    place: &str,
    here: &Path,
    words: &[String],
    variables: &[String],
) -> (Value, String) {
    let mut command = Command::new("env");
    // Neither side sees the caller's own variables.
    command.args(["-i", "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME=/home/someone"]);
    if let Ok(peers) = std::env::var("PEERS") {
        command.arg(format!("PEERS={peers}"));
    }
    command.args(program.iter().map(|word| word.replace("{place}", place)));
    if program.iter().any(|word| word.contains("{place}")) {
        command.args(["env"]).args(variables).args(["docker", "compose"]);
    } else {
        // The program is a binary: variables stand before it.
        command = Command::new("env");
        command.args(["-i", "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME=/home/someone"]);
        command.args(variables).args(program).arg("compose");
    }
    command.args(words).args(["config", "--format", "json"]).current_dir(here).stdin(Stdio::null());
    let output = command.output().expect("env starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return (json!({"fails": true}), said);
    }
    let text = String::from_utf8_lossy(&output.stdout).replace(place, "{{case}}");
    let parent = Path::new(place).parent().expect("a parent").to_string_lossy().into_owned();
    let text = text.replace(&parent, "{{parent}}");
    (serde_json::from_str(&text).unwrap_or_else(|error| panic!("not JSON: {error}\n{text}")), said)
}

/// Reads which cases differ on purpose: rows of the table in `docs/compose.md`.
fn meant() -> BTreeSet<String> {
    let text = fs::read_to_string(repository().join("docs/compose.md")).expect("the documentation");
    let section = text.split("## Differences from Docker Compose").nth(1).expect("a section on differences");
    let section = section.split("\n## ").next().expect("split yields one");
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let mut meant = BTreeSet::new();
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert!(cells.len() >= 5 && !cells[3].is_empty(), "a difference without a reason: {row}");
        meant.extend(cells[1].split(',').map(|case| case.trim().trim_matches('`').to_owned()));
    }
    meant
}

#[test]
fn files_come_to_what_docker_compose_makes_of_them() {
    let directory = repository().join("tests/compose");
    let cases = Parts::all(&directory.join("cases"), "CORACLE_EQUALITY_CASE");
    let peer = std::env::var("CORACLE_EQUALITY_PEER").ok();
    let (here, there, program): (PathBuf, PathBuf, Vec<String>) = match &peer {
        None => {
            let place = tempfile::tempdir().expect("a directory").keep();
            let binary =
                std::env::var("CORACLE_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_coracle").to_owned());
            (place.clone(), place, vec![binary])
        }
        Some(words) => {
            let share = std::env::var("CORACLE_EQUALITY_SHARE").expect("HERE:THERE");
            let (here, there) = share.split_once(':').expect("HERE:THERE");
            let enter = ["env", "-C", "{place}", "HOME=/home/someone"].map(str::to_owned);
            let words = words.split(' ').map(str::to_owned).chain(enter).collect();
            (Path::new(here).join("compose"), Path::new(there).join("compose"), words)
        }
    };
    let meant = if peer.is_some() { BTreeSet::new() } else { meant() };
    let mut faults = Vec::new();
    for mut case in cases {
        let words = case.take_lines("words");
        let variables = case.take_lines("environment");
        let place = here.join(&case.name).join(PROJECT);
        let _ = fs::remove_dir_all(&place);
        fs::create_dir_all(&place).expect("a directory can be made");
        lay_out(&case, &place);
        let seen = there.join(&case.name).join(PROJECT);
        let (result, said) = config(&program, &seen.to_string_lossy(), &place, &words, &variables);
        let record = directory.join("recorded").join(format!("{}.json", case.name));
        if peer.is_some() {
            if result["fails"] == true {
                println!("{}: fails: {}", case.name, said.lines().last().unwrap_or_default());
            }
            fs::write(record, serde_json::to_string_pretty(&result).expect("JSON") + "\n").expect("a record");
            continue;
        }
        let text = fs::read_to_string(&record)
            .unwrap_or_else(|error| panic!("{}: {error}; record it with `make equality`", record.display()));
        let wanted: Value = serde_json::from_str(&text).expect("a record is JSON");
        match (result == wanted, meant.contains(&case.name)) {
            (true, false) | (false, true) => {}
            (true, true) => faults.push(format!("{}: is equal; take it out of docs/compose.md", case.name)),
            (false, false) => {
                faults.push(format!("{}:\n{}{said}", case.name, difference("", &wanted, &result)));
            }
        }
    }
    let _ = fs::remove_dir_all(&here);
    assert!(
        faults.is_empty(),
        "{} cases differ from Docker Compose (-):\n{}",
        faults.len(),
        faults.join("\n")
    );
}

/// Returns where two values differ, a line each.
fn difference(path: &str, wanted: &Value, got: &Value) -> String {
    match (wanted, got) {
        (Value::Object(wanted), Value::Object(got)) => {
            let keys: BTreeSet<&String> = wanted.keys().chain(got.keys()).collect();
            let each = keys.into_iter().map(|key| {
                let one = |map: &serde_json::Map<String, Value>| map.get(key).cloned();
                match (one(wanted), one(got)) {
                    (Some(wanted), Some(got)) => difference(&format!("{path}.{key}"), &wanted, &got),
                    (Some(wanted), None) => format!("  - {path}.{key}: {wanted}\n"),
                    (None, Some(got)) => format!("  + {path}.{key}: {got}\n"),
                    (None, None) => String::new(),
                }
            });
            each.collect()
        }
        _ if wanted == got => String::new(),
        _ => format!("  - {path}: {wanted}\n  + {path}: {got}\n"),
    }
}
