//! Directories that outlive no command, below the data root.
//!
//! Each has a lock beside it that its maker holds; the kernel frees it however the maker ends, and the next command
//! removes what is free.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use coracle_store::{FileLock, Layout};

use crate::{During, Result, process};

/// A directory that is removed when this is dropped.
#[derive(Debug)]
pub struct Throwaway {
    path: PathBuf,
    lock: Option<FileLock>,
}

impl Throwaway {
    /// Makes an empty directory that only root may look into.
    pub fn new(layout: &Layout) -> Result<Self> {
        let during = "making a directory for the build's files";
        let name = process::random_hex().during(during)?;
        let path = layout.temporary().join(&name[..24]);
        // The lock comes first, so that nobody takes the directory for a dead command's.
        let lock = FileLock::exclusive(&path.with_extension("lock")).during(during)?;
        let throwaway = Self { path, lock: Some(lock) };
        std::fs::DirBuilder::new().mode(0o700).create(&throwaway.path).during(during)?;
        Ok(throwaway)
    }

    /// Returns the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Throwaway {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
        if let Some(lock) = self.lock.take() {
            let _ = lock.remove();
        }
    }
}

/// Removes directories whose makers are gone.
pub fn reclaim(layout: &Layout) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(layout.temporary()) else { return Ok(()) };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "lock") {
            continue;
        }
        let Some(lock) = FileLock::try_exclusive(&path).during("looking for dead commands' files")? else {
            continue;
        };
        let directory = path.with_extension("");
        match std::fs::remove_dir_all(&directory) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).during(format_args!("removing {}", directory.display())),
        }
        lock.remove().during("removing a dead command's lock")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_holds_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path(), root.path());
        let held = Throwaway::new(&layout).unwrap();
        // What a killed command leaves: the directory, and a lock that nobody holds.
        let dead = layout.temporary().join("dead");
        std::fs::create_dir_all(dead.join("deep")).unwrap();
        std::fs::write(layout.temporary().join("dead.lock"), "1").unwrap();
        reclaim(&layout).unwrap();
        assert!(held.path().is_dir() && !dead.exists());
        drop(held);
        assert_eq!(std::fs::read_dir(layout.temporary()).unwrap().count(), 0);
    }
}
