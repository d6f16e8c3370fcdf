//! What git knows of a project's files: which it tracks, by its index, and which it ignores.
//!
//! Reads the index itself (gitformat-index(5), versions 2 to 4) instead of calling git: a repository's configuration may
//! name programs that git runs, and a project under check is not trusted.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// The largest index that is read, bytes: some millions of files.
const INDEX_LIMIT: u64 = 512 << 20;
/// The largest file of patterns that is read, bytes.
const PATTERNS_LIMIT: u64 = 1 << 20;

/// A working tree.
pub(super) struct Repository {
    root: PathBuf,
    /// Paths from the root on; `None` when the index cannot be read.
    tracked: Option<BTreeSet<PathBuf>>,
    exclude: Gitignore,
    /// The patterns of directories, by directory.
    patterns: Mutex<std::collections::BTreeMap<PathBuf, Gitignore>>,
}

impl Repository {
    /// Finds the working tree that `start` lies in.
    pub(super) fn discover(start: &Path) -> Option<Self> {
        let start = start.canonicalize().ok()?;
        let (root, git) = start.ancestors().find_map(|directory| {
            let git = git_directory(&directory.join(".git"))?;
            Some((directory.to_owned(), git))
        })?;
        let common = match text(&git.join("commondir"), 4096) {
            Some(path) => git.join(path.trim()),
            None => git.clone(),
        };
        let config = text(&common.join("config"), PATTERNS_LIMIT).unwrap_or_default().to_ascii_lowercase();
        let hash = config
            .lines()
            .filter_map(|line| line.split_once('='))
            .any(|(key, value)| key.trim() == "objectformat" && value.trim() == "sha256");
        let tracked = read_index(&git.join("index"), if hash { 32 } else { 20 });
        let mut exclude = GitignoreBuilder::new(&root);
        add_patterns(&mut exclude, &common.join("info/exclude"));
        let exclude = exclude.build().unwrap_or_else(|_| Gitignore::empty());
        Some(Self { root, tracked, exclude, patterns: Mutex::default() })
    }

    /// Says whether the index has a file.
    pub(super) fn tracks(&self, path: &Path) -> Option<bool> {
        let inside = self.inside(path)?;
        Some(self.tracked.as_ref()?.contains(&inside))
    }

    /// Says whether a path is ignored: the patterns nearest to it decide, and below an ignored directory nothing can be
    /// taken in again.
    pub(super) fn ignores(&self, path: &Path) -> Option<bool> {
        let inside = self.inside(path)?;
        let mut whole = self.root.clone();
        let mut names = inside.components().peekable();
        while let Some(name) = names.next() {
            let parent = whole.clone();
            whole.push(name);
            let directory = names.peek().is_some() || whole.is_dir();
            if self.matches(&parent, &whole, directory) {
                return Some(true);
            }
        }
        Some(false)
    }

    fn matches(&self, parent: &Path, path: &Path, directory: bool) -> bool {
        let mut known = self.patterns.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for above in parent.ancestors().take_while(|above| above.starts_with(&self.root)) {
            let patterns = known.entry(above.to_owned()).or_insert_with(|| {
                let mut builder = GitignoreBuilder::new(above);
                add_patterns(&mut builder, &above.join(".gitignore"));
                builder.build().unwrap_or_else(|_| Gitignore::empty())
            });
            match patterns.matched(path, directory) {
                ignore::Match::None => {}
                found => return found.is_ignore(),
            }
        }
        self.exclude.matched(path, directory).is_ignore()
    }

    /// Returns a path from the root on. Links to its directory are followed, as the root is without links.
    fn inside(&self, path: &Path) -> Option<PathBuf> {
        if let Ok(inside) = path.strip_prefix(&self.root) {
            return Some(inside.to_owned());
        }
        let whole = path.parent()?.canonicalize().ok()?.join(path.file_name()?);
        whole.strip_prefix(&self.root).ok().map(Path::to_owned)
    }
}

/// Returns the directory that a `.git` stands for: itself, or the one that it names.
fn git_directory(path: &Path) -> Option<PathBuf> {
    if path.is_dir() {
        return path.join("HEAD").exists().then(|| path.to_owned());
    }
    let named = text(path, 4096)?;
    let directory = path.parent()?.join(named.strip_prefix("gitdir:")?.trim());
    directory.is_dir().then_some(directory)
}

fn text(path: &Path, limit: u64) -> Option<String> {
    String::from_utf8(bytes(path, limit)?).ok()
}

fn bytes(path: &Path, limit: u64) -> Option<Vec<u8>> {
    if !fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(limit + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= limit).then_some(bytes)
}

fn add_patterns(builder: &mut GitignoreBuilder, path: &Path) {
    for line in text(path, PATTERNS_LIMIT).unwrap_or_default().lines() {
        // A pattern that cannot be read is none, as for git.
        let _ = builder.add_line(None, line);
    }
}

/// Returns the paths of an index whose object names have `hash` bytes.
fn read_index(path: &Path, hash: usize) -> Option<BTreeSet<PathBuf>> {
    if !path.exists() {
        return Some(BTreeSet::new());
    }
    parse_index(&bytes(path, INDEX_LIMIT)?, hash)
}

fn parse_index(bytes: &[u8], hash: usize) -> Option<BTreeSet<PathBuf>> {
    let word = |at: usize| bytes.get(at..at + 4)?.first_chunk().map(|four| u32::from_be_bytes(*four));
    if bytes.get(..4)? != b"DIRC" {
        return None;
    }
    let version = word(4)?;
    if !(2..=4).contains(&version) {
        return None;
    }
    let count = word(8)?;
    let (mut at, mut previous, mut found) = (12, Vec::new(), BTreeSet::new());
    for _ in 0..count {
        let start = at;
        // Times, device, inode, mode, owner, size; the object's name; flags.
        at += 40 + hash;
        let flags = bytes.get(at..at + 2)?;
        at += if version >= 3 && flags[0] & 0x40 != 0 { 4 } else { 2 };
        let name = if version == 4 {
            let stripped = variable_width(bytes, &mut at)?;
            previous.truncate(previous.len().checked_sub(stripped)?);
            let end = at + bytes.get(at..)?.iter().position(|byte| *byte == 0)?;
            previous.extend_from_slice(&bytes[at..end]);
            at = end + 1;
            previous.clone()
        } else {
            let end = at + bytes.get(at..)?.iter().position(|byte| *byte == 0)?;
            let name = bytes[at..end].to_vec();
            // One to eight NULs make the length a multiple of eight.
            at = start + ((end - start) / 8 + 1) * 8;
            name
        };
        found.insert(PathBuf::from(OsStr::from_bytes(&name)));
    }
    // With an index that is split, the other half lies in another file.
    let mut rest = bytes.get(at..)?;
    while rest.len() > hash + 8 {
        if rest.starts_with(b"link") {
            return None;
        }
        let size = u32::from_be_bytes(*rest.get(4..8)?.first_chunk()?) as usize;
        rest = rest.get(8 + size..)?;
    }
    Some(found)
}

/// Reads git's variable width integer, the offset encoding of packs.
fn variable_width(bytes: &[u8], at: &mut usize) -> Option<usize> {
    let mut byte = *bytes.get(*at)?;
    *at += 1;
    let mut value = usize::from(byte & 0x7f);
    while byte & 0x80 != 0 {
        byte = *bytes.get(*at)?;
        *at += 1;
        value = value.checked_add(1)?.checked_mul(128)?.checked_add(usize::from(byte & 0x7f))?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn git(directory: &Path, words: &[&str]) -> bool {
        let mut command = Command::new("git");
        command.current_dir(directory).args(["-c", "user.name=a", "-c", "user.email=a@b"]).args(words);
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", directory);
        command.output().is_ok_and(|output| output.status.success())
    }

    fn written(directory: &Path, name: &str, text: &str) {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn every_version_of_the_index_is_read() {
        for (version, format) in [("2", "sha1"), ("3", "sha1"), ("4", "sha1"), ("4", "sha256")] {
            let directory = tempfile::tempdir().unwrap();
            let root = directory.path();
            if !git(root, &["init", "-q", &format!("--object-format={format}")]) {
                assert!(std::env::var_os("CI").is_none(), "git is missing");
                eprintln!("SKIPPED: there is no git that knows {format}");
                return;
            }
            for name in [".env", "a/b/c.txt", "a/b/cc.txt", "a/d", "long/".repeat(30).as_str()] {
                written(root, &format!("{name}x"), "1");
            }
            assert!(git(root, &["add", "-A"]) && git(root, &["update-index", "--index-version", version]));
            written(root, "later", "1");
            written(root, ".gitignore", "*.log\n!keep.log\nbuild/\n/top\n");
            written(root, "sub/.gitignore", "!wanted.log\nsecret\n");
            written(root, ".git/info/exclude", "mine\n");
            written(root, "build/keep.log", "1");
            let repository = Repository::discover(&root.join("a")).unwrap();
            for (name, tracked) in [(".envx", true), ("a/b/cc.txtx", true), ("later", false), ("none", false)]
            {
                assert_eq!(repository.tracks(&root.join(name)), Some(tracked), "{version} {format} {name}");
            }
            let asked = Command::new("git").current_dir(root).args(["ls-files"]).output().unwrap();
            assert_eq!(
                repository.tracked.as_ref().unwrap().len(),
                String::from_utf8(asked.stdout).unwrap().lines().count()
            );
            for name in [
                "x.log",
                "keep.log",
                "build/keep.log",
                "top",
                "sub/top",
                "sub/wanted.log",
                "sub/secret",
                "mine",
                "a",
            ] {
                let says = git(root, &["check-ignore", "-q", "--no-index", name]);
                assert_eq!(repository.ignores(&root.join(name)), Some(says), "{name}");
            }
            assert_eq!(repository.tracks(Path::new("/etc/passwd")), None);
        }
    }

    #[test]
    fn a_work_tree_elsewhere_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("main");
        written(&root, "file", "1");
        if !git(&root, &["init", "-q"]) {
            assert!(std::env::var_os("CI").is_none(), "git is missing");
            eprintln!("SKIPPED: there is no git");
            return;
        }
        assert!(git(&root, &["add", "-A"]) && git(&root, &["commit", "-qm", "x"]));
        assert!(git(&root, &["worktree", "add", "-q", "../other"]));
        let other = directory.path().join("other");
        written(&root, ".git/info/exclude", "mine\n");
        let repository = Repository::discover(&other).unwrap();
        assert_eq!(repository.tracks(&other.join("file")), Some(true));
        assert_eq!(repository.ignores(&other.join("mine")), Some(true));
    }

    #[test]
    fn what_is_no_index_is_unknown() {
        for bytes in [
            &b""[..],
            b"DIRC",
            b"DIRC\0\0\0\x09\0\0\0\0",
            b"DIRC\0\0\0\x02\xff\xff\xff\xff",
            b"no index at all",
        ] {
            assert_eq!(parse_index(bytes, 20), None, "{bytes:?}");
        }
        // A name that is cut off by more than there is.
        let mut bytes = b"DIRC\0\0\0\x04\0\0\0\x01".to_vec();
        bytes.extend([0; 62]);
        bytes.extend([0x05, b'a', 0]);
        assert_eq!(parse_index(&bytes, 20), None);
        assert!(Repository::discover(Path::new("/proc")).is_none());
    }
}
