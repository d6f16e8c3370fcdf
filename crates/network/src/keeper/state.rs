//! What a keeper serves, as one file.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::dns::Zone;
use crate::port::PublishedPort;

/// Everything that a keeper serves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeeperState {
    /// The networks whose names it answers.
    #[serde(default)]
    pub zones: Vec<Zone>,
    /// The ports that it holds.
    #[serde(default)]
    pub ports: Vec<PublishedPort>,
    /// The host's resolvers, in order, as the host itself asks them (loopback ones too).
    #[serde(default)]
    pub upstreams: Vec<IpAddr>,
}

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    #[serde(flatten)]
    state: &'a KeeperState,
}

impl KeeperState {
    /// Returns whether there is nothing to serve, so that no keeper is needed.
    pub fn is_empty(&self) -> bool {
        self.zones.is_empty() && self.ports.is_empty()
    }

    /// Reads the file; an absent one is an empty state.
    pub fn read(path: &Path) -> io::Result<Self> {
        match fs::read(path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Replaces the file at once: a reader sees the old state or this one. Callers hold the lock on changes.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let temporary = path.with_extension("new");
        let mut file = File::create(&temporary)?;
        file.write_all(&serde_json::to_vec(&Written { version: 1, state: self })?)?;
        file.sync_data()?;
        fs::rename(&temporary, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NetworkRecord;

    #[test]
    fn what_the_first_version_wrote_is_read() {
        let text = include_str!("../../../../tests/records/v1/keeper-state.json");
        let state: KeeperState = serde_json::from_str(text).unwrap();
        assert_eq!((state.zones.len(), state.ports.len()), (1, 1));
        let text = include_str!("../../../../tests/records/v1/keeper-status.json");
        let reply: crate::keeper::Reply = serde_json::from_str(text).unwrap();
        assert!(matches!(reply, crate::keeper::Reply::Status(status) if status.version == 0));
        let text = include_str!("../../../../tests/records/v1/network.json");
        let mut stored: serde_json::Value = serde_json::from_str(text).unwrap();
        let record: NetworkRecord = serde_json::from_value(stored["body"].take()).unwrap();
        assert_eq!((record.version, record.name.as_str()), (1, "nn"));
    }

    #[test]
    fn what_is_written_says_its_version_and_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        let state: KeeperState =
            serde_json::from_str(include_str!("../../../../tests/records/v1/keeper-state.json")).unwrap();
        state.write(&path).unwrap();
        assert_eq!(KeeperState::read(&path).unwrap(), state);
        let written: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(written["version"], 1);
    }
}
