//! A logical line cut into keyword, flags and arguments.

use std::ops::Range;

use coracle_report::{Diagnostic, Span};

use crate::command::json_list;
use crate::logical::{BLANKS, Logical};
use crate::{Escape, Source, Spanned, Word, nearest};

/// All keywords of the Dockerfile reference.
pub const KEYWORDS: [&str; 18] = [
    "FROM",
    "ARG",
    "ENV",
    "RUN",
    "COPY",
    "ADD",
    "WORKDIR",
    "USER",
    "EXPOSE",
    "VOLUME",
    "CMD",
    "ENTRYPOINT",
    "LABEL",
    "HEALTHCHECK",
    "SHELL",
    "STOPSIGNAL",
    "ONBUILD",
    "MAINTAINER",
];

/// What a flag takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum FlagKind {
    /// `--flag`, `--flag=true` or `--flag=false`.
    Switch,
    /// `--flag=value`, once.
    Value,
    /// `--flag=value`, any number of times.
    List,
}

/// Returns the flags of an instruction, for its upper-case keyword; none for most.
pub fn flags(keyword: &str) -> impl Iterator<Item = &'static str> {
    flags_of(keyword).iter().map(|(name, _)| *name)
}

fn flags_of(keyword: &str) -> &'static [(&'static str, FlagKind)] {
    use FlagKind::{List, Switch, Value};
    match keyword {
        "FROM" => &[("platform", Value)],
        "RUN" => &[("mount", List), ("network", Value), ("security", Value), ("device", List)],
        "COPY" => &[
            ("from", Value),
            ("chown", Value),
            ("chmod", Value),
            ("link", Switch),
            ("exclude", List),
            ("parents", Switch),
        ],
        "ADD" => &[
            ("chown", Value),
            ("chmod", Value),
            ("link", Switch),
            ("exclude", List),
            ("checksum", Value),
            ("keep-git-dir", Switch),
            ("unpack", Switch),
        ],
        "HEALTHCHECK" => &[
            ("interval", Value),
            ("timeout", Value),
            ("start-period", Value),
            ("start-interval", Value),
            ("retries", Value),
        ],
        _ => &[],
    }
}

pub(crate) struct Flag {
    pub name: &'static str,
    pub kind: FlagKind,
    /// The value, without the quotes and escapes around it.
    pub value: Option<Word>,
    pub span: Span,
}

/// A logical line cut into keyword, flags and the rest.
pub(crate) struct Line<'s> {
    pub source: &'s Source,
    pub logical: &'s Logical,
    pub escape: Escape,
    /// The keyword in upper case.
    pub keyword: &'static str,
    keyword_range: Range<usize>,
    pub flags: Vec<Flag>,
    /// What follows the flags, without white space at its ends.
    pub rest: Range<usize>,
}

impl<'s> Line<'s> {
    /// Cuts the line that begins at byte `start` of `logical`.
    pub(crate) fn cut(
        source: &'s Source,
        logical: &'s Logical,
        start: usize,
        escape: Escape,
    ) -> Result<Self, Diagnostic> {
        let whole = logical.trim(start..logical.text().len());
        let text = &logical.text()[whole.clone()];
        let length = text.find(BLANKS).unwrap_or(text.len());
        let keyword_range = whole.start..whole.start + length;
        let written = &text[..length];
        let upper = written.to_ascii_uppercase();
        let Some(keyword) = KEYWORDS.into_iter().find(|keyword| *keyword == upper) else {
            let span = logical.span(source, keyword_range);
            let error =
                source.error("unknown-instruction", format!("unknown instruction `{written}`"), &span);
            return Err(match nearest(&upper, KEYWORDS) {
                Some(near) => error.with_hint(format!("did you mean `{near}`?")),
                None => error.with_hint(format!(
                    "is this line meant to go on from the one before? that one must then end in `{}`",
                    escape.char()
                )),
            });
        };
        let rest = logical.trim(keyword_range.end..whole.end);
        let mut line = Self { source, logical, escape, keyword, keyword_range, flags: Vec::new(), rest };
        line.take_flags()?;
        Ok(line)
    }

    fn take_flags(&mut self) -> Result<(), Diagnostic> {
        let known = flags_of(self.keyword);
        while self.rest_text().starts_with("--") {
            let (flag, end) = self.unquoted(self.rest.start);
            let start = self.rest.start;
            self.rest = self.logical.trim(end..self.rest.end);
            let text: String = flag.iter().map(|(character, _)| character).collect();
            if text == "--" {
                // What follows is an argument, whatever it looks like.
                return Ok(());
            }
            let equals = flag.iter().position(|(character, _)| *character == '=');
            let written: String =
                flag[2..equals.unwrap_or(flag.len())].iter().map(|(character, _)| character).collect();
            let name_end = equals.map_or(end, |equals| flag[equals].1);
            let span = self.logical.span(self.source, start..name_end);
            let Some((name, kind)) = known.iter().copied().find(|(name, _)| *name == written) else {
                return Err(self.unknown_flag(&written, &span));
            };
            if kind != FlagKind::List && self.flags.iter().any(|flag| flag.name == name) {
                let message = format!("`--{name}` is given twice");
                return Err(self.source.error("duplicate-flag", message, &span));
            }
            let value = equals.map(|equals| {
                let value = &flag[equals + 1..];
                let place = value.first().map_or(end, |(_, offset)| *offset)..end;
                let text: String = value.iter().map(|(character, _)| character).collect();
                Spanned::new(text, self.logical.span(self.source, place))
            });
            let empty = value.as_ref().is_some_and(|value| value.is_empty());
            if (value.is_none() && kind != FlagKind::Switch) || (empty && kind == FlagKind::Switch) {
                let message = format!("`--{name}` needs a value");
                let hint = format!("write `--{name}=...`, with `=` and no space");
                return Err(self.source.error("flag-without-value", message, &span).with_hint(hint));
            }
            self.flags.push(Flag { name, kind, value, span });
        }
        Ok(())
    }

    /// Returns the characters of the word that begins at byte `start`, with their places, as flags are read: quotes
    /// are removed and escapes resolved, within any quotes; and the word's end.
    fn unquoted(&self, start: usize) -> (Vec<(char, usize)>, usize) {
        let text = &self.logical.text()[start..self.rest.end];
        let mut word = Vec::new();
        let mut quote = None;
        let mut characters = text.char_indices();
        while let Some((offset, character)) = characters.next() {
            match quote {
                None if character.is_whitespace() => return (word, start + offset),
                None if character == '\'' || character == '"' => quote = Some(character),
                Some(open) if open == character => quote = None,
                _ if character == self.escape.char() => {
                    if let Some((offset, next)) = characters.next() {
                        word.push((next, start + offset));
                    }
                }
                _ => word.push((character, start + offset)),
            }
        }
        (word, self.rest.end)
    }

    fn unknown_flag(&self, written: &str, span: &Span) -> Diagnostic {
        let known = flags_of(self.keyword);
        let message = format!("{} has no flag `--{written}`", self.keyword);
        let error = self.source.error("unknown-flag", message, span);
        if let Some(near) = nearest(written, known.iter().map(|(name, _)| *name)) {
            return error.with_hint(format!("did you mean `--{near}`?"));
        }
        if let Some(other) = KEYWORDS.into_iter().find(|other| flags(other).any(|name| name == written)) {
            return error.with_hint(format!("`--{written}` is a flag of {other}"));
        }
        if matches!(self.keyword, "CMD" | "ENTRYPOINT") {
            return error.with_hint(format!(
                "if it is an argument of the program, write `{} [\"--{written}\"]`",
                self.keyword
            ));
        }
        if known.is_empty() {
            return error.with_hint(format!("write `{} -- --{written}` if it is no flag", self.keyword));
        }
        let names: Vec<_> = known.iter().map(|(name, _)| format!("`--{name}`")).collect();
        error.with_hint(format!("{} knows {}", self.keyword, names.join(", ")))
    }

    /// Returns the heredocs' redirection words, in order; empty for instructions that have none.
    pub(crate) fn heredoc_words(&self) -> Vec<Word> {
        if self.keyword == "ONBUILD" {
            return self.nested().map(|nested| nested.heredoc_words()).unwrap_or_default();
        }
        let list = matches!(json_list(self.rest_text()), Ok(Some(_)));
        if list || !matches!(self.keyword, "RUN" | "COPY" | "ADD") {
            return Vec::new();
        }
        let words = self.logical.shell_words(self.rest.clone()).unwrap_or_default();
        let words = words.into_iter().map(|range| self.logical.word(self.source, range));
        words.filter(|word| heredoc_terminator(word).is_some()).collect()
    }

    pub(crate) fn nested(&self) -> Result<Line<'s>, Diagnostic> {
        Line::cut(self.source, self.logical, self.rest.start, self.escape)
    }

    pub(crate) fn rest_text(&self) -> &'s str {
        &self.logical.text()[self.rest.clone()]
    }

    pub(crate) fn rest_word(&self) -> Word {
        self.logical.word(self.source, self.rest.clone())
    }

    /// Returns the arguments that white space parts; quotes and escapes hold nothing together.
    pub(crate) fn words(&self) -> Vec<Word> {
        let ranges = self.logical.blank_words(self.rest.clone());
        ranges.into_iter().map(|range| self.logical.word(self.source, range)).collect()
    }

    /// Returns the keyword's span.
    pub(crate) fn keyword_span(&self) -> Span {
        self.logical.span(self.source, self.keyword_range.clone())
    }

    /// Returns the keyword as written.
    pub(crate) fn keyword_written(&self) -> &'s str {
        &self.logical.text()[self.keyword_range.clone()]
    }

    pub(crate) fn error(&self, code: &str, message: impl Into<String>) -> Diagnostic {
        let span = if self.rest.is_empty() {
            self.keyword_span()
        } else {
            self.logical.span(self.source, self.rest.clone())
        };
        self.source.error(code, message, &span)
    }

    pub(crate) fn value(&self, name: &str) -> Option<Word> {
        self.flags.iter().find(|flag| flag.name == name)?.value.clone()
    }

    pub(crate) fn values(&self, name: &str) -> Vec<Word> {
        let flags = self.flags.iter().filter(|flag| flag.name == name);
        flags.filter_map(|flag| flag.value.clone()).collect()
    }

    pub(crate) fn switch(&self, name: &str) -> Result<Option<bool>, Diagnostic> {
        let Some(flag) = self.flags.iter().find(|flag| flag.name == name && flag.kind == FlagKind::Switch)
        else {
            return Ok(None);
        };
        match flag.value.as_ref().map(|value| value.to_ascii_lowercase()).as_deref() {
            None | Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => {
                let message = format!("`--{name}` is true or false, not `{other}`");
                Err(self.source.error("bad-flag", message, &flag.span))
            }
        }
    }
}

/// Returns the terminator, whether tabs are chomped and whether variables are expanded, when the word begins a
/// heredoc (`<<EOF`, `3<<-"EOF"`, `<< EOF`). A quote anywhere in it keeps variables as they are; an escape does not.
pub(crate) fn heredoc_terminator(word: &str) -> Option<(String, bool, bool)> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
    let (rest, chomp) = match rest.strip_prefix('-') {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    let rest = rest.trim_start();
    if rest.is_empty() || rest.contains('<') {
        return None;
    }
    let variable = |name: &str| Some(format!("${name}"));
    let name = crate::expand(rest, Escape::Backslash, &variable).ok()?;
    let one = crate::expand_words(rest, Escape::Backslash, &variable).is_ok_and(|words| words.len() == 1);
    let mut escaped = false;
    let quoted = rest.chars().any(|character| {
        let quote = !escaped && matches!(character, '\'' | '"');
        escaped = !escaped && character == '\\';
        quote
    });
    one.then_some((name, chomp, !quoted))
}
