//! What is mounted into a container: volumes made and filled, images found, parts of them opened.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use coracle_container::runtime_spec::{ResolvedMount, ResolvedSource};
use coracle_container::{ContainerRecord, ContainerSpec, Mount, MountKind, Propagation, Recursion};
use coracle_oci::{IdMap, IdRange};
use coracle_report::Diagnostic;
use coracle_runtime::{Overlay, Source};
use coracle_snapshot::RootFs;

use super::Containers;
use crate::images::Pull;
use crate::{During, Failure, Result};

/// What a container's mounts take.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    /// The mounts, in the order in which they are wanted.
    pub(super) resolved: Vec<ResolvedMount>,
    /// What the shim mounts for them first.
    pub(super) sources: Vec<Source>,
    /// Overlays that it mounts before those: images.
    pub(super) views: Vec<Overlay>,
}

/// A directory or file to mount, and what of it.
struct Place<'a> {
    root: PathBuf,
    subpath: Option<PathBuf>,
    propagation: Propagation,
    recursion: Recursion,
    idmap: Option<&'a IdMap>,
}

impl Containers<'_> {
    /// Gives a container the mounts of the others that it names; its own come first.
    pub(super) fn take_volumes(&self, spec: &mut ContainerSpec) -> Result<()> {
        for other in std::mem::take(&mut spec.volumes_from) {
            let theirs = self.find(&other.container)?.record.spec.mounts;
            for mount in theirs {
                let shared = match mount.kind {
                    MountKind::Bind { .. } | MountKind::Volume { .. } | MountKind::Image { .. } => true,
                    // Each container has its own.
                    MountKind::Tmpfs { .. } => false,
                };
                // What the image alone declares gives way.
                let gives_way = |own: &Mount| {
                    own.target == mount.target
                        && matches!(&own.kind, MountKind::Volume { name, .. } if name.is_empty())
                };
                if shared {
                    spec.mounts.retain(|own| !gives_way(own));
                }
                if shared && spec.mounts.iter().all(|own| own.target != mount.target) {
                    let read_only = mount.read_only || other.read_only;
                    spec.mounts.push(Mount { read_only, ..mount });
                }
            }
        }
        Ok(())
    }

    /// Turns wanted mounts into host paths; volumes are made and filled.
    pub(super) fn mounts(&self, record: &ContainerRecord, root: &RootFs) -> Result<Mounts> {
        let mut mounts = Mounts::default();
        for mount in &record.spec.mounts {
            let place = match &mount.kind {
                MountKind::Bind { source, create_host_path, propagation, recursion, idmap } => {
                    make_source(source, *create_host_path)?;
                    Place {
                        root: source.clone(),
                        subpath: None,
                        propagation: *propagation,
                        recursion: *recursion,
                        idmap: idmap.as_ref(),
                    }
                }
                MountKind::Volume { name, no_copy, subpath } => {
                    let volumes = self.engine.volumes();
                    volumes.create(Some(name.clone()), BTreeMap::new())?;
                    let shown = volumes.show(name)?;
                    // A part of a volume is there before it is mounted, so the volume is not new.
                    if !no_copy && subpath.is_none() && shown.lasts {
                        volumes.fill(name, &shown.path, root, &mount.target)?;
                    }
                    let subpath = subpath.as_ref().map(|path| part(&shown.path, path, name)).transpose()?;
                    whole(shown.path, subpath)
                }
                MountKind::Tmpfs { size, mode, options } => {
                    let source = ResolvedSource::Tmpfs { size: *size, mode: *mode, options: options.clone() };
                    mounts.add(source, mount, Recursion::default());
                    continue;
                }
                MountKind::Image { reference, id, subpath } => {
                    let image = self.engine.images().ensure(&id.to_string(), Pull::Never, None)?;
                    let Some(snapshot) = &image.snapshot else { return Err(nothing_in(reference)) };
                    let snapshots = &self.engine.snapshots;
                    let lower = snapshots.lowerdirs(snapshot).during("looking for an image's layers")?;
                    let view = self.engine.runtime.paths().view(&record.id, mounts.views.len());
                    mounts.views.push(Overlay { lower, ..Overlay::default() });
                    if let Some(subpath) = subpath {
                        let tree = RootFs::new(snapshots.view(snapshot).during("looking into an image")?);
                        check_part(&tree, subpath, reference)?;
                    }
                    whole(view, subpath.as_ref().map(PathBuf::from))
                }
            };
            let number = mounts.sources.len();
            let (propagation, recursion) = (place.propagation, place.recursion);
            mounts.sources.push(Source {
                root: place.root,
                inside: place.subpath,
                recursive: recursion != Recursion::Disabled,
                idmap: place.idmap.map(shown),
                propagation: match propagation {
                    Propagation::Private => coracle_runtime::Propagation::Private { recursive: false },
                    Propagation::RPrivate => coracle_runtime::Propagation::Private { recursive: true },
                    Propagation::Slave | Propagation::RSlave | Propagation::Shared | Propagation::RShared => {
                        coracle_runtime::Propagation::Slave
                    }
                },
            });
            let path = self.engine.runtime.paths().source(&record.id, number);
            mounts.add(ResolvedSource::Path(path), mount, recursion);
        }
        Ok(mounts)
    }
}

impl Mounts {
    fn add(&mut self, source: ResolvedSource, mount: &Mount, recursion: Recursion) {
        let read_only = mount.read_only || matches!(mount.kind, MountKind::Image { .. });
        self.resolved.push(ResolvedMount { source, target: mount.target.clone(), read_only, recursion });
    }
}

fn whole<'a>(root: PathBuf, subpath: Option<PathBuf>) -> Place<'a> {
    let (propagation, recursion) = (Propagation::default(), Recursion::default());
    Place { root, subpath, propagation, recursion, idmap: None }
}

/// Returns ranges of ids in the words of the shim.
fn shown(map: &IdMap) -> coracle_runtime::IdMap {
    let ranges = |ranges: &[IdRange]| ranges.iter().map(|it| (it.stored, it.shown, it.count)).collect();
    coracle_runtime::IdMap { uids: ranges(&map.uids), gids: ranges(&map.gids) }
}

/// Refuses a source that is not there, or makes it.
fn make_source(source: &Path, create: bool) -> Result<()> {
    if source.exists() {
        return Ok(());
    }
    if !create {
        let message = format!("{} does not exist, so it cannot be mounted", source.display());
        return Err(Failure::user(Diagnostic::error("mount-source", message)));
    }
    std::fs::create_dir_all(source).during(format_args!("making {}", source.display()))
}

/// Returns a part of a volume, which must be there. The shim looks it up once more, without leaving the volume.
fn part(volume: &Path, subpath: &str, name: &str) -> Result<PathBuf> {
    let tree = RootFs::open_directory(volume).during(format_args!("looking into volume {name}"))?;
    check_part(&tree, subpath, name)?;
    Ok(PathBuf::from(subpath))
}

fn check_part(tree: &RootFs, subpath: &str, of: &str) -> Result<()> {
    let path = Path::new(subpath);
    let climbs = path.components().any(|component| component == Component::ParentDir);
    if climbs || path.is_absolute() {
        let message = format!("`{subpath}` is no path inside `{of}`");
        return Err(Failure::user(Diagnostic::error("mount-subpath", message)));
    }
    match tree.real_path(&Path::new("/").join(path)) {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => {
            let message = format!("there is nothing at `{subpath}` in `{of}` to mount");
            let hint = "a part of a volume is made before it is mounted, by whoever fills the volume";
            Err(Failure::user(Diagnostic::error("mount-subpath", message).with_hint(hint)))
        }
        Err(error) => Err(error).during(format_args!("looking for `{subpath}` in `{of}`")),
    }
}

fn nothing_in(reference: &str) -> Failure {
    let message = format!("image `{reference}` has no files to mount");
    Failure::user(Diagnostic::error("mount-source", message))
}
