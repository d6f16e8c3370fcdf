//! The journal of what happened: one line of JSON an event, appended by shims and by commands.
//!
//! ```text
//! <run>/events/journal     the latest events
//! <run>/events/journal.1   those before
//! ```
//!
//! Names of actions and attributes are those of Docker's `system events`.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

/// Size at which the journal is rotated, bytes.
const MAX_SIZE: u64 = 4 << 20;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub time: Timestamp,
    /// What it happened to: `container`, `image`, `network`, `volume`.
    pub kind: String,
    /// What happened: `start`, `die`, `health_status: healthy`, ...
    pub action: String,
    /// Id or name of the thing.
    pub id: String,
    /// What else is known: name, image and labels of a container, exit code, signal.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
}

impl Entry {
    /// Returns an event of this moment.
    pub fn now(
        kind: &str,
        action: impl Into<String>,
        id: impl Into<String>,
        attributes: BTreeMap<String, String>,
    ) -> Self {
        Self {
            time: Timestamp::now(),
            kind: kind.to_owned(),
            action: action.into(),
            id: id.into(),
            attributes,
        }
    }
}

/// Where a shim writes, and what it says of its container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// The file.
    pub path: std::path::PathBuf,
    /// Attributes of the container.
    pub attributes: BTreeMap<String, String>,
}

/// Appends an event. The file is made when it is missing, and its directory.
pub fn append(path: &Path, entry: &Entry) -> io::Result<()> {
    let mut line = serde_json::to_vec(entry)?;
    line.push(b'\n');
    loop {
        let mut file = open(path)?;
        flock(&file, FlockOperation::LockExclusive)?;
        let metadata = file.metadata()?;
        // Somebody rotated it between our opening and our locking.
        let current =
            fs::metadata(path).is_ok_and(|now| (now.dev(), now.ino()) == (metadata.dev(), metadata.ino()));
        if !current {
            continue;
        }
        if metadata.len() >= MAX_SIZE {
            let mut older = path.as_os_str().to_owned();
            older.push(".1");
            fs::rename(path, older)?;
            continue;
        }
        return file.write_all(&line);
    }
}

fn open(path: &Path) -> io::Result<File> {
    let open = || OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(directory) = path.parent() {
                fs::create_dir_all(directory)?;
            }
            open()
        }
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_writers_lose_nothing_over_rotations() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events/journal");
        // Long lines, so that one rotation happens: two would drop the first file.
        let filler = "x".repeat(16 << 10);
        let attributes = BTreeMap::from([("filler".to_owned(), filler)]);
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let (path, attributes) = (&path, &attributes);
                scope.spawn(move || {
                    for number in 0..100 {
                        let id = format!("{writer}-{number}");
                        append(path, &Entry::now("container", "start", id, attributes.clone())).unwrap();
                    }
                });
            }
        });
        let mut ids = std::collections::BTreeSet::new();
        let mut older = path.as_os_str().to_owned();
        older.push(".1");
        for file in [path.clone(), older.into()] {
            for line in fs::read_to_string(file).unwrap().lines() {
                assert!(ids.insert(serde_json::from_str::<Entry>(line).unwrap().id));
            }
        }
        assert_eq!(ids.len(), 400);
    }
}
