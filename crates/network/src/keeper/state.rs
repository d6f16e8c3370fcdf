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
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_data()?;
        fs::rename(&temporary, path)
    }
}
