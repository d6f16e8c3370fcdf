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

#[cfg(test)]
mod tests {
    use super::*;

    fn context(files: &[(&str, &str)]) -> (tempfile::TempDir, Sources) {
        let directory = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let sources = Sources::context(directory.path(), &directory.path().join("Dockerfile")).unwrap();
        (directory, sources)
    }

    fn source(path: &str, literal: bool) -> SourcePath {
        SourcePath { path: path.to_owned(), literal, trailing_slash: false, pivot: String::new() }
    }

    fn selected(sources: &Sources, path: &str) -> Vec<String> {
        let found = sources.select(&[source(path, false)]).unwrap();
        found.iter().map(|matched| matched.path.display().to_string()).collect()
    }

    fn digest(sources: &Sources, path: &str, exclude: &[&str]) -> Digest {
        let exclude = exclude.iter().map(|pattern| (*pattern).to_owned()).collect();
        sources.digest(&Selection { paths: vec![source(path, true)], exclude }).unwrap()
    }

    #[test]
    fn patterns_match_part_by_part_and_see_nothing_hidden() {
        let (_directory, sources) = context(&[
            ("b/one.txt", ""),
            ("a/two.txt", ""),
            ("a/deep/three.txt", ""),
            ("a/secret.txt", ""),
            ("star*.txt", ""),
            (".dockerignore", "**/secret.txt\n"),
        ]);
        assert_eq!(selected(&sources, "*/*.txt"), ["a/two.txt", "b/one.txt"]);
        assert_eq!(selected(&sources, "a"), ["a"]);
        assert_eq!(selected(&sources, ""), [""]);
        let literal = sources.select(&[source("star*.txt", true)]).unwrap();
        assert_eq!(literal.len(), 1);
    }

    #[test]
    fn a_missing_source_says_why() {
        let (_directory, sources) =
            context(&[("app/main.py", ""), ("key.pem", ""), (".dockerignore", "# keys\n*.pem\n")]);
        let fault = |path: &str| sources.select(&[source(path, false)]).unwrap_err();
        let SourceFault::Missing { cause: MissingCause::Hidden { line, span }, .. } = fault("key.pem") else {
            panic!("it is hidden");
        };
        assert_eq!((line.as_str(), span.start.line), ("*.pem", 2));
        let SourceFault::Missing { path, cause: MissingCause::Absent { siblings, elsewhere } } =
            fault("app/mian.py")
        else {
            panic!("it is absent");
        };
        assert_eq!((path.as_str(), siblings), ("app/mian.py", vec!["app/main.py".to_owned()]));
        assert_eq!(elsewhere, None);
        assert!(matches!(fault("app/*.js"), SourceFault::Missing { .. }));
    }

    #[test]
    fn digests_change_with_what_is_taken_and_nothing_else() {
        let (directory, sources) = context(&[
            ("app/main.py", "one"),
            ("app/debug.log", "one"),
            ("app/test/case.py", "one"),
            (".dockerignore", "**/*.log\n"),
        ]);
        let write = |name: &str| std::fs::write(directory.path().join(name), "two").unwrap();
        let (whole, part) = (digest(&sources, "app", &[]), digest(&sources, "app", &["test"]));
        write("app/debug.log");
        assert_eq!(digest(&sources, "app", &[]), whole);
        write("app/test/case.py");
        assert_ne!(digest(&sources, "app", &[]), whole);
        assert_eq!(digest(&sources, "app", &["test"]), part);
        write("app/main.py");
        assert_ne!(digest(&sources, "app", &["test"]), part);
    }

    #[test]
    fn links_never_lead_out_of_the_context() {
        let (directory, sources) = context(&[("inside.txt", "")]);
        std::os::unix::fs::symlink("/etc", directory.path().join("out")).unwrap();
        assert!(matches!(sources.select(&[source("out/passwd", false)]), Err(SourceFault::Missing { .. })));
    }
}
