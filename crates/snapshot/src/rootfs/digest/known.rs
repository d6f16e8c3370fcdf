//! Digests of files that were read before, known again by what the system says of them.
//!
//! A file is the same when device, inode, size and both times (to the nanosecond) are. The time of change cannot be
//! set by programs, so a file whose modification time was put back is read again. A file that was touched within two
//! seconds before it was hashed is not remembered: it may be written to once more within the same tick of the file
//! system's clock, and nothing would tell.
//!
//! ```text
//! "coracle digests 1\n", then 80 bytes an entry, sorted by device and inode:
//! device, inode, size, seconds and nanoseconds modified, seconds and nanoseconds changed, digest
//! ```

use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::Stat;
use rustix::time::{ClockId, clock_gettime};

const MAGIC: &[u8] = b"coracle digests 1\n";
const ENTRY: usize = 80;
/// Larger than the clock granularity of the file systems we know (FAT's is two seconds).
const SETTLED: i64 = 2;
/// Most entries that are kept.
const MOST: usize = 4 << 20;

/// What a file is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, u32),
    changed: (i64, u32),
}

impl From<&Stat> for Identity {
    fn from(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: stat.st_size as u64,
            modified: (stat.st_mtime, stat.st_mtime_nsec as u32),
            changed: (stat.st_ctime, stat.st_ctime_nsec as u32),
        }
    }
}

/// Digests of files, from an earlier run and from this one. May be used by many threads.
#[derive(Debug, Default)]
pub struct KnownDigests {
    old: Vec<(Identity, [u8; 32])>,
    /// Which of the old ones still meant a file.
    used: Vec<AtomicBool>,
    fresh: Mutex<Vec<(Identity, [u8; 32])>>,
}

impl KnownDigests {
    /// Reads what an earlier run saved. A file that is missing, damaged or of another version is as none.
    pub fn load(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap_or_default();
        let entries = bytes.strip_prefix(MAGIC).unwrap_or_default();
        let whole = entries.len().is_multiple_of(ENTRY);
        let old: Vec<_> = if whole { entries.chunks_exact(ENTRY).map(decode).collect() } else { Vec::new() };
        // Look-ups rely on the order; whoever broke it gets no answers.
        let old = if old.is_sorted() { old } else { Vec::new() };
        let used = old.iter().map(|_| AtomicBool::new(false)).collect();
        Self { old, used, fresh: Mutex::default() }
    }

    /// Saves what is known, in one step, when something new is.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let mut all = self.fresh.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if all.is_empty() {
            return Ok(());
        }
        all.sort_unstable();
        all.dedup_by_key(|(identity, _)| (identity.device, identity.inode));
        let replaced = |identity: &Identity| {
            let place = (identity.device, identity.inode);
            all.binary_search_by_key(&place, |(new, _)| (new.device, new.inode)).is_ok()
        };
        let kept: Vec<_> =
            self.old.iter().zip(&self.used).filter(|((identity, _), _)| !replaced(identity)).collect();
        let used = kept.iter().filter(|(_, used)| used.load(Ordering::Relaxed)).count();
        // What means no file any more is dropped now and then, not at each build of a part of the context.
        let crowded = kept.len() > 4 * (used + all.len()) + 4096 || kept.len() + all.len() > MOST;
        let kept: Vec<_> = kept
            .into_iter()
            .filter(|(_, used)| !crowded || used.load(Ordering::Relaxed))
            .map(|(entry, _)| *entry)
            .collect();
        all.extend(kept);
        all.sort_unstable();
        all.truncate(MOST);
        let temporary = path.with_extension(format!("new-{}", std::process::id()));
        let written = std::fs::File::create(&temporary)
            .and_then(|file| {
                let mut out = io::BufWriter::with_capacity(1 << 20, file);
                out.write_all(MAGIC)?;
                for (identity, digest) in &all {
                    out.write_all(&encode(identity, digest))?;
                }
                out.flush()
            })
            .and_then(|()| std::fs::rename(&temporary, path));
        if written.is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
        written
    }

    /// Returns how many files' digests had to be made.
    pub fn made(&self) -> usize {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Returns the seconds since 1970.
    pub(super) fn now() -> i64 {
        clock_gettime(ClockId::RealtimeCoarse).tv_sec
    }

    pub(super) fn get(&self, stat: &Stat) -> Option<[u8; 32]> {
        let wanted = Identity::from(stat);
        let at = self.old.binary_search_by(|(known, _)| known.cmp(&wanted)).ok()?;
        self.used[at].store(true, Ordering::Relaxed);
        Some(self.old[at].1)
    }

    /// Remembers a digest, if the file had settled when hashing began and did not change meanwhile.
    pub(super) fn put(&self, before: &Stat, after: &Stat, digest: [u8; 32], began: i64) {
        let identity = Identity::from(before);
        let last = identity.modified.0.max(identity.changed.0);
        if identity == Identity::from(after) && last.saturating_add(SETTLED) < began {
            self.fresh.lock().unwrap_or_else(PoisonError::into_inner).push((identity, digest));
        }
    }
}

fn encode(identity: &Identity, digest: &[u8; 32]) -> [u8; ENTRY] {
    let mut bytes = [0; ENTRY];
    bytes[..8].copy_from_slice(&identity.device.to_le_bytes());
    bytes[8..16].copy_from_slice(&identity.inode.to_le_bytes());
    bytes[16..24].copy_from_slice(&identity.size.to_le_bytes());
    bytes[24..32].copy_from_slice(&identity.modified.0.to_le_bytes());
    bytes[32..36].copy_from_slice(&identity.modified.1.to_le_bytes());
    bytes[36..44].copy_from_slice(&identity.changed.0.to_le_bytes());
    bytes[44..48].copy_from_slice(&identity.changed.1.to_le_bytes());
    bytes[48..].copy_from_slice(digest);
    bytes
}

fn decode(bytes: &[u8]) -> (Identity, [u8; 32]) {
    let eight = |at: usize| bytes[at..at + 8].try_into().expect("eight bytes");
    let four = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let identity = Identity {
        device: u64::from_le_bytes(eight(0)),
        inode: u64::from_le_bytes(eight(8)),
        size: u64::from_le_bytes(eight(16)),
        modified: (i64::from_le_bytes(eight(24)), four(32)),
        changed: (i64::from_le_bytes(eight(36)), four(44)),
    };
    (identity, bytes[48..].try_into().expect("thirty-two bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(path: &Path) -> Stat {
        rustix::fs::lstat(path).unwrap()
    }

    #[test]
    fn what_settled_is_known_again_and_what_changed_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let (file, saved) = (directory.path().join("file"), directory.path().join("saved"));
        std::fs::write(&file, b"one").unwrap();
        let before = stat(&file);
        let later = before.st_ctime + 10;
        let known = KnownDigests::default();
        known.put(&before, &before, [1; 32], before.st_ctime + SETTLED);
        assert_eq!(known.made(), 0, "it may change within the same tick");
        known.put(&before, &before, [1; 32], later);
        assert_eq!(known.made(), 1);
        known.save(&saved).unwrap();
        let known = KnownDigests::load(&saved);
        assert_eq!(known.get(&before), Some([1; 32]));
        // As long as before, and the modification time put back: the time of change tells.
        std::thread::sleep(std::time::Duration::from_millis(20));
        std::fs::write(&file, b"two").unwrap();
        let time = std::time::UNIX_EPOCH
            + std::time::Duration::new(before.st_mtime as u64, before.st_mtime_nsec as u32);
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
        let after = stat(&file);
        assert_eq!((after.st_mtime, after.st_mtime_nsec), (before.st_mtime, before.st_mtime_nsec));
        assert_eq!(known.get(&after), None);
        known.put(&before, &after, [2; 32], later);
        assert_eq!(known.made(), 0, "it changed while it was read");
        known.put(&after, &after, [2; 32], later);
        known.save(&saved).unwrap();
        let known = KnownDigests::load(&saved);
        assert_eq!(known.get(&after), Some([2; 32]));
        assert_eq!(known.get(&before), None, "the new state replaced the old");
    }

    #[test]
    fn damaged_files_are_as_none() {
        let directory = tempfile::tempdir().unwrap();
        let saved = directory.path().join("saved");
        let entry = |inode: u64| {
            let identity = Identity { device: 1, inode, size: 0, modified: (0, 0), changed: (0, 0) };
            encode(&identity, &[0; 32]).to_vec()
        };
        let unsorted = [MAGIC.to_vec(), entry(2), entry(1)].concat();
        let cut = [MAGIC.to_vec(), entry(1), vec![0; 7]].concat();
        for bytes in [b"".to_vec(), b"something else".to_vec(), unsorted, cut] {
            std::fs::write(&saved, bytes).unwrap();
            assert!(KnownDigests::load(&saved).old.is_empty());
        }
        assert!(KnownDigests::load(&directory.path().join("missing")).old.is_empty());
        std::fs::write(&saved, [MAGIC.to_vec(), entry(1), entry(2)].concat()).unwrap();
        assert_eq!(KnownDigests::load(&saved).old.len(), 2);
    }
}
