//! Projects from text, and a host in memory.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use coracle_compose::{
    Condition, DesiredNetwork, DesiredProject, DesiredVolume, Evidence, Host, Inputs, ObservedContainer,
    ObservedDependency, ObservedNetwork, ObservedRun, ObservedState, ObservedVolume, Options, Plan,
    ResolvedImage, WaitOutcome, desired, labels, reconcile, source_files,
};
use coracle_composefile::{LoadRequest, Loader, Project, load};
use coracle_container::{ContainerId, ContainerSpec, HealthStatus};
use coracle_oci::{Digest, ImageId, RunConfig};
use coracle_report::{Diagnostic, Event, Hint, Reporter};
use indexmap::IndexMap;

struct OneFile<'a>(&'a str);

impl Loader for OneFile<'_> {
    fn read(&self, _path: &Path) -> io::Result<String> {
        Ok(self.0.to_owned())
    }

    fn exists(&self, _path: &Path) -> bool {
        true
    }

    fn list(&self, _path: &Path) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }
}

/// Loads a project of one file.
pub fn project(text: &str) -> Project {
    let request = LoadRequest {
        files: vec!["/shop/compose.yml".into()],
        project_directory: "/shop".into(),
        ..LoadRequest::default()
    };
    match load(&request, &OneFile(text)) {
        Ok(loaded) => loaded.project,
        Err(errors) => panic!("{text}\n{}", show(&errors)),
    }
}

pub fn image(text: &str) -> ResolvedImage {
    let config = RunConfig { cmd: Some(vec!["serve".to_owned()]), ..RunConfig::default() };
    ResolvedImage { id: ImageId::new(Digest::of(text)), config }
}

/// Decides what a project wants; every image is there and is made of its reference.
pub fn try_wanted(project: &Project, files: &[&str]) -> Result<DesiredProject, Vec<Diagnostic>> {
    let images: IndexMap<String, ResolvedImage> = project
        .services
        .values()
        .filter(|service| !service.image.repository().ends_with("unreachable"))
        .map(|service| (service.name.clone(), image(&service.image.to_string())))
        .collect();
    let files: BTreeMap<PathBuf, Digest> = source_files(project)
        .into_iter()
        .filter(|path| files.contains(&path.to_str().unwrap_or_default()))
        .map(|path| (path.clone(), Digest::of(path.to_string_lossy().as_bytes())))
        .collect();
    let generated_directory = Path::new("/state/shop");
    let mounted = BTreeMap::from([("tools:1".to_owned(), image("tools:1").id)]);
    desired(Inputs { project, images: &images, mounted: &mounted, files: &files, generated_directory })
}

pub fn wanted(text: &str) -> DesiredProject {
    try_wanted(&project(text), &[]).unwrap_or_else(|errors| panic!("{}", show(&errors)))
}

pub fn plan(desired: &DesiredProject, world: &World, options: &Options) -> Plan {
    reconcile(desired, &world.observe(), options).unwrap_or_else(|errors| panic!("{}", show(&errors)))
}

pub fn show(diagnostics: &[Diagnostic]) -> String {
    let mut lines = Vec::new();
    for diagnostic in diagnostics {
        lines.push(format!("{diagnostic} [{}]", diagnostic.code));
        lines.extend(diagnostic.notes.iter().map(|note| format!("  note: {note}")));
        lines.extend(diagnostic.hints.iter().map(|Hint(hint)| format!("  hint: {hint}")));
    }
    lines.join("\n")
}

/// How a container of the world behaves once it is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// It runs, and is healthy when it is probed.
    Serve,
    /// It ends with this code at once.
    End(i32),
    /// It runs and is unhealthy.
    Sick,
    /// It runs, and is never judged.
    Hang,
}

#[derive(Clone, Debug)]
struct Made {
    id: ContainerId,
    spec: ContainerSpec,
    run: ObservedRun,
}

#[derive(Debug, Default)]
struct State {
    containers: BTreeMap<String, Made>,
    networks: BTreeMap<String, BTreeMap<String, String>>,
    volumes: BTreeMap<String, BTreeMap<String, String>>,
    behaviours: BTreeMap<String, Behaviour>,
    history: Vec<String>,
    next: u8,
}

/// A host in memory that refuses what a real one would refuse.
#[derive(Debug, Default)]
pub struct World {
    state: Mutex<State>,
    changed: Condvar,
}

fn volumes_of(spec: &ContainerSpec) -> impl Iterator<Item = &str> {
    spec.mounts.iter().filter_map(|mount| match &mount.kind {
        coracle_container::MountKind::Volume { name, .. } => Some(name.as_str()),
        _ => None,
    })
}

fn refuse(text: String) -> Diagnostic {
    Diagnostic::error("host", text)
}

impl World {
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics while it holds the lock")
    }

    /// Says how containers of `service` behave.
    pub fn behave(&self, service: &str, behaviour: Behaviour) {
        self.lock().behaviours.insert(service.to_owned(), behaviour);
    }

    /// Puts a container into a state.
    pub fn set(&self, name: &str, run: ObservedRun) {
        let mut state = self.lock();
        state.containers.get_mut(name).unwrap_or_else(|| panic!("no container {name}")).run = run;
    }

    pub fn add_volume(&self, name: &str) {
        self.lock().volumes.insert(name.to_owned(), BTreeMap::new());
    }

    /// Returns what was done since the last call.
    pub fn history(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().history)
    }

    pub fn observe(&self) -> ObservedState {
        let state = self.lock();
        let text = |spec: &ContainerSpec, label: &str| spec.labels.get(label).cloned().unwrap_or_default();
        let containers = state.containers.values().map(|made| ObservedContainer {
            id: made.id.clone(),
            name: made.spec.name.clone(),
            service: text(&made.spec, labels::SERVICE),
            ordinal: text(&made.spec, labels::CONTAINER_NUMBER).parse().expect("the label is a number"),
            config_hash: text(&made.spec, labels::CONFIG_HASH),
            one_off: false,
            depends_on: ObservedDependency::of_label(&text(&made.spec, labels::DEPENDS_ON)),
            networks: made.spec.networks.iter().map(|attachment| attachment.network.clone()).collect(),
            volumes: volumes_of(&made.spec).map(str::to_owned).collect(),
            state: made.run,
        });
        let networks = state.networks.iter();
        let volumes = state.volumes.iter();
        ObservedState {
            containers: containers.collect(),
            networks: networks
                .map(|(name, labels)| ObservedNetwork { name: name.clone(), labels: labels.clone() })
                .collect(),
            volumes: volumes
                .map(|(name, labels)| ObservedVolume { name: name.clone(), labels: labels.clone() })
                .collect(),
        }
    }
}

impl Host for World {
    fn create_network(&self, network: &DesiredNetwork) -> Result<(), Diagnostic> {
        let mut state = self.lock();
        state.history.push(format!("create network {}", network.name));
        match state.networks.insert(network.name.clone(), network.labels.clone()) {
            None => Ok(()),
            Some(_) => Err(refuse(format!("network {} is there", network.name))),
        }
    }

    fn remove_network(&self, name: &str) -> Result<(), Diagnostic> {
        let mut state = self.lock();
        state.history.push(format!("remove network {name}"));
        let user = state
            .containers
            .values()
            .find(|made| made.spec.networks.iter().any(|attachment| attachment.network == name));
        if let Some(user) = user {
            return Err(refuse(format!("network {name} is used by {}", user.spec.name)));
        }
        state.networks.remove(name);
        Ok(())
    }

    fn create_volume(&self, volume: &DesiredVolume) -> Result<(), Diagnostic> {
        let mut state = self.lock();
        state.history.push(format!("create volume {}", volume.name));
        match state.volumes.insert(volume.name.clone(), volume.labels.clone()) {
            None => Ok(()),
            Some(_) => Err(refuse(format!("volume {} is there", volume.name))),
        }
    }

    fn remove_volume(&self, name: &str) -> Result<(), Diagnostic> {
        let mut state = self.lock();
        state.history.push(format!("remove volume {name}"));
        if let Some(user) = state.containers.values().find(|made| volumes_of(&made.spec).any(|of| of == name))
        {
            return Err(refuse(format!("volume {name} is used by {}", user.spec.name)));
        }
        state.volumes.remove(name);
        Ok(())
    }

    fn create_container(&self, spec: &ContainerSpec) -> Result<(), Diagnostic> {
        let mut state = self.lock();
        state.history.push(format!("create {}", spec.name));
        if state.containers.contains_key(&spec.name) {
            return Err(refuse(format!("container {} is there", spec.name)));
        }
        for attachment in &spec.networks {
            if !state.networks.contains_key(&attachment.network) && attachment.network != "bridge" {
                return Err(refuse(format!("{} wants network {}", spec.name, attachment.network)));
            }
        }
        for mount in &spec.mounts {
            if let coracle_container::MountKind::Volume { name, .. } = &mount.kind
                && !state.volumes.contains_key(name)
            {
                return Err(refuse(format!("{} wants volume {name}", spec.name)));
            }
        }
        state.next += 1;
        let id = ContainerId::from_random([state.next; 32]);
        state
            .containers
            .insert(spec.name.clone(), Made { id, spec: spec.clone(), run: ObservedRun::Created });
        Ok(())
    }

    fn start_container(&self, name: &str) -> Result<(), Diagnostic> {
        let mut state = self.lock();
        state.history.push(format!("start {name}"));
        let Some(made) = state.containers.get(name).cloned() else {
            return Err(refuse(format!("no container {name}")));
        };
        let service = made.spec.labels[labels::SERVICE].clone();
        let probed = made.spec.healthcheck.is_some();
        let run = match state.behaviours.get(&service).copied().unwrap_or(Behaviour::Serve) {
            Behaviour::Serve => ObservedRun::Running(probed.then_some(HealthStatus::Healthy)),
            Behaviour::Sick => ObservedRun::Running(probed.then_some(HealthStatus::Unhealthy)),
            Behaviour::Hang => ObservedRun::Running(probed.then_some(HealthStatus::Starting)),
            Behaviour::End(code) => ObservedRun::Exited { code, by_user: false },
        };
        state.containers.insert(name.to_owned(), Made { run, ..made });
        self.changed.notify_all();
        Ok(())
    }

    fn stop_container(&self, id: &ContainerId) -> Result<(), Diagnostic> {
        let mut state = self.lock();
        let Some(made) = state.containers.values_mut().find(|made| made.id == *id) else {
            return Err(refuse(format!("no container {id}")));
        };
        made.run = ObservedRun::Exited { code: 143, by_user: true };
        let line = format!("stop {}", made.spec.name);
        state.history.push(line);
        Ok(())
    }

    fn kill_container(&self, id: &ContainerId, signal: &str) -> Result<(), Diagnostic> {
        let mut state = self.lock();
        let Some(made) = state.containers.values_mut().find(|made| made.id == *id) else {
            return Err(refuse(format!("no container {id}")));
        };
        made.run = ObservedRun::Exited { code: 137, by_user: true };
        let line = format!("kill {} with {signal}", made.spec.name);
        state.history.push(line);
        Ok(())
    }

    fn remove_image(&self, name: &str) -> Result<(), Diagnostic> {
        self.lock().history.push(format!("remove image {name}"));
        Ok(())
    }

    fn remove_container(&self, id: &ContainerId) -> Result<(), Diagnostic> {
        let mut state = self.lock();
        let Some(made) = state.containers.values().find(|made| made.id == *id).cloned() else {
            return Err(refuse(format!("no container {id}")));
        };
        if matches!(made.run, ObservedRun::Running(_) | ObservedRun::Paused | ObservedRun::Restarting) {
            return Err(refuse(format!("container {} runs", made.spec.name)));
        }
        state.history.push(format!("remove {}", made.spec.name));
        state.containers.remove(&made.spec.name);
        Ok(())
    }

    fn wait(&self, name: &str, condition: Condition, cancel: &AtomicBool) -> Result<WaitOutcome, Diagnostic> {
        let mut state = self.lock();
        // Far more looks than any container here needs: a wait that nothing can end is a fault of the plan.
        for _ in 0..200 {
            let Some(made) = state.containers.get(name) else {
                return Err(refuse(format!("no container {name}")));
            };
            let outcome = match (condition, made.run) {
                (Condition::Started, ObservedRun::Running(_))
                | (Condition::Started | Condition::Completed, ObservedRun::Exited { code: 0, .. })
                | (Condition::Healthy, ObservedRun::Running(Some(HealthStatus::Healthy))) => {
                    Some(WaitOutcome::Met)
                }
                (Condition::Healthy, ObservedRun::Running(Some(HealthStatus::Unhealthy))) => {
                    Some(WaitOutcome::Unhealthy)
                }
                (_, ObservedRun::Exited { code, .. }) => {
                    Some(WaitOutcome::Exited { code, out_of_memory: false })
                }
                (_, ObservedRun::Paused) => Some(WaitOutcome::Paused),
                (_, ObservedRun::Created | ObservedRun::Running(_) | ObservedRun::Restarting) => None,
            };
            if let Some(outcome) = outcome {
                return Ok(outcome);
            }
            if cancel.load(Ordering::Relaxed) {
                return Ok(WaitOutcome::Cancelled);
            }
            let (again, _) = self
                .changed
                .wait_timeout(state, Duration::from_millis(5))
                .expect("no thread panics while it holds the lock");
            state = again;
        }
        Err(refuse(format!("{name} is {:?} for ever, never {condition}", state.containers[name].run)))
    }

    fn evidence(&self, name: &str) -> Evidence {
        Evidence {
            log: vec![format!("{name} says hello"), "and then no more".to_owned()],
            probe: Some("connection refused".to_owned()),
        }
    }
}

/// Remembers events as lines.
#[derive(Debug, Default)]
pub struct Recorder {
    lines: Mutex<(BTreeMap<coracle_report::TaskId, String>, Vec<String>)>,
}

impl Recorder {
    /// Says whether a task was ever in a state.
    pub fn saw(&self, task: &str, state: &str) -> bool {
        let lines = self.lines.lock().expect("no thread panics while it holds the lock");
        lines.1.contains(&format!("{task}: {state}"))
    }

    /// Returns the states each task went through, sorted by task. What it waited for depends on timing, and is
    /// left out.
    pub fn by_task(&self) -> String {
        let lines = self.lines.lock().expect("no thread panics while it holds the lock");
        let names: BTreeSet<&String> = lines.0.values().collect();
        let of = |name: &str| {
            let mine = lines.1.iter().filter_map(|line| line.strip_prefix(&format!("{name}: ")));
            let mine = mine.filter(|state| !state.starts_with("waiting for"));
            format!("{name}: {}\n", mine.collect::<Vec<_>>().join(", "))
        };
        names.into_iter().map(|name| of(name)).collect()
    }
}

impl Reporter for Recorder {
    fn event(&self, event: Event) {
        let mut lines = self.lines.lock().expect("no thread panics while it holds the lock");
        let (task, text) = match event {
            Event::Started { task, label, .. } => {
                lines.0.insert(task, label);
                return;
            }
            Event::State { task, state } => (task, state),
            Event::Finished { task, outcome } => (task, format!("{outcome:?}")),
            Event::Progress { .. } | Event::Output { .. } | Event::About { .. } => return,
            Event::Notice(diagnostic) => {
                lines.1.push(format!("notice: {diagnostic}"));
                return;
            }
        };
        let name = lines.0[&task].clone();
        lines.1.push(format!("{name}: {text}"));
    }
}
