//! The door to files: everything this crate reads comes through a caller's [`Loader`].

use std::io;
use std::path::Path;

/// Gives access to the files of a project.
pub trait Loader {
    /// Returns the text of `path`.
    fn read(&self, path: &Path) -> io::Result<String>;

    /// Says whether `path` exists as a file.
    fn exists(&self, path: &Path) -> bool;

    /// Returns the names of the entries of the directory `path`, in any order.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
}
