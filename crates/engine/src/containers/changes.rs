//! What a container changed in its file system, without the places that were only made to mount something there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use coracle_container::{ContainerId, ContainerSpec};
use coracle_snapshot::{Change, SnapshotId};

use super::Containers;
use super::launch::gone;
use crate::{During, Result};

/// Where every container has something mounted.
const MOUNTED: [&str; 10] = [
    "/dev",
    "/dev/console",
    "/dev/mqueue",
    "/dev/pts",
    "/dev/shm",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/resolv.conf",
    "/proc",
    "/sys",
];

impl Containers<'_> {
    /// Returns the paths of a container's file system that differ from its image's, in order.
    pub fn changes(&self, id: &ContainerId) -> Result<Vec<(PathBuf, Change)>> {
        let record = self.record(id)?.ok_or_else(|| gone(id))?;
        let snapshot: SnapshotId = record.snapshot.parse().during("reading the container's record")?;
        let changes = self
            .engine
            .snapshots
            .changes(&snapshot)
            .during(format_args!("comparing container {} with its image", record.spec.name))?;
        Ok(without_mounts(changes, &mount_places(&record.spec)).into_iter().collect())
    }
}

/// How much a container takes, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// What it wrote.
    pub own: u64,
    /// What it has of its image, shared with others.
    pub image: u64,
}

impl Containers<'_> {
    /// Returns how much a container takes on the disk.
    pub fn sizes(&self, id: &ContainerId) -> Result<Sizes> {
        let record = self.record(id)?.ok_or_else(|| gone(id))?;
        let held: SnapshotId = record.snapshot.parse().during("reading the container's record")?;
        let snapshots = &self.engine.snapshots;
        let mut sizes = Sizes::default();
        for snapshot in snapshots.stack(&held).during("reading the container's layers")? {
            let bytes = snapshots.usage(&snapshot.id).during("measuring the container's layers")?;
            if snapshot.id == held { sizes.own += bytes } else { sizes.image += bytes }
        }
        Ok(sizes)
    }
}

/// Returns the places where something is mounted in a container.
pub(super) fn mount_places(spec: &ContainerSpec) -> Vec<PathBuf> {
    let own = spec.mounts.iter().map(|mount| mount.target.as_str());
    let secrets = spec.secrets.iter().map(|secret| secret.target.as_str());
    let devices = spec.devices.iter().filter_map(|device| device.target.to_str());
    let given = own.chain(secrets).chain(devices).chain(MOUNTED).chain(["/run/secrets"]);
    let mut places: Vec<PathBuf> = given.map(|place| Path::new("/").join(place)).collect();
    // Inner ones first: an outer one is empty without them.
    places.sort_by_key(|place| std::cmp::Reverse(place.components().count()));
    places.dedup();
    places
}

/// Takes the places out that hold nothing else, and the directories above them that changed for them alone.
fn without_mounts(mut changes: BTreeMap<PathBuf, Change>, places: &[PathBuf]) -> BTreeMap<PathBuf, Change> {
    for place in places {
        if changes.get(place) != Some(&Change::Added) {
            continue;
        }
        for path in place.ancestors().filter(|path| *path != Path::new("/")) {
            let holds_more = changes.keys().any(|other| other != path && other.starts_with(path));
            if holds_more {
                break;
            }
            changes.remove(path);
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_mounts_are_no_changes() {
        let changes = [
            ("/data", Change::Added),
            ("/data/inner", Change::Added),
            ("/etc", Change::Changed),
            ("/etc/hosts", Change::Added),
            ("/etc/motd", Change::Changed),
            ("/opt", Change::Changed),
            ("/opt/app", Change::Added),
        ];
        let changes = changes.into_iter().map(|(path, change)| (PathBuf::from(path), change)).collect();
        let places = ["/data/inner", "/etc/hosts", "/opt/app", "/nowhere"].map(PathBuf::from);
        let left: Vec<_> = without_mounts(changes, &places).into_keys().collect();
        assert_eq!(left, [Path::new("/etc"), Path::new("/etc/motd")]);
    }
}
