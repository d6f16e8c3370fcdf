//! The disk as the reader of compose files sees it.

use std::io;
use std::io::Read as _;
use std::path::Path;

use coracle_composefile::Loader;

/// A compose file larger than this is a mistake, not a project.
const LIMIT: u64 = 16 << 20;

/// Reads from the disk.
pub struct DiskLoader;

impl Loader for DiskLoader {
    fn read(&self, path: &Path) -> io::Result<String> {
        let file = std::fs::File::open(path)?;
        if file.metadata()?.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        let mut text = String::new();
        file.take(LIMIT + 1).read_to_string(&mut text)?;
        if text.len() as u64 > LIMIT {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 16 MiB"));
        }
        Ok(text)
    }

    fn exists(&self, path: &Path) -> bool {
        path.is_file()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let entries = std::fs::read_dir(path)?;
        Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
    }
}
