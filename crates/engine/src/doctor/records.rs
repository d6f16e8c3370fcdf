//! Records of snapshots, build steps, volumes and networks that cannot be read.

use std::collections::{BTreeMap, BTreeSet};

use coracle_network::NetworkRecord;
use coracle_oci::Digest;
use coracle_snapshot::{SnapshotError, SnapshotId};
use coracle_store::records;

use super::blobs::cause;
use super::{Ailment, Doctor, Remedy, ailment};
use crate::{During, Failure, Result, stored};

impl Doctor<'_> {
    /// Reads the record of every snapshot that images, containers or build steps could need.
    pub(super) fn snapshots(&self, found: &mut Vec<Ailment>) -> Result<()> {
        let snapshots = &self.engine.snapshots;
        let containers = self.engine.containers();
        let mut holders = BTreeMap::new();
        for id in containers.ids()? {
            if let Ok(Some(record)) = containers.record(&id) {
                holders.insert(record.snapshot.clone(), record);
            }
        }
        for id in snapshots.ids().during("listing snapshots")? {
            match snapshots.get(&id) {
                // One that is being made, or was removed meanwhile.
                Ok(_) | Err(SnapshotError::Unknown(_)) => {}
                Err(error @ SnapshotError::Record { .. }) => {
                    let message = format!("{error}: {}", cause(&error));
                    let damaged = match holders.get(id.as_str()) {
                        Some(record) => ailment(
                            "damaged-snapshot",
                            message,
                            Remedy::RestoreSnapshot(id.clone(), record.id.clone(), record.spec.image_id),
                        )
                        .hinting(&format!("container {} needs it", record.spec.name)),
                        None => {
                            ailment("damaged-snapshot", message, Remedy::Quarantine(snapshots.root().join(id.as_str())))
                                .hinting("images and build results that need it are pulled or built again on their next use")
                        }
                    };
                    found.push(damaged);
                }
                Err(error) => return Err(error).during("reading a snapshot's record"),
            }
        }
        self.layers(found)
    }

    /// Looks for snapshots that others are based on and that lost their files, or their base.
    fn layers(&self, found: &mut Vec<Ailment>) -> Result<()> {
        let snapshots = &self.engine.snapshots;
        let lost = self.lost()?;
        let all = snapshots.list().during("listing snapshots")?;
        for snapshot in all.iter().filter(|snapshot| snapshot.is_committed() && lost.contains(&snapshot.id)) {
            let layer = snapshots.layer_path(&snapshot.id);
            let message = if layer.is_dir() {
                format!("snapshot {} has lost what it is based on", snapshot.id)
            } else {
                format!("snapshot {} has lost its files, {}", snapshot.id, layer.display())
            };
            let remedy = Remedy::Quarantine(snapshots.root().join(snapshot.id.as_str()));
            found.push(
                ailment("broken-snapshot", message, remedy)
                    .hinting("images that need it are pulled or built again on their next use"),
            );
        }
        Ok(())
    }

    /// Returns the snapshots that cannot be mounted: without files, without a readable record, or based on such a one.
    pub(super) fn lost(&self) -> Result<BTreeSet<SnapshotId>> {
        let snapshots = &self.engine.snapshots;
        let mut lost = BTreeSet::new();
        for id in snapshots.ids().during("listing snapshots")? {
            if matches!(snapshots.get(&id), Err(SnapshotError::Record { .. })) {
                lost.insert(id);
            }
        }
        // Bases are older than what is based on them.
        for snapshot in snapshots.list().during("listing snapshots")? {
            let mut needs = snapshot.parent.iter().chain(&snapshot.layer_of);
            let baseless = needs.any(|id| lost.contains(id) || !snapshots.layer_path(id).is_dir());
            if baseless || !snapshots.layer_path(&snapshot.id).is_dir() {
                lost.insert(snapshot.id);
            }
        }
        Ok(lost)
    }

    /// Reads the record of every build step.
    pub(super) fn steps(&self, found: &mut Vec<Ailment>) -> Result<()> {
        #[derive(serde::Serialize, serde::Deserialize)]
        struct Step {
            snapshot: Option<String>,
        }
        let lost = self.lost()?;
        for path in records::list(&self.engine.layout.cache()).during("listing the build cache")? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Ok(key) = format!("sha256:{name}").parse::<Digest>() else { continue };
            let why = match stored::read::<Step>(&path) {
                Ok(step) => {
                    let id = step.and_then(|step| step.snapshot).and_then(|id| id.parse::<SnapshotId>().ok());
                    match id {
                        Some(id) if lost.contains(&id) || self.engine.snapshots.get(&id).is_err() => {
                            format!("snapshot {id} is not there")
                        }
                        _ => continue,
                    }
                }
                Err(error) => format!("{error}: {}", cause(&error)),
            };
            let message = format!("the result of the build step {} is lost: {why}", key.short());
            found.push(ailment("broken-step", message, Remedy::ForgetStep(key)));
        }
        Ok(())
    }

    /// Reads the record of every volume.
    pub(super) fn volumes(&self, found: &mut Vec<Ailment>) -> Result<()> {
        let entries = match std::fs::read_dir(self.engine.layout.volumes()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Failure::ours("listing volumes", &error)),
        };
        for entry in entries.flatten() {
            let Some(name) =
                entry.file_name().to_str().filter(|name| !name.starts_with('.')).map(str::to_owned)
            else {
                continue;
            };
            let path = self.engine.layout.volume_record(&name);
            match records::read_json::<crate::VolumeRecord>(&path) {
                Ok(Some(_)) => {}
                Ok(None) if !entry.path().join("_data").is_dir() => {}
                Ok(None) => {
                    let message = format!("volume {name} has files but no record");
                    found.push(ailment("damaged-record", message, Remedy::RestoreVolume(name)));
                }
                Err(error) => {
                    let message = format!("{error}: {}", cause(&error));
                    found.push(
                        ailment("damaged-record", message, Remedy::RestoreVolume(name))
                            .hinting("its labels and driver options are lost; what it holds is not"),
                    );
                }
            }
        }
        Ok(())
    }

    /// Reads the record of every network.
    pub(super) fn networks(&self, found: &mut Vec<Ailment>) -> Result<()> {
        for path in records::list(&self.engine.layout.networks()).during("listing networks")? {
            let Err(error) = stored::read::<NetworkRecord>(&path) else { continue };
            let name =
                path.file_stem().and_then(|name| name.to_str()).and_then(coracle_store::layout::decode);
            let name = name.unwrap_or_default();
            let message = format!("{error}: {}", cause(&error));
            found.push(ailment("damaged-record", message, Remedy::Quarantine(path)).hinting(&format!(
                "make it again: coracle network create {name}, or bring up the project that it belongs to"
            )));
        }
        let path = self.engine.layout.network_state();
        if let Err(error) = stored::read::<crate::networks::NetworkState>(&path) {
            let message = format!("{error}: {}", cause(&error));
            found.push(
                ailment("damaged-record", message, Remedy::Quarantine(path))
                    .hinting("restart the containers that run, so that their addresses are known again"),
            );
        }
        Ok(())
    }
}
