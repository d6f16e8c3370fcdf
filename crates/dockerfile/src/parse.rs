//! A Dockerfile's text to a [`Dockerfile`]: directives, logical lines, heredocs, stages.

use std::path::Path;

use coracle_report::Diagnostic;

use crate::instruction::{Argument, Heredoc, Instruction, Statement};
use crate::line::{KEYWORDS, Line, heredoc_terminator};
use crate::logical::Logical;
use crate::stage::look_up;

use crate::{
    BaseRef, CopySource, Directives, Dockerfile, Escape, Source, Spanned, Stage, StageLookup, Word, nearest,
};

/// Parses the text of a Dockerfile. `file` is the name to show in messages.
///
/// The error is the first fault of the file; what works but should be written otherwise is in
/// [`Dockerfile::warnings`].
pub fn parse(file: &Path, text: &str) -> Result<Dockerfile, Diagnostic> {
    let source = Source::new(file, text);
    let mut warnings = Vec::new();
    let (directives, first) = directives(&source)?;
    let mut reader = Reader { source: &source, escape: directives.escape, next: first };
    let mut global_args: Vec<Argument> = Vec::new();
    let mut stages: Vec<Stage> = Vec::new();
    while let Some(item) = reader.read(&mut warnings)? {
        match item {
            Item::From(stage) => {
                let stage = resolve_base(stage, &stages);
                warn_duplicate(&source, &stage, &stages, &mut warnings);
                stages.push(stage);
            }
            Item::Statement(statement) => match (stages.last_mut(), statement.instruction) {
                (Some(stage), instruction) => stage.instructions.push(Statement { instruction, ..statement }),
                (None, Instruction::Arg(arguments)) => global_args.extend(arguments),
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
        let error = Diagnostic::error("no-stage", "the Dockerfile has no FROM")
            .with_span(coracle_report::Span::at(file, source.lines().len().max(1) as u32, 1));
        return Err(error.with_hint("begin the file with `FROM image`"));
    }
    check_stage_references(&source, &stages)?;
    Ok(Dockerfile { source, directives, global_args, stages, warnings })
}

/// Parses one `ONBUILD` trigger as a base image's configuration stores it. `origin` names the image in messages.
pub fn parse_trigger(origin: &str, text: &str) -> Result<Statement, Diagnostic> {
    let source = Source::new(Path::new(origin), text);
    let mut reader = Reader { source: &source, escape: Escape::default(), next: 0 };
    let item = reader.read(&mut Vec::new())?;
    match item {
        Some(Item::Statement(statement)) if !matches!(statement.instruction, Instruction::OnBuild(_)) => {
            Ok(statement)
        }
        _ => Err(Diagnostic::error("bad-onbuild", format!("`{text}` cannot be a trigger of ONBUILD"))),
    }
}

/// Reads the directives at the file's head; returns also the index of the first line after them.
fn directives(source: &Source) -> Result<(Directives, usize), Diagnostic> {
    let mut directives = Directives::default();
    let mut escape_seen = false;
    for (index, line) in source.lines().iter().enumerate() {
        let Some((name, value)) = directive(source, index, line) else {
            return Ok((directives, index));
        };
        let twice = |seen: bool| {
            let message = format!("directive `{name}` is given twice");
            if seen { Err(source.error("duplicate-directive", message, &value.span)) } else { Ok(()) }
        };
        match name.as_str() {
            "syntax" => {
                twice(directives.syntax.is_some())?;
                directives.syntax = Some(value);
            }
            "check" => {
                twice(directives.check.is_some())?;
                directives.check = Some(value);
            }
            "escape" => {
                twice(escape_seen)?;
                escape_seen = true;
                directives.escape = match value.as_str() {
                    "\\" => Escape::Backslash,
                    "`" => Escape::Backtick,
                    other => {
                        let message = format!("the escape character is `\\` or a backtick, not `{other}`");
                        return Err(source.error("bad-directive", message, &value.span));
                    }
                };
            }
            // Any other comment ends the directives, as does everything that is no comment.
            _ => return Ok((directives, index)),
        }
    }
    Ok((directives, source.lines().len()))
}

fn directive(source: &Source, index: usize, line: &str) -> Option<(String, Word)> {
    let rest = line.trim_start().strip_prefix('#')?;
    let (name, value) = rest.split_once('=')?;
    let name = name.trim();
    let value = value.trim();
    if name.is_empty() || value.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let number = index as u32 + 1;
    let before = line.rfind(value).map_or(0, |offset| line[..offset].chars().count()) as u32;
    let start = coracle_report::Position::new(number, before + 1);
    let end = coracle_report::Position::new(number, before + 1 + value.chars().count() as u32);
    Some((name.to_ascii_lowercase(), Spanned::new(value.to_owned(), source.span(start, end))))
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
}

impl Reader<'_> {
    fn read(&mut self, warnings: &mut Vec<Diagnostic>) -> Result<Option<Item>, Diagnostic> {
        let blank = |line: &&String| line.trim().is_empty() || line.trim_start().starts_with('#');
        self.next += self.source.lines().iter().skip(self.next).take_while(blank).count();
        if self.next >= self.source.lines().len() {
            return Ok(None);
        }
        let read = Logical::read(self.source, self.next, self.escape);
        self.next = read.next;
        let logical = read.logical;
        if logical.text().is_empty() {
            // A line that holds only the escape character.
            return self.read(warnings);
        }
        for number in read.empty_lines {
            let span = coracle_report::Span::at(self.source.file(), number, 1);
            let warning =
                self.source.warning("empty-continuation", "an empty line within an instruction", &span);
            warnings.push(warning.with_hint("remove it, or end the instruction before it"));
        }
        let line = Line::cut(self.source, &logical, 0, self.escape)?;
        self.warn_case(&line, warnings);
        let heredocs = self.heredocs(line.heredoc_words())?;
        let end = if heredocs.is_empty() {
            logical.end()
        } else {
            let last = self.source.line(self.next as u32).unwrap_or_default();
            coracle_report::Position::new(self.next as u32, last.chars().count() as u32 + 1)
        };
        let span = self.source.span(logical.position(0), end);
        let text = logical.text().to_owned();
        if line.keyword != "FROM" {
            let instruction = line.instruction(heredocs, warnings)?;
            return Ok(Some(Item::Statement(Statement { instruction, span, text })));
        }
        let from = line.from()?;
        if let (Some(as_word), Some(name)) = (&from.as_word, &from.name) {
            let upper = line.keyword_written().chars().all(char::is_uppercase);
            if as_word.chars().all(char::is_uppercase) != upper {
                let message = format!("`{}` and `{}` differ in case", line.keyword_written(), as_word.value);
                let warning = self.source.warning("from-as-casing", message, &as_word.span);
                warnings.push(warning.with_hint(if upper { "write `AS`" } else { "write `as`" }));
            }
            if name.chars().any(char::is_uppercase) {
                let message = format!("stage name `{}` should be lower case", name.value);
                warnings.push(self.source.warning("stage-name-casing", message, &name.span));
            }
        }
        let name = from.name.map(|name| name.with(name.to_ascii_lowercase()));
        let base = if from.image.value == "scratch" { BaseRef::Scratch } else { BaseRef::Image(from.image) };
        let stage = Stage { name, base, platform: from.platform, instructions: Vec::new(), span, text };
        Ok(Some(Item::From(stage)))
    }

    fn warn_case(&self, line: &Line<'_>, warnings: &mut Vec<Diagnostic>) {
        let written = line.keyword_written();
        let mixed = written.chars().any(char::is_uppercase) && written.chars().any(char::is_lowercase);
        if mixed {
            let message = format!("`{written}` mixes upper and lower case");
            let warning = self.source.warning("keyword-casing", message, &line.keyword_span());
            warnings.push(warning.with_hint(format!("write `{}`", line.keyword)));
        }
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
                content.push('\n');
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

fn warn_duplicate(source: &Source, stage: &Stage, earlier: &[Stage], warnings: &mut Vec<Diagnostic>) {
    let Some(name) = &stage.name else { return };
    if let Some(first) = earlier.iter().find(|earlier| earlier.is_called(name)) {
        let message = format!("stage name `{}` is used twice; the later stage hides the earlier", name.value);
        let warning = source.warning("duplicate-stage-name", message, &name.span);
        warnings.push(warning.with_note(format!("first used at {}", first.span)));
    }
    if let Some(keyword) = KEYWORDS.into_iter().find(|keyword| keyword.eq_ignore_ascii_case(name)) {
        let message = format!("stage name `{}` is also the instruction {keyword}", name.value);
        warnings.push(source.warning("stage-name-keyword", message, &name.span));
    }
}

/// Refuses `--from` and `from=` that name a stage which cannot be meant.
fn check_stage_references(source: &Source, stages: &[Stage]) -> Result<(), Diagnostic> {
    for (at, stage) in stages.iter().enumerate() {
        for statement in &stage.instructions {
            let words: Vec<&Word> = match &statement.instruction {
                Instruction::Copy(copy) => copy.from.iter().collect(),
                Instruction::Run(run) => run.mounts.iter().filter_map(|mount| mount.kind.from()).collect(),
                _ => Vec::new(),
            };
            for word in words.into_iter().filter(|word| !word.contains('$')) {
                check_stage_reference(source, stages, at, word)?;
            }
        }
    }
    Ok(())
}

fn check_stage_reference(
    source: &Source,
    stages: &[Stage],
    at: usize,
    word: &Word,
) -> Result<(), Diagnostic> {
    let name = word.trim_matches(['"', '\'']);
    match look_up(stages, name, at) {
        StageLookup::Earlier(_) | StageLookup::None => Ok(()),
        StageLookup::Near(near) => {
            let error = source.error("unknown-stage", format!("there is no stage `{name}`"), &word.span);
            Err(error
                .with_hint(format!("did you mean `{near}`?"))
                .with_hint(format!("if an image is meant, write `docker.io/library/{name}`")))
        }
        StageLookup::Later(index) if index == at => {
            Err(source.error("unknown-stage", format!("stage `{name}` cannot copy from itself"), &word.span))
        }
        StageLookup::Later(index) if index < stages.len() => {
            let message = format!("stage `{name}` comes later in the file");
            let error = source.error("unknown-stage", message, &word.span);
            Err(error
                .with_note(format!("it begins at {}", stages[index].span))
                .with_hint("only earlier stages can be copied from; move that stage up"))
        }
        StageLookup::Later(_) => {
            let message = format!("there is no stage number {name}");
            let error = source.error("unknown-stage", message, &word.span);
            let hint = match at {
                0 => "no stage stands before this one".to_owned(),
                1 => "only stage 0 stands before this one".to_owned(),
                _ => format!("stages 0 to {} stand before this one", at - 1),
            };
            Err(error.with_hint(hint))
        }
    }
}

impl Dockerfile {
    /// Returns the heredoc's content, with variables replaced unless its terminator was quoted.
    pub fn heredoc_content(
        &self,
        heredoc: &Heredoc,
        lookup: crate::Lookup<'_>,
    ) -> Result<String, Diagnostic> {
        if !heredoc.expand {
            return Ok(heredoc.content.clone());
        }
        crate::expand::expand_body(&heredoc.content, self.directives.escape, lookup)
            .map_err(|error| self.source.error(error.code(), error.to_string(), &heredoc.word.span))
    }

    /// Returns the index of the stage to build: the last one, or the one called `target`.
    pub fn target(&self, target: Option<&str>) -> Result<usize, Diagnostic> {
        let Some(name) = target else {
            return Ok(self.stages.len() - 1);
        };
        if let Some(index) = self.stage_index(name) {
            return Ok(index);
        }
        let message = format!("{} has no stage `{name}`", self.source.file().display());
        let error = Diagnostic::error("unknown-target", message);
        let names: Vec<&str> = self.stage_names().collect();
        let error = match nearest(name, names.iter().copied()) {
            Some(near) => error.with_hint(format!("did you mean `{near}`?")),
            None => error,
        };
        Err(if names.is_empty() {
            error.with_note("its stages have no names")
        } else {
            error.with_note(format!("its stages are {}", names.join(", ")))
        })
    }

    /// Returns the paths and patterns that `COPY` and `ADD` take from the build context, for checks.
    pub fn context_sources(&self) -> impl Iterator<Item = &Word> {
        self.stages.iter().flat_map(|stage| &stage.instructions).flat_map(|statement| {
            let sources: &[CopySource] = match &statement.instruction {
                Instruction::Copy(copy) if copy.from.is_none() => &copy.sources,
                Instruction::Add(add) => &add.sources,
                _ => &[],
            };
            sources.iter().filter_map(|source| match source {
                CopySource::Path(word) => Some(word),
                CopySource::Heredoc(_) => None,
            })
        })
    }
}
