//! The formats that programs read, as they are documented.

use serde_json::{Value, json};

use crate::{check, directory};

fn project() -> tempfile::TempDir {
    let text = "version: \"3\"\nservices:\n  web:\n    image: busybox:1.36\n    volumes: [\"data:/srv\"]\n    cpuset: \"0-4095\"\nvolumes:\n  data:\n    external: true\n    name: e2e-check-never-made\n";
    directory(&[("a b/compose.yaml", text)])
}

/// Answers of rules that others may add to this file are left out.
fn own(words: &[&str]) -> Vec<String> {
    let all = ["--deny", "ObsoleteVersion"];
    words.iter().chain(&all).map(|word| (*word).to_owned()).collect()
}

fn answer(format: &str) -> String {
    let root = project();
    let words = own(&["--project-directory", "a b", "--format", format]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    check(root.path(), &words).run().ended(1).stdout
}

#[test]
fn json() {
    let found: Value = serde_json::from_str(&answer("json")).expect("JSON");
    assert_eq!(found["version"], 1);
    assert!(found["summary"]["errors"].as_u64() >= Some(2), "{found:#}");
    let findings = found["findings"].as_array().expect("a list");
    let version = findings.iter().find(|one| one["rule"] == "ObsoleteVersion").expect("it is found");
    assert_eq!(
        *version,
        json!({
            "rule": "ObsoleteVersion", "family": "compose", "severity": "error",
            "message": "`version` is obsolete: nothing reads it",
            "file": "a b/compose.yaml", "line": 1, "column": 1, "endLine": 1, "endColumn": 13,
            "service": null, "environments": [], "related": [], "notes": [], "hints": ["take the line out"],
            "fix": { "title": "take `version` out", "edits": [{
                "file": "a b/compose.yaml", "line": 1, "column": 1, "endLine": 2, "endColumn": 1, "text": "",
            }]},
            "url": null,
        })
    );
}

#[test]
fn sarif() {
    let log: Value = serde_json::from_str(&answer("sarif")).expect("JSON");
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().expect("a list");
    let results = run["results"].as_array().expect("a list");
    for result in results {
        let index = result["ruleIndex"].as_u64().expect("an index") as usize;
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert!(!rules[index]["help"]["markdown"].as_str().unwrap_or_default().is_empty());
    }
    let version = results.iter().find(|one| one["ruleId"] == "ObsoleteVersion").expect("it is found");
    let place = &version["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "a%20b/compose.yaml");
    assert_eq!(place["region"], json!({"startLine": 1, "startColumn": 1, "endLine": 1, "endColumn": 13}));
    let replacement = &version["fixes"][0]["artifactChanges"][0]["replacements"][0];
    assert_eq!(replacement["insertedContent"]["text"], "");
    assert_eq!(replacement["deletedRegion"]["endLine"], 2);
}

#[test]
fn github() {
    let text = answer("github");
    let line = text.lines().find(|line| line.contains("ObsoleteVersion")).expect("it is found");
    assert_eq!(
        line,
        "::error file=a b/compose.yaml,line=1,endLine=1,col=1,endColumn=13,title=ObsoleteVersion::`version` is obsolete: nothing reads it%0Ahint: take the line out"
    );
}

#[test]
fn text() {
    let text = answer("text");
    let expected = "\
error: `version` is obsolete: nothing reads it
 --> a b/compose.yaml:1:1
  |
1 | version: \"3\"
  | ^^^^^^^^^^^^
hint: take the line out
rule: coracle explain ObsoleteVersion

";
    assert!(text.contains(expected), "{text}");
}
