//! `coracle explain`, and what a shell completes.

use serde_json::Value;

use crate::directory;
use crate::support::coracle;

#[test]
fn every_rule_is_explained() {
    let list: Value =
        serde_json::from_str(&coracle(["explain", "--list", "--format", "json"]).run().ok().stdout)
            .expect("JSON");
    let rules = list.as_array().expect("a list");
    assert!(rules.len() >= 80, "{} rules", rules.len());
    let ids: Vec<&str> = rules.iter().filter_map(|rule| rule["id"].as_str()).collect();
    let pages = coracle(["explain"]).args(&ids).run().ok().stdout;
    for rule in rules {
        let heading = format!(
            "{}: {}\n",
            rule["id"].as_str().expect("a name"),
            rule["title"].as_str().expect("a title")
        );
        assert!(pages.contains(&heading), "{heading}");
    }
    let table = coracle(["explain", "--list"]).run().ok().stdout;
    assert_eq!(table.lines().count(), rules.len() + 1);
}

#[test]
fn names_are_found_in_any_case_and_slips_are_told() {
    let page = coracle(["explain", "obsoleteversion"]).run().ok().stdout;
    assert!(page.starts_with("ObsoleteVersion: "), "{page}");
    assert!(page.contains("# coracle: allow(ObsoleteVersion) REASON"), "{page}");
    coracle(["explain", "ObsoletVersion"]).run().refuses(1, &["did you mean `ObsoleteVersion`?"]);
    coracle(["explain"]).run().ended(1);
}

#[test]
fn shells_complete_environments_and_rules() {
    let root = directory(&[
        ("docker-compose.yml", "services: {a: {image: x}}\n"),
        ("docker-compose.dev.yml", "services: {}\n"),
    ]);
    let complete = |words: &[&str]| {
        let index = (words.len() - 1).to_string();
        coracle(["--"])
            .args(words)
            .dir(root.path())
            .env("CORACLE_COMPLETE", "bash")
            .env("_CLAP_COMPLETE_INDEX", &index)
            .env("_CLAP_IFS", "\n")
            .run()
            .ok()
            .stdout
    };
    assert!(complete(&["coracle", "check", ""]).lines().any(|line| line == "dev"));
    assert!(complete(&["coracle", "up", "d"]).lines().any(|line| line == "dev"));
    assert_eq!(complete(&["coracle", "explain", "ObsoleteV"]).trim(), "ObsoleteVersion");
    assert_eq!(complete(&["coracle", "check", "--deny", "ObsoleteV"]).trim(), "ObsoleteVersion");
    let script = coracle(["completions", "bash"]).run().ok().stdout;
    assert!(script.contains("CORACLE_COMPLETE"), "{script}");
}
