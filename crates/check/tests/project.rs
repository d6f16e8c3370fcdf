//! Each rule finds its bad cases at the right place, and nothing in its good ones.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use coracle_check::{Edit, Family, Finding, ProjectReport, all, apply, find_any};
use support::{Case, ROOT};

fn cases() -> BTreeMap<String, Vec<Case>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rules");
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let texts = entries.filter(|path| path.extension().is_some_and(|extension| extension == "txt"));
    let read = |path: std::path::PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, Case::read_all(&fs::read_to_string(&path).unwrap()))
    };
    texts.map(read).collect()
}

fn of_rule<'r>(report: &'r ProjectReport, rule: &str) -> Vec<&'r Finding> {
    report.findings.iter().filter(|finding| finding.rule.id == rule).collect()
}

/// Returns what is wrong with a case.
fn judge(rule: &str, case: &Case) -> Vec<String> {
    let report = case.check();
    let found = of_rule(&report, rule);
    let mut faults: Vec<String> =
        report.faults.iter().map(|fault| format!("cannot be checked: {fault}")).collect();
    if !case.bad {
        faults.extend(found.iter().map(|finding| format!("finds {}", finding.diagnostic)));
        return faults;
    }
    let mut lines = Vec::new();
    for finding in &found {
        let place = finding.diagnostic.span.as_ref().map_or_else(String::new, |span| format!("{span} "));
        lines.push(format!("{place}{}", finding.diagnostic.message));
        lines.extend(
            finding
                .diagnostic
                .related
                .iter()
                .map(|related| format!("also {} {}", related.span, related.label)),
        );
    }
    let matches = |line: &String, expected: &String| {
        let (place, text) = match expected.strip_prefix("also ") {
            Some(rest) => match rest.split_once(' ') {
                Some((place, text)) => (format!("also {place}"), text),
                None => (format!("also {rest}"), ""),
            },
            None => match expected.split_once(' ') {
                Some((place, text)) => (place.to_owned(), text),
                None => (expected.clone(), ""),
            },
        };
        line.strip_prefix(&place).is_some_and(|rest| rest.contains(text.trim()))
    };
    // Further places need not be listed, but those that are must be there.
    let wanted_also: Vec<&String> = case.expected.iter().filter(|line| line.starts_with("also ")).collect();
    let wanted: Vec<&String> = case.expected.iter().filter(|line| !line.starts_with("also ")).collect();
    let own: Vec<&String> = lines.iter().filter(|line| !line.starts_with("also ")).collect();
    let also: Vec<&String> = lines.iter().filter(|line| line.starts_with("also ")).collect();
    let same =
        own.len() == wanted.len() && own.iter().zip(&wanted).all(|(line, wanted)| matches(line, wanted));
    let known = wanted_also.iter().all(|wanted| also.iter().any(|line| matches(line, wanted)));
    if wanted.is_empty() || !same || !known {
        faults.push(format!(
            "finds\n    {}\n  instead of\n    {}",
            lines.join("\n    "),
            case.expected.join("\n    ")
        ));
    }
    for (path, wanted) in &case.fixed {
        let shown = path.strip_prefix(ROOT).unwrap();
        let edits: Vec<&Edit> = found
            .iter()
            .filter_map(|finding| finding.fix.as_ref())
            .flat_map(|fix| &fix.edits)
            .filter(|edit| edit.span.file == *path || edit.span.file == shown)
            .collect();
        let (text, left) = apply(&case.files[path], &edits);
        if text != *wanted || left > 0 {
            faults.push(format!("mends {} into\n{text}\n  instead of\n{wanted}", shown.display()));
        }
    }
    faults
}

#[test]
fn rules_find_what_is_bad_and_nothing_else() {
    let mut faults = Vec::new();
    for (rule, cases) in cases() {
        assert!(find_any(&rule).is_some_and(|own| own.id == rule), "{rule}.txt is for no rule");
        for case in &cases {
            let found = judge(&rule, case);
            faults.extend(found.into_iter().map(|fault| format!("{rule}: {}: {fault}", case.title)));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_rule_has_bad_and_good_cases() {
    let cases = cases();
    // BuildKit's are in `rules.rs`.
    let here = all().filter(|rule| rule.family != Family::BuildKit);
    let own = here.filter(|rule| !coracle_check::BUILDKIT.contains(rule));
    let missing: Vec<&str> = own
        .filter(|rule| {
            let own = cases.get(rule.id).map_or(&[][..], Vec::as_slice);
            !own.iter().any(|case| case.bad) || !own.iter().any(|case| !case.bad)
        })
        .map(|rule| rule.id)
        .collect();
    assert!(missing.is_empty(), "without bad and good cases: {missing:?}");
}

#[test]
fn rules_explain_themselves() {
    let mut ids = BTreeSet::new();
    for rule in all() {
        assert!(ids.insert(rule.id.to_ascii_lowercase()), "{} stands twice", rule.id);
        assert!(!rule.title.is_empty() && rule.explanation.len() > 60, "{} is not explained", rule.id);
        let own = rule.family != Family::BuildKit;
        assert!(!(own && rule.title.ends_with('.')), "{}: a title has no full stop", rule.id);
    }
}
