//! The port of the scanner: files by path.

use std::io::{self, Read, Seek};

/// A regular file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileEntry {
    /// Path from the root, without a slash at its beginning.
    pub path: String,
    /// Length in bytes.
    pub size: u64,
    /// Whether anybody may execute it.
    pub executable: bool,
}

/// A file that can be read at any place.
pub trait Positioned: Read + Seek {}

impl<T: Read + Seek> Positioned for T {}

/// A tree of files. Links never lead out of it.
pub trait FileTree {
    /// Returns all regular files, sorted by path. Those whose names are not UTF-8 are left out.
    fn files(&self) -> io::Result<Vec<FileEntry>>;

    /// Returns a regular file's bytes; `None` when there is none, or it has more than `limit`.
    fn read(&self, path: &str, limit: u64) -> io::Result<Option<Vec<u8>>>;

    /// Opens a regular file.
    fn open(&self, path: &str) -> io::Result<Box<dyn Positioned + '_>>;
}
