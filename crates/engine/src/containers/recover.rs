//! Clearing up after commands that were killed: build steps without a builder, containers that were being started.
//!
//! Whoever spawns a shim first writes who it is into `<run>/<id>/owner.json`, and removes that once the container runs by
//! itself. An owner that is gone left something half done; the next command undoes it.

use std::path::PathBuf;
use std::time::Duration;

use coracle_container::{ContainerId, ContainerState, ProcessIdentity};

use super::{Containers, directory_names};
use crate::{During, Result, process, stored};

impl Containers<'_> {
    /// Says that this process is starting something for `id`.
    pub(crate) fn own(&self, id: &ContainerId) -> Result<()> {
        let pid = i32::try_from(std::process::id()).unwrap_or(0);
        let Some(us) = process::identify(pid) else { return Ok(()) };
        stored::write_fast(&self.owner(id), &us).during("saying who starts a container")
    }

    /// Says that `id` stands on its own now.
    pub(super) fn disown(&self, id: &ContainerId) {
        // One that stays is ignored as long as the container runs, and goes with the run directory.
        let _ = std::fs::remove_file(self.owner(id));
    }

    /// Says whether somebody who lives is starting a container.
    pub fn is_being_started(&self, id: &ContainerId) -> bool {
        self.is_owned(id)
    }

    /// Says whether somebody who lives is starting something for `id`.
    pub(super) fn is_owned(&self, id: &ContainerId) -> bool {
        let owner = stored::read::<ProcessIdentity>(&self.owner(id));
        owner.is_ok_and(|owner| owner.is_some_and(|owner| process::lives(&owner)))
    }

    fn owner(&self, id: &ContainerId) -> PathBuf {
        self.engine.layout.run_container(id.as_str()).join("owner.json")
    }

    /// Undoes what killed commands left half done.
    pub(crate) fn recover(&self) -> Result<()> {
        for name in directory_names(&self.engine.layout.run_containers())? {
            let Ok(id) = name.parse::<ContainerId>() else { continue };
            let Ok(Some(owner)) = stored::read::<ProcessIdentity>(&self.owner(&id)) else { continue };
            if !process::lives(&owner) {
                self.undo(&id)?;
            }
        }
        Ok(())
    }

    fn undo(&self, id: &ContainerId) -> Result<()> {
        let runtime = &self.engine.runtime;
        let record = self.record(id)?;
        if record.is_some() && runtime.state(id).during("reading the container's state")?.is_running() {
            self.disown(id);
            return Ok(());
        }
        // One of both does it: the shim waits for its start, or the step runs.
        let _ = runtime.discard(id);
        let _ = runtime.stop(id, Some(9), Some(Duration::ZERO));
        for _ in 0..500 {
            if !runtime.has_shim(id).during("looking for a shim")? {
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        self.engine.networks().release(id)?;
        runtime.remove_cgroup(id).during("removing the control group")?;
        runtime.forget(id).during("removing the run directory")?;
        if let Some(record) = record {
            self.release(&record)?;
            let never_ran = matches!(runtime.state(id), Ok(ContainerState::Created));
            if record.spec.auto_remove && never_ran {
                self.erase(&record)?;
            }
        }
        Ok(())
    }
}
