//! Where a build's files come from: the context behind its ignore file, or a stage's file system.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use coracle_build::{MissingCause, Selection, SourceFault, SourcePath};
use coracle_dockerfile::{Glob, IgnoreFile, Verdict, ignore_file_names};
use coracle_oci::Digest;
use coracle_report::Diagnostic;
use coracle_snapshot::rootfs::{
    DigestOptions, FileKind, KnownDigests, Metadata, TreeEntry, Visit, digest_tree, list_tree,
};
use coracle_snapshot::{RootFs, SnapshotError};

use crate::contexts::Place;
use crate::{During, Failure, Result};

/// Most bytes of an ignore file from elsewhere.
const LARGEST_IGNORE_FILE: u64 = 16 << 20;
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
    /// Whether it came from elsewhere: nothing around its directory means anything.
    foreign: bool,
    ignore: IgnoreFile,
    /// Digests of its files from earlier builds and this one, and where they are kept.
    known: KnownDigests,
    kept: Option<PathBuf>,
}

/// One file or directory that a source names.
#[derive(Clone, Debug)]
pub struct Matched {
    /// Relative to the root; empty is the root itself.
    pub path: PathBuf,
    /// What it is, a link at its end followed.
    pub metadata: Metadata,
    /// With `--parents`: `path` is the directory that is not repeated below the destination, and only these are
    /// taken from it.
    only: Option<Only>,
}

/// Some paths, relative to the root, and all directories above them.
#[derive(Clone, Debug, Default)]
struct Only {
    taken: BTreeSet<PathBuf>,
    above: BTreeSet<PathBuf>,
}

impl Only {
    fn visit(&self, path: &Path) -> Visit {
        if path.ancestors().any(|above| self.taken.contains(above)) {
            Visit::Take
        } else if self.above.contains(path) {
            Visit::Descend
        } else {
            Visit::Skip
        }
    }
}

impl Sources {
    /// Opens a context with the ignore file that goes with `dockerfile`.
    pub fn of(place: &Place, dockerfile: &Path) -> Result<Self> {
        Self::open(&place.directory, dockerfile, place.is_foreign())
    }

    /// Opens a directory of the user's.
    #[cfg(test)]
    pub fn context(path: &Path, dockerfile: &Path) -> Result<Self> {
        Self::open(path, dockerfile, false)
    }

    fn open(path: &Path, dockerfile: &Path, foreign: bool) -> Result<Self> {
        let root = RootFs::open_directory(path).map_err(|error| {
            let message = format!("cannot read the build context {}: {error}", path.display());
            Failure::user(Diagnostic::error("build-context", message))
        })?;
        let ignore = ignore_file(&root, path, dockerfile, foreign)?.unwrap_or_default();
        let context =
            Context { path: path.to_owned(), foreign, ignore, known: KnownDigests::default(), kept: None };
        Ok(Self { root, ignore: Some(context) })
    }

    /// Takes the digests of a context's files from a file, and keeps there those that are made.
    pub fn remember(mut self, kept: PathBuf) -> Self {
        if let Some(context) = &mut self.ignore {
            context.known = KnownDigests::load(&kept);
            context.kept = Some(kept);
        }
        self
    }

    /// Keeps the digests of files that were made. They only save work: that they cannot be kept is no failure.
    pub fn keep(&self) {
        if let Some(Context { known, kept: Some(kept), .. }) = &self.ignore {
            let _ = known.save(kept);
        }
    }

    /// Takes a stage's file system, or an empty one.
    pub fn tree(root: RootFs) -> Self {
        Self { root, ignore: None }
    }

    /// Returns the owner of what is copied when none is asked for: root for files of the context, whose owners are the
    /// host's; those of a stage keep theirs.
    pub fn owner(&self) -> Option<(u32, u32)> {
        self.ignore.is_some().then_some((0, 0))
    }

    /// Returns the ignore file, if there is one.
    pub fn ignore_file(&self) -> Option<PathBuf> {
        let rules = self.ignore.as_ref()?.ignore.rules();
        rules.first().map(|rule| rule.span.file().to_owned())
    }

    /// Returns what the ignore file says of a path.
    pub fn verdict(&self, path: &Path) -> Verdict<'_> {
        let context = self.ignore.as_ref();
        context.map_or(Verdict::Shown, |context| context.ignore.verdict(&path.to_string_lossy()))
    }

    /// Returns whether a path is visible, or only something below it.
    pub fn visit(&self, path: &Path, is_directory: bool) -> Visit {
        let Some(context) = &self.ignore else { return Visit::Take };
        if context.ignore.rules().is_empty() || path.as_os_str().is_empty() {
            return Visit::Take;
        }
        let text = path.to_string_lossy();
        match context.ignore.verdict(&text) {
            Verdict::Shown => Visit::Take,
            Verdict::Hidden(_) if is_directory && context.ignore.may_show_below(&text) => Visit::Descend,
            Verdict::Hidden(_) => Visit::Skip,
        }
    }

    /// Returns whether a path below what a source names is taken.
    pub fn takes(&self, source: &Matched, exclude: &Exclude, path: &Path, is_directory: bool) -> Visit {
        let only = source.only.as_ref().map_or(Visit::Take, |only| only.visit(path));
        if only == Visit::Skip {
            return Visit::Skip;
        }
        only.and(self.visit(path, is_directory)).and(exclude.visit(path, &source.path, is_directory))
    }

    /// Returns what the sources name, in order; a pattern's matches by name. A pattern may match nothing.
    pub fn select(&self, paths: &[SourcePath]) -> std::result::Result<Vec<Matched>, SourceFault> {
        let mut all = Vec::new();
        for source in paths {
            all.append(&mut self.matches(source)?);
        }
        Ok(all)
    }

    /// Returns what one source names.
    pub fn matches(&self, source: &SourcePath) -> std::result::Result<Vec<Matched>, SourceFault> {
        let parts: Vec<&str> = source.path.split('/').filter(|part| !part.is_empty()).collect();
        let mut found = Vec::new();
        if source.pivot.is_some() && !source.literal && source.path.contains("**") {
            self.search(source, &mut found)?;
        } else {
            self.expand(PathBuf::new(), &parts, source, &mut found)?;
        }
        if found.is_empty() && (source.literal || !parts.iter().any(|part| Glob::is_pattern(part))) {
            return Err(self.missing(source));
        }
        let Some(pivot) = &source.pivot else { return Ok(found) };
        self.kept_below(pivot, found)
    }

    /// Puts what is taken with the directories above it into one for each directory that is not repeated.
    fn kept_below(&self, pivot: &str, found: Vec<Matched>) -> std::result::Result<Vec<Matched>, SourceFault> {
        let depth = pivot.split('/').filter(|part| !part.is_empty()).count();
        let mut groups: Vec<(PathBuf, Only)> = Vec::new();
        for matched in found {
            let start: PathBuf = matched.path.components().take(depth).collect();
            if groups.last().is_none_or(|(last, _)| *last != start) {
                groups.push((start.clone(), Only::default()));
            }
            let (_, only) = groups.last_mut().expect("one was pushed");
            let above = matched.path.ancestors().skip(1).filter(|above| above.starts_with(&start));
            only.above.extend(above.map(Path::to_owned));
            only.taken.insert(matched.path);
        }
        let mut all = Vec::new();
        for (path, only) in groups {
            let Some(metadata) = self.root.stat(&path).map_err(other)? else { continue };
            all.push(Matched { path, metadata, only: Some(only) });
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
                found.push(Matched { path: at, metadata, only: None });
            }
            return Ok(());
        };
        if source.literal || !Glob::is_pattern(part) {
            return self.expand(at.join(part), rest, source, found);
        }
        let glob = Glob::source(part).map_err(|error| bad_pattern(source, &error))?;
        let names = match self.root.list(&at) {
            Ok(names) => names,
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(other(error)),
        };
        for name in names.iter().filter(|name| glob.matches(&name.to_string_lossy())) {
            self.expand(at.join(name), rest, source, found)?;
        }
        Ok(())
    }

    /// Matches a pattern that crosses directories against everything.
    fn search(&self, source: &SourcePath, found: &mut Vec<Matched>) -> std::result::Result<(), SourceFault> {
        let glob = Glob::ignore(&source.path).map_err(|error| bad_pattern(source, &error))?;
        for entry in self.root.walk(Path::new("")).map_err(other)? {
            let is_directory = entry.metadata.kind == FileKind::Directory;
            let covered = found.last().is_some_and(|last| entry.path.starts_with(&last.path));
            if !covered
                && glob.matches(&entry.path.to_string_lossy())
                && self.visit(&entry.path, is_directory) != Visit::Skip
            {
                found.push(Matched { path: entry.path, metadata: entry.metadata, only: None });
            }
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
        let elsewhere = self.ignore.as_ref().filter(|context| !context.foreign).and_then(|context| {
            let above = context.path.ancestors().skip(1).take(3);
            above.map(|parent| parent.join(&path)).find(|candidate| candidate.exists())
        });
        SourceFault::Missing { path, cause: MissingCause::Absent { siblings, elsewhere } }
    }

    /// Returns the digest of what a selection takes.
    pub fn digest(&self, selection: &Selection) -> std::result::Result<Digest, SourceFault> {
        let matched = self.select(&selection.paths)?;
        let exclude = Exclude::parse(&selection.exclude)?;
        let options = DigestOptions {
            owners: self.owner().is_none(),
            known: self.ignore.as_ref().map(|context| &context.known),
            ..DigestOptions::default()
        };
        let mut digests = Vec::new();
        for source in &matched {
            // A file keeps its name where it is copied to; of a directory only the content is copied. No name has `/`.
            if source.metadata.kind != FileKind::Directory {
                digests.extend(source.path.file_name().unwrap_or_default().as_encoded_bytes());
            }
            let filter = |path: &Path, is_directory: bool| self.takes(source, &exclude, path, is_directory);
            let digest = digest_tree(&self.root, &[&root_path(&source.path)], Some(&filter), options);
            digests.extend(format!("/{}/", digest.map_err(other)?).into_bytes());
        }
        Ok(Digest::of(digests))
    }

    /// Returns what a selection takes, each file with the digest of its content; paths are relative to the root.
    pub fn list(&self, selection: &Selection) -> std::result::Result<Vec<TreeEntry>, SourceFault> {
        let matched = self.select(&selection.paths)?;
        let exclude = Exclude::parse(&selection.exclude)?;
        let known = self.ignore.as_ref().map(|context| &context.known);
        let mut all = Vec::new();
        for source in &matched {
            let filter = |path: &Path, is_directory: bool| self.takes(source, &exclude, path, is_directory);
            let listed =
                list_tree(&self.root, &root_path(&source.path), Some(&filter), known).map_err(other)?;
            all.extend(
                listed.into_iter().map(|entry| TreeEntry { path: source.path.join(&entry.path), ..entry }),
            );
        }
        Ok(all)
    }
}

/// Returns the ignore file of a context that goes with `dockerfile`; `None` when there is none.
pub(crate) fn ignore_of(place: &Place, dockerfile: &Path) -> Result<Option<IgnoreFile>> {
    let root = RootFs::open_directory(&place.directory).during("opening the build context")?;
    ignore_file(&root, &place.directory, dockerfile, place.is_foreign())
}

fn ignore_file(root: &RootFs, path: &Path, dockerfile: &Path, foreign: bool) -> Result<Option<IgnoreFile>> {
    for name in ignore_file_names(dockerfile, path) {
        match read_ignore_file(root, path, &name, foreign) {
            Ok(text) => return Ok(Some(IgnoreFile::parse(&name, &text)?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                let message = format!("{} is not UTF-8", name.display());
                return Err(Failure::user(Diagnostic::error("bad-pattern", message)));
            }
            Err(error) => return Err(Failure::ours(format_args!("reading {}", name.display()), &error)),
        }
    }
    Ok(None)
}

/// Reads an ignore file; a link in a context from elsewhere leads nowhere outside of it.
fn read_ignore_file(root: &RootFs, context: &Path, name: &Path, foreign: bool) -> std::io::Result<String> {
    let not_there = || std::io::Error::from(std::io::ErrorKind::NotFound);
    if !foreign {
        return std::fs::read_to_string(name);
    }
    let inside = name.strip_prefix(context).map_err(|_| not_there())?;
    let bytes = root
        .read(inside, LARGEST_IGNORE_FILE)
        .map_err(|error| if error.is_not_found() { not_there() } else { std::io::Error::other(error) })?;
    String::from_utf8(bytes).map_err(|_| std::io::ErrorKind::InvalidData.into())
}

/// Returns a path relative to the root as one that can be opened.
pub fn root_path(path: &Path) -> Cow<'_, Path> {
    if path.as_os_str().is_empty() { Cow::Borrowed(Path::new(".")) } else { Cow::Borrowed(path) }
}

fn bad_pattern(source: &SourcePath, error: &coracle_dockerfile::GlobError) -> SourceFault {
    SourceFault::Other(Diagnostic::error("bad-pattern", format!("`{}`: {error}", source.path)))
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
        let Ok(path) = path.strip_prefix(source) else { return Visit::Take };
        if self.0.rules().is_empty() || path.as_os_str().is_empty() {
            return Visit::Take;
        }
        let text = path.to_string_lossy();
        if !self.0.verdict(&text).is_hidden() {
            Visit::Take
        } else if is_directory && self.0.may_show_below(&text) {
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

fn other(error: SnapshotError) -> SourceFault {
    let failure =
        Result::<(), _>::Err(error).during("reading the files of a step").expect_err("it is an error");
    SourceFault::Other(failure.diagnostics.into_iter().next().expect("a failure says why"))
}

#[cfg(test)]
mod stability;

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
        SourcePath { path: path.to_owned(), literal, trailing_slash: false, pivot: None }
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
        // As with `COPY package.json yarn.lock* ./`.
        assert!(sources.select(&[source("app/*.js", false)]).unwrap().is_empty());
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
    fn digests_are_those_of_another_checkout() {
        use std::os::unix::fs::PermissionsExt as _;
        let files = [("app/main.py", "one"), ("app/run.sh", "two"), ("app/deep/x", "three")];
        let (here, first) = context(&files);
        let (there, second) = context(&[files[2], files[1], files[0]]);
        let whole = digest(&first, "app", &[]);
        assert_eq!(digest(&second, "app", &[]), whole);
        // Another time of change.
        let early = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
        for path in ["app/main.py", "app/run.sh"] {
            std::fs::File::open(there.path().join(path)).unwrap().set_modified(early).unwrap();
        }
        assert_eq!(digest(&second, "app", &[]), whole);
        // Moved away and back.
        for (from, to) in [("app", "moved"), ("moved", "app")] {
            std::fs::rename(here.path().join(from), here.path().join(to)).unwrap();
        }
        assert_eq!(digest(&first, "app", &[]), whole);
        // Another name: what a directory is called does not come into the image, what a file is called does.
        std::fs::rename(here.path().join("app"), here.path().join("renamed")).unwrap();
        assert_eq!(digest(&first, "renamed", &[]), whole);
        let file = digest(&first, "renamed/main.py", &[]);
        std::fs::rename(here.path().join("renamed/main.py"), here.path().join("renamed/x.py")).unwrap();
        assert_ne!(digest(&first, "renamed/x.py", &[]), file);
        assert_ne!(digest(&first, "renamed", &[]), whole);
        // A mode that will be in the image counts.
        let script = there.path().join("app/run.sh");
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_ne!(digest(&second, "app", &[]), whole);
    }

    #[test]
    fn lists_name_every_file_with_what_it_holds() {
        let (_directory, sources) =
            context(&[("app/a", "1"), ("app/b", "1"), ("app/x.log", ""), (".dockerignore", "**/*.log\n")]);
        let listed = sources.list(&Selection { paths: vec![source("app", true)], exclude: vec![] }).unwrap();
        let listed: Vec<_> = listed.into_iter().map(super::super::memory::entry).collect();
        let names: Vec<&str> = listed.iter().map(|entry| entry.path.trim_end_matches('/')).collect();
        assert_eq!(names, ["app", "app/a", "app/b"]);
        assert_eq!(listed[1].content, listed[2].content);
        assert_eq!((listed[0].kind, listed[1].kind), ('d', 'f'));
    }

    #[test]
    fn links_never_lead_out_of_the_context() {
        let (directory, sources) = context(&[("inside.txt", "")]);
        std::os::unix::fs::symlink("/etc", directory.path().join("out")).unwrap();
        assert!(matches!(sources.select(&[source("out/passwd", false)]), Err(SourceFault::Missing { .. })));
    }
}
