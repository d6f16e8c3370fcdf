//! The files of a project on the disk, as rules see them.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use coracle_check::{FileKind, Files};
use rustix::fs::OFlags;

use super::git::Repository;

/// The largest file that rules are given, bytes.
pub(super) const LIMIT: u64 = 1 << 20;
/// The most names of one directory.
const NAMES: usize = 20_000;

/// Reads from the disk. Texts are read once. What git knows is read when a rule first asks, and only below the directory
/// that this was made for.
#[derive(Default)]
pub struct DiskFiles {
    repository_of: Option<PathBuf>,
    repository: OnceCell<Option<Repository>>,
    texts: RefCell<BTreeMap<PathBuf, Option<String>>>,
}

impl DiskFiles {
    /// Returns the files of a project in `directory`.
    pub fn of_project(directory: &Path) -> Self {
        Self { repository_of: Some(directory.to_owned()), ..Self::default() }
    }

    /// Takes note of a text, which is not read from the disk then.
    pub fn with_text(self, path: &Path, text: String) -> Self {
        self.texts.borrow_mut().insert(path.to_owned(), Some(text));
        self
    }

    fn repository(&self) -> Option<&Repository> {
        let start = self.repository_of.as_deref()?;
        self.repository.get_or_init(|| Repository::discover(start)).as_ref()
    }
}

/// Reads a regular file that is UTF-8 and not too large. A pipe or device is refused without waiting for it.
fn read(path: &Path) -> Option<String> {
    let flags = (OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY).bits();
    let file = File::options().read(true).custom_flags(flags.cast_signed()).open(path).ok()?;
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() || metadata.len() > LIMIT {
        return None;
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize + 1);
    file.take(LIMIT + 1).read_to_end(&mut bytes).ok()?;
    if bytes.len() as u64 > LIMIT { None } else { String::from_utf8(bytes).ok() }
}

impl Files for DiskFiles {
    fn text(&self, path: &Path) -> Option<String> {
        if let Some(text) = self.texts.borrow().get(path) {
            return text.clone();
        }
        let text = read(path);
        self.texts.borrow_mut().insert(path.to_owned(), text.clone());
        text
    }

    fn kind(&self, path: &Path) -> Option<FileKind> {
        let kind = fs::metadata(path).ok()?.file_type();
        Some(if kind.is_file() {
            FileKind::File
        } else if kind.is_dir() {
            FileKind::Directory
        } else {
            FileKind::Other
        })
    }

    fn list(&self, directory: &Path) -> Vec<String> {
        let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
        let names = entries.take(NAMES).filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    fn mode(&self, path: &Path) -> Option<(u32, u64)> {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.mode() & 0o7777, metadata.size()))
    }

    fn tracked(&self, path: &Path) -> Option<bool> {
        self.repository()?.tracks(path)
    }

    fn ignored(&self, path: &Path) -> Option<bool> {
        self.repository()?.ignores(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sensible_files_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("text"), "é\n").unwrap();
        fs::write(at("binary"), [0xff, 0xfe]).unwrap();
        fs::write(at("large"), vec![b'a'; LIMIT as usize + 1]).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            at("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        std::os::unix::fs::symlink("/dev/zero", at("endless")).unwrap();
        let files = DiskFiles::default();
        assert_eq!(files.text(&at("text")).as_deref(), Some("é\n"));
        for name in ["binary", "large", "pipe", "endless", "missing", "."] {
            assert_eq!(files.text(&at(name)), None, "{name}");
        }
        assert_eq!(files.kind(&at("pipe")), Some(FileKind::Other));
        assert_eq!(files.kind(&at("missing")), None);
        assert!(files.list(directory.path()).contains(&"pipe".to_owned()));
        assert_eq!(files.tracked(&at("text")), None, "no repository was asked for");
    }
}
