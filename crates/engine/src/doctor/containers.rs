//! Containers whose record cannot be read, and what is left of some that were being made or removed.

use std::collections::BTreeSet;

use coracle_container::ContainerRecord;
use coracle_snapshot::{SnapshotError, SnapshotId};

use super::blobs::cause;
use super::{Ailment, Doctor, Remedy, ailment};
use crate::{During, Result, stored};

impl Doctor<'_> {
    /// Reads the record of every container, and every name.
    pub(super) fn containers(&self, found: &mut Vec<Ailment>) -> Result<()> {
        let containers = self.engine.containers();
        let layout = &self.engine.layout;
        let lost = self.lost()?;
        for id in containers.ids()? {
            let path = layout.container_record(id.as_str());
            match stored::read::<ContainerRecord>(&path) {
                Ok(Some(record)) => self.files_of(&record, &lost, found)?,
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
    fn files_of(
        &self,
        record: &ContainerRecord,
        lost: &BTreeSet<SnapshotId>,
        found: &mut Vec<Ailment>,
    ) -> Result<()> {
        let snapshot: SnapshotId = record.snapshot.parse().during("reading a container's record")?;
        let name = &record.spec.name;
        let why = match self.engine.snapshots.get(&snapshot) {
            // Its record alone can be written again.
            Err(SnapshotError::Record { .. }) => return Ok(()),
            Err(error) => error.to_string(),
            Ok(_) if lost.contains(&snapshot) => "a layer of its image is lost".to_owned(),
            Ok(_) => return Ok(()),
        };
        let message = format!("container {name} cannot start, for its files are not whole: {why}");
        found.push(
            ailment("broken-container", message, Remedy::QuarantineContainer(record.id.clone()))
                .hinting(&format!("make it again from its image, {}", record.spec.image)),
        );
        Ok(())
    }
}
