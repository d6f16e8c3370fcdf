//! Advisory locks on files (`flock`): the kernel frees them when their holder ends, however it ends.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::error::{Result, StoreError};

/// A lock that is held until it is dropped. Its file stays, and says who held it alone last.
#[derive(Debug)]
pub struct FileLock {
    file: File,
    path: PathBuf,
}

impl FileLock {
    /// Waits until nobody holds the lock alone, then holds it with others.
    pub fn shared(path: &Path) -> Result<Self> {
        Self::acquire(path, FlockOperation::LockShared)?.ok_or_else(|| busy(path))
    }

    /// Waits until nobody holds the lock, then holds it alone.
    pub fn exclusive(path: &Path) -> Result<Self> {
        let mut lock = Self::acquire(path, FlockOperation::LockExclusive)?.ok_or_else(|| busy(path))?;
        lock.sign()?;
        Ok(lock)
    }

    /// Holds the lock alone if nobody holds it now.
    pub fn try_exclusive(path: &Path) -> Result<Option<Self>> {
        let Some(mut lock) = Self::acquire(path, FlockOperation::NonBlockingLockExclusive)? else {
            return Ok(None);
        };
        lock.sign()?;
        Ok(Some(lock))
    }

    /// Returns the process that holds the lock alone, by what it wrote into the file.
    ///
    /// For people only: the lock itself decides, and this may be out of date.
    pub fn holder(path: &Path) -> Option<u32> {
        let mut text = String::new();
        File::open(path).ok()?.take(32).read_to_string(&mut text).ok()?;
        text.trim().parse().ok()
    }

    /// Returns whether nobody holds the lock; a missing file is a free lock.
    pub fn is_free(path: &Path) -> Result<bool> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(true),
            Err(error) => return Err(StoreError::io("open", path, error)),
        };
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| StoreError::io("lock", path, error))
    }

    /// Returns the lock's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the lock up and removes its file. Whoever waits for it makes a new file.
    pub fn remove(self) -> Result<()> {
        match std::fs::remove_file(&self.path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(StoreError::io("remove", &self.path, error)),
        }
    }

    fn acquire(path: &Path, operation: FlockOperation) -> Result<Option<Self>> {
        loop {
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent).map_err(|error| StoreError::io("make", parent, error))?;
            }
            let file = match File::options().read(true).write(true).create(true).truncate(false).open(path) {
                Ok(file) => file,
                // The holder removed the directory with all that is in it between these two lines.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(StoreError::io("open", path, error)),
            };
            if !flock(&file, operation).map_err(|error| StoreError::io("lock", path, error))? {
                return Ok(None);
            }
            // Closes the race with a holder that removed the file while we waited: we would hold a lock that nobody
            // else can see.
            let ours = file.metadata().map_err(|error| StoreError::io("read", path, error))?;
            match std::fs::metadata(path) {
                Ok(there) if (there.dev(), there.ino()) == (ours.dev(), ours.ino()) => {
                    return Ok(Some(Self { file, path: path.to_owned() }));
                }
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(StoreError::io("read", path, error)),
            }
        }
    }

    /// Writes our process id, for people who wonder whom they wait for.
    fn sign(&mut self) -> Result<()> {
        let signed = self
            .file
            .rewind()
            .and_then(|()| self.file.write_all(format!("{:<10}\n", std::process::id()).as_bytes()));
        signed.map_err(|error| StoreError::io("write", &self.path, error))
    }
}

fn busy(path: &Path) -> StoreError {
    StoreError::Busy { path: path.to_owned(), holder: FileLock::holder(path) }
}

/// Returns whether the lock was got.
fn flock(file: &File, operation: FlockOperation) -> std::io::Result<bool> {
    loop {
        match rustix::fs::flock(file, operation) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excludes_and_names_the_holder() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/lock");
        assert!(FileLock::is_free(&path).unwrap());
        let lock = FileLock::exclusive(&path).unwrap();
        assert!(FileLock::try_exclusive(&path).unwrap().is_none());
        assert!(!FileLock::is_free(&path).unwrap());
        assert_eq!(FileLock::holder(&path), Some(std::process::id()));
        drop(lock);
        let first = FileLock::shared(&path).unwrap();
        let second = FileLock::shared(&path).unwrap();
        drop(first);
        assert!(FileLock::try_exclusive(&path).unwrap().is_none());
        drop(second);
        FileLock::try_exclusive(&path).unwrap().unwrap().remove().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn removing_a_lock_lets_no_two_in() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let inside = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let lock = FileLock::exclusive(&path).unwrap();
                        assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                        inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                        lock.remove().unwrap();
                    }
                });
            }
        });
    }
}
