//! `.dockerignore`: which paths of a build context are hidden, and by which line.
//!
//! Semantics of Docker's matcher: patterns are relative to the context's root, a leading `/` means nothing, a
//! pattern that matches a directory hides what is below it, `!` shows again, the last match wins. A pattern that
//! begins with `..` hides nothing. A comment is a line whose very first character is `#`; `\#` is a name.

use std::path::{Path, PathBuf};

use coracle_report::{Diagnostic, Position, Span};

use crate::{Glob, Source};

/// The name of the file that holds for every Dockerfile of a context.
pub const DOCKERIGNORE: &str = ".dockerignore";

/// One line of a `.dockerignore`.
#[derive(Clone, Debug)]
pub struct IgnoreRule {
    /// The pattern, cleaned: no leading or trailing `/`, no `.` component.
    pub pattern: String,
    /// Whether the line began with `!`.
    pub shows: bool,
    /// Where it stands.
    pub span: Span,
    /// The line as written.
    pub line: String,
    glob: Glob,
    /// The pattern's parts between `/`, for [`IgnoreFile::may_show_below`]; `None` where `**` stands.
    steps: Vec<Option<Glob>>,
}

/// A parsed `.dockerignore`.
#[derive(Clone, Debug, Default)]
pub struct IgnoreFile {
    rules: Vec<IgnoreRule>,
}

/// What an ignore file says about a path.
#[derive(Clone, Debug)]
pub enum Verdict<'f> {
    /// The path belongs to the context.
    Shown,
    /// The path is hidden by this line.
    Hidden(&'f IgnoreRule),
}

impl Verdict<'_> {
    /// Says whether the path is hidden.
    pub fn is_hidden(&self) -> bool {
        matches!(self, Self::Hidden(_))
    }
}

/// Returns the names under which the ignore file of `dockerfile` is looked for, in order: beside the Dockerfile
/// with its name before `.dockerignore`, then in the context's root.
pub fn ignore_file_names(dockerfile: &Path, context: &Path) -> [PathBuf; 2] {
    let mut own = dockerfile.as_os_str().to_owned();
    own.push(DOCKERIGNORE);
    [PathBuf::from(own), context.join(DOCKERIGNORE)]
}

impl IgnoreFile {
    /// Parses the text of an ignore file. Comments are lines whose very first character is `#`.
    pub fn parse(file: &Path, text: &str) -> Result<Self, Diagnostic> {
        let source = Source::new(file, text);
        let mut rules = Vec::new();
        for (index, line) in source.lines().iter().enumerate() {
            let trimmed = line.trim();
            if line.starts_with('#') || trimmed.is_empty() {
                continue;
            }
            let number = index as u32 + 1;
            let end = Position::new(number, line.trim_end().chars().count() as u32 + 1);
            let start = Position::new(number, (line.len() - line.trim_start().len()) as u32 + 1);
            let span = source.span(start, end);
            let (shows, pattern) = match trimmed.strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, trimmed),
            };
            if pattern.is_empty() {
                return Err(source.error("bad-pattern", "`!` is followed by no pattern", &span));
            }
            let pattern = clean(pattern);
            if pattern.is_empty() {
                // `.` and `/` mean the root itself, which Docker leaves alone.
                continue;
            }
            let glob = Glob::ignore(&pattern)
                .map_err(|error| source.error("bad-pattern", error.to_string(), &span))?;
            let steps = if shows { steps(&pattern) } else { Vec::new() };
            rules.push(IgnoreRule { pattern, shows, span, line: trimmed.to_owned(), glob, steps });
        }
        Ok(Self { rules })
    }

    /// Returns the rules in order.
    pub fn rules(&self) -> &[IgnoreRule] {
        &self.rules
    }

    /// Returns what the file says about `path`, relative to the context's root with `/` between its parts.
    ///
    /// The path is followed from its first part down, as the walk of a context does: what a line said of a directory
    /// holds for all below. A `!` line is heard only while the path is hidden; so `!d` after `d/x` shows nothing,
    /// since `d` was not hidden when it was asked about.
    pub fn verdict(&self, path: &str) -> Verdict<'_> {
        let path = path.trim_matches('/');
        let mut matched = vec![false; self.rules.len()];
        let mut hidden = None;
        let ends = path.char_indices().filter(|(_, character)| *character == '/').map(|(offset, _)| offset);
        for end in ends.chain([path.len()]) {
            hidden = None;
            for (rule, matched) in self.rules.iter().zip(&mut matched) {
                if !*matched {
                    if rule.shows != hidden.is_some() {
                        continue;
                    }
                    *matched = rule.glob.matches(&path[..end]);
                }
                if *matched {
                    hidden = (!rule.shows).then_some(rule);
                }
            }
        }
        hidden.map_or(Verdict::Shown, Verdict::Hidden)
    }

    /// Says whether anything below the hidden directory `path` may be shown again, so that a walk must enter it.
    pub fn may_show_below(&self, path: &str) -> bool {
        let path = path.trim_matches('/');
        self.rules.iter().any(|rule| rule.shows && rule.may_match_below(path))
    }
}

impl IgnoreRule {
    /// Says whether the pattern could match something below the directory. May err towards yes.
    fn may_match_below(&self, directory: &str) -> bool {
        let mut steps = self.steps.iter();
        for part in directory.split('/') {
            match steps.next() {
                // The pattern ended at a parent: it covers everything below. Or `**` crosses from here on.
                None | Some(None) => return true,
                Some(Some(glob)) if !glob.matches(part) => return false,
                Some(Some(_)) => {}
            }
        }
        true
    }
}

/// Cuts a pattern at its `/`, up to the first part that may cross one.
fn steps(pattern: &str) -> Vec<Option<Glob>> {
    let mut steps = Vec::new();
    for part in pattern.split('/') {
        // A negated class may match a `/`, and a class may hold one.
        let glob = if part.contains("**") || part.contains('[') { None } else { Glob::ignore(part).ok() };
        let crosses = glob.is_none();
        steps.push(glob);
        if crosses {
            break;
        }
    }
    steps
}

/// Removes empty and `.` parts, and `..` with what stands before it, as Go's `filepath.Clean` does: a relative
/// pattern keeps its leading `..`, an absolute one has none.
fn clean(pattern: &str) -> String {
    let absolute = pattern.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if absolute => {}
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> IgnoreFile {
        IgnoreFile::parse(Path::new(DOCKERIGNORE), text).unwrap()
    }

    #[test]
    fn verdicts() {
        let table = [
            ("node_modules", "node_modules", true),
            ("node_modules", "node_modules/a/b.js", true),
            ("node_modules", "web/node_modules", false),
            ("**/node_modules", "web/node_modules/x", true),
            ("/dist/", "dist/a", true),
            ("./dist", "dist/a", true),
            ("*.md\n!README.md", "CHANGES.md", true),
            ("*.md\n!README.md", "README.md", false),
            ("!README.md\n*.md", "README.md", true),
            ("*\n!src", "src/main.rs", false),
            ("*\n!src", "target/x", true),
            ("*\n!src\nsrc/secret", "src/secret/key", true),
            ("**\n!a/b", "a/b", false),
            ("#comment\n \na", "a", true),
            ("a/*/c", "a/b/c/d", true),
            ("a/../b", "b", true),
            (".", "a", false),
            ("temp?", "tempa", true),
            ("*/*.log", "a/b.log", true),
            ("*/*.log", "b.log", false),
            ("", "a", false),
            ("..\nb", "b", true),
            ("../b", "b", false),
            ("/../b", "b", true),
            ("a/../../b", "b", false),
            (" #x", "#x", true),
            ("\\#x", "#x", true),
            ("a b", "a b", true),
            ("! b\nb", "b", true),
            ("b\n!  b", "b", false),
            ("b\n!/b", "b", false),
            ("\u{feff}b", "b", true),
            ("b\r\nc\r\n", "c", true),
            ("d/\n!d/x/", "d/x/y", false),
            ("!!b\nx", "b", false),
            ("d/x\n!d", "d/x", true),
            ("d\n!d", "d/x", false),
            ("d\n!d/x\nd/x/y", "d/x/y", true),
            ("d\n!d/x\nd/x/y", "d/x/z", false),
            ("*/", "d", true),
            ("*/", "d/e", true),
            ("**/*.md\n!docs/**/*.md", "docs/a/b.md", false),
            ("**/*.md\n!docs/**/*.md", "x/b.md", true),
        ];
        for (text, path, hidden) in table {
            assert_eq!(parse(text).verdict(path).is_hidden(), hidden, "{text:?} {path}");
        }
    }

    #[test]
    fn names_the_line() {
        let file = parse("# head\nsrc\n!src/a\n");
        let Verdict::Hidden(rule) = file.verdict("src/b") else { panic!("hidden") };
        assert_eq!(rule.span.to_string(), ".dockerignore:2:1");
        assert_eq!(rule.line, "src");
    }

    #[test]
    fn knows_which_hidden_directories_to_enter() {
        let file = parse("*\n!src/deep/a\n!**/*.md\n");
        assert!(file.may_show_below("src"));
        assert!(file.may_show_below("other"));
        let file = parse("*\n!src/deep/a\n");
        assert!(file.may_show_below("src/deep"));
        assert!(!file.may_show_below("other"));
        assert!(!file.may_show_below("src/shallow"));
    }

    #[test]
    fn a_broken_pattern_has_a_place() {
        let error = IgnoreFile::parse(Path::new(DOCKERIGNORE), "a\n  [b\n").unwrap_err();
        assert_eq!(error.to_string(), ".dockerignore:2:3: `[b` is not a pattern: check its brackets");
        assert!(IgnoreFile::parse(Path::new(DOCKERIGNORE), "!").is_err());
    }

    #[test]
    fn looks_beside_the_dockerfile_first() {
        let names = ignore_file_names(Path::new("docker/api.Dockerfile"), Path::new("app"));
        assert_eq!(names[0], Path::new("docker/api.Dockerfile.dockerignore"));
        assert_eq!(names[1], Path::new("app/.dockerignore"));
    }
}
