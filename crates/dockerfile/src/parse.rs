//! A Dockerfile's text to a [`Dockerfile`]: directives, logical lines, heredocs, stages.

use std::path::Path;

use coracle_report::{Diagnostic, Position, Span};

use crate::directives::{directives, shebang};
use crate::instruction::{Argument, Heredoc, Instruction, Statement};
use crate::line::{Line, heredoc_terminator};
use crate::logical::Logical;
use crate::{BaseRef, Dockerfile, Escape, Source, Spanned, Stage, Word};

/// Parses the text of a Dockerfile. `file` is the name to show in messages.
///
/// The error is the first fault of the file; what works but should be written otherwise is the business of `check`.
pub fn parse(file: &Path, text: &str) -> Result<Dockerfile, Diagnostic> {
    let source = Source::new(file, text);
    let (directives, first) = directives(&source)?;
    let mut reader =
        Reader { source: &source, escape: directives.escape, next: first, blank_continuations: Vec::new() };
    if first == 0 && shebang(&source) {
        reader.next = 1;
    }
    let mut global_args: Vec<Argument> = Vec::new();
    let mut globals: Vec<Statement> = Vec::new();
    let mut stages: Vec<Stage> = Vec::new();
    while let Some(item) = reader.read()? {
        match item {
            Item::From(stage) => {
                let stage = resolve_base(stage, &stages);
                stages.push(stage);
            }
            Item::Statement(statement) => match (stages.last_mut(), &statement.instruction) {
                (Some(stage), _) => stage.instructions.push(statement),
                (None, Instruction::Arg(arguments)) => {
                    global_args.extend(arguments.iter().cloned());
                    globals.push(statement);
                }
                (None, instruction) => {
                    let message = format!("{} stands before the first FROM", instruction.keyword());
                    let error = source.error("no-stage", message, &statement.span);
                    return Err(
                        error.with_hint("only ARG may stand before FROM; begin the file with `FROM image`")
                    );
                }
            },
        }
    }
    if stages.is_empty() {
        let error = Diagnostic::error("no-stage", "the Dockerfile has no FROM").with_span(Span::at(
            file,
            source.lines().len().max(1) as u32,
            1,
        ));
        return Err(error.with_hint("begin the file with `FROM image`"));
    }
    let blank_continuations = reader.blank_continuations;
    Ok(Dockerfile { source, directives, global_args, globals, stages, blank_continuations })
}

/// Parses one `ONBUILD` trigger as a base image's configuration stores it. `origin` names the image in messages.
pub fn parse_trigger(origin: &str, text: &str) -> Result<Statement, Diagnostic> {
    let source = Source::new(Path::new(origin), text);
    let mut reader =
        Reader { source: &source, escape: Escape::default(), next: 0, blank_continuations: Vec::new() };
    let item = reader.read()?;
    let more = reader.read()?.is_some();
    match item {
        Some(Item::Statement(statement))
            if !more
                && !matches!(statement.instruction, Instruction::OnBuild(_) | Instruction::Maintainer(_)) =>
        {
            Ok(statement)
        }
        _ => Err(Diagnostic::error("bad-onbuild", format!("`{text}` cannot be a trigger of ONBUILD"))),
    }
}

enum Item {
    From(Stage),
    Statement(Statement),
}

struct Reader<'s> {
    source: &'s Source,
    escape: Escape,
    /// Index of the next physical line.
    next: usize,
    /// The instructions that hold an empty line, each at its last line.
    blank_continuations: Vec<Span>,
}

impl Reader<'_> {
    /// Reads the next instruction; `None` at the end of the file.
    fn read(&mut self) -> Result<Option<Item>, Diagnostic> {
        let mut comments = Vec::new();
        while let Some(line) = self.source.lines().get(self.next) {
            match line.trim_start().strip_prefix('#') {
                // A comment without text parts those before it from what comes.
                Some(text) if text.trim().is_empty() => comments.clear(),
                Some(text) => comments.push(self.comment(text.trim(), line)),
                None if line.trim().is_empty() => {}
                None => break,
            }
            self.next += 1;
        }
        if self.next >= self.source.lines().len() {
            return Ok(None);
        }
        let read = Logical::read(self.source, self.next, self.escape);
        self.next = read.next;
        let logical = read.logical;
        if !read.empty_lines.is_empty() {
            let last = self.source.line(read.next as u32).unwrap_or_default();
            let start = Position::new(read.empty_lines[0], 1);
            let end = Position::new(read.next as u32, last.chars().count() as u32 + 1);
            self.blank_continuations.push(self.source.span(start, end));
        }
        if logical.text().is_empty() {
            // A line that holds only the escape character.
            return self.read();
        }
        let line = Line::cut(self.source, &logical, 0, self.escape)?;
        let heredocs = self.heredocs(line.heredoc_words())?;
        let end = if heredocs.is_empty() {
            logical.end()
        } else {
            let last = self.source.line(self.next as u32).unwrap_or_default();
            Position::new(self.next as u32, last.chars().count() as u32 + 1)
        };
        let span = self.source.span(logical.position(0), end);
        let text = logical.text().to_owned();
        let keyword = Spanned::new(line.keyword_written().to_owned(), line.keyword_span());
        if line.keyword != "FROM" {
            let instruction = line.instruction(heredocs)?;
            return Ok(Some(Item::Statement(Statement { instruction, span, text, keyword, comments })));
        }
        let from = line.from()?;
        let name = from.name.as_ref().map(|name| name.with(name.to_ascii_lowercase()));
        let base =
            if from.image.value == "scratch" { BaseRef::Scratch } else { BaseRef::Image(from.image.clone()) };
        Ok(Some(Item::From(Stage {
            name,
            base,
            platform: from.platform,
            instructions: Vec::new(),
            span,
            text,
            keyword,
            image: from.image,
            as_word: from.as_word,
            written_name: from.name,
            comments,
        })))
    }

    fn comment(&self, text: &str, line: &str) -> Word {
        let number = self.next as u32 + 1;
        let before = line.find(text).map_or(0, |offset| line[..offset].chars().count()) as u32;
        let start = Position::new(number, before + 1);
        let end = Position::new(number, before + 1 + text.chars().count() as u32);
        Spanned::new(text.to_owned(), self.source.span(start, end))
    }

    /// Reads the bodies of the heredocs that a line begins, in order.
    fn heredocs(&mut self, words: Vec<Word>) -> Result<Vec<Heredoc>, Diagnostic> {
        let mut heredocs = Vec::new();
        for word in words {
            let Some((name, chomp, expand)) = heredoc_terminator(&word) else {
                continue;
            };
            let mut content = String::new();
            let closed = loop {
                let Some(line) = self.source.lines().get(self.next) else {
                    break false;
                };
                self.next += 1;
                let line = if chomp { line.trim_start_matches('\t') } else { line };
                if line == name {
                    break true;
                }
                content.push_str(line);
                content.push_str(&self.source.line_end(self.next - 1));
            };
            if !closed {
                let message = format!("heredoc `{}` is never ended", word.value);
                let error = self.source.error("unterminated-heredoc", message, &word.span);
                return Err(error.with_hint(format!("a line that holds only `{name}` must end it")));
            }
            heredocs.push(Heredoc { name, word, content, expand, chomp });
        }
        Ok(heredocs)
    }
}

fn resolve_base(mut stage: Stage, earlier: &[Stage]) -> Stage {
    if let BaseRef::Image(image) = &stage.base
        && let Some(index) = earlier.iter().rposition(|stage| stage.is_called(image))
    {
        stage.base = BaseRef::Stage(index);
    }
    stage
}
