//! Shell text, read once for all rules: of `RUN`, of commands and of the project's scripts; and the rules about it.
//!
//! ```text
//!   Dockerfile, script --snippet--> text with places --parse--> commands with words, pipes, what failure means
//! ```

mod instructions;
mod parse;
mod script;
mod snippet;
mod word;

pub(crate) use instructions::{Interpreter, Piece, Role, is_shell, pieces};
pub(crate) use parse::Unread;
pub(crate) use script::{Assignment, Command, Joint, Redirect, RedirectKind, Script};
pub(crate) use snippet::Snippet;
pub(crate) use word::{Variable, Word};

use crate::project::Check;

pub(crate) static CHECKS: &[Check] = &[];
