//! The page on checks lists every rule. `CORACLE_REFRESH_DOCS=1` writes the lists anew instead of comparing them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use coracle_check::{Family, Rule, all};
use coracle_report::Severity;

const START: &str = "<!-- rules -->\n";
const END: &str = "<!-- end of rules -->";

fn row(rule: &Rule) -> String {
    let names: Vec<String> = [rule.id].iter().chain(rule.aliases).map(|name| format!("`{name}`")).collect();
    let severity = match rule.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let fix = if rule.fixable { "yes" } else { "" };
    format!("| {} | {severity} | {fix} | {} |", names.join(", "), rule.title.replace('|', "\\|"))
}

fn lists() -> String {
    let mut text = String::new();
    for family in Family::ALL {
        let mut rules: Vec<&Rule> = all().filter(|rule| rule.family == family).collect();
        if rules.is_empty() {
            continue;
        }
        rules.sort_by_key(|rule| rule.id);
        let _ = write!(
            text,
            "\n### {}\n\n| rule | severity | `--fix` | what it asks for |\n|---|---|---|---|\n",
            family.name()
        );
        for rule in rules {
            let _ = writeln!(text, "{}", row(rule));
        }
    }
    text.push('\n');
    text
}

#[test]
fn every_rule_is_listed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/checks.md");
    let page = fs::read_to_string(&path).expect("the page can be read");
    let start = page.find(START).expect("the lists have a beginning") + START.len();
    let end = page.find(END).expect("the lists have an end");
    let lists = lists();
    if std::env::var_os("CORACLE_REFRESH_DOCS").is_some() {
        let text = format!("{}{lists}{}", &page[..start], &page[end..]);
        fs::write(&path, text).expect("the page can be written");
        return;
    }
    let known: Vec<&str> = page[start..end].lines().collect();
    let missing: Vec<&str> = lists.lines().filter(|line| !known.contains(line)).collect();
    let stale: Vec<&str> = known.into_iter().filter(|line| !lists.lines().any(|own| own == *line)).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "docs/checks.md lacks {missing:#?}\nand has {stale:#?}\nrefresh it: CORACLE_REFRESH_DOCS=1 cargo test -p coracle-check --test page"
    );
}
