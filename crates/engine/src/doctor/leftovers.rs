//! What killed commands left in the run root and in the kernel: control groups, links, shares of keepers, rules.

use std::path::{Path, PathBuf};
use std::time::Duration;

use coracle_container::ContainerState;
use coracle_network::names;

use super::{Ailment, Doctor, Remedy, ailment};
use crate::containers::directory_names;
use crate::{During, Result};

/// How old an empty control group must be before nobody is about to enter it.
const SETTLED: Duration = Duration::from_secs(30);

impl Doctor<'_> {
    /// Looks for what nobody uses.
    pub(super) fn leftovers(&self, found: &mut Vec<Ailment>) -> Result<()> {
        self.run_directories(found)?;
        self.groups(found)?;
        self.links(found)?;
        self.attachments(found)?;
        self.half_written(found);
        Ok(())
    }

    fn run_directories(&self, found: &mut Vec<Ailment>) -> Result<()> {
        let containers = self.engine.containers();
        for name in directory_names(&self.engine.layout.run_containers())? {
            let Ok(id) = name.parse() else { continue };
            if containers.is_owned(&id) || self.engine.runtime.has_shim(&id).during("looking for a shim")? {
                continue;
            }
            if self.engine.layout.container(id.as_str()).is_dir() {
                let state = containers.state(&id)?;
                if matches!(state, ContainerState::Exited { .. } | ContainerState::Created) {
                    let message =
                        format!("container {} does not run, but was not cleaned up after", id.short());
                    found.push(ailment("half-done", message, Remedy::Release(id)));
                }
            } else {
                let message = format!("a build step or container {} was killed", id.short());
                found.push(ailment("half-done", message, Remedy::Sweep(id)));
            }
        }
        Ok(())
    }

    /// Looks for control groups without a process, of containers that do not run.
    fn groups(&self, found: &mut Vec<Ailment>) -> Result<()> {
        let mut alive = Vec::new();
        for name in directory_names(&self.engine.layout.run_containers())? {
            alive.extend(name.get(..12).map(|short| format!("coracle-{short}")));
        }
        let root = Path::new("/sys/fs/cgroup");
        let hierarchies = std::fs::read_dir(root).into_iter().flatten().flatten();
        let hierarchies =
            hierarchies.map(|entry| entry.path()).filter(|path| path.is_dir() && !path.is_symlink());
        for hierarchy in hierarchies.chain([root.to_owned()]) {
            for entry in std::fs::read_dir(&hierarchy).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.starts_with("coracle-") && !alive.contains(&name) && is_deserted(&entry.path()) {
                    let message = format!("the control group {} is empty", entry.path().display());
                    found.push(ailment("leftover", message, Remedy::RemoveGroup(entry.path())));
                }
            }
        }
        Ok(())
    }

    /// Looks for bridges of networks that are no more, without a port.
    fn links(&self, found: &mut Vec<Ailment>) -> Result<()> {
        let networks = self.engine.networks().list()?;
        for entry in std::fs::read_dir("/sys/class/net").into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let ours = name.starts_with(names::BRIDGE_PREFIX) && entry.path().join("bridge").is_dir();
            let known = networks.iter().any(|network| network.bridge == name);
            let ports = std::fs::read_dir(entry.path().join("brif")).into_iter().flatten().count();
            if ours && !known && ports == 0 {
                let message = format!("the bridge {name} belongs to no network");
                found.push(ailment("leftover", message, Remedy::RemoveLink(name)));
            }
        }
        Ok(())
    }

    /// Looks for addresses of the dead and for keepers that serve nobody.
    fn attachments(&self, found: &mut Vec<Ailment>) -> Result<()> {
        // One that is damaged is an ailment of its own.
        let Ok(state) = self.engine.networks().read_state() else { return Ok(()) };
        let dead =
            state.containers.values().filter(|attached| !crate::process::lives(&attached.holder)).count();
        if dead > 0 {
            let message = format!("{dead} ended containers still have their addresses");
            found.push(ailment("leftover", message, Remedy::RefreshRules));
        }
        for scope in directory_names(&self.engine.layout.keepers())? {
            let Some(scope) = coracle_store::layout::decode(&scope) else { continue };
            let served = state
                .containers
                .values()
                .any(|attached| attached.scope == scope && crate::process::lives(&attached.holder));
            if !served && !self.engine.keepers().is_needed(&scope)? {
                let message = format!("names and ports of {scope} are served for nobody");
                found.push(ailment("leftover", message, Remedy::RefreshKeeper(scope)));
            }
        }
        Ok(())
    }

    /// Looks for files under temporary names whose writer must be dead.
    fn half_written(&self, found: &mut Vec<Ailment>) {
        let layout = &self.engine.layout;
        let mut places = vec![layout.images(), layout.references(), layout.cache(), layout.networks()];
        places.extend(subdirectories(&layout.containers()));
        places.extend(subdirectories(&layout.volumes()));
        places.extend(subdirectories(&layout.projects()));
        for entry in places.iter().flat_map(|place| std::fs::read_dir(place).into_iter().flatten().flatten())
        {
            let name = entry.file_name();
            let hidden = name.as_encoded_bytes().starts_with(b".new-");
            if hidden && is_old(&entry.path(), Duration::from_mins(10)) {
                let message = format!("{} was never finished", entry.path().display());
                found.push(ailment("leftover", message, Remedy::RemoveFile(entry.path())));
            }
        }
    }
}

fn subdirectories(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn is_old(path: &Path, age: Duration) -> bool {
    let modified = std::fs::symlink_metadata(path).and_then(|metadata| metadata.modified());
    modified.ok().and_then(|time| time.elapsed().ok()).is_some_and(|passed| passed >= age)
}

fn is_deserted(group: &Path) -> bool {
    let processes = std::fs::read_to_string(group.join("cgroup.procs"));
    processes.is_ok_and(|text| text.trim().is_empty()) && is_old(group, SETTLED)
}
