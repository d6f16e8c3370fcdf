//! Shell text, read once for all rules: of `RUN`, of commands and of the project's scripts; and the rules about it.
//!
//! ```text
//!   Dockerfile, script --snippet--> text with places --parse--> commands with words, pipes, what failure means
//! ```

mod dangers;
mod heading;
mod instructions;
mod parse;
mod script;
mod scripts;
mod setting;
mod snippet;
mod word;

pub(crate) use instructions::{Piece, Role, pieces};
pub(crate) use script::{Command, Joint, Script};
pub(crate) use word::Word;

use crate::dockerfile::View;
use crate::project::{Check, Findings, Run};

pub(crate) static CHECKS: &[Check] = &[
    scripts::CHECK,
    Check { rules: dangers::RULES, run: Run::Dockerfile(|_, _| ()) },
    Check { rules: heading::RULES, run: Run::Dockerfile(|_, _| ()) },
];

/// Asks the rules that look at the shell text of a Dockerfile.
pub(crate) fn of_dockerfile(view: &View<'_>, findings: &mut Findings) {
    for piece in &view.pieces {
        let instruction = Some(&piece.statement.span);
        dangers::syntax(&piece.snippet, instruction, findings);
        if let Some(setting) = setting::Setting::of_piece(view, piece) {
            dangers::run(&setting, findings);
        }
    }
}
