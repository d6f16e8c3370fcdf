//! Where a build's files come from: the context behind its ignore file, or a stage's file system.

use std::path::{Path, PathBuf};

use coracle_build::{MissingCause, Selection, SourceFault, SourcePath};
use coracle_dockerfile::{Glob, IgnoreFile, Verdict, ignore_file_names};
use coracle_oci::Digest;
use coracle_report::Diagnostic;
use coracle_snapshot::rootfs::{DigestOptions, FileKind, Metadata, Visit, digest_tree};
use coracle_snapshot::{RootFs, SnapshotError};

use crate::{During, Failure, Result};

/// Siblings named in a fault, at most.
const SIBLINGS: usize = 200;

/// The files that steps may take.
pub struct Sources {
    /// The root they lie in.
    pub root: RootFs,
    ignore: Option<Context>,
}

struct Context {
    path: PathBuf,
    ignore: IgnoreFile,
}

/// One file or directory that a source names.
#[derive(Clone, Debug)]
pub struct Matched {
    /// Relative to the root; empty is the root itself.
    pub path: PathBuf,
    /// What it is, a link at its end followed.
    pub metadata: Metadata,
    /// How much of the path is not repeated below the destination with `--parents`.
    pub pivot: PathBuf,
}

impl Sources {
    /// Opens a build context with the ignore file that goes with `dockerfile`.
    pub fn context(path: &Path, dockerfile: &Path) -> Result<Self> {
        let root = RootFs::open_directory(path).map_err(|error| {
            let message = format!("cannot read the build context {}: {error}", path.display());
            Failure::user(Diagnostic::error("build-context", message))
        })?;
        let mut ignore = IgnoreFile::default();
        for name in ignore_file_names(dockerfile, path) {
            match std::fs::read_to_string(&name) {
                Ok(text) => {
                    ignore = IgnoreFile::parse(&name, &text)?;
                    break;
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(Failure::ours(format_args!("reading {}", name.display()), &error)),
            }
        }
        Ok(Self { root, ignore: Some(Context { path: path.to_owned(), ignore }) })
    }

    /// Takes a stage's file system, or an empty one.
    pub fn tree(root: RootFs) -> Self {
        Self { root, ignore: None }
    }

    /// Returns whether a path is visible, or only something below it.
    pub fn visit(&self, path: &Path, is_directory: bool) -> Visit {
        let Some(context) = &self.ignore else { return Visit::Take };
        let Some(text) = path.to_str() else { return Visit::Take };
        if text.is_empty() {
            return Visit::Take;
        }
        match context.ignore.verdict(text) {
            Verdict::Shown => Visit::Take,
            Verdict::Hidden(_) if is_directory && context.ignore.may_show_below(text) => Visit::Descend,
            Verdict::Hidden(_) => Visit::Skip,
        }
    }

    /// Returns what the sources name, in order; a pattern's matches by name.
    pub fn select(&self, paths: &[SourcePath]) -> std::result::Result<Vec<Matched>, SourceFault> {
        let mut all = Vec::new();
        for source in paths {
            let mut found = Vec::new();
            let parts: Vec<&str> = source.path.split('/').filter(|part| !part.is_empty()).collect();
            self.expand(PathBuf::new(), &parts, source, &mut found)?;
            if found.is_empty() {
                return Err(self.missing(source));
            }
            all.append(&mut found);
        }
        Ok(all)
    }

    fn expand(
        &self,
        at: PathBuf,
        parts: &[&str],
        source: &SourcePath,
        found: &mut Vec<Matched>,
    ) -> std::result::Result<(), SourceFault> {
        let Some((part, rest)) = parts.split_first() else {
            let Some(metadata) = self.root.stat(&at).map_err(other)? else { return Ok(()) };
            if self.visit(&at, metadata.kind == FileKind::Directory) != Visit::Skip {
                found.push(Matched { path: at, metadata, pivot: PathBuf::from(&source.pivot) });
            }
            return Ok(());
        };
        if source.literal || !Glob::is_pattern(part) {
            return self.expand(at.join(part), rest, source, found);
        }
        let glob = Glob::source(part).map_err(|error| {
            SourceFault::Other(Diagnostic::error("bad-pattern", format!("`{}`: {error}", source.path)))
        })?;
        let names = match self.root.list(&at) {
            Ok(names) => names,
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(other(error)),
        };
        let names = names.iter().filter_map(|name| name.to_str()).filter(|name| glob.matches(name));
        for name in names {
            self.expand(at.join(name), rest, source, found)?;
        }
        Ok(())
    }

    /// Says why a source is not there.
    fn missing(&self, source: &SourcePath) -> SourceFault {
        let path = source.path.clone();
        if let Some(context) = &self.ignore
            && self.root.stat(Path::new(&path)).ok().flatten().is_some()
            && let Verdict::Hidden(rule) = context.ignore.verdict(&path)
        {
            let cause = MissingCause::Hidden { line: rule.line.clone(), span: rule.span.clone() };
            return SourceFault::Missing { path, cause };
        }
        let mut directory = Path::new(&path).parent().unwrap_or(Path::new("")).to_owned();
        let siblings = loop {
            match self.root.list(&directory) {
                Ok(names) => break names,
                Err(_) if directory.as_os_str().is_empty() => break Vec::new(),
                Err(_) => directory = directory.parent().unwrap_or(Path::new("")).to_owned(),
            }
        };
        let siblings = siblings
            .into_iter()
            .take(SIBLINGS)
            .map(|name| directory.join(name))
            .filter(|path| self.visit(path, false) == Visit::Take)
            .filter_map(|path| path.to_str().map(str::to_owned))
            .collect();
        let elsewhere = self.ignore.as_ref().and_then(|context| {
            let above = context.path.ancestors().skip(1).take(3);
            above.map(|parent| parent.join(&path)).find(|candidate| candidate.exists())
        });
        SourceFault::Missing { path, cause: MissingCause::Absent { siblings, elsewhere } }
    }

    /// Returns the digest of what a selection takes.
    pub fn digest(&self, selection: &Selection) -> std::result::Result<Digest, SourceFault> {
        let matched = self.select(&selection.paths)?;
        let exclude = Exclude::parse(&selection.exclude)?;
        let mut digests = String::new();
        for source in &matched {
            let filter = |path: &Path, is_directory: bool| {
                self.visit(path, is_directory).and(exclude.visit(path, &source.path, is_directory))
            };
            let path: &Path = if source.path.as_os_str().is_empty() { Path::new(".") } else { &source.path };
            let digest =
                digest_tree(&self.root, &[path], Some(&filter), DigestOptions::default()).map_err(other)?;
            digests.push_str(&digest.to_string());
        }
        Ok(Digest::of(digests))
    }
}

/// What `--exclude` leaves out, relative to each source.
pub struct Exclude(IgnoreFile);

impl Exclude {
    /// Reads the patterns.
    pub fn parse(patterns: &[String]) -> std::result::Result<Self, SourceFault> {
        let text = patterns.join("\n");
        IgnoreFile::parse(Path::new("--exclude"), &text).map(Self).map_err(SourceFault::Other)
    }

    /// Decides about a path below a source.
    pub fn visit(&self, path: &Path, source: &Path, is_directory: bool) -> Visit {
        let Some(text) = path.strip_prefix(source).ok().and_then(Path::to_str) else { return Visit::Take };
        if text.is_empty() || !self.0.verdict(text).is_hidden() {
            Visit::Take
        } else if is_directory && self.0.may_show_below(text) {
            Visit::Descend
        } else {
            Visit::Skip
        }
    }
}

/// Both verdicts must let a path through.
trait Both {
    fn and(self, other: Self) -> Self;
}

impl Both for Visit {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Skip, _) | (_, Self::Skip) => Self::Skip,
            (Self::Descend, _) | (_, Self::Descend) => Self::Descend,
            (Self::Take, Self::Take) => Self::Take,
        }
    }
}

/// Combines the verdicts of the ignore file and of `--exclude`.
pub fn both(first: Visit, second: Visit) -> Visit {
    first.and(second)
}

fn other(error: SnapshotError) -> SourceFault {
    let failure =
        Result::<(), _>::Err(error).during("reading the files of a step").expect_err("it is an error");
    SourceFault::Other(failure.diagnostics.into_iter().next().expect("a failure says why"))
}
