//! Where a shell text stands: what its variables are known to hold, what its options are.

use std::collections::BTreeMap;
use std::ops::Range;

use coracle_dockerfile::Instruction;
use coracle_report::Span;

use super::instructions::Piece;
use super::script::{Command, Script};
use super::snippet::Snippet;
use super::word::Word;
use crate::dockerfile::View;
use crate::project::Findings;
use crate::{Finding, Rule};

/// A shell text that could be read, in its place.
pub(crate) struct Setting<'a> {
    /// The text.
    pub snippet: &'a Snippet,
    /// Its commands.
    pub script: &'a Script,
    /// The instruction that it belongs to; `None` is a script of its own.
    pub instruction: Option<&'a Span>,
    /// Variables, and whether each of their values is known, not empty and one word.
    plain: BTreeMap<String, bool>,
    /// Where `set -e` and `set +e` stand.
    errexit: Vec<(usize, bool)>,
    /// Whether `set -u` stands anywhere.
    pub nounset: bool,
    /// Whether `pipefail` is set anywhere.
    pub pipefail: bool,
}

impl<'a> Setting<'a> {
    /// Returns the setting of an instruction's text.
    pub(crate) fn of_piece(view: &View<'_>, piece: &'a Piece<'_>) -> Option<Self> {
        let script = piece.snippet.script()?;
        let mut plain = BTreeMap::new();
        for statement in view.before(piece.stage, piece.statement.span.start) {
            match &statement.instruction {
                Instruction::Env(pairs) => {
                    for pair in pairs {
                        add(&mut plain, &pair.name.value, &Word::new(&pair.value.value, 0));
                    }
                }
                Instruction::Arg(list) => {
                    for own in list {
                        let value = own.default.as_ref().map_or("", |word| word.value.as_str());
                        add(&mut plain, &own.name.value, &Word::new(value, 0));
                    }
                }
                _ => {}
            }
        }
        let mut setting = Self::new(&piece.snippet, script, plain);
        setting.instruction = Some(&piece.statement.span);
        if piece.shell.errexit {
            setting.errexit.insert(0, (0, true));
        }
        setting.pipefail |= piece.shell.pipefail;
        Some(setting)
    }

    /// Returns the setting of a script.
    pub(crate) fn of_script(snippet: &'a Snippet) -> Option<Self> {
        let script = snippet.script()?;
        let mut setting = Self::new(snippet, script, BTreeMap::new());
        let first = snippet.text.lines().next().and_then(|line| line.strip_prefix("#!")).unwrap_or_default();
        let options = first.split_whitespace().skip(1).filter(|word| word.starts_with('-'));
        if options.into_iter().any(|word| !word.starts_with("--") && word.contains('e')) {
            setting.errexit.insert(0, (0, true));
        }
        Some(setting)
    }

    fn new(snippet: &'a Snippet, script: &'a Script, mut plain: BTreeMap<String, bool>) -> Self {
        let (mut errexit, mut nounset, mut pipefail) = (Vec::new(), false, false);
        for command in &script.commands {
            for assignment in &command.assignments {
                add(&mut plain, &assignment.name, &assignment.value);
            }
            match command.name() {
                "local" | "export" | "declare" | "readonly" | "typeset" => {
                    for word in command.arguments() {
                        if let Some((name, value)) = word.raw.split_once('=') {
                            add(&mut plain, name, &Word::new(value, 0));
                        }
                    }
                }
                "read" | "getopts" | "mapfile" => {
                    for word in command.plain_arguments() {
                        plain.insert(word.text.clone(), false);
                    }
                }
                "set" => options(command, &mut errexit, &mut nounset, &mut pipefail),
                _ => {}
            }
        }
        Self { snippet, script, instruction: None, plain, errexit, nounset, pipefail }
    }

    /// Says whether every known value of a variable is one word, and not empty.
    pub(crate) fn is_plain(&self, name: &str) -> bool {
        self.plain.get(name).copied().unwrap_or(matches!(name, "HOME" | "PWD" | "USER" | "UID" | "RANDOM"))
    }

    /// Says whether the shell ends at the first failure when it comes to a command.
    pub(crate) fn stops_at(&self, command: &Command) -> bool {
        let before = self.errexit.iter().rev().find(|(at, _)| *at <= command.range.start);
        before.is_some_and(|(_, on)| *on)
    }

    /// Says whether the shell is ever told to end at a failure.
    pub(crate) fn ever_stops(&self) -> bool {
        self.errexit.iter().any(|(_, on)| *on)
    }

    /// Adds a finding at a stretch of the text.
    pub(crate) fn found<'f>(
        &self,
        findings: &'f mut Findings,
        rule: &'static Rule,
        range: &Range<usize>,
        message: impl Into<String>,
    ) -> &'f mut Finding {
        let finding = findings.add(rule, &self.snippet.span(range), message);
        if let Some(span) = self.instruction {
            finding.lines = span.clone();
        }
        finding
    }
}

fn add(plain: &mut BTreeMap<String, bool>, name: &str, value: &Word) {
    let number = value.raw.starts_with("$((") && value.raw.ends_with("))");
    let word = value.literal().is_some_and(|text| {
        !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || "*?[".contains(c))
    });
    // A value that begins with something, whatever follows, is not empty; it may be several words.
    let known = number || word;
    plain.entry(name.to_owned()).and_modify(|own| *own &= known).or_insert(known);
}

fn options(command: &Command, errexit: &mut Vec<(usize, bool)>, nounset: &mut bool, pipefail: &mut bool) {
    if command.around.substitution || command.around.subshell {
        return;
    }
    let mut words = command.arguments().iter();
    while let Some(word) = words.next() {
        let (on, letters) = match (word.text.strip_prefix('-'), word.text.strip_prefix('+')) {
            (Some(letters), _) if !letters.starts_with('-') => (true, letters),
            (_, Some(letters)) => (false, letters),
            _ => break,
        };
        let mut name = "";
        if letters.contains('o') {
            name = words.next().map_or("", |word| word.text.as_str());
        }
        if letters.contains('e') || name == "errexit" {
            errexit.push((command.range.start, on));
        }
        *nounset |= on && (letters.contains('u') || name == "nounset");
        *pipefail |= on && name == "pipefail";
    }
}
