//! What a service's containers have mounted, and the volumes that this takes.

use std::collections::BTreeMap;

use coracle_composefile as file;
use coracle_composefile::{MountSource, Project, Service, VolumesSource};
use coracle_container::{ContainerSpec, Mount, MountKind, Propagation, Recursion, VolumesFrom};
use coracle_oci::{Digest, RunConfig};
use coracle_report::Diagnostic;
use indexmap::IndexMap;

use crate::desired::{DesiredProject, DesiredVolume, Inputs};
use crate::{hash, labels};

/// Converts the mounts, adds those of other services, and gives a volume of its own to each path that the image wants
/// one for.
pub(crate) fn mounts(
    inputs: Inputs<'_>,
    wanted: &DesiredProject,
    service: &Service,
    defaults: &RunConfig,
    ordinal: u32,
) -> Result<Vec<Mount>, Vec<Diagnostic>> {
    let project = inputs.project;
    let anonymous = |target: &str, no_copy| {
        MountKind::volume(anonymous_volume(project, service, ordinal, target), no_copy)
    };
    let (mut mounts, mut errors) = (Vec::<Mount>::new(), Vec::new());
    for mount in &service.mounts {
        let kind = match &mount.source {
            MountSource::Bind { path, create_host_path, propagation, recursive, idmap } => MountKind::Bind {
                source: path.clone(),
                create_host_path: *create_host_path,
                propagation: propagated(*propagation),
                recursion: recursion(*recursive),
                idmap: idmap.clone(),
            },
            MountSource::Volume { key, no_copy, subpath, .. } => {
                let name = project.volumes.get(key).map_or_else(|| key.clone(), |volume| volume.name.clone());
                MountKind::Volume { name, no_copy: *no_copy, subpath: subpath.clone() }
            }
            MountSource::Anonymous { no_copy, .. } => anonymous(&mount.target, *no_copy),
            MountSource::Tmpfs { size, mode, options } => {
                MountKind::Tmpfs { size: *size, mode: *mode, options: options.clone() }
            }
            MountSource::Image { reference, subpath } => {
                let reference = reference.familiar();
                let Some(id) = inputs.mounted.get(&reference) else {
                    let message =
                        format!("service `{}` mounts image `{reference}`, which is not there", service.name);
                    errors.push(
                        Diagnostic::error("image", message)
                            .with_span(mount.span.clone())
                            .with_hint(format!("coracle pull {reference}")),
                    );
                    continue;
                };
                MountKind::Image { reference, id: *id, subpath: subpath.clone() }
            }
        };
        mounts.push(Mount { kind, target: mount.target.clone(), read_only: mount.read_only });
    }
    for from in &service.volumes_from {
        // Those of containers are known only when this one is made.
        let VolumesSource::Service(name) = &from.source else { continue };
        let Some(first) = wanted.services.get(name).and_then(|other| other.containers.first()) else {
            let message =
                format!("service `{}` takes the volumes of `{name}`, which has no container", service.name);
            errors.push(Diagnostic::error("volumes-from", message).with_span(from.span.clone()));
            continue;
        };
        for mount in &first.mounts {
            let shared = !matches!(mount.kind, MountKind::Tmpfs { .. });
            if shared && mounts.iter().all(|own| own.target != mount.target) {
                let read_only = mount.read_only || from.read_only;
                mounts.push(Mount { read_only, ..mount.clone() });
            }
        }
    }
    for target in defaults.volumes.keys() {
        let target = target.trim_end_matches('/');
        if !target.is_empty() && mounts.iter().all(|mount| mount.target != target) {
            let kind = anonymous(target, false);
            mounts.push(Mount { kind, target: target.to_owned(), read_only: false });
        }
    }
    if errors.is_empty() { Ok(mounts) } else { Err(errors) }
}

/// Returns the containers outside the project whose mounts a service takes.
pub(crate) fn of_containers(service: &Service) -> Vec<VolumesFrom> {
    let container = |from: &file::VolumesFrom| match &from.source {
        VolumesSource::Container(name) => {
            Some(VolumesFrom { container: name.clone(), read_only: from.read_only })
        }
        VolumesSource::Service(_) => None,
    };
    service.volumes_from.iter().filter_map(container).collect()
}

fn propagated(propagation: file::Propagation) -> Propagation {
    match propagation {
        file::Propagation::Private => Propagation::Private,
        file::Propagation::RPrivate => Propagation::RPrivate,
        file::Propagation::Slave => Propagation::Slave,
        file::Propagation::RSlave => Propagation::RSlave,
        file::Propagation::Shared => Propagation::Shared,
        file::Propagation::RShared => Propagation::RShared,
    }
}

fn recursion(recursive: file::Recursive) -> Recursion {
    match recursive {
        file::Recursive::Enabled => Recursion::Enabled,
        file::Recursive::Disabled => Recursion::Disabled,
        file::Recursive::Writable => Recursion::Writable,
        file::Recursive::ReadOnly => Recursion::ReadOnly,
    }
}

/// Returns the name of a volume that no file names. It is derived, not drawn, so that a replaced container finds
/// its predecessor's data.
fn anonymous_volume(project: &Project, service: &Service, ordinal: u32, target: &str) -> String {
    let digest = Digest::of(format!("{}\0{}\0{ordinal}\0{target}", project.name, service.name));
    format!("{}_{}-{ordinal}_{}", project.name, service.name, digest.short())
}

/// Returns the volumes that a specification mounts, without those that another service made.
pub(crate) fn volumes(
    project: &Project,
    service: &Service,
    spec: &ContainerSpec,
) -> IndexMap<String, DesiredVolume> {
    let mut out = IndexMap::new();
    for mount in &spec.mounts {
        let MountKind::Volume { name, .. } = &mount.kind else { continue };
        let known = project.volumes.iter().find(|(_, volume)| volume.name == *name);
        let said = service.mounts.iter().find(|said| said.target == mount.target);
        let mut labels: BTreeMap<String, String> = match said.map(|said| &said.source) {
            Some(MountSource::Volume { labels, .. } | MountSource::Anonymous { labels, .. }) => {
                labels.clone().into_iter().collect()
            }
            Some(MountSource::Bind { .. } | MountSource::Tmpfs { .. } | MountSource::Image { .. }) | None => {
                BTreeMap::new()
            }
        };
        labels.insert(labels::PROJECT.to_owned(), project.name.clone());
        labels.insert(labels::VERSION.to_owned(), labels::COMPOSE_VERSION.to_owned());
        let volume = if let Some((key, volume)) = known {
            labels.extend(volume.labels.clone());
            labels.insert(labels::VOLUME.to_owned(), key.to_owned());
            let mut desired = DesiredVolume {
                name: name.clone(),
                external: volume.external,
                options: volume.driver_opts.clone().into_iter().collect(),
                labels,
                span: Some(volume.span.clone()),
            };
            let config_hash = hash::of_volume(&desired);
            desired.labels.insert(labels::CONFIG_HASH.to_owned(), config_hash);
            desired
        } else {
            labels.insert(labels::ANONYMOUS_VOLUME.to_owned(), service.name.clone());
            DesiredVolume {
                name: name.clone(),
                external: false,
                options: BTreeMap::new(),
                labels,
                span: None,
            }
        };
        out.insert(name.clone(), volume);
    }
    out
}
