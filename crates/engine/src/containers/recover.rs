//! Clearing up after commands that were killed: build steps without a builder, containers that were being started.
//!
//! Whoever makes, starts or removes a container first writes who it is into `<run>/<id>/owner.json`, and removes that once
//! the container stands or runs by itself. An owner that is gone left something half done; the next command undoes it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use coracle_container::{ContainerId, ProcessIdentity};
use coracle_snapshot::State;

use super::{Containers, directory_names};
use crate::{During, Failure, Result, process, stored};

/// Names of anonymous volumes that are made for a container, a line each; beside `owner.json`.
const VOLUMES: &str = "volumes";

impl Containers<'_> {
    /// Says that this process is starting something for `id`.
    pub(crate) fn own(&self, id: &ContainerId) -> Result<()> {
        let pid = i32::try_from(std::process::id()).unwrap_or(0);
        let Some(us) = process::identify(pid) else { return Ok(()) };
        let said = stored::write_fast(&self.owner(id), &us);
        if said.is_err() {
            // Where the run root is full: nobody would find the directory without an owner. It stays where more is in it.
            let _ = std::fs::remove_dir(self.engine.layout.run_container(id.as_str()));
        }
        said.during("saying who starts a container")
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
    pub(crate) fn is_owned(&self, id: &ContainerId) -> bool {
        let owner = stored::read::<ProcessIdentity>(&self.owner(id));
        owner.is_ok_and(|owner| owner.is_some_and(|owner| process::lives(&owner)))
    }

    fn owner(&self, id: &ContainerId) -> PathBuf {
        self.engine.layout.run_container(id.as_str()).join("owner.json")
    }

    /// Says that a container was made that nobody starts now.
    pub fn settle(&self, id: &ContainerId) {
        self.disown(id);
        let directory = self.engine.layout.run_container(id.as_str());
        let _ = std::fs::remove_file(directory.join(VOLUMES));
        // Stays where a shim has it.
        let _ = std::fs::remove_dir(directory);
    }

    /// Notes that an anonymous volume is about to be made for `id`.
    pub(super) fn note_volume(&self, id: &ContainerId, name: &str) -> Result<()> {
        let path = self.engine.layout.run_container(id.as_str()).join(VOLUMES);
        std::fs::File::options()
            .create(true)
            .append(true)
            .open(path)
            .and_then(|mut file| writeln!(file, "{name}"))
            .during("noting a container's volume")
    }

    /// Removes what is left of a container without a record: one that was being made or removed. Volumes go only when
    /// they were made for it and it never ran.
    pub(crate) fn sweep(&self, id: &ContainerId) -> Result<()> {
        let layout = &self.engine.layout;
        for name in self.names()? {
            if self.named(&name)?.as_ref() == Some(id) {
                let _ = std::fs::remove_file(layout.container_name(&name));
            }
        }
        let ours = State::Held { holder: holder(id) };
        for snapshot in self.engine.snapshots.list().during("listing snapshots")? {
            if snapshot.state == ours {
                self.engine.snapshots.remove(&snapshot.id).during("removing a container's file system")?;
            }
        }
        let noted = std::fs::read_to_string(layout.run_container(id.as_str()).join(VOLUMES));
        for name in noted.unwrap_or_default().lines() {
            self.engine.volumes().discard(name)?;
        }
        remove_directory(&layout.container(id.as_str()))?;
        remove_directory(&layout.run_container(id.as_str()))
    }

    /// Undoes what killed commands left half done. What cannot be undone is told, and hinders nobody.
    pub(crate) fn recover(&self) -> Result<()> {
        self.engine.volumes().erase_gone().during("erasing removed volumes")?;
        self.engine.snapshots.erase_gone().during("erasing removed snapshots")?;
        for name in directory_names(&self.engine.layout.run_containers())? {
            let Ok(id) = name.parse::<ContainerId>() else { continue };
            let Ok(Some(owner)) = stored::read::<ProcessIdentity>(&self.owner(&id)) else { continue };
            if !process::lives(&owner)
                && let Err(failure) = self.undo(&id)
            {
                self.engine.tell_damage(&failure);
            }
        }
        Ok(())
    }

    fn undo(&self, id: &ContainerId) -> Result<()> {
        let runtime = &self.engine.runtime;
        let record = self.record(id)?;
        if record.is_some() && runtime.state(id).during("reading the container's state")?.has_shim() {
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
        match record {
            Some(record) => {
                runtime.forget(id).during("removing the run directory")?;
                self.release(&record)?;
                if record.spec.auto_remove { self.erase(&record) } else { Ok(()) }
            }
            None => self.sweep(id),
        }
    }
}

/// Returns by what name a container holds its snapshot.
pub(crate) fn holder(id: &ContainerId) -> String {
    format!("container {}", id.short())
}

fn remove_directory(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::ours(format_args!("removing {}", path.display()), &error))
        }
        _ => Ok(()),
    }
}
