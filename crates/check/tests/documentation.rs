//! The page on the Dockerfile language says everything that the parser knows.

use coracle_check::BUILDKIT;
use coracle_dockerfile::{KEYWORDS, flags};

const PAGE: &str = include_str!("../../../docs/dockerfile.md");

/// Returns the text below `### title`.
fn section(title: &str) -> &'static str {
    let heading = format!("### {title}\n");
    let start = PAGE.find(&heading).unwrap_or_else(|| panic!("the page has no section {title}"));
    let rest = &PAGE[start + heading.len()..];
    rest.split("\n#").next().unwrap_or(rest)
}

#[test]
fn every_instruction_and_flag_has_its_state() {
    for keyword in KEYWORDS {
        let section = section(keyword);
        let rows: Vec<&str> = section.lines().filter(|line| line.starts_with('|')).collect();
        assert!(rows.len() > 2, "{keyword} has no row");
        for flag in flags(keyword) {
            let row = rows
                .iter()
                .find(|row| row.contains(&format!("`--{flag}`")) || row.contains(&format!("`--{flag}=")));
            let row = row.unwrap_or_else(|| panic!("{keyword} --{flag} has no row"));
            let state = row.split('|').nth(2).unwrap_or_default().trim();
            assert!(["works", "differs", "refused"].contains(&state), "{keyword} --{flag}: {state}");
        }
    }
}

#[test]
fn every_rule_is_listed() {
    for rule in BUILDKIT {
        assert!(PAGE.contains(&format!("| `{}` | {} |", rule.id, rule.title)), "{}", rule.id);
    }
}

#[test]
fn differences_have_their_place() {
    assert!(PAGE.contains("\n## Differences from BuildKit\n"));
}
