//! Doing what mends an ailment.

use std::path::{Path, PathBuf};

use coracle_container::{ContainerId, ContainerRecord};
use coracle_oci::ImageId;
use coracle_snapshot::{SnapshotId, State};
use coracle_store::FileLock;
use jiff::Timestamp;

use super::{Ailment, Doctor, Mended, Remedy};
use crate::containers::holder;
use crate::{During, Failure, Result, stored};

impl Doctor<'_> {
    /// Mends what was found, one after the other; what fails hinders no other.
    pub fn mend(&self, ailments: &[Ailment]) -> Result<Vec<Mended>> {
        // Nobody adds or collects meanwhile, and of two repairs one waits for the other.
        let _alone = FileLock::exclusive(&self.engine.layout.collector_lock())
            .during("waiting for builds and downloads to end")?;
        let place = self.engine.layout.quarantine().join(Timestamp::now().as_second().to_string());
        let mended = ailments.iter().map(|ailment| Mended {
            action: ailment.remedy.action(),
            result: self.apply(&ailment.remedy, &place),
        });
        Ok(mended.collect())
    }

    fn apply(&self, remedy: &Remedy, place: &Path) -> Result<()> {
        let engine = self.engine;
        match remedy {
            Remedy::Quarantine(path) => self.put_aside(path, place),
            Remedy::QuarantineContainer(id) => self.put_container_aside(id, place),
            Remedy::RestoreContainer(id) => {
                let copy = engine.layout.running_container_record(id.as_str());
                let record = stored::read::<ContainerRecord>(&copy).during("reading a record's copy")?;
                let Some(record) = record else { return Ok(()) };
                let path = engine.layout.container_record(id.as_str());
                self.put_aside(&path, place)?;
                stored::write(&path, &record).during("writing a container's record")
            }
            Remedy::RestoreVolume(name) => {
                let path = engine.layout.volume_record(name);
                if path.exists() {
                    self.put_aside(&path, place)?;
                }
                engine.volumes().adopt(name)
            }
            Remedy::RestoreSnapshot(id, container, image) => {
                self.restore_snapshot(id, container, image, place)
            }
            Remedy::ForgetImage(id) => {
                // Its documents that are whole stay until the next collection.
                engine.store.remove_image(id, true).map(drop).during("forgetting an image")
            }
            Remedy::RemoveFile(path) => match std::fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(Failure::ours(format_args!("removing {}", path.display()), &error))
                }
                _ => Ok(()),
            },
            Remedy::ForgetStep(key) => {
                engine.store.remove_cached(key).map(drop).during("forgetting a build step")
            }
            Remedy::Sweep(id) => {
                engine.networks().release(id)?;
                engine.runtime.remove_cgroup(id).during("removing the control group")?;
                engine.containers().sweep(id)
            }
            Remedy::Release(id) => engine.containers().reap(id),
            Remedy::RemoveLink(name) => {
                coracle_network::netlink::delete_link(name).during(format_args!("removing the link {name}"))
            }
            Remedy::RemoveGroup(path) => match std::fs::remove_dir(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(Failure::ours(format_args!("removing {}", path.display()), &error))
                }
                _ => Ok(()),
            },
            Remedy::RefreshKeeper(scope) => engine.keepers().refresh(scope),
            Remedy::RefreshRules => engine.networks().refresh(),
        }
    }

    /// Moves a file or directory into the quarantine, under the path that it had below its root.
    fn put_aside(&self, path: &Path, place: &Path) -> Result<()> {
        let layout = &self.engine.layout;
        let below = path.strip_prefix(layout.data()).or_else(|_| path.strip_prefix(layout.run()));
        let target = place.join(below.unwrap_or(Path::new("file")));
        self.shift(path, &target)
    }

    fn shift(&self, path: &Path, target: &Path) -> Result<()> {
        let what = || format!("putting {} aside", path.display());
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent).during(what())?;
        }
        match std::fs::rename(path, target) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            // From the run root, which is another file system.
            Err(error) if error.kind() == std::io::ErrorKind::CrossesDevices => {
                std::fs::copy(path, target).and_then(|_| std::fs::remove_file(path)).during(what())
            }
            moved => moved.during(what()),
        }
    }

    /// Puts a container's directory and what it wrote into the quarantine; what is left of it goes.
    fn put_container_aside(&self, id: &ContainerId, place: &Path) -> Result<()> {
        let engine = self.engine;
        if engine.runtime.has_shim(id).during("looking for a shim")? {
            let message = format!("container {} still runs: end its shim, then have it mended", id.short());
            return Err(Failure::user(coracle_report::Diagnostic::error("running", message)));
        }
        let ours = State::Held { holder: holder(id) };
        let mut written: Vec<PathBuf> = Vec::new();
        for snapshot in engine.snapshots.list().during("listing snapshots")? {
            if snapshot.state == ours {
                written.push(engine.snapshots.layer_path(&snapshot.id));
            }
        }
        let directory = engine.layout.container(id.as_str());
        let target = place.join("containers").join(id.as_str());
        self.shift(&directory, &target)?;
        for layer in written {
            // What the container wrote, in overlay's form.
            self.shift(&layer, &target.join("files"))?;
        }
        engine.networks().release(id)?;
        engine.runtime.remove_cgroup(id).during("removing the control group")?;
        engine.containers().sweep(id)
    }

    /// Writes the record of a container's snapshot again: on top of its image, as it was made.
    fn restore_snapshot(
        &self,
        id: &SnapshotId,
        container: &ContainerId,
        image: &ImageId,
        place: &Path,
    ) -> Result<()> {
        let engine = self.engine;
        let stored = engine.store.image_by_id(image).during("looking for the container's image")?;
        let ready = stored.map(|image| engine.images().ready(image)).transpose()?.flatten();
        let Some(ready) = ready else {
            let message = format!("the image of container {} is not there", container.short());
            return Err(Failure::user(
                coracle_report::Diagnostic::error("no-such-image", message)
                    .with_hint("pull or build it again, then have the container mended"),
            ));
        };
        self.put_aside(&engine.snapshots.root().join(id.as_str()).join("record.json"), place)?;
        engine
            .snapshots
            .restore_held(id, ready.snapshot.as_ref(), holder(container))
            .during("writing a snapshot's record")
    }
}
