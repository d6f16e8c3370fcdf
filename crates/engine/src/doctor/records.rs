//! Records of snapshots, build steps, volumes and networks that cannot be read.

use std::collections::BTreeMap;

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
        self.bases(found)
    }

    /// Looks for snapshots whose base is gone.
    fn bases(&self, found: &mut Vec<Ailment>) -> Result<()> {
        let snapshots = &self.engine.snapshots;
        for snapshot in snapshots.list().during("listing snapshots")? {
            let layer = snapshots.layer_path(&snapshot.id);
            if !layer.is_dir() {
                let message = format!("snapshot {} has lost its files, {}", snapshot.id, layer.display());
                let remedy = Remedy::Quarantine(snapshots.root().join(snapshot.id.as_str()));
                found.push(
                    ailment("broken-snapshot", message, remedy)
                        .hinting("images that need it are pulled or built again on their next use"),
                );
            }
        }
        Ok(())
    }

    /// Reads the record of every build step.
    pub(super) fn steps(&self, found: &mut Vec<Ailment>) -> Result<()> {
        #[derive(serde::Serialize, serde::Deserialize)]
        struct Step {
            snapshot: Option<String>,
        }
        for path in records::list(&self.engine.layout.cache()).during("listing the build cache")? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Ok(key) = format!("sha256:{name}").parse::<Digest>() else { continue };
            let why = match stored::read::<Step>(&path) {
                Ok(step) => {
                    let id = step.and_then(|step| step.snapshot).and_then(|id| id.parse::<SnapshotId>().ok());
                    match id {
                        Some(id) if self.engine.snapshots.get(&id).is_err() => {
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
