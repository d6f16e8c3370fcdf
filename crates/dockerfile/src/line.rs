//! A logical line cut into keyword, flags and arguments.

use std::ops::Range;

use coracle_report::{Diagnostic, Span};

use crate::command::{JsonList, json_list};
use crate::logical::Logical;
use crate::{Escape, Source, Word, nearest};

/// All keywords of the Dockerfile reference.
pub(crate) const KEYWORDS: [&str; 18] = [
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
    pub value: Option<Range<usize>>,
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
        let length = text.find(char::is_whitespace).unwrap_or(text.len());
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
        loop {
            let text = &self.logical.text()[self.rest.clone()];
            if !text.starts_with("--") {
                return Ok(());
            }
            let word = self.logical.first_word(self.rest.clone(), self.escape);
            self.rest = self.logical.trim(word.end..self.rest.end);
            let text = &self.logical.text()[word.clone()];
            if text == "--" {
                return Ok(());
            }
            if known.is_empty() && !matches!(self.keyword, "COPY" | "ADD" | "FROM" | "RUN" | "HEALTHCHECK") {
                // Instructions without flags keep what looks like one as an argument.
                self.rest = word.start..self.rest.end.max(word.end);
                return Ok(());
            }
            let equals = text.find('=');
            let written = &text[2..equals.unwrap_or(text.len())];
            let span = self.logical.span(self.source, word.start..word.start + 2 + written.len());
            let Some((name, kind)) = known.iter().copied().find(|(name, _)| *name == written) else {
                return Err(self.unknown_flag(written, &span));
            };
            if kind != FlagKind::List && self.flags.iter().any(|flag| flag.name == name) {
                return Err(self.source.error("duplicate-flag", format!("`--{name}` is given twice"), &span));
            }
            let value = equals.map(|equals| word.start + equals + 1..word.end);
            if kind != FlagKind::Switch && value.clone().is_none_or(|value| value.is_empty()) {
                let message = format!("`--{name}` needs a value");
                let hint = format!("write `--{name}=...`, with `=` and no space");
                return Err(self.source.error("flag-without-value", message, &span).with_hint(hint));
            }
            self.flags.push(Flag { name, kind, value, span });
        }
    }

    fn unknown_flag(&self, written: &str, span: &Span) -> Diagnostic {
        let known = flags_of(self.keyword);
        let message = format!("{} has no flag `--{written}`", self.keyword);
        let error = self.source.error("unknown-flag", message, span);
        if let Some(near) = nearest(written, known.iter().map(|(name, _)| *name)) {
            return error.with_hint(format!("did you mean `--{near}`?"));
        }
        let names: Vec<_> = known.iter().map(|(name, _)| format!("`--{name}`")).collect();
        error.with_hint(format!("{} knows {}", self.keyword, names.join(", ")))
    }

    /// Returns the heredocs' redirection words, in order; empty for instructions that have none.
    pub(crate) fn heredoc_words(&self) -> Vec<Word> {
        if self.keyword == "ONBUILD" {
            return self.nested().map(|nested| nested.heredoc_words()).unwrap_or_default();
        }
        let list =
            self.rest_text().starts_with('[') && matches!(json_list(self.rest_text()), JsonList::List(_));
        if list || !matches!(self.keyword, "RUN" | "COPY" | "ADD") {
            return Vec::new();
        }
        self.words().into_iter().filter(|word| heredoc_terminator(word).is_some()).collect()
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

    pub(crate) fn words(&self) -> Vec<Word> {
        let ranges = self.logical.words(self.rest.clone(), self.escape);
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
        let flag = self.flags.iter().find(|flag| flag.name == name)?;
        flag.value.clone().map(|range| self.logical.word(self.source, range))
    }

    pub(crate) fn values(&self, name: &str) -> Vec<Word> {
        let flags = self.flags.iter().filter(|flag| flag.name == name);
        flags
            .filter_map(|flag| flag.value.clone())
            .map(|range| self.logical.word(self.source, range))
            .collect()
    }

    pub(crate) fn switch(&self, name: &str) -> Result<Option<bool>, Diagnostic> {
        let Some(flag) = self.flags.iter().find(|flag| flag.name == name && flag.kind == FlagKind::Switch)
        else {
            return Ok(None);
        };
        match flag.value.clone().map(|range| self.logical.text()[range].to_ascii_lowercase()).as_deref() {
            None | Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(other) => {
                let message = format!("`--{name}` is true or false, not `{other}`");
                Err(self.source.error("bad-flag", message, &flag.span))
            }
        }
    }
}

/// Returns the terminator, whether tabs are chomped and whether variables are expanded, when the word begins a
/// heredoc (`<<EOF`, `3<<-"EOF"`).
pub(crate) fn heredoc_terminator(word: &str) -> Option<(String, bool, bool)> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
    let (rest, chomp) = match rest.strip_prefix('-') {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    if rest.is_empty() || rest.contains('<') {
        return None;
    }
    let name = crate::expand(rest, Escape::Backslash, &|name| Some(format!("${name}"))).ok()?;
    let legal = !name.is_empty() && !name.contains(char::is_whitespace);
    legal.then(|| (name.clone(), chomp, name == rest))
}
