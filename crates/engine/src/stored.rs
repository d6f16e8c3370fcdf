//! Records of other rooms' types, kept as versioned JSON.

use std::io;
use std::path::Path;

use coracle_store::{Record, StoreError, records};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Makes a record of any value that is a JSON object.
#[derive(Serialize, Deserialize)]
struct Stored<T> {
    body: T,
}

impl<T: Serialize + DeserializeOwned> Record for Stored<T> {}

/// Reads a value; `None` when there is none.
pub fn read<T: Serialize + DeserializeOwned>(path: &Path) -> Result<Option<T>, StoreError> {
    Ok(records::read_json::<Stored<T>>(path)?.map(|stored| stored.body))
}

/// Writes a value so that it survives a power cut.
pub fn write<T: Serialize + DeserializeOwned + Clone>(path: &Path, value: &T) -> Result<(), StoreError> {
    records::write_json_atomic(path, &Stored { body: value.clone() })
}

/// Writes a value that a reboot voids anyway: in one step, but without waiting for the disk.
pub fn write_fast<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    #[derive(Serialize)]
    struct Written<'a, T> {
        version: u32,
        body: &'a T,
    }
    let bytes = serde_json::to_vec(&Written { version: 1, body: value })?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(directory)?;
    let file = tempfile::Builder::new().prefix(".new-").tempfile_in(directory)?;
    std::fs::write(file.path(), bytes)?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_writing_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/value.json");
        assert_eq!(read::<Vec<u32>>(&path).unwrap(), None);
        write(&path, &vec![1, 2]).unwrap();
        assert_eq!(read::<Vec<u32>>(&path).unwrap(), Some(vec![1, 2]));
        write_fast(&path, &vec![3]).unwrap();
        assert_eq!(read::<Vec<u32>>(&path).unwrap(), Some(vec![3]));
        assert_eq!(std::fs::read_dir(directory.path().join("a")).unwrap().count(), 1);
    }
}
