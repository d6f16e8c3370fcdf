//! Of the reference stack nothing is found, in any environment: what is right must not be reported.

#[path = "support/disk.rs"]
mod disk;

use disk::Disk;

fn nothing_is_found(environment: Option<&str>) {
    let report = Disk::open("stacks/databricks_orchestrator").check(environment);
    let found: Vec<String> = report
        .findings
        .iter()
        .map(|finding| &finding.diagnostic)
        .chain(&report.faults)
        .map(|diagnostic| format!("{}: {diagnostic}", diagnostic.code))
        .collect();
    assert!(found.is_empty(), "{environment:?}:\n{}", found.join("\n"));
}

#[test]
fn without_an_environment() {
    nothing_is_found(None);
}

#[test]
fn in_development() {
    nothing_is_found(Some("dev"));
}

#[test]
fn in_staging() {
    nothing_is_found(Some("staging"));
}

#[test]
fn in_production() {
    nothing_is_found(Some("prod"));
}
