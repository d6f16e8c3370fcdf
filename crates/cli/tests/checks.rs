//! `coracle build --check` and `--call`: findings in every format, exit codes, and nothing built.

mod support;

use serde_json::Value;
use support::{Files, Outcome, Snapshot, coracle, ready};

const FAULTY: &str = "\
# pick is what to copy
ARG pick=a.txt
FROM scratch as base
ENV key value
COPY $pcik /
CMD run it
";

fn check(text: &str, words: &[&str]) -> Outcome {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("Dockerfile"), text).expect("a file can be written");
    coracle(["build"]).args(words).args(["."]).dir(directory.path()).run()
}

#[test]
fn findings_end_with_1_and_clean_files_with_0() {
    if !ready() {
        return;
    }
    let before = Snapshot::take(Files::Snapshots);
    let found = check(FAULTY, &["--check"]);
    assert_eq!(found.code(), 1, "{}", found.stderr);
    let expected = "\
WARNING: FromAsCasing - https://docs.docker.com/go/dockerfile/rule/from-as-casing/
'as' and 'FROM' keywords' casing do not match
Dockerfile:3
--------------------
   1 |     # pick is what to copy
   2 |     ARG pick=a.txt
   3 | >>> FROM scratch as base
     |                  ^^
   4 |     ENV key value
   5 |     COPY $pcik /
--------------------
hint: write `AS`
";
    assert!(found.stdout.starts_with("Check complete, 5 warnings have been found!\n"), "{}", found.stdout);
    assert!(found.stdout.contains(expected), "{}", found.stdout);
    let clean = check("FROM scratch AS base\nCMD [\"x\"]\n", &["--call=check"]);
    assert_eq!((clean.code(), clean.stdout.as_str()), (0, "Check complete, no warnings found.\n"));
    let broken = check("FROM scratch\nCPOY a b\n", &["--check"]);
    assert_eq!(broken.code(), 1);
    assert!(broken.stdout.contains("ERROR: unknown instruction `CPOY`\nDockerfile:2\n"), "{}", broken.stdout);
    before.nothing_is_left();
}

#[test]
fn findings_for_programs() {
    if !ready() {
        return;
    }
    let json: Value =
        serde_json::from_str(&check(FAULTY, &["--check", "--format", "json"]).stdout).expect("JSON");
    let rules: Vec<&str> = json["warnings"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| one["ruleName"].as_str())
        .collect();
    let expected = [
        "FromAsCasing",
        "LegacyKeyValueFormat",
        "SecretsUsedInArgOrEnv",
        "UndefinedVar",
        "JSONArgsRecommended",
    ];
    assert_eq!(rules, expected);
    assert_eq!(json["warnings"][0]["location"]["ranges"][0]["start"]["line"], 3);
    let sarif: Value =
        serde_json::from_str(&check(FAULTY, &["--check", "--format", "sarif"]).stdout).expect("JSON");
    let result = &sarif["runs"][0]["results"][3];
    assert_eq!(result["ruleId"], "UndefinedVar");
    let region = &result["locations"][0]["physicalLocation"]["region"];
    assert_eq!((region["startLine"].as_u64(), region["startColumn"].as_u64()), (Some(5), Some(6)));
    let github = check(FAULTY, &["--check", "--format", "github"]).stdout;
    assert!(
        github.contains(
            "::warning file=Dockerfile,line=5,endLine=5,col=6,endColumn=11,title=UndefinedVar::Usage of undefined variable '$pcik'%0Ahint: define it before"
        ),
        "{github}"
    );
}

#[test]
fn outlines_and_targets() {
    if !ready() {
        return;
    }
    let text = "# tag is the base's tag\nARG tag=1\nFROM python:$tag AS base\n# app is it\nFROM base AS app\nRUN --mount=type=secret,id=key,required x\n";
    let outline = check(text, &["--call=outline"]);
    let expected = "\
TARGET:      app
DESCRIPTION: is it

BUILD ARG   VALUE   DESCRIPTION
tag         1       is the base's tag

SECRET   REQUIRED
key      true
";
    assert_eq!(outline.stdout, expected);
    let targets = check(text, &["--call", "targets"]);
    assert_eq!(targets.stdout, "TARGET        DESCRIPTION\nbase          \napp (default) is it\n");
    let json: Value =
        serde_json::from_str(&check(text, &["--call=targets,format=json"]).stdout).expect("JSON");
    assert_eq!(json["targets"][1]["default"], true);
}

#[test]
fn a_file_may_ask_that_findings_fail_its_build() {
    if !ready() {
        return;
    }
    let strict = check("# check=error=true\nFROM scratch\nCMD x\n", &[]);
    assert_eq!(strict.code(), 1);
    assert!(strict.stderr.contains("has some: JSONArgsRecommended"), "{}", strict.stderr);
    let skipped = ["--build-arg", "BUILDKIT_DOCKERFILE_CHECK=skip=all", "-q"];
    let skipped = check("# check=error=true\nFROM scratch\nCMD x\n", &skipped);
    assert_eq!(skipped.code(), 0, "{}", skipped.stderr);
    assert!(!skipped.stderr.contains("JSONArgsRecommended"), "{}", skipped.stderr);
    coracle(["rmi", skipped.stdout.trim()]).run().ok();
}
