//! Small versioned JSON files that are replaced in one step.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Result, StoreError};

/// Something that is kept as one JSON object in a file of its own.
pub trait Record: Serialize + DeserializeOwned {
    /// The version of the form that is written. Older ones must still be readable by the same type.
    const VERSION: u32 = 1;
}

#[derive(Serialize)]
struct Written<'a, T> {
    version: u32,
    #[serde(flatten)]
    body: &'a T,
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// Reads a record; `None` when there is none.
pub fn read_json<T: Record>(path: &Path) -> Result<Option<T>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::io("read", path, error)),
    };
    let damaged = |source| StoreError::Damaged { path: path.to_owned(), source };
    let Version { version } = serde_json::from_slice(&bytes).map_err(damaged)?;
    if version > T::VERSION {
        return Err(StoreError::Newer { path: path.to_owned(), found: version, known: T::VERSION });
    }
    serde_json::from_slice(&bytes).map(Some).map_err(damaged)
}

/// Writes a record so that readers see the old or the new one, never a mixture, whatever happens.
///
/// The record must be an object without a field `version`, which is added.
pub fn write_json_atomic<T: Record>(path: &Path, record: &T) -> Result<()> {
    let written = Written { version: T::VERSION, body: record };
    let mut bytes = serde_json::to_vec_pretty(&written)
        .map_err(|source| StoreError::Damaged { path: path.to_owned(), source })?;
    bytes.push(b'\n');
    write_atomic(path, &bytes)
}

/// Writes a file so that readers see the old or the new one, never a mixture, whatever happens.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let fail = |error| StoreError::io("write", path, error);
    let parent = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(|error| StoreError::io("make", parent, error))?;
    let mut new = NewFile::in_directory(parent).map_err(fail)?;
    new.file().write_all(bytes).map_err(fail)?;
    new.file().sync_all().map_err(fail)?;
    coracle_fault::hit(coracle_fault::Point::StoreRecordWritten).map_err(fail)?;
    new.persist(path).map_err(fail)?;
    sync_directory(parent)
}

/// A file that replaces another when it is whole. Where the file system can do that it has no name until then, so that
/// nothing is left of it when its writer is killed.
enum NewFile {
    Nameless(File),
    /// Hidden, so that listings of the directory do not take it for a record.
    Hidden(tempfile::NamedTempFile),
}

/// How the hidden names of files begin that are being written.
const NEW: &str = ".new-";

impl NewFile {
    fn in_directory(directory: &Path) -> std::io::Result<Self> {
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        match rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => Ok(Self::Nameless(file.into())),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => {
                tempfile::Builder::new().prefix(NEW).tempfile_in(directory).map(Self::Hidden)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn file(&mut self) -> &mut File {
        match self {
            Self::Nameless(file) => file,
            Self::Hidden(file) => file.as_file_mut(),
        }
    }

    fn persist(self, path: &Path) -> std::io::Result<()> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let file = match self {
            Self::Nameless(file) => file,
            Self::Hidden(file) => return file.persist(path).map(drop).map_err(|error| error.error),
        };
        let ours = format!("/proc/self/fd/{}", file.as_raw_fd());
        loop {
            // A link replaces nothing: the file needs a name of its own for the moment between both calls.
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let hidden = path.with_file_name(format!("{NEW}{}-{count}", std::process::id()));
            match rustix::fs::linkat(CWD, &ours, CWD, &hidden, AtFlags::SYMLINK_FOLLOW) {
                Ok(()) => {
                    return std::fs::rename(&hidden, path).inspect_err(|_| {
                        let _ = std::fs::remove_file(&hidden);
                    });
                }
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Brings a directory's names to the disk, so that a rename in it survives a power cut.
pub(crate) fn sync_directory(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| StoreError::io("sync", path, error))
}

/// Removes a record; returns whether there was one.
pub fn remove(path: &Path) -> Result<bool> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StoreError::io("remove", path, error)),
    }
}

/// Returns the records' files in a directory, sorted; a missing directory has none.
pub fn list(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io("read", directory, error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| StoreError::io("read", directory, error))?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Note {
        text: String,
        #[serde(default)]
        later: u32,
    }

    impl Record for Note {
        const VERSION: u32 = 2;
    }

    #[test]
    fn round_trips_and_refuses_newer() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b/note.json");
        assert_eq!(read_json::<Note>(&path).unwrap(), None);
        let note = Note { text: "x".to_owned(), later: 3 };
        write_json_atomic(&path, &note).unwrap();
        assert_eq!(read_json(&path).unwrap(), Some(note));
        std::fs::write(&path, r#"{"version": 1, "text": "old"}"#).unwrap();
        assert_eq!(read_json(&path).unwrap(), Some(Note { text: "old".to_owned(), later: 0 }));
        std::fs::write(&path, r#"{"version": 3, "text": "new"}"#).unwrap();
        assert!(matches!(read_json::<Note>(&path), Err(StoreError::Newer { found: 3, known: 2, .. })));
        for damaged in ["", "{", "[]", r#"{"text": "no version"}"#] {
            std::fs::write(&path, damaged).unwrap();
            assert!(matches!(read_json::<Note>(&path), Err(StoreError::Damaged { .. })), "{damaged}");
        }
        assert_eq!(list(path.parent().unwrap()).unwrap(), std::slice::from_ref(&path));
        assert!(remove(&path).unwrap());
        assert!(!remove(&path).unwrap());
    }

    #[test]
    fn readers_never_see_a_mixture() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("note.json");
        let note = |letter: char| Note { text: letter.to_string().repeat(5000), later: 0 };
        write_json_atomic(&path, &note('a')).unwrap();
        std::thread::scope(|scope| {
            for letter in ['a', 'b'] {
                let path = &path;
                scope.spawn(move || {
                    for _ in 0..20 {
                        write_json_atomic(path, &note(letter)).unwrap();
                    }
                });
            }
            for _ in 0..200 {
                let read: Note = read_json(&path).unwrap().unwrap();
                assert!(read == note('a') || read == note('b'));
            }
        });
    }
}
