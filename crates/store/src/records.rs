//! Small versioned JSON files that are replaced in one step.

use std::io::Write;
use std::path::{Path, PathBuf};

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
    // Hidden, so that listings of the directory do not take it for a record.
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(parent).map_err(fail)?;
    file.write_all(bytes).map_err(fail)?;
    file.as_file().sync_all().map_err(fail)?;
    file.persist(path).map_err(|error| fail(error.error))?;
    sync_directory(parent)
}

/// Brings a directory's names to the disk, so that a rename in it survives a power cut.
pub(crate) fn sync_directory(path: &Path) -> Result<()> {
    std::fs::File::open(path)
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
