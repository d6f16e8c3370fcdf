//! A file that is read while it is still being written.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// How far the file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Length {
    bytes: u64,
    whole: bool,
}

#[derive(Debug)]
struct Shared {
    length: Mutex<Length>,
    changed: Condvar,
    given_up: Arc<AtomicBool>,
}

/// The writer's side.
pub(super) struct Grown(Arc<Shared>);

/// The reader's side: waits at the end of what is there until more comes, or all is there.
pub(super) struct Growing {
    file: File,
    at: u64,
    shared: Arc<Shared>,
}

impl Growing {
    /// Returns both sides of a file that has `bytes` bytes now.
    pub fn new(file: File, bytes: u64) -> (Grown, Self) {
        let length = Mutex::new(Length { bytes, whole: false });
        let shared = Arc::new(Shared { length, changed: Condvar::new(), given_up: Arc::default() });
        (Grown(Arc::clone(&shared)), Self { file, at: 0, shared })
    }

    /// Returns a flag that is set when the rest will not come.
    pub fn given_up(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.shared.given_up)
    }
}

impl Grown {
    fn set(&self, length: Length) {
        *self.0.length.lock().unwrap_or_else(PoisonError::into_inner) = length;
        self.0.changed.notify_all();
    }

    /// Says that the file has so many bytes.
    pub fn to(&self, bytes: u64) {
        self.set(Length { bytes, whole: false });
    }

    /// Says that nothing more comes, and that what is there is right.
    pub fn whole(&self) {
        let bytes = self.0.length.lock().unwrap_or_else(PoisonError::into_inner).bytes;
        self.set(Length { bytes, whole: true });
    }

    /// Says that the rest will not come.
    pub fn give_up(&self) {
        self.0.given_up.store(true, Ordering::Relaxed);
        self.0.changed.notify_all();
    }
}

impl Read for Growing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut length = self.shared.length.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if self.shared.given_up.load(Ordering::Relaxed) {
                return Err(io::Error::other("the rest does not come"));
            }
            if length.bytes > self.at || length.whole {
                break;
            }
            // A flag is set without the lock: it is looked at now and then.
            let patience = std::time::Duration::from_millis(50);
            length =
                self.shared.changed.wait_timeout(length, patience).unwrap_or_else(PoisonError::into_inner).0;
        }
        let there = length.bytes - self.at;
        drop(length);
        let most = usize::try_from(there).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..most], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_is_written_later_is_read() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"begin ").unwrap();
        let (grown, mut growing) = Growing::new(file.reopen().unwrap(), 6);
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            growing.read_to_string(&mut text).map(|_| text)
        });
        file.write_all(b"and end").unwrap();
        grown.to(13);
        assert!(!reader.is_finished());
        grown.whole();
        assert_eq!(reader.join().unwrap().unwrap(), "begin and end");
    }

    #[test]
    fn a_rest_that_does_not_come_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (grown, mut growing) = Growing::new(file.reopen().unwrap(), 0);
        let reader = std::thread::spawn(move || growing.read(&mut [0; 8]));
        grown.give_up();
        assert!(reader.join().unwrap().is_err());
    }
}
