//! Rules about package managers in `RUN`.

mod apk;
mod apt;
mod gone;
mod lock;
mod node;
mod pip;
mod rpm;
mod tools;

pub(super) use apk::RULES as APK;
pub(super) use apt::RULES as APT;
pub(super) use gone::CHECK as GONE;
pub(super) use lock::CHECK as LOCK;
pub(super) use node::RULES as NODE;
pub(super) use pip::RULES as PIP;
pub(super) use rpm::RULES as RPM;
pub(super) use tools::RULES as TOOLS;

use crate::dockerfile::view::View;
use crate::project::Findings;
use crate::shell::{Command, Word};

/// Asks the rules of all package managers.
pub(super) fn run(view: &View<'_>, findings: &mut Findings) {
    apt::run(view, findings);
    apk::run(view, findings);
    node::run(view, findings);
    pip::run(view, findings);
    rpm::run(view, findings);
    tools::run(view, findings);
}

/// Returns what an installing command is asked to install: the words after its verb that are no options. `with_value` are
/// options that take the word after.
fn packages<'c>(command: &'c Command, verbs: &[&str], with_value: &[&str]) -> Option<Vec<&'c Word>> {
    let arguments = command.arguments();
    let verb = arguments
        .iter()
        .position(|word| !word.text.starts_with('-') && verbs.contains(&word.text.as_str()))?;
    // An option's value may stand before the verb, another verb may not.
    let other = arguments[..verb].iter().enumerate().any(|(index, word)| {
        !word.text.starts_with('-')
            && !word.text.contains('=')
            && !index
                .checked_sub(1)
                .is_some_and(|before| with_value.contains(&arguments[before].text.as_str()))
    });
    if other {
        return None;
    }
    let mut found = Vec::new();
    let mut rest = arguments[verb + 1..].iter();
    while let Some(word) = rest.next() {
        if with_value.contains(&word.text.as_str()) {
            rest.next();
        } else if !word.text.starts_with('-') {
            found.push(word);
        }
    }
    Some(found)
}

/// Returns a list in words for a message: the first few, and how many more.
fn listed(words: &[&Word]) -> String {
    let first: Vec<String> = words.iter().take(3).map(|word| format!("`{}`", word.text)).collect();
    match words.len().saturating_sub(3) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}
