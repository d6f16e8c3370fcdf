//! Containers whose record cannot be read, and what is left of some that were being made or removed.

use coracle_container::{ContainerId, ContainerRecord};

use super::blobs::cause;
use super::{Ailment, Doctor, Remedy, ailment};
use crate::{During, Result, stored};

impl Doctor<'_> {
    /// Reads the record of every container, and every name.
    pub(super) fn containers(&self, found: &mut Vec<Ailment>) -> Result<()> {
        let containers = self.engine.containers();
        let layout = &self.engine.layout;
        for id in containers.ids()? {
            let path = layout.container_record(id.as_str());
            match stored::read::<ContainerRecord>(&path) {
                Ok(Some(_)) => self.snapshot_of(&id, found)?,
                // Somebody who lives is making or removing it.
                Ok(None) if containers.is_owned(&id) => {}
                Ok(None) => {
                    let message = format!("container {} was left half made or half removed", id.short());
                    found.push(ailment("half-done", message, Remedy::Sweep(id)));
                }
                Err(error) => {
                    let message = format!("{error}: {}", cause(&error));
                    let kept = stored::read::<ContainerRecord>(&layout.running_container_record(id.as_str()));
                    let remedy = match kept {
                        Ok(Some(_)) => Remedy::RestoreContainer(id),
                        Ok(None) | Err(_) => Remedy::QuarantineContainer(id),
                    };
                    let hint = "a container that is put aside is made again by `coracle run` or `up`; its files are kept";
                    let damaged = ailment("damaged-record", message, remedy);
                    found.push(if matches!(damaged.remedy, Remedy::QuarantineContainer(_)) {
                        damaged.hinting(hint)
                    } else {
                        damaged
                    });
                }
            }
        }
        for name in containers.names()? {
            let path = layout.container_name(&name);
            let owner = containers.named(&name)?;
            let known = owner
                .as_ref()
                .is_some_and(|id| layout.container(id.as_str()).is_dir() || containers.is_owned(id));
            if !known && containers.is_abandoned(&path) {
                let message = format!("the name `{name}` belongs to no container");
                found.push(ailment("half-done", message, Remedy::RemoveFile(path)));
            }
        }
        Ok(())
    }

    /// Looks whether a container's files are there.
    fn snapshot_of(&self, id: &ContainerId, found: &mut Vec<Ailment>) -> Result<()> {
        let Some(record) = self.engine.containers().record(id)? else { return Ok(()) };
        let held = match record.snapshot.parse() {
            Ok(snapshot) => self.engine.snapshots.held(&snapshot),
            Err(error) => return Err(error).during("reading a container's record"),
        };
        if let Err(error) = held
            && !matches!(error, coracle_snapshot::SnapshotError::Record { .. })
        {
            let name = &record.spec.name;
            let message = format!("container {name} cannot start: its files are not whole: {error}");
            found.push(
                ailment("broken-container", message, Remedy::QuarantineContainer(id.clone()))
                    .hinting(&format!("make it again from its image, {}", record.spec.image)),
            );
        }
        Ok(())
    }
}
