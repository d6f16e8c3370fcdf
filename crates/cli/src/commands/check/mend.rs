//! `--fix`: what takes no decision of the author's, written into the files or shown as a patch.

use std::path::Path;

use coracle_engine::{FixedFile, Result, fix};
use similar::TextDiff;

use super::gather::{Gathered, Question};
use crate::context::Context;
use crate::printer::{DIM, GOOD, paint};

/// How often fixes may lead to further ones.
const ROUNDS: usize = 8;

/// Returns the files that fixes change.
pub(super) fn plan(gathered: &Gathered) -> Vec<FixedFile> {
    fix(gathered.findings.iter().map(|(finding, _)| finding))
}

/// Writes fixes until none is left, and returns what is found then.
pub(super) fn mend(context: &Context, question: &Question, mut gathered: Gathered) -> Result<Gathered> {
    for _ in 0..ROUNDS {
        let fixed = plan(&gathered);
        if fixed.is_empty() {
            break;
        }
        for file in &fixed {
            file.write()?;
            let shown = gathered.shorten(&file.path).display();
            for (line, rule, title) in &file.done {
                let rule = paint(DIM, format_args!("({rule})"));
                context.printer.status(format!("{} {shown}:{line}: {title} {rule}", paint(GOOD, "fixed")));
            }
        }
        gathered = question.answer(context)?;
    }
    Ok(gathered)
}

/// Returns a change as a patch.
pub(super) fn diff(file: &FixedFile, name: &Path) -> String {
    let name = name.display();
    let diff = TextDiff::from_lines(&file.before, &file.after);
    diff.unified_diff().header(&format!("a/{name}"), &format!("b/{name}")).to_string()
}
