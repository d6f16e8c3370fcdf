//! Rules about the machine: how bad what they find is, where that depends on more than the rule.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "the cases of rules use the rest")]
mod support;

use std::path::Path;

use coracle_report::Severity;
use support::Case;

const SERVICE: &str = "services:\n  a:\n    image: nginx:1.28\n    mem_limit: 3g\n    platform: linux/arm64\n  b:\n    image: nginx:1.28\n    mem_limit: 3g\n";

fn severities(environment: &str, host: &str, rule: &str) -> Vec<Severity> {
    let text = format!(
        "== bad: x\n-- options --\n{environment}\n-- host --\n{host}\n-- docker-compose.yml --\n{SERVICE}-- docker-compose.prod.yml --\nservices: {{}}\n-- docker-compose.dev.yml --\nservices: {{}}\n"
    );
    let case = Case::read_all(&text).remove(0);
    let report = case.check();
    assert!(report.faults.is_empty(), "{:?}", report.faults);
    let own = report.findings.iter().filter(|finding| finding.rule.id == rule);
    own.map(|finding| finding.diagnostic.severity).collect()
}

#[test]
fn a_full_disk_is_an_error() {
    let rule = "DiskNearlyFull";
    assert_eq!(severities("env=dev", "disk: /srv 100G 1G", rule), [Severity::Warning]);
    assert_eq!(severities("env=dev", "disk: /srv 100G 200M", rule), [Severity::Error]);
}

#[test]
fn limits_together_matter_more_in_production() {
    let rule = "MemoryOvercommitted";
    assert_eq!(severities("env=prod", "memory: 4G", rule), [Severity::Warning]);
    assert_eq!(severities("env=dev", "memory: 4G", rule), [Severity::Note]);
}

#[test]
fn an_emulator_makes_a_foreign_image_a_note() {
    let rule = "ForeignPlatform";
    assert_eq!(severities("env=dev", "machine: amd64", rule), [Severity::Error]);
    assert_eq!(severities("env=dev", "emulated: arm64 s390x", rule), [Severity::Note]);
}

#[test]
fn findings_of_the_machine_stand_at_the_end() {
    let text = format!("== bad: x\n-- host --\nmissing: overlay\nmemory: 4G\n-- compose.yaml --\n{SERVICE}");
    let report = Case::read_all(&text).remove(0).check();
    let last = report.findings.last().expect("a finding");
    assert_eq!((last.rule.id, last.diagnostic.span.is_none()), ("KernelFeatureMissing", true));
    let placed = report.findings.iter().filter_map(|finding| finding.diagnostic.span.as_ref());
    assert!(placed.into_iter().all(|span| span.file == Path::new("compose.yaml")));
}
