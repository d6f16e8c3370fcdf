//! The files of a project as rules see them.

use std::path::{Path, PathBuf};

/// What a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A socket, a device, a pipe.
    Other,
}

/// Gives access to files, by absolute path. What cannot be read is `None`: rules say nothing of what they do not see.
pub trait Files {
    /// Returns the text of a file; `None` when it is missing, no UTF-8 or larger than 1 MiB.
    fn text(&self, path: &Path) -> Option<String>;

    /// Returns what a path is, links followed; `None` when there is nothing.
    fn kind(&self, path: &Path) -> Option<FileKind>;

    /// Returns the names in a directory, sorted; empty when it cannot be read.
    fn list(&self, directory: &Path) -> Vec<String>;

    /// Returns the mode and size of a file: permission bits, bytes.
    fn mode(&self, path: &Path) -> Option<(u32, u64)>;

    /// Says whether git tracks the file; `None` when it is in no repository.
    fn tracked(&self, path: &Path) -> Option<bool>;

    /// Says whether git ignores the path; `None` when it is in no repository.
    fn ignored(&self, path: &Path) -> Option<bool>;

    /// Says whether a path exists.
    fn exists(&self, path: &Path) -> bool {
        self.kind(path).is_some()
    }

    /// Says whether a path is a file.
    fn is_file(&self, path: &Path) -> bool {
        self.kind(path) == Some(FileKind::File)
    }

    /// Says whether a path is a directory.
    fn is_directory(&self, path: &Path) -> bool {
        self.kind(path) == Some(FileKind::Directory)
    }

    /// Returns the files below `directory`, sorted, at most `limit`; directories in `skip` (by name) are passed over.
    fn walk(&self, directory: &Path, skip: &[&str], limit: usize) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut open = vec![directory.to_owned()];
        while let Some(next) = open.pop() {
            let mut below = Vec::new();
            for name in self.list(&next) {
                let path = next.join(&name);
                match self.kind(&path) {
                    Some(FileKind::Directory) if !skip.contains(&name.as_str()) => below.push(path),
                    Some(FileKind::File) => found.push(path),
                    _ => {}
                }
                if found.len() >= limit {
                    found.sort();
                    return found;
                }
            }
            open.extend(below.into_iter().rev());
        }
        found.sort();
        found
    }
}
