//! Shell text to commands, by way of `brush-parser`'s tree.
//!
//! The text is a stranger's: its nesting is measured before a recursive parser sees it, and what is too deep is not read.

use std::io::Cursor;
use std::ops::Range;

use brush_parser::ast::{
    AndOr, AssignmentName, AssignmentValue, Command as Node, CommandPrefixOrSuffixItem as Item,
    CompoundCommand, CompoundList, ExtendedTestExpr, IoFileRedirectKind, IoFileRedirectTarget, IoRedirect,
    Pipeline, SeparatorOperator, Word as RawWord,
};
use brush_parser::{ParseError, Parser, ParserOptions, SourceSpan, TokenizerError};

use super::script::{Around, Assignment, Command, Joint, Redirect, RedirectKind, Script, leading};
use super::word::Word;

/// The longest text that is read, in bytes.
const LONGEST: usize = 256 * 1024;
/// Deepest nesting of `(`: the parser tries several ways at each.
const DEEPEST_ROUND: usize = 12;
/// Deepest nesting of everything else.
const DEEPEST: usize = 24;
/// Substitutions within substitutions.
const SUBSTITUTIONS: usize = 4;

/// Why a text is no script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// It is certainly not what a shell takes: why, and at which byte.
    Wrong(&'static str, usize),
    /// It is beyond what is read here, or beyond what the parser knows.
    Unknown,
}

/// Reads a text.
pub(crate) fn parse(text: &str) -> Result<Script, Unread> {
    let mut reading = Reading { script: Script::default(), pipelines: 0, lists: 0 };
    reading.text(text, 0, Around::default(), 0)?;
    reading.script.commands.sort_by_key(|command| command.range.start);
    Ok(reading.script)
}

/// Says whether a text is shallow enough for a recursive parser.
fn is_shallow(text: &str) -> bool {
    let (mut round, mut curly, mut words, mut bangs) = (0_usize, 0_usize, 0_usize, 0_usize);
    for character in text.bytes() {
        match character {
            b'(' => round += 1,
            b')' => round = round.saturating_sub(1),
            b'{' => curly += 1,
            b'}' => curly = curly.saturating_sub(1),
            _ => continue,
        }
        if round > DEEPEST_ROUND || curly > DEEPEST {
            return false;
        }
    }
    for word in text.split(|c: char| c.is_whitespace() || ";&|()`".contains(c)) {
        match word {
            "if" | "while" | "until" | "case" | "for" | "select" | "coproc" | "function" => words += 1,
            "fi" | "done" | "esac" => words = words.saturating_sub(1),
            "!" => bangs += 1,
            "time" | "" => continue,
            _ => bangs = 0,
        }
        if words > DEEPEST || bangs > DEEPEST {
            return false;
        }
    }
    // Several commands in sequence close no bracket, and backquotes nest by escapes.
    text.matches("\\`").count() <= DEEPEST
}

struct Reading {
    script: Script,
    pipelines: usize,
    lists: usize,
}

/// A text under way: how the parser's characters are bytes, and where it stands in the whole.
struct Places {
    /// The byte of each character, when they differ.
    bytes: Option<Vec<usize>>,
    offset: usize,
    length: usize,
}

impl Places {
    fn byte(&self, character: usize) -> usize {
        let own = match &self.bytes {
            Some(bytes) => bytes.get(character).copied().unwrap_or(self.length),
            None => character.min(self.length),
        };
        self.offset + own
    }

    fn range(&self, span: &SourceSpan) -> Range<usize> {
        let start = self.byte(span.start.index);
        start..self.byte(span.end.index).max(start)
    }
}

/// What is known of a pipeline before its commands are read.
#[derive(Clone, Copy)]
struct Within {
    list: usize,
    joint: Joint,
    handled: bool,
    last: bool,
}

impl Reading {
    fn text(&mut self, text: &str, offset: usize, around: Around, depth: usize) -> Result<(), Unread> {
        if text.len() > LONGEST || !is_shallow(text) {
            return Err(Unread::Unknown);
        }
        let bytes = (!text.is_ascii()).then(|| text.char_indices().map(|(index, _)| index).collect());
        let places = Places { bytes, offset, length: text.len() };
        let mut parser = Parser::new(Cursor::new(text.as_bytes()), &ParserOptions::default());
        let program = parser.parse_program().map_err(|error| judge(text, &places, &error))?;
        let mut walk = Walk { reading: self, places: &places, depth };
        for list in &program.complete_commands {
            walk.list(list, around, false);
        }
        Ok(())
    }
}

/// Returns what a failure of the parser means: most may be its own.
fn judge(text: &str, places: &Places, error: &ParseError) -> Unread {
    let trimmed = text.trim_end();
    match error {
        ParseError::Tokenizing { inner, .. } => match inner {
            TokenizerError::UnterminatedSingleQuote(at) => {
                Unread::Wrong("the quote `'` is never closed", places.byte(at.index))
            }
            TokenizerError::UnterminatedDoubleQuote(at) => {
                Unread::Wrong("the quote `\"` is never closed", places.byte(at.index))
            }
            _ => Unread::Unknown,
        },
        ParseError::ParsingAtEndOfInput => {
            for (operator, why) in
                [("&&", "nothing follows `&&`"), ("||", "nothing follows `||`"), ("|", "nothing follows `|`")]
            {
                if trimmed.ends_with(operator) {
                    return Unread::Wrong(why, places.offset + trimmed.len() - operator.len());
                }
            }
            Unread::Unknown
        }
        ParseError::ParsingNear(at) => {
            let byte = places.byte(at.index) - places.offset;
            let rest = text.get(byte..).unwrap_or_default();
            let before = text.get(..byte).unwrap_or_default().trim_end_matches([' ', '\t']);
            // An operator where a command must stand.
            let operator = ["&&", "||"].into_iter().find(|operator| rest.starts_with(operator));
            let starts = before.is_empty() || before.ends_with("&&") || before.ends_with("||");
            match operator {
                Some("&&") if starts => Unread::Wrong("no command stands before `&&`", places.byte(at.index)),
                Some(_) if starts => Unread::Wrong("no command stands before `||`", places.byte(at.index)),
                _ => Unread::Unknown,
            }
        }
    }
}

struct Walk<'r, 'p> {
    reading: &'r mut Reading,
    places: &'p Places,
    depth: usize,
}

impl Walk<'_, '_> {
    fn list(&mut self, list: &CompoundList, around: Around, handled: bool) {
        for item in &list.0 {
            let background = around.background || matches!(item.1, SeparatorOperator::Async);
            let around = Around { background, ..around };
            let number = self.reading.lists;
            self.reading.lists += 1;
            let rest = &item.0.additional;
            // What follows a pipeline decides what its failure means.
            let or_after = rest.iter().rposition(|next| matches!(next, AndOr::Or(_)));
            let mut within = Within {
                list: number,
                joint: Joint::First,
                handled: handled || or_after.is_some(),
                last: rest.is_empty(),
            };
            self.pipeline(&item.0.first, around, within);
            for (index, next) in rest.iter().enumerate() {
                let (joint, pipeline) = match next {
                    AndOr::And(pipeline) => (Joint::And, pipeline),
                    AndOr::Or(pipeline) => (Joint::Or, pipeline),
                };
                within.joint = joint;
                within.handled = handled || or_after.is_some_and(|last| last > index);
                within.last = index + 1 == rest.len();
                self.pipeline(pipeline, around, within);
            }
        }
    }

    fn pipeline(&mut self, pipeline: &Pipeline, around: Around, within: Within) {
        let number = self.reading.pipelines;
        self.reading.pipelines += 1;
        let within = Within { handled: within.handled || pipeline.bang, ..within };
        let of = pipeline.seq.len();
        for (at, node) in pipeline.seq.iter().enumerate() {
            self.node(node, around, within, (number, at, of));
        }
    }

    fn node(&mut self, node: &Node, around: Around, within: Within, pipe: (usize, usize, usize)) {
        match node {
            Node::Simple(simple) => {
                let items = simple.prefix.iter().flat_map(|prefix| &prefix.0);
                let mut command = Command {
                    assignments: Vec::new(),
                    words: Vec::new(),
                    led: 0,
                    redirects: Vec::new(),
                    range: Range { start: usize::MAX, end: 0 },
                    pipeline: pipe.0,
                    at: pipe.1,
                    of: pipe.2,
                    list: within.list,
                    joint: within.joint,
                    handled: within.handled,
                    last: within.last,
                    around,
                };
                for item in items {
                    self.item(item, &mut command, around);
                }
                if let Some(name) = &simple.word_or_name {
                    self.argument(name, &mut command);
                }
                for item in simple.suffix.iter().flat_map(|suffix| &suffix.0) {
                    self.item(item, &mut command, around);
                }
                if command.range.start <= command.range.end {
                    command.led = leading(&command.words);
                    self.substitutions(&command, around);
                    self.reading.script.commands.push(command);
                }
            }
            Node::Compound(compound, redirects) => {
                self.compound(compound, around, within, pipe);
                let redirects = redirects.iter().flat_map(|list| &list.0);
                redirects.for_each(|redirect| self.redirect_substitutions(redirect, around));
            }
            Node::Function(function) => {
                self.reading.script.functions.push(function.fname.value.clone());
                let around = Around { function: true, ..around };
                self.compound(&function.body.0, around, within, pipe);
            }
            Node::ExtendedTest(test, _) => {
                // As a command called `[[`, so that a failed test is seen as one.
                let range = self.places.range(&test.loc);
                let start = range.start;
                let mut words = vec![Word::new("[[", start)];
                self.test(&test.expr, range.end, &mut words);
                let command = Command {
                    assignments: Vec::new(),
                    words,
                    led: 0,
                    redirects: Vec::new(),
                    range,
                    pipeline: pipe.0,
                    at: pipe.1,
                    of: pipe.2,
                    list: within.list,
                    joint: within.joint,
                    handled: within.handled,
                    last: within.last,
                    around,
                };
                self.substitutions(&command, around);
                self.reading.script.commands.push(command);
            }
        }
    }

    fn compound(
        &mut self,
        compound: &CompoundCommand,
        around: Around,
        within: Within,
        pipe: (usize, usize, usize),
    ) {
        // A failure inside is that of the whole only where the whole is the last of its pipeline.
        let handled = within.handled || !within.last || pipe.1 + 1 < pipe.2;
        let condition = Around { condition: true, ..around };
        let repeated = Around { repeated: true, ..around };
        let branch = Around { branch: true, ..around };
        match compound {
            CompoundCommand::Arithmetic(_) => {}
            CompoundCommand::ArithmeticForClause(clause) => self.list(&clause.body.list, repeated, handled),
            CompoundCommand::BraceGroup(group) => self.list(&group.list, around, handled),
            CompoundCommand::Subshell(shell) => {
                self.list(&shell.list, Around { subshell: true, ..around }, handled);
            }
            CompoundCommand::ForClause(clause) => {
                for value in clause.values.iter().flatten() {
                    self.word_substitutions(value, around);
                }
                self.list(&clause.body.list, repeated, handled);
            }
            CompoundCommand::CaseClause(clause) => {
                self.word_substitutions(&clause.value, around);
                for list in clause.cases.iter().filter_map(|case| case.cmd.as_ref()) {
                    self.list(list, branch, handled);
                }
            }
            CompoundCommand::IfClause(clause) => {
                self.list(&clause.condition, condition, true);
                self.list(&clause.then, branch, handled);
                for other in clause.elses.iter().flatten() {
                    if let Some(list) = &other.condition {
                        self.list(list, condition, true);
                    }
                    self.list(&other.body, branch, handled);
                }
            }
            CompoundCommand::WhileClause(clause) | CompoundCommand::UntilClause(clause) => {
                self.list(&clause.0, Around { repeated: true, ..condition }, true);
                self.list(&clause.1.list, repeated, handled);
            }
            CompoundCommand::Coprocess(process) => {
                self.node(&process.body, Around { background: true, ..around }, within, pipe);
            }
        }
    }

    /// Adds the words of a `[[ ... ]]`; those without a place stand at its end.
    fn test(&self, test: &ExtendedTestExpr, end: usize, words: &mut Vec<Word>) {
        let mut add = |word: &RawWord| {
            let start = word.loc.as_ref().map_or(end, |loc| self.places.byte(loc.start.index));
            words.push(Word::new(&word.value, start));
        };
        match test {
            ExtendedTestExpr::And(one, two) | ExtendedTestExpr::Or(one, two) => {
                self.test(one, end, words);
                self.test(two, end, words);
            }
            ExtendedTestExpr::Not(one) | ExtendedTestExpr::Parenthesized(one) => self.test(one, end, words),
            ExtendedTestExpr::UnaryTest(_, word) => add(word),
            ExtendedTestExpr::BinaryTest(_, one, two) => {
                add(one);
                add(two);
            }
        }
    }

    fn word(&self, word: &RawWord) -> Word {
        let start = word.loc.as_ref().map_or(self.places.offset, |loc| self.places.byte(loc.start.index));
        Word::new(&word.value, start)
    }

    fn argument(&self, raw: &RawWord, command: &mut Command) {
        let word = self.word(raw);
        if let Some(loc) = &raw.loc {
            widen(&mut command.range, &self.places.range(loc));
        }
        command.words.push(word);
    }

    fn item(&mut self, item: &Item, command: &mut Command, around: Around) {
        match item {
            Item::AssignmentWord(assignment, word) if command.words.is_empty() => {
                let range = self.places.range(&assignment.loc);
                widen(&mut command.range, &range);
                let name = match &assignment.name {
                    AssignmentName::VariableName(name) | AssignmentName::ArrayElementName(name, _) => {
                        name.clone()
                    }
                };
                let raw = match &assignment.value {
                    AssignmentValue::Scalar(value) => value.value.as_str(),
                    AssignmentValue::Array(_) => "",
                };
                // Of a scalar the value ends where all ends.
                let value = Word::new(raw, range.start + word.value.len().saturating_sub(raw.len()));
                command.assignments.push(Assignment { name, value });
            }
            Item::Word(word) | Item::AssignmentWord(_, word) => self.argument(word, command),
            Item::IoRedirect(redirect) => {
                if let Some(redirect) = self.redirect(redirect) {
                    command.redirects.push(redirect);
                }
                self.redirect_substitutions(redirect, around);
            }
            Item::ProcessSubstitution(_, shell) => {
                let around = Around { subshell: true, substitution: true, ..around };
                self.list(&shell.list, around, true);
            }
        }
    }

    fn redirect(&self, redirect: &IoRedirect) -> Option<Redirect> {
        let (kind, target) = match redirect {
            IoRedirect::File(_, kind, target) => {
                let word = match target {
                    IoFileRedirectTarget::Filename(word) | IoFileRedirectTarget::Duplicate(word) => {
                        self.word(word)
                    }
                    IoFileRedirectTarget::Fd(number) => Word::new(&number.to_string(), self.places.offset),
                    IoFileRedirectTarget::ProcessSubstitution(..) => return None,
                };
                let kind = match kind {
                    IoFileRedirectKind::Read | IoFileRedirectKind::ReadAndWrite => RedirectKind::Read,
                    IoFileRedirectKind::Write | IoFileRedirectKind::Clobber => RedirectKind::Write,
                    IoFileRedirectKind::Append => RedirectKind::Append,
                    IoFileRedirectKind::DuplicateInput | IoFileRedirectKind::DuplicateOutput => {
                        RedirectKind::Duplicate
                    }
                };
                (kind, word)
            }
            IoRedirect::HereDocument(_, document) => {
                let text = document.doc.value.clone();
                (RedirectKind::Document(text), self.word(&document.here_end))
            }
            IoRedirect::HereString(_, word) => (RedirectKind::Text, self.word(word)),
            IoRedirect::OutputAndError(word, append) => {
                let kind = if *append { RedirectKind::Append } else { RedirectKind::Write };
                (kind, self.word(word))
            }
        };
        Some(Redirect { kind, target })
    }

    fn redirect_substitutions(&mut self, redirect: &IoRedirect, around: Around) {
        if let IoRedirect::File(_, _, IoFileRedirectTarget::ProcessSubstitution(_, shell)) = redirect {
            let around = Around { subshell: true, substitution: true, ..around };
            self.list(&shell.list, around, true);
        }
    }

    /// Reads what the substitutions in a command's words run.
    fn substitutions(&mut self, command: &Command, around: Around) {
        let values = command.assignments.iter().map(|assignment| &assignment.value);
        for word in command.words.iter().chain(values) {
            // The failure of `x=$(...)` is that of the command; elsewhere it is lost.
            let alone = command.words.is_empty() && !command.handled && command.last;
            self.inner(word, around, alone);
        }
    }

    fn word_substitutions(&mut self, raw: &RawWord, around: Around) {
        let word = self.word(raw);
        self.inner(&word, around, false);
    }

    fn inner(&mut self, word: &Word, around: Around, counts: bool) {
        if self.depth >= SUBSTITUTIONS {
            return;
        }
        for (range, _) in &word.substitutions {
            let Some(text) = word.raw.get(range.clone()) else { continue };
            let around = Around { subshell: true, substitution: true, ..around };
            let offset = word.range.start + range.start;
            let before = self.reading.script.commands.len();
            // What cannot be read inside is passed over.
            let _ = self.reading.text(text, offset, around, self.depth + 1);
            if !counts {
                self.reading.script.commands[before..].iter_mut().for_each(|command| command.handled = true);
            }
        }
    }
}

fn widen(range: &mut Range<usize>, by: &Range<usize>) {
    range.start = range.start.min(by.start);
    range.end = range.end.max(by.end);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        parse(text).unwrap().commands.iter().map(|command| command.first().to_owned()).collect()
    }

    #[test]
    fn commands_stand_in_order() {
        assert_eq!(names("a && b | c; if d; then e; fi"), ["a", "b", "c", "d", "e"]);
        assert_eq!(names("f() { x; }; f; (y) & while z; do w; done"), ["x", "f", "y", "z", "w"]);
        assert_eq!(names("echo $(a \"$(b)\") `c`"), ["echo", "a", "b", "c"]);
        assert_eq!(names("[[ -f x && $(y) ]] || z"), ["[[", "y", "z"]);
        assert_eq!(names("case x in a) b;; *) c;; esac"), ["b", "c"]);
    }

    #[test]
    fn places_count_bytes() {
        let text = "écho é && rm $X";
        let script = parse(text).unwrap();
        let rm = &script.commands[1];
        assert_eq!(&text[rm.range.clone()], "rm $X");
        assert_eq!(&text[rm.words[1].range.clone()], "$X");
        assert_eq!(rm.joint, Joint::And);
    }

    #[test]
    fn failures_are_handled_or_not() {
        let handled = |text: &str| -> Vec<bool> {
            parse(text).unwrap().commands.iter().map(|command| command.handled).collect()
        };
        assert_eq!(handled("a && b || c"), [true, true, false]);
        assert_eq!(handled("a; ! b; if c; then d; fi"), [false, true, true, false]);
        assert_eq!(handled("x=$(a | b)"), [false, false, false]);
        assert_eq!(handled("echo $(a)"), [false, true]);
    }

    #[test]
    fn what_is_certainly_wrong() {
        let wrong = |text: &str| match parse(text) {
            Err(Unread::Wrong(why, at)) => Some((why, at)),
            _ => None,
        };
        assert_eq!(wrong("echo 'a"), Some(("the quote `'` is never closed", 5)));
        assert_eq!(wrong("a &&"), Some(("nothing follows `&&`", 2)));
        assert_eq!(wrong("a | "), Some(("nothing follows `|`", 2)));
        assert_eq!(wrong("&& a"), Some(("no command stands before `&&`", 0)));
        assert_eq!(wrong("a && && b"), Some(("no command stands before `&&`", 5)));
        assert_eq!(wrong("a && b"), None);
    }

    #[test]
    fn what_is_deep_is_not_read() {
        for text in
            ["(".repeat(40), "if ".repeat(5000), "{ ".repeat(5000), "$(".repeat(5000), "! ".repeat(9000)]
        {
            assert!(parse(&text).is_err());
        }
    }
}
