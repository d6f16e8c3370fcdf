//! Where a container's files are.
//!
//! ```text
//! <data>/<id>/state.json        what its shim recorded last
//! <data>/<id>/log/container.log its log; .1, .2, ... are older
//! <run>/<id>/shim.sock          its shim's control socket
//! <run>/<id>/shim.lock          locked while the shim lives
//! <run>/<id>/bundle/            what the shim is given
//! ```

use std::path::PathBuf;

use coracle_container::ContainerId;

/// Where a runtime keeps its files, and what it starts.
#[derive(Clone, Debug)]
pub struct Paths {
    /// Directory of containers that outlives a reboot, e.g. `/var/lib/coracle/containers`.
    pub data: PathBuf,
    /// Directory of containers that does not, e.g. `/run/coracle/containers`.
    pub run: PathBuf,
    /// The journal of events, e.g. `/run/coracle/events/journal`.
    pub journal: PathBuf,
    /// The program that is started as a shim; it must call `coracle_shim::entry`. Normally `/proc/self/exe`.
    pub program: PathBuf,
}

impl Paths {
    /// Returns the container's directory that outlives a reboot.
    pub fn data_of(&self, id: &ContainerId) -> PathBuf {
        self.data.join(id.as_str())
    }

    /// Returns the container's directory that does not.
    pub fn run_of(&self, id: &ContainerId) -> PathBuf {
        self.run.join(id.as_str())
    }

    /// Returns the file that holds its state.
    pub fn state(&self, id: &ContainerId) -> PathBuf {
        self.data_of(id).join("state.json")
    }

    /// Returns its current log file.
    pub fn log(&self, id: &ContainerId) -> PathBuf {
        self.data_of(id).join("log/container.log")
    }

    /// Returns its shim's control socket.
    pub fn socket(&self, id: &ContainerId) -> PathBuf {
        self.run_of(id).join("shim.sock")
    }

    /// Returns its shim's lock.
    pub fn lock(&self, id: &ContainerId) -> PathBuf {
        self.run_of(id).join("shim.lock")
    }

    /// Returns its bundle.
    pub fn bundle(&self, id: &ContainerId) -> PathBuf {
        self.run_of(id).join("bundle")
    }
}
