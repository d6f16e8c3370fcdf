//! Named contexts: what `--build-context` puts in place of stages and images.
//!
//! As in BuildKit, a stage of the name is replaced whole: its instructions are not carried out.

use coracle_dockerfile::Word;
use coracle_oci::Reference;
use coracle_report::{Diagnostic, Span};

use crate::graph::{CopyOp, Op, OpItem, OpSource};
use crate::plan::{Origin, Planner};
use crate::stage::StageState;
use crate::{NamedContext, SourcePath, Unpack};

impl Planner<'_> {
    /// Returns the named context that a name means: the same word in any case, or the same image written otherwise.
    pub(crate) fn named(&self, name: &str) -> Option<usize> {
        let contexts = &self.request.contexts;
        contexts.iter().position(|(own, _)| own.eq_ignore_ascii_case(name)).or_else(|| {
            let wanted: Reference = name.parse().ok()?;
            contexts.iter().position(|(own, _)| own.parse().is_ok_and(|own: Reference| own == wanted))
        })
    }

    /// Returns the named context that stands in place of a stage.
    pub(crate) fn replaced(&self, stage: usize) -> Option<usize> {
        let name = self.file().stages[stage].name.as_ref()?;
        self.request.contexts.iter().position(|(own, _)| own.eq_ignore_ascii_case(&name.value))
    }

    /// Returns the image that a named context is; `None` when it is files.
    pub(crate) fn context_image(&mut self, number: usize) -> Option<Reference> {
        self.used_contexts.insert(number);
        match &self.request.contexts[number].1 {
            NamedContext::Image(reference) => Some(reference.clone()),
            NamedContext::Files => None,
        }
    }

    /// Returns what `--from` and `from=` give when they name a context.
    pub(crate) fn context_origin(&mut self, number: usize, word: &Word) -> Result<Origin, Diagnostic> {
        Ok(match self.context_image(number) {
            Some(reference) => self.image_origin(reference, word),
            None => Origin::Source(OpSource::Named(number)),
        })
    }

    pub(crate) fn warn_unused_contexts(&mut self) {
        for (number, (name, _)) in self.request.contexts.iter().enumerate() {
            if self.used_contexts.contains(&number) {
                continue;
            }
            let message = format!("the named context `{name}` is used by nothing that is built");
            let warning = Diagnostic::warning("unused-context", message);
            let near = coracle_dockerfile::nearest(name, self.file().stage_names());
            let hint = match near {
                Some(near) => format!("did you mean `--build-context {near}=...`?"),
                None => format!("take files from it with `COPY --from={name}`, or leave the option out"),
            };
            self.warnings.push(warning.with_hint(hint));
        }
    }
}

impl StageState {
    /// Begins with the files of a named context as the file system.
    pub(crate) fn begin_with_files(&mut self, planner: &mut Planner<'_>, number: usize, span: &Span) {
        let whole = SourcePath { path: String::new(), literal: true, trailing_slash: false, pivot: None };
        let op = CopyOp {
            source: OpSource::Named(number),
            items: vec![OpItem::Path(whole)],
            exclude: Vec::new(),
            dest: "/".to_owned(),
            chown: None,
            chmod: None,
            parents: false,
            unpack: Unpack::Never,
            link: false,
        };
        let text = format!("FROM {}", planner.request.contexts[number].0);
        let name = self.label(planner, &text);
        let vertex = planner.vertex(Op::Copy(op), None, name, span);
        self.origin = format!("the named context {}", planner.request.contexts[number].0);
        self.layer(vertex);
        self.record(planner, text, Some(vertex));
    }
}
