//! Removing containers, and writing their files out.

use std::io::Write;

use coracle_container::{ContainerId, ContainerRecord, MountKind};
use coracle_fault::Point;
use coracle_report::Diagnostic;
use coracle_snapshot::SnapshotId;

use super::Containers;
use super::launch::gone;
use crate::failure::pass;
use crate::{During, Failure, Result};

impl Containers<'_> {
    /// Removes a container; one that runs only when `force` says so. With `volumes` its anonymous volumes go too.
    pub fn remove(&self, id: &ContainerId, force: bool, volumes: bool) -> Result<()> {
        self.remove_with(id, force, volumes, false)
    }

    /// As [`Self::remove`] by force, with anonymous volumes; the log stays readable among the project's for a while.
    pub(crate) fn replace(&self, id: &ContainerId) -> Result<()> {
        self.remove_with(id, true, true, true)
    }

    fn remove_with(&self, id: &ContainerId, force: bool, volumes: bool, keep_log: bool) -> Result<()> {
        let view = self.view(id)?.ok_or_else(|| gone(id))?;
        let name = &view.record.spec.name;
        if view.state.has_shim() {
            if !force {
                let message = format!("container `{name}` is running");
                return Err(Failure::user(
                    Diagnostic::error("running", message)
                        .with_hint(format!("coracle stop {name}, or use --force")),
                ));
            }
            self.drain(id)?;
            self.engine
                .runtime
                .stop(id, Some(9), Some(std::time::Duration::ZERO))
                .during("killing the container")?;
            self.reap(id)?;
        }
        pass(Point::RemoveStopped)?;
        // A container that was to be removed at its end is gone by now.
        let Some(record) = self.record(id)? else { return Ok(()) };
        if keep_log {
            self.keep_log(&record)?;
        }
        self.erase_with(&record, volumes)
    }

    /// Removes what is left of a container that was made to go at its end but could not start.
    pub fn forget_if_auto_remove(&self, id: &ContainerId) -> Result<()> {
        match self.record(id)? {
            Some(record) if record.spec.auto_remove => self.erase(&record),
            Some(_) | None => Ok(()),
        }
    }

    /// Removes a container's files, record and name. It must not run.
    pub(super) fn erase(&self, record: &ContainerRecord) -> Result<()> {
        self.erase_with(record, record.spec.auto_remove)
    }

    /// As [`Self::erase`]; with `volumes` its anonymous volumes go too.
    fn erase_with(&self, record: &ContainerRecord, volumes: bool) -> Result<()> {
        let id = &record.id;
        // Said first, so that the next command removes the rest when we are killed; a full disk hinders no removal.
        let _ = self.own(id);
        for name in self.anonymous(record)?.iter().filter(|_| volumes) {
            let _ = self.note_volume(id, name);
        }
        self.release(record)?;
        pass(Point::RemoveReleased)?;
        let directory = self.engine.layout.container(id.as_str());
        // The record goes first: what a killed command leaves of the rest belongs to nobody.
        match std::fs::remove_file(self.engine.layout.container_record(id.as_str())) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Failure::ours("removing a container's record", &error));
            }
            _ => {}
        }
        pass(Point::RemoveUnrecorded)?;
        self.engine.events().container(record, "destroy", &[]);
        if self.named(&record.spec.name)?.as_ref() == Some(id) {
            let _ = std::fs::remove_file(self.engine.layout.container_name(&record.spec.name));
        }
        pass(Point::RemoveUnnamed)?;
        if let Ok(snapshot) = record.snapshot.parse::<SnapshotId>() {
            self.engine.snapshots.remove(&snapshot).during("removing a container's file system")?;
        }
        pass(Point::RemoveErased)?;
        let mut removed = std::fs::remove_dir_all(&directory);
        for _ in 0..10 {
            // A late clean-up may just have made its lock's file in there.
            if !removed.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::DirectoryNotEmpty) {
                break;
            }
            removed = std::fs::remove_dir_all(&directory);
        }
        match removed {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Failure::ours("removing a container's directory", &error))
            }
            _ => Ok(()),
        }?;
        let mut removed = Ok(());
        for name in self.anonymous(record)?.iter().filter(|_| volumes) {
            removed = removed.and(self.engine.volumes().discard(name));
        }
        removed?;
        self.engine.runtime.forget(id).during("removing the run directory")
    }

    /// Returns a container's volumes that no user named.
    fn anonymous(&self, record: &ContainerRecord) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for mount in &record.spec.mounts {
            let MountKind::Volume { name, .. } = &mount.kind else { continue };
            if self.engine.volumes().is_anonymous(name)? {
                found.push(name.clone());
            }
        }
        Ok(found)
    }

    /// Writes a container's whole file system as a tar archive.
    pub fn export(&self, id: &ContainerId, out: &mut dyn Write) -> Result<()> {
        let record = self.record(id)?.ok_or_else(|| gone(id))?;
        let snapshot: SnapshotId = record.snapshot.parse().during("reading the container's record")?;
        self.engine
            .snapshots
            .held(&snapshot)
            .and_then(|overlay| overlay.mount_detached(true))
            .and_then(|root| coracle_snapshot::RootFs::new(root).tar(out))
            .during(format_args!("exporting container {}", record.spec.name))
    }
}
