//! `COPY` and `ADD`: sources, destination and flags; and where files come from.

use coracle_dockerfile::{
    AddFiles, CopyFiles, CopySource, FileOptions, Glob, Heredoc, Statement, Word, expand_body,
};
use coracle_report::{Diagnostic, Span};

use super::{Flow, StageState};
use crate::graph::{CopyOp, Op, OpItem, OpSource};
use crate::paths::{destination, source};
use crate::plan::{Origin, Planner};
use crate::{Checksum, GitSource, InlineFile, RemoteSource, Unpack, is_commit_prefix};

impl StageState {
    pub(super) fn place(
        &self,
        planner: &mut Planner<'_>,
        from: Option<&Word>,
    ) -> Result<Option<OpSource>, Diagnostic> {
        let Some(word) = from else {
            return Ok(Some(OpSource::Context));
        };
        let name = self.expand(planner, word)?;
        if name.is_empty() {
            return Err(planner.error("unknown-stage", format!("`{}` is empty", word.value), &word.span));
        }
        Ok(match planner.origin(&name, self.index, word)? {
            Origin::Source(source) => Some(source),
            Origin::Waiting => None,
        })
    }

    pub(super) fn mount_path(
        &self,
        planner: &Planner<'_>,
        word: Option<&Word>,
    ) -> Result<String, Diagnostic> {
        let Some(word) = word else {
            return Ok(String::new());
        };
        let text = self.expand(planner, word)?;
        Ok(source(&text).path)
    }

    pub(super) fn copy(
        &mut self,
        planner: &mut Planner<'_>,
        statement: &Statement,
        copy: &CopyFiles,
    ) -> Result<Flow, Diagnostic> {
        let Some(place) = self.place(planner, copy.from.as_ref())? else {
            return Ok(Flow::Waiting);
        };
        let mut items = Vec::new();
        let mut texts = Vec::new();
        for source in &copy.sources {
            let (item, text) = self.item(planner, source)?;
            items.push(item);
            texts.push(text);
        }
        let mut op = self.files(planner, &copy.dest, &copy.options, items)?;
        op.source = place;
        op.parents = copy.parents;
        if !op.parents {
            for item in &mut op.items {
                if let OpItem::Path(path) = item {
                    path.pivot = None;
                }
            }
        }
        texts.push(self.expand(planner, &copy.dest)?);
        let words = words(&copy.sources, &copy.options, &op.items, None);
        self.finish_copy(planner, statement, ("COPY", words), &texts, op);
        Ok(Flow::Done)
    }

    pub(super) fn add(
        &mut self,
        planner: &mut Planner<'_>,
        statement: &Statement,
        add: &AddFiles,
    ) -> Result<(), Diagnostic> {
        let checksum = self.expand_option(planner, add.checksum.as_ref())?;
        let mut items = Vec::new();
        let mut texts = Vec::new();
        for source in &add.sources {
            let (item, text) = match self.elsewhere(planner, add, source, checksum.as_deref())? {
                Some(found) => found,
                None => self.item(planner, source)?,
            };
            items.push(item);
            texts.push(text);
        }
        let is_elsewhere = |item: &OpItem| matches!(item, OpItem::Url { .. } | OpItem::Git(_));
        if let (Some(word), false) = (&add.checksum, items.iter().any(is_elsewhere)) {
            let message = "`--checksum` is for a URL or a git repository, and there is none";
            return Err(planner.error("bad-flag", message, &word.span));
        }
        let mut op = self.files(planner, &add.dest, &add.options, items)?;
        for item in &mut op.items {
            if let OpItem::Path(path) = item {
                path.pivot = None;
            }
        }
        op.unpack = match add.unpack {
            None => Unpack::Local,
            Some(true) => Unpack::All,
            Some(false) => Unpack::Never,
        };
        texts.push(self.expand(planner, &add.dest)?);
        let words = words(&add.sources, &add.options, &op.items, add.checksum.as_ref());
        self.finish_copy(planner, statement, ("ADD", words), &texts, op);
        Ok(())
    }

    /// Returns a source of `ADD` that lies elsewhere, and its text; `None` when it lies in the context.
    fn elsewhere(
        &self,
        planner: &Planner<'_>,
        add: &AddFiles,
        source: &CopySource,
        checksum: Option<&str>,
    ) -> Result<Option<(OpItem, String)>, Diagnostic> {
        let CopySource::Path(word) = source else { return Ok(None) };
        let text = self.expand(planner, word)?;
        let fail = |why: String, span: &Span| planner.error("bad-url", why, span);
        let remote = RemoteSource::parse(&text).map_err(|why| fail(why, &word.span))?;
        let flag = add.checksum.as_ref().map_or(&word.span, |word| &word.span);
        match remote {
            None => Ok(None),
            Some(RemoteSource::Http(url)) => {
                let checksum = checksum.map(str::parse::<Checksum>).transpose();
                let checksum = checksum.map_err(|why| planner.error("bad-flag", why, flag))?;
                Ok(Some((OpItem::Url { url, checksum }, text)))
            }
            Some(RemoteSource::Git(source)) => {
                if let Some(commit) = checksum.filter(|commit| !is_commit_prefix(commit)) {
                    let message = format!("`{commit}` is no commit");
                    let hint = "for a git repository, `--checksum` is the commit: 40 hexadecimal digits";
                    return Err(planner.error("bad-flag", message, flag).with_hint(hint));
                }
                let source = GitSource {
                    checksum: checksum.map(str::to_owned).or(source.checksum),
                    keep_git_dir: source.keep_git_dir || add.keep_git_dir,
                    ..source
                };
                let shown = source.shown();
                Ok(Some((OpItem::Git(source), shown)))
            }
        }
    }

    fn item(&self, planner: &Planner<'_>, item: &CopySource) -> Result<(OpItem, String), Diagnostic> {
        match item {
            CopySource::Path(word) => {
                let text = self.expand(planner, word)?;
                if text.is_empty() {
                    return Err(planner.error(
                        "empty-path",
                        format!("source `{}` is empty", word.value),
                        &word.span,
                    ));
                }
                let path = source(&text);
                Glob::source(&path.path)
                    .map_err(|error| planner.error("bad-pattern", error.to_string(), &word.span))?;
                Ok((OpItem::Path(path), text))
            }
            CopySource::Heredoc(heredoc) => {
                let content = self.heredoc(planner, heredoc)?;
                let file = InlineFile { name: heredoc.name.clone(), content };
                if file.name.contains('/') || file.name == ".." {
                    let message = format!("`{}` is no file name", file.name);
                    return Err(planner.error("bad-heredoc", message, &heredoc.word.span));
                }
                Ok((OpItem::Inline(file), format!("<<{}", heredoc.name)))
            }
        }
    }

    fn heredoc(&self, planner: &Planner<'_>, heredoc: &Heredoc) -> Result<String, Diagnostic> {
        if !heredoc.expand {
            return Ok(heredoc.content.clone());
        }
        expand_body(&heredoc.content, planner.file().directives.escape, &|name| self.look_up(name))
            .map_err(|error| planner.error(error.code(), error.to_string(), &heredoc.word.span))
    }

    fn files(
        &self,
        planner: &Planner<'_>,
        dest: &Word,
        options: &FileOptions,
        items: Vec<OpItem>,
    ) -> Result<CopyOp, Diagnostic> {
        let text = self.expand(planner, dest)?;
        if text.is_empty() {
            return Err(planner.error("empty-path", "the destination is empty", &dest.span));
        }
        let path = destination(&self.config.config.working_dir, &text);
        if items.len() > 1 && !path.ends_with('/') {
            let message =
                format!("several sources need a directory as destination; `{text}` does not end with `/`");
            let error = planner.error("destination-no-directory", message, &dest.span);
            return Err(error.with_hint(format!("write `{text}/`")));
        }
        let chmod = self.expand_option(planner, options.chmod.as_ref())?;
        if let (Some(mode), Some(word)) = (&chmod, &options.chmod)
            && !is_mode(mode)
        {
            let error = planner.error("bad-flag", format!("`{mode}` is no file mode"), &word.span);
            return Err(error.with_hint("modes look like 0755 or u=rwX,go=rX"));
        }
        let exclude = options.exclude.iter().map(|word| {
            let pattern = self.expand(planner, word)?;
            let checked = Glob::ignore(&pattern);
            checked.map_err(|error| planner.error("bad-pattern", error.to_string(), &word.span))?;
            Ok(pattern)
        });
        Ok(CopyOp {
            source: OpSource::Context,
            items,
            exclude: exclude.collect::<Result<_, _>>()?,
            dest: path,
            chown: self.expand_option(planner, options.chown.as_ref())?,
            chmod,
            parents: false,
            unpack: Unpack::Never,
            link: options.link,
        })
    }

    fn finish_copy(
        &mut self,
        planner: &mut Planner<'_>,
        statement: &Statement,
        (keyword, words): (&str, Vec<(String, Span)>),
        texts: &[String],
        op: CopyOp,
    ) {
        let flag = |name: &str, value: &Option<String>| {
            value.as_ref().map_or(String::new(), |value| format!(" --{name}={value}"))
        };
        let parents = if op.parents { " --parents" } else { "" };
        let flags = format!("{parents}{}{}", flag("chown", &op.chown), flag("chmod", &op.chmod));
        let created_by = format!("{keyword}{flags} {} # buildkit", texts.join(" "));
        let name = self.label(planner, &statement.text);
        let vertex = planner.vertex_of_words(Op::Copy(op), self.top, name, &statement.span, words);
        self.layer(vertex);
        self.record(planner, created_by, Some(vertex));
    }
}

/// Returns where sources and flags are written, under the names that faults give them.
fn words(
    sources: &[CopySource],
    options: &FileOptions,
    items: &[OpItem],
    checksum: Option<&Word>,
) -> Vec<(String, Span)> {
    let sources = sources.iter().zip(items).filter_map(|(source, item)| match (source, item) {
        (CopySource::Path(word), OpItem::Path(path)) => Some((path.path.clone(), word.span.clone())),
        (CopySource::Path(word), OpItem::Url { url, .. }) => Some((url.clone(), word.span.clone())),
        _ => None,
    });
    let flags = [("--checksum", checksum), ("--chown", options.chown.as_ref())];
    let flags = flags.into_iter().filter_map(|(name, word)| Some((name.to_owned(), word?.span.clone())));
    sources.chain(flags).collect()
}

fn is_mode(text: &str) -> bool {
    let octal = text.len() <= 5 && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let symbolic = text.split(',').all(|clause| {
        let Some((who, what)) = clause.find(['+', '-', '=']).map(|at| clause.split_at(at)) else {
            return false;
        };
        who.bytes().all(|byte| b"ugoa".contains(&byte))
            && what.bytes().all(|byte| b"+-=rwxXstugo".contains(&byte))
    });
    octal || symbolic
}
