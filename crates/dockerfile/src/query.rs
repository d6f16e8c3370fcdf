//! Questions to a parsed Dockerfile that need no environment: targets, references to stages, heredocs, sources.

use coracle_report::Diagnostic;

use crate::instruction::{Heredoc, Instruction};
use crate::{CopySource, Dockerfile, Logical, StageLookup, Word, nearest};

impl Dockerfile {
    /// Returns the logical line of the instruction at `span`, heredoc bodies left out, so that places within its text can
    /// be told.
    pub fn logical(&self, span: &coracle_report::Span) -> Logical {
        let first = (span.start.line as usize).saturating_sub(1);
        Logical::read(&self.source, first, self.directives.escape).logical
    }

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

    /// Returns the stages and images that `COPY --from` and `from=` of stage `at` name without variables.
    pub fn references(&self, at: usize) -> impl Iterator<Item = &Word> {
        let statements = self.stages.get(at).into_iter().flat_map(|stage| &stage.instructions);
        let words = statements.flat_map(|statement| -> Vec<&Word> {
            match &statement.instruction {
                Instruction::Copy(copy) => copy.from.iter().collect(),
                Instruction::Run(run) => run.mounts.iter().filter_map(|mount| mount.kind.from()).collect(),
                _ => Vec::new(),
            }
        });
        words.filter(|word| !word.contains('$'))
    }

    /// Returns what is wrong with `name`, which `word` of stage `at` uses as a stage, if it cannot be one; `None` when
    /// it is an earlier stage or presumably an image. A name near that of a stage is taken for a slip.
    pub fn reference_fault(&self, name: &str, at: usize, word: &Word) -> Option<Diagnostic> {
        let source = &self.source;
        let stages = &self.stages;
        Some(match self.look_up_stage(name, at) {
            StageLookup::Earlier(_) | StageLookup::None => return None,
            StageLookup::Near(near) => source
                .error("unknown-stage", format!("there is no stage `{name}`"), &word.span)
                .with_hint(format!("did you mean `{near}`?"))
                .with_hint(format!("if an image is meant, write `docker.io/library/{name}`")),
            StageLookup::Later(index) if index == at => {
                source.error("unknown-stage", format!("stage `{name}` cannot copy from itself"), &word.span)
            }
            StageLookup::Later(index) if index < stages.len() => source
                .error("unknown-stage", format!("stage `{name}` comes later in the file"), &word.span)
                .with_note(format!("it begins at {}", stages[index].span))
                .with_hint("only earlier stages can be copied from; move that stage up"),
            StageLookup::Later(_) => {
                let hint = match at {
                    0 => "no stage stands before this one".to_owned(),
                    1 => "only stage 0 stands before this one".to_owned(),
                    _ => format!("stages 0 to {} stand before this one", at - 1),
                };
                source
                    .error("unknown-stage", format!("there is no stage number {name}"), &word.span)
                    .with_hint(hint)
            }
        })
    }
}
