//! What there is of projects: all of them by their containers' labels.

use std::collections::BTreeMap;

use coracle_compose::labels;
use coracle_container::MountKind;

use super::{OpenProject, Projects};
use crate::{Result, VolumeRecord};

/// A project in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectSummary {
    /// Its name.
    pub name: String,
    /// How many of its containers are in each state, by Docker's word for it.
    pub states: BTreeMap<String, usize>,
    /// Its files as its containers' labels tell, separated by commas.
    pub files: String,
}

impl Projects<'_> {
    /// Returns the projects that have containers, by name.
    pub fn list(&self) -> Result<Vec<ProjectSummary>> {
        let mut found: BTreeMap<String, ProjectSummary> = BTreeMap::new();
        for view in self.engine.containers().list()? {
            let Some(name) = view.project().filter(|_| !view.is_one_off()) else { continue };
            let summary = found.entry(name.to_owned()).or_insert_with(|| ProjectSummary {
                name: name.to_owned(),
                states: BTreeMap::new(),
                files: String::new(),
            });
            *summary.states.entry(view.state.word().to_owned()).or_default() += 1;
            let files = view.record.spec.labels.get(labels::CONFIG_FILES).map_or("", String::as_str);
            for file in files.split(',').filter(|file| !file.is_empty()) {
                if !summary.files.split(',').any(|known| known == file) {
                    let comma = if summary.files.is_empty() { "" } else { "," };
                    summary.files = format!("{}{comma}{file}", summary.files);
                }
            }
        }
        Ok(found.into_values().collect())
    }

    /// Returns the volumes of a project that containers of these services mount, by name; without services all, those that
    /// nobody mounts too. Volumes that no file names belong to their containers and are not listed.
    pub fn volumes(&self, project: &OpenProject, services: &[String]) -> Result<Vec<VolumeRecord>> {
        let views = self.service_containers(project, services)?;
        let mounts = |volume: &VolumeRecord| {
            views
                .iter()
                .flat_map(|view| &view.record.spec.mounts)
                .any(|mount| matches!(&mount.kind, MountKind::Volume { name, .. } if *name == volume.name))
        };
        let mut volumes = self.engine.volumes().list()?;
        volumes.retain(|volume| {
            volume.labels.get(labels::PROJECT).is_some_and(|owner| owner == project.name())
                && volume.labels.contains_key(labels::VOLUME)
                && (services.is_empty() || mounts(volume))
        });
        Ok(volumes)
    }
}
