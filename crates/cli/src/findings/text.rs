//! Findings for people.

use std::fmt::Write as _;

use super::Shown;
use crate::diagnostics;
use crate::printer::{DIM, paint};

/// Returns findings for people, a blank line between them.
pub fn text(shown: &[Shown]) -> String {
    let mut out = String::new();
    for one in shown {
        out.push_str(&diagnostics::render(&one.diagnostic));
        if !one.environments.is_empty() {
            let line = format!("in: {}", one.environments.join(", "));
            let _ = writeln!(out, "{}", paint(DIM, line));
        }
        if let Some(rule) = one.rule {
            let _ = writeln!(out, "{}", paint(DIM, format_args!("rule: coracle explain {}", rule.id)));
        }
        out.push('\n');
    }
    out
}
